"""The squared errors of the picture, its stages kept for as long as candidates do not change them."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from workers.candidates import QStepPair
from workers.codec.coolchic import CoolChic, upsampled_latents, with_noise
from workers.measure import kernel
from workers.measure.cost import Parameters
from workers.measure.parallel import Threads, one_thread
from workers.measure.plan import Output
from workers.measure.synthesis_error import SynthesisError
from workers.measure.target import Target


class PictureStage:
    """Gives what an output adds up whose last network is a synthesis.

    Args:
        output: of the plan.
        coolchic: that is the picture.
        latents: its decoder-side latents, ``[1, n_i, H_i, W_i]`` each.
        target: the original frame.
        tile: pixels that are evaluated together, about.
        compiled: whether to use the compiled kernel, if there is one.
        threads: compute what is kept.
    """

    def __init__(
        self,
        output: Output,
        coolchic: CoolChic,
        latents: Sequence[Tensor],
        target: Target,
        tile: int,
        threads: Threads,
        *,
        compiled: bool,
    ) -> None:
        (self._upsampling,) = (spec.id for spec in output.upstream)
        self._coolchic = coolchic
        self._latents = upsampled_latents(latents, coolchic.param)
        self._threads = threads
        self._error = SynthesisError(coolchic.param, target, tile, compiled=compiled)
        self._kept: tuple[QStepPair | None, SynthesisError] | None = None

    def cost(self, pair: QStepPair | None, parameters: Callable[[str], Parameters]) -> SynthesisError:
        """Squared errors of the frame for candidates of the synthesis; the last input that was asked for is kept.

        Args:
            pair: of the upsampling; ``None`` for full precision.
            parameters: of the networks that are in force, by id.
        """
        if self._kept is None or self._kept[0] != pair:
            self._kept = None  # one at a time: its dense input is the largest tensor here
            dense = self._dense(parameters(self._upsampling))
            self._kept = (pair, self._error.behind(dense))
        return self._kept[1]

    def _dense(self, parameters: Parameters) -> Tensor:
        """Input of the synthesis, ``[C, h, w]``."""
        param = self._coolchic.param
        library = self._error.fast_kernel
        if library is not None:
            sizes = (param.ups_k_size, param.ups_preconcat_k_size)
            run = partial(self._threads.map, _call)
            dense = kernel.upsample(library, parameters, sizes, self._latents, run)[None]
        else:
            with one_thread():  # gives the bits of two, unlike more
                upsampling = self._coolchic.upsampling
                dense = torch.func.functional_call(upsampling, dict(parameters), (self._latents,))
        return with_noise(dense, param)[0]


def _call(function: Callable[[], int]) -> int:
    return function()
