"""The compiled variants of the kernels."""

from pathlib import Path

import pytest

from kebyt5.models import native


@pytest.fixture(params=["amx", "avx512", "avxvnni", "avx2"])
def variant(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Lets a test run with each variant that this processor can."""
    name: str = request.param
    if name not in native.runnable_variants():
        pytest.skip(f"this processor does not run the variant {name}")
    loaded = native.open_library(Path(native.__file__).with_name(f"kernels-{name}.so"))
    assert loaded is not None
    if name == "amx":
        assert loaded.allow_tiles()
    monkeypatch.setattr(native, "library", lambda: loaded)
    return name
