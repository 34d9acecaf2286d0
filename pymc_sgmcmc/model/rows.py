"""Finding the row data of a model: the arrays that a minibatch takes its rows from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytensor
from pymc.data import MinibatchOp
from pymc.distributions.distribution import PartialObservedRV
from pymc.model import Model
from pymc.variational.minibatch_rv import MinibatchRandomVariable
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Apply, Constant, Variable
from pytensor.graph.traversal import ancestors
from pytensor.sparse.type import SparseTensorType
from pytensor.tensor.subtensor import AdvancedSubtensor
from pytensor.tensor.type import TensorType

from pymc_sgmcmc.arguments import listed, names
from pymc_sgmcmc.model.graphs import leaves, values_read
from pymc_sgmcmc.model.interpreted import INTERPRETED
from pymc_sgmcmc.model.variables import Named
from pymc_sgmcmc.streaming.stored import StoredRows

# Rows that a check draws at random, so that it stays cheap; fewer where they have many numbers,
# as images do.
_CHECKED, _FEWEST, _NUMBERS = 2_000, 128, 2**18

ROUTE_A = """\
Write the model with all its rows, without pm.Minibatch and total_size, and let the step take
the rows:
    with pm.Model() as model:
        X = pm.Data("X", X_rows)
        ...
        pm.Normal("y", mu, sigma, observed=pm.Data("y_data", y_rows))
        idata = pm.sample(step=ATMC(batch_size=...))"""


@dataclass(frozen=True)
class RowData:
    """The arrays of a model that have one entry per row.

    Attributes
    ----------
    variables : tuple of Variable
        Leaves of the likelihood's graph, each to be replaced by its rows in a batch. Leaves that
        hold the same array stand in the same group.
    groups : tuple of int
        For each variable, which of `sources` it takes its rows from.
    sources : tuple of Variable
        The distinct arrays, rows along the leading axis.
    observed : tuple of Variable
        Observed variables whose terms belong to the rows.
    lengths : tuple of Variable
        Symbolic lengths of the row dimension, to be replaced by the batch's.
    n_rows : int or None
        Number of rows N; None for arrays that are always taken whole.
    batch_size : int or None
        Batch size of the model's own ``pm.Minibatch``, if it has one.
    stored : StoredRows or None
        Where all rows are, if those of the model are but a template.
    names : tuple of str
        Of `sources`, there.
    """

    variables: tuple[Variable, ...]
    groups: tuple[int, ...]
    sources: tuple[Variable, ...]
    observed: tuple[Named, ...]
    lengths: tuple[Variable, ...]
    n_rows: int | None
    batch_size: int | None = None
    stored: StoredRows | None = None
    names: tuple[str, ...] = ()

    def values(self) -> list[np.ndarray]:
        """Arrays as they are now, each of shape ``(N, ...)``; of rows on disk, those to check.

        Floats are as wide as they were given, integers as the model's.
        """
        if self.stored is not None:
            held = self.stored.held()
            if held is None:
                return self.at(self.to_check())
            pairs = zip(self.names, self.sources, strict=True)
            arrays = ((held[name], np.dtype(v.type.dtype)) for name, v in pairs)
            return [
                x if x.dtype.kind == t.kind == "f" else x.astype(t, copy=False) for x, t in arrays
            ]
        return [value_of(source) for source in self.sources]

    def at(self, where: slice | np.ndarray, floats: str | None = None) -> list[np.ndarray]:
        """Some rows of every array, in the types that the model has.

        Parameters
        ----------
        where : slice or ndarray of int
            Slices without a step.
        floats : {"float32", "float64"}, optional
            Type of those that are floating-point numbers.
        """
        if self.stored is None:
            found = [x[where] for x in self.values()]
            types = [x.dtype for x in found]
        else:
            found = [_read(self.stored, name, where) for name in self.names]
            types = [np.dtype(v.type.dtype) for v in self.sources]
        return [
            x.astype(floats if floats and t.kind == "f" else t, copy=False)
            for x, t in zip(found, types, strict=True)
        ]

    def empty(self, n: int, floats: str) -> list[np.ndarray]:
        """Arrays for n rows, in the types that `at` gives them."""
        like = self.at(np.zeros(1, int), floats)
        return [np.empty((n, *x.shape[1:]), x.dtype) for x in like]

    def read_into(self, out: Sequence[np.ndarray], numbers: np.ndarray) -> None:
        """Write some stored rows into arrays that `empty` gave."""
        assert self.stored is not None
        for name, x in zip(self.names, out, strict=True):
            self.stored.take(name, numbers, x)

    @property
    def n_checked(self) -> int:
        """Rows that a check draws at random."""
        assert self.n_rows is not None
        numbers = sum(value_of(v)[:1].size for v in self.sources)
        few = min(_CHECKED, max(_FEWEST, _NUMBERS // max(1, numbers)))
        return min(self.n_rows, few)

    def to_check(self) -> np.ndarray:
        """Numbers of random rows, and of those that hold the extreme values of stored ones."""
        assert self.n_rows is not None
        some = np.random.default_rng(0).choice(self.n_rows, self.n_checked, replace=False)
        if self.stored is None:
            return some
        return np.unique(np.concatenate([some, *map(self.stored.extremes, self.names)]))


def _read(stored: StoredRows, name: str, where: slice | np.ndarray) -> np.ndarray:
    if isinstance(where, slice):
        first, stop, _ = where.indices(stored.n_rows)
        return stored.read(name, first, stop)
    return stored.take(name, where)


def shapes(data: RowData) -> str:
    """Names and shapes of the row data."""
    if data.stored is not None:
        return ", ".join(f"{name} {data.stored.shape(name)}" for name in data.names)
    return ", ".join(
        f"{v.name or 'an array'} {x.shape}"
        for v, x in zip(data.sources, data.values(), strict=True)
    )


def value_of(variable: Variable) -> np.ndarray:
    """Value of data in the graph: a constant, a shared variable, or an expression of those."""
    if isinstance(variable, Constant):
        return variable.data
    if isinstance(variable, SharedVariable):
        return variable.get_value(borrow=True)
    return pytensor.function([], variable, mode=INTERPRETED)()


def uses_minibatch(graphs: Sequence[Variable]) -> bool:
    """Whether a graph depends on ``pm.Minibatch``."""
    return bool(_minibatches(graphs))


def _minibatches(graphs: Sequence[Variable]) -> list[Apply]:
    owners = dict.fromkeys(v.owner for v in ancestors(graphs) if v.owner is not None)
    return [node for node in owners if isinstance(node.op, MinibatchOp)]


def all_arrays(likelihoods: Sequence[Variable]) -> RowData | None:
    """Arrays that the likelihood depends on, to be taken whole: inputs, not parts of the code."""
    # A mask stays a constant: XLA can't pick the entries of a mask that it doesn't know.
    arrays = [
        v
        for v in leaves(likelihoods)
        if is_array(v) and v.type.dtype != "bool" and value_of(v).size > 16
    ]
    return _collect(arrays, arrays, (), (), None) if arrays else None


def find_rows(
    model: Model, likelihoods: Sequence[Variable], data: Sequence[str] | None = None
) -> RowData:
    """Find the row data of a model.

    Row data are the arrays that feed an observed variable and share its leading length N. With
    observed variables of several lengths, the longest are taken in batches; the terms of the
    others are evaluated in full.

    Parameters
    ----------
    model : pm.Model
    likelihoods : sequence of Variable
        Log-likelihood graphs of ``model.observed_RVs``, in that order.
    data : sequence of str, optional
        Names of the row data; inferred when None. The observed values that depend on them
        belong to them without being named.

    Returns
    -------
    RowData

    Raises
    ------
    ValueError
        If there is no observed data, if an observation is imputed, if names in `data` don't
        exist or differ in length, if an array is ambiguous, or if ``pm.Minibatch`` is used in a
        way that can't be followed.
    """
    if not model.observed_RVs and model.potentials:
        raise ValueError(
            "The model has no observed variable to take rows from. What belongs to a row in "
            f"pm.Potential ({', '.join(repr(v.name) for v in model.potentials)}) can't be known: "
            "write it as pm.CustomDist, for example with weights w of the rows:\n"
            "    def logp(value, mu, w):\n"
            "        return w * pm.logp(pm.Normal.dist(mu, 1), value)\n"
            '    pm.CustomDist("y", mu, w, logp=logp, observed=y)'
        )
    if not model.observed_RVs:
        raise ValueError(
            "batch_size or data was given, but the model has no observed variable to take rows "
            "from. Give data with observed=..., or leave both out for a model without data."
        )
    for rv in model.observed_RVs:
        if isinstance(rv.owner.op, PartialObservedRV) or _imputed(model, rv):
            raise ValueError(
                f"{user_name(model, rv)!r} has missing values that PyMC imputes: each is a latent "
                "variable of its own row, which can't be sampled from minibatches. Drop the rows "
                "with missing values, or use batch_size=None."
            )
    minibatches = _minibatches(likelihoods)
    if minibatches:
        return _rows_of_minibatch(model, likelihoods, minibatches, data)
    return _rows_of_data(model, likelihoods, data)


def find_stored_rows(model: Model, likelihoods: Sequence[Variable], stored: StoredRows) -> RowData:
    """Find the row data of a model that was written with a template: a few rows of each.

    Parameters
    ----------
    model : pm.Model
    likelihoods : sequence of Variable
        Log-likelihood graphs of ``model.observed_RVs``, in that order.
    stored : StoredRows
        All rows, by the names of ``pm.Data`` or of observed variables.

    Returns
    -------
    RowData

    Raises
    ------
    ValueError, TypeError
        If a source is missing, of no row data, or of another shape or type than its template.
    """
    outcomes = {rv.name: leaves([model.rvs_to_values[rv]]) for rv in model.observed_RVs}
    named = [name for name in stored.names if name not in outcomes]
    template = find_rows(model, likelihoods, named or None)
    names = []
    for source in template.sources:
        known = [source.name, *(name for name, held in outcomes.items() if source in held)]
        given = [name for name in known if name in stored.names]
        if not given:
            name = next((x for x in known if x), None) or array_names([source])
            raise ValueError(
                f"{name!r} has one entry per row and no source: add it, data={{..., {name!r}: ...}}"
                f". Sources are given for {', '.join(map(repr, stored.names))}."
            )
        names.append(given[0])
        _refuse_misfit(stored, given[0], source)
    held = {v for v in leaves(likelihoods) if _may_be_rows(v) and v not in template.variables}
    if left := [v for v in held if len(value_of(v)) == template.n_rows]:
        raise ValueError(
            f"{array_names(left)} has as many entries as the model has rows, and no source: add it "
            f"to data={{...}}. If it is a table, write the model with more or fewer rows than it "
            "has entries."
        )
    if unused := [name for name in stored.names if name not in names]:
        raise ValueError(
            f"data has {', '.join(map(repr, unused))}, which no observed variable depends on, or "
            f"which another name stands for. Row data of the model: {', '.join(map(repr, names))}."
        )
    return replace(template, n_rows=stored.n_rows, stored=stored, names=tuple(names))


def _refuse_misfit(stored: StoredRows, name: str, template: Variable) -> None:
    """Refuse a source whose rows are not like the template's."""
    rows, held = stored.shape(name)[1:], value_of(template).shape[1:]
    if rows != held:
        raise ValueError(
            f"Rows of {name!r} have the shape {rows} in its source and {held} in the model: write "
            "the model with the source's first rows."
        )
    given, dtype = stored.dtype(name), np.dtype(template.type.dtype)
    if given.kind == "f" and dtype.kind != "f":
        raise TypeError(
            f"{name!r} is {given} in its source and {dtype} in the model. Write the model with "
            f"floats, pm.Data({name!r}, first_rows.astype(float)), or store integers."
        )
    if dtype.kind in "iub" and given.kind in "iu":
        values = stored.take(name, stored.extremes(name))
        if (values.astype(dtype) != values).any():
            raise ValueError(
                f"{name!r} holds integers from {values.min()} to {values.max()}, which {dtype}, "
                "its type in the model, does not. Write the model with floats: "
                f"pm.Data({name!r}, first_rows.astype(float))."
            )


def _imputed(model: Model, rv: Named) -> bool:
    name = rv.name.removesuffix("_observed")
    return name != rv.name and f"{name}_unobserved" in model.named_vars


def _rows_of_minibatch(
    model: Model,
    likelihoods: Sequence[Variable],
    minibatches: list[Apply],
    data: Sequence[str] | None,
) -> RowData:
    # The graph may hold copies of one call: they share its random generator.
    calls = {node.inputs[-1] for node in minibatches}
    if len(calls) > 1:
        raise ValueError(
            f"The model has {len(calls)} independent pm.Minibatch calls, whose rows would "
            "not belong together. Slice all arrays in one call: "
            "X_batch, y_batch = pm.Minibatch(X, y, batch_size=...)."
        )
    if data is not None:
        raise ValueError(
            f"data={list(data)!r} was given, but the model's pm.Minibatch already says what "
            "the rows are. Remove data=."
        )
    outputs: list[Variable] = [v for node in minibatches for v in node.outputs[:-1]]
    sources = [v for node in minibatches for v in node.inputs[:-1]]
    lengths = {len(value_of(v)) for v in sources}
    if len(lengths) > 1:
        raise ValueError(
            f"pm.Minibatch slices arrays of different lengths, {sorted(lengths)}: all need one "
            "entry per row."
        )
    (n_rows,) = lengths
    observed: list[Named] = []
    for rv, likelihood in zip(model.observed_RVs, likelihoods, strict=True):
        if not set(outputs) & set(ancestors([likelihood])):
            continue
        observed.append(rv)
        if not isinstance(rv.owner.op, MinibatchRandomVariable):
            raise ValueError(
                f"{rv.name!r} observes a pm.Minibatch without total_size: its likelihood would "
                f"count the batch only. Give total_size={n_rows} to {rv.name!r}."
            )
        total_size: np.ndarray | None = value_of(rv.owner.inputs[1])
        if total_size is None or total_size != n_rows:
            raise ValueError(
                f"{rv.name!r} has total_size={total_size}, but its pm.Minibatch takes rows "
                f"from arrays of length {n_rows}. Give total_size={n_rows}."
            )
    return _collect(outputs, sources, observed, (), n_rows, batch_size=outputs[0].type.shape[0])


def _rows_of_data(
    model: Model, likelihoods: Sequence[Variable], data: Sequence[str] | None
) -> RowData:
    for v in leaves(likelihoods):
        if isinstance(v.type, SparseTensorType):
            raise ValueError(
                f"{v.name or 'An array of the likelihood'} is sparse: its rows can't be taken in "
                "batches. Where its columns are one-hot, write an index in their place: w[codes] "
                "for X @ w, with codes = np.asarray(X.argmax(1)).ravel(), or those of a "
                "pandas.Categorical. Otherwise use a dense array, or batch_size=None."
            )
    candidates = [v for v in leaves(likelihoods) if _may_be_rows(v)]
    values = [model.rvs_to_values[rv] for rv in model.observed_RVs]
    if data is None:
        n_rows = max((len(value_of(v)) for v in values if v.type.ndim), default=0)
        if n_rows == 0 and any(v.type.ndim for v in values):
            names = ", ".join(repr(user_name(model, rv)) for rv in model.observed_RVs)
            raise ValueError(
                f"The data have no rows: {names} of the model is empty. Give data, or use "
                "batch_size=None to sample the prior."
            )
        if n_rows == 0:
            raise ValueError(
                "The observed variables have no rows (they are scalars): use batch_size=None."
            )
        variables = [v for v in candidates if len(value_of(v)) == n_rows]
        _refuse_tables(likelihoods, variables)
    else:
        variables, n_rows = _named_rows(model, candidates, data)
    # An observed value belongs to the rows that its own term depends on.
    observed = []
    for rv, value, likelihood in zip(model.observed_RVs, values, likelihoods, strict=True):
        inputs = set(ancestors([likelihood]))
        if not inputs & set(variables):
            continue
        if not value.type.ndim or len(value_of(value)) != n_rows:
            length = len(value_of(value)) if value.type.ndim else "no"
            raise ValueError(
                f"{rv.name!r} has {length} rows, but depends on row data of length {n_rows} "
                f"({array_names(variables)}). Name the row data of {rv.name!r} with data=[...], "
                "or use batch_size=None."
            )
        observed.append(rv)
        variables += [v for v in leaves([value]) if is_array(v) and v not in variables]
    lengths = tuple(
        dict.fromkeys(
            model.dim_lengths[dims[0]]
            for name in [v.name for v in (*observed, *variables)]
            if (dims := model.named_vars_to_dims.get(name)) and dims[0] is not None
        )
    )
    return _collect(variables, variables, observed, lengths, n_rows)


def _named_rows(
    model: Model, candidates: list[Variable], data: Sequence[str]
) -> tuple[list[Variable], int]:
    given = listed(data)
    named = data if given is None else [v.name if isinstance(v, Variable) else v for v in given]
    data = names("data", named)
    if not data:
        raise ValueError("data is empty: name the row data, or leave data out to have it found.")
    by_name = {v.name: v for v in candidates if v.name is not None}
    for name in data:
        if name not in by_name:
            what = (
                "is not an array that feeds an observed variable"
                if name in model.named_vars
                else "is not in the model"
            )
            known = ", ".join(map(repr, by_name)) or "none; wrap arrays in pm.Data"
            raise ValueError(f"data names {name!r}, which {what}. Row data known by name: {known}.")
    lengths = {name: len(value_of(by_name[name])) for name in data}
    if len(set(lengths.values())) != 1:
        raise ValueError(
            f"data must name arrays of one length, got {lengths}. Name only the arrays that "
            "have one entry per row."
        )
    return [by_name[name] for name in data], next(iter(lengths.values()))


def _refuse_tables(likelihoods: Sequence[Variable], variables: list[Variable]) -> None:
    """Refuse a table that row data index: it is not row data, however long it is."""
    rows = set(variables)
    for v in ancestors(likelihoods):
        if v.owner is None or not isinstance(v.owner.op, AdvancedSubtensor):
            continue
        table, *indices = v.owner.inputs
        leading = v.owner.op.idx_list[0]
        if not isinstance(leading, int):
            continue
        indexed = [x for x in ancestors([table]) if x in rows]
        if indexed and rows & set(values_read(indices[leading])):
            names = [v.name for v in variables if v not in indexed and v.name]
            raise ValueError(
                f"{array_names(indexed)} has as many entries as there are rows and is indexed by "
                f"row data: is it a table of groups, or row data? Say which arrays are row data, "
                f"for example data={names!r}."
            )


def _collect(
    variables: Sequence[Variable],
    sources: Sequence[Variable],
    observed: Sequence[Named],
    lengths: tuple[Variable, ...],
    n_rows: int | None,
    batch_size: int | None = None,
) -> RowData:
    """Let leaves that hold the same array share it: one copy and one gather serve all."""
    distinct: list[Variable] = []
    groups = []
    for source in sources:
        same = (group for group, other in enumerate(distinct) if same_array(source, other))
        group = next(same, len(distinct))
        if group == len(distinct):
            distinct.append(source)
        groups.append(group)
    return RowData(
        tuple(variables), tuple(groups), tuple(distinct), tuple(observed), lengths, n_rows,
        batch_size,
    )  # fmt: skip


def same_array(a: Variable, b: Variable) -> bool:
    """Whether two variables hold the same array: a plain array enters a graph anew at each use."""
    if a is b:
        return True
    if not (isinstance(a, Constant) and isinstance(b, Constant)) or a.type != b.type:
        return False
    return a.data is b.data or np.array_equal(a.data, b.data)


def is_array(variable: Variable) -> bool:
    """Whether a variable is a dense array of data, constant or shared."""
    return (
        isinstance(variable, Constant | SharedVariable)
        and isinstance(variable.type, TensorType)
        and not isinstance(variable.type, SparseTensorType)
        and variable.type.ndim > 0
    )


def _may_be_rows(variable: Variable) -> bool:
    """Whether an array may have one entry per row: weights that are held fixed have none."""
    return is_array(variable) and not getattr(variable.tag, "fixed", False)


def array_names(variables: Sequence[Variable]) -> str:
    """Names of arrays, or their shapes where they have none."""
    return ", ".join(
        repr(v.name) if v.name else f"an array of shape {value_of(v).shape}" for v in variables
    )


def user_name(model: Model, rv: Named) -> str:
    """Name that the user gave a variable, of which PyMC makes two where values are missing."""
    return rv.name.removesuffix("_observed") if _imputed(model, rv) else rv.name
