"""The convolution of images with filters, its gradients, and how JAX and Numba compute them.

Imported when the first convolution is written, since it brings JAX along: a graph that holds one,
and was pickled elsewhere, finds here how it is compiled.
"""

import importlib.util

from pymc_sgmcmc.nn.convolution import by_numba
from pymc_sgmcmc.nn.convolution.ops import Convolution
from pymc_sgmcmc.nn.convolution.places import count

if importlib.util.find_spec("jax") is not None:
    from pymc_sgmcmc.nn.convolution import by_jax

__all__ = ["Convolution", "by_jax", "by_numba", "count"]
