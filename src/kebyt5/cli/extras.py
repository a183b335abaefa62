"""Optional dependencies of some commands."""

from importlib.util import find_spec

from kebyt5.errors import InputError


def require_extra(extra: str, *packages: str) -> None:
    """Checks that packages of an extra are installed.

    Args:
        extra: The extra's name, as in `pip install 'kebyt5[serve]'`.
        packages: Names that the command imports.

    Raises:
        InputError: One is not installed; the message says how to install it.
    """
    for package in packages:
        if find_spec(package) is None:
            raise InputError(f"{package} is not installed; pip install 'kebyt5[{extra}]'")
