"""One picture to a file, and a file to a picture, in this process."""

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import PurePath
from typing import NamedTuple

import torch

from sweep.config import FitConfig, search_factory, usual_pairs
from sweep.driver import LocalPool, Tally, run_one
from sweep.job import Display
from sweep.results import Output
from workers.answers import EncodedAnswer
from workers.bitstream import MAX_PIXELS, decode_frame, format_of
from workers.codec import (
    Frame,
    FrameEncoder,
    FrameEncoderManager,
    check_suffix,
    dump_frame,
    read_frame,
    read_frame_encoder,
    suffixes_of,
)
from workers.errors import BitstreamError, ResultsError
from workers.files import describe, read_bytes
from workers.psnr import psnr_db
from workers.reasons import reason_of
from workers.replica import Replica
from workers.source import FrameInfo, FrameSource

_log = logging.getLogger(__name__)


class EncodedFile(NamedTuple):
    """A file that was written.

    Attributes:
        bytes: its size.
        bpp: the same in bits per luma sample.
        psnr_db: of the frame that it decodes to, in dB.
        loss: ``mse + lmbda · bpp``.
    """

    bytes: int
    bpp: float
    psnr_db: float
    loss: float


def encode_file(
    frame: str,
    target: str,
    fit: FitConfig,
    encoder: str | None,
    lmbda: float | None,
    display: Display,
    frame_index: int | None = None,
    encoder_frame: int | None = None,
) -> EncodedFile:
    """Encode a frame.

    Args:
        frame: path or URI of the picture.
        target: path or URI of the file; see :class:`~sweep.results.Output`.
        fit: how it is fitted, and how its latents are trained on.
        encoder: path or URI of a fitted frame encoder; ``None`` to fit one.
        lmbda: weight of the rate; ``None`` for the encoder's, or the fit's.
        display: shows how it goes on.
        frame_index: display index of the frame in a file of several.
        encoder_frame: display index of the frame in an encoder's file of several.

    Raises:
        InputError: the frame or its encoder cannot be used.
        InfeasibleModuleError: no pair of a module has a finite loss.
        ResultsError: the file cannot be written; ``started`` tells whether that was found out in advance.
    """
    with Output(target, [frame, *([] if encoder is None else [encoder])]) as output:
        read_encoder = None if encoder is None else partial(read_frame_encoder, encoder, encoder_frame, lmbda)
        encoded, info = _encode(frame, fit, encoder, read_encoder, lmbda, display, frame_index)
        _write(output, encoded.bitstream)
    size = len(encoded.bitstream)
    bpp = 8 * size / (info.height * info.width)
    return EncodedFile(size, bpp, psnr_db(encoded.mse), encoded.mse + info.lmbda * bpp)


def _encode(
    frame: str,
    fit: FitConfig,
    encoder: str | None,
    read_encoder: Callable[[], tuple[FrameEncoder, FrameEncoderManager]] | None,
    lmbda: float | None,
    display: Display,
    frame_index: int | None,
) -> tuple[EncodedAnswer, FrameInfo]:
    """See :func:`encode_file`."""
    recipe = fit.resolve()
    stem = PurePath(describe(frame)).stem
    picture = read_frame(frame, frame_index)
    for warning in picture.warnings:  # now, and not after the fit
        _log.warning("%s", warning)
    picture = replace(picture, warnings=())
    source = FrameSource(
        stem,
        lambda: picture,
        read_encoder,
        fit.lmbdas[0] if lmbda is None and encoder is None else lmbda,
        frame_name=describe(frame),
        encoder_name=None if encoder is None else describe(encoder),
    )
    tally = Tally(1, usual_pairs({}), int(encoder is None), recipe.iterations, recipe.retuning.iterations)
    pool = LocalPool(Replica(threads=torch.get_num_threads()))
    with display(tally) as shown:
        ended = run_one(pool, source, search_factory("winner", {}), fit, bitstream=True, display=shown)
    assert ended.encoded is not None
    assert ended.info is not None
    return ended.encoded, ended.info


def _write(output: Output, content: bytes) -> None:
    try:
        output.write(content)
    except ResultsError as error:
        error.started = True
        raise


def decode_file(file: str, target: str, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Decode a bitstream.

    Args:
        file: its path or URI.
        target: path or URI of the picture: ``.png`` for rgb of 8 bits, ``.ppm`` for any rgb, ``.yuv`` for yuv; see
            :class:`~sweep.results.Output`. Streams, which have no suffix, are given the same.
        max_pixels: luma samples of the largest frame that is accepted.

    Returns:
        Height and width.

    Raises:
        BitstreamError: the file cannot be read, or is no bitstream, truncated, altered or too large.
        FrameFileError: the picture's suffix is not that of the frame's format.
        ResultsError: the picture cannot be written.
    """
    with Output(target, [file]) as output:
        frame, name = _decode(file, None if output.is_stream else describe(target), max_pixels)
        _write(output, dump_frame(frame, name))
    return frame.img_size


def _decode(file: str, name: str | None, max_pixels: int) -> tuple[Frame, str]:
    """The frame, and a name with the suffix of its file: the one that is given, or else one that fits."""
    try:
        content = read_bytes(file)
    except (OSError, ValueError) as error:
        raise BitstreamError(f"{describe(file)}: the bitstream cannot be read: {reason_of(error)}") from None
    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind = format_of(content)
        name = f"frame{suffixes_of(*kind)[0]}" if name is None else name
        check_suffix(*kind, name)
        return decode_frame(content, device, max_pixels=max_pixels), name
    except BitstreamError as error:
        raise BitstreamError(f"{describe(file)}: {error}") from None
