"""YAML files that people write: read strictly, and changed from the command line."""

from pathlib import Path
from typing import Any

import yaml

from sweep.config.yaml_loader import StrictLoader
from workers.errors import ConfigError
from workers.reasons import reason_of


def parse_yaml(text: str) -> Any:
    """Parse YAML 1.2 in which a key is text and stands once; see :class:`~sweep.config.yaml_loader.StrictLoader`.

    Raises:
        yaml.YAMLError: it is no such YAML.
    """
    try:
        return yaml.load(text, StrictLoader)  # a SafeLoader
    except (ValueError, RecursionError) as error:  # too many digits, lists in lists without end
        raise yaml.YAMLError(str(error)) from None


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a file that holds a mapping.

    Raises:
        ConfigError: it cannot be read, or it holds something else.
    """
    try:
        content = parse_yaml(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: the configuration cannot be read: {reason_of(error)}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not proper YAML: {reason_of(error)}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: a configuration is a mapping; found {type(content).__name__}")
    return content


def override_key(content: dict[str, Any], override: str) -> None:
    """Set one key, given as ``key.path=value`` with the value in YAML, in place.

    Raises:
        ConfigError: it is not written so, or the path leads nowhere.
    """
    key, separator, text = override.partition("=")
    parts = key.split(".")
    if not separator or not all(parts):
        raise ConfigError(f"--set: written key.path=value; found {override!r}")
    try:
        value = parse_yaml(text)
    except yaml.YAMLError:
        raise ConfigError(f"--set {key}: the value is YAML; found {text!r}") from None
    at: Any = content
    try:
        for part, following in zip(parts, [*parts[1:], None], strict=True):
            index: Any = int(part) if isinstance(at, list) else part
            if following is None:
                at[index] = value
            else:
                if isinstance(at, dict) and at.get(index) is None:
                    at[index] = {}
                at = at[index]
    except (IndexError, ValueError, TypeError, KeyError):
        raise ConfigError(f"--set {key}: there is no such key to set; {part!r} leads nowhere") from None
