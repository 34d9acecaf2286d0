"""From a model to an unbiased estimate of its potential energy and gradient."""

import copy
import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytensor
import pytensor.tensor as pt
from pymc.model import Model
from pymc.pytensorf import rewrite_pregrad
from pymc.variational.minibatch_rv import MinibatchRandomVariable
from pytensor.gradient import NullTypeGradError
from pytensor.graph.basic import Variable

from pymc_sgmcmc.model import causes, checks
from pymc_sgmcmc.model.fingerprint import Fingerprint, digest
from pymc_sgmcmc.model.graphs import is_shared_value, leaves, rebuild
from pymc_sgmcmc.model.rows import ROUTE_A, RowData, all_arrays, find_rows, uses_minibatch
from pymc_sgmcmc.warn import warn_user


@dataclass(frozen=True)
class Block:
    """Place of one value variable in the flat position vector."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    start: int
    stop: int


class StochasticPotential:
    r"""Unbiased minibatch estimate of a model's potential energy.

    .. math::

        \tilde U(q) = -\log p(q) - \frac{N}{B} \sum_{i \in \text{batch}} \log p(x_i \mid q),
        \qquad \mathbb{E}\,\tilde U(q) = U(q) = -\log p(q, x)

    where q is the flat vector of the sampled value variables, in PyMC's unconstrained space with
    the Jacobians of its transforms. All N/B scaling of the package happens here.

    Parameters
    ----------
    model : pm.Model
    vars : sequence of Variable, optional
        Free random variables or value variables to sample; all continuous ones when None.
    batch_size : int, optional
        Rows B in a batch. None takes all rows, or the batch size of the model's own
        ``pm.Minibatch``.
    data : sequence of str, optional
        Names of the row data; inferred when None.
    dtype : {"float32", "float64"}, optional
        Type of positions and gradients; ``pytensor.config.floatX`` when None.

    Attributes
    ----------
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

    def __init__(
        self,
        model: Model,
        vars: Sequence[Variable] | None = None,
        *,
        batch_size: int | None = None,
        data: Sequence[str] | None = None,
        dtype: str | None = None,
    ) -> None:
        checks.variables_are_tensors(model)
        checks.data_are_not_missing(model)
        checks.warn_of_wrapped_integers(model)
        self.model = model
        self.dtype = _float_dtype(dtype)
        self.value_vars = sampled_value_vars(model, vars)
        self.others = tuple(v for v in model.value_vars if v not in self.value_vars)
        self.initial_point = model.initial_point(0)
        self.layout = _layout(self.value_vars, self.initial_point)
        self.size = self.layout[-1].stop
        if self.size == 0:
            empty = ", ".join(f"{b.name!r} has the shape {b.shape}" for b in self.layout)
            raise ValueError(f"There is nothing to sample: {empty}.")

        with model:
            terms = model.logp(sum=False)
        n_free, n_observed = len(model.free_RVs), len(model.observed_RVs)
        self.priors = terms[:n_free]
        self.likelihoods = terms[n_free : n_free + n_observed]
        self.potentials = terms[n_free + n_observed :]

        if checks.lacks_gradient(self):
            checks.terms_have_gradients(self)
        self.rows = self._find_rows(_integer(batch_size), data)
        self.n_rows = self.rows.n_rows if self.rows else None
        self._row_types = [(x.dtype, x.shape) for x in self.row_arrays()]
        self.batch_size = _batch_size(_integer(batch_size), self.rows)
        rows = self._rows_to_check()
        if rows is not None:
            checks.potentials_touch_no_rows(self)
            checks.rows_separate(self, rows)
            checks.warn_of_terms_in_full(self)
        checks.initial_point_is_finite(self, rows)
        reread, self._ranges = self._read_anew()
        self._fingerprint = Fingerprint(model, ignore=reread)
        self.rows_digest = self._digest()

    def row_values(self) -> list[np.ndarray]:
        """Row data as they are now: arrays of shape ``(N, ...)``, floats in `dtype`.

        The model's own arrays, where these have that type: not to be written to.
        """
        return [x.astype(self._in_dtype(x.dtype), copy=False) for x in self.row_arrays()]

    def row_arrays(self) -> list[np.ndarray]:
        """Row data as they are now, as the model holds them: ``(N, ...)``, of any type."""
        return self.rows.values() if self.rows else []

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
        other.likelihoods = []
        other.rows = other.n_rows = other.batch_size = None
        other._row_types = []
        return other

    def inputs(self, length: int | None = None) -> tuple[Any, list[Any], list[Any]]:
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
            Rows of the row data, ``(length, ...)``.
        """
        position = pt.tensor("position", dtype=self.dtype, shape=(self.size,))
        others = []
        for v in self.others:
            dtype = self.dtype if v.type.dtype.startswith("float") else v.type.dtype
            shape = np.shape(self.initial_point[v.name])
            others.append(pt.tensor(v.name, dtype=dtype, shape=shape))
        rows = []
        for dtype, shape in self._row_types:
            n = length or self.batch_size or shape[0]
            rows.append(pt.tensor("rows", dtype=self._in_dtype(dtype), shape=(n, *shape[1:])))
        return position, others, rows

    def value_and_gradient(
        self, position: Any, others: Sequence[Variable], rows: Sequence[Variable]
    ) -> tuple[Any, Any]:
        """Potential energy estimated from `rows`, and its gradient.

        Parameters
        ----------
        position : Variable
            Flat position q, shape ``(d,)``.
        others : sequence of Variable
            Values of the model's other value variables.
        rows : sequence of Variable
            Rows of the row data, ``(n, ...)`` each: a batch, or all of them.

        Returns
        -------
        value : Variable
            Scalar, in nats.
        gradient : Variable
            Shape ``(d,)``.
        """
        # One input per value variable while differentiating: the gradient is then a single
        # join, not a sum of d-vectors.
        parts = [pt.tensor(b.name, dtype=self.dtype, shape=b.shape) for b in self.layout]
        value = self._value(parts, others, rows)
        try:
            gradients: Any = pytensor.grad(value, parts, disconnected_inputs="ignore")
        except (NotImplementedError, NullTypeGradError):
            checks.terms_have_gradients(self)  # names the term
            raise
        gradient = pt.concatenate([g.astype(self.dtype).ravel() for g in gradients])
        slices = [position[b.start : b.stop].reshape(b.shape) for b in self.layout]
        # Rewriting and differentiating brought constants of other dtypes.
        replacements: dict[Any, Any] = dict(zip(parts, slices, strict=True))
        value, gradient = rebuild([value, gradient], replacements, self.dtype)
        return value, gradient

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
        if not self._fingerprint.matches(self.model):
            return False
        now = self._digest()
        if now == self.rows_digest:
            return True
        values = self.rows.values() if self.rows else []
        for x, bounds in zip(values, self._ranges, strict=True):
            if bounds is not None and (x.min() < bounds[0] or bounds[1] < x.max()):
                return False
        checks.initial_point_is_finite(self, self._rows_to_check())
        self.rows_digest = now
        return True

    def row_replacements(self, rows: Sequence[Any]) -> dict[Any, Any]:
        """Map the row data, and their length, to what takes their place in the likelihood."""
        if self.rows is None:
            return {}
        length = rows[0].type.shape[0]
        return {
            **{v: pt.constant(length, dtype=v.type.dtype) for v in self.rows.lengths},
            **{v: rows[g] for v, g in zip(self.rows.variables, self.rows.groups, strict=True)},
        }

    def scale(self, rv: Variable, length: int) -> float:
        """N/B for a term that belongs to the rows, 1 for one that doesn't."""
        if self.rows is None or self.rows.n_rows is None or rv not in self.rows.observed:
            return 1.0
        return self.rows.n_rows / length

    def _value(self, parts: Sequence[Any], others: Sequence[Any], rows: Sequence[Any]) -> Any:
        values = dict(zip((*self.value_vars, *self.others), (*parts, *others), strict=True))
        values |= {v: pt.constant(v.get_value()) for v in self._frozen()}
        terms = rebuild([*self.priors, *self.potentials], values, self.dtype)
        if self.likelihoods:
            replacements = values | self.row_replacements(rows)
            likelihoods = rebuild(self.likelihoods, replacements, self.dtype)
            length = rows[0].type.shape[0] if rows else 1
            for rv, term in zip(self.model.observed_RVs, likelihoods, strict=True):
                # A variable with total_size scales its own term.
                own = isinstance(rv.owner.op, MinibatchRandomVariable)
                scale = 1.0 if own else self.scale(rv, length)
                terms.append(term if scale == 1.0 else term * np.asarray(scale, self.dtype))
        log_posterior = sum((term.sum() for term in terms), start=pt.zeros((), self.dtype))
        return rewrite_pregrad(-log_posterior.astype(self.dtype))

    def _frozen(self) -> list[Any]:
        """Shared variables whose values become constants of the graph."""
        rows = self.rows.variables if self.rows else ()
        found = leaves([*self.priors, *self.potentials]) + leaves(self.likelihoods, blockers=rows)
        return [v for v in dict.fromkeys(found) if is_shared_value(v)]

    def _digest(self) -> tuple[Any, ...]:
        return digest(self.rows.values() if self.rows else [])

    def _rows_to_check(self) -> np.ndarray | None:
        """Numbers of the rows that are checked; None where all data are."""
        if self.batch_size is None:
            return None
        assert self.rows is not None
        return checks.some_rows(self.rows)

    def _read_anew(self) -> tuple[list[Any], list[tuple | None]]:
        """Data whose values matter to nothing but the rows, and bounds of the rows."""
        if self.rows is None:
            return [], []
        frozen = self._frozen()
        return [v for v in leaves(self.rows.sources) if v not in frozen], [
            (x.min(), x.max()) if x.dtype.kind in "iu" and x.size else None
            for x in self.rows.values()
        ]

    def _find_rows(self, batch_size: int | None, data: Sequence[str] | None) -> RowData | None:
        if uses_minibatch([*self.priors, *self.potentials]):
            raise ValueError(
                "A prior or a pm.Potential of the model depends on pm.Minibatch, which only "
                f"observed variables may do. {ROUTE_A}"
            )
        if uses_minibatch(self.likelihoods):
            warn_user(
                "The model uses pm.Minibatch. Sampling is right, but pm.compute_log_likelihood, "
                "LOO and posterior predictive sampling of such a model see one random batch, "
                f"scaled by total_size. {ROUTE_A}",
            )
        elif batch_size is None and data is None:
            return all_arrays(self.likelihoods)
        return find_rows(self.model, self.likelihoods, data)


def sampled_value_vars(model: Model, vars: Any = None) -> tuple[Any, ...]:
    """Value variables to sample: those of `vars`, or all continuous ones.

    Raises
    ------
    ValueError
        If a named variable is discrete or not free, or the model has no continuous variable.
    """
    if vars is None:
        if not model.continuous_value_vars:
            raise ValueError(
                "The model has no continuous free variable to sample with gradients. Discrete "
                "variables need pm.Metropolis or pm.BinaryGibbsMetropolis."
            )
        return tuple(model.continuous_value_vars)
    if not isinstance(vars, str | Variable | Sequence):
        raise TypeError(
            f"vars must be variables of the model or their names, got {vars!r}. Write other "
            "arguments by name: ATMC(batch_size=..., step_size=...)."
        )
    named = [vars] if isinstance(vars, str | Variable) else list(vars)
    if not named:
        raise ValueError("vars is empty: name at least one variable, or leave vars out.")
    chosen = []
    for v in named:
        rv = model.named_vars.get(v) if isinstance(v, str) else model.values_to_rvs.get(v, v)
        if rv not in model.free_RVs:
            free = ", ".join(repr(x.name) for x in model.free_RVs)
            raise ValueError(
                f"vars names {getattr(v, 'name', v)!r}, which is not a free random variable of "
                f"the model. Its free variables: {free}."
            )
        chosen.append(model.rvs_to_values[rv])
    for v in chosen:
        if v in model.discrete_value_vars:
            raise ValueError(
                f"{v.name!r} is discrete ({v.type.dtype}) and has no gradient. Leave it out of "
                "vars and give it a step of its own: "
                f"step=[ATMC(vars=[...], ...), pm.Metropolis([{v.name}])]."
            )
    return tuple(v for v in model.value_vars if v in chosen)


def _layout(value_vars: Sequence[Any], point: Mapping[str, np.ndarray]) -> tuple[Block, ...]:
    blocks, start = [], 0
    for v in value_vars:
        shape = np.shape(point[v.name])
        stop = start + math.prod(shape)
        blocks.append(Block(v.name, shape, v.type.dtype, start, stop))
        start = stop
    return tuple(blocks)


def _float_dtype(dtype: Any) -> str:
    try:
        name = pytensor.config.floatX if dtype is None else np.dtype(dtype).name
    except TypeError:
        name = ""
    if name not in ("float32", "float64"):
        raise ValueError(f'dtype must be "float32" or "float64", got {dtype!r}.')
    return name


def _integer(batch_size: Any) -> int | None:
    if batch_size is None:
        return None
    try:
        if isinstance(batch_size, bool):
            raise TypeError
        size = operator.index(batch_size)
    except TypeError:
        raise TypeError(
            f"batch_size must be an integer, or None for all rows, got {batch_size!r}."
        ) from None
    if size < 1:
        raise ValueError(f"batch_size must be at least 1, or None for all rows, got {size}.")
    return size


def _batch_size(size: int | None, rows: RowData | None) -> int | None:
    if rows is None or rows.n_rows is None:
        return None
    if size is None:
        size = rows.batch_size
    if size is not None and size > rows.n_rows:
        raise ValueError(
            f"batch_size={size} exceeds the {rows.n_rows} rows of the data, which are along the "
            f"first axis: {causes.shapes(rows)}. {_other_axes(rows)}Use batch_size=None to take "
            "all rows."
        )
    return None if size == rows.n_rows else size


def _other_axes(rows: RowData) -> str:
    if all(x.ndim == 1 for x in rows.values()):
        return ""
    return (
        "If rows are along another axis, transpose the arrays; if the first axis is one of groups, "
        "flatten groups and rows into one axis, with an index column that tells the group: "
        "w[group]. "
    )
