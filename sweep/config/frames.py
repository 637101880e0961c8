"""The frames of a job: entries, patterns and manifests become one list, each frame with an id of its own."""

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import starmap
from pathlib import Path
from typing import NamedTuple, Protocol

import pyarrow as pa
from fsspec.implementations.arrow import ArrowFSWrapper

from sweep.config.frame_ids import new_ids, stem_of
from sweep.config.manifest import COLUMNS, MANIFESTS, ManifestRow, read_manifest
from sweep.config.paths import expand, place, resolve
from sweep.config.patterns import find_files, identity
from workers.errors import ConfigError, FrameFileError, FrameIndexError
from workers.files import child, describe, is_uri, locate, persist, split_options
from workers.reasons import reason_of

LISTED = pa.schema([("id", pa.string()), *COLUMNS, ("relative", pa.string()), ("of_list", pa.bool_())])
"""Columns of a :class:`FrameList`."""

_PATIENCE_SECONDS = 5.0  # for a pattern behind a URI: nothing has begun yet


class Entry(Protocol):
    """An entry of ``frames``, as the configuration gives it."""

    @property
    def frame(self) -> str:
        """Path, URI, pattern or manifest."""

    @property
    def encoder(self) -> str | None:
        """Path or URI, in which ``{stem}`` stands for the frame's file stem."""

    @property
    def frame_index(self) -> int | None:
        """Display index of the frame in a file of several, where it is given."""

    @property
    @property
    def encoder_frame(self) -> int | None:
        """Display index of the frame in the encoder's file, where it is given."""

    @property
    def lmbda(self) -> float | list[float] | None:
        """Weight of the rate, or a list of them, one frame of the job each; ``None`` for the encoder's."""


class FrameItem(NamedTuple):
    """A frame of the job.

    Attributes:
        id: see :mod:`sweep.config.frame_ids`.
        frame: path or URI of its file.
        encoder: path or URI of its encoder's file; ``None`` if it is to be fitted.
        lmbda: weight of the rate; ``None`` for the encoder's.
        frame_index: display index of the frame in a file of several, where it is given.
        encoder_frame: display index of the frame in an encoder's file of several, where it is given.
        relative: path of its file relative to the folder of the configuration: the same after both have moved
            together. ``None`` for a URI.
        of_list: whether ``lmbda`` is one of a list of the configuration.
    """

    id: str
    frame: str
    encoder: str | None
    lmbda: float | None
    frame_index: int | None = None
    encoder_frame: int | None = None
    relative: str | None = None
    of_list: bool = False


class _Row(NamedTuple):
    """A frame before it has an id; ``is_found``: a pattern found it."""

    frame: str
    encoder: str | None
    lmbda: float | None
    frame_index: int | None
    encoder_frame: int | None
    of_list: bool
    is_found: bool


class FrameList(Sequence[FrameItem]):
    """All frames of a job, kept as columns: a job may have a great many.

    Args:
        table: with the columns of :class:`FrameItem`.
    """

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    @classmethod
    def of(cls, items: Iterable[FrameItem]) -> "FrameList":
        """List of some items."""
        columns = list(zip(*items, strict=True)) or [()] * len(LISTED)
        return cls(pa.table(dict(zip(LISTED.names, map(list, columns), strict=True)), LISTED))

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return FrameItem(*(column[index % len(self)].as_py() for column in self.table.columns))

    def __iter__(self) -> Iterator[FrameItem]:
        for batch in self.table.to_batches(max_chunksize=1024):
            yield from starmap(FrameItem, zip(*(column.to_pylist() for column in batch.columns), strict=True))

    @property
    def n_fits(self) -> int:
        """How many have no encoder."""
        return int(self.table["encoder"].null_count)

    def with_ids(self, ids: Sequence[str]) -> "FrameList":
        """The same frames under other ids."""
        return FrameList(self.table.set_column(0, LISTED.field("id"), pa.array(ids, pa.string())))


def list_frames(entries: Sequence[Entry], base: Path, lmbda: float | list[float]) -> FrameList:
    """The frames that some entries stand for, in their order, with the ids that they get in a new job.

    Args:
        entries: of the configuration.
        base: folder that paths are relative to, those in manifests too.
        lmbda: weight of the rate, or a list of them, where neither an entry nor an encoder gives one.

    Raises:
        ConfigError: there is no such frame or manifest, or a manifest is wrong. The message names the entry, and
            the row.
    """
    rows: list[_Row] = []
    for index, entry in enumerate(entries):
        try:
            rows += _rows(entry, base, lmbda)
        except ValueError as error:
            raise ConfigError(f"frames[{index}].frame: {error}") from None
        except FrameIndexError as error:
            raise ConfigError(f"frames[{index}].frame_index: {error}") from None
    if len(entries) > 1:
        rows = _without_repetitions(rows)
    items = [
        FrameItem(
            "",
            row.frame,
            row.encoder,
            row.lmbda,
            row.frame_index,
            row.encoder_frame,
            _relative(row.frame, base),
            row.of_list,
        )
        for row in rows
    ]
    return FrameList.of(items).with_ids(new_ids(items))


def _relative(location: str, base: Path) -> str | None:
    return None if is_uri(location) else os.path.relpath(location, base)


def _rows(entry: Entry, base: Path, lmbda: float | list[float]) -> Iterator[_Row]:
    """What an entry stands for, each frame with its weights of the rate."""
    is_pattern = False
    if is_manifest(expand(entry.frame)):
        found = read_manifest_at(base, entry.frame)
    else:
        location, is_pattern = place_entry(base, entry.frame)
        locations = _matches(location, describe(resolve(base, entry.frame))) if is_pattern else [location]
        found = [(each, None, None, None, None) for each in locations]
    given = None if entry.encoder is None else resolve(base, entry.encoder)
    for frame, encoder, weight, listed_index, listed_encoder_frame in found:
        frame_index = entry.frame_index if listed_index is None else listed_index
        encoder_frame = entry.encoder_frame if listed_encoder_frame is None else listed_encoder_frame
        _check_index(frame, frame_index)
        if encoder is None and given is not None:
            encoder = given.replace("{stem}", stem_of(frame))
        chosen = entry.lmbda if weight is None else weight
        if chosen is None and encoder is None:
            chosen = lmbda
        of_list = isinstance(chosen, list)
        for each in chosen if isinstance(chosen, list) else [chosen]:
            yield _Row(frame, encoder, each, frame_index, encoder_frame, of_list, is_pattern)


def _check_index(location: str, frame_index: int | None) -> None:
    """Refuse a ``.yuv`` file on this machine that does not hold the frame that is meant, as its size tells.

    Whatever else is wrong with it makes this frame fail, and no other one.
    """
    from workers.codec import check_yuv, is_yuv  # load torch, which a list of frames does without

    if is_uri(location) or not is_yuv(location):
        return
    try:
        check_yuv(location, frame_index)
    except FrameIndexError:
        raise
    except (FrameFileError, OSError):
        return


def _without_repetitions(rows: list[_Row]) -> list[_Row]:
    """The rows without what patterns find again: the same file with the same encoder and weight.

    Frames that are written down twice stay two.
    """
    if not any(row.is_found for row in rows):
        return rows
    before: dict[object, bool] = {}
    kept = []
    for row in rows:
        key = (row.frame if is_uri(row.frame) else identity(row.frame), *row[1:-1])
        if key not in before or not (row.is_found or before[key]):
            kept.append(row)
            before[key] = row.is_found
    return kept


def is_manifest(frame: str) -> bool:
    """Whether an entry is a list of frames, and no frame."""
    return frame.lower().partition("?")[0].endswith(MANIFESTS)


def read_manifest_at(base: Path, manifest: str) -> list[ManifestRow]:
    """The rows of a manifest, with its path and those in it resolved.

    Raises:
        ValueError: see :func:`~sweep.config.manifest.read_manifest` and :func:`~sweep.config.paths.expand`.
    """
    location = resolve(base, manifest)
    rows: list[ManifestRow] = []
    for number, (frame, encoder, lmbda, index, encoder_frame) in read_manifest(location).items():
        try:
            there = None if encoder is None else resolve(base, encoder)
            rows.append((resolve(base, frame), there, lmbda, index, encoder_frame))
        except ValueError as error:
            raise ValueError(f"the manifest {describe(location)}, row {number}: {error}") from None
    return rows


def place_entry(base: Path, frame: str) -> tuple[str, bool]:
    """Path or URI of an entry; and whether it is a pattern, which the name of a file is not.

    Raises:
        ValueError: see :func:`~sweep.config.paths.expand`.
    """
    location = resolve(base, frame)
    if is_uri(location):
        return location, glob.has_magic(split_options(frame)[0])
    if not glob.has_magic(frame) or Path(location).exists():
        return location, False
    # What is written is a pattern; the folder that it is relative to and what is put in for a variable are not.
    return place(Path(glob.escape(str(base))), expand(frame, glob.escape)), True


def _matches(pattern: str, written: str) -> list[str]:
    """Files that match the pattern of an entry."""
    try:
        found = _match_uri(pattern) if is_uri(pattern) else find_files(pattern)
    except OSError as error:
        raise ValueError(f"{written!r} cannot be listed: {reason_of(error)}") from None
    if not found:
        raise ValueError(f"no file matches {written!r}")
    for path in found:
        if not _is_text(path):
            raise ValueError(f"a path is text in UTF-8; found {path!r}")
    return found


def _match_uri(location: str) -> list[str]:
    """URIs of the objects that match a pattern."""
    filesystem, pattern = locate(location)
    uri, options = split_options(location)
    first = next(i for i, char in enumerate(pattern) if char in "*?[")
    tail = len(pattern) - pattern.rindex("/", 0, first)  # with the slash before the first name that is a pattern
    folder = uri[:-tail] + options
    matches = persist(lambda: ArrowFSWrapper(filesystem).glob(pattern), _PATIENCE_SECONDS)
    return [child(folder, match[len(pattern) - tail + 1 :]) for match in sorted(matches)]


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:  # bytes that are no text, smuggled through as surrogates
        return False
    return True
