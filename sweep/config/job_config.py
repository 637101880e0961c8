"""Configuration of a job: read, validated, resolved; unknown keys fail."""

import re
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    PositiveInt,
    ValidationError,
)

from sweep.config.encodable import check_encodable
from sweep.config.explain import explain
from sweep.config.fit_config import STRICT, FitConfig, Lmbda, Lmbdas
from sweep.config.frames import FrameList, list_frames
from sweep.config.grid import AUTO, Grid, make_grid, named_grid
from sweep.config.manifest import MANIFESTS
from sweep.config.paths import expand, resolve, unexpanded
from sweep.config.plugins import load_plugins
from sweep.config.ray_config import RayConfig
from sweep.config.refining import RefineOptions, RefineSetting, Refining
from sweep.config.searches import SEARCHES
from sweep.config.yaml_file import override_key, read_yaml
from sweep.config.yaml_loader import Ambiguous
from workers.bitstream.formats import DEFAULT_FORMAT, FORMATS
from workers.codec.family import FAMILIES
from workers.errors import ConfigError
from workers.files import describe, is_uri
from workers.measure import EngineOptions
from workers.objective.metric import METRICS
from workers.plain import Precision
from workers.plugins import Plugin


class FrameEntry(BaseModel):
    """One entry of ``frames``, or several where ``frame`` is a glob pattern or a manifest."""

    model_config = STRICT
    frame: str = Field(
        min_length=1,
        description="path, URI or glob pattern of a picture or .yuv file; or of a manifest, .csv or .parquet",
    )
    encoder: str | None = Field(
        None,
        min_length=1,
        description="path or URI of a .safetensors file, or of Cool-Chic's own .pt, in which {stem} stands for the "
        "frame's file stem; or null",
    )
    lmbda: Lmbda | Lmbdas | None = Field(
        None, description="a number, 0 or more; or a list of them, no two the same; or null, for the encoder's"
    )
    frame_index: Annotated[int, Field(ge=0)] | None = Field(
        None, description="an integer, 0 or more: display index of the frame in a file of several; or null"
    )

    encoder_frame: Annotated[int, Field(ge=0)] | None = Field(
        None, description="an integer, 0 or more: display index of the frame in a checkpoint of several; or null"
    )

    def expanded(self) -> "FrameEntry":
        """The same with home folders and variables put in."""
        encoder = None if self.encoder is None else expand(self.encoder)
        return self.model_copy(update={"frame": expand(self.frame), "encoder": encoder})

    @property
    def lmbdas(self) -> list[float] | None:
        """Those of a list: one frame of the job for each; ``None`` if there is no list."""
        return self.lmbda if isinstance(self.lmbda, list) else None


_ENTRY = f"a path or glob pattern, or a mapping with {', '.join(FrameEntry.model_fields)}"


def _read_off(value: object) -> object:
    """``off``, which YAML 1.1 reads as false: the same is meant."""
    is_off = value is False or (isinstance(value, Ambiguous) and value.text.lower() == "off")
    return "off" if is_off else value


class SweepConfig(BaseModel):
    """How pairs are measured, and what is made of those that win."""

    model_config = STRICT
    mode: str = Field(
        "full", description=f"one of {', '.join(SEARCHES)}: every pair in full; or only as far as it can still win"
    )
    metric: str = Field("mse", description=f"one of {', '.join(METRICS)}: the distortion in the loss")
    refine: Annotated[RefineSetting, BeforeValidator(_read_off)] = Field(
        "off", description="off; rdoq, to refine integers; or joint, to refine integers and steps together"
    )
    refine_passes: PositiveInt = Field(
        RefineOptions().passes, description="an integer, 1 or more: passes over the networks at most"
    )
    refine_tolerance: Annotated[float, Field(ge=0, lt=1)] = Field(
        RefineOptions().tolerance,
        description="a number from 0 to below 1: share of the loss that a pass must gain for another one to follow",
    )
    precision: Precision = Field("float32", description="float32; or tf32, where a GPU offers it")
    workspace_mib: PositiveInt = Field(
        1024, description="an integer, 1 or more: MiB for the buffers of a replica, beside the frame"
    )

    @property
    def refining(self) -> Refining | None:
        """How choices are refined; ``None`` where they are not."""
        if self.refine == "off":
            return None
        return Refining(self.refine, RefineOptions(self.refine_passes, self.refine_tolerance))

    def engine_options(self) -> EngineOptions:
        """The same for the engine."""
        return EngineOptions(precision=self.precision, workspace_bytes=self.workspace_mib << 20)


def check_names(config: SweepConfig) -> None:
    """Raise ``ConfigError`` if a mode or a metric is not registered, or a metric has no refinement."""
    registries: dict[str, Container[str]] = {"mode": SEARCHES, "metric": METRICS}
    for key, known in registries.items():
        if (found := getattr(config, key)) not in known:
            raise ConfigError(f"{key}: accepted: {SweepConfig.model_fields[key].description}; found {found!r}")
    if config.refining is not None and config.metric != "mse":
        raise ConfigError(f"refine: only with the metric mse; found {config.refine} with {config.metric!r}")


def _expand_bare(value: object) -> object:
    return {"frame": value} if isinstance(value, str) else value


def _expand_manifest(value: object) -> object:
    return [value] if isinstance(value, str) and value.lower().endswith(MANIFESTS) else value


def _power_of_two(value: object) -> object:
    match = re.fullmatch(r"2\^(-?\d{1,2})", value) if isinstance(value, str) else None
    return 2.0 ** int(match[1]) if match else value


Step = Annotated[float, BeforeValidator(_power_of_two)]


_OTHER_FORMATS = [name for name in FORMATS if name != DEFAULT_FORMAT]


class JobConfig(BaseModel):
    """The whole configuration, as it stands in the file."""

    model_config = STRICT
    frames: Annotated[
        list[Annotated[FrameEntry, BeforeValidator(_expand_bare)]], BeforeValidator(_expand_manifest)
    ] = Field(min_length=1, description=f"a manifest; or a list, not empty, each entry {_ENTRY}")
    out: str = Field(min_length=1, description="path or URI of the folder for the results")
    grid: str | dict[str, dict[str, list[Step]]] = Field(
        AUTO,
        description=f"one of {', '.join((AUTO, *FAMILIES))}; or, per module and kind (weight, bias), a list of "
        "powers of two",
    )
    fit: FitConfig = Field(default_factory=FitConfig, description="a mapping")
    sweep: SweepConfig = Field(default_factory=SweepConfig, description="a mapping")
    plugins: list[str] = Field(
        default_factory=list,
        description="a list of names of Python modules, beside the configuration or on the import path",
    )
    bitstream: bool | str = Field(
        False,
        description=f"true, to write a {FORMATS[DEFAULT_FORMAT].suffix} file of every frame; "
        f"{', '.join(_OTHER_FORMATS)}, to write one of that format; or false",
    )
    ray: RayConfig = Field(default_factory=RayConfig, description="a mapping")

    @property
    def bitstream_format(self) -> str | None:
        """Name of the format of the bitstreams that frames end as; ``None`` if they end without."""
        if isinstance(self.bitstream, str):
            return self.bitstream
        return DEFAULT_FORMAT if self.bitstream else None

    def described(self) -> dict[str, Any]:
        """As plain data, without the options and credentials of URIs: what may be written down."""
        content = self.model_dump()
        for entry in [content, *content["frames"]]:
            entry |= {key: describe(entry[key]) for key in ("out", "frame", "encoder") if entry.get(key)}
        return content


_UNNAMED_FAMILY = "coolchic-3.4"
"""Family of fits whose jobs, those of 0.1.0, do not say it."""


class Job(NamedTuple):
    """A configuration with everything resolved: what is written to ``job.yaml``.

    Attributes:
        config: as validated, ``out`` resolved, home folders and variables put in.
        frames: of the job, globs and manifests expanded, paths absolute.
        grid: pairs of networks, where the configuration gives them.
        plugins: modules that were imported for it, with their sources.
    """

    config: JobConfig
    frames: FrameList
    grid: Grid
    plugins: tuple[Plugin, ...] = ()

    @property
    def lmbda_of_encoders(self) -> float | None:
        """Weight of the rate for encoders whose file holds none: ``fit.lmbda``, if one number is written there."""
        lmbda = self.config.fit.lmbda if "lmbda" in self.config.fit.model_fields_set else None
        return None if isinstance(lmbda, list) else lmbda

    def identity(self) -> dict[str, Any]:
        """What all results of the job depend on, as plain data.

        Frames are not part of it: each has an identity of its own, and a job may get more of them, fewer, or other
        weights of the rate.
        """
        steps = {
            module: {kind: sorted({getattr(pair, kind) for pair in pairs}) for kind in ("weight", "bias")}
            for module, pairs in self.grid.items()
        }
        needed = any(item.lmbda is None and (item.encoder or "").lower().endswith(".pt") for item in self.frames)
        return {
            "grid": steps,
            "sweep": self.config.sweep.model_dump(include={"mode", "metric", "precision"}),
            "fit": self._fit() if self.frames.n_fits else None,
            "lmbda": self.lmbda_of_encoders if needed else None,
            "bitstream": self._bitstream(),
        } | ({"plugins": {plugin.name: plugin.digest for plugin in self.plugins}} if self.plugins else {})

    def _bitstream(self) -> dict[str, Any] | None:
        if (name := self.config.bitstream_format) is None:
            return None
        identity = {"phase_3": self.config.fit.resolve().retuning.iterations}
        return identity if name == DEFAULT_FORMAT else {"format": name} | identity

    def _fit(self) -> dict[str, Any]:
        content = self.config.fit.model_dump(exclude={"lmbda"})
        if isinstance(content["iterations"], dict):
            del content["iterations"]["phase_3"]
        if content["family"] == _UNNAMED_FAMILY:
            del content["family"]
        return content


def load_job(path: Path, overrides: Sequence[str] = (), out: str | None = None) -> Job:
    """Read and resolve a configuration file.

    Args:
        path: the YAML file; paths in it are relative to its folder.
        overrides: ``key.path=value`` each, the value in YAML, applied in order.
        out: path or URI in place of the configuration's, relative to the working directory.

    In paths, the home folder is put in for ``~`` and ``~user``, and its value for ``$NAME`` and ``${NAME}``.

    Raises:
        ConfigError: the file cannot be read, a path names a variable or user that there is not, or a key is
            unknown, missing or ill-typed. The message names the file, the key, what was found and what is accepted.
            Or a bitstream of the format that is asked for cannot hold the encoder of a frame.
    """
    config = read_config(path, overrides, out)
    base = path.absolute().parent
    try:
        frames = list_frames(config.frames, base, config.fit.lmbda)
        if (bitstream := config.bitstream_format) is not None:
            check_encodable(frames, bitstream, config.fit)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    config = config.model_copy(
        update={"out": resolve(base, config.out), "frames": [entry.expanded() for entry in config.frames]}
    )
    return Job(config, frames, _grid(config, path), load_plugins(config.plugins, base))


def read_config(path: Path, overrides: Sequence[str] = (), out: str | None = None) -> JobConfig:
    """Read and validate a configuration file alone: its paths stay as they are written, no frame is looked for.

    Args:
        path: see :func:`load_job`.
        overrides: see :func:`load_job`.
        out: see :func:`load_job`.

    Raises:
        ConfigError: see :func:`load_job`.
    """
    content = read_yaml(path)
    for override in overrides:
        override_key(content, override)
    if out is not None:
        try:
            out = expand(out)
        except ValueError as error:
            raise ConfigError(f"--out: {error}") from None
        content["out"] = unexpanded(out if is_uri(out) else str(Path(out).absolute()))
    try:
        config = JobConfig.model_validate(content)
    except ValidationError as error:
        lines = explain(error, content, JobConfig, {"frames": (FrameEntry, _ENTRY)})
        raise ConfigError("\n".join(f"{path}: {line}" for line in lines)) from None
    try:
        load_plugins(config.plugins, path.absolute().parent)  # what they register may be named by what follows
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    if wrong := config.fit.rejected():
        found = getattr(config.fit, wrong.key)
        raise ConfigError(f"{path}: fit.{wrong.key}: accepted: {wrong.accepted}; found {found!r}")
    if isinstance(config.bitstream, str) and config.bitstream not in set(FORMATS) - {DEFAULT_FORMAT}:
        accepted = JobConfig.model_fields["bitstream"].description
        raise ConfigError(f"{path}: bitstream: accepted: {accepted}; found {config.bitstream!r}")
    try:
        check_names(config.sweep)
    except ConfigError as error:
        raise ConfigError(f"{path}: sweep.{error}") from None
    _grid(config, path)  # before any frame is looked for
    _check_paths(config, path)
    return config


def _check_paths(config: JobConfig, path: Path) -> None:
    """Raise ``ConfigError`` if a path names a user or an environment variable that there is not."""
    places: dict[str, str | None] = {"out": config.out}
    for index, entry in enumerate(config.frames):
        places |= {f"frames[{index}].frame": entry.frame, f"frames[{index}].encoder": entry.encoder}
    for key, location in places.items():
        try:
            expand(location or "")
        except ValueError as error:
            raise ConfigError(f"{path}: {key}: {error}") from None


def _grid(config: JobConfig, path: Path) -> Grid:
    try:
        if config.grid == AUTO:
            return {}
        return named_grid(config.grid) if isinstance(config.grid, str) else make_grid(config.grid)
    except KeyError:
        accepted = JobConfig.model_fields["grid"].description
        raise ConfigError(f"{path}: grid: accepted: {accepted}; found {config.grid!r}") from None
    except ValueError as error:
        raise ConfigError(f"{path}: grid: {error}") from None
