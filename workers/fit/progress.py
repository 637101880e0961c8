"""Progress of a fit, as it is reported: data alone, without torch."""

from typing import NamedTuple


class FitProgress(NamedTuple):
    """How far a fit has come, and what its last validation found.

    Attributes:
        phase: ``warm-up``, ``phase 1``, ``phase 2``, …; ``phase 3`` is a training of its own, after the sweep.
        iteration: iterations done, of the whole training.
        n_iterations: iterations of the whole training, all candidates of the warm-up included.
        loss: ``distortion + lmbda · rate_latent_bit / (H · W)``, not always the best so far.
        psnr_db: peak signal-to-noise ratio, in dB; infinite for a perfect frame.
        rate_latent_bpp: bits of all latents per luma sample.
    """

    phase: str
    iteration: int
    n_iterations: int
    loss: float
    psnr_db: float
    rate_latent_bpp: float
