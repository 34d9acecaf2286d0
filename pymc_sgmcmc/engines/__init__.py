"""Engines that compile a transition and loop it."""

from typing import Any


def engine_class(backend: str) -> Any:
    """Class of the engine of a backend; JAX's where it is left open. Imports the backend."""
    if backend == "numba":
        from pymc_sgmcmc.engines.numba import NumbaEngine

        return NumbaEngine
    from pymc_sgmcmc.engines.jax import JaxEngine

    return JaxEngine
