"""The functions of a model, jitted: one frozen object."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from xarray import DataTree

from pymc_sgmcmc.arguments import number
from pymc_sgmcmc.engines.jax.subsets import ROUNDS, random_subset
from pymc_sgmcmc.functional.graphs import Graphs, check_rows
from pymc_sgmcmc.model.potential import StochasticPotential
from pymc_sgmcmc.output import Recorder, to_datatree
from pymc_sgmcmc.report.report import Report


@functools.partial(jax.tree_util.register_dataclass, data_fields=["data"], meta_fields=["graphs"])
@dataclass(frozen=True, eq=False)
class Functions:
    r"""Potential energy, gradients and likelihood of a model, as functions of JAX.

    .. math::

        U(q) = -\log p(q) - \sum_{i=1}^N \log p(x_i \mid q), \qquad
        \tilde U(q) = -\log p(q) - \frac{N}{B} \sum_{i \in \text{batch}} \log p(x_i \mid q)

    A position q is a vector ``(d,)`` of all free variables in PyMC's unconstrained space, the
    Jacobians of the transforms within p(q). `pymc_sgmcmc.functions` makes it. Where `rows` may be
    given, they are numbers of rows ``(n,)``, which stand for all N: terms of rows count N/n times.

    Attributes
    ----------
    data : tuple of jax.Array
        Row data, ``(N, ...)`` each: the leaves of this pytree.
    graphs : Graphs
        Compiled for any number of rows when they are first asked for.
    """

    data: tuple[Array, ...]
    graphs: Graphs = field(repr=False)

    @classmethod
    def of(cls, potential: StochasticPotential) -> Self:
        """Functions of a potential, with its rows as they are now."""
        _refuse_others(potential.others)
        graphs = Graphs(potential)
        if graphs.needs_64_bits and not jax.config.jax_enable_x64:
            raise ValueError(
                f"The model needs JAX with 64 bits (dtype={potential.dtype!r}), which is switched "
                'off. Write jax.config.update("jax_enable_x64", True) at the start, or '
                'dtype="float32" where integers are not the reason.'
            )
        return cls(tuple(jnp.asarray(x) for x in potential.row_values()), graphs)

    # -- what there is -----------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """Length d of a position."""
        return self.graphs.potential.size

    @property
    def n_rows(self) -> int | None:
        """Rows N; None where they need not be known."""
        return self.graphs.potential.n_rows

    @property
    def batch_size(self) -> int | None:
        """Rows B of a batch; None where it is all of them."""
        return self.graphs.potential.batch_size

    @property
    def dtype(self) -> str:
        """Type of positions and gradients."""
        return self.graphs.potential.dtype

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the value variables, in the order of a position."""
        return tuple(block.name for block in self.graphs.potential.layout)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each value variable."""
        return {block.name: block.shape for block in self.graphs.potential.layout}

    @property
    def dims(self) -> dict[str, tuple[str | None, ...]]:
        """Names of the dimensions of the model's variables, where they have any."""
        named = self.graphs.potential.model.named_vars_to_dims
        return {name: tuple(dims) for name, dims in named.items()}

    @property
    def coords(self) -> dict[str, Any]:
        """Labels of the dimensions."""
        return dict(self.graphs.potential.model.coords)

    @property
    def initial(self) -> Array:
        """The model's initial point, ``(d,)``."""
        return jnp.asarray(self.graphs.potential.ravel(self.graphs.potential.initial_point))

    # -- positions ---------------------------------------------------------------------------------

    def ravel(self, point: Mapping[str, Any]) -> Array:
        """Position ``(d,)`` of the value variables of one point."""
        if missing := [name for name in self.names if name not in point]:
            raise ValueError(
                f"The point has no {', '.join(map(repr, missing))}. A position holds the value "
                f"variables {', '.join(map(repr, self.names))}."
            )
        return jnp.concatenate([jnp.asarray(point[k], self.dtype).reshape(-1) for k in self.names])

    def unravel(self, position: Array) -> dict[str, Array]:
        """Value variables of positions ``(..., d)``: ``(..., *shape)`` each."""
        lead = position.shape[:-1]
        return {
            block.name: position[..., block.start : block.stop].reshape(*lead, *block.shape)
            for block in self.graphs.potential.layout
        }

    # -- densities ---------------------------------------------------------------------------------

    @jax.jit
    def potential(self, position: Array, rows: Array | None = None) -> Array:
        """U(q) in nats, of all rows; or its estimate from some."""
        data, length = self._rows(rows)
        return self.graphs.value(length)(position, *data)

    @jax.jit
    def prior(self, position: Array) -> Array:
        """Log density of what belongs to no row, log p(q), with the Jacobians of the transforms.

        ``pm.Potential`` terms and observed variables that have no such rows are part of it.
        """
        return self.graphs.apart(position, *self.data)[0]

    @jax.jit
    def log_likelihood(self, position: Array, rows: Array | None = None) -> Array:
        """Log-likelihood log p(x_i | q) of all rows ``(N,)``, or of some ``(n,)``; unscaled.

        Where several observed variables have these rows, their sum.
        """
        if self.n_rows is None:
            check_rows(rows, None)
        data, length = self._rows(rows)
        return self.graphs.by_row(length)(position, *data)[0]

    # -- derivatives -------------------------------------------------------------------------------

    @jax.jit
    def gradient(self, position: Array, rows: Array | None = None) -> Array:
        """∇U(q) ``(d,)``, of all rows; or its estimate from some."""
        data, length = self._rows(rows)
        return self.graphs.gradient(length)(position, *data)

    @jax.jit
    def minibatch_gradient(self, position: Array, key: Array) -> Array:
        """Unbiased estimate of ∇U(q) ``(d,)``, from a batch that is drawn with a key."""
        return self.gradient(position, self.batch(key))

    @jax.jit
    def hessian_product(
        self, position: Array, direction: Array, rows: Array | None = None
    ) -> Array:
        """∇²U(q) v ``(d,)`` for a direction v, of all rows; or its estimate from some."""
        return jax.jvp(lambda q: self.gradient(q, rows), (position,), (direction,))[1]

    def batch(self, key: Array) -> Array | None:
        """Numbers of the rows of a batch ``(B,)``; None where it is all of them.

        With replacement below a tenth of all rows, without above, as the samplers draw them.
        """
        n, size = self.n_rows, self.batch_size
        if n is None or size is None:
            return None
        if size < n / 10:
            return jax.random.randint(key, (size,), 0, n, dtype=jnp.int32)
        return random_subset(jax.random.bits(key, (ROUNDS,), jnp.uint32), n, size)

    def _rows(self, rows: Array | None) -> tuple[Sequence[Array], int | None]:
        """Row data, all or some, and how many."""
        if rows is None:
            return self.data, self.n_rows
        rows = jnp.asarray(rows)
        check_rows(rows, self.n_rows)
        return [x[rows] for x in self.data], len(rows)

    # -- draws -------------------------------------------------------------------------------------

    def to_datatree(
        self,
        positions: Any,
        *,
        step_size: float,
        steps_per_draw: int = 1,
        temperature: float = 1.0,
        sample_stats: Mapping[str, Any] | None = None,
        sampler: str = "own",
        seed: int = 0,
    ) -> DataTree:
        """Draws as `pm.sample` gives them, to be judged by `diagnose` and read by ArviZ.

        Parameters
        ----------
        positions : array
            Shape ``(chains, draws, d)``.
        step_size : float
            h of the sampler, with which `diagnose` says what to try.
        steps_per_draw : int
            Updates between two draws.
        temperature : float
            T of the sampled law, exp(−U/T).
        sample_stats : mapping of str to array, optional
            ``(chains, draws)`` each. A ``kinetic_temperature``, the mean of p² over the parameters,
            is looked at by `diagnose`.
        sampler : str
            Its name.
        seed : int
            Of the batches for the statistics that are computed here of every draw: the potential
            energy, the norm of its gradient and the configurational temperature ⟨(q − q̄)·∇Ũ⟩/d.

        Returns
        -------
        xarray.DataTree

        Raises
        ------
        ValueError
            If positions or statistics have another shape.
        """
        positions = np.asarray(positions)
        if positions.ndim != 3 or positions.shape[-1] != self.size:
            raise ValueError(
                f"positions must have the shape (chains, draws, {self.size}), got "
                f"{positions.shape}. One chain is positions[None]."
            )
        given = {name: np.asarray(x) for name, x in (sample_stats or {}).items()}
        for name, x in given.items():
            if x.shape != positions.shape[:2]:
                raise ValueError(
                    f"The statistic {name!r} must have the shape {positions.shape[:2]}, a number "
                    f"for each chain and draw, got {x.shape}."
                )
        potential = self.graphs.potential
        values = potential.unravel(positions)
        recorded = Recorder(potential.model)(values)
        report = Report(
            sampler=sampler,
            temperature=number("temperature", temperature, low=0, closed=True),
            step_size=number("step_size", step_size, low=0),
            step_size_given=True,
            steps_per_draw=steps_per_draw,
            batch_size=self.batch_size or self.n_rows or "all rows",
            n_rows=self.n_rows,
            dtype=self.dtype,
            free_variables=tuple(v.name for v in potential.model.free_RVs),
        )
        statistics = self._statistics(positions, seed) | given
        return to_datatree(
            potential.model, recorded, statistics, 0, report.attributes(), keep_tuning=False
        )

    def _statistics(self, positions: np.ndarray, seed: int) -> dict[str, np.ndarray]:
        """Of every draw, from a batch of its own, ``(chains, draws)`` each."""
        chains, draws, size = positions.shape
        flat = jnp.asarray(positions, self.dtype).reshape(-1, size)
        keys = jax.random.split(jax.random.key(seed), len(flat))
        found = _looked_at(self, flat, flat.mean(0), keys)
        names = ("potential_energy", "gradient_norm", "configurational_temperature")
        reshaped = (np.asarray(x, float).reshape(chains, draws) for x in found)
        return dict(zip(names, reshaped, strict=True))


@jax.jit
def _looked_at(f: Functions, positions: Array, mean: Array, keys: Array) -> tuple[Array, ...]:
    def one(draw: tuple[Array, Array]) -> tuple[Array, ...]:
        q, key = draw
        rows = f.batch(key)
        value, gradient = f.potential(q, rows), f.gradient(q, rows)
        return value, jnp.linalg.norm(gradient), (q - mean) @ gradient / len(q)

    return jax.lax.map(one, (positions, keys))


def _refuse_others(others: Sequence[Any]) -> None:
    """Raise a ValueError for variables that a position can't hold."""
    if others:
        names = ", ".join(repr(v.name) for v in others)
        raise ValueError(
            f"functions needs a model whose free variables are all continuous, and {names} is not. "
            "Sum it out of the model (pymc_extras.marginalize), or give its value with pm.do."
        )
