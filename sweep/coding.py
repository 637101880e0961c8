"""One picture to a file, in this process."""

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import PurePath
from typing import NamedTuple

import torch

from sweep.config import FitConfig, check_fit, search_factory, usual_pairs
from sweep.driver import LocalPool, Tally, run_one
from sweep.job import Display
from sweep.results import Output
from workers.answers import EncodedAnswer
from workers.bitstream.formats import DEFAULT_FORMAT, FORMATS, format_of_suffix, write_file
from workers.codec import Frame, FrameEncoder, FrameEncoderManager, check_match, read_frame, read_frame_encoder
from workers.codec.checkpoint import read_checkpoint
from workers.device import usual_device
from workers.files import describe
from workers.objective.loss import mean_squared_error
from workers.psnr import psnr_db
from workers.replica import Replica
from workers.source import FrameSource

_log = logging.getLogger(__name__)


class EncodedFile(NamedTuple):
    """A file that was written.

    Attributes:
        bytes: its size.
        bpp: the same in bits per luma sample.
        psnr_db: of the frame that it decodes to, in dB.
        is_swept: whether there was a sweep; else the networks were quantized already, and are in the file as they
            were.
    """

    bytes: int
    bpp: float
    psnr_db: float
    is_swept: bool


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

    An encoder whose networks are quantized already, and whose file does not hold them in full precision, is written
    as it is: its steps, integers and latents.

    Args:
        frame: path or URI of the picture.
        target: path or URI of the file, whose suffix says the format, ``.qsw`` where it is that of none; see
            :class:`~sweep.results.Output`.
        fit: how it is fitted, and how its latents are trained on.
        encoder: path or URI of a fitted frame encoder; ``None`` to fit one.
        lmbda: weight of the rate; ``None`` for the encoder's, or the fit's.
        display: shows how it goes on.
        frame_index: position of the frame in a file of several, from 0.
        encoder_frame: display index of the frame in an encoder's file of several.

    Raises:
        ConfigError: a file of the format cannot hold what a fit makes.
        InputError: the frame or its encoder cannot be used, or a file of the format cannot hold it.
        InfeasibleModuleError: no pair of a module has a finite loss.
        ResultsError: the file cannot be written; ``started`` tells whether that was found out in advance.
    """
    with Output(target, [frame, *([] if encoder is None else [encoder])]) as output:
        found = None if output.is_stream else format_of_suffix(describe(target))
        bitstream = found or FORMATS[DEFAULT_FORMAT]
        if encoder is None:
            check_fit(bitstream.name, fit)
        picture = _read_picture(frame, frame_index)
        quantized = None if encoder is None else _read_quantized(encoder, encoder_frame)
        if quantized is not None:
            check_match(picture, quantized)
            again = write_file(bitstream, quantized, usual_device())
            content, mse = again.content, mean_squared_error(again.frame.data, picture.data).item()
        else:
            read_encoder = None if encoder is None else partial(read_frame_encoder, encoder, encoder_frame, lmbda)
            encoded = _encode(frame, picture, fit, encoder, read_encoder, lmbda, display, bitstream.name)
            content, mse = encoded.bitstream, encoded.mse
        output.write(content, started=True)
    height, width = picture.img_size
    return EncodedFile(len(content), 8 * len(content) / (height * width), psnr_db(mse), quantized is None)


def _read_picture(frame: str, frame_index: int | None) -> Frame:
    picture = read_frame(frame, frame_index)
    for warning in picture.warnings:  # now, and not after the fit
        _log.warning("%s", warning)
    return replace(picture, warnings=())


def _read_quantized(encoder: str, encoder_frame: int | None) -> FrameEncoder | None:
    """The frame encoder of a file that holds quantized networks alone; ``None`` if there is something to sweep."""
    checkpoint = read_checkpoint(encoder, encoder_frame)
    quantized = checkpoint.frame_encoder
    return quantized if quantized.is_quantized and checkpoint.full_precision is None else None


def _encode(
    frame: str,
    picture: Frame,
    fit: FitConfig,
    encoder: str | None,
    read_encoder: Callable[[], tuple[FrameEncoder, FrameEncoderManager]] | None,
    lmbda: float | None,
    display: Display,
    bitstream: str,
) -> EncodedAnswer:
    """Fit if there is no encoder, sweep, and write; see :func:`encode_file`."""
    recipe = fit.resolve()
    source = FrameSource(
        PurePath(describe(frame)).name,  # in messages: there are no other frames
        lambda: picture,
        read_encoder,
        fit.lmbdas[0] if lmbda is None and encoder is None else lmbda,
        frame_name=describe(frame),
        encoder_name=None if encoder is None else describe(encoder),
    )
    tally = Tally(1, usual_pairs({}), int(encoder is None), recipe.iterations, recipe.retuning.iterations)
    pool = LocalPool(Replica(threads=torch.get_num_threads()))
    with display(tally) as shown:
        ended = run_one(pool, source, search_factory("winner", {}), fit, bitstream=bitstream, display=shown)
    assert ended.encoded is not None
    return ended.encoded
