"""One driver at a time in a folder of results; a dead one is in nobody's way."""

import json
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest

from sweep.results import Storage, claim
from sweep.results.claim import CLAIM_FILE, Claim, Owner, read_owner
from tests.waiting import LONG_SECONDS, wait_until
from workers.errors import ClaimError


@pytest.fixture(autouse=True)
def _short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim, "RENEW_SECONDS", 0.05)


@pytest.fixture
def _soon_expired(monkeypatch: pytest.MonkeyPatch) -> None:
    """For claims that nobody renews: those that somebody does might expire on a busy machine."""
    monkeypatch.setattr(claim, "EXPIRY_SECONDS", 0.5)


def nothing() -> None:
    """Nobody is to be told that the claim was lost."""


def write(folder: Path, owner: Owner) -> None:
    (folder / CLAIM_FILE).write_text(json.dumps(owner._asdict()))


ELSEWHERE = Owner("1", "another-machine", "boot", 1, 0.0)


def test_a_claim_is_there_until_it_is_released(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    mine = Claim(storage, nothing)
    owner = read_owner(storage)
    assert owner is not None
    assert owner.pid == os.getpid()
    assert not owner.is_dead()
    mine.release()
    mine.release()
    assert read_owner(storage) is None
    assert storage.is_empty()


def test_a_second_driver_is_refused_with_who_is_at_work_and_the_first_goes_on(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    first = Claim(storage, nothing)
    with pytest.raises(ClaimError, match=f"^{tmp_path}: another driver is at work .* process {os.getpid()} on "):
        Claim(Storage(str(tmp_path)), nothing)
    before = read_owner(storage)
    assert before is not None
    wait_until(lambda: read_owner(storage) not in (None, before))
    first.release()


@pytest.mark.usefixtures("_soon_expired")
def test_a_claim_of_another_machine_expires_when_nobody_renews_it_whatever_its_clock_says(tmp_path: Path) -> None:
    for renewed in (0.0, time.time(), time.time() + 1e6):
        write(tmp_path, ELSEWHERE._replace(renewed=renewed))
        start = time.monotonic()
        Claim(Storage(str(tmp_path)), nothing).release()
        assert time.monotonic() - start >= claim.EXPIRY_SECONDS


def test_a_process_of_this_machine_that_was_killed_is_in_nobodys_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    write(tmp_path, Owner.this()._replace(pid=killed.pid))
    assert not Owner.this()._replace(pid=killed.pid).is_dead()
    killed.kill()
    killed.communicate()
    monkeypatch.setattr(claim, "EXPIRY_SECONDS", LONG_SECONDS)
    Claim(Storage(str(tmp_path)), nothing).release()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"id": "1"}'])
def test_a_claim_that_is_damaged_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / CLAIM_FILE).write_text(content)
    Claim(Storage(str(tmp_path)), nothing).release()


def test_who_is_taken_over_is_told_and_leaves_the_claim_of_the_other_alone(tmp_path: Path) -> None:
    told = threading.Event()
    mine = Claim(Storage(str(tmp_path)), told.set)
    write(tmp_path, ELSEWHERE)
    assert told.wait(LONG_SECONDS)
    mine.release()
    assert read_owner(Storage(str(tmp_path))) == ELSEWHERE


def test_who_wakes_up_after_another_has_come_and_gone_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = threading.Event()
    mine = Claim(Storage(str(tmp_path)), lost.set)
    (tmp_path / CLAIM_FILE).unlink()
    wait_until((tmp_path / CLAIM_FILE).exists)
    assert not lost.is_set(), "it was away for a moment only"
    asleep = threading.Event()
    monkeypatch.setattr(Claim, "_renew", lambda _: asleep.set())
    assert asleep.wait(LONG_SECONDS)
    monkeypatch.setattr(claim, "EXPIRY_SECONDS", 0.0)
    (tmp_path / CLAIM_FILE).unlink()
    assert lost.wait(LONG_SECONDS)
    assert not (tmp_path / CLAIM_FILE).exists()
    mine.release()


def test_a_process_of_another_container_is_not_taken_for_dead() -> None:
    mine = Owner.this()
    gone = mine._replace(pid=2**22 + 1)
    assert gone.is_dead()
    assert not gone._replace(boot=mine.boot.replace("pid:", "pid:9")).is_dead()


def test_of_many_that_claim_at_once_one_gets_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim, "_SETTLE_SECONDS", {True: 2.0})  # for threads that share a busy core
    storage = Storage(str(tmp_path))
    got: list[Claim] = []

    def attempt() -> None:
        with suppress(ClaimError):
            got.append(Claim(storage, nothing))

    threads = [threading.Thread(target=attempt) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 1
    got[0].release()


def test_a_claim_that_is_renewed_while_it_is_read_is_somebody_s_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Storage(str(tmp_path))
    first = Claim(place, lambda: None)
    whole, calls = Storage.read, count()

    def torn(self: Storage, path: str) -> bytes:
        content = whole(self, path)
        return content if next(calls) % 2 else content[: len(content) // 2]

    monkeypatch.setattr(Storage, "read", torn)
    with pytest.raises(ClaimError, match="another driver is at work there"):
        Claim(place, lambda: None)
    first.release()
