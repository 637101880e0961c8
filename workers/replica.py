"""A replica: holds frame encoders and answers calls about them.

Every call carries all that it depends on. What a replica remembers is a cache: it may be lost at any moment, and
a call repeated on another replica, in another order, gives the same rows.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import NamedTuple

import torch

from workers.bitstream import SectionBytes, decode_frame, encode_frame
from workers.codec import ARCHITECTURES, Frame, FrameEncoder, check_match, dump_frame_encoder
from workers.codec.loss import mean_colour_error, mean_squared_error
from workers.fit import FitProgress, Phase, Recipe, fit, retune
from workers.measure import EngineOptions, Measurer, RDRow
from workers.near_ties import measure_near_ties
from workers.quantize import Choices, QStepPair, apply_choices
from workers.source import FrameInfo, FrameSource

CACHED_FRAMES = 2
"""Frames that a replica keeps: the one it works on, and the one that it goes on with meanwhile."""

REPORT_SECONDS = 2.0
"""A training says this often that it is alive, or after an iteration where one takes longer."""


class QuantizedAnswer(NamedTuple):
    """A frame encoder with its networks quantized.

    Attributes:
        checkpoint: of it.
        rate_grid_bit: what the arm estimates for the latents of each grid, the finest one first.
    """

    checkpoint: bytes
    rate_grid_bit: tuple[float, ...]


class EncodedAnswer(NamedTuple):
    """A frame as the file it became, and what that cost.

    Attributes:
        quantized: the frame encoder that is in the file.
        bitstream: the file.
        sizes: of its parts, in bytes.
        mse: of the frame that a decoder makes of it.
    """

    quantized: QuantizedAnswer
    bitstream: bytes
    sizes: SectionBytes
    mse: float


@dataclass
class _Loaded:
    source: FrameSource
    frame: Frame
    frame_encoder: FrameEncoder
    lmbda: float
    fitted_mse: float | None
    measurer: Measurer


class Replica:
    """Answers the calls of a job, one at a time.

    Args:
        device: where candidates are measured, as torch names it; ``auto`` for the GPU that this process was
            given, if any.
        threads: on the CPU.
        options: how candidates are measured.
    """

    def __init__(self, device: str = "auto", threads: int = 1, options: EngineOptions | None = None) -> None:
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self._device = torch.device(device)
        self._threads = threads
        self._options = options
        self._loaded: OrderedDict[str, _Loaded] = OrderedDict()

    def ping(self) -> str:
        """Device of this replica, once it is ready."""
        return str(self._device)

    def open(self, source: FrameSource) -> FrameInfo:
        """Read a frame and its encoder, and check that they belong together.

        Raises:
            InputError: one of them cannot be used, or they are not for each other.
        """
        loaded = self._load(source)
        frame = loaded.frame
        return FrameInfo(
            *frame.img_size,
            loaded.lmbda,
            frame.frame_data_type,
            frame.bitdepth,
            frame.warnings,
            mean_colour_mse=mean_colour_error(frame.data).item(),
            fitted_mse=loaded.fitted_mse,
            precision=(self._options or EngineOptions()).precision,
        )

    def fit(self, source: FrameSource, arch: str, recipe: Recipe, seed: int) -> Iterator[FitProgress | bytes]:
        """Fit a frame encoder to a frame.

        Args:
            source: of the frame; its ``lmbda`` is the rate constraint.
            arch: name of a published architecture.
            recipe: phases of the fit.
            seed: of its random numbers.

        Yields:
            Progress; last of all the checkpoint of the fitted frame encoder.

        Raises:
            InputError: the frame cannot be used.
        """
        if source.lmbda is None:
            raise ValueError(f"{source.id}: a fit needs lmbda, no encoder gives it")
        torch.set_num_threads(self._threads)
        frame = source.read_frame()
        progress = fit(frame, ARCHITECTURES[arch], source.lmbda, recipe, seed, REPORT_SECONDS)
        while True:
            try:
                yield next(progress)
            except StopIteration as stop:
                frame_encoder, _ = stop.value
                with torch.inference_mode():
                    mse = mean_squared_error(frame_encoder().decoded_image, frame.data).item()
                yield dump_frame_encoder(frame_encoder, source.lmbda, mse)
                return

    def measure(
        self,
        source: FrameSource,
        choices: Choices,
        module: str,
        pairs: Sequence[QStepPair],
        best: float | None = None,
    ) -> list[RDRow]:
        """Rows of some candidates, by the engine; see :meth:`workers.measure.Measurer.measure`."""
        return self._load(source).measurer.measure(choices, module, pairs, best)

    def measure_plain(
        self, source: FrameSource, choices: Choices, module: str, pairs: Sequence[QStepPair]
    ) -> list[RDRow]:
        """Rows of some candidates, by the plain arithmetic; see :func:`workers.near_ties.measure_near_ties`."""
        loaded = self._load(source)
        frame_encoder = deepcopy(loaded.frame_encoder)
        apply_choices(frame_encoder, choices)
        return measure_near_ties(frame_encoder, loaded.frame, loaded.lmbda, choices, module, pairs)

    def quantize(self, source: FrameSource, choices: Choices) -> QuantizedAnswer:
        """The frame encoder with the settled modules quantized."""
        loaded = self._load(source)
        frame_encoder = deepcopy(loaded.frame_encoder)
        apply_choices(frame_encoder, choices)
        checkpoint = dump_frame_encoder(frame_encoder, loaded.lmbda)
        return QuantizedAnswer(checkpoint, loaded.measurer.rate_of_grids(choices))

    def encode(self, source: FrameSource, choices: Choices, phase: Phase) -> Iterator[FitProgress | EncodedAnswer]:
        """Quantize the networks, train the latents on with them, and write the bitstream.

        Args:
            source: of the frame.
            choices: of every module.
            phase: how the latents are trained on.

        Yields:
            Progress; last of all the file.

        Raises:
            InputError: the frame encoder cannot be written as a bitstream.
        """
        loaded = self._load(source)
        torch.set_num_threads(self._threads)
        frame_encoder = deepcopy(loaded.frame_encoder)
        apply_choices(frame_encoder, choices)
        progress = None
        for progress in retune(frame_encoder, loaded.frame, loaded.lmbda, phase, REPORT_SECONDS):
            yield progress
        assert progress is not None  # there is one after the last iteration
        checkpoint = dump_frame_encoder(frame_encoder, loaded.lmbda)
        with torch.inference_mode():
            rates = [grid.sum(dtype=torch.float64).item() for grid in frame_encoder.rate_of_grids()]
        yield progress  # each step from here takes a while on a large frame: said once more, as a sign of life
        encoded = encode_frame(frame_encoder, self._device)
        yield progress
        # Nothing leaves this place that does not come back as it was.
        height, width = loaded.frame.img_size
        decoded = decode_frame(encoded.content, self._device, max_pixels=height * width)
        if not all(map(torch.equal, decoded.data.tensors, encoded.frame.data.tensors)):
            raise RuntimeError(f"frame {source.id}: its bitstream decodes to other samples than it was made of")
        yield EncodedAnswer(
            QuantizedAnswer(checkpoint, tuple(rates)),
            encoded.content,
            encoded.sizes,
            mean_squared_error(decoded.data, loaded.frame.data).item(),
        )

    def _load(self, source: FrameSource) -> _Loaded:
        loaded = self._loaded.get(source.id)
        if loaded is None:
            if source.read_encoder is None:
                raise ValueError(f"{source.id}: there is no frame encoder yet")
            frame = source.read_frame()
            frame_encoder, manager = source.read_encoder()
            check_match(frame, frame_encoder)
            lmbda = manager.lmbda if source.lmbda is None else source.lmbda
            while len(self._loaded) >= CACHED_FRAMES:
                self._loaded.popitem(last=False)
            measurer = Measurer(
                frame_encoder, frame, lmbda, device=self._device, threads=self._threads, options=self._options
            )
            loaded = _Loaded(source, frame, frame_encoder, lmbda, manager.fitted_mse, measurer)
            self._loaded[source.id] = loaded
        self._loaded.move_to_end(source.id)
        return loaded
