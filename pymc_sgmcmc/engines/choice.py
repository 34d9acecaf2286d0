"""Which engine runs the chains, where that is left open."""

from __future__ import annotations

from typing import Any

BACKENDS = ("auto", "jax", "numba")
SHARDS = ("chains", "rows")
PRECISIONS = ("bfloat16", "tensorfloat32", "float32")

# Seconds that a run must save to make up for Numba's compilation.
_WORTH_IT = 10
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


def check_matmul_precision(precision: Any) -> str | None:
    """Raise a ValueError unless `precision` is one of JAX's for products of matrices."""
    if precision is None or (isinstance(precision, str) and precision in PRECISIONS):
        return precision
    raise ValueError(
        f'matmul_precision must be "bfloat16", "tensorfloat32", "float32" or None, got '
        f"{precision!r}."
    )


def faster_backend(size: int, batch_numbers: int, chains: int, updates: int) -> str:
    """Name of the engine that is expected to end a run first, compilation included.

    JAX where it has an accelerator. On a processor Numba makes more updates a second, but takes
    5 to 30 seconds to compile a model that is new to it, where JAX takes 3. Measured on two cores,
    with four chains, an update of one chain took 2 μs less for a small model, 33 μs less for a
    batch of 25,000 numbers, and 70 to 90 μs less for a network of 6,310 parameters.

    Parameters
    ----------
    size : int
        Dimensions d.
    batch_numbers : int
        Numbers in the rows of a batch.
    chains : int
    updates : int
        Updates of each chain.
    """
    import jax

    from pymc_sgmcmc.engines.numba.threads import cores

    saved = chains * updates * 1e-6 * (2 + size / 100 + batch_numbers / 1000)
    if jax.default_backend() != "cpu" or saved < _WORTH_IT:
        return "jax"
    return "jax" if size >= _WIDE and chains < cores() else "numba"
