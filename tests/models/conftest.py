"""The compiled variants of the kernels."""

import os
import subprocess
from pathlib import Path

import pytest
from filelock import FileLock

from kebyt5.models import native

_FOLDER = Path(native.__file__).parent
_EMULATED = {
    "amx": ["-DEMULATE_AVX512", "-DEMULATE_AMX"],
    "avx512": ["-DEMULATE_AVX512"],
    "avxvnni": ["-DEMULATE_AVXVNNI"],
}


@pytest.fixture(params=["amx", "avx512", "avxvnni", "avx2"])
def variant(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> str:
    """Lets a test run with each variant; with AVX2, a processor emulates what it lacks."""
    name: str = request.param
    runnable = native.runnable_variants()
    if name in runnable:
        loaded = native.open_library(_FOLDER / f"kernels-{name}.so")
        assert loaded is not None
        if name == "amx":
            assert loaded.allow_tiles()
    elif runnable and name in _EMULATED:
        folder = tmp_path_factory.getbasetemp()
        if "PYTEST_XDIST_WORKER" in os.environ:
            folder = folder.parent  # that of all workers
        loaded = native.open_library(_emulated(name, folder))
    else:
        pytest.skip(f"this processor does not run the variant {name}")
    monkeypatch.setattr(native, "library", lambda: loaded)
    return name


def _emulated(name: str, folder: Path) -> Path:
    """Compiles a variant for processors with AVX2 alone, beside a link to its sources."""
    library, sources = folder / f"{name}.so", folder / "csrc"
    with FileLock(folder / "emulated.lock"):
        if not sources.exists():
            sources.symlink_to(_FOLDER / "csrc")
        if not library.exists():
            flags = ["-O1", "-fPIC", "-shared", "-fopenmp", "-fno-strict-aliasing", "-Wno-psabi"]
            flags += ["-march=haswell", f'-DDIGEST="{native.digest_of(folder)}"', *_EMULATED[name]]
            flags += ["-include", str(Path(__file__).with_name("emulation.h"))]
            files = sorted(map(str, sources.glob("*.c")))
            compiler = os.environ.get("CC", "gcc")
            subprocess.run([compiler, *flags, *files, "-lm", "-o", str(library)], check=True)
    return library
