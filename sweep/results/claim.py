"""One driver at a time: a driver renews a claim in the folder of results while it works on it."""

import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from sweep.results.storage import FIRST_PATIENCE_SECONDS, Storage
from workers.errors import ClaimError, OutageError, ResultsError

_log = logging.getLogger(__name__)

CLAIM_FILE = ".claim"
RENEW_SECONDS = 3.0
EXPIRY_SECONDS = 15.0
"""A claim that has not been renewed for so long is of a driver that is dead, by the clock of this machine."""

_SETTLE_SECONDS = {True: 0.1, False: 0.5}  # of two that claim at once, here or elsewhere: then both see whose it is

_READS, _REREAD_SECONDS = 5, 0.1  # of a claim that cannot be made sense of


class Owner(NamedTuple):
    """The driver that has claimed a folder.

    Attributes:
        id: of the claim.
        host: name of the machine.
        boot: id of its start, and of the namespace of process ids; empty where there is none.
        pid: of the process.
        renewed: when, in seconds since the epoch, by the owner's clock.
    """

    id: str
    host: str
    boot: str
    pid: int
    renewed: float

    @classmethod
    def this(cls) -> "Owner":
        """This process."""
        return cls(uuid.uuid4().hex, socket.gethostname(), _boot_id(), os.getpid(), time.time())

    def is_dead(self) -> bool:
        """Whether it was a process of this machine that does not exist any more."""
        if (self.host, self.boot) != (socket.gethostname(), _boot_id()):
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass
        return False

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def _boot_id() -> str:
    try:
        # In another container the same id is another process, or none.
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip() + os.readlink("/proc/self/ns/pid")  # noqa: PTH115
    except OSError:
        return ""


def read_owner(storage: Storage) -> Owner | None:
    """Whoever has claimed a folder, if anyone has."""
    for _ in range(_READS):
        if not storage.is_file(CLAIM_FILE):
            return None
        try:
            content: dict[str, Any] = json.loads(storage.read(CLAIM_FILE))
            return Owner(**content)
        except OutageError:
            raise
        except (ResultsError, ValueError, TypeError):
            time.sleep(_REREAD_SECONDS)  # an object store may give parts of what was replaced while it was read
    return None  # it was never whole


class Claim:
    """The right to write into a folder of results, renewed in the background until it is released.

    Args:
        storage: the folder.
        lost: called, from any thread, if another driver has taken the folder over.

    Raises:
        ClaimError: another driver is at work there.
        ResultsError: the folder cannot be written.
    """

    def __init__(self, storage: Storage, lost: Callable[[], None]) -> None:
        self._storage = storage.with_patience(FIRST_PATIENCE_SECONDS, guarded=False)
        self._owner = Owner.this()
        self._on_lost = lost
        self._lost: ClaimError | None = None
        self._lock = threading.Lock()
        self._released = threading.Event()
        _wait_for_expiry(self._storage)
        self._renew()
        time.sleep(_SETTLE_SECONDS[storage.local])
        self._check()
        self._storage = self._storage.with_patience(0.0)  # from now on it is tried again soon anyway
        self._thread = threading.Thread(target=self._keep, name="qsweep-claim", daemon=True)
        self._thread.start()

    def release(self) -> None:
        """Let others have the folder."""
        if self._released.is_set():
            return
        self._released.set()
        self._thread.join()
        storage = self._storage.with_patience(FIRST_PATIENCE_SECONDS)
        try:
            owner = read_owner(storage)
            if owner is not None and owner.id == self._owner.id:
                storage.delete(CLAIM_FILE)
        except ResultsError as error:  # it expires all the same
            _log.warning("%s", error)

    def confirm(self) -> None:
        """Make sure that the folder is still this driver's; to be called right before it is changed.

        Only where the claim was not renewed for a while, as after an outage or when the machine was suspended, the
        claim is read again, and renewed if no other driver has taken it meanwhile.

        Raises:
            ClaimError: another driver has, or may have, taken over.
            OutageError: that cannot be found out at present.
        """
        if self._lost is None and self._is_fresh():
            return
        with self._lock:
            if self._lost is None and not self._is_fresh():
                self._reclaim()
            if self._lost is not None:
                raise ClaimError(str(self._lost))

    def _is_fresh(self) -> bool:
        """Whether the claim was renewed so recently that no other driver can take it for expired."""
        return 0 <= time.time() - self._owner.renewed < EXPIRY_SECONDS / 2

    def _reclaim(self) -> None:
        """Renew a claim that others may have taken for expired, unless one of them did."""
        expired = not 0 <= time.time() - self._owner.renewed < EXPIRY_SECONDS
        try:
            self._check()
            self._renew()
            if expired:  # another driver may be about to claim the folder at this moment
                time.sleep(_SETTLE_SECONDS[self._storage.local])
                self._check()
        except ClaimError as error:
            self._lost = error
            self._released.set()
            self._on_lost()

    def _check(self) -> None:
        owner = read_owner(self._storage)
        if owner is not None and owner.id != self._owner.id:
            raise _refusal(self._storage, owner)
        if owner is None and time.time() - self._owner.renewed > EXPIRY_SECONDS:
            raise ClaimError(f"{self._storage.describe('')}: another driver may have been there, the claim is gone")

    def _renew(self) -> None:
        renewed = self._owner._replace(renewed=time.time())
        self._storage.write(CLAIM_FILE, json.dumps(renewed._asdict()).encode(), durable=False)
        self._owner = renewed

    def _keep(self) -> None:
        while not self._released.wait(RENEW_SECONDS):
            try:
                with self._lock:
                    if self._lost is None:
                        self._reclaim()
            except OutageError:  # the storage says so itself
                pass
            except ResultsError as error:
                _log.warning("%s", error)


def _refusal(storage: Storage, owner: Owner) -> ClaimError:
    return ClaimError(
        f"{storage.describe('')}: another driver is at work there, {owner}; wait for it to end, or stop it"
    )


def _wait_for_expiry(storage: Storage) -> None:
    """Wait until nobody renews the claim; raise if somebody does."""
    first = read_owner(storage)
    if first is None or first.is_dead():
        return
    where = storage.describe("")
    _log.info("%s: claimed by %s; waiting up to %.0f s for its next sign of life", where, first, EXPIRY_SECONDS)
    end = time.monotonic() + EXPIRY_SECONDS
    while time.monotonic() < end:
        time.sleep(RENEW_SECONDS / 6)
        now = read_owner(storage)
        if now is None:
            return
        if now != first:
            raise _refusal(storage, now)
