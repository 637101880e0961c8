"""Submits a job to a Ray cluster that runs already."""

import logging
import sys
from typing import Annotated

import typer

from sweep.command import WRONG, running, stop
from sweep.config import unexpanded
from sweep.options import ConfigArgument, OutOption, QuietOption, SetOption, VerboseOption
from sweep.submit import default_address, follow_job, submit_job
from workers.errors import ClusterError
from workers.files import describe
from workers.streams import prepare_streams

PROGRAM = "submit"

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command(
    no_args_is_help=True,
    epilog="Exit status: 0 the job was submitted. 2 wrong configuration, command line or address, nothing was "
    "submitted. With --follow, that of the job: 0 every frame done; 1 some frames failed; 2 it could not begin, or "
    "the cluster does not answer any more; 143 it was stopped; 137 it was killed, or went with its node. "
    "130 following was interrupted, the job still runs.",
)
def submit(
    context: typer.Context,
    config: ConfigArgument,
    address: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Of the cluster's dashboard.",
            show_default="RAY_API_SERVER_ADDRESS, RAY_ADDRESS if it is a URL, or http://127.0.0.1:8265",
        ),
    ] = None,
    overrides: SetOption = None,
    out: OutOption = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Show the job's log until it ends, and end with its exit status.")
    ] = False,
    verbose: VerboseOption = False,
    quiet: QuietOption = False,
) -> None:
    """Submit a job to a Ray cluster that runs already, and print its submission id.

    The code of this checkout goes along; what it depends on has to be installed on the cluster, and relative paths
    become absolute ones, to be found there. Where the same configuration was run before, the job is resumed.
    """
    with running(context, verbose, quiet, program=PROGRAM, interrupted="interrupted; nothing was submitted"):
        job = submit_job(config, address or default_address(), overrides or (), out)
        if not quiet:
            server = describe(job.address)
            commands = {
                "follow": f"ray job logs --follow --address {server} {job.id}",
                "status": f"qsweep status '{unexpanded(describe(job.out))}'",
                "stop": f"ray job stop --address {server} {job.id}",
            }
            _say(f"submitted to {server}")
            for what, command in commands.items():
                typer.echo(f"  {what:8}{command}", err=True)
        typer.echo(job.id, err=follow)  # alone on the standard output, unless the log goes there
    if not follow:
        return
    with running(
        context, verbose, quiet, program=PROGRAM, interrupted=f"following was interrupted; job {job.id} still runs"
    ):
        try:
            ended = follow_job(job, _write)
        except ClusterError as error:
            raise stop(ClusterError(f"{error}; job {job.id} may still run"), WRONG, PROGRAM) from None
        if ended.reason:
            _say(ended.reason)
        raise typer.Exit(ended.status)


def _say(message: str) -> None:
    typer.echo(f"{PROGRAM}: {message}", err=True)


def _write(piece: str) -> None:
    sys.stdout.write(piece)
    sys.stdout.flush()


if __name__ == "__main__":
    prepare_streams()
    logging.disable(logging.INFO)  # what Ray's client tells of its requests
    app(prog_name="scripts/submit")
