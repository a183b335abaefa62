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


@pytest.fixture
def build():
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "src" / "kebyt5" / "models"
    folder.mkdir(parents=True)
    shutil.copytree(ROOT / "src/kebyt5/models/csrc", folder / "csrc")
    return folder


def built(build, root):
    data = {"artifacts": [], "pure_python": True}
    hook = build.KernelsBuildHook(str(root), {}, None, None, str(root), "wheel")
    hook.initialize("standard", data)
    return data


def test_a_wheel_takes_both_variants_and_is_for_this_platform(build, source, tmp_path):
    data = built(build, tmp_path)
    names = ["kernels-avx2.so", "kernels-avx512.so"]
    assert sorted(path.name for path in source.glob("*.so")) == names
    assert sorted(data["artifacts"]) == [f"/src/kebyt5/models/{name}" for name in names]
    assert data["tag"].startswith("py3-none-linux_")
    assert not data["pure_python"]


@pytest.mark.parametrize("compiler", ["no-such-compiler", "false"])
def test_without_a_working_compiler_the_wheel_is_pure_and_no_old_kernel_stays(
    build, source, tmp_path, monkeypatch, compiler
):
    built(build, tmp_path)
    monkeypatch.setenv("CC", compiler)
    data = built(build, tmp_path)
    assert list(source.iterdir()) == [source / "csrc"]
    assert data == {"artifacts": [], "pure_python": True}


def test_kernels_of_other_sources_than_those_beside_them_are_left_alone(build, source, tmp_path):
    built(build, tmp_path)
    path = source / "kernels-avx2.so"
    assert open_library(path) is not None
    with open(source / "csrc" / "rows.h", "a", encoding="utf-8") as file:
        file.write("/* of a later version */\n")
    with pytest.warns(UserWarning, match=r"kernels-avx2\.so was compiled from other sources"):
        assert open_library(path) is None
    shutil.rmtree(source / "csrc")  # as where only the compiled ones are shipped
    assert open_library(path) is not None
    assert open_library(source / "kernels-none.so") is None
