"""The sweep of one frame that is already in memory."""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import pandas as pd
import torch

from sweep.config import (
    FitConfig,
    Grid,
    RayConfig,
    RefineSetting,
    Refining,
    SweepConfig,
    as_grid,
    check_names,
    load_plugins,
    search_factory,
)
from sweep.driver import LocalPool, Pool, RayPool, connect, run_one
from sweep.results import rd_table, to_pandas
from sweep.search.refine.factory import refinement_factory
from workers.candidates import Choice
from workers.codec import (
    Frame,
    FrameEncoder,
    FrameEncoderManager,
    check_match,
    dump_frame_encoder,
)
from workers.codec.quantization import apply_choices
from workers.errors import InputError
from workers.replica import Replica
from workers.source import FrameSource, parse_shared

Replicas = int | Literal["auto"] | None

_ENCODER = "the frame encoder"  # in messages; it has no file here


class FrameSweep(NamedTuple):
    """Outcome of the sweep of one frame.

    Attributes:
        choices: per network (``residue.arm``), the winning pair, its counts and the bits of the network.
        table: the rate–distortion table, columns as in :func:`~sweep.read_rd_table`.
        refined: per network, the steps, counts, bits and integers after refinement; without one, as in ``choices``.
    """

    choices: dict[str, Choice]
    table: pd.DataFrame
    refined: dict[str, Choice]


def quantize_model(
    frame_encoder: FrameEncoder,
    frame: Frame,
    frame_encoder_manager: FrameEncoderManager,
    *,
    replicas: Replicas = None,
    grid: Grid | None = None,
    mode: str = "winner",
    metric: str = "mse",
    plugins: Sequence[str] = (),
    refine: RefineSetting = "off",
) -> FrameEncoder:
    """Quantize the networks of a frame encoder, each with the pair of steps of the smallest loss.

    Args:
        frame_encoder: in full precision; its networks are quantized in place, and ``nn_q_step[module]`` and
            ``nn_expgol_cnt[module]`` are set.
        frame: the frame it was fitted for.
        frame_encoder_manager: gives ``lmbda``; ``total_training_time_sec`` grows by the time this takes.
        replicas: ``None`` to measure in this process; else the number of Ray replicas to use (``auto`` for one
            per GPU, or else one per CPU), on the Ray this process is connected to, on ``RAY_ADDRESS``, or on
            one that is started for this call.
        grid: pairs of networks, see :func:`~sweep.make_grid`; ``None`` for those of the encoder's family.
        mode: ``winner`` measures a pair for as long as it can still win, ``full`` every pair to its end; the
            choices are the same.
        metric: name of the distortion in the loss: ``mse``, or one that a plugin registers.
        plugins: names of Python modules that register searches, metrics, families or backends, in the working
            directory or on the import path: they are imported here, and by the replicas from the same sources.
        refine: ``rdoq`` to refine the integers of the quantized networks thereafter, with the chosen steps;
            ``joint`` to refine steps and integers together; ``off`` for neither.

    Returns:
        The same frame encoder.

    Raises:
        ConfigError: a plugin cannot be imported, or there is no such mode or metric.
        InputError: the frame encoder is none of this project.
        MismatchError: the frame encoder was fitted for a frame of another size or format.
        InfeasibleModuleError: no pair of a module has a finite loss.
        ClusterError: Ray cannot be used.
        ReplicaError: its replicas die one after the other.
    """
    if not isinstance(frame_encoder, FrameEncoder):
        raise InputError(
            f"the frame encoder is a qsweep FrameEncoder; found {type(frame_encoder).__name__}. For objects of an "
            "installed Cool-Chic there is sweep.official.quantize_model"
        )
    swept = sweep_frame(
        frame_encoder,
        frame,
        frame_encoder_manager,
        replicas=replicas,
        grid=grid,
        mode=mode,
        metric=metric,
        plugins=plugins,
        refine=refine,
    )
    apply_choices(frame_encoder, swept.refined)
    return frame_encoder


def sweep_frame(
    frame_encoder: FrameEncoder,
    frame: Frame,
    frame_encoder_manager: FrameEncoderManager,
    *,
    replicas: Replicas = None,
    grid: Grid | None = None,
    mode: str = "full",
    metric: str = "mse",
    plugins: Sequence[str] = (),
    refine: RefineSetting = "off",
) -> FrameSweep:
    """Measure every pair of every module, choose and refine; like :func:`quantize_model`, but nothing is quantized.

    Args and errors are those of :func:`quantize_model`.
    """
    start = time.perf_counter()
    sources = load_plugins(plugins, Path.cwd())
    if refine not in get_args(RefineSetting):
        raise InputError(f"refine: accepted: {', '.join(get_args(RefineSetting))}; found {refine!r}")
    check_names(SweepConfig(mode=mode, metric=metric, refine=refine))
    pairs: Grid = {} if grid is None else as_grid(grid)
    check_match(frame, frame_encoder)
    device = next(frame_encoder.parameters()).device
    cpu = torch.device("cpu")
    frame = replace(frame, data=frame.data.to(cpu))
    frame_encoder = deepcopy(frame_encoder).to(cpu).eval()
    lmbda = frame_encoder_manager.lmbda
    with ExitStack() as stack:
        if replicas is None:
            pool: Pool = LocalPool(Replica(str(device), torch.get_num_threads()))
            source = FrameSource(
                "frame",
                lambda: frame,
                lambda: (frame_encoder, frame_encoder_manager),
                metric=metric,
                encoder_name=_ENCODER,
            )
        else:
            config = RayConfig(replicas=replicas)
            stack.enter_context(connect(config))
            pool = ray_pool = RayPool(config, plugins=sources)
            stack.callback(ray_pool.close)
            read = pool.share(dump_frame_encoder(frame_encoder, lmbda, frame_encoder_manager.fitted_mse))
            read_encoder = partial(parse_shared, read, "frame")
            source = FrameSource("frame", pool.share(frame), read_encoder, metric=metric, encoder_name=_ENCODER)
        refining = None if refine == "off" else Refining(refine)
        refinement_of = refinement_factory(refining, pairs)
        ended = run_one(pool, source, search_factory(mode, pairs), FitConfig(), refinement_of=refinement_of)
    frame_encoder_manager.total_training_time_sec += time.perf_counter() - start
    refined = ended.choices if ended.refined is None else ended.refined.choices
    return FrameSweep(ended.choices, to_pandas(rd_table(ended)), refined)
