"""Compiles `kebyt5/models/csrc` when the package is built or installed from its sources.

The package works without: where there is no compiler, or no Linux on x86-64, PyTorch and NumPy do
what the kernels would do.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FLAGS = ["-O3", "-std=c11", "-fPIC", "-shared", "-fopenmp", "-fno-math-errno", "-fno-trapping-math"]
AVX512 = ["-march=cascadelake", "-mtune=generic", "-mprefer-vector-width=512"]
AVX2 = ["-march=haswell", "-mtune=generic"]
VARIANTS = {
    "amx": [*AVX512, "-mamx-tile", "-mamx-int8"],
    "avx512": AVX512,
    "avxvnni": [*AVX2, "-mavxvnni"],
    "avx2": AVX2,
}
"""Which one runs is chosen where it is loaded, in kebyt5/models/native.py."""


class KernelsBuildHook(BuildHookInterface):
    """Puts the compiled kernels beside their source."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compiles each variant and lets the wheel take it along."""
        folder = Path(self.root, "src", "kebyt5", "models")
        if self.target_name != "wheel" or not is_supported():
            return
        with ThreadPoolExecutor() as compilers:
            tried = list(compilers.map(partial(compile_kernels, folder), VARIANTS))
        if libraries := [path for path in tried if path is not None]:
            build_data["artifacts"] += [f"/{path.relative_to(self.root)}" for path in libraries]
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-linux_{platform.machine()}"


def is_supported() -> bool:
    """Whether the kernels are for this machine."""
    return sys.platform == "linux" and platform.machine() == "x86_64"


def compile_kernels(folder: Path, variant: str) -> Path | None:
    """Compiles one variant; None, and no file of an older build, where that fails."""
    library = folder / f"kernels-{variant}.so"
    library.unlink(missing_ok=True)
    # gcc first: its OpenMP is the one that PyTorch comes with, so that both share their threads.
    wanted = [os.environ["CC"]] if "CC" in os.environ else ["gcc", "cc"]
    compiler = next(filter(None, map(shutil.which, wanted)), None)
    if compiler is None:
        print("no C compiler: kebyt5 will compute with PyTorch and NumPy alone", file=sys.stderr)
        return None
    unfinished = library.with_suffix(f".{os.getpid()}")
    sources = sorted(path.relative_to(folder).as_posix() for path in folder.glob("csrc/*.c"))
    flags = [*FLAGS, *VARIANTS[variant], f'-DDIGEST="{digest(folder)}"']
    command = [compiler, *flags, *sources, "-lm", "-o", unfinished.name]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        print(f"kebyt5 will do without {library.name}:\n{done.stderr}", file=sys.stderr)
        unfinished.unlink(missing_ok=True)
        return None
    return unfinished.rename(library)


def digest(folder: Path) -> str:
    """Of the sources, by which kebyt5/models/native.py tells kernels that are older than them."""
    files = [path for path in folder.glob("csrc/*.[ch]") if path.name[0] != "."]
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(files))).hexdigest()
