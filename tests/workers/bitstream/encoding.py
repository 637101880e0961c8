"""Frame encoders that are ready for a bitstream."""

import torch

from tests.cases import Case
from workers.codec import KINDS, MODULES, FrameEncoder
from workers.quantize import Counts, QStepPair, Settled, apply_choices, network_rate

STEPS = {
    "arm": QStepPair(2.0**-6, 2.0**-8),
    "synthesis": QStepPair(2.0**-8, 2.0**-9),
    "upsampling": QStepPair(2.0**-6, 1),
}


def quantized(frame_encoder: FrameEncoder, steps: dict[str, QStepPair] = STEPS) -> FrameEncoder:
    """The same frame encoder, its networks quantized with some steps and the cheapest counts."""
    choices = {}
    for module in MODULES:
        parameters = frame_encoder.get_network_parameters(module)
        rates = [network_rate(parameters, kind, step) for kind, step in zip(KINDS, steps[module], strict=True)]
        assert all(rate is not None for rate in rates)
        counts = Counts(*(rate.expgol_cnt for rate in rates if rate is not None))
        choices[module] = Settled(steps[module], counts, sum(rate.rate_bit for rate in rates if rate is not None))
    apply_choices(frame_encoder, choices)
    return frame_encoder


def quantized_case(case: Case) -> tuple[FrameEncoder, int]:
    """A conformance case's frame encoder with the reference's choices, and the bits of its networks."""
    choices = {module: case.settled(module) for module in MODULES}
    apply_choices(case.frame_encoder, choices)
    return case.frame_encoder, sum(choice.rate_nn_bit for choice in choices.values())


def rate_latent_bit(frame_encoder: FrameEncoder) -> float:
    """What the float arm estimates."""
    with torch.inference_mode():
        return float(frame_encoder().rate.double().sum())
