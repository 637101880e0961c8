"""Which Ray a job connects to, and what is said of addresses that are none."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import ray
from ray._private import ray_constants
from ray._private.runtime_env import uv_runtime_env_hook
from ray._private.worker import _maybe_modify_runtime_env

from sweep.config import RayConfig
from sweep.driver import connect, connection
from sweep.driver.placement import Node
from tests.waiting import LONG_SECONDS
from workers.errors import ClusterError


class Init:
    """Stands in for ``ray.init``: notes what it is asked for."""

    def __init__(self) -> None:
        self.addresses: list[str] = []
        self.uv_hook: list[bool] = []
        self.shut_down = 0

    def __call__(self, **options: Any) -> None:
        self.addresses.append(options["address"])
        self.uv_hook.append(ray_constants.RAY_ENABLE_UV_RUN_RUNTIME_ENV)

    def shutdown(self) -> None:
        self.shut_down += 1


@pytest.fixture
def init(monkeypatch: pytest.MonkeyPatch) -> Iterator[Init]:
    init = Init()
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "shutdown", init.shutdown)
    monkeypatch.setattr(connection, "_knock", lambda _: None)
    monkeypatch.setattr(connection, "cluster_nodes", lambda: [Node("a", 2, 0)])
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.delenv("RAY_ENABLE_UV_RUN_RUNTIME_ENV", raising=False)
    yield init
    assert init.shut_down == len(init.addresses)


@pytest.mark.parametrize(
    ("configured", "variable", "expected"),
    [
        (None, None, "local"),
        (None, "", "local"),
        (None, "  ", "local"),
        (" ", "local", "local"),
        ("local", "10.0.0.1:6379", "local"),
        (None, " 10.0.0.1:6379\n", "10.0.0.1:6379"),
        ("10.0.0.2:6379", "10.0.0.1:6379", "10.0.0.2:6379"),
        (None, "auto", "auto"),
        ("ray://10.0.0.1:10001", "http://10.0.0.1:8265", "ray://10.0.0.1:10001"),
    ],
)
def test_the_address_is_that_of_the_configuration_or_of_the_environment(
    init: Init, monkeypatch: pytest.MonkeyPatch, configured: str | None, variable: str | None, expected: str
) -> None:
    if variable is not None:
        monkeypatch.setenv("RAY_ADDRESS", variable)
    with connect(RayConfig(address=configured)):
        pass
    assert init.addresses == [expected]


@pytest.mark.parametrize("name", ["RAY_ADDRESS", "ray.address"])
@pytest.mark.parametrize("address", ["http://127.0.0.1:8265", "HTTPS://head"])
def test_the_address_of_a_job_server_is_an_error_that_says_what_to_do(
    init: Init, monkeypatch: pytest.MonkeyPatch, name: str, address: str
) -> None:
    if name == "RAY_ADDRESS":
        monkeypatch.setenv(name, address)
    config = RayConfig(address=address if name == "ray.address" else None)
    with pytest.raises(ClusterError) as error, connect(config):
        pass
    assert str(error.value).startswith(f"{name}: {address} is the address of a job server")
    assert f"scripts/submit CONFIG.yaml --address {address}" in str(error.value)
    assert init.addresses == []


def test_an_address_that_cannot_be_used_is_named_with_where_it_is_from(
    init: Init, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(_: str) -> None:
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(connection, "_knock", nobody)
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    with pytest.raises(ClusterError, match=r"^RAY_ADDRESS: 10.0.0.1:6379 cannot be used: Connection refused$"):
        connect(RayConfig()).__enter__()
    assert init.addresses == []


@contextmanager
def listening(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server, on some port of this machine, that answers the first connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        ended = threading.Event()

        def serve() -> None:
            peer, _ = server.accept()
            with peer:
                answer(peer)
                ended.wait(LONG_SECONDS)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            ended.set()
            thread.join()


def http(peer: socket.socket) -> None:
    peer.recv(1024)
    peer.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


def closed(peer: socket.socket) -> None:
    peer.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("scheme", ["", "ray://"])
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda _: None, r"no answer within \d+ s"),
        (lambda peer: peer.sendall(b"SSH-2.0"), r"no answer within \d+ s"),
        (http, "its answer is not that of a Ray cluster"),
        (closed, "its answer is not that of a Ray cluster"),
    ],
    ids=["silent", "slow", "http", "closed"],
)
def test_a_server_of_another_kind_is_found_out_before_ray_waits_for_it(
    monkeypatch: pytest.MonkeyPatch, scheme: str, answer: Callable[[socket.socket], None], reason: str
) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", None)
    monkeypatch.setattr(connection, "_KNOCK_SECONDS", 0.3)
    with listening(answer) as port:
        address = f"{scheme}127.0.0.1:{port}"
        monkeypatch.setenv("RAY_ADDRESS", address)
        with pytest.raises(ClusterError, match=f"^RAY_ADDRESS: {address} cannot be used: something .* {reason}$"):
            connect(RayConfig()).__enter__()


def test_credentials_in_an_address_are_not_shown(init: Init) -> None:
    with pytest.raises(ClusterError, match="http://head:8265") as error:
        connect(RayConfig(address="http://user:secret@head:8265")).__enter__()
    assert "secret" not in str(error.value)
    assert init.addresses == []


def test_a_client_of_ray_is_not_used_for_what_it_cannot_do(init: Init) -> None:
    config = RayConfig(address="ray://10.0.0.1:10001")
    with pytest.raises(
        ClusterError, match=r"ray://10.0.0.1:10001 cannot be used: a client of Ray receives no progress of fits"
    ):
        connect(config, trains=True).__enter__()
    assert init.addresses == []


def test_an_embedded_ray_without_room_for_a_replica_is_said_at_once(
    init: Init, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray, "available_resources", lambda: {"CPU": 2.0})
    with pytest.raises(ClusterError) as error, connect(RayConfig(cpus_per_replica=4)):
        pass
    assert str(error.value).startswith(
        "ray.cpus_per_replica: no replica can ever start: each needs 4 CPU; the cluster has 2 CPU, 2 free, on 1 "
    )
    assert init.shut_down == 1


# --- under `uv run`


@pytest.fixture
def uv_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process looks as if it had been started by ``uv run``."""
    monkeypatch.setattr(uv_runtime_env_hook, "_get_uv_run_cmdline", lambda: ["uv", "run", "qsweep"])
    monkeypatch.setattr(uv_runtime_env_hook, "hook", lambda _: {"working_dir": "packed"})
    monkeypatch.setattr(ray_constants, "RAY_ENABLE_UV_RUN_RUNTIME_ENV", True)


@pytest.mark.usefixtures("uv_run")
def test_under_uv_run_ray_does_not_pack_the_working_directory(init: Init, monkeypatch: pytest.MonkeyPatch) -> None:
    environments: list[Any] = []
    monkeypatch.setattr(
        ray,
        "init",
        lambda **options: (init(**options), environments.append(_maybe_modify_runtime_env(None, False))),
    )
    with connect(RayConfig()):
        pass
    assert environments == [None]
    assert ray_constants.RAY_ENABLE_UV_RUN_RUNTIME_ENV, "as it was before"


@pytest.mark.usefixtures("uv_run")
def test_whoever_asks_ray_for_uv_gets_it(init: Init, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "1")
    with connect(RayConfig()):
        pass
    assert init.uv_hook == [True]
