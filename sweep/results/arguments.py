"""Arguments that name several things: lists, and whatever else gives names one after the other."""

from collections.abc import Iterable, Sequence

import pyarrow as pa


def names_of(argument: str, given: Iterable[str] | None, known: Sequence[str] | None = None) -> list[str] | None:
    """The names that an argument gives.

    Args:
        argument: its name.
        given: a list, tuple, set, generator, array, or column of pandas, polars or Arrow; ``None`` stays.
        known: names that are accepted; ``None`` for all.

    Raises:
        ValueError: it is one text, or holds something that is no text, or a name that is not known.
    """
    if given is None:
        return None
    if isinstance(given, str | bytes):
        raise ValueError(f"{argument}: a list is accepted; found the text {given!r}")
    try:
        values = given.to_pylist() if isinstance(given, pa.Array | pa.ChunkedArray) else list(given)
    except TypeError:  # also an array without dimensions
        raise ValueError(f"{argument}: a list is accepted; found {given!r}") from None
    if wrong := [value for value in values if not isinstance(value, str)]:
        raise ValueError(f"{argument}: a list of text is accepted; found {wrong[0]!r} in it")
    names = [str(value) for value in values]
    if known is not None and (unknown := sorted(set(names) - set(known))):
        raise ValueError(f"{argument}: accepted: {', '.join(known)}; found {', '.join(unknown)}")
    if isinstance(given, set | frozenset):  # in no order
        names.sort(key=None if known is None else known.index)
    return names
