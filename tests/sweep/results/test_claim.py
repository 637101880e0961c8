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
from workers.errors import ClaimError, OutageError


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


def test_after_an_outage_the_claim_is_looked_at_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claim, "RENEW_SECONDS", 1000.0)  # as if its thread could not reach the storage
    lost = threading.Event()
    place = Storage(str(tmp_path))
    mine = Claim(place, lost.set)
    place.guard = mine.confirm
    before = read_owner(place)
    assert before is not None
    monkeypatch.setattr(mine, "_owner", before._replace(renewed=time.time() - claim.EXPIRY_SECONDS - 1.0))
    place.write("a", b"nobody came")
    renewed = read_owner(place)
    assert renewed is not None
    assert (renewed.id, renewed.renewed > before.renewed) == (before.id, True), "claimed once more"
    assert not lost.is_set()

    monkeypatch.setattr(mine, "_owner", before._replace(renewed=time.time() - claim.EXPIRY_SECONDS - 1.0))
    write(tmp_path, ELSEWHERE)
    for change in (lambda: place.write("a", b"mine"), lambda: place.delete("a"), lambda: place.set_aside("a")):
        with pytest.raises(ClaimError, match="another driver is at work there, process 1 on another-machine"):
            change()
    assert lost.is_set()
    mine.release()
    assert (tmp_path / "a").read_bytes() == b"nobody came"
    assert sorted(path.name for path in tmp_path.iterdir()) == [CLAIM_FILE, "a"]
    assert read_owner(place) == ELSEWHERE


def test_a_file_that_was_under_way_when_another_driver_took_over_does_not_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claim, "RENEW_SECONDS", 1000.0)
    place = Storage(str(tmp_path))
    mine = Claim(place, nothing)
    place.guard = mine.confirm
    place.write("a", b"before")
    sync = os.fsync

    def suspended(descriptor: int) -> None:
        """The machine sleeps while the content is written."""
        sync(descriptor)
        mine._owner = mine._owner._replace(renewed=time.time() - 100.0)
        write(tmp_path, ELSEWHERE)

    monkeypatch.setattr(os, "fsync", suspended)
    with pytest.raises(ClaimError):
        place.write("a", b"after")
    mine.release()
    assert (tmp_path / "a").read_bytes() == b"before"
    assert sorted(path.name for path in tmp_path.iterdir()) == [CLAIM_FILE, "a"]


def test_a_claim_that_cannot_be_read_for_a_moment_is_not_taken_for_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Storage(str(tmp_path))
    first = Claim(place, nothing)

    def away(*_: object) -> bytes:
        raise OutageError("away")

    monkeypatch.setattr(Storage, "read", away)
    with pytest.raises(OutageError):
        read_owner(place)
    monkeypatch.undo()
    first.release()
