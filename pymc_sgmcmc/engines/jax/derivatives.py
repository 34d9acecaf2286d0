"""Derivatives of a potential on fixed rows, by JAX."""

import copy
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from pymc_sgmcmc.engines.jax.functions import compile_for, jax_function
from pymc_sgmcmc.engines.jax.integers import needs_64_bits
from pymc_sgmcmc.engines.programs import gradient_program, rows_that_count, weighted_program
from pymc_sgmcmc.estimators.estimators import Estimator
from pymc_sgmcmc.model.potential import StochasticPotential

# Rows that are evaluated at once, at one point or several; on accelerators; and the numbers in
# them, of which a convolution makes hundreds each.
_TOGETHER, _ON_ACCELERATORS, _NUMBERS_TOGETHER = 2**13, 2**20, 2**23
# Bytes of what is computed on the way, for a group of points; on accelerators.
_BYTES, _BYTES_ON_ACCELERATORS = 2**30, 2**33
# Points of one call, and the numbers in them at most.
_POINTS, _NUMBERS = 256, 2**18
# Rows times columns of a Hessian that are evaluated at once.
_CHUNK = 2**22
# Dimensions up to which one program serves gradients, Hessians and products: what it computes for
# nothing costs less than another compilation.
_FEW = 16


class JaxDerivatives:
    """U, ∇U and second derivatives on fixed rows, by JAX; see `Derivatives`.

    Compiled once for any number of points: a loop over groups of them, as many as there are.

    Parameters
    ----------
    potential : StochasticPotential
    rows : sequence of ndarray
        Rows that stand for all.
    one_program : bool
        Whether one serves slopes and products.
    """

    def __init__(
        self,
        potential: StochasticPotential,
        rows: Sequence[np.ndarray],
        one_program: bool = False,
    ) -> None:
        self.dtype, self.size = potential.dtype, potential.size
        self._one_program = one_program or self.size <= _FEW
        self._other_names = [v.name for v in potential.others]
        length = len(rows[0]) if rows and potential.n_rows is not None else None
        self._length = length if potential.separates else None
        with potential.model:
            if self._length is not None:
                program = weighted_program(potential, self._length)
            else:
                program = gradient_program(Estimator(potential), length)
            self._estimate = jax_function(*program)
        # Of all rows: these may be a part of them, and others take their place in `of`.
        all_rows = potential.row_arrays()
        self._64_bits = self.dtype == "float64" or needs_64_bits(program, all_rows)
        rows_at_once = max((len(x) for x in rows), default=1)
        self._chunk = max(1, _CHUNK // rows_at_once)
        together = _TOGETHER if jax.default_backend() == "cpu" else _ON_ACCELERATORS
        self._points = int(np.clip(_NUMBERS // self.size, 1, _POINTS))
        numbers = max(1, sum(x.size for x in rows))
        group = min(together // rows_at_once, _NUMBERS_TOGETHER // numbers)
        self._group = int(np.clip(group, 1, min(32, self._points)))
        self._compiled: dict = {}
        self._place(rows)

    def _place(self, rows: Sequence[np.ndarray]) -> None:
        weights: list[np.ndarray] = []
        if self._length is not None:
            counted, rows = rows_that_count(rows, self._length, self.dtype)
            weights = [counted]
        with self._precision():
            self._rows = [jax.device_put(x) for x in (*weights, *rows)]

    def of(self, rows: Sequence[np.ndarray]) -> "JaxDerivatives":
        """Those of other rows; see `Derivatives.of`."""
        other = copy.copy(self)
        other._place(rows)
        return other

    def gradient(
        self, positions: np.ndarray, others: Mapping[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """U and ∇U; see `Derivatives.gradient`."""
        if self._one_program:
            return self._pairs(positions, np.zeros_like(positions), others)[:2]

        def one(point, others, rows):
            return self._estimate(point[0], *others, *rows)

        shapes = (), (self.size,)
        return self._map("gradient", one, shapes, np.asarray(positions)[:, None], others)

    def hessian(
        self, positions: np.ndarray, others: Mapping[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """U, ∇U and the Hessian; see `Derivatives.hessian`."""
        positions = np.asarray(positions)
        if self.size <= _FEW:
            directions = np.tile(np.eye(self.size), (len(positions), 1))
            values, slopes, columns = self._pairs(
                positions.repeat(self.size, 0), directions, others
            )
            columns = columns.reshape(len(positions), self.size, self.size)
            hessians = (columns + columns.swapaxes(1, 2)) / 2
            return values[:: self.size], slopes[:: self.size], hessians

        def one(position, others, rows):
            def gradient(q):
                value, gradient = self._estimate(q, *others, *rows)
                return gradient, value

            def column(direction):
                slope, column, value = jax.jvp(gradient, (position,), (direction,), has_aux=True)
                return column, slope, value

            columns, slopes, values = lax.map(
                column, jnp.eye(len(position), dtype=position.dtype), batch_size=self._chunk
            )
            return values[0], slopes[0], (columns + columns.T) / 2

        found = [self._call("hessian", one, x, others) for x in positions]
        values, slopes, hessians = (np.stack(x) for x in zip(*found, strict=True))
        return values, slopes, hessians

    def products(
        self, positions: np.ndarray, directions: np.ndarray, others: Mapping[str, np.ndarray]
    ) -> np.ndarray:
        """Hessians times directions; see `Derivatives.products`."""
        return self._pairs(positions, directions, others)[2]

    def _pairs(self, positions, directions, others):
        """U, ∇U and the product of the Hessian with a direction, at every position."""

        def one(pair, others, rows):
            def gradient(q):
                value, gradient = self._estimate(q, *others, *rows)
                return gradient, value

            slope, product, value = jax.jvp(gradient, (pair[0],), (pair[1],), has_aux=True)
            return value, slope, product

        shapes = (), (self.size,), (self.size,)
        return self._map("pairs", one, shapes, np.stack([positions, directions], 1), others)

    def _map(self, name, one, shapes, points, others):
        """Values of `one`, of such shapes, at every point ``(k, ...)``."""
        known = self._known(others)
        if name not in self._compiled:
            self._compiled[name] = self._compile_groups(one, shapes, points.shape[1:], known)
        compiled, group = self._compiled[name]
        groups = -(-self._points // group)
        room = groups * group
        parts = []
        for first in range(0, len(points), room):
            part = points[first : first + room]
            padded = np.zeros((room, *part.shape[1:]), self.dtype)
            padded[: len(part)] = part
            whole = np.int32(-(-len(part) // group))
            padded[len(part) : whole * group] = part[-1]
            padded = padded.reshape(groups, group, *part.shape[1:])
            with self._precision():
                results = [np.asarray(x) for x in compiled(padded, whole, known, self._rows)]
            parts.append([x.reshape(-1, *x.shape[2:])[: len(part)] for x in results])
        return tuple(np.concatenate(x) for x in zip(*parts, strict=True))

    def _compile_groups(self, one, shapes, shape, known):
        """Loop over groups of points of a shape, and the size of a group.

        Smaller groups than rows alone would have where what lies between, as attention of every row
        to itself, would fill the memory.
        """

        def grouped(points, number, others, rows):
            def group(i, results):
                found = jax.vmap(one, (0, None, None))(points[i], others, rows)
                return [x.at[i].set(y) for x, y in zip(results, found, strict=True)]

            empty = [jnp.zeros((*points.shape[:2], *x), self.dtype) for x in shapes]
            return lax.fori_loop(0, number, group, empty)

        def compiled(group):
            points = np.zeros((-(-self._points // group), group, *shape), self.dtype)
            with self._precision():
                return compile_for(grouped, points, np.int32(0), known, self._rows)

        found, group = compiled(self._group), self._group
        numbers = found.memory_analysis().temp_size_in_bytes
        most = _BYTES if jax.default_backend() == "cpu" else _BYTES_ON_ACCELERATORS
        if group > 1 and numbers > most:
            group = max(1, group * most // numbers)
            found = compiled(group)
        return found, group

    def _known(self, others):
        with self._precision():
            return [jax.device_put(others[k]) for k in self._other_names]

    def _call(self, name, function, points, others):
        """Result of a function, which is compiled when it is first called."""
        with self._precision():
            args = (np.asarray(points, self.dtype), self._known(others), self._rows)
            if name not in self._compiled:
                self._compiled[name] = compile_for(function, *args)
            return [np.asarray(x) for x in self._compiled[name](*args)]

    def _precision(self):
        return jax.enable_x64(self._64_bits)
