"""A replica: holds frame encoders and answers calls about them.

Every call carries all that it depends on. What a replica remembers is a cache: it may be lost at any moment, and
a call repeated on another replica, in another order, gives the same rows.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property, partial

import torch

from workers.answers import EncodedAnswer, QuantizedAnswer, SignOfLife
from workers.bitstream.formats import FORMATS, check_decodes, check_encodable
from workers.candidates import Choice, Measurement, by_network
from workers.codec import Frame, FrameEncoder, FrameEncoderManager, check_match, dump_frame_encoder
from workers.codec.family import Architecture
from workers.codec.quantization import apply_choices
from workers.device import usual_device
from workers.errors import CheckpointError, InputError
from workers.fit import FitProgress, Phase, Recipe, fit, retune
from workers.measure import EngineOptions
from workers.measure.backend import Measurer, choose_backend
from workers.measure.moves.frame_moves import FrameMoves, refinable
from workers.moves import MoveEvaluator, Piece
from workers.near_ties import measure_near_ties
from workers.objective.loss import mean_colour_error, mean_squared_error
from workers.objective.metric import METRICS, Metric, greatest_weight
from workers.reference import measure_choices
from workers.search import Request, Search
from workers.source import FrameInfo, FrameSource

CACHED_FRAMES = 2
"""Frames that a replica keeps: the one it works on, and one that it worked on before."""

REPORT_SECONDS = 2.0
"""A training says this often that it is alive, or after an iteration where one takes longer."""


@dataclass
class _Loaded:
    source: FrameSource
    frame: Frame
    frame_encoder: FrameEncoder
    lmbda: float
    manager: FrameEncoderManager
    metric: Metric
    open_measurer: Callable[[], Measurer]

    @cached_property
    def measurer(self) -> Measurer:
        """Made when it is first needed: a frame whose choices are known is encoded without one."""
        return self.open_measurer()

    @cached_property
    def evaluator(self) -> MoveEvaluator:
        """Measures moves of integers.

        Raises:
            InputError: those of such a frame encoder cannot be measured.
        """
        if reason := refinable(self.frame_encoder):
            raise InputError(f"frame {self.source.id} cannot be refined: {reason}")
        return FrameMoves(self.frame_encoder, self.frame, self.lmbda)


class Replica:
    """Answers the calls of a job, one at a time.

    Args:
        device: where candidates are measured, as torch names it; ``auto`` for the GPU that this process was
            given, if any.
        threads: on the CPU.
        options: how candidates are measured.
    """

    def __init__(self, device: str = "auto", threads: int = 1, options: EngineOptions | None = None) -> None:
        self._device = torch.device(usual_device() if device == "auto" else device)
        self._threads = threads
        self._options = options
        self._loaded: OrderedDict[str, _Loaded] = OrderedDict()

    def ping(self) -> str:
        """Device of this replica, once it is ready."""
        return str(self._device)

    def open(self, source: FrameSource, bitstream: str | None = None) -> FrameInfo:
        """Read a frame and its encoder, and check that they belong together.

        Args:
            source: of the frame.
            bitstream: name of the format that the frame is to end in, if any.

        Raises:
            InputError: one of them cannot be used, or they are not for each other; the encoder's file holds its
                networks quantized alone; or a bitstream of this format cannot hold the frame encoder.
        """
        loaded = self._load(source)
        frame = loaded.frame
        if loaded.manager.file is not None and loaded.frame_encoder.is_quantized:
            raise CheckpointError(
                f"{source.encoder_name}: its networks are quantized, and not in the file in full precision: there "
                "is nothing to sweep; qsweep encode --encoder writes it as it is"
            )
        if bitstream is not None:
            check_encodable(FORMATS[bitstream], loaded.frame_encoder.param)
        return FrameInfo(
            *frame.img_size,
            loaded.lmbda,
            frame.frame_data_type,
            frame.bitdepth,
            frame.warnings,
            loaded.frame_encoder.networks,
            mean_colour_mse=mean_colour_error(frame.data).item(),
            fitted_mse=loaded.manager.fitted_mse,
            precision=(self._options or EngineOptions()).precision,
            n_together=loaded.frame_encoder.param.n_together,
            frame_file=frame.file,
            encoder_file=loaded.manager.file,
            greatest_weight=greatest_weight(loaded.metric, frame.data.samples),
            family=loaded.frame_encoder.family.name,
        )

    def fit(
        self, source: FrameSource, architecture: Architecture, recipe: Recipe, seed: int
    ) -> Iterator[FitProgress | bytes]:
        """Fit a frame encoder to a frame.

        Args:
            source: of the frame; its ``lmbda`` is the rate constraint.
            architecture: of the frame encoder.
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
        progress = fit(frame, architecture, source.lmbda, recipe, seed, REPORT_SECONDS)
        while True:
            try:
                yield next(progress)
            except StopIteration as stop:
                frame_encoder, _ = stop.value
                with torch.inference_mode():
                    mse = mean_squared_error(frame_encoder().decoded_image, frame.data).item()
                digest = None if frame.file is None else frame.file.digest
                yield dump_frame_encoder(frame_encoder, source.lmbda, mse, digest)
                return

    def measure(self, source: FrameSource, request: Request) -> list[Measurement]:
        """Measure some candidates: by the engine, or by the plain arithmetic, in the order given."""
        loaded = self._load(source)
        choices, network = by_network(request.base), request.candidates[0].network
        pairs = [candidate.edit for candidate in request.candidates]
        if not request.plain:
            return loaded.measurer.measure(choices, network, pairs, request.best)
        frame_encoder = deepcopy(loaded.frame_encoder)
        apply_choices(frame_encoder, choices)
        return measure_near_ties(frame_encoder, loaded.frame, loaded.lmbda, choices, network, pairs, loaded.metric)

    def search(self, source: FrameSource, search: Search, seconds: float) -> Iterator[Search]:
        """Run a whole search here: its candidates depend on each other too closely for a call each.

        Args:
            source: of the frame.
            search: where it begins; it is changed.
            seconds: after which its state is given, again and again, so that little is lost with a replica.

        Yields:
            The search as far as it is; last of all, finished.
        """
        reported = time.monotonic()
        while not search.finished:
            request = search.ask()
            search.tell(request, self.measure(source, request))
            if not search.finished and time.monotonic() - reported >= seconds:
                reported = time.monotonic()
                yield search
        yield search

    def refine(self, source: FrameSource, piece: Piece, seconds: float) -> Iterator[SignOfLife | Piece]:
        """Work at a piece of a refinement to its end.

        Args:
            source: of the frame.
            piece: where it begins; it is changed.
            seconds: after which its state is given, again and again, so that little is lost with a replica.

        Yields:
            Signs of life; the piece as far as it is; last of all, finished.

        Raises:
            InputError: the choices of such a frame cannot be refined.
        """
        evaluator = self._load(source).evaluator
        reported = time.monotonic()
        while not piece.finished:
            piece.advance(evaluator, min(seconds, REPORT_SECONDS))
            if not piece.finished:
                due = time.monotonic() - reported >= seconds
                reported = time.monotonic() if due else reported
                yield piece if due else SignOfLife()
        yield piece

    def quantize(self, source: FrameSource, choices: Sequence[Choice], measured: bool = False) -> QuantizedAnswer:
        """The frame encoder with the chosen networks quantized.

        Args:
            source: of the frame.
            choices: of every network.
            measured: whether to measure what it costs: of refined choices, which no table has.
        """
        loaded = self._load(source)
        frame_encoder = deepcopy(loaded.frame_encoder)
        chosen = by_network(choices)
        apply_choices(frame_encoder, chosen)
        checkpoint = dump_frame_encoder(frame_encoder, loaded.lmbda)
        if not measured:
            return QuantizedAnswer(checkpoint, loaded.measurer.rate_of_grids(chosen))
        with torch.inference_mode():
            rates = [grid.sum(dtype=torch.float64).item() for grid in frame_encoder.rate_of_grids()]
        cost = measure_choices(frame_encoder, loaded.frame, loaded.lmbda, chosen)
        return QuantizedAnswer(checkpoint, tuple(rates), cost)

    def encode(
        self, source: FrameSource, choices: Sequence[Choice], phase: Phase, bitstream: str
    ) -> Iterator[FitProgress | EncodedAnswer]:
        """Quantize the networks, train the latents on with them where this is possible, and write the bitstream.

        Args:
            source: of the frame.
            choices: of every network.
            phase: how the latents are trained on.
            bitstream: name of the format.

        Yields:
            Progress; last of all the file.

        Raises:
            InputError: the frame encoder cannot be written as a bitstream.
        """
        loaded, written = self._load(source), FORMATS[bitstream]
        check_encodable(written, loaded.frame_encoder.param)
        torch.set_num_threads(self._threads)
        frame_encoder = deepcopy(loaded.frame_encoder)
        apply_choices(frame_encoder, by_network(choices))
        progress = None
        steps = retune(frame_encoder, loaded.frame, loaded.lmbda, phase, REPORT_SECONDS, loaded.metric)
        for progress in steps:
            yield progress
        assert progress is not None  # there is one after the last iteration
        checkpoint = dump_frame_encoder(frame_encoder, loaded.lmbda)
        rates = written.rate_of_grids(frame_encoder)
        yield progress  # each step from here takes a while on a large frame: said once more, as a sign of life
        encoded = written.encode(frame_encoder, self._device)
        mse = mean_squared_error(encoded.frame.data, loaded.frame.data).item()
        yield progress
        check_decodes(written, encoded, self._device)
        distortion = loaded.metric.distortion(encoded.frame.data, loaded.frame.data).item()
        yield EncodedAnswer(QuantizedAnswer(checkpoint, rates), encoded.content, encoded.sizes, mse, distortion)

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
            metric = METRICS[source.metric]
            backend = choose_backend(frame_encoder, self._device, metric)
            open_measurer = partial(
                backend.open,
                frame_encoder,
                frame,
                lmbda,
                device=self._device,
                threads=self._threads,
                options=self._options,
                metric=metric,
            )
            loaded = _Loaded(source, frame, frame_encoder, lmbda, manager, metric, open_measurer)
            self._loaded[source.id] = loaded
        self._loaded.move_to_end(source.id)
        return loaded
