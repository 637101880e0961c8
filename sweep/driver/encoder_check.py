"""Warns of a frame encoder that seems to have been fitted to another picture.

It costs nothing: candidates of the first network, if that changes the rate alone, do not change the decoded frame,
so their measurements hold the mean squared error of the encoder as it was handed in.
"""

import logging

from sweep.schedule import Call, Measure, Open
from workers.codec.network import Effect
from workers.psnr import psnr_db
from workers.source import FrameInfo, FrameSource

_log = logging.getLogger(__name__)

_TIMES_MEAN_COLOUR = 1.15
"""An encoder that was fitted to the frame for some fifty iterations or more is at worst as good as the frame's mean
colour, which is 1: where no latent is worth its bits. Encoders of other pictures gave 1.3 to 5.4, and less only
where the two pictures are much alike, such as a symmetrical one and its mirror image."""

_LEAST_MSE = 2.5e-3
"""Beside that, for pictures that are hardly more than one colour: 26 dB."""

_TIMES_FILE = 1.5
"""Of the mean squared error that a fit ended with; another machine gives the same to four digits."""

_LEAST_ABOVE_FILE = 1e-5
"""Beside that, for fits that ended with next to nothing: 50 dB."""


class EncoderCheck:
    """Looks at answers to calls, and warns once per frame."""

    def __init__(self) -> None:
        self._opened: dict[str, FrameInfo] = {}  # frames whose encoder has not been looked at

    def answered(self, call: Call, answer: object, source: FrameSource) -> None:
        """A call was answered."""
        if source.encoder_name is None:
            return
        work = call.work
        if isinstance(work, Open) and isinstance(answer, FrameInfo):
            self._opened[call.frame] = answer
        elif isinstance(work, Measure) and self._is_untouched(call.frame, work) and isinstance(answer, list):
            errors = [measurement.measured.mse for measurement in answer if measurement.measured is not None]
            if errors:
                reason = doubt(self._opened.pop(call.frame), errors[0])
                if reason is not None:
                    _log.warning(
                        "frame %s: %s may have been fitted to another picture than %s: it decodes to %.1f dB, %s",
                        call.frame,
                        source.encoder_name,
                        source.frame_name,
                        psnr_db(errors[0]),
                        reason,
                    )

    def _is_untouched(self, frame: str, work: Measure) -> bool:
        """Whether the decoded frame is that of the encoder as it was handed in, and has not been looked at."""
        if frame not in self._opened or work.request.base:
            return False
        network = work.request.candidates[0].network
        return any(spec.id == network and spec.effect is Effect.RATE for spec in self._opened[frame].networks)

    def ended(self, frame: str) -> None:
        """A frame has ended."""
        self._opened.pop(frame, None)


def doubt(info: FrameInfo, mse: float) -> str | None:
    """Why an encoder seems to be of another picture; ``None`` if it does not.

    Args:
        info: of the frame.
        mse: mean squared error of the encoder before anything of it is quantized but its latents.
    """
    # The file says more than the mean colour, which a very short fit does not reach.
    if info.fitted_mse is not None:
        if mse > _TIMES_FILE * info.fitted_mse + _LEAST_ABOVE_FILE:
            return f"while its file says {psnr_db(info.fitted_mse):.1f} dB"
    elif info.mean_colour_mse is not None and mse > _TIMES_MEAN_COLOUR * info.mean_colour_mse + _LEAST_MSE:
        return f"and the picture's mean colour alone would give {psnr_db(info.mean_colour_mse):.1f} dB"
    return None
