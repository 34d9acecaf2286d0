"""The model, linear around its mode: products with its Jacobian, which is never formed."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree

from pymc_sgmcmc.engines.jax.functions import jax_function
from pymc_sgmcmc.linearised import information
from pymc_sgmcmc.model.links import Law, of_value_variables
from pymc_sgmcmc.model.potential import StochasticPotential

Outputs = tuple[tuple[Array, ...], ...]
"""Parameters of each law, ``(n, ...)`` each."""


class Batch(NamedTuple):
    """Some rows.

    Attributes
    ----------
    rows : Array
        Their numbers, ``(n,)``.
    weights : Array
        How often each counts, ``(n,)``.
    """

    rows: Array
    weights: Array


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["data", "position", "places", "width"],
    meta_fields=["graphs"],
)
@dataclass(frozen=True, eq=False)
class LinearModel:
    r"""A model's likelihood with the parameters of its laws made linear in the variables.

    .. math::

        f(x; w^* + S u) \approx f(x; w^*) + J(x) S u, \qquad
        G = \sum_i (J_i S)^\top H_i J_i S

    where S = diag(`width`) holds the prior's standard deviations, so that the prior of u has the
    precision I. All vectors are of u, ``(d,)``.

    Attributes
    ----------
    data : tuple of Array
        Row data, ``(N, ...)`` each.
    position : Array
        w*, all variables of the model in PyMC's unconstrained space.
    places : Array
        Which of them are linearised, ``(d,)``; others stay where they are.
    width : Array
        Diagonal of S, ``(d,)``.
    graphs : Graphs
    """

    data: tuple[Array, ...]
    position: Array
    places: Array
    width: Array
    graphs: Graphs = field(repr=False)

    @property
    def size(self) -> int:
        """D."""
        return len(self.width)

    @property
    def n_rows(self) -> int:
        """N."""
        return len(self.data[0])

    def with_width(self, width: np.ndarray) -> Self:
        """The same model in other units."""
        return replace(self, width=jnp.asarray(width, self.width.dtype))

    def outputs(self, u: Array, rows: Array) -> Outputs:
        """Parameters of the laws of some rows at u, not linearised."""
        position = self.position.at[self.places].add(self.width * u)
        return self.graphs.outputs(len(rows))(position, *(x[rows] for x in self.data))

    def around(self, rows: Array) -> Around:
        """The linear maps of some rows."""
        zero = jnp.zeros_like(self.width)
        f, push = jax.linearize(lambda u: self.outputs(u, rows), zero)
        transposed = jax.linear_transpose(push, zero)
        return Around(f, push, lambda g: transposed(g)[0], self.graphs.laws)

    def product(self, batch: Batch, u: Array) -> Array:
        """G u ``(K, d)`` for vectors ``(K, d)``, from a batch."""
        around = self.around(batch.rows)
        return jax.vmap(lambda v: around.pull(around.times(around.push(v), batch.weights)))(u)

    def noise(self, batch: Batch, keys: Array) -> Array:
        """(J S)ᵀ R e for noise e of every row, R Rᵀ = H: of the covariance G; ``(K, d)``."""
        around = self.around(batch.rows)
        weights = jnp.sqrt(batch.weights)
        return jax.vmap(lambda key: around.pull(around.root(around.normal(key), weights)))(keys)

    def factors(self, rows: Array) -> Array:
        """Rows of (J S)ᵀ R, ``(n, k, d)``: all of them, for models whose G is to be formed."""

        def of_row(row: Array) -> Array:
            around = self.around(row[None])
            shapes = jax.eval_shape(around.normal, jax.random.key(0))
            flat, unravel = ravel_pytree(
                jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
            )
            basis = jax.vmap(unravel)(jnp.eye(len(flat), dtype=self.width.dtype))
            one = jnp.ones(1, self.width.dtype)
            return jax.vmap(lambda e: around.pull(around.root(e, one)))(basis)

        return jax.vmap(of_row)(rows)

    def pieces(self, size: int) -> Batch:
        """All rows in batches of a size, ``(pieces, size)``; what fills the last one counts 0."""
        n = self.n_rows
        size = min(size, n)
        count = -(-n // size)
        numbers = jnp.arange(count * size).reshape(count, size)
        weights = jnp.where(numbers < n, 1, 0).astype(self.width.dtype)
        return Batch(jnp.minimum(numbers, n - 1), weights)


class Around(NamedTuple):
    """What a model does to small changes, for some rows.

    Attributes
    ----------
    f : Outputs
        Parameters at the mode.
    push, pull : callable
        J S, from changes of the variables to those of the parameters, and its transpose.
    laws : tuple of Law
    """

    f: Outputs
    push: Callable[[Array], Outputs]
    pull: Callable[[Outputs], Array]
    laws: tuple[Law, ...]

    def times(self, u: Outputs, weights: Array) -> Outputs:
        """H u, each row by its weight."""
        return self._each(information.times, u, weights)

    def root(self, e: Outputs, weights: Array) -> Outputs:
        """R e, each row by its weight."""
        return self._each(information.root, e, weights)

    def normal(self, key: Array) -> Outputs:
        """Standard normal noise for all parameters."""
        leaves, tree = jax.tree.flatten(self.f)
        keys = jax.random.split(key, len(leaves))
        drawn = [jax.random.normal(k, x.shape, x.dtype) for k, x in zip(keys, leaves, strict=True)]
        return jax.tree.unflatten(tree, drawn)

    def _each(self, function: Callable[..., Any], u: Outputs, weights: Array) -> Outputs:
        found = []
        for law, f, v in zip(self.laws, self.f, u, strict=True):
            n = len(law.links)
            new = [_by_row(weights, x) for x in function(law.name, f, v[:n])]
            found.append((*new, *(jnp.zeros_like(x) for x in v[n:])))
        return tuple(found)


def _by_row(weights: Array, x: Array) -> Array:
    return x * weights.reshape(-1, *[1] * (x.ndim - 1))


class Graphs:
    """Parameters of the laws as JAX functions of a position and rows, one for each number of rows.

    Parameters
    ----------
    potential : StochasticPotential
    laws : tuple of Law
    """

    def __init__(self, potential: StochasticPotential, laws: tuple[Law, ...]) -> None:
        self.potential, self.laws = potential, laws
        linked = [[link.forward(link.variable) for link in law.links] for law in laws]
        graphs = [x for law, links in zip(laws, linked, strict=True) for x in (*links, *law.fixed)]
        self._graphs = of_value_variables(potential.model, graphs)
        observed = [potential.model.rvs_to_values[law.rv] for law in laws]
        self._shapes = [tuple(map(int, x.shape[1:].eval())) for x in observed]
        self._compiled: dict[int, Callable[..., Sequence[Array]]] = {}

    def outputs(self, length: int) -> Callable[..., Outputs]:
        """(position, *rows) → the parameters, as many rows of each."""
        if length not in self._compiled:
            position, _, rows = self.potential.inputs(length)
            graphs = self.potential.of_rows(self._graphs, position, rows)
            graphs = [x.astype(self.potential.dtype) for x in graphs]
            # Constants of a graph must be no part of a program that is being traced.
            with self.potential.model, jax.ensure_compile_time_eval():
                self._compiled[length] = jax_function([position, *rows], graphs)
        function = self._compiled[length]
        return lambda *inputs: self._by_law(function(*inputs), length)

    def _by_law(self, flat: Sequence[Array], length: int) -> Outputs:
        found, rest = [], list(flat)
        for law, of_row in zip(self.laws, self._shapes, strict=True):
            n = len(law.links) + len(law.fixed)
            own, rest = rest[:n], rest[n:]
            shape = (length, *of_row)
            if law.name == "categorical":
                shape = (*shape, own[0].shape[-1])
            found.append(tuple(jnp.broadcast_to(x, shape) for x in own))
        return tuple(found)
