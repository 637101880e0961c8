"""One picture to a file, in this process."""

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
from workers.codec import FrameEncoder, FrameEncoderManager, read_frame, read_frame_encoder
from workers.files import describe
from workers.psnr import psnr_db
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
        output.write(encoded.bitstream, started=True)
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
    if encoder is None:
        fit.check_bitstream()
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
