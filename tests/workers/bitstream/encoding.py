"""Frame encoders that are ready for a bitstream."""

import torch

from tests.cases import ARM, SYNTHESIS, UPSAMPLING, Case
from tests.making import make_choice
from workers.candidates import RESIDUE, QStepPair, network_id
from workers.codec import FrameEncoder
from workers.codec.quantization import apply_choices

IFCE = network_id(RESIDUE, "ifce")

STEPS = {
    ARM: QStepPair(2.0**-6, 2.0**-8),
    IFCE: QStepPair(2.0**-5, 2.0**-7),
    SYNTHESIS: QStepPair(2.0**-8, 2.0**-9),
    UPSAMPLING: QStepPair(2.0**-6, 1),
}


def quantized(frame_encoder: FrameEncoder, steps: dict[str, QStepPair] = STEPS) -> FrameEncoder:
    """The same frame encoder, its networks quantized with some steps and the cheapest counts."""
    choices = {spec.id: make_choice(frame_encoder, spec.id, steps[spec.id]) for spec in frame_encoder.networks}
    apply_choices(frame_encoder, choices)
    return frame_encoder


def quantized_case(case: Case) -> tuple[FrameEncoder, int]:
    """A conformance case's frame encoder with the reference's choices, and the bits of its networks."""
    choices = case.choices()
    apply_choices(case.frame_encoder, choices)
    return case.frame_encoder, sum(choice.rate_bit for choice in choices.values())


def rate_latent_bit(frame_encoder: FrameEncoder) -> float:
    """What the float arm estimates."""
    with torch.inference_mode():
        return float(frame_encoder().rate.double().sum())
