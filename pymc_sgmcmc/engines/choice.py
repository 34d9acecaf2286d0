"""Which engine runs the chains, where that is left open."""

from __future__ import annotations

from typing import Any

BACKENDS = ("auto", "jax", "numba")
SHARDS = ("chains", "rows")

# Updates of all chains together from which on Numba's faster updates make up for its compilation.
_LONG = 250_000
# Dimensions from which on a chain keeps several cores busy by itself.
_WIDE = 50_000


def check_backend(backend: Any) -> str:
    """Raise a ValueError unless `backend` names one."""
    if isinstance(backend, str) and backend in BACKENDS:
        return backend
    raise ValueError(f'backend must be "auto", "jax" or "numba", got {backend!r}.')


def check_shard(shard: Any, backend: str) -> str:
    """Raise a ValueError unless `shard` names what that backend can spread over devices."""
    if not isinstance(shard, str) or shard not in SHARDS:
        raise ValueError(f'shard must be "chains" or "rows", got {shard!r}.')
    if shard == "rows" and backend == "numba":
        raise ValueError('shard="rows" spreads rows over devices of JAX. Use backend="jax".')
    return shard


def faster_backend(size: int, chains: int, updates: int) -> str:
    """Name of the engine that is expected to end a run first, compilation included.

    JAX where it has an accelerator. On a processor, Numba runs chains on all cores and makes two
    to five times as many updates a second, but compiles for 5 to 30 seconds where JAX takes 3.
    So JAX also makes short runs, and those of large models with fewer chains than cores.

    Parameters
    ----------
    size : int
        Dimensions d.
    chains : int
    updates : int
        Updates of each chain.
    """
    import jax

    from pymc_sgmcmc.engines.numba import cores

    if jax.default_backend() != "cpu" or updates * chains < _LONG:
        return "jax"
    return "jax" if size >= _WIDE and chains < cores() else "numba"
