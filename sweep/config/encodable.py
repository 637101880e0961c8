"""Whether the frames of a job can end as the bitstreams that are asked for, as far as it is known in advance."""

from collections.abc import Iterator

from sweep.config.fit_config import FitConfig
from sweep.config.frames import FrameItem, FrameList
from workers.bitstream.formats import DEFAULT_FORMAT, FORMATS
from workers.errors import CheckpointError, ConfigError
from workers.files import describe, is_uri

_OFFICIAL = ".pt"
_MOST_OFFICIAL = 100
"""Files of Cool-Chic's own encoder that are looked at: each takes 10 to 20 ms, and most jobs have one kind."""


def check_encodable(frames: FrameList, bitstream: str, fit: FitConfig) -> None:
    """Refuse a job one of whose frames a bitstream cannot hold.

    Encoders on this machine are looked at; those that cannot be read, or are elsewhere, are left to the replica
    that opens their frame.

    Args:
        frames: of the job.
        bitstream: name of the format.
        fit: how encoders are fitted.

    Raises:
        ConfigError: a frame encoder, or what a fit would make, cannot be held; the message says what can.
    """
    written = FORMATS[bitstream]
    if frames.n_fits and (reason := _fit_reason(bitstream, fit)) is not None:
        item = next(item for item in frames if item.encoder is None)
        raise ConfigError(f"bitstream: frame {item.id} has no encoder and would be fitted; {reason}")
    from workers.codec.checkpoint import read_parameter  # loads torch

    for item in _distinct_encoders(frames):
        assert item.encoder is not None
        try:
            param = read_parameter(item.encoder, item.encoder_frame)
        except (CheckpointError, OSError, ValueError):
            continue
        if (reason := written.unencodable(param)) is not None:
            raise ConfigError(f"bitstream: frame {item.id}, encoder {describe(item.encoder)}: {reason}")


def _fit_reason(bitstream: str, fit: FitConfig) -> str | None:
    """Why a bitstream cannot hold what a fit makes; ``None`` if it can."""
    return FORMATS[bitstream].unencodable(fit.architecture().parameter((64, 64), "rgb", 8, fit.lmbdas[0]))


def check_fit(bitstream: str, fit: FitConfig) -> None:
    """Refuse a fit whose frame encoder a bitstream cannot hold.

    Args:
        bitstream: name of the format.
        fit: how encoders are fitted.

    Raises:
        ConfigError: it cannot; the message says what to do.
    """
    if _fit_reason(bitstream, fit) is not None:
        raise ConfigError(
            f"a {FORMATS[bitstream].suffix} file cannot hold what is fitted here: give --encoder (Cool-Chic 5), or "
            f"write {FORMATS[DEFAULT_FORMAT].suffix}"
        )


def _distinct_encoders(frames: FrameList) -> Iterator[FrameItem]:
    """Frames of which no earlier one has the same encoder, as far as encoders are looked at."""
    seen: set[tuple[str, int | None]] = set()
    n_official = 0
    for item in frames:
        if item.encoder is None or is_uri(item.encoder) or (item.encoder, item.encoder_frame) in seen:
            continue
        n_official += item.encoder.lower().endswith(_OFFICIAL)
        if n_official > _MOST_OFFICIAL:
            return
        seen.add((item.encoder, item.encoder_frame))
        yield item
