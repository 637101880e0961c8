"""Frames of a job that resumes: which of them its manifest knows, and the manifest to write."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from sweep.config import FrameItem, FrameList, added_ids, name_of
from sweep.results.manifest import MANIFEST
from sweep.results.table import IDENTITY
from workers.files import describe


class Known(NamedTuple):
    """A frame that a manifest lists; see :data:`MANIFEST`."""

    id: str
    frame: str
    encoder: str | None
    lmbda: float | None
    frame_index: int | None
    relative: str | None
    lmbda_used: float | None
    frame_digest: str | None


def with_known_ids(frames: FrameList, manifest: pa.Table, digest: Callable[[FrameItem], str | None]) -> FrameList:
    """The frames of a job with the ids that its manifest has for them, and free ones for frames that are new.

    A frame is known by path, weight of the rate and index; else by its path relative to the configuration, where
    the folder has moved; else by name and content, where the picture has.

    Args:
        frames: as the configuration lists them.
        manifest: see :data:`MANIFEST`.
        digest: gives that of a frame's file; ``None`` if it cannot be read.
    """
    items, known = list(frames), [Known(*row.values()) for row in manifest.select(Known._fields).to_pylist()]
    ids = _known_ids(items, known, digest)
    new = [index for index, frame_id in enumerate(ids) if frame_id is None]
    pictures = {name_of(item) for item, frame_id in zip(items, ids, strict=True) if frame_id is not None}
    paths = {(one.frame, one.frame_index) for one in known} | {(one.relative, one.frame_index) for one in known}
    for index in new:
        item = items[index]
        if {(describe(item.frame), item.frame_index), (item.relative, item.frame_index)} & paths:
            pictures.add(name_of(item._replace(of_list=False)))
    added = added_ids([items[index] for index in new], [one.id for one in known], pictures)
    for index, frame_id in zip(new, added, strict=True):
        ids[index] = frame_id
    return frames.with_ids([frame_id for frame_id in ids if frame_id is not None])


def _known_ids(
    items: Sequence[FrameItem], known: Iterable[Known], digest: Callable[[FrameItem], str | None]
) -> list[str | None]:
    """Ids that a manifest has for some frames: each way to know a frame in turn, for those that are left over."""
    ids: list[str | None] = [None] * len(items)
    left = {one.id: one for one in known}
    for of_item, of_known in _WAYS:
        waiting = defaultdict[Hashable, list[str]](list)
        for one in left.values():
            if (key := of_known(one)) is not None:
                waiting[key].append(one.id)
        for index, item in enumerate(items):
            if ids[index] is None and (key := of_item(item)) is not None and waiting.get(key):
                ids[index] = waiting[key].pop(0)
                del left[ids[index] or ""]
    by_name = defaultdict[Hashable, list[Known]](list)
    for one in left.values():
        if one.frame_digest is not None:
            by_name[_name_key(one.frame, one.lmbda, one.frame_index)].append(one)
    for index, item in enumerate(items):
        candidates = (
            by_name.get(_name_key(item.frame, item.lmbda, item.frame_index)) if ids[index] is None else None
        )
        if candidates and (found := digest(item)) is not None:
            same = next((one for one in candidates if one.frame_digest == found), None)
            if same is not None:
                candidates.remove(same)
                ids[index] = same.id
    return ids


def _name_key(frame: str, lmbda: float | None, frame_index: int | None) -> Hashable:
    return describe(frame).rpartition("/")[2], lmbda, frame_index


_WAYS: tuple[tuple[Callable[[FrameItem], Hashable | None], Callable[[Known], Hashable | None]], ...] = (
    (
        lambda item: (describe(item.frame), item.encoder and describe(item.encoder), item.lmbda, item.frame_index),
        lambda one: (one.frame, one.encoder, one.lmbda, one.frame_index),
    ),
    (
        lambda item: (describe(item.frame), item.lmbda, item.frame_index),
        lambda one: (one.frame, one.lmbda, one.frame_index),
    ),
    (
        lambda item: item.relative and (item.relative, item.lmbda, item.frame_index),
        lambda one: one.relative and (one.relative, one.lmbda, one.frame_index),
    ),
    # A weight that was the encoder's own may be written down later.
    (
        lambda item: (describe(item.frame), item.lmbda, item.frame_index),
        lambda one: None if one.lmbda is not None else (one.frame, one.lmbda_used, one.frame_index),
    ),
    (
        lambda item: item.relative and (item.relative, item.lmbda, item.frame_index),
        lambda one: (
            None if one.lmbda is not None else one.relative and (one.relative, one.lmbda_used, one.frame_index)
        ),
    ),
)
"""What a frame of the configuration and one of the manifest have in common if they are the same."""


def manifest_table(frames: FrameList, before: pa.Table | None, records: pa.Table) -> pa.Table:
    """The manifest to write.

    Args:
        frames: of the job.
        before: the manifest that was there; its frames that are no longer in the job are kept.
        records: of frames that are done, as in ``frames.parquet``.
    """
    rows = [
        {
            "id": item.id,
            "frame": describe(item.frame),
            "encoder": item.encoder and describe(item.encoder),
            "lmbda": item.lmbda,
            "frame_index": item.frame_index,
            "relative": item.relative,
            "in_job": True,
        }
        for item in frames
    ]
    listed = pa.Table.from_pylist(rows, MANIFEST)
    if before is not None:
        gone = before.filter(~pc.field("id").isin(frames.table["id"].combine_chunks()))
        gone = gone.set_column(
            MANIFEST.get_field_index("in_job"),
            MANIFEST.field("in_job"),
            pa.array([False] * gone.num_rows, pa.bool_()),
        )
        listed = pa.concat_tables([listed, gone])
    return _with_identities(listed, before, records)


def _with_identities(table: pa.Table, before: pa.Table | None, records: pa.Table) -> pa.Table:
    """Put in what the results of frames were made of: by the records, else by the manifest that was there."""
    names = ["lmbda_used", *(field.name for field in IDENTITY)]
    found = records.filter(pc.field("status") == "done").select(["frame", "lmbda", *names[1:]])
    found = found.rename_columns(["id", *names])
    if before is not None:
        rest = before.select(["id", *names]).filter(~pc.field("id").isin(found["id"].combine_chunks()))
        found = pa.concat_tables([found, rest.cast(found.schema)])
    place = pc.index_in(table["id"], found["id"].combine_chunks())
    for name in names:
        column = found[name].take(place)
        table = table.set_column(
            MANIFEST.get_field_index(name), MANIFEST.field(name), column.cast(MANIFEST.field(name).type)
        )
    return table
