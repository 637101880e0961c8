"""Jobs for a cluster elsewhere: this code and a configuration, handed to Ray's job server (``ray job submit``)."""

import asyncio
import logging
import os
import shutil
import signal
import ssl
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from ray.exceptions import AuthenticationError
from ray.job_submission import JobDetails, JobStatus, JobSubmissionClient

import workers
from sweep.config import (
    FrameEntry,
    JobConfig,
    is_manifest,
    load_plugins,
    place_entry,
    read_config,
    read_manifest_at,
    resolve,
    unexpanded,
)
from sweep.config.manifest import COLUMNS
from workers.errors import ClusterError, ConfigError
from workers.files import describe, is_uri
from workers.measure import kernel
from workers.reasons import reason_of

_log = logging.getLogger(__name__)

DEFAULT_ADDRESS = "http://127.0.0.1:8265"
_ADDRESS_VARIABLES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")

_JOB_FILE = "job.yaml"
_ENTRYPOINT = f"python -m sweep run {_JOB_FILE}"
_STOP_SECONDS = 30
"""Ray kills a job that is asked to stop after 3 s: little for tables that go to an object store."""

_KNOCK_SECONDS = 5.0  # for a job server to answer at all
_PATIENCE_SECONDS = 120.0  # for one that does not answer any more, while a job is followed
_PAUSE_SECONDS = 1.0

STOPPED, KILLED = 128 + signal.SIGTERM, 128 + signal.SIGKILL
_ENDED_ON_THE_WAY = ("JOB_SUPERVISOR_ACTOR_DIED", "JOB_SUPERVISOR_ACTOR_UNKNOWN_FAILURE")


class Submission(NamedTuple):
    """A job that a cluster has taken on.

    Attributes:
        id: by which Ray knows it.
        address: of the cluster's job server.
        out: path or URI of its results.
    """

    id: str
    address: str
    out: str


class Ended(NamedTuple):
    """How a job ended.

    Attributes:
        status: exit status of its driver; :data:`STOPPED` if it was stopped, :data:`KILLED` if it went with its
            node, 2 if it never began.
        reason: what Ray says, where the driver itself could say nothing; else empty.
    """

    status: int
    reason: str


def default_address() -> str:
    """The job server that the environment names, as for ``ray job``; else one on this machine."""
    named = (os.environ.get(variable, "") for variable in _ADDRESS_VARIABLES)
    return next((address for address in named if address.startswith("http")), DEFAULT_ADDRESS)


def submit_job(path: Path, address: str, overrides: Sequence[str] = (), out: str | None = None) -> Submission:
    """Hand a job to a cluster, with the code that runs here.

    Nothing that the configuration names has to exist on this machine. A manifest that does goes along with the
    job; everything else is looked for on the cluster, under its absolute path or URI. Home folders and environment
    variables in paths are those of this machine.

    Args:
        path: the configuration; see :func:`~sweep.config.load_job`.
        address: ``http://host:port`` of the cluster's dashboard.
        overrides: see :func:`~sweep.config.load_job`.
        out: see :func:`~sweep.config.load_job`.

    Raises:
        ConfigError: see :func:`~sweep.config.load_job`.
        ClusterError: the job server cannot be reached, or refuses the job.
    """
    config = read_config(path, overrides, out)
    with _talking_to(address), tempfile.TemporaryDirectory(prefix="qsweep-") as folder:
        client = _connect(address)
        config = stage(config, path, Path(folder))
        runtime_env = {
            "working_dir": folder,
            "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(_STOP_SECONDS)},
        }
        name = client.submit_job(entrypoint=_ENTRYPOINT, runtime_env=runtime_env, entrypoint_num_cpus=0)
    return Submission(name, address, config.out)


def stage(config: JobConfig, path: Path, folder: Path) -> JobConfig:
    """Fill a folder with everything that a job takes along: the code, manifests, and the configuration.

    Args:
        config: what ``path`` holds.
        path: the file it was read from; its folder is what relative paths are relative to.
        folder: empty.

    Returns:
        The configuration with absolute paths, as the folder holds it; it names no cluster, since a job runs on the
        one that it was submitted to.

    Raises:
        ConfigError: a manifest is wrong.
    """
    base = path.absolute().parent
    frames = []
    for index, entry in enumerate(config.frames):
        try:
            frames.append(_pack(entry, base, folder / f"manifest-{index}.parquet"))
        except ValueError as error:
            raise ConfigError(f"{path}: frames[{index}].frame: {error}") from None
    ray = config.ray.model_copy(update={"address": None})
    out = resolve(base, config.out)
    config = config.model_copy(update={"frames": frames, "out": unexpanded(out), "ray": ray})
    (folder / _JOB_FILE).write_text(
        yaml.safe_dump(config.model_dump(), sort_keys=False, allow_unicode=True), "utf-8"
    )
    for plugin in load_plugins(config.plugins, base):
        for name, content in plugin.files.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
    stale = [build.name for build in kernel.stale_builds()]
    if stale:
        _log.warning("not sent, since built from other C sources: %s; run scripts/setup", ", ".join(stale))
    for package in (Path(__file__).parent, Path(workers.__file__).parent):
        shutil.copytree(package, folder / package.name, ignore=shutil.ignore_patterns("__pycache__", *stale))
    # So that the job knows its version where qsweep is not installed, and its own where another one is.
    metadata = folder / "qsweep.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text(f"Metadata-Version: 2.1\nName: qsweep\nVersion: {version('qsweep')}\n", "utf-8")
    return config.model_copy(update={"out": out})


def _pack(entry: FrameEntry, base: Path, manifest: Path) -> FrameEntry:
    """An entry that means the same in another folder, and where there is a manifest, a copy of it that does."""
    frame, _ = place_entry(base, entry.frame)
    encoder = None if entry.encoder is None else unexpanded(resolve(base, entry.encoder))
    if is_manifest(frame) and not is_uri(frame) and Path(frame).exists():
        rows = [
            (unexpanded(row_frame), None if row_encoder is None else unexpanded(row_encoder), *numbers)
            for row_frame, row_encoder, *numbers in read_manifest_at(base, entry.frame)
        ]
        columns = dict(zip(COLUMNS.names, map(list, zip(*rows, strict=True)), strict=True))
        pq.write_table(pa.table(columns, COLUMNS), manifest)
        return entry.model_copy(update={"frame": manifest.name, "encoder": encoder})
    return entry.model_copy(update={"frame": unexpanded(frame), "encoder": encoder})


# --- what is said to the job server


def follow_job(submission: Submission, write: Callable[[str], object]) -> Ended:
    """Hand on what a job writes, from its beginning to its end.

    Args:
        submission: the job.
        write: called with every piece of its log.

    Raises:
        ClusterError: the job server cannot be reached, or not any more; the job may go on all the same.
    """
    with _talking_to(submission.address):
        client = _connect(submission.address)
        return _ended(asyncio.run(_follow(client, submission.id, write)))


async def _follow(client: JobSubmissionClient, name: str, write: Callable[[str], object]) -> JobDetails:
    n_written, silent_since = 0, None
    while True:
        n_read = 0  # the log is told from its beginning each time
        try:
            async for piece in client.tail_job_logs(name):
                if new := piece[max(0, n_written - n_read) :]:
                    write(new)
                n_read += len(piece)
                n_written, silent_since = max(n_written, n_read), None
            details = client.get_job_info(name)
            if details.status.is_terminal():
                return details
            silent_since = None
        except BrokenPipeError:  # nobody reads any more what is written here
            raise
        except (OSError, RuntimeError):
            silent_since = silent_since or time.monotonic()
            if time.monotonic() - silent_since > _PATIENCE_SECONDS:
                raise
        await asyncio.sleep(_PAUSE_SECONDS)


def _ended(details: JobDetails) -> Ended:
    code = details.driver_exit_code
    if code is not None:
        return Ended(code if code >= 0 else 128 - code, "")
    if details.status == JobStatus.STOPPED:
        return Ended(STOPPED, "the job was stopped")
    reason = reason_of(RuntimeError(details.message))
    return Ended(KILLED if details.error_type in _ENDED_ON_THE_WAY else 2, reason)


def _connect(address: str) -> JobSubmissionClient:
    _knock(address)
    # What the environment says would go before what is asked for here.
    before = os.environ.get(_ADDRESS_VARIABLES[0])
    os.environ[_ADDRESS_VARIABLES[0]] = address
    try:
        return JobSubmissionClient(address)
    finally:
        if before is None:
            del os.environ[_ADDRESS_VARIABLES[0]]
        else:
            os.environ[_ADDRESS_VARIABLES[0]] = before


def _knock(address: str) -> None:
    """Raise ``OSError`` or ``ValueError`` if nobody answers: Ray's own client would wait for minutes."""
    if not address.startswith(("http://", "https://")):
        raise ValueError("the address is that of the dashboard, http://host:port")
    try:
        urlopen(f"{address.rstrip('/')}/api/version", timeout=_KNOCK_SECONDS).close()
    except HTTPError as error:  # it wants a token, for example: then it is there
        error.close()
    except URLError as error:
        if isinstance(error.reason, ssl.SSLError):  # Ray's client knows other certificates
            return
        raise error.reason if isinstance(error.reason, OSError) else error from None


@contextmanager
def _talking_to(address: str) -> Iterator[None]:
    try:
        yield
    except (BrokenPipeError, ClusterError, ConfigError):
        raise
    except AuthenticationError as error:
        hint = "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH"
        raise ClusterError(
            f"the job server {describe(address)} wants a token: {reason_of(error)}; {hint}"
        ) from None
    except Exception as error:  # of Ray, requests and aiohttp, many unrelated types
        raise ClusterError(f"the job server {describe(address)} cannot be used: {reason_of(error)}") from None
