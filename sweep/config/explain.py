"""What is wrong with a configuration, in terms of its keys."""

from collections.abc import Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError


def explain(
    error: ValidationError,
    content: Mapping[str, Any],
    root: type[BaseModel],
    entries: Mapping[str, tuple[type[BaseModel], str]],
) -> list[str]:
    """A line per key that is wrong: its path, what is accepted, what was found.

    Args:
        error: what validation found.
        content: what was validated.
        root: the model it was validated with; the descriptions of its fields say what they accept.
        entries: for keys that hold lists, the model of an entry, and what an entry may be.
    """
    lines: dict[str, str] = {}
    for problem in error.errors():
        model: type[BaseModel] | None = root
        key, accepted, found = "", "a mapping", problem["input"]
        at: Any = content
        for part in problem["loc"]:
            if model is not None and part == model.__name__:
                continue  # which of several kinds of value it was taken for
            if isinstance(part, int):
                model, accepted = entries.get(key, (None, accepted))
                key, at = f"{key}[{part}]", at[part] if isinstance(at, list) else at
                found = at
            elif model is not None and part in model.model_fields:
                field = model.model_fields[part]
                key, accepted = f"{key}.{part}".lstrip("."), field.description or ""
                at = at.get(part) if isinstance(at, Mapping) else at
                model = next(
                    (kind for kind in (field.annotation, *get_args(field.annotation)) if _is_model(kind)), None
                )
                found = at
            elif problem["type"] == "extra_forbidden" and model is not None:
                key, found = f"{key}.{part}".lstrip("."), None
                lines[key] = f"{key}: unknown key; accepted: {', '.join(model.model_fields)}"
            elif isinstance(at, Mapping) and part in at:
                key, found = f"{key}.{part}", at[part]
                at = found
        if problem["type"] == "missing":
            lines[key] = f"{key}: this key is required; accepted: {accepted}"
        elif problem["type"] != "extra_forbidden":
            lines.setdefault(key, f"{key}: accepted: {accepted}; found {_short(found)}")
    # Where a mapping is one of several things accepted, what is wrong inside it says more.
    return [
        line for key, line in lines.items() if not any(other.startswith((f"{key}.", f"{key}[")) for other in lines)
    ]


def _is_model(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
