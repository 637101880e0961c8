"""Fitting: warm-up and phases of a recipe, one after the other, as a stream of progress."""

import logging
import math
import time
from collections.abc import Generator
from typing import NamedTuple

import torch

from workers.codec import Frame, FrameEncoder, FrameEncoderManager
from workers.codec.family import Architecture
from workers.errors import InputError
from workers.fit.initialization import initialize
from workers.fit.progress import FitProgress
from workers.fit.recipe import Phase, Recipe, Warmup
from workers.fit.training import Validation, train, validate
from workers.fit.training_forward import supports
from workers.objective.loss import MSE
from workers.objective.metric import Metric
from workers.psnr import psnr_db

_logger = logging.getLogger(__name__)


def retune(
    frame_encoder: FrameEncoder,
    frame: Frame,
    lmbda: float,
    phase: Phase,
    report_seconds: float = math.inf,
    metric: Metric = MSE,
) -> Generator[FitProgress, None, None]:
    """Train the latents of a frame encoder on, in place, its networks as they are (§5 of the format, phase 3).

    Frame encoders that cannot be trained here are left as they are.

    Args:
        frame_encoder: with quantized networks.
        frame: what it was fitted to.
        lmbda: weight of the rate.
        phase: how; it trains the latents alone.
        report_seconds: see :func:`fit`.
        metric: gives the distortion.

    Yields:
        Progress of ``phase 3``, at every validation and as ``report_seconds`` says. The phase may stop before its
        last iteration. Of frame encoders that are left as they are, once.

    Raises:
        InputError: the loss is not finite to begin with.
    """
    run = _Run(frame, lmbda, phase.iterations, report_seconds, metric)
    if not supports(frame_encoder.param):
        yield run.progress("phase 3", phase.iterations, validate(frame_encoder, frame, lmbda, metric))
        return
    yield from run.train("phase 3", phase, _Candidate(frame_encoder, torch.Generator()))


class _Candidate(NamedTuple):
    """A random initialization, and the source of the noise it is trained with."""

    frame_encoder: FrameEncoder
    generator: torch.Generator


def fit(
    frame: Frame,
    architecture: Architecture,
    lmbda: float,
    recipe: Recipe,
    seed: int,
    report_seconds: float = math.inf,
) -> Generator[FitProgress, None, tuple[FrameEncoder, FrameEncoderManager]]:
    """Overfit a frame encoder to a frame (§5 of the format).

    The same arguments and number of torch threads give the same bits. The process' random number generator is
    neither used nor changed.

    Args:
        frame: on the CPU.
        architecture: sizes of the networks.
        lmbda: weight of the rate.
        recipe: how to train.
        seed: not negative; every candidate of the warm-up has a seed of its own, derived from this one.
        report_seconds: progress is reported between validations, too, where the last report is so many seconds ago;
            the longest time without any is that of one iteration or validation more.

    Yields:
        Progress, at every validation and as ``report_seconds`` says.

    Returns:
        The frame encoder, in evaluation mode and in full precision, with the best parameters that any validation
        of the last phase has seen; and its manager, with the time that was spent here, not in the consumer.

    Raises:
        InputError: lmbda is negative or not finite, or the loss is not finite before any training.
    """
    if not (math.isfinite(lmbda) and lmbda >= 0):
        raise InputError(f"lmbda is finite and not negative; found {lmbda}")
    manager = FrameEncoderManager(lmbda)
    steps = _fit(frame, architecture, lmbda, recipe, seed, report_seconds)
    while True:
        start = time.perf_counter()
        try:
            progress = next(steps)
        except StopIteration as end:
            frame_encoder: FrameEncoder = end.value
            return frame_encoder, manager
        finally:
            manager.total_training_time_sec += time.perf_counter() - start
        manager.iterations_counter = progress.iteration
        yield progress


def _fit(
    frame: Frame, architecture: Architecture, lmbda: float, recipe: Recipe, seed: int, report_seconds: float
) -> Generator[FitProgress, None, FrameEncoder]:
    run = _Run(frame, lmbda, recipe.iterations, report_seconds)
    n_candidates = recipe.warmup.candidates[0] if recipe.warmup else 1
    param = architecture.parameter(frame.img_size, frame.frame_data_type, frame.bitdepth, lmbda)
    candidates = [_Candidate(*initialize(param, frame, seed, index)) for index in range(n_candidates)]
    if recipe.warmup:
        candidates = yield from _warm_up(
            run, recipe.warmup, recipe.warmup.phase(recipe.phases[0], lmbda), candidates
        )
    (winner,) = candidates
    for number, phase in enumerate(recipe.phases, start=1):
        loss = yield from run.train(f"phase {number}", phase, winner)
        _logger.debug("phase %d: best loss %g", number, loss)
    return winner.frame_encoder


def _warm_up(
    run: "_Run", warmup: Warmup, phase: Phase, candidates: list[_Candidate]
) -> Generator[FitProgress, None, list[_Candidate]]:
    """The one candidate that is left after all stages."""
    for kept in (*warmup.candidates[1:], 1):
        losses = []
        for candidate in candidates:
            loss = yield from run.train("warm-up", phase, candidate)
            losses.append(loss)
        ranking = sorted(range(len(candidates)), key=losses.__getitem__)  # the first one on a tie
        _logger.debug("warm-up: losses %s, kept %s", losses, ranking[:kept])
        candidates = [candidates[index] for index in ranking[:kept]]
    return candidates


class _Run:
    """One fit: what all its phases share, and the iterations they have done together."""

    def __init__(
        self, frame: Frame, lmbda: float, n_iterations: int, report_seconds: float, metric: Metric = MSE
    ) -> None:
        self._metric = metric
        self._frame = frame
        self._lmbda = lmbda
        self._n_iterations = n_iterations
        self._report_seconds = report_seconds
        self._done = 0

    def train(self, name: str, phase: Phase, candidate: _Candidate) -> Generator[FitProgress, None, float]:
        """Train a candidate, report in terms of the whole fit, and return its best loss."""
        steps = train(
            candidate.frame_encoder,
            self._frame,
            self._lmbda,
            phase,
            candidate.generator,
            self._report_seconds,
            self._metric,
        )
        while True:
            try:
                iteration, validation = next(steps)
            except StopIteration as end:
                self._done += phase.iterations
                best_loss: float = end.value
                return best_loss
            yield self.progress(name, iteration, validation)

    def progress(self, name: str, iteration: int, validation: Validation) -> FitProgress:
        """After some iterations of a phase, in terms of the whole fit."""
        height, width = self._frame.img_size
        return FitProgress(
            phase=name,
            iteration=self._done + iteration,
            n_iterations=self._n_iterations,
            loss=validation.loss,
            psnr_db=psnr_db(validation.mse),
            rate_latent_bpp=validation.rate_latent_bit / (height * width),
        )
