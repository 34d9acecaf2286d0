"""Draws of the chains that one process writes, in the groups that all write to."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from pymc.model import Model

from pymc_sgmcmc import processes
from pymc_sgmcmc.engines.base import Draws
from pymc_sgmcmc.output import dataset_of
from pymc_sgmcmc.store.shelf import OWN, Shelf
from pymc_sgmcmc.store.tree import StoredTree, draws_in_chunks

ARRAYS = f"{OWN}/arrays"

Arrays = Mapping[str, np.ndarray]
_GROUPS = ("posterior", "sample_stats")


class Block(NamedTuple):
    """Draws that are to be written: ``(chains, n, ...)`` all of them.

    Attributes
    ----------
    tuning : bool
        Whether they are tuning draws.
    n : int
        Draws of every chain.
    chains : slice
        Chains that they are of; there may be none.
    variables, statistics : mapping of str to ndarray
    """

    tuning: bool
    n: int
    chains: slice
    variables: Arrays
    statistics: Arrays

    def groups(self) -> list[tuple[str, Arrays]]:
        """What goes to each group."""
        return list(zip(_GROUPS, (self.variables, self.statistics), strict=True))


class Mark(NamedTuple):
    """A moment between two blocks that a run can go on from.

    Attributes
    ----------
    made, filled : int
        Draws of every chain that were made, tuning included, and those that are kept.
    state : mapping
        As `Run.state` gives it.
    attributes : mapping
        Of the draws until then.
    progress : mapping
        For those who watch: words and numbers.
    """

    made: int
    filled: int
    state: Mapping[str, Any]
    attributes: Mapping[str, Any]
    progress: Mapping[str, Any]


class Part:
    """What a process writes of a run: draws beyond the end of their arrays, until a mark.

    A thread writes while the chains go on. Nothing that it writes is changed by them.

    Attributes
    ----------
    filled, written : int
        Draws of every chain that are kept, and those that nothing can take away.
    """

    _shelf: Shelf
    _tree: StoredTree

    def __init__(self) -> None:
        self._at_once: int | None = None
        self.filled = self.written = 0
        # One thread appends to it, and another takes from its beginning.
        self._pending: list[Block] = []
        self._mark: Mark | None = None
        self._writer = ThreadPoolExecutor(1, "pymc_sgmcmc-store")
        self._writing: Future | None = None
        self._shares: list[slice] | None = None

    def begin(
        self, model: Model, chains: int, tune: int, draws: int, statistics: Mapping[str, Any]
    ) -> None:
        """Prepare for draws of a model.

        Parameters
        ----------
        model : pm.Model
        chains : int
        tune, draws : int
            Draws of the tuning that are kept, and those after it.
        statistics : mapping of str to dtype
        """
        self._model, self._statistics, self._kept_tuning = model, dict(statistics), tune
        self._chains = chains

    @property
    def room(self) -> int:
        """Draws that the next block may have: a chunk is written as soon as it is full.

        One, where there is none yet to tell how large they are.
        """
        if self._at_once is None:
            return 1
        return self._at_once - self._place(self.filled) % self._at_once

    def of_mine(self, draws: Draws) -> Draws:
        """Draws with the positions of the chains that this process writes.

        Those that it has, if no two processes would write to one chunk; else the first one writes
        all. All processes must ask.
        """
        if draws.chains is None:
            return draws
        if self._shares is None:
            self._shares = processes.gathered(draws.chains)
        prefix = self._prefix(self.filled < self._kept_tuning)
        ends = {end for own in self._shares for end in (own.start, own.stop)} - {self._chains}
        if all(
            end % n == 0
            for group in _GROUPS
            if prefix + group in self._tree.groups
            for n in self._tree.chains_in_chunks(prefix + group)
            for end in ends
        ):
            return draws
        number = self._chains if processes.index() == 0 else 0
        whole = draws.whole()
        return Draws(whole.positions[:number], whole.statistics, slice(0, number))

    def add(self, variables: Arrays, draws: Draws) -> None:
        """Keep a block of draws, with variables ``(chains, n, ...)`` of its positions."""
        own = draws.chains or slice(0, self._chains)
        typed = {
            k: np.asarray(draws.statistics[k][own], dtype) for k, dtype in self._statistics.items()
        }
        tuning = self.filled < self._kept_tuning
        self._pending.append(Block(tuning, draws.n, own, variables, typed))
        self.filled += draws.n

    @property
    def _full(self) -> bool:
        """Whether draws that wait for it fill a chunk."""
        return bool(self._pending) and self._at_once in (None, self.room)

    def _until(self, mark: Mark) -> list[Block]:
        """Blocks of the draws that are still to be written until a mark."""
        ends = list(itertools.accumulate((block.n for block in self._pending), initial=0))
        return self._pending[: ends.index(mark.filled - self.written)]

    def _fill(self, mark: Mark) -> dict[str, int]:
        """Write the draws of a process's own chains until a mark; gives the groups' new lengths."""
        done, lengths = self.written, {}
        for block in _joined(self._until(mark)):
            prefix = self._prefix(block.tuning)
            if f"{prefix}posterior" not in self._tree.groups:
                self._create(prefix, block, mark.attributes)
            for group, arrays in block.groups():
                if arrays:
                    self._tree.fill(prefix + group, arrays, self._place(done), block.chains)
                lengths[prefix + group] = self._place(done) + block.n
            done += block.n
        return lengths

    def _create(self, prefix: str, block: Block, attributes: Mapping[str, Any]) -> None:
        """Make the groups that draws like these go to, without a draw yet."""
        groups = {}
        for group, arrays in block.groups():
            one = {
                name: np.broadcast_to(x[:1, :1], (self._chains, 1, *x.shape[2:]))
                for name, x in arrays.items()
            }
            groups[prefix + group] = dataset_of(self._model, one, attributes)
        self._at_once, chunks = draws_in_chunks(groups)
        shares = self._shares or ()
        share = math.gcd(self._chains, *(end for own in shares for end in (own.start, own.stop)))
        for group, dataset in groups.items():
            self._tree.create(group, dataset.isel(draw=slice(0)), chunks[group], share)

    def _place(self, number: int) -> int:
        """Place of a draw in its group, by its number among those that are kept."""
        return number if number < self._kept_tuning else number - self._kept_tuning

    @staticmethod
    def _prefix(tuning: bool) -> str:
        return "warmup_" if tuning else ""


def _joined(blocks: list[Block]) -> Iterator[Block]:
    """As few blocks as there are groups that they go to."""

    def join(arrays: list[Arrays]) -> Arrays:
        return {k: np.concatenate([x[k] for x in arrays], axis=1) for k in arrays[0]}

    for tuning, some in itertools.groupby(blocks, lambda block: block.tuning):
        own = list(some)
        yield Block(
            tuning,
            sum(block.n for block in own),
            own[0].chains,
            join([block.variables for block in own]),
            join([block.statistics for block in own]),
        )
