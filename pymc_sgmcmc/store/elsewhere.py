"""A store that another process of the same run writes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from pymc.model import Model
from pymc.util import get_random_generator
from xarray import DataTree

from pymc_sgmcmc import processes
from pymc_sgmcmc.store.shelf import Shelf
from pymc_sgmcmc.store.tree import open_tree


class Elsewhere:
    """What processes besides the first have in place of a `Stored`: they keep nothing, and read.

    Parameters
    ----------
    where : str, path-like or zarr.abc.store.Store
        At which all processes find the same store: a folder that they share, or an object store.

    Attributes
    ----------
    made, filled : int
        Draws of every chain that were made, tuning included, and those that are kept.
    seconds : float
        Time that earlier calls took.
    """

    room = None

    def __init__(self, where: Any) -> None:
        self._where = where
        self.made, self.filled, self.seconds = 0, 0, 0.0

    def generators(self, random_seed: Any, chains: int) -> list[np.random.Generator]:
        """Some generators; a run takes those of the first process."""
        return get_random_generator(None).spawn(chains)

    def claim(self, *what: object) -> None:
        """Nothing: the first process says what the run is of."""

    def begin(
        self, model: Model, chains: int, tune: int, draws: int, statistics: Mapping[str, Any]
    ) -> None:
        """Nothing: the first process prepares the store."""

    def follow(self, made: int, filled: int, seconds: float) -> None:
        """Take what the first process found in the store; see that it is here as well.

        Raises
        ------
        FileNotFoundError
            If it is not.
        """
        self.made, self.filled, self.seconds = made, filled, seconds
        try:
            self._shelf = Shelf(self._where, writable=False)
        except (FileNotFoundError, ValueError) as error:
            raise FileNotFoundError(
                f"store={self._where!r} is written by the first process, and process "
                f"{processes.index()} does not find it there. Give a folder that all machines "
                "share, or the address of an object store."
            ) from error

    def state(self) -> None:
        """The first process has it."""

    def skip(self, n: int) -> None:
        """Note that the first process keeps n draws."""
        self.filled += n

    def safe(self) -> int:
        """Draws that can be read here after an exception: what the store has then is not known."""
        return self.filled

    def finish(self) -> None:
        """Nothing: the first process writes what is left."""

    def note(self) -> str:
        """What an exception should say of the draws."""
        return f"{self._shelf.name} has the draws that the first process has written."

    def tree(self, attributes: Mapping[str, Any]) -> DataTree:
        """Tree of the store as it is now, of which nothing is read until it is used."""
        return open_tree(self._shelf)

    bare_tree = tree

    def __enter__(self) -> Elsewhere:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing is to be closed."""
