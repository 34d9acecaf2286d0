"""Chains on rows that stay on disk: a thread reads the batches of the updates to come.

Which rows those are follows from the chains' seeds and the number of the update, as it does where
all rows are in memory, and so do the draws: they are the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from threading import Thread
from typing import Any, Protocol

import numpy as np

from pymc_sgmcmc.engines.base import Draws, Engine, State
from pymc_sgmcmc.model.potential import StochasticPotential

# Bytes of the batches that are read at once, twice of which are in memory; and updates of theirs.
_BYTES, _UPDATES = 2**26, 512


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

    def place(self, batches: Sequence[np.ndarray]) -> Any:
        """Batches ``(chains, n, B, ...)`` where `run` and `evaluate` take them from."""

    def run(self, *args: Any, batches: Any) -> tuple[Draws, State]:
        """Advance chains as `Engine.run` does, on batches for all updates and one more."""

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
        self._capacity = 1
        self._ahead: _Ahead | None = None

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
        self._ahead = None

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
        size = max(1, min(chains, _BYTES // self._bytes))
        parts = []
        for first in range(0, chains, size):
            # The same number every time: nothing compiles twice.
            of_part = np.arange(first, first + size) % chains
            batches = self._engine.place(self._read(numbers[of_part][:, None]))
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
        n_draws, steps = step_sizes.shape
        chains = len(state["position"])
        most = int(np.clip(_BYTES // (self._bytes * chains), 1, _UPDATES))
        draws_at_once = max(1, min(most // steps, capacity or n_draws))
        # A draw of long batches is made in parts.
        steps_at_once = -(-steps // -(-steps // most))
        self._capacity = max(self._capacity, 1 << (draws_at_once - 1).bit_length())
        room = draws_at_once * steps_at_once + 1
        found: list[Draws] = []
        for first in range(0, n_draws, draws_at_once):
            of_draws = step_sizes[first : first + draws_at_once]
            parts = []
            for begin in range(0, steps, steps_at_once):
                part = of_draws[:, begin : begin + steps_at_once]
                batches = self._batches(state, room, part.size)
                made, state = self._engine.run(
                    state,
                    np.ascontiguousarray(part),
                    base_step_size,
                    others,
                    self._capacity,
                    parameters,
                    batches=batches,
                )
                parts.append((part.shape[1], made))
            found.append(_joined(parts))
        positions = np.concatenate([x.positions for x in found], axis=1)
        names = found[0].statistics
        statistics = {k: np.concatenate([x.statistics[k] for x in found], axis=1) for k in names}
        return Draws(positions, statistics), state

    def _batches(self, state: State, room: int, updates: int) -> Any:
        """Batches for the coming updates; those for the ones after them are read meanwhile."""
        keys, here = (np.asarray(state[k]) for k in ("key", "update"))
        ahead, self._ahead = self._ahead, None
        if ahead is None or not ahead.serves(keys, here, room):
            ahead = _Ahead(self, keys, here, room)
        found = ahead.result()
        self._ahead = _Ahead(self, keys, here + np.uint32(updates), room)
        return found

    def _read(self, numbers: np.ndarray) -> list[np.ndarray]:
        rows = self._potential.rows_at(numbers.ravel())
        return [x.reshape(*numbers.shape, *x.shape[1:]) for x in rows]

    def read(self, keys: np.ndarray, updates: np.ndarray, n: int) -> Any:
        """Batches of n updates of every chain, in their place."""
        stored = self._potential.stored
        assert stored is not None
        stored.refuse_change()
        return self._engine.place(self._read(self._engine.numbers(keys, updates, n)))


class _Ahead(Thread):
    """Batches that are being read; an error comes to whoever asks for them."""

    def __init__(self, engine: ReadAhead, keys: np.ndarray, updates: np.ndarray, n: int) -> None:
        super().__init__(daemon=True)
        self._engine, self._of = engine, (keys, updates, n)
        self._found: Any = None
        self._error: BaseException | None = None
        self.start()

    def serves(self, keys: np.ndarray, updates: np.ndarray, n: int) -> bool:
        """Whether they are those of the updates that are meant."""
        own_keys, own_updates, own_n = self._of
        same = np.array_equal(own_keys, keys) and np.array_equal(own_updates, updates)
        # After a fork, no thread is left to read them.
        read = self.is_alive() or self._found is not None or self._error is not None
        return same and own_n == n and read

    def run(self) -> None:
        """Read; in the thread."""
        try:
            self._found = self._engine.read(*self._of)
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
    return Draws(parts[-1][1].positions, found)
