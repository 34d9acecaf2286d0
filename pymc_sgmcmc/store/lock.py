"""One process at a time writes to a store."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from pathlib import Path
from typing import Any

from pymc_sgmcmc.store.shelf import OWN, Shelf

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

_KEY, _SHARED = f"{OWN}/lock.json", f"{OWN}/shared.lock"
# Someone who looks whether a process runs holds the lock for an instant.
_ATTEMPTS, _SECONDS = 5, 0.05


class StoreInUseError(RuntimeError):
    """Another process writes to the store."""


class Lock:
    """The right to write to a store, until it is released or the process ends.

    In a folder the system holds it (`flock`), and lets go of it when the process dies, however it
    does. Where it can't, as in an object store, a note says who has it: process, machine, and when
    that was started. The note of a process that is known to be dead counts for nothing.

    Of the processes of one run the first one has it, and each of the others a `Share`: as long as
    one of these lives, no other run begins.

    Parameters
    ----------
    shelf : Shelf

    Raises
    ------
    StoreInUseError
        If another has it.
    """

    def __init__(self, shelf: Shelf) -> None:
        self._shelf, self._file = shelf, None
        if shelf.path is not None:
            self._file = _held(shelf.path / _KEY, shelf)
            shared = shelf.path / _SHARED
            if self._file is not None and shared.exists():
                try:
                    _held(shared, shelf).close()
                except StoreInUseError:
                    self._file.close()
                    raise
        if self._file is None:
            if _may_live(holder := _noted(shelf)):
                raise StoreInUseError(_in_use(shelf, holder))
            shelf.put(_KEY, _note())
        else:
            self._file.truncate(0)
            self._file.write(_note())
            self._file.flush()

    def release(self) -> None:
        """Let others write."""
        with contextlib.suppress(OSError):
            if self._file is None:
                self._shelf.delete([_KEY])
            else:
                self._file.truncate(0)
                self._file.close()


class Share:
    """What a process has that writes beside the first one, until it is released or ends."""

    def __init__(self, shelf: Shelf) -> None:
        self._file = None
        if shelf.path is not None and fcntl is not None:
            self._file = open(shelf.path / _SHARED, "a+b")
            with contextlib.suppress(OSError):  # some file systems have no locks
                fcntl.flock(self._file, fcntl.LOCK_SH | fcntl.LOCK_NB)

    def release(self) -> None:
        """Let others write."""
        if self._file is not None:
            self._file.close()


def is_running(shelf: Shelf) -> bool:
    """Whether a process writes to the store, as far as can be known."""
    if shelf.path is None or fcntl is None:
        return _may_live(_noted(shelf))
    try:
        with open(shelf.path / _KEY, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return _may_live(_noted(shelf))
    return False


def _held(path: Path, shelf: Shelf) -> Any:
    """File that the system keeps others from; None where it can't."""
    if fcntl is None:
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    file = open(path, "a+b")
    for attempt in range(_ATTEMPTS):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except BlockingIOError:
            time.sleep(_SECONDS if attempt < _ATTEMPTS - 1 else 0)
        except OSError:  # some file systems have no locks
            file.close()
            return None
    file.close()
    raise StoreInUseError(_in_use(shelf, _noted(shelf)))


def _note() -> bytes:
    me = {"pid": os.getpid(), "host": socket.gethostname(), "boot": _boot()}
    return json.dumps({**me, "since": time.strftime("%Y-%m-%d %H:%M:%S")}).encode()


def _noted(shelf: Shelf) -> dict[str, Any]:
    """What the note says of the process that writes; nothing if there is none."""
    try:
        return dict(json.loads(shelf.get(_KEY) or b"{}"))
    except ValueError:  # it was being written
        return {}


def _may_live(holder: dict[str, Any]) -> bool:
    """Whether a process that left a note may still run; of another machine nobody knows."""
    if not holder:
        return False
    if holder.get("host") != socket.gethostname():
        return True
    if holder.get("boot") != _boot():
        return False
    try:
        os.kill(int(holder["pid"]), 0)
    except (ProcessLookupError, KeyError, ValueError):
        return False
    except PermissionError:  # another person's
        return True
    return True


def _boot() -> str:
    """What tells one start of this machine from another, where the system says it."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _in_use(shelf: Shelf, holder: dict[str, Any]) -> str:
    who = "Another process"
    if holder:
        who = f"Process {holder['pid']} on {holder['host']}"
    message = (
        f"{who} writes to {shelf.name}, and only one can. Watch it with "
        f"pymc_sgmcmc.watch({shelf.where!r}), or give another store=...."
    )
    if holder and holder.get("host") != socket.gethostname():
        message += f" If it is dead, delete {_KEY} in the store."
    return message
