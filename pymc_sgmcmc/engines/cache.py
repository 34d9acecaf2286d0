"""Where compiled programs are kept between processes, and whether they are.

What lies there is machine code that later processes run: the folder belongs to the user, nobody
else may write or look into it, and one that is not so is left alone.
"""

import hashlib
import os
import stat
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

VARIABLE = "PYMC_SGMCMC_CACHE"
"""Environment variable: a folder instead of the usual one, or 0 for none."""

# Bytes of all programs together; those that were used least recently make room.
_MOST = 2**28
_OFF = ("0", "off", "false", "no")


def is_on() -> bool:
    """Whether programs are kept between processes."""
    return os.environ.get(VARIABLE, "").lower() not in _OFF


def key_of(*parts: str) -> str:
    """Name of a program, from all that it depends on."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{len(part)}:".encode() + part.encode())
    return digest.hexdigest()


def read(key: str) -> bytes | None:
    """Program that was kept, or None if there is none that is whole."""
    folder = _folder()
    if folder is None:
        return None
    with suppress(OSError):
        content = (folder / key).read_bytes()
        digest, program = content[:32], content[32:]
        if hashlib.sha256(program).digest() == digest:
            os.utime(folder / key)  # so the least recently used can be told
            return program
    return None


def write(key: str, program: bytes) -> None:
    """Keep a program, if there is a place for it; other processes see all of it or nothing."""
    folder = _folder()
    if folder is None:
        return
    with suppress(OSError):
        descriptor, name = tempfile.mkstemp(dir=folder)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(hashlib.sha256(program).digest() + program)
            os.replace(name, folder / key)
        except BaseException:
            os.unlink(name)
            raise
        _make_room(folder)


def _folder() -> Path | None:
    """Folder of the programs, made if need be; None where it is off or others could get at it."""
    if not is_on():
        return None
    chosen = os.environ.get(VARIABLE)
    with suppress(OSError, RuntimeError):  # no home, or nothing may be written there
        folder = Path(chosen) if chosen else _usual()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.name == "nt":  # profiles of users are private there
            return folder
        status = folder.stat()
        if status.st_uid == os.getuid() and not stat.S_IMODE(status.st_mode) & 0o077:
            return folder
    return None


def _usual() -> Path:
    """Folder for it in the place that the platform has for such things."""
    if sys.platform == "darwin":
        place = Path.home() / "Library" / "Caches"
    elif os.name == "nt":
        place = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        place = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return place / "pymc_sgmcmc"


def _make_room(folder: Path) -> None:
    """Remove the programs that were used least recently, beyond what all may take."""
    files: list[tuple[float, int, Path]] = []
    for path in folder.iterdir():
        with suppress(OSError):  # another process was faster
            status = path.stat()
            files.append((status.st_mtime, status.st_size, path))
    left = sum(size for _, size, _ in files)
    for _, size, path in sorted(files):
        if left <= _MOST:
            break
        with suppress(OSError):
            path.unlink()
        left -= size
