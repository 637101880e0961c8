"""Arguments and options that several commands take."""

from pathlib import Path
from typing import Annotated

import typer

from sweep.command import WRONG, stop
from sweep.config import FitConfig, expand
from workers.errors import ConfigError


def expanded(param: typer.CallbackParam, location: str | None) -> str | None:
    """A path of the command line with home folders and variables put in: shells do not inside quotes."""
    try:
        return location and expand(location)
    except ValueError as error:
        name = param.opts[0] if param.opts[0].startswith("-") else param.metavar
        raise stop(ConfigError(f"{name}: {error}"), WRONG) from None


def _config_path(location: str) -> Path:
    try:
        return Path(expand(location))
    except ValueError as error:
        raise stop(ConfigError(f"CONFIG.yaml: {error}"), WRONG) from None


ConfigArgument = Annotated[
    Path,
    typer.Argument(
        metavar="CONFIG.yaml",
        help="The job's configuration; its paths may have ~, $NAME and ${NAME} in them.",
        show_default=False,
        parser=_config_path,
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY.PATH=VALUE",
        help="Set a key of the configuration; may be repeated.",
        show_default=False,
    ),
]
OutOption = Annotated[
    str | None,
    typer.Option(metavar="URI", help="Folder for the results.", show_default="out of the configuration"),
]
ResultsArgument = Annotated[
    str,
    typer.Argument(metavar="OUT", help="Folder or URI of a job's results.", show_default=False, callback=expanded),
]

VerboseOption = Annotated[
    bool,
    typer.Option("--verbose", "-v", help="Show details, and tracebacks of errors.", show_default=False),
]
QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", help="Show errors and the result alone.", show_default=False)
]


def statuses(done: str, wrong: str = "wrong command line or input, nothing was written") -> str:
    """Exit statuses of a command that does one thing, as the last paragraph of its help."""
    return f"Exit status: 0 {done}; 1 unexpected error; 2 {wrong}; 130 or 143 interrupted."


# --- of a fit

DEFAULT_FIT = FitConfig()


def _accepted(key: str) -> str:
    """What the configuration says of a key of ``fit``, as help."""
    text = FitConfig.model_fields[key].description or ""
    return f"{text[:1].upper()}{text[1:]}."


EncoderOption = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="A fitted frame encoder: .safetensors, or Cool-Chic's own .pt.",
        show_default="one is fitted, by --recipe",
        callback=expanded,
    ),
]
FamilyOption = Annotated[str, typer.Option(help=_accepted("family"))]
ArchOption = Annotated[str, typer.Option(help=_accepted("arch"))]
RecipeOption = Annotated[str, typer.Option(help=_accepted("recipe"))]
LmbdaOption = Annotated[
    float | None,
    typer.Option(
        help="Weight of the rate: loss = mse (samples from 0 to 1) + lmbda x bits per pixel.",
        show_default=f"the encoder's, or {DEFAULT_FIT.lmbdas[0]:g}",
    ),
]
FrameIndexOption = Annotated[
    int | None,
    typer.Option(min=0, help="Position of the frame in a file of several, from 0.", show_default=False),
]
MaxPixelsOption = Annotated[
    int, typer.Option(min=1, help="Most luma samples of a bitstream's frame that is accepted.")
]
EncoderFrameOption = Annotated[
    int | None,
    typer.Option(min=0, help="Display index of the frame in a checkpoint of several.", show_default=False),
]
SeedOption = Annotated[int, typer.Option(help=f"Seed of the fit: {FitConfig.model_fields['seed'].description}.")]
