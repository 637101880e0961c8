"""One phase of training: iterations, validations, and the best parameters seen at one."""

import copy
import logging
import math
import time
from collections.abc import Generator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_, get_total_norm

from workers.candidates import RESIDUE
from workers.codec import Frame, FrameEncoder
from workers.codec.latent import flatten
from workers.errors import InputError
from workers.fit.network_rate import add_gradients, estimated_bits
from workers.fit.optimizers import make_optimizer
from workers.fit.quantizer import kumaraswamy_noise, soft_round_twice, straight_through
from workers.fit.recipe import TRAINABLE, Phase
from workers.fit.training_forward import TrainingForward
from workers.objective.loss import MSE, loss_function
from workers.objective.metric import Metric

_logger = logging.getLogger(__name__)


class Validation(NamedTuple):
    """Cost of a frame encoder in evaluation: hard rounding, and no network rate.

    Attributes:
        loss: ``distortion + lmbda · rate_latent_bit / (H · W)``.
        mse: mean squared error, samples in [0, 1].
        rate_latent_bit: bits of all latents.
    """

    loss: float
    mse: float
    rate_latent_bit: float


class _Best(NamedTuple):
    iteration: int
    cost: float
    parameters: dict[str, Tensor]
    optimizer: dict[str, Any]


def validate(frame_encoder: FrameEncoder, frame: Frame, lmbda: float, metric: Metric = MSE) -> Validation:
    """Evaluate a frame encoder; it comes back in evaluation mode."""
    frame_encoder.eval()
    with torch.no_grad():
        decoded_image, rate = frame_encoder()
        output = loss_function(decoded_image, rate, frame.data, lmbda, 0.0, metric)
    return Validation(output.loss.item(), output.mse.item(), output.rate_latent_bit.item())


def train(
    frame_encoder: FrameEncoder,
    frame: Frame,
    lmbda: float,
    phase: Phase,
    generator: torch.Generator,
    report_seconds: float = math.inf,
    metric: Metric = MSE,
) -> Generator[tuple[int, Validation], None, float]:
    """Train a frame encoder, in place.

    Args:
        frame_encoder: where to start from.
        frame: what it is fitted to.
        lmbda: weight of the rate.
        phase: how.
        generator: source of the quantizer's noise.
        report_seconds: between two validations there is a report as well, before an iteration or a validation
            begins, if the last one is so many seconds ago; with 0 before each.
        metric: gives the distortion.

    Yields:
        Iterations done and the last validation: after every validation, the last one after the last iteration, or
        when the phase stops because patience was lost; and as ``report_seconds`` says, at first with the
        validation of the start.

    Returns:
        The loss of the best parameters that a validation has seen, those of the start included; with what their
        networks' bits are estimated to cost, if the phase weighs these. They are the
        frame encoder's when this ends; if it is abandoned before, the parameters are any.

    Raises:
        InputError: the loss is not finite to begin with.
    """
    last = time.perf_counter()
    trainer = _Trainer(frame_encoder, frame, lmbda, phase, generator, metric)
    for iteration in range(1, phase.iterations + 1):
        if time.perf_counter() - last >= report_seconds:
            yield iteration - 1, trainer.validation
            last = time.perf_counter()
        trainer.iterate(iteration - 1)
        if iteration % phase.validate_every == 0 or iteration == phase.iterations:
            if time.perf_counter() - last >= report_seconds:
                yield iteration, trainer.validation
            yield iteration, trainer.validate(iteration)
            last = time.perf_counter()
            if trainer.stopped:
                break
    return trainer.finish()


def _trained_parts(frame_encoder: FrameEncoder, phase: Phase) -> dict[str, list[Tensor]]:
    """Parameters of each part that a phase trains, and gradients for them alone."""
    parts: dict[str, list[Tensor]] = {part: [] for part in TRAINABLE}
    family = frame_encoder.family
    for name, parameter in frame_encoder.named_parameters():
        name = name.removeprefix(family.prefix(RESIDUE))
        part = "latents" if name.startswith("latent_grids.") else "networks"
        trained = part in phase.trained and not name.startswith(family.untrained)
        parameter.requires_grad_(trained)
        if trained:
            parts[part].append(parameter)
    return {part: parameters for part, parameters in parts.items() if parameters}


class _Trainer:
    """The state of one phase.

    Attributes:
        validation: the last one.
        stopped: whether patience was lost, and the phase is to end then.
    """

    def __init__(
        self,
        frame_encoder: FrameEncoder,
        frame: Frame,
        lmbda: float,
        phase: Phase,
        generator: torch.Generator,
        metric: Metric,
    ) -> None:
        self._frame_encoder = frame_encoder
        self._frame = frame
        self._lmbda = lmbda
        self._metric = metric
        self._phase = phase
        self._generator = generator
        self._forward = TrainingForward(frame_encoder, compiled=phase.compiled)
        parts = _trained_parts(frame_encoder, phase)
        self._optimizer = make_optimizer(phase.optimizer, parts)
        self._networks = parts.get("networks", [])
        height, width = frame.img_size
        self._bit_weight = phase.network_rate * lmbda / (height * width)
        clipped = phase.optimizer.clipped
        self._clipped = [parameter for part in parts if part in clipped for parameter in parts[part]]
        self._unclipped = [parameter for part in parts if part not in clipped for parameter in parts[part]]
        self._n_not_finite = 0
        start = self.validation = validate(frame_encoder, frame, lmbda, metric)
        if not math.isfinite(start.loss):
            raise InputError(
                "a frame and lmbda give a finite loss before any training; "
                f"found loss {start.loss}, mse {start.mse}, {start.rate_latent_bit} bits for lmbda {lmbda}"
            )
        self._best = self._snapshot(0, start.loss + self._network_cost())
        self._patient_since = 0
        self.stopped = False
        frame_encoder.train()

    def iterate(self, iteration: int) -> None:
        """One gradient step; ``iteration`` counts from 0.

        If loss or gradient are not finite, the best parameters are reloaded instead.
        """
        self._set_lr(iteration)
        self._optimizer.zero_grad()
        with torch.enable_grad():
            decoded_image, rate = self._forward(self._quantized(iteration))
            output = loss_function(decoded_image, rate, self._frame.data, self._lmbda, 0.0, self._metric)
            loss = output.loss
            loss.backward()  # type: ignore[no-untyped-call]
        if self._bit_weight:
            add_gradients(self._networks, self._bit_weight)
        norm = clip_grad_norm_(self._clipped, self._phase.optimizer.max_norm)
        norms = [norm, get_total_norm([p.grad for p in self._unclipped if p.grad is not None])]
        if all(math.isfinite(value.item()) for value in (loss, *norms)):
            self._optimizer.step()
        else:
            self._n_not_finite += 1
            self._reload()

    def _quantized(self, iteration: int) -> Tensor:
        """Decoder-side latents ``[N]`` of an iteration, through the training quantizer."""
        residue = self._frame_encoder.coolchics[RESIDUE]
        latent = flatten(list(residue.latent_grids)) * residue.param.encoder_gain
        temperature = self._phase.temperature_at(iteration)
        if self._phase.quantizer == "hardround":
            return torch.round(latent.detach())
        if self._phase.quantizer == "ste":
            return straight_through(latent, temperature)
        strength = self._phase.noise_at(iteration)
        if self._phase.noise_kind == "kumaraswamy":
            noise = kumaraswamy_noise(latent.shape, strength, self._generator)
        else:
            noise = torch.randn(latent.shape, generator=self._generator) * strength
        return soft_round_twice(latent, temperature, noise)

    def validate(self, iteration: int) -> Validation:
        """Validate after ``iteration`` iterations: keep the best, or lose patience."""
        validation = self.validation = validate(self._frame_encoder, self._frame, self._lmbda, self._metric)
        self._frame_encoder.train()
        cost = validation.loss + self._network_cost()
        if cost < self._best.cost:  # never so for NaN
            self._best = self._snapshot(iteration, cost)
            self._patient_since = iteration
        elif self._phase.patience is not None and iteration - self._patient_since >= self._phase.patience:
            _logger.debug("iteration %d: back to the best, of iteration %d", iteration, self._best.iteration)
            self.stopped = self._phase.stops
            self._reload()
            self._patient_since = iteration
        return validation

    def finish(self) -> float:
        """Load the best parameters, and give their loss."""
        if self._n_not_finite:
            _logger.warning(
                "%d of %d iterations had no finite loss or gradient, and went back to the best parameters",
                self._n_not_finite,
                self._phase.iterations,
            )
        self._frame_encoder.load_state_dict(self._best.parameters)
        self._frame_encoder.eval().requires_grad_(True).zero_grad()
        return self._best.cost

    def _network_cost(self) -> float:
        return self._bit_weight * estimated_bits(self._networks).item() if self._bit_weight else 0.0

    def _set_lr(self, iteration: int) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] = self._phase.lr_at(iteration)

    def _snapshot(self, iteration: int, cost: float) -> _Best:
        parameters = {name: value.clone() for name, value in self._frame_encoder.state_dict().items()}
        return _Best(iteration, cost, parameters, copy.deepcopy(self._optimizer.state_dict()))

    def _reload(self) -> None:
        self._frame_encoder.load_state_dict(self._best.parameters)
        # The optimizer keeps the tensors it is given and writes to them: the best ones stay ours.
        self._optimizer.load_state_dict(copy.deepcopy(self._best.optimizer))
