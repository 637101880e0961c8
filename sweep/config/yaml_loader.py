"""YAML 1.2 as configurations are written in it."""

import re
from collections.abc import Callable
from typing import Any

import yaml

_TAG = "tag:yaml.org,2002:"
_TEXT, _INTEGER, _DATE = f"{_TAG}str", f"{_TAG}int", f"{_TAG}timestamp"
_AMBIGUOUS = "!ambiguous"
_FIRST_VERSION = yaml.resolver.Resolver()
_TYPED = (f"{_TAG}bool", _INTEGER, f"{_TAG}float", _DATE)


class Ambiguous:
    """A value without quotes that YAML 1.1 and 1.2 read differently, such as ``010``.

    No key accepts it but those for which both readings mean the same.
    """

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        first = "a date" if _first_tag(self.text) == _DATE else str(yaml.safe_load(self.text)).lower()
        second = str(_integer(self.text)) if _is_integer(self.text) else "text"
        return f"{self.text} ({first} in YAML 1.1, {second} in YAML 1.2; text is written in quotes)"


class StrictLoader(yaml.SafeLoader):
    """The core schema of YAML 1.2, in which a key is text and stands once; ``<<`` takes over another mapping.

    Most libraries still read and write YAML 1.1. What is a number, a truth value or a date there, and something
    else here, becomes :class:`Ambiguous`.
    """

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        """Tag of a node."""
        tag = super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]
        if kind is not yaml.ScalarNode or not implicit[0]:  # in quotes, or with a tag of its own
            return tag
        first = _first_tag(value)
        if first not in _TYPED:
            return tag
        same = first == tag and (tag != _INTEGER or yaml.safe_load(value) == _integer(value))
        return tag if same else _AMBIGUOUS


StrictLoader.yaml_implicit_resolvers = {}


def _first_tag(text: str) -> str:
    return str(_FIRST_VERSION.resolve(yaml.ScalarNode, text, (True, False)))  # type: ignore[no-untyped-call]


_INTEGER_PATTERN = r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+"


def _is_integer(text: str) -> bool:
    return re.fullmatch(_INTEGER_PATTERN, text) is not None


def _integer(text: str) -> int:
    return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))


def _float(text: str) -> float:
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


_CORE: tuple[tuple[str, str, str, Callable[[str], object] | None], ...] = (
    ("null", r"~|null|Null|NULL|", "~nN", None),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF", lambda text: text.lower() == "true"),
    ("int", _INTEGER_PATTERN, "-+0123456789", _integer),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
        _float,
    ),
    ("merge", r"<<", "<", None),
)
"""Per kind of value: its pattern, what it may begin with, and how it is read if not as in YAML 1.1."""


def _constructor(read: Callable[[str], object]) -> Callable[[StrictLoader, yaml.ScalarNode], object]:
    return lambda loader, node: read(str(loader.construct_scalar(node)))


for _kind, _pattern, _begins, _read in _CORE:
    _begin: list[str] = [*_begins, ""] if _kind == "null" else list(_begins)
    StrictLoader.add_implicit_resolver(f"{_TAG}{_kind}", re.compile(f"(?:{_pattern})$"), _begin)
    if _read is not None:
        StrictLoader.add_constructor(f"{_TAG}{_kind}", _constructor(_read))
StrictLoader.add_constructor(_AMBIGUOUS, _constructor(Ambiguous))


def _mapping(loader: StrictLoader, node: yaml.MappingNode) -> dict[object, object]:
    seen = set()
    for key, _ in node.value:
        if key.tag == f"{_TAG}merge":
            continue
        if key.tag != _TEXT:
            found = repr(key.value) if isinstance(key, yaml.ScalarNode) else f"a {key.id}"
            raise yaml.constructor.ConstructorError(None, None, f"a key is text; found {found}", key.start_mark)
        if key.value in seen:
            rule = f"a key stands once; {key.value!r} is there twice"
            raise yaml.constructor.ConstructorError(None, None, rule, key.start_mark)
        seen.add(key.value)
    return loader.construct_mapping(node)


StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
