"""Strict reading of settings and recipes in YAML."""

import os
import re
from pathlib import Path
from typing import Any

import yaml

from kebyt5.encodings import decode_utf8
from kebyt5.errors import InputError

_VARIABLE = re.compile(r"\$\{(\w+)\}")


class _UniqueKeys(yaml.SafeLoader):
    """Refuses duplicate keys, of which the plain loader silently keeps the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in keys:
                cause = f"{key.value!r} is given twice"
                raise yaml.MarkedYAMLError(problem=cause, problem_mark=key.start_mark)
            keys.add(key.value)
        return super().construct_mapping(node, deep)


def load_yaml(path: Path, holding: str, variables: bool = False) -> Any:
    """Reads a YAML file.

    Args:
        path: The file.
        holding: What the file should contain, for messages, such as "a recipe".
        variables: Whether to replace `${NAME}` in strings by the environment variable NAME, and
            `~/` at their beginning by the home folder, as a shell does.

    Raises:
        InputError: The file cannot be read, repeats a key, or names a variable that is not set.
    """
    try:
        content = yaml.load(decode_utf8(path.read_bytes(), str(path)), _UniqueKeys)
    except InputError:
        raise
    except (OSError, ValueError, yaml.YAMLError) as error:  # ValueError: an impossible date
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}" if mark else str(path)
        cause = getattr(error, "problem", None) or getattr(error, "strerror", None) or error
        raise InputError(f"{place}: cannot be read as YAML ({holding}): {cause}") from error
    return _with_variables(content, path) if variables else content


def _with_variables(value: Any, path: Path) -> Any:
    def variable(match: re.Match[str]) -> str:
        if match[1] not in os.environ:
            raise InputError(f"{path}: the environment variable {match[1]} is not set; set it")
        return os.environ[match[1]]

    if isinstance(value, dict):
        return {key: _with_variables(item, path) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_variables(item, path) for item in value]
    return at_home(_VARIABLE.sub(variable, value)) if isinstance(value, str) else value


def at_home(text: str) -> str:
    """Replaces `~/` at the beginning of a path by the home folder, as a shell does."""
    return os.path.expanduser(text) if text.startswith("~/") else text
