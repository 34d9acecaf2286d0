"""What the Numba engine does to arrays in every update: batches, sums and copies."""

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.core.extending import intrinsic, overload

from pymc_sgmcmc.engines.numba.random import ROWS, random_rows, random_subset, threefry

# Bytes that the processor fetches at once; so many lines are fetched ahead of the row that is
# copied, of so many rows at least.
_LINE, _LINES_AHEAD, _ROWS_AHEAD = 64, 128, 16


@njit(cache=True)
def take_batch(key0, key1, in_blocks, rows, batch, numbers):
    """Copy random rows of the data into the batch; see `choose_rows`."""
    if numbers.size > 0:
        choose_rows(key0, key1, in_blocks, rows_of(rows), numbers)
        gather(rows, numbers, batch)


@njit(cache=True)
def take_batch_of_update(key, update, in_sweeps, in_blocks, rows, batch, numbers):
    """Copy rows into a batch of its own, or those of the part of a sweep whose turn it is."""
    if numbers.size > 0:
        choose_rows_of_update(key, update, in_sweeps, in_blocks, rows_of(rows), numbers)
        gather(rows, numbers, batch)


@njit(cache=True)
def take_batch_given(place, rows, batch, numbers):
    """Copy the batch that was chosen for an update, of those that lie one after another."""
    for i in range(numbers.size):
        numbers[i] = place * numbers.size + i
    gather(rows, numbers, batch)


@njit(cache=True)
def choose_rows(key0, key1, in_blocks, n, numbers):
    """Choose rows out of n: neighbours, or with replacement below a tenth of them."""
    if in_blocks:
        random_rows(key0, key1, ROWS, n, numbers[:1])
        for i in range(1, numbers.size):
            numbers[i] = (numbers[0] + i) % n
    elif 10 * numbers.size < n:
        random_rows(key0, key1, ROWS, n, numbers)
    else:
        random_subset(key0, key1, ROWS, n, numbers)


@njit(cache=True)
def choose_rows_of_update(key, update, in_sweeps, in_blocks, n, numbers):
    """Choose the rows of an update, or those of the part of a sweep whose turn it is."""
    if not in_sweeps:
        key0, key1 = threefry(key[0], key[1], np.uint32(update), np.uint32(0))
        choose_rows(key0, key1, in_blocks, n, numbers)
    else:
        parts = n // numbers.size
        sweep, turn = update // (2 * parts), update % (2 * parts)
        part = min(turn, 2 * parts - 1 - turn)
        key0, key1 = threefry(key[0], key[1], np.uint32(sweep), np.uint32(0))
        random_subset(key0, key1, ROWS, n, numbers, part * numbers.size)


@njit(cache=True, nogil=True)
def choose_rows_of_updates(key, update, in_sweeps, in_blocks, n, numbers):
    """Choose the rows of updates that follow one another, ``(updates, B)``."""
    for i in range(len(numbers)):
        following = np.uint32(update + i)
        choose_rows_of_update(key, following, in_sweeps, in_blocks, n, numbers[i])


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
        lines = 1 + source.shape[1] * source.itemsize // _LINE
        ahead = max(_ROWS_AHEAD, _LINES_AHEAD // lines)
        for i in range(min(ahead, numbers.size)):
            prefetch_row(source, numbers[i])
        for i in range(numbers.size):
            if i + ahead < numbers.size:
                prefetch_row(source, numbers[i + ahead])
            copy(source[numbers[i]], target[i])
        gather(rows[1:], numbers, batch[1:])

    return gather_first


@overload(rows_of)
def _rows_of(rows):
    if len(rows) == 0:
        return lambda rows: 0
    return lambda rows: len(rows[0])
