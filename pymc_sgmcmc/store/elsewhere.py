"""A store whose counter another process of the same run moves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from pymc.util import get_random_generator
from xarray import DataTree

from pymc_sgmcmc import processes
from pymc_sgmcmc.store.lock import Share
from pymc_sgmcmc.store.shelf import Shelf
from pymc_sgmcmc.store.together import There, Together
from pymc_sgmcmc.store.tree import StoredTree, open_tree


class Elsewhere(Together):
    """What processes besides the first have in place of a `Stored`: they write their own chains.

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

    def __init__(self, where: Any) -> None:
        super().__init__()
        self._where = where
        self._share: Share | None = None
        self.made, self.seconds = 0, 0.0

    def generators(self, random_seed: Any, chains: int) -> list[np.random.Generator]:
        """Some generators; a run takes those of the first process."""
        return get_random_generator(None).spawn(chains)

    def claim(self, *what: object) -> None:
        """Nothing: the first process says what the run is of."""

    def follow(self, there: There) -> None:
        """Take what the first process found in the store; see that it is here as well.

        Raises
        ------
        FileNotFoundError
            If it is not.
        """
        try:
            Shelf(self._where, writable=False)
        except (FileNotFoundError, ValueError) as error:
            raise FileNotFoundError(
                f"store={self._where!r} is written by all processes, and process "
                f"{processes.index()} does not find it where the first one made it. Give a folder "
                "that all machines share, or the address of an object store."
            ) from error
        self._shelf = Shelf(self._where)
        self._share = Share(self._shelf)
        self._tree = StoredTree(self._shelf)
        self.made, self.filled, self.seconds = there.made, there.filled, there.seconds
        self.written, self._counted = there.filled, there.counted
        self.take(there)

    def state(self) -> None:
        """The first process has it."""

    def reach(self, mark: Any) -> None:
        """Note a moment to go on from."""
        self._mark = mark

    def safe(self) -> int:
        """Draws that all processes have written."""
        return self.written

    def finish(self) -> None:
        """Write what is left; all processes must do so."""
        self.write_together()
        self._release()
        with processes.in_step():
            """The first process brings the files up to what readers see."""

    def note(self) -> str:
        """What an exception should say of the draws."""
        return f"{self._shelf.name} has the draws that all processes have written."

    def tree(self, attributes: Mapping[str, Any]) -> DataTree:
        """Tree of the store as it is now, of which nothing is read until it is used."""
        return open_tree(self._shelf)

    bare_tree = tree

    def __enter__(self) -> Elsewhere:
        return self

    def __exit__(self, *error: object) -> None:
        self._writer.shutdown()
        self._release()

    def _release(self) -> None:
        if self._share is not None:
            self._share.release()
            self._share = None
