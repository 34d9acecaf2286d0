"""From a model to an unbiased estimate of its potential energy and gradient."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import pytensor
import pytensor.tensor as pt
from pymc.model import Model
from pymc.pytensorf import rewrite_pregrad
from pymc.variational.minibatch_rv import MinibatchRandomVariable
from pytensor.gradient import NullTypeGradError
from pytensor.graph.basic import Variable
from pytensor.tensor.variable import TensorVariable

from pymc_sgmcmc.arguments import float_dtype
from pymc_sgmcmc.model import balance, checks
from pymc_sgmcmc.model.batches import in_batches
from pymc_sgmcmc.model.fingerprint import Fingerprint, digest
from pymc_sgmcmc.model.graphs import leaves, rebuild
from pymc_sgmcmc.model.layout import lay_out, sampled_value_vars
from pymc_sgmcmc.model.plain import plain
from pymc_sgmcmc.model.terms import Terms
from pymc_sgmcmc.streaming.stored import StoredRows


class StochasticPotential:
    r"""Unbiased minibatch estimate of a model's potential energy.

    .. math::

        \tilde U(q) = -\log p(q) - \frac{N}{B} \sum_{i \in \text{batch}} \log p(x_i \mid q),
        \qquad \mathbb{E}\,\tilde U(q) = U(q) = -\log p(q, x)

    where q is the flat vector of the sampled value variables, in PyMC's unconstrained space with
    the Jacobians of its transforms. All N/B scaling of the package is that of `Terms.scale`.

    Parameters
    ----------
    model : pm.Model
    vars : sequence of Variable, optional
        Free random variables or value variables to sample; all continuous ones when None.
    batch_size : int, optional
        Rows B in a batch. None takes all rows, or the batch size of the model's own
        ``pm.Minibatch``.
    data : sequence of str or StoredRows, optional
        Names of the row data; inferred when None. Or all rows, where those of the model are but
        a template.
    dtype : {"float32", "float64"}, optional
        Type of positions and gradients; ``pytensor.config.floatX`` when None.

    Attributes
    ----------
    terms : Terms
        Of the log posterior; the attributes that follow from them are theirs. Of a model that
        pymc.dims wrote, they are those of its `plain` copy.
    layout : tuple of Block
        Name, shape and place of each value variable in the position vector.
    size : int
        Length d of the position vector.
    batch_size : int or None
        B, or None where every update takes all rows.
    n_rows : int or None
        N, or None where the rows of the model need not be known.
    others : tuple of Variable
        Value variables that the model has besides the sampled ones; inputs of the potential.
    initial_point : dict of str to ndarray
        The model's initial point.
    balanced : bool
        Whether batches are of a table in which rows of rare levels stand more often, with weights
        as the first of the row data; see `balance`.
    rows_digest : tuple
        Of the row data as they were checked last; see `digest`.

    Raises
    ------
    ValueError, TypeError
        If the model or an argument does not allow minibatches; the message says what to write.
    SamplingError
        If the log posterior is not finite at the model's initial point.
    NotImplementedError
        If a part of the log posterior has no gradient.
    """

    balanced = False

    def __init__(
        self,
        model: Model,
        vars: Sequence[Variable] | None = None,
        *,
        batch_size: int | None = None,
        data: Sequence[str] | StoredRows | None = None,
        dtype: str | None = None,
    ) -> None:
        self._given, model = model, plain(model)
        checks.data_are_not_missing(model)
        checks.warn_of_wrapped_integers(model)
        wanted = pytensor.config.floatX if dtype is None else dtype
        self.dtype = float_dtype("dtype", wanted, ("float32", "float64"))
        terms = Terms.of(model, sampled_value_vars(model, vars))
        self.layout = lay_out(terms.value_vars, terms.initial_point)
        self.size = self.layout[-1].stop
        if checks.lacks_gradient(terms):
            checks.terms_have_gradients(terms)
        self._hold(in_batches(terms, batch_size, data))
        self._row_types = [(x.dtype, x.shape) for x in self.row_arrays()]
        rows = self._rows_to_check()
        if rows is not None:
            checks.potentials_touch_no_rows(self.terms)
            checks.rows_separate(self.terms, rows)
            checks.warn_of_terms_in_full(self.terms)
        checks.initial_point_is_finite(self.terms, rows)
        reread, self._ranges = self._read_anew()
        self._fingerprint = Fingerprint(self._given, ignore=reread)
        self.rows_digest = self._digest()

    def _hold(self, terms: Terms) -> None:
        self.terms = terms
        self.model, self.initial_point = terms.model, terms.initial_point
        self.value_vars, self.others = terms.value_vars, terms.others
        self.rows, self.n_rows, self.batch_size = terms.rows, terms.n_rows, terms.batch_size

    def row_values(self) -> list[np.ndarray]:
        """Row data as they are now: arrays of shape ``(N, ...)``, floats in `dtype`."""
        return self.rows_at(slice(None))

    def rows_at(self, where: slice | np.ndarray) -> list[np.ndarray]:
        """Some rows of the row data as they are now, ``(n, ...)`` each, floats in `dtype`.

        Parts of the model's own arrays, where these have that type: not to be written to.
        """
        return self.rows.at(where, self.dtype) if self.rows else []

    def row_arrays(self, power: float = 1.0) -> list[np.ndarray]:
        """Row data as they are now, as the model holds them: ``(N, ...)``, of any type.

        Of stored rows, some with the extreme values among them. Where rows are `balanced`, all
        entries of the table, ``(M, ...)`` each, the weights first, to a power.
        """
        arrays = self.rows.values() if self.rows else []
        if not self.balanced:
            return arrays
        copies = balance.copies(self.terms)
        if copies is None:  # no level is rare in the data as they are now
            copies = np.ones(len(arrays[0]), int)
        weights = balance.weights(copies) ** power
        return [weights.astype(self.dtype), *(np.repeat(x, copies, axis=0) for x in arrays)]

    def in_balance(self) -> "StochasticPotential":
        """Give the same potential, with batches of a table of balanced rows."""
        other = copy.copy(self)
        other.balanced = True
        return other

    @property
    def has_rare_levels(self) -> bool:
        """Whether some level of an index has so few rows that a balanced table pays."""
        return balance.copies(self.terms) is not None

    @property
    def stored(self) -> StoredRows | None:
        """Rows on disk, if those of the model are but a template of such."""
        stored = self.rows.stored if self.rows else None
        return None if stored is None or stored.held() is not None else stored

    def _in_dtype(self, dtype: np.dtype) -> str:
        return self.dtype if dtype.kind == "f" else dtype.name

    def in_dtype(self, dtype: str) -> "StochasticPotential":
        """Give the same potential in another precision; nothing is checked anew."""
        other = copy.copy(self)
        other.dtype = dtype
        return other

    def prior(self) -> "StochasticPotential":
        """Give the potential of the prior alone, Jacobians and ``pm.Potential`` terms included.

        It reads no rows.
        """
        other = copy.copy(self)
        other._hold(self.terms.prior())
        other._row_types = []
        return other

    def inputs(
        self, length: int | None = None
    ) -> tuple[TensorVariable, list[TensorVariable], list[TensorVariable]]:
        """Symbolic inputs of the potential, with static shapes.

        Parameters
        ----------
        length : int, optional
            Number of rows: n of them stand for all N, as a batch does. B (or N, where every
            update takes all rows) when None.

        Returns
        -------
        position : Variable
            Shape ``(d,)``.
        others : list of Variable
            The model's other value variables.
        rows : list of Variable
            Rows of the row data, ``(length, ...)``; the weights of balanced ones before them.
        """
        position = pt.tensor("position", dtype=self.dtype, shape=(self.size,))
        others = []
        for v in self.others:
            dtype = self.dtype if v.type.dtype.startswith("float") else v.type.dtype
            shape = np.shape(self.initial_point[v.name])
            others.append(pt.TensorType(dtype, shape)(v.name))
        rows = []
        for dtype, shape in self._row_types:
            n = length or self.batch_size or shape[0]
            rows.append(pt.tensor("rows", dtype=self._in_dtype(dtype), shape=(n, *shape[1:])))
        if self.balanced:
            weights = pt.tensor("weights", dtype=self.dtype, shape=rows[0].type.shape[:1])
            rows = [weights, *rows]
        return position, others, rows

    @property
    def separates(self) -> bool:
        """Whether the terms of rows are known to separate, so that each can be weighed."""
        return self.batch_size is not None

    def value_and_gradient(
        self,
        position: TensorVariable,
        others: Sequence[Variable],
        rows: Sequence[Variable],
        weights: TensorVariable | None = None,
    ) -> tuple[TensorVariable, TensorVariable]:
        """Potential energy estimated from `rows`, and its gradient.

        Parameters
        ----------
        position : Variable
            Flat position q, shape ``(d,)``.
        others : sequence of Variable
            Values of the model's other value variables.
        rows : sequence of Variable
            Rows of the row data, ``(n, ...)`` each: a batch, or all of them.
        weights : Variable, optional
            How often each of them counts, ``(n,)``, with a sum of n; once when None. Only where
            the potential `separates`.

        Returns
        -------
        value : Variable
            Scalar, in nats.
        gradient : Variable
            Shape ``(d,)``.
        """
        if self.balanced:
            first, *rows = rows
            weights = cast(TensorVariable, first)
        # One input per value variable while differentiating: the gradient is then a single
        # join, not a sum of d-vectors.
        # pt.tensor refuses names that could be a dtype's, such as Bambi's "1|group".
        parts = [pt.TensorType(self.dtype, b.shape)(b.name) for b in self.layout]
        value = self._value(parts, others, rows, weights)
        try:
            gradients: Any = pytensor.grad(value, parts, disconnected_inputs="ignore")
        except (NotImplementedError, NullTypeGradError):
            checks.terms_have_gradients(self.terms)  # names the term
            raise
        gradient = pt.concatenate([g.astype(self.dtype).ravel() for g in gradients])
        slices = self._slices(position)
        # Rewriting and differentiating brought constants of other dtypes.
        replacements: dict[Variable, Variable] = dict(zip(parts, slices, strict=True))
        value, gradient = rebuild([value, gradient], replacements, self.dtype)
        return value, gradient

    def log_likelihood_by_row(
        self, position: TensorVariable, rows: Sequence[Variable]
    ) -> TensorVariable:
        """Log-likelihood of each of some rows, unscaled.

        Parameters
        ----------
        position : Variable
            Flat position q, shape ``(d,)``; there are no other variables.
        rows : sequence of Variable
            Rows of the row data, ``(n, ...)`` each.

        Returns
        -------
        Variable
            Shape ``(n,)``: the sum over observed variables that have these rows.
        """
        own, length = self.terms, rows[0].type.shape[0]
        replacements = self._values(self._slices(position), ()) | own.row_replacements(rows)
        terms = rebuild(
            [x for rv, x in own.observed() if self._has_rows(rv)], replacements, self.dtype
        )
        summed = [x.reshape((length, -1)).sum(-1) for x in terms]
        return sum(summed, start=pt.zeros(length, self.dtype)).astype(self.dtype)

    def log_density_apart(self, position: TensorVariable) -> TensorVariable:
        """Log density of all that belongs to no row: prior, ``pm.Potential``, other observations.

        Parameters
        ----------
        position : Variable
            Flat position q, shape ``(d,)``; there are no other variables.

        Returns
        -------
        Variable
            Scalar, in nats.
        """
        own = self.terms
        observed = [x for rv, x in own.observed() if not self._has_rows(rv)]
        values = self._values(self._slices(position), ())
        terms = rebuild([*own.priors, *own.potentials, *observed], values, self.dtype)
        return sum((x.sum() for x in terms), start=pt.zeros((), self.dtype)).astype(self.dtype)

    def of_rows(
        self,
        graphs: Sequence[TensorVariable],
        position: TensorVariable,
        rows: Sequence[Variable],
    ) -> list[TensorVariable]:
        """Graphs of the value variables and the data, at a position and for some rows.

        Parameters
        ----------
        graphs : sequence of Variable
            What the likelihood depends on.
        position : Variable
            Flat position q, shape ``(d,)``; there are no other variables.
        rows : sequence of Variable
            Rows of the row data, ``(n, ...)`` each.
        """
        values = self._values(self._slices(position), ())
        return rebuild(graphs, values | self.terms.row_replacements(rows), self.dtype)

    def _has_rows(self, rv: Variable) -> bool:
        return self.n_rows is not None and self.rows is not None and rv in self.rows.observed

    def ravel(self, point: Mapping[str, np.ndarray]) -> np.ndarray:
        """Position vector of a point, shape ``(d,)``."""
        return np.concatenate([np.ravel(point[b.name]) for b in self.layout]).astype(self.dtype)

    def unravel(self, positions: np.ndarray) -> dict[str, np.ndarray]:
        """Value variables of positions ``(..., d)``: arrays ``(..., *shape)``, in their dtypes."""
        lead = positions.shape[:-1]
        return {
            b.name: positions[..., b.start : b.stop].reshape((*lead, *b.shape)).astype(b.dtype)
            for b in self.layout
        }

    def names_at(self, marked: np.ndarray) -> list[str]:
        """Names of the variables that have entries which are marked in a vector ``(d,)``."""
        pairs = zip(self.value_vars, self.layout, strict=True)
        return [
            self.model.values_to_rvs[v].name
            for v, block in pairs
            if marked[block.start : block.stop].any()
        ]

    def is_current(self) -> bool:
        """Whether the model and its data are what they were when this was built.

        New values of the row data alone do not matter: they are read anew for every run, and
        checked if they changed. Integers beyond the range of those that were checked do matter,
        since they may be indices.

        Raises
        ------
        ValueError
            If variables were added to the model or taken from it, or values are missing.
        SamplingError
            If the log posterior of new row data is not finite at the model's initial point.
        """
        checks.data_are_not_missing(self.model)
        if not self._fingerprint.matches(self._given):
            return False
        now = self._digest()
        if now == self.rows_digest:
            return True
        values = self.rows.values() if self.rows else []
        for x, bounds in zip(values, self._ranges, strict=True):
            if bounds is not None and (x.min() < bounds[0] or bounds[1] < x.max()):
                return False
        checks.initial_point_is_finite(self.terms, self._rows_to_check())
        self.rows_digest = now
        return True

    def _slices(self, position: TensorVariable) -> list[TensorVariable]:
        """Value variables within a position."""
        return [position[b.start : b.stop].reshape(b.shape) for b in self.layout]

    def _values(self, parts: Sequence[Variable], others: Sequence[Variable]) -> dict:
        """What takes the place of value variables, and of data that are the same for all rows."""
        known = zip((*self.value_vars, *self.others), (*parts, *others), strict=True)
        frozen = {v: pt.constant(v.get_value()) for v in self.terms.frozen()}
        return dict(known) | frozen

    def _value(
        self,
        parts: Sequence[Variable],
        others: Sequence[Variable],
        rows: Sequence[Variable],
        weights: TensorVariable | None,
    ) -> TensorVariable:
        own = self.terms
        values = self._values(parts, others)
        terms = rebuild([*own.priors, *own.potentials], values, self.dtype)
        if own.likelihoods:
            replacements = values | own.row_replacements(rows)
            likelihoods = rebuild(own.likelihoods, replacements, self.dtype)
            length = rows[0].type.shape[0] if rows else 1
            for rv, term in zip(self.model.observed_RVs, likelihoods, strict=True):
                # A variable with total_size scales its own term.
                scaled = isinstance(rv.owner.op, MinibatchRandomVariable)
                scale = 1.0 if scaled else own.scale(rv, length)
                if weights is not None and own.rows is not None and rv in own.rows.observed:
                    term = term * weights.reshape((length, *[1] * (term.ndim - 1)))
                terms.append(term if scale == 1.0 else term * np.asarray(scale, self.dtype))
        log_posterior = sum((term.sum() for term in terms), start=pt.zeros((), self.dtype))
        return rewrite_pregrad(-log_posterior.astype(self.dtype))

    def _digest(self) -> tuple[object, ...]:
        if self.stored is not None:
            self.stored.refuse_change()
            return self.stored.fingerprint()
        return digest(self.rows.values() if self.rows else [])

    def _rows_to_check(self) -> np.ndarray | None:
        """Numbers of the rows that are checked; None where all data are."""
        if self.batch_size is None:
            return None
        assert self.rows is not None
        return checks.some_rows(self.rows)

    def _read_anew(self) -> tuple[list[Variable], list[tuple | None]]:
        """Data whose values matter to nothing but the rows, and bounds of the rows."""
        if self.rows is None:
            return [], []
        frozen = self.terms.frozen()
        return [v for v in leaves(self.rows.sources) if v not in frozen], [
            (x.min(), x.max()) if x.dtype.kind in "iu" and x.size else None
            for x in self.rows.values()
        ]
