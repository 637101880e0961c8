"""Checkpoints from one form to another."""

from sweep.results import Output
from workers.codec import FrameEncoderManager, dump_frame_encoder, read_frame_encoder
from workers.errors import ResultsError


def import_encoder(
    file: str, target: str, encoder_frame: int | None = None, lmbda: float | None = None
) -> FrameEncoderManager:
    """Write a checkpoint of Cool-Chic's own encoder as one of this project, in full precision.

    Args:
        file: its path or URI.
        target: path or URI of the safetensors file; see :class:`~sweep.results.Output`.
        encoder_frame: display index of the frame in a file of several.
        lmbda: weight of the rate, where the file holds none.

    Returns:
        What is known of the fit beside the frame encoder.

    Raises:
        CheckpointError: the file cannot be used.
        ResultsError: the checkpoint cannot be written; ``started`` tells whether that was found out in advance.
    """
    with Output(target, [file]) as output:
        frame_encoder, manager = read_frame_encoder(file, encoder_frame, lmbda)
        content = dump_frame_encoder(frame_encoder, manager.lmbda, manager.fitted_mse)
        try:
            output.write(content)
        except ResultsError as error:
            error.started = True
            raise
    return manager
