"""Engines that compile a transition and loop it."""

from typing import Any


def engine_class(backend: str) -> Any:
    """Class of the engine of a backend; JAX's where it is left open. Imports the backend."""
    if backend == "numba":
        from pymc_sgmcmc.engines.numba.engine import NumbaEngine

        return NumbaEngine
    from pymc_sgmcmc.engines.jax.engine import JaxEngine

    return JaxEngine


def derivatives_class(backend: str) -> Any:
    """Class of the derivatives of a backend. Imports the backend."""
    if backend == "numba":
        from pymc_sgmcmc.engines.numba.derivatives import NumbaDerivatives

        return NumbaDerivatives
    from pymc_sgmcmc.engines.jax.derivatives import JaxDerivatives

    return JaxDerivatives
