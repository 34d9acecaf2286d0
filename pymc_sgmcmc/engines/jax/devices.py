"""Where chains and rows of the JAX engine lie: on one device, or on a mesh of all of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from pymc_sgmcmc.engines.jax.packed import pack, take

_log = logging.getLogger("pymc")

_CHAINS, _ROWS = "chains", "rows"
_EVERYWHERE, _BY_CHAINS, _BY_ROWS = (PartitionSpec(*x) for x in ((), (_CHAINS,), (_ROWS,)))
# Batches ``(chains, updates, B, ...)``.
_BATCHES = PartitionSpec(_CHAINS, None, _ROWS)


class Devices:
    """All devices that JAX has, with those of the other processes: a mesh of groups and parts.

    Every group holds all rows and runs its share of the chains, without a word to the others. In a
    group every device holds a part of the rows and runs all chains of the group, on its share of
    each batch; gradients are averaged over the parts in every update.

    Parameters
    ----------
    shard : {"chains", "rows"} or (int, int)
        What is spread: a device is a group by itself, or all are one group; or how many groups, and
        of how many parts.

    Attributes
    ----------
    parts : int
        Parts that rows are cut into.
    one_processor : bool
        Whether all there is are the cores of this machine.

    Raises
    ------
    ValueError
        If there are more or fewer devices than a mesh takes.
    """

    def __init__(self, shard: str | tuple[int, int]) -> None:
        devices = np.array(jax.devices())
        every = devices.size
        self.one_processor = every == 1 and devices[0].platform == "cpu"
        meshes = {"chains": (every, 1), "rows": (1, every)}
        groups, parts = meshes[shard] if isinstance(shard, str) else shard
        if groups * parts != every:
            raise ValueError(
                f"shard=({groups}, {parts}) is a mesh of {groups * parts} devices, and there are "
                f'{every}. Give two factors of {every}, or shard="chains" or "rows".'
            )
        self._mesh_of_all, self.parts = _in_turn(devices.reshape(groups, parts)), parts
        owners = [{device.process_index for device in group} for group in self._mesh_of_all]
        self._least = next(
            n for n in range(1, groups + 1) if len(set().union(*owners[:n])) == jax.process_count()
        )
        self._told: set[int] = set()

    # -- chains ----------------------------------------------------------------------------------

    def used_by(self, chains: int) -> int:
        """Groups that run this number of chains: as many as can take equal shares.

        Raises
        ------
        ValueError
            If some process would have none.
        """
        numbers = range(self._least, len(self._mesh_of_all) + 1)
        shares = [n for n in numbers if chains % n == 0]
        if not shares:
            raise ValueError(
                f"{chains} chains can't be shared equally by {self._least} processes or more. Use "
                f"chains={self.enough(chains)}."
            )
        return max(shares)

    def enough(self, chains: int) -> int:
        """The least number, from that of some chains on, of which every process has a share."""
        return -(-chains // self._least) * self._least

    def warn_of_idle(self, chains: int) -> None:
        """Tell once if fewer devices run these chains than there are."""
        used, number = self.used_by(chains), len(self._mesh_of_all)
        if used == number or chains in self._told:
            return
        self._told.add(chains)
        most = chains // number * number
        better = f"chains={most + number}" + (f" or {most}" if most else "")
        _log.warning(
            "%d chains run on %d of %d devices, since each takes as many as the others. Use %s.",
            *(chains, used * self.parts, number * self.parts, better),
        )

    def vectorise(
        self,
        one: Callable,
        axes: tuple[Any, ...],
        args: Sequence[Any],
        groups: int,
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
        groups : int
        of_chains_rows : bool
            Whether every chain has rows of its own: batches, in the order of updates.

        Returns
        -------
        function : callable
        args : list
        """
        function = jax.vmap(one, in_axes=(*axes, 0 if of_chains_rows else None))
        if groups * self.parts == 1:
            return function, list(args)
        specs = tuple(
            jax.tree.map(
                lambda axis: _EVERYWHERE if axis is None else _BY_CHAINS,
                of_argument,
                is_leaf=lambda axis: axis is None,
            )
            for of_argument in axes
        )
        spread = jax.shard_map(
            function,
            mesh=self._mesh(groups),
            in_specs=(*specs, _BATCHES if of_chains_rows else _BY_ROWS),
            out_specs=_BY_CHAINS,
            check_vma=False,
        )
        return spread, self._place(list(args), list(specs), groups)

    # -- what every process has of the chains ----------------------------------------------------

    def own(self, chains: int) -> slice:
        """Chains that are this process's own: of those that several hold, one has them."""
        owners = [group[0].process_index for group in self._mesh(self.used_by(chains)).devices]
        share, me = chains // len(owners), jax.process_index()
        first = sum(owner < me for owner in owners)
        return slice(first * share, (first + owners.count(me)) * share)

    def own_rows(self, x: Any, chains: slice) -> np.ndarray:
        """Rows of its own chains of an array ``(chains, ...)`` that is spread over processes."""
        here = {shard.index[0].start or 0: shard.data for shard in x.addressable_shards}
        parts = [np.asarray(here[first]) for first in sorted(here) if _within(first, chains)]
        return np.concatenate(parts) if parts else np.zeros((0, *x.shape[1:]), x.dtype)

    # -- rows ------------------------------------------------------------------------------------

    def place_rows(
        self, rows: Sequence[np.ndarray], groups: int, in_batches: bool = False
    ) -> list[Any]:
        """Put rows into every one of some groups, whole or in parts of one length.

        Those of which batches are taken are packed, on a processor.
        """
        if self.one_processor and in_batches:
            return [pack(x) for x in rows]
        if self.parts == 1:
            # To the last or all the same.
            return self._place(list(rows), _EVERYWHERE, groups) if rows else []
        sharding = NamedSharding(self._mesh(groups), _BY_ROWS)

        def placed(x: np.ndarray) -> jax.Array:
            firsts, length = self._cut(len(x))

            def part(index: Any) -> np.ndarray:
                first = firsts[(index[0].start or 0) // length]
                # What fills up the last is never drawn.
                return x.take(np.arange(first, first + length), 0, mode="clip")

            shape = (self.parts * length, *x.shape[1:])
            return jax.make_array_from_callback(shape, sharding, part)

        return [placed(x) for x in rows]

    def _cut(self, n_rows: int) -> tuple[list[int], int]:
        """First row of every part, and their length: parts that meet in a row both hold it."""
        firsts = [k * n_rows // self.parts for k in range(self.parts)]
        ends = [-(-(k + 1) * n_rows // self.parts) for k in range(self.parts)]
        return firsts, max(end - first for first, end in zip(firsts, ends, strict=True))

    def stretch(self, size: int) -> tuple[Any, int]:
        """First of the rows of a batch that are this device's share, and their number."""
        if self.parts == 1:
            return 0, size
        return lax.axis_index(_ROWS) * (size // self.parts), size // self.parts

    def take(
        self, rows: Sequence[jax.Array], numbers: jax.Array, n_rows: int, neighbours: bool
    ) -> list[jax.Array]:
        """Rows of this device's part by their numbers among all `n_rows`, `neighbours` or not."""
        if self.parts > 1:
            firsts, _ = self._cut(n_rows)
            numbers = numbers - jnp.asarray(firsts, numbers.dtype)[lax.axis_index(_ROWS)]
        return [take(x, numbers, neighbours) for x in rows]

    def hand_out(
        self, rows: Sequence[jax.Array], numbers: jax.Array, n_rows: int, neighbours: bool
    ) -> list[jax.Array]:
        """Share of this device of rows that lie on any of them."""
        if self.parts == 1:
            return self.take(rows, numbers, n_rows, neighbours)
        firsts, _ = self._cut(n_rows)
        ends = jnp.asarray([*firsts, n_rows], numbers.dtype)
        part = lax.axis_index(_ROWS)
        here = (numbers >= ends[part]) & (numbers < ends[part + 1])

        def share(x: jax.Array) -> jax.Array:
            found = jnp.take(x, numbers - ends[part], axis=0, mode="clip")
            found = jnp.where(here.reshape(-1, *[1] * (x.ndim - 1)), found, 0)
            # Each row is of one device: a sum hands it to the one that needs it.
            return lax.psum_scatter(found, _ROWS, tiled=True).astype(x.dtype)

        return [share(x) for x in rows]

    def average(self, estimate: Any) -> Any:
        """Mean of estimates that each device made from its share of a batch."""
        return lax.pmean(estimate, _ROWS) if self.parts > 1 else estimate

    # -- batches that are read -------------------------------------------------------------------

    def shares(self, numbers: np.ndarray) -> list[np.ndarray]:
        """What the devices of this process need of batches ``(chains, updates, B)``, for each."""
        groups = self.used_by(len(numbers))
        return [numbers[index] for index in self._indices(groups, numbers.shape).values()]

    def place_batches(
        self, shares: Sequence[Sequence[np.ndarray]], shape: tuple[int, ...]
    ) -> list[jax.Array]:
        """Put `shares` of every array where they are needed, in batches of a shape."""
        groups = self.used_by(shape[0])
        devices = list(self._indices(groups, shape))
        if groups * self.parts == 1:
            (whole,) = shares
            return [jax.device_put(x, devices[0]) for x in whole]
        sharding = NamedSharding(self._mesh(groups), _BATCHES)

        def joined(of_devices: Sequence[np.ndarray]) -> jax.Array:
            placed = [jax.device_put(x, d) for x, d in zip(of_devices, devices, strict=True)]
            whole = (*shape, *of_devices[0].shape[3:])
            return jax.make_array_from_single_device_arrays(whole, sharding, placed)

        return [joined(of_devices) for of_devices in zip(*shares, strict=True)]

    def _indices(self, groups: int, shape: tuple[int, ...]) -> dict[Any, Any]:
        """Index of what each device of this process needs of batches."""
        sharding = NamedSharding(self._mesh(groups), _BATCHES)
        return dict(sharding.addressable_devices_indices_map(shape))

    # -- the mesh --------------------------------------------------------------------------------

    def _mesh(self, groups: int) -> Mesh:
        # Those of a process one after the other: the chains that it has are neighbours.
        used = sorted(self._mesh_of_all[:groups], key=lambda group: group[0].process_index)
        return Mesh(np.array(used), (_CHAINS, _ROWS))

    def _place(self, values: Any, specs: Any, groups: int) -> Any:
        mesh = self._mesh(groups)

        def put(spec: PartitionSpec, tree: Any) -> Any:
            sharding = NamedSharding(mesh, spec)
            if sharding.is_fully_addressable:
                return jax.device_put(tree, sharding)

            def placed(x: Any) -> jax.Array:
                if is_spread(x) and x.sharding.is_equivalent_to(sharding, x.ndim):
                    return x
                # The other processes hold the same values, and put their own parts in place.
                held = np.asarray(x)
                return jax.make_array_from_callback(held.shape, sharding, held.__getitem__)

            return jax.tree.map(placed, tree)

        return jax.tree.map(put, specs, values, is_leaf=lambda x: isinstance(x, PartitionSpec))


def _in_turn(groups: np.ndarray) -> np.ndarray:
    """Groups in such an order that the first few are of as many processes as can be."""
    owners = [group[0].process_index for group in groups]
    turns = [owners[:i].count(owner) for i, owner in enumerate(owners)]
    order = sorted(range(len(groups)), key=lambda i: (turns[i], owners[i]))
    return groups[order]


def to_host(tree: Any) -> Any:
    """NumPy arrays of what may lie on the devices of several processes, all fetched together."""
    leaves, structure = jax.tree.flatten(tree)
    far = [i for i, x in enumerate(leaves) if is_spread(x)]
    if far:
        everywhere = NamedSharding(leaves[far[0]].sharding.mesh, _EVERYWHERE)
        fetched = jax.jit(_same, out_shardings=everywhere)([leaves[i] for i in far])
        for i, x in zip(far, fetched, strict=True):
            leaves[i] = x
    return jax.tree.unflatten(structure, [np.asarray(x) for x in leaves])


def _within(number: int, chains: slice) -> bool:
    return chains.start <= number < chains.stop


def is_spread(x: Any) -> bool:
    """Whether parts of an array are in other processes alone."""
    return isinstance(x, jax.Array) and not (x.is_fully_addressable or x.is_fully_replicated)


def _same(x: Any) -> Any:
    return x
