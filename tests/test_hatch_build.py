"""Installing from sources compiles the kernels, or goes without."""

import importlib.util
import os
import shutil
import sys
from pathlib import Path

import pytest

from kebyt5.models.native import open_library

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(
    "CI" not in os.environ and (sys.platform != "linux" or not shutil.which("gcc")),
    reason="kernels are compiled on Linux by gcc",
)


@pytest.fixture(scope="module")
def build():
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.FLAGS.remove("-O3")  # which takes three times as long
    return module


def project(root):
    """A folder with the sources of the kernels where the hook looks for them."""
    folder = root / "src" / "kebyt5" / "models"
    shutil.copytree(ROOT / "src/kebyt5/models/csrc", folder / "csrc")
    return folder


def hook_data(build, root):
    data = {"artifacts": [], "pure_python": True}
    hook = build.KernelsBuildHook(str(root), {}, None, None, str(root), "wheel")
    hook.initialize("standard", data)
    return data


@pytest.fixture(scope="module")
def built(build, tmp_path_factory):
    """A folder with compiled kernels, which take long to compile, and what the hook said."""
    root = tmp_path_factory.mktemp("project")
    return project(root), hook_data(build, root)


def test_a_wheel_takes_all_variants_and_is_for_this_platform(build, built):
    folder, data = built
    names = sorted(f"kernels-{variant}.so" for variant in build.VARIANTS)
    assert sorted(path.name for path in folder.glob("*.so")) == names
    assert sorted(data["artifacts"]) == [f"/src/kebyt5/models/{name}" for name in names]
    assert data["tag"].startswith("py3-none-linux_")
    assert not data["pure_python"]


@pytest.mark.parametrize("compiler", ["no-such-compiler", "false"])
def test_without_a_working_compiler_the_wheel_is_pure_and_no_old_kernel_stays(
    build, tmp_path, monkeypatch, compiler
):
    folder = project(tmp_path)
    for variant in build.VARIANTS:
        (folder / f"kernels-{variant}.so").touch()
    monkeypatch.setenv("CC", compiler)
    assert hook_data(build, tmp_path) == {"artifacts": [], "pure_python": True}
    assert list(folder.iterdir()) == [folder / "csrc"]


def test_kernels_of_other_sources_than_those_beside_them_are_left_alone(built, tmp_path):
    folder = shutil.copytree(built[0], tmp_path / "models")
    path = folder / "kernels-avx2.so"
    assert open_library(path) is not None
    with open(folder / "csrc" / "rows.h", "a", encoding="utf-8") as file:
        file.write("/* of a later version */\n")
    with pytest.warns(UserWarning, match=r"kernels-avx2\.so was compiled from other sources"):
        assert open_library(path) is None
    shutil.rmtree(folder / "csrc")  # as where only the compiled ones are shipped
    assert open_library(path) is not None
    assert open_library(folder / "kernels-none.so") is None
