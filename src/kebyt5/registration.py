"""Registers the models with Transformers' Auto classes as soon as Transformers is imported.

Registering at once would import Transformers and PyTorch, which takes seconds, for whoever imports
any part of the package: a client of a server, or `kebyt5 --help`.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

_REGISTRY = "kebyt5.models.auto"


class _Finder(MetaPathFinder):
    """Finds Transformers and `kebyt5.models` as other finders do; once they are there, registers.

    A module of `kebyt5.models` may be the one that imports Transformers. The registry needs it, so
    it is not imported before that module is complete.
    """

    def __init__(self) -> None:
        self._unfinished = 0

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        is_ours = name.startswith("kebyt5.models.")
        if not is_ours and name != "transformers":
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        specs = (finder.find_spec(name, path, target) for finder in others)
        spec = next(filter(None, specs), None)
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            self._unfinished += is_ours
            try:
                execute(module)
            finally:
                self._unfinished -= is_ours
            if "transformers" in sys.modules and not self._unfinished:
                import_module(_REGISTRY)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def register_with_transformers() -> None:
    """Registers the models now if Transformers is imported already, else when it will be."""
    if "transformers" in sys.modules:
        import_module(_REGISTRY)
    elif find_spec("torch"):  # without it there is nothing to register
        sys.meta_path.insert(0, _Finder())
