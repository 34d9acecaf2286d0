"""The loop of the Numba engine over the updates of one chain, for any model and dynamics.

`bind` gives the functions here what they call: a model's gradient, a dynamics' transition.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.core.extending import intrinsic, overload
from pytensor.link.numba.cache import CACHED_SRC_FUNCTIONS

from pymc_sgmcmc.engines import random
from pymc_sgmcmc.engines.random import ESCAPE, NOISE, ROWS, normals, random_rows, random_subset

# Stand-ins for what `bind` puts in their place.
gradient_of: Any = None
transition: Any = None
fresh_auxiliaries: Any = None
position_of: Any = None
has_momentum = True
n_state = 1

# Rows fetched ahead of the one that is copied, and bytes that the processor fetches at once.
AHEAD, _LINE = 16, 64

_SOURCES = "".join(Path(m).read_text() for m in (__file__, random.__file__))


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
        Row data, flattened; empty where every update takes all rows.
    batch : tuple of array (B, k)
        Where the rows of a batch are put.
    numbers : array (B,)
        Where the numbers of the rows are put.
    step_sizes : array (n_draws, n_updates)
    base_step_size : array ()
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
    for i in range(n_draws):
        accepted = 0
        sums = np.zeros(n_statistics)
        for j in range(n_updates):
            key0, key1 = random.threefry(key[0], key[1], np.uint32(counters[0]), np.uint32(0))
            take_batch(key0, key1, rows, batch, numbers)
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
                renew_momentum(position, noise, auxiliaries)
                copy(finite_position, position)
                counters[1] += 1
            counters[0] += 1

        # Leave a position whose potential the next update would find not finite.
        key0, key1 = random.threefry(key[0], key[1], np.uint32(counters[0]), np.uint32(0))
        take_batch(key0, key1, rows, batch, numbers)
        value, gradient = gradient_of(position, *arguments)
        left = 0
        if not np.isfinite(value.item()):
            left = 1
            normals(key0, key1, ESCAPE, noise)
            renew_momentum(position, noise, auxiliaries)
            copy(finite_position, position)
            counters[1] += 1

        of_draw = statistics[i]
        of_draw[:n_statistics] = sums / max(accepted, 1)
        of_draw[n_statistics - 2] = np.sqrt(of_draw[n_statistics - 2])
        of_draw[n_statistics] = step_sizes[i, n_updates - 1]
        of_draw[n_statistics + 1] = n_updates - accepted + left
        copy(position_of(position, *parameters)[0], positions[i])


def evaluate(key, position, arguments, rows, batch, numbers):
    """Potential and gradient from one random batch."""
    take_batch(key[0], key[1], rows, batch, numbers)
    value, gradient = gradient_of(position, *arguments)
    return value.item(), gradient


def renew_momentum(position, noise, auxiliaries):
    """Draw a fresh momentum; other auxiliaries stay."""
    if has_momentum:
        copy(fresh_auxiliaries(position, noise)[0], auxiliaries[0])


@njit(cache=True)
def take_batch(key0, key1, rows, batch, numbers):
    """Copy random rows of the data into the batch; with replacement below a tenth of them."""
    if numbers.size > 0:
        n = rows_of(rows)
        if 10 * numbers.size < n:
            random_rows(key0, key1, ROWS, n, numbers)
        else:
            random_subset(key0, key1, ROWS, n, numbers)
        gather(rows, numbers, batch)


@njit(cache=True, error_model="numpy", fastmath={"contract", "nsz", "reassoc"})
def products(position, origin, gradient, new_position):
    """|g|², (θ − θ₀)·g/d, and the sum of the new position."""
    square = virial = total = position.dtype.type(0)
    for i in range(position.size):
        square += gradient[i] * gradient[i]
        virial += (position[i] - origin[i]) * gradient[i]
        total += new_position[i]
    return square, virial / position.size, total


@njit(cache=True, error_model="numpy", fastmath={"contract", "nsz", "reassoc"})
def mean(x):
    """Mean of a vector."""
    total = x.dtype.type(0)
    for i in range(x.size):
        total += x[i]
    return total / x.size


@njit(cache=True)
def copy(source, target):
    """Copy a vector; several times as fast as an assignment to a slice."""
    for i in range(target.size):
        target[i] = source[i]


@njit(cache=True)
def differ(x, y):
    """Whether two vectors differ anywhere."""
    for i in range(x.size):
        if x[i] != y[i]:
            return True
    return False


@njit(cache=True)
def prefetch_row(source, row):
    """Have the processor fetch a row from memory while it copies others."""
    for j in range(0, source.shape[1], max(1, _LINE // source.itemsize)):
        prefetch(source, row, j)  # type: ignore[call-arg]


@intrinsic
def prefetch(typingctx, array, row, column):
    """Fetch the cache line of one element."""

    def codegen(context, builder, signature, args):
        struct = context.make_array(array)(context, builder, args[0])
        place = cgutils.get_item_pointer(context, builder, array, struct, args[1:])
        flag = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, flag, flag, flag])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        # To be read, and kept in all levels of the cache; data, not instructions.
        flags = [flag(value) for value in (0, 3, 1)]
        builder.call(function, [builder.bitcast(place, cgutils.voidptr_t), *flags])
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp), codegen


# Tuples of arrays of different types are taken apart while compiling.


def write_means(values, out, start):
    """Write the means of the vectors of a tuple into an array, from `start` on."""


def copy_all(values, targets):
    """Copy the arrays of a tuple into those of another."""


def gather(rows, numbers, batch):
    """Copy the numbered rows of every array."""


def rows_of(rows):
    """Length of the first array, 0 if there is none."""


@overload(write_means)
def _write_means(values, out, start):
    if len(values) == 0:
        return lambda values, out, start: None

    def write_first(values, out, start):
        out[start] = mean(values[0])
        write_means(values[1:], out, start + 1)

    return write_first


@overload(copy_all)
def _copy_all(values, targets):
    if len(values) == 0:
        return lambda values, targets: None

    def copy_first(values, targets):
        copy(values[0], targets[0])
        copy_all(values[1:], targets[1:])

    return copy_first


@overload(gather)
def _gather(rows, numbers, batch):
    if len(rows) == 0:
        return lambda rows, numbers, batch: None

    def gather_first(rows, numbers, batch):
        source, target = rows[0], batch[0]
        for i in range(min(AHEAD, numbers.size)):
            prefetch_row(source, numbers[i])
        for i in range(numbers.size):
            if i + AHEAD < numbers.size:
                prefetch_row(source, numbers[i + AHEAD])
            copy(source[numbers[i]], target[i])
        gather(rows[1:], numbers, batch[1:])

    return gather_first


@overload(rows_of)
def _rows_of(rows):
    if len(rows) == 0:
        return lambda rows: 0
    return lambda rows: len(rows[0])


def bind(function: Callable, names: dict[str, Any]) -> Callable:
    """Compile a function of this module with other meanings for some of its names.

    What is compiled is kept on disk where PyTensor keeps its own.
    """
    bound = FunctionType(function.__code__, {**globals(), **names}, function.__name__)
    keys = [_key(value) for value in names.values()]
    if None not in keys:
        text = repr((_SOURCES, function.__name__, list(names), keys))
        CACHED_SRC_FUNCTIONS[bound] = hashlib.sha256(text.encode()).hexdigest()
    return njit(bound, nogil=True, cache=None not in keys, error_model="numpy")


def _key(value: Any) -> Any:
    """Identify what a name means: a number, or a function that PyTensor or `bind` has compiled."""
    return CACHED_SRC_FUNCTIONS.get(value.py_func) if hasattr(value, "py_func") else value
