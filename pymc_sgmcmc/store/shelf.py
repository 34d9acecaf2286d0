"""Bytes under keys of a zarr store, on a disk or far away: each is there whole, or not at all."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

# Files that are flushed at the same time.
_AT_ONCE = 16

OWN = ".pymc_sgmcmc"
"""Folder of what is no part of the tree: who runs, the counter, the state."""


class Shelf:
    """A zarr store, as keys and bytes.

    What was put is on the disk when `settle` returns, as far as the system tells the truth about
    it. Elsewhere, in an object store, that is so as soon as it was put.

    Parameters
    ----------
    where : str, path-like or zarr.abc.store.Store
        A folder, an address that fsspec knows, or a store of zarr.
    writable : bool
        Whether it may be written to, and made where there is none.

    Attributes
    ----------
    where : object
        What opens it again.
    name : str
        What it is called in messages.
    path : Path or None
        Its folder, if it is one.
    """

    def __init__(self, where: Any, writable: bool = True) -> None:
        zarr = import_zarr()
        self.where = os.fspath(where) if isinstance(where, os.PathLike) else where
        self.name = self.where if isinstance(self.where, str) else repr(where)
        if writable:
            group = zarr.open_group(self.where, mode="a", zarr_format=3, use_consolidated=False)
        else:
            group = zarr.open_group(self.where, mode="r", use_consolidated=False)
        self.store: Any = group.store
        root = getattr(self.store, "root", None)
        self.path = root if isinstance(root, Path) else None

    def get(self, key: str) -> bytes | None:
        """What is under a key; None if there is nothing."""
        from zarr.core.buffer import default_buffer_prototype

        found = _wait(self.store.get(key, default_buffer_prototype()))
        return None if found is None else found.to_bytes()

    def put(self, key: str, value: bytes) -> None:
        """Put bytes under a key, in the place of what was there."""
        self.put_all({key: value})

    def put_all(self, values: dict[str, bytes]) -> None:
        """Put bytes under several keys, in no order."""
        self.put_soon(values)
        self.settle(values)

    def put_soon(self, values: dict[str, bytes]) -> None:
        """Put bytes under several keys, which may come to the disk later: what can be made again.

        Each is whole at any time all the same.
        """
        from zarr.core.buffer import default_buffer_prototype

        of = default_buffer_prototype().buffer.from_bytes
        _wait(_all(self.store.set(key, of(value)) for key, value in values.items()))

    def delete(self, keys: Iterable[str]) -> None:
        """Take keys away, those that are not there as well."""
        _wait(_all(self.store.delete(key) for key in keys))

    def keys(self, prefix: str) -> list[str]:
        """All keys in a folder, and in those within it; all there are when it has no name."""

        async def listed() -> list[str]:
            return [key async for key in self.store.list_prefix(prefix and prefix + "/")]

        return _wait(listed())

    def settle(self, keys: Iterable[str]) -> None:
        """See to it that what was put under keys is on the disk, and that it is found there."""
        if self.path is None:
            return
        # A chunk of nothing but its fill value is no file.
        files = [path for key in keys if (path := self.path / key).exists()]
        # Together: the disk is asked once for what one after the other would ask it many times.
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            list(threads.map(_sync, (*files, *{path.parent for path in files})))

    def sweep(self) -> None:
        """Remove what writes that were cut off have left behind."""
        if self.path is not None:
            for path in self.path.rglob("*.partial"):
                path.unlink(missing_ok=True)


def import_zarr() -> Any:
    """Zarr, or an error that says how to install it."""
    try:
        import zarr
    except ImportError:
        raise ImportError(
            "A store needs zarr, which is not installed: pip install 'pymc-sgmcmc[store]', or "
            "pip install 'zarr>=3.1'."
        ) from None
    if int(zarr.__version__.split(".")[0]) < 3:
        raise ImportError(
            f"A store needs zarr 3, and {zarr.__version__} is installed: pip install 'zarr>=3.1'."
        )
    return zarr


def _wait(coroutine: Any) -> Any:
    """Result of what zarr's stores do in a loop of their own."""
    from zarr.core.sync import sync

    return sync(coroutine)


async def _all(coroutines: Iterable[Any]) -> None:
    await asyncio.gather(*coroutines)


def _sync(path: Path) -> None:
    try:
        number = os.open(path, os.O_RDONLY)
    except OSError:  # a folder, where those can't be opened
        return
    try:
        os.fsync(number)
    finally:
        os.close(number)
