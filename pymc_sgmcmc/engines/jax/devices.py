"""Where chains and rows of the JAX engine lie: on one device, or spread over all of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

_log = logging.getLogger("pymc")

_AXIS = "devices"
_EVERYWHERE, _SPREAD = PartitionSpec(), PartitionSpec(_AXIS)


class Devices:
    """All devices that JAX has, with those of the other processes of a distributed run.

    Where chains are spread, every device holds all rows and runs its share of the chains, without
    a word to the others. Where rows are spread, since they outgrow a device, every device runs all
    chains, on its share of each batch; gradients are averaged over devices in every update.

    Parameters
    ----------
    shard : {"chains", "rows"}
        What is spread.
    """

    def __init__(self, shard: str) -> None:
        self._devices = np.array(jax.devices())
        self.rows_are_spread = shard == "rows" and self._devices.size > 1
        self._told: set[int] = set()

    @property
    def parts(self) -> int:
        """Parts that rows are cut into."""
        return self._devices.size if self.rows_are_spread else 1

    def used_by(self, chains: int) -> int:
        """Devices that run this number of chains: as many as can take equal shares."""
        if self.rows_are_spread:
            return self.parts
        return max(n for n in range(1, self._devices.size + 1) if chains % n == 0)

    def warn_of_idle(self, chains: int) -> None:
        """Tell once if fewer devices run these chains than there are."""
        used, number = self.used_by(chains), self._devices.size
        if used == number or chains in self._told:
            return
        self._told.add(chains)
        most = chains // number * number
        better = f"chains={most + number}" + (f" or {most}" if most else "")
        _log.warning(
            "%d chains run on %d of %d devices, since each takes as many as the others. Use %s.",
            *(chains, used, number, better),
        )

    def place_rows(self, rows: Sequence[np.ndarray], number: int) -> list[Any]:
        """Put rows on the first devices, to the last or all the same, whole or in parts."""
        if self.rows_are_spread and rows:
            # Parts have the same length; the rows that fill up the last are never drawn.
            padding = -len(rows[0]) % self.parts
            rows = [np.concatenate([x, x[:1].repeat(padding, 0)]) for x in rows]
        spec = _SPREAD if self.rows_are_spread else _EVERYWHERE
        return self._place(list(rows), spec, number) if rows else []

    def place_batches(self, batches: Sequence[np.ndarray], number: int) -> list[Any]:
        """Put batches ``(chains, updates, B, ...)`` where their chains are, or their rows."""
        spec = PartitionSpec(None, None, _AXIS) if self.rows_are_spread else _SPREAD
        return self._place(list(batches), spec, number)

    def vectorise(
        self,
        one: Callable,
        axes: tuple[Any, ...],
        args: Sequence[Any],
        number: int,
        of_chains_rows: bool = False,
    ) -> tuple[Callable, list[Any]]:
        """Make a function of one chain one of many, and put its arguments in their places.

        Parameters
        ----------
        one : callable
            Of arguments of one chain; the last are the rows.
        axes : tuple
            As for `jax.vmap`, but for the rows: 0 for what every chain has its own of.
        args : sequence
            The arguments, but for the rows.
        number : int
            Devices.
        of_chains_rows : bool
            Whether every chain has rows of its own: batches, in the order of updates.

        Returns
        -------
        function : callable
        args : list
        """
        function = jax.vmap(one, in_axes=(*axes, 0 if of_chains_rows else None))
        if number == 1:
            return function, list(args)
        of_chains = _EVERYWHERE if self.rows_are_spread else _SPREAD
        specs = tuple(
            jax.tree.map(
                lambda axis: _EVERYWHERE if axis is None else of_chains,
                of_argument,
                is_leaf=lambda axis: axis is None,
            )
            for of_argument in axes
        )
        rows = _SPREAD if self.rows_are_spread else _EVERYWHERE
        if of_chains_rows:
            rows = PartitionSpec(None, None, _AXIS) if self.rows_are_spread else _SPREAD
        spread = jax.shard_map(
            function,
            mesh=self._mesh(number),
            in_specs=(*specs, rows),
            out_specs=of_chains,
            check_vma=False,
        )
        return spread, self._place(list(args), list(specs), number)

    def take(self, rows: Sequence[jax.Array], batch: jax.Array) -> list[jax.Array]:
        """Rows of a batch; where rows are spread, this device's share of them."""
        if not self.rows_are_spread:
            return [jnp.take(x, batch, axis=0, mode="clip") for x in rows]

        def share(x: jax.Array) -> jax.Array:
            place = batch - lax.axis_index(_AXIS) * len(x)
            here = (place >= 0) & (place < len(x))
            found = jnp.take(x, place, axis=0, mode="clip")
            found = jnp.where(here.reshape(-1, *[1] * (x.ndim - 1)), found, 0)
            # Each row of the batch lies on one device: a sum hands it to the one that needs it.
            return lax.psum_scatter(found, _AXIS, tiled=True).astype(x.dtype)

        return [share(x) for x in rows]

    def average(self, estimate: Any) -> Any:
        """Mean of estimates that each device made from its share of a batch."""
        return lax.pmean(estimate, _AXIS) if self.rows_are_spread else estimate

    def _mesh(self, number: int) -> Mesh:
        return Mesh(self._devices[:number], (_AXIS,))

    def _place(self, values: Any, specs: Any, number: int) -> Any:
        mesh = self._mesh(number)

        def put(spec: PartitionSpec, tree: Any) -> Any:
            sharding = NamedSharding(mesh, spec)
            if sharding.is_fully_addressable:
                return jax.device_put(tree, sharding)
            # The other processes hold the same values, and put their own parts in place.
            return jax.tree.map(
                lambda x: jax.make_array_from_callback(
                    np.shape(x), sharding, np.asarray(x).__getitem__
                ),
                tree,
            )

        return jax.tree.map(put, specs, values, is_leaf=lambda x: isinstance(x, PartitionSpec))


def to_host(x: Any) -> np.ndarray:
    """NumPy array of what may lie on the devices of several processes."""
    if isinstance(x, jax.Array) and not (x.is_fully_addressable or x.is_fully_replicated):
        x = multihost_utils.process_allgather(x, tiled=True)
    return np.asarray(x)
