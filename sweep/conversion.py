"""Frame encoders from one form to another: checkpoints and bitstreams."""

import logging
from pathlib import PurePath
from typing import NamedTuple

from sweep.results import Output, SweptFrame, find_swept
from workers.bitstream.formats import FORMATS, format_of_suffix, recognized, write_file
from workers.bitstream.limits import MAX_PIXELS
from workers.codec import EncoderParameter, FrameEncoder, dump_frame_encoder, parse_frame_encoder
from workers.codec.formats.decoder_limits import decoder_warnings
from workers.codec.formats.official import ZIP
from workers.codec.formats.official_writer import SweptEncoder, dump_official, with_release
from workers.errors import BitstreamError, CheckpointError, ConfigError, InputError, ResultsError
from workers.files import describe, read_bytes
from workers.reasons import reason_of

_log = logging.getLogger(__name__)

OFFICIAL, OWN = ".pt", ".safetensors"
"""What the name of an exported file ends in, by its form."""


class ExportedFile(NamedTuple):
    """A file that was written.

    Attributes:
        release: of Cool-Chic, whose encoder it is.
        bytes: its size.
        bpp: of a bitstream, the same in bits per luma sample.
    """

    release: str
    bytes: int
    bpp: float | None


def import_encoder(
    file: str,
    target: str,
    encoder_frame: int | None = None,
    lmbda: float | None = None,
    max_pixels: int = MAX_PIXELS,
) -> float | None:
    """Write a checkpoint of Cool-Chic's own encoder, or what is in a bitstream, as a checkpoint of this project.

    Of a checkpoint it is the encoder in full precision. A bitstream holds quantized networks alone, and so does the
    checkpoint that is written then, with their steps and counts.

    Args:
        file: its path or URI.
        target: path or URI of the safetensors file; see :class:`~sweep.results.Output`.
        encoder_frame: display index of the frame in a checkpoint of several.
        lmbda: weight of the rate, where the file holds none. A bitstream does not need one.
        max_pixels: luma samples of the largest bitstream that is accepted.

    Returns:
        The weight of the rate; ``None`` if it is not known.

    Raises:
        CheckpointError: the checkpoint cannot be used.
        BitstreamError: the bitstream is truncated, altered or too large.
        ResultsError: the checkpoint cannot be written; ``started`` tells whether that was found out in advance.
    """
    name = describe(file)
    with Output(target, [file]) as output:
        try:
            content = read_bytes(file)
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{name}: the frame encoder cannot be read: {reason_of(error)}") from None
        if (bitstream := recognized(content, name)) is not None:
            try:
                frame_encoder = FORMATS[bitstream].read_encoder(content, max_pixels=max_pixels)
            except BitstreamError as error:
                raise BitstreamError(f"{name}: {error}") from None
            _write(output, dump_frame_encoder(frame_encoder, lmbda))
            return lmbda
        frame_encoder, manager = parse_frame_encoder(content, name, encoder_frame, lmbda)
        _write(output, dump_frame_encoder(frame_encoder, manager.lmbda, manager.fitted_mse))
    return manager.lmbda


def export_encoder(
    out: str, frame: str, target: str, release: str | None = None, encoder: str | None = None
) -> ExportedFile:
    """Write a frame's quantized encoder as a file of Cool-Chic's own encoder, a checkpoint of this project, or a
    bitstream.

    Args:
        out: folder or URI of a job's results.
        frame: id of the frame.
        target: path or URI of the file, which says the form by its ending; see :class:`~sweep.results.Output`.
            Streams get an official file.
        release: of Cool-Chic, in whose layout it is written; ``None`` for that of the encoder.
        encoder: path or URI of the encoder that was swept, where it is no longer where the job read it.

    Raises:
        ConfigError: the target has another ending.
        InputError: a bitstream of this format cannot hold the encoder.
        CheckpointError: the release cannot hold the encoder; or the encoder that was swept cannot be read, or has
            changed.
        ResultsError: there are no results of such a frame; or the file cannot be written.
    """
    swept = find_swept(out, frame)
    before = swept.encoder if encoder is None else encoder
    with Output(target, [before, swept.quantized_name]) as output:
        ending = OFFICIAL if output.is_stream else PurePath(describe(target)).suffix.lower()
        bitstream = format_of_suffix(ending)
        if ending not in (OFFICIAL, OWN) and bitstream is None:
            endings = ", ".join((OFFICIAL, OWN, *(FORMATS[name].suffix for name in FORMATS)))
            raise ConfigError(
                f"{output.name}: the ending of an exported encoder is one of {endings}; found {ending!r}"
            )
        quantized, manager = parse_frame_encoder(swept.quantized, swept.quantized_name)
        try:
            param = with_release(quantized.param, release)
            if bitstream is not None:
                content = write_file(bitstream, quantized).content
            elif ending == OWN:
                content = dump_frame_encoder(_of(quantized, param), manager.lmbda)
            else:
                content = _official(swept, before, quantized, manager.lmbda, release)
        except CheckpointError as error:
            raise CheckpointError(f"frame {frame}: {error}") from None
        except InputError as error:
            raise InputError(f"frame {frame}: {error}") from None
        _write(output, content)
    height, width = param.img_size
    bpp = None if bitstream is None else 8 * len(content) / (height * width)
    return ExportedFile(param.release, len(content), bpp)


def _official(
    swept: SweptFrame, location: str, quantized: FrameEncoder, lmbda: float, release: str | None
) -> bytes:
    name = describe(location)
    try:
        content = read_bytes(location)
    except (OSError, ValueError) as error:
        raise CheckpointError(
            "an official file also holds the parameters in full precision, and the encoder that was swept is not "
            f"readable: {name}: {reason_of(error)}; --encoder says where it is"
        ) from None
    full_precision, _ = parse_frame_encoder(content, name, swept.encoder_frame, lmbda)
    both = SweptEncoder(full_precision, quantized, lmbda, PurePath(describe(swept.picture)).stem)
    try:
        both.check()
    except CheckpointError as error:
        raise CheckpointError(f"{name}: {error}") from None
    for warning in decoder_warnings(with_release(quantized.param, release)):
        _log.warning("%s", warning)
    return dump_official(both, release, content if content.startswith(ZIP) else None, swept.encoder_frame)


def _of(frame_encoder: FrameEncoder, param: EncoderParameter) -> FrameEncoder:
    """A frame encoder with the architecture of another release, which computes the same."""
    frame_encoder.param = param
    return frame_encoder


def _write(output: Output, content: bytes) -> None:
    try:
        output.write(content)
    except ResultsError as error:
        error.started = True
        raise
