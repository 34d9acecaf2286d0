"""Rows of several arrays that stay where they are, and are read when they are needed."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from pymc_sgmcmc.streaming.extremes import extreme_rows
from pymc_sgmcmc.streaming.places import Held, Place

# Blocks of rows that a fingerprint is made of, and rows of each.
_SAMPLED, _OF_SAMPLE = 64, 1024


class StoredRows:
    """Arrays with one entry per row, ``(N, ...)``, by name.

    Parameters
    ----------
    places : mapping of str to Place
        Of one length.
    stamps : sequence of callable
        Each tells of a change of what the places were copied from.

    Attributes
    ----------
    names : tuple of str
    n_rows : int
        N.
    """

    def __init__(
        self,
        places: Mapping[str, Place],
        stamps: Sequence[Callable[[], tuple[object, ...]]] = (),
    ) -> None:
        self._places = dict(places)
        self._stamps = [*stamps, *(place.stamp for place in places.values())]
        self.names = tuple(places)
        self.n_rows = next(iter(places.values())).shape[0]
        self._opened = self._now()
        self._extremes: dict[str, np.ndarray] = {}

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of all rows of an array."""
        return self._places[name].shape

    def dtype(self, name: str) -> np.dtype:
        """Type in which an array is stored."""
        return self._places[name].dtype

    def held(self) -> dict[str, np.ndarray] | None:
        """All arrays, where they are in memory; None where one of them is not."""
        places = self._places.items()
        found = {name: place.array for name, place in places if isinstance(place, Held)}
        return found if len(found) == len(places) else None

    def read(self, name: str, first: int, stop: int) -> np.ndarray:
        """Rows of an array from one number to before another, as they are stored."""
        return self._places[name].read(first, stop)

    def take(self, name: str, numbers: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Rows of any numbers ``(k,)``, as they are stored, or in the type of an array for them."""
        return self._places[name].take(numbers, out)

    def extremes(self, name: str) -> np.ndarray:
        """Numbers of the rows with the least and the greatest value of a column, by a look at all.

        Raises
        ------
        ValueError
            If a number is not finite; it says in which row.
        """
        if name not in self._extremes:
            self._extremes[name] = extreme_rows(partial(self._finite, name), self.n_rows)
        return self._extremes[name]

    def _finite(self, name: str, first: int, stop: int) -> np.ndarray:
        block = self.read(name, first, stop)
        # A sum is finite only if every term is, mostly: it is a look in one pass.
        if block.dtype.kind == "f" and not np.isfinite(block.sum(dtype=float)):
            if not np.isfinite(block).all():
                raise ValueError(_not_finite(name, block, first))
        return block

    def fingerprint(self) -> tuple[object, ...]:
        """Shapes, types, checksums of some rows, and times of the files' last change.

        Equal as long as the rows are the same, but for a change that all of these miss.
        """
        starts = np.linspace(0, max(self.n_rows - _OF_SAMPLE, 0), _SAMPLED).astype(int)
        sums = []
        for name, place in self._places.items():
            checksum = 0
            for first in np.unique(starts):
                block = self.read(name, int(first), int(first) + _OF_SAMPLE)
                checksum = zlib.crc32(np.ascontiguousarray(block), checksum)
            sums.append((name, place.shape, place.dtype.str, checksum))
        return tuple(sums)

    def refuse_change(self) -> None:
        """Raise a ValueError if a file is not what it was when it was opened."""
        now = self._now()
        if now != self._opened:
            old, new = next((a, b) for a, b in zip(self._opened, now, strict=True) if a != b)
            raise ValueError(
                f"The source of the rows changed since this step was made: {_told(old)}, and now "
                f"{_told(new)}. Make a new step, and leave the files alone while it runs."
            )

    def __getstate__(self) -> dict[str, Any]:
        # What rows were copied from may not go to another process, and need not: their copy does.
        n = len(self._places)
        return {**self.__dict__, "_stamps": self._stamps[-n:], "_opened": self._opened[-n:]}

    def _now(self) -> list[tuple[object, ...]]:
        found: list[tuple[object, ...]] = []
        for stamp in self._stamps:
            try:
                found.append(stamp())
            except FileNotFoundError:
                found.append(("a file that is gone",))
        return found


def _told(stamp: tuple[object, ...]) -> str:
    return str(stamp[0]) if len(stamp) == 1 else " ".join(map(str, stamp))


def _not_finite(name: str, block: np.ndarray, first: int) -> str:
    bad = np.argwhere(~np.isfinite(block))
    rows = np.unique(bad[:, 0])
    shown = ", ".join(f"{first + i:,}" for i in rows[:5])
    more = f" and {len(rows) - 5} more before row {first + len(block):,}" if len(rows) > 5 else ""
    column = f", column {bad[0, 1]}" if block.ndim == 2 else ""
    return (
        f"{name!r} is {block[tuple(bad[0])]} in row {first + bad[0, 0]:,}{column}; rows that are "
        f"not finite: {shown}{more}. Leave such rows out, or fill in what is missing."
    )
