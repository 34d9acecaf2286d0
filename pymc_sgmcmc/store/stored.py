"""A run in a store: its draws, the state of its chains, and what it is of."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pymc.model import Model
from xarray import DataTree

from pymc_sgmcmc.arguments import generator
from pymc_sgmcmc.output import data_groups, dataset_of
from pymc_sgmcmc.store.identity import Identity, differences, other_packages
from pymc_sgmcmc.store.lock import Lock
from pymc_sgmcmc.store.record import pack, unpack
from pymc_sgmcmc.store.shelf import OWN, Shelf
from pymc_sgmcmc.store.tree import StoredTree, draws_in_chunks, open_tree, plain_attribute
from pymc_sgmcmc.warn import warn_user

IDENTITY, COUNTER, _ARRAYS = f"{OWN}/identity.json", f"{OWN}/counter.json", f"{OWN}/arrays"
# Seconds after which draws are written though they don't fill a chunk, and at least so many times
# what writing them takes.
_SECONDS, _TIMES = 5.0, 40.0

Arrays = Mapping[str, np.ndarray]


class Block(NamedTuple):
    """Draws that are to be written: ``(chains, n, ...)`` all of them.

    Attributes
    ----------
    tuning : bool
        Whether they are tuning draws.
    variables, statistics : mapping of str to ndarray
    """

    tuning: bool
    variables: Arrays
    statistics: Arrays

    @property
    def n(self) -> int:
        """Draws of every chain."""
        return next(iter(self.variables.values())).shape[1]

    def groups(self) -> list[tuple[str, Arrays]]:
        """What goes to each group."""
        return [("posterior", self.variables), ("sample_stats", self.statistics)]


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


class Stored:
    """Draws of a run in a store, written a chunk at a time, with a state to go on from.

    The order is what makes it safe: draws beyond the end of their arrays, arrays of the state
    under new names, then the counter, which names them, in a single put; and then the metadata
    that readers see. What a process that dies leaves beyond the counter is written again.

    A thread writes while the chains go on. Nothing that it writes is changed by them.

    Parameters
    ----------
    where : str, path-like or zarr.abc.store.Store

    Attributes
    ----------
    filled : int
        Draws of every chain that are kept.
    counter : dict or None
        What the store says of the run that it has; None where it has none, or one that has not
        begun to move.

    Raises
    ------
    StoreInUseError
        If another process writes to it.
    ValueError
        If there is something else than a run there.
    """

    def __init__(self, where: Any) -> None:
        refuse_other_folders(where)
        self._shelf = Shelf(where)
        self._lock = Lock(self._shelf)
        try:
            self._open()
        except BaseException:
            self._lock.release()
            raise

    def _open(self) -> None:
        shelf = self._shelf
        shelf.sweep()
        known, text = shelf.get(IDENTITY), shelf.get(COUNTER)
        if known is None:
            _refuse_others(shelf)
        self._known = None if known is None else json.loads(known)
        self.counter: dict[str, Any] | None = None if text is None else json.loads(text)
        self._lengths: dict[str, int] = {}
        self._at_once: int | None = None
        self.filled = self.written = 0
        if self.counter is not None:
            self._lengths, self._at_once = self.counter["lengths"], self.counter["at_once"]
            self.filled = self.written = self.counter["filled"]
        self._tree = StoredTree(shelf, self.counter and self.counter["groups"])
        there = shelf.keys(_ARRAYS)
        self._aside = {key for key in there if text and key.rpartition("/")[2] in text.decode()}
        shelf.delete(set(there) - self._aside)
        # One thread appends to it, and another takes from its beginning.
        self._pending: list[Block] = []
        self._mark: Mark | None = None
        self._writer = ThreadPoolExecutor(1, "pymc_sgmcmc-store")
        self._writing: Future | None = None
        self._due = 0.0

    # -- what the run is of ------------------------------------------------------------------

    def generators(self, random_seed: Any, chains: int) -> list[np.random.Generator]:
        """Generators of the chains: those that the store began with, if it has a run.

        Raises
        ------
        ValueError
            If that began with another seed.
        """
        given = None
        if random_seed is not None or self._known is None:
            given = generator("random_seed", random_seed).spawn(chains)
        if self._known is None:
            assert given is not None
            self._began = [pack(rng.bit_generator.state)[0] for rng in given]
            return given
        self._began = self._known["generators"]
        if given is None:
            return [_generator(unpack(state, self._array)) for state in self._began]
        states = [pack(rng.bit_generator.state)[0] for rng in given]
        # Another number of chains is told with all other differences.
        if len(states) == len(self._began) and states != self._began:
            raise ValueError(
                f"{self._shelf.name} has a run with another random_seed than {random_seed!r}. "
                "Leave random_seed out to go on with it, or give another store=...."
            )
        return given

    def claim(self, identity: Identity, tune: int, draws: int) -> None:
        """Say what the run is of, or see that it is the one that the store has.

        Raises
        ------
        ValueError
            If it is not, or has more draws than are asked for; the message tells what differs.
        """
        if self._known is None:
            self._known = {"generators": self._began, "identity": identity}
            self._shelf.put(IDENTITY, json.dumps(self._known).encode())
            return
        known = self._known["identity"]
        if changes := differences(known, identity):
            listed = "\n".join(f"  - {change}" for change in changes)
            raise ValueError(
                f"{self._shelf.name} has a run of something else:\n{listed}\n"
                "Write it as it was to go on with that run, or give another store=...."
            )
        if other := other_packages(known, identity):
            warn_user(
                f"{self._shelf.name} was begun with other versions ({'; '.join(other)}): the run "
                "goes on, but its draws may not be those of an uninterrupted one."
            )
        if draws < (there := self.made - tune):
            raise ValueError(
                f"draws={draws}, and {self._shelf.name} has {there} draws of each chain already. "
                f"draws={there} opens it, more draws extend it."
            )

    # -- draws -------------------------------------------------------------------------------

    def begin(
        self, model: Model, chains: int, tune: int, draws: int, statistics: Mapping[str, Any]
    ) -> None:
        """Prepare for draws of a model; the tree can be opened from here on.

        Parameters
        ----------
        model : pm.Model
        chains : int
        tune, draws : int
            Draws of the tuning that are kept, and those after it.
        statistics : mapping of str to dtype
        """
        self._model, self._statistics, self._kept_tuning = model, dict(statistics), tune
        if self.counter is None:
            for name, group in data_groups(model).items():
                self._tree.create(name, group)
        # The process before may have died between the counter and this.
        self._tree.publish(self._lengths, self.counter["attributes"] if self.counter else {})

    @property
    def made(self) -> int:
        """Draws of every chain that were made, tuning included."""
        return 0 if self.counter is None else self.counter["made"]

    @property
    def seconds(self) -> float:
        """Time that they took."""
        return 0.0 if self.counter is None else self.counter["progress"]["seconds"]

    def state(self) -> Any:
        """State to go on from; None where the run has not begun to move."""
        return None if self.counter is None else unpack(self.counter["state"], self._array)

    @property
    def room(self) -> int:
        """Draws that the next block may have: a chunk is written as soon as it is full.

        One, where there is none yet to tell how large they are.
        """
        if self._at_once is None:
            return 1
        return self._at_once - self._place(self.filled) % self._at_once

    def add(self, variables: Arrays, statistics: Arrays) -> None:
        """Keep a block of draws, ``(chains, n, ...)`` all of it; see `reach`."""
        typed = {k: np.asarray(statistics[k], dtype) for k, dtype in self._statistics.items()}
        block = Block(self.filled < self._kept_tuning, variables, typed)
        self._pending.append(block)
        self.filled += block.n

    def reach(self, mark: Mark) -> None:
        """Note a moment to go on from, and write until there if it is time to."""
        self._mark = mark
        full = self._pending and self._at_once in (None, self.room)
        idle = self._writing is None or self._writing.done()
        if full or (idle and time.monotonic() >= self._due):
            self.write_behind()

    def write_behind(self) -> None:
        """Begin to write all draws until the latest mark, while the chains go on.

        Raises
        ------
        OSError
            If what was written before could not be.
        """
        before, self._writing = self._writing, self._writer.submit(self._write, self._mark)
        if before is not None:
            before.result()  # draws must not be made faster than they can be written

    def write(self) -> None:
        """Write all draws until the latest mark, and the state there.

        Raises
        ------
        OSError
            If it can't be written; the draws until the mark before are safe.
        """
        self._writing = self._writer.submit(self._write, self._mark)
        self._writing.result()

    def safe(self) -> int:
        """Draws that nothing can take away: those until the latest mark, if they can be written."""
        with contextlib.suppress(Exception, KeyboardInterrupt):
            self.write()
        return self.written

    def finish(self) -> None:
        """Write what is left."""
        self.write()
        self._tree.finish()

    def note(self) -> str:
        """What an exception should say of the draws that are in the store."""
        return (
            f"{self._shelf.name} has {self.written} draws of each chain, and a state from which "
            "the same call goes on."
        )

    def __enter__(self) -> Stored:
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(Exception):
            self.finish()
        self._writer.shutdown()
        self._lock.release()

    def tree(self, attributes: Mapping[str, Any]) -> DataTree:
        """Tree of the store until the latest mark, of which nothing is read until it is used."""
        self.safe()
        return open_tree(self._shelf)

    bare_tree = tree

    # -- what is written ---------------------------------------------------------------------

    def _write(self, mark: Mark | None) -> None:
        if mark is None or (self.counter is not None and mark.made == self.counter["made"]):
            return
        started = time.monotonic()
        try:
            self._write_until(mark)
        except OSError as error:
            raise OSError(
                error.errno,
                f"{self._shelf.name} can't be written: {error.strerror or error}. It has the first "
                f"{self.written} draws of each chain and a state to go on from: when it can be "
                "written again, the same call goes on.",
            ) from error
        taken = time.monotonic() - started
        self._due = time.monotonic() + max(_SECONDS, _TIMES * taken)

    def _write_until(self, mark: Mark) -> None:
        lengths, done = dict(self._lengths), self.written
        number = _number(self._pending, mark.filled - done)
        for block in _joined(self._pending[:number]):
            prefix = "warmup_" if block.tuning else ""
            if f"{prefix}posterior" not in self._tree.groups:
                self._create(prefix, block, mark.attributes)
            for group, arrays in block.groups():
                self._tree.fill(prefix + group, arrays, self._place(done))
                lengths[prefix + group] = self._place(done) + block.n
            done += block.n
        attributes = {k: plain_attribute(x) for k, x in mark.attributes.items()}
        state, aside = pack(mark.state)
        counter = {
            "made": mark.made,
            "filled": mark.filled,
            "lengths": lengths,
            "groups": self._tree.groups,
            "at_once": self._at_once,
            "attributes": attributes,
            "progress": mark.progress,
            "state": state,
        }
        arrays = {f"{_ARRAYS}/{digest}": x for digest, x in aside.items()}
        new = {key: x.tobytes() for key, x in arrays.items() if key not in self._aside}
        self._shelf.put_all(new)
        self._shelf.put(COUNTER, json.dumps(counter).encode())
        self.counter, self._lengths, self.written = counter, lengths, mark.filled
        del self._pending[:number]
        left, self._aside = self._aside - arrays.keys(), set(arrays)
        self._tree.publish(lengths, attributes)
        self._shelf.delete(left)

    def _create(self, prefix: str, block: Block, attributes: Mapping[str, Any]) -> None:
        """Make the groups that draws like these go to, without a draw yet."""
        groups = {}
        for group, arrays in block.groups():
            one = {name: x[:, :1] for name, x in arrays.items()}
            groups[prefix + group] = dataset_of(self._model, one, attributes)
        self._at_once, chunks = draws_in_chunks(groups)
        for group, dataset in groups.items():
            self._tree.create(group, dataset.isel(draw=slice(0)), chunks[group])

    def _place(self, number: int) -> int:
        """Place of a draw in its group, by its number among those that are kept."""
        return number if number < self._kept_tuning else number - self._kept_tuning

    def _array(self, digest: str) -> bytes:
        found = self._shelf.get(f"{_ARRAYS}/{digest}")
        if found is None:
            raise FileNotFoundError(f"{self._shelf.name} has lost a part of its state, {digest}.")
        return found


def _number(blocks: list[Block], draws: int) -> int:
    """Blocks that so many draws are in."""
    ends = list(itertools.accumulate((block.n for block in blocks), initial=0))
    return ends.index(draws)


def _joined(blocks: list[Block]) -> Iterator[Block]:
    """As few blocks as there are groups that they go to."""

    def join(arrays: list[Arrays]) -> Arrays:
        return {k: np.concatenate([x[k] for x in arrays], axis=1) for k in arrays[0]}

    for tuning, some in itertools.groupby(blocks, lambda block: block.tuning):
        own = list(some)
        yield Block(tuning, join([b.variables for b in own]), join([b.statistics for b in own]))


def _generator(state: Mapping[str, Any]) -> np.random.Generator:
    generator = np.random.Generator(getattr(np.random, state["bit_generator"])())
    generator.bit_generator.state = state
    return generator


def refuse_other_folders(where: Any) -> None:
    """Raise a ValueError for a folder or a file that is no store of ours."""
    if not isinstance(where, str | os.PathLike):
        return
    path = Path(where)
    if path.is_file() or (path.is_dir() and any(path.iterdir()) and not (path / OWN).exists()):
        raise ValueError(
            f"There is something else at {os.fspath(where)!r}, no store of a run. Give the name of "
            "a folder that doesn't exist: store='run.zarr'."
        )


def _refuse_others(shelf: Shelf) -> None:
    """Raise a ValueError if an object store holds something else."""
    if shelf.path is None and any(
        key != "zarr.json" and not key.startswith(OWN) for key in shelf.keys("")
    ):
        raise ValueError(f"{shelf.name} holds something else than a run. Give another store=....")
