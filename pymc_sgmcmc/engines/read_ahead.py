"""Chains on rows that stay on disk: a thread reads the batches of the updates to come.

Which rows those are follows from the chains' seeds and the number of the update, as it does where
all rows are in memory, and so do the draws: they are the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from threading import Thread, local
from typing import Any, Protocol

import numpy as np

from pymc_sgmcmc.engines.base import Draws, Engine, State
from pymc_sgmcmc.model.potential import StochasticPotential

# Bytes of the batches that are read at once, twice of which are in memory; and updates of theirs.
_BYTES, _UPDATES = 2**25, 512


class Reads(Protocol):
    """What an engine is asked for besides, where it runs on batches that it is given."""

    batch_size: int | None
    dtype: str

    def numbers(self, keys: np.ndarray, updates: np.ndarray, n: int) -> np.ndarray:
        """Numbers of the rows of n updates of each chain, ``(chains, n, B)``.

        Parameters
        ----------
        keys : ndarray
            Of the chains, ``(chains, 2)``.
        updates : ndarray
            The first of each chain, ``(chains,)``.
        n : int
        """

    def numbers_to_evaluate(self, seed: np.ndarray, chains: int) -> np.ndarray:
        """Numbers of the rows that `Engine.evaluate` takes, ``(chains, B)``."""

    def enough(self, chains: int) -> int:
        """Chains that `evaluate` takes in place of so many, or of a few more."""

    def shares(self, numbers: np.ndarray) -> list[np.ndarray]:
        """Parts of batches ``(chains, n, B)`` that are to be read in this process."""

    def place(self, shares: Sequence[Sequence[np.ndarray]], shape: tuple[int, ...]) -> Any:
        """Put batches where `run` and `evaluate` take them from.

        Parameters
        ----------
        shares : sequence of sequence of ndarray
            Rows of every array in each of the parts that `shares` gave.
        shape : tuple of int
            ``(chains, n, B)``.
        """

    def run(self, *args: Any, batches: Any, place: int) -> tuple[Draws, State]:
        """Advance chains as `Engine.run` does, on batches from a place on: for one update more."""

    def evaluate(self, *args: Any, batches: Any) -> tuple[np.ndarray, np.ndarray]:
        """Evaluate as `Engine.evaluate` does, on one batch for each chain."""


class ReadAhead:
    """Engine that runs another one on batches which are read while the ones before are in use.

    Parameters
    ----------
    engine : Engine
        One that was compiled for a potential of stored rows.
    potential : StochasticPotential
    """

    def __init__(self, engine: Any, potential: StochasticPotential) -> None:
        self._engine, self._potential = engine, potential
        size = potential.batch_size or 1
        self._bytes = sum(x.nbytes // len(x) for x in potential.rows_at(np.arange(1))) * size
        self._of_thread = _OfThread()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_engine":
            raise AttributeError(name)
        return getattr(self._engine, name)

    def load(self, rows: Sequence[np.ndarray]) -> None:
        """Nothing: rows are read when they are needed."""

    def share_rows(self, other: Engine) -> None:
        """Nothing: see `load`."""

    def release(self) -> None:
        """Forget what was read ahead."""
        self._of_thread = _OfThread()

    def evaluate(
        self,
        positions: np.ndarray,
        others: Mapping[str, np.ndarray],
        seed: np.ndarray,
        parameters: Mapping[str, np.ndarray] | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Potential and gradient from one random batch for each chain; see `Engine.evaluate`."""
        chains = len(positions)
        numbers = self._engine.numbers_to_evaluate(seed, chains)
        size = self._engine.enough(max(1, min(chains, _BYTES // self._bytes)))
        parts = []
        for first in range(0, chains, size):
            # The same number every time: nothing compiles twice.
            of_part = np.arange(first, first + size) % chains
            _, batches = self._read(numbers[of_part][:, None], [])
            here = {k: x[of_part] for k, x in others.items()}
            found = self._engine.evaluate(
                positions[of_part], here, seed, parameters, batches=batches
            )
            parts.append([x[: chains - first] for x in found])
        values, gradients = (np.concatenate(x) for x in zip(*parts, strict=True))
        return values, gradients

    def run(
        self,
        state: State,
        step_sizes: np.ndarray,
        base_step_size: float,
        others: Mapping[str, np.ndarray] | None = None,
        capacity: int | None = None,
        parameters: Mapping[str, np.ndarray] | None = None,
    ) -> tuple[Draws, State]:
        """Advance all chains by ``n_draws`` draws; see `Engine.run`."""
        chains, steps = len(state["position"]), step_sizes.shape[1]
        capacity = capacity or self._engine.capacity(chains)
        h = step_sizes.ravel()
        done, found, parts = 0, [], []
        while done < h.size:
            batches, place, left = self._batches(state, steps)
            # Whole draws; or a part of one, where the batches of a draw take too much memory.
            whole = min(left // steps, capacity) * steps
            n = min(whole or min(left, steps - done % steps), h.size - done)
            made, state = self._engine.run(
                state,
                h[done : done + n].reshape(-1, min(steps, n)),
                base_step_size,
                others,
                capacity,
                parameters,
                batches=batches,
                place=place,
            )
            done += n
            parts.append((min(steps, n), made))
            if done % steps == 0:
                found.append(_joined(parts))
                parts = []
        positions = np.concatenate([x.positions for x in found], axis=1)
        names = found[0].statistics
        statistics = {k: np.concatenate([x.statistics[k] for x in found], axis=1) for k in names}
        return Draws(positions, statistics, found[0].chains), state

    def _batches(self, state: State, steps: int) -> tuple[Any, int, int]:
        """Batches for the coming updates, the place of the next one's, and how many are there.

        Those for the updates after them are read meanwhile.
        """
        keys, update = np.asarray(state["key"]), np.asarray(state["update"])
        most = int(np.clip(_BYTES // (self._bytes * len(keys)), 1, _UPDATES))
        least = steps if steps <= most else 1
        mine = self._of_thread
        used, ahead = mine.used, mine.ahead
        if used is None or not used.serves(keys, update, least):
            mine.ahead = None  # its error, if it has one, is told once
            if ahead is None or not ahead.serves(keys, update, least):
                ahead = _Batches(self, keys, update, most, mine.free)
            ahead.result()
            if used is not None:
                mine.free.append(used.buffers)
            used = mine.used = ahead
            following = update + np.uint32(most // steps * steps or most)
            mine.ahead = _Batches(self, keys, following, most, mine.free)
        place = used.place(update)
        return used.result(), place, used.n - place

    def _read(
        self, numbers: np.ndarray, free: list[list[np.ndarray]]
    ) -> tuple[list[np.ndarray], Any]:
        """Rows of some numbers ``(chains, n, B)``, and batches of them in their place."""
        rows = self._potential.rows
        assert rows is not None
        # New memory costs as much as the rows that go there.
        shares = self._engine.shares(numbers)
        ends = np.cumsum([x.size for x in shares])
        try:
            buffers = free.pop()
        except IndexError:
            buffers = []
        if not buffers or len(buffers[0]) != ends[-1]:
            buffers = rows.empty(int(ends[-1]), self._engine.dtype)
        rows.read_into(buffers, np.concatenate([x.ravel() for x in shares]))
        found = [
            [x[end - share.size : end].reshape(*share.shape, *x.shape[1:]) for x in buffers]
            for share, end in zip(shares, ends, strict=True)
        ]
        return buffers, self._engine.place(found, numbers.shape)

    def read(
        self, keys: np.ndarray, updates: np.ndarray, n: int, free: list[list[np.ndarray]]
    ) -> tuple[list[np.ndarray], Any]:
        """Batches of n updates of every chain, and of the one after them; see `_read`."""
        stored = self._potential.stored
        assert stored is not None
        stored.refuse_change()
        return self._read(self._engine.numbers(keys, updates, n + 1), free)


class _OfThread(local):
    """What one of several threads that run chains has read: batches in use, and those to come."""

    def __init__(self) -> None:
        self.used: _Batches | None = None
        self.ahead: _Batches | None = None
        self.free: list[list[np.ndarray]] = []


class _Batches(Thread):
    """Batches of some updates, which are being read; an error comes to whoever asks for them.

    Parameters
    ----------
    engine : ReadAhead
    keys : ndarray
        Of the chains, ``(chains, 2)``.
    first : ndarray
        Number of the first update, ``(chains,)``.
    n : int
        Updates.
    free : list
        Memory of batches that are no longer needed.
    """

    def __init__(
        self,
        engine: ReadAhead,
        keys: np.ndarray,
        first: np.ndarray,
        n: int,
        free: list[list[np.ndarray]],
    ) -> None:
        super().__init__()  # what JAX runs must end before the process does
        self._engine, self._keys, self._first, self.n = engine, keys, first, n
        self._free = free
        self.buffers: list[np.ndarray] = []
        self._found: Any = None
        self._error: BaseException | None = None
        self.start()

    def place(self, update: np.ndarray) -> int:
        """Place of an update among those whose batches they are."""
        return int((update - self._first)[0])

    def serves(self, keys: np.ndarray, update: np.ndarray, updates: int) -> bool:
        """Whether batches of that many updates from one on are among them."""
        if not np.array_equal(keys, self._keys):
            return False
        places = update.astype(np.int64) - self._first
        # After a fork, no thread is left to read them.
        read = self.is_alive() or self._found is not None or self._error is not None
        return read and (places == places[0]).all() and 0 <= places[0] <= self.n - updates

    def run(self) -> None:
        """Read; in the thread."""
        try:
            self.buffers, self._found = self._engine.read(
                self._keys, self._first, self.n, self._free
            )
        except BaseException as error:
            self._error = error

    def result(self) -> Any:
        """Batches, as soon as they are read."""
        self.join()
        if self._error is not None:
            raise self._error
        return self._found


def _joined(parts: list[tuple[int, Draws]]) -> Draws:
    """Draws whose updates were made in parts."""
    if len(parts) == 1:
        return parts[0][1]
    of_parts = [made.statistics for _, made in parts]
    # Means over the accepted updates.
    weights = (
        np.stack([np.maximum(n - made.statistics["rejected"], 0) for n, made in parts])
        + np.finfo(float).tiny
    )
    found = {}
    for name in of_parts[0]:
        x = np.stack([statistics[name] for statistics in of_parts])
        if name == "rejected":
            found[name] = x.sum(0)
        elif name == "step_size":
            found[name] = x[-1]
        elif name == "gradient_norm":
            found[name] = np.sqrt(np.average(np.square(x), 0, weights)).astype(x.dtype)
        else:
            found[name] = np.average(x, 0, weights).astype(x.dtype)
    return parts[-1][1]._replace(statistics=found)
