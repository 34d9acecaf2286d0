"""A run in a store: its draws, the state of its chains, and what it is of."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pymc.model import Model
from xarray import DataTree

from pymc_sgmcmc import processes
from pymc_sgmcmc.arguments import generator
from pymc_sgmcmc.output import data_groups
from pymc_sgmcmc.store.identity import Identity, differences, other_packages
from pymc_sgmcmc.store.lock import Lock
from pymc_sgmcmc.store.part import ARRAYS, Mark
from pymc_sgmcmc.store.record import join, pack, unpack
from pymc_sgmcmc.store.shelf import OWN, Shelf
from pymc_sgmcmc.store.together import There, Together
from pymc_sgmcmc.store.tree import StoredTree, open_tree, plain_attribute
from pymc_sgmcmc.warn import warn_user

IDENTITY, COUNTER = f"{OWN}/identity.json", f"{OWN}/counter.json"
# Seconds after which draws are written though they don't fill a chunk, and at least so many times
# what writing them takes.
_SECONDS, _TIMES = 5.0, 40.0


class Stored(Together):
    """Draws of a run in a store, written a chunk at a time, with a state to go on from.

    The order is what makes it safe: draws beyond the end of their arrays, arrays of the state
    under new names, then the counter, which names them, in a single put; and then the metadata
    that readers see. What a process that dies leaves beyond the counter is written again.

    Where several processes make the run, each writes the draws of its own chains, and its own part
    of the state; this is what the first one has, which alone moves the counter.

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
        super().__init__()
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
        if self.counter is not None:
            self._lengths, self._at_once = self.counter["lengths"], self.counter["at_once"]
            self.filled = self.written = self.counter["filled"]
            self._counted = self.counter["made"]
        self._tree = StoredTree(shelf, self.counter and self.counter["groups"])
        there = shelf.keys(ARRAYS)
        self._aside = {key for key in there if text and key.rpartition("/")[2] in text.decode()}
        shelf.delete(set(there) - self._aside)
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
        """Prepare for draws of a model; the tree can be opened from here on. See `Part.begin`."""
        super().begin(model, chains, tune, draws, statistics)
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
    def there(self) -> There:
        """What the other processes must know to write as well."""
        layout = self._tree.layout
        return There(self.made, self.filled, self.seconds, self._counted, self._at_once, layout)

    def reach(self, mark: Mark) -> None:
        """Note a moment to go on from; a process alone writes until there if it is time to."""
        self._mark = mark
        idle = self._writing is None or self._writing.done()
        if self._alone and (self._full or (idle and self._is_due)):
            self.write_behind()

    @property
    def _is_due(self) -> bool:  # type: ignore[override]
        return time.monotonic() >= self._due

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
        """Draws that nothing can take away: those until the latest mark, if they can be written.

        Of several processes, none can write the draws of others: those that all have written.
        """
        if self._alone:
            with contextlib.suppress(Exception, KeyboardInterrupt):
                self.write()
        return self.written

    def finish(self) -> None:
        """Write what is left; all processes must do so."""
        if self._alone:
            self.write()
        else:
            self.write_together()
        with processes.in_step():
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
        if self._alone:
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
        with self._told():
            self._count(mark, self._fill(mark))
        self._rest(time.monotonic() - started)

    def _write_part(self, mark: Mark) -> Any:
        self._started = time.monotonic()
        return super()._write_part(mark)

    def _commit(self, mark: Mark, found: Sequence[tuple[Mapping[str, int], Any]]) -> None:
        """Let what all processes have written count."""
        with self._told():
            self._count(mark, found[0][0], [part for _, part in found[1:]])
        self._rest(time.monotonic() - self._started)

    def _rest(self, taken: float) -> None:
        self._due = time.monotonic() + max(_SECONDS, _TIMES * taken)

    def _count(self, mark: Mark, new: Mapping[str, int], parts: Sequence[Any] = ()) -> None:
        """Move the counter to a mark until which all draws are written.

        Parameters
        ----------
        mark : Mark
        new : mapping of str to int
            Draws in the groups that have more of them.
        parts : sequence
            What the other processes have written of the state.
        """
        lengths = self._lengths | dict(new)
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
        arrays = {f"{ARRAYS}/{digest}": x for digest, x in aside.items()}
        there = self._aside | self._of_state
        self._shelf.put_all({k: x.tobytes() for k, x in arrays.items() if k not in there})
        named = {*arrays, *(f"{ARRAYS}/{digest}" for part in parts for digest in join(state, part))}
        self._shelf.put(COUNTER, json.dumps(counter).encode())
        self.counter, self._lengths = counter, lengths
        if self._alone:
            self._counts(mark)
        left, self._aside = self._aside - named, named
        self._tree.publish(lengths, attributes)
        self._shelf.delete(left)

    def _array(self, digest: str) -> bytes:
        found = self._shelf.get(f"{ARRAYS}/{digest}")
        if found is None:
            raise FileNotFoundError(f"{self._shelf.name} has lost a part of its state, {digest}.")
        return found


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
