"""The loop of the Numba engine over the updates of one chain, for any model and dynamics.

`bind` gives the functions here what they call: a model's gradient, a dynamics' transition.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

import numba
import numpy as np
import pytensor
from numba import njit
from pytensor.link.numba.cache import CACHED_SRC_FUNCTIONS

from pymc_sgmcmc.engines import cache
from pymc_sgmcmc.engines.numba import kernels, random
from pymc_sgmcmc.engines.numba.kernels import (
    copy,
    copy_all,
    differ,
    products,
    take_batch,
    take_batch_given,
    take_batch_of_update,
    write_means,
)
from pymc_sgmcmc.engines.numba.random import ESCAPE, NOISE, normals, threefry

# Stand-ins for what `bind` puts in their place.
gradient_of: Any = None
transition: Any = None
fresh_auxiliaries: Any = None
position_of: Any = None
momentum = 0
n_state = 1
in_sweeps = in_blocks = False
given = False

_VERSIONS = numba.__version__, pytensor.__version__, np.__version__
_SOURCES = "".join(Path(m).read_text() for m in (__file__, kernels.__file__, random.__file__))


def run_chain(
    counters,
    key,
    position,
    finite_position,
    origin,
    auxiliaries,
    parameters,
    arguments,
    rows,
    batch,
    numbers,
    step_sizes,
    base_step_size,
    place,
    positions,
    statistics,
):
    """Advance one chain by draws, writing its state in place.

    Parameters
    ----------
    counters : array (2,)
        Number of the next update, and rejected updates in a row.
    key : array (2,)
        The chain's, uint32.
    position, finite_position, origin : array (d,)
    auxiliaries : tuple of array (d,)
    parameters : tuple of array
        What `position_of` needs besides the position.
    arguments : tuple of array
        What `gradient_of` needs besides the position; among them those whose rows are `batch`.
    rows : tuple of array (N, k)
        Row data, flattened; empty where every update takes all rows. Where batches are given, the
        batches of all updates and one more, one after another.
    batch : tuple of array (B, k)
        Where the rows of a batch are put.
    numbers : array (B,)
        Where the numbers of the rows are put.
    step_sizes : array (n_draws, n_updates)
    base_step_size : array ()
    place : int
        Of the first update's batch, where batches are given.
    positions : array (n_draws, d)
        The draws.
    statistics : array (n_draws, k)
        Those of the transition, then potential energy, gradient norm, configurational
        temperature, step size and rejected updates.
    """
    n_draws, n_updates = step_sizes.shape
    n_statistics = statistics.shape[1] - 2
    noise = np.empty_like(position)
    step_size = np.empty_like(base_step_size)
    of_update = np.empty(n_statistics)
    first = counters[0] - place
    for i in range(n_draws):
        accepted = 0
        sums = np.zeros(n_statistics)
        for j in range(n_updates):
            key0, key1 = threefry(key[0], key[1], np.uint32(counters[0]), np.uint32(0))
            if given:
                take_batch_given(counters[0] - first, rows, batch, numbers)
            else:
                take_batch_of_update(key, counters[0], in_sweeps, in_blocks, rows, batch, numbers)
            normals(key0, key1, NOISE, noise)
            value, gradient = gradient_of(position, *arguments)
            step_size[()] = step_sizes[i, j]
            inputs = (gradient, noise, step_size, base_step_size)
            new = transition(*((position,) + auxiliaries + inputs))  # noqa: RUF005
            square, virial, total = products(position, origin, gradient, new[0])
            write_means(new[n_state:], of_update, 0)
            of_update[n_statistics - 3] = value.item()
            of_update[n_statistics - 2] = square
            of_update[n_statistics - 1] = virial
            # A sum is finite only if every term is.
            if np.isfinite(total) and np.isfinite(of_update.sum()):
                # Back at the last finite position, an update that is finite there is no move yet.
                if counters[1] > 0 and differ(position, finite_position):
                    counters[1] = 0
                copy(position, finite_position)
                copy(new[0], position)
                copy_all(new[1:n_state], auxiliaries)
                sums += of_update
                accepted += 1
            else:
                copy(finite_position, position)
                renew_momentum(position, noise, auxiliaries)
                counters[1] += 1
            counters[0] += 1

        # Leave a position whose potential the next update would find not finite.
        key0, key1 = threefry(key[0], key[1], np.uint32(counters[0]), np.uint32(0))
        if given:
            take_batch_given(counters[0] - first, rows, batch, numbers)
        else:
            take_batch_of_update(key, counters[0], in_sweeps, in_blocks, rows, batch, numbers)
        value, gradient = gradient_of(position, *arguments)
        left = 0
        if not np.isfinite(value.item()):
            left = 1
            normals(key0, key1, ESCAPE, noise)
            copy(finite_position, position)
            renew_momentum(position, noise, auxiliaries)
            counters[1] += 1

        of_draw = statistics[i]
        of_draw[:n_statistics] = sums / max(accepted, 1)
        of_draw[n_statistics - 2] = np.sqrt(of_draw[n_statistics - 2])
        of_draw[n_statistics] = step_sizes[i, n_updates - 1]
        of_draw[n_statistics + 1] = n_updates - accepted + left
        copy(position_of(position, *parameters)[0], positions[i])


def evaluate(key, position, arguments, rows, batch, numbers):
    """Potential and gradient from one random batch."""
    if given:
        take_batch_given(0, rows, batch, numbers)
    else:
        take_batch(key[0], key[1], in_blocks, rows, batch, numbers)
    value, gradient = gradient_of(position, *arguments)
    return value.item(), gradient


def gradients_at(positions, arguments, values, gradients):
    """Write the potential and its gradient at every position into arrays."""
    for i in range(len(positions)):
        value, gradient = gradient_of(positions[i], *arguments)
        values[i] = value.item()
        gradients[i] = gradient


def renew_momentum(position, noise, auxiliaries):
    """Draw a fresh momentum, if there is one; other auxiliaries stay."""
    if momentum >= 0:
        copy(fresh_auxiliaries(position, noise)[momentum], auxiliaries[momentum])


def bind(function: Callable, names: dict[str, Any]) -> Any:
    """Compile a function of this module with other meanings for some of its names.

    What is compiled is kept on disk where PyTensor keeps its own; Numba tells processors apart.
    """
    bound = FunctionType(function.__code__, {**globals(), **names}, function.__name__)
    keys = [_key(value) for value in names.values()]
    kept = None not in keys and cache.is_on()
    if kept:
        text = repr((_SOURCES, _VERSIONS, function.__name__, list(names), keys))
        CACHED_SRC_FUNCTIONS[bound] = hashlib.sha256(text.encode()).hexdigest()
    return njit(bound, nogil=True, cache=kept, error_model="numpy")


def _key(value: Any) -> Any:
    """Identify what a name means: a number, or a function that PyTensor or `bind` has compiled."""
    return CACHED_SRC_FUNCTIONS.get(value.py_func) if hasattr(value, "py_func") else value
