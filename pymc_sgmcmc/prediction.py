"""Predictions for new rows, and how likely their outcomes are, by every draw of a posterior."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from numbers import Number
from typing import Any

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
from pymc.distributions.moments import mean as mean_of
from pymc.exceptions import UndefinedMomentException
from pymc.model import Model, modelcontext
from pymc.util import get_random_generator
from pytensor.graph.basic import Variable
from pytensor.graph.traversal import ancestors
from pytensor.tensor.random.basic import BernoulliRV, CategoricalRV, NormalRV
from pytensor.tensor.random.op import RandomVariable
from pytensor.tensor.subtensor import AdvancedSubtensor
from xarray import DataArray, DataTree

from pymc_sgmcmc.model.graphs import (
    CANT_COMPILE,
    is_shared_value,
    leaves,
    reason,
    rebuild,
    values_read,
)
from pymc_sgmcmc.model.rows import is_array, value_of
from pymc_sgmcmc.warn import warn_user

_log = logging.getLogger(__name__)

# Numbers that the draws evaluated at once may fill between an input and an output.
_AT_ONCE = 2**24


def predict(
    idata: DataTree,
    data: Mapping[str, Any],
    *,
    var_names: Sequence[str] | None = None,
    model: Model | None = None,
    coords: Mapping[str, Any] | None = None,
    group: str = "posterior",
    dtype: str = "float32",
    random_seed: Any = None,
) -> DataTree:
    """Predict new rows with every draw of a posterior, and score their outcomes if they are given.

    A few draws are evaluated at a time, compiled by JAX where it can, so that little but what is
    returned takes memory: four bytes for each draw, row and class. The model's data stay.

    Parameters
    ----------
    idata : DataTree
        With draws of the model's variables in `group`. Of variables that are computed from others,
        those that were recorded are taken as they are.
    data : mapping of str to array
        Values for the new rows: of each ``pm.Data`` that predictions need, and, by the names of
        observed variables (or of the ``pm.Data`` that they observe), the outcomes, where known.
    var_names : sequence of str, optional
        What to predict: Deterministics; the name of an observed variable for draws of outcomes;
        or parameters of an observed variable ``y`` in its own law: ``y_mean``, ``y_sd`` of a normal
        one, ``y_probability`` of a Bernoulli (of 1) or categorical one (of each class), ``y_mean``
        of others. When None, all of these that depend on the data that are exchanged.
    model : pm.Model, optional
        The model of the ``with`` context when None.
    coords : mapping of str to sequence, optional
        Coordinates of dims whose length changes; 0, 1, 2, ... when left out.
    group : str, default "posterior"
        Where the draws are: "prior" for those of ``pm.sample_prior_predictive``, which show what a
        prior predicts.
    dtype : str, default "float32"
        Of what is returned.
    random_seed : int or numpy.random.Generator, optional
        For draws of outcomes.

    Returns
    -------
    DataTree
        Groups ``predictions`` with `var_names`, ``(chain, draw, row, ...)``; where outcomes are
        given, ``log_likelihood``, in nats, and ``observed_data``; ``predictions_constant_data``.

    Raises
    ------
    ValueError
        If a name is unknown, values are no numbers, of another shape or codes of groups that the
        model has not seen, or draws of a variable are missing; the message says what to write.

    Warns
    -----
    UserWarning
        If outcomes are impossible by every draw.

    See Also
    --------
    pymc_sgmcmc.diagnostics.lppd : The score of outcomes whose log-likelihood is here.
    pymc_sgmcmc.diagnostics.predictive_rhat : Whether the chains agree on the predictions.

    Examples
    --------
    >>> import numpy as np
    >>> import pymc as pm
    >>> from pymc_sgmcmc import ATMC, predict, sample
    >>> from pymc_sgmcmc.diagnostics import lppd
    >>> x = np.linspace(-1, 1, 1_000)
    >>> with pm.Model() as model:
    ...     slope = pm.Normal("slope", 0, 10)
    ...     y = pm.Normal("y", slope * pm.Data("x", x), 0.1, observed=2 * x)
    ...     idata = sample(100, tune=100, step=ATMC(), random_seed=1, progressbar=False)
    >>> new = predict(idata, {"x": [5.0, 10.0], "y": [10.0, 20.0]}, model=model)
    >>> new["predictions"]["y_mean"].mean(("chain", "draw")).values.round().tolist()
    [10.0, 20.0]
    >>> round(float(lppd(new)), 1)
    1.3
    """
    model = modelcontext(model)
    if not isinstance(data, Mapping):
        name = next((v.name for v in model.data_vars), "X")
        raise TypeError(
            f"data must be a dict of new values by name, got {type(data).__name__}: "
            f"predict(idata, {{{name!r}: ...}})."
        )
    prediction = _Prediction(model, idata, dict(data), coords or {}, group, dtype)
    return prediction.run(var_names, get_random_generator(random_seed))


def _as_array(x: Any) -> np.ndarray:
    """An array of new values, nan where they are masked."""
    return x.astype(float).filled(np.nan) if np.ma.is_masked(x) else np.asarray(x)


def _as_numbers(name: str, x: np.ndarray, held: str) -> np.ndarray:
    """New values as numbers; an array of objects, as a frame of bool and float columns is, too."""
    numbers, strange = x, x
    if x.dtype == object:
        known = DataArray(x).fillna(np.nan).values
        strange = np.array([v for v in known.ravel() if not isinstance(v, Number | np.bool_)])
        if not strange.size:
            numbers = np.array(known.tolist())
            numbers = numbers.astype(float) if numbers.dtype == object else numbers
    if numbers.dtype.kind not in "biufc":
        raise ValueError(
            f"{name!r} holds {held} in the model, and was given {x.dtype}: "
            f"{strange.ravel()[:1].tolist()}... Give numbers; labels as the codes that the model "
            "was built with (series.cat.codes)."
        )
    missing = np.argwhere(np.isnan(numbers))
    if len(missing):
        raise ValueError(
            f"{name!r} is nan in {len(missing)} places, the first at {missing[0].tolist()} (row "
            "first): leave such rows out, or fill in what is missing."
        )
    return numbers


def _like(variable: Any, x: np.ndarray) -> np.ndarray:
    """New values of a ``pm.Data``, in its dtype."""
    _refuse_axes(variable.name, x, variable.type.ndim)
    dtype = np.dtype(variable.type.dtype)
    x = _as_numbers(variable.name, x, str(dtype))
    if not np.can_cast(x.dtype, dtype, "same_kind"):
        raise ValueError(
            f"{variable.name!r} holds {dtype} in the model, and was given {x.dtype}, which would "
            f"be cut off. Use pm.Data({variable.name!r}, values.astype(float))."
        )
    with np.errstate(over="ignore"):
        taken = x.astype(dtype)
    fits = taken == x if dtype.kind in "iu" else np.isfinite(taken) | ~np.isfinite(x)
    if not fits.all():
        highest = (np.iinfo if dtype.kind in "iu" else np.finfo)(dtype).max
        raise ValueError(
            f"{variable.name!r} holds {dtype} in the model, up to {highest}, and was given "
            f"numbers from {x.min()} to {x.max()}. Use pm.Data({variable.name!r}, "
            "values.astype(float))."
        )
    return taken


def _refuse_axes(name: str, x: np.ndarray, ndim: int) -> None:
    if x.ndim != ndim:
        raise ValueError(
            f"{name!r} has {ndim} axes in the model, and was given an array of shape {x.shape}."
        )


def _refuse_fractions(name: str, y: np.ndarray) -> None:
    """Raise an error for outcomes between whole numbers, where the law is of those."""
    between = np.argwhere(y != np.round(y))
    if len(between):
        where = between[0].tolist()
        raise ValueError(
            f"{name!r} is {y[tuple(where)]} at {where}, and whole numbers in the model: give "
            "outcomes as they were observed, not probabilities."
        )


def _refuse_beyond(variable: Any, codes: np.ndarray, entries: int, of: str | None) -> None:
    """Raise an error where a code is of no entry, or counts from the end as none did before."""
    lowest = 0 if (variable.get_value(borrow=True) >= 0).all() else -entries
    beyond = np.argwhere((codes < lowest) | (codes >= entries))
    if len(beyond):
        where = beyond[0].tolist()
        code = codes[tuple(where)]
        missing = " (pandas' code of what is in no category)" if code == -1 else ""
        raise ValueError(
            f"{variable.name!r} is {code}{missing} at {where}, and what it picks from"
            f"{f', {of!r},' if of else ''} has the entries 0 to {entries - 1}: the model has not "
            "seen such a group. Leave such rows out, or draw the group's effect from its prior."
        )


def _axes(shape: tuple[int, ...]) -> str:
    """Columns of a table, or the shape of another array."""
    return f"{shape[1]} columns" if len(shape) == 2 else f"the shape {shape}"


def _warn_of_impossible(name: str, y: np.ndarray, log_likelihood: np.ndarray) -> None:
    """Warn of outcomes that no draw of the posterior allows, as 2 where the law is of 0 and 1."""
    impossible = np.argwhere(np.isneginf(log_likelihood).all((0, 1)))
    if len(impossible):
        where = impossible[0].tolist()
        value = f" is {y[tuple(where)]}" if y.ndim == len(where) else ""
        warn_user(
            f"{name!r}{value} at {where}, which has probability 0 by every draw: log-likelihoods "
            f"of {len(impossible)} rows are -inf, and so are scores. Is it coded as in the model?",
        )


def _observed_data(model: Model, rv: Any) -> Any:
    """Data behind an observed variable, below the change of type that PyMC may put on top."""
    value = model.rvs_to_values[rv]
    data = leaves([value])
    return data[0] if len(data) == 1 else value


class _Prediction:
    """Graphs of what is predicted, as functions of draws and of the new rows."""

    def __init__(
        self,
        model: Model,
        idata: DataTree,
        data: dict[str, Any],
        coords: Mapping[str, Any],
        group: str,
        dtype: str,
    ) -> None:
        if not isinstance(idata, DataTree):
            raise TypeError(
                "predict needs the DataTree that pm.sample or pymc_sgmcmc.sample gave, got "
                f"{type(idata).__name__}: predict(idata, {{...}})."
            )
        if group not in idata.children:
            raise ValueError(
                f"idata has no group {group!r}, only {', '.join(map(repr, idata.children))}."
            )
        self.model, self.posterior, self.dtype = model, idata[group], dtype
        self.observed = {rv.name: rv for rv in model.observed_RVs}
        self.shared = {
            v.name: v for v in model.data_vars if is_shared_value(v) and v.name in model.named_vars
        }
        for name in data:
            if name not in self.observed and name not in self.shared:
                known = ", ".join(map(repr, [*self.shared, *self.observed]))
                raise ValueError(
                    f"data has {name!r}, which is no pm.Data and no observed variable of the "
                    f"model. They are: {known}. Write pm.Data({name!r}, ...) in the model for "
                    "what is to be exchanged."
                )
        # The data behind an observed variable are its outcomes.
        outcome_of = {_observed_data(model, rv).name: rv.name for rv in model.observed_RVs}
        data = {outcome_of.get(k, k): _as_array(x) for k, x in data.items()}
        for name, x in data.items():
            if x.ndim and not len(x):
                raise ValueError(f"{name!r} has no rows: there is nothing to predict.")
        self.outcomes = {k: data.pop(k) for k in list(data) if k in self.observed}
        self.values = {self.shared[k]: _like(self.shared[k], x) for k, x in data.items()}
        for name, x in self.outcomes.items():
            rv = self.observed[name]
            _refuse_axes(name, x, rv.type.ndim)
            held = "0/1" if isinstance(rv.owner.op, BernoulliRV) else rv.type.dtype
            self.outcomes[name] = _as_numbers(name, x, held)
            if np.dtype(rv.type.dtype).kind in "iu":
                _refuse_fractions(name, self.outcomes[name])
        lengths = self._lengths(coords)
        self._refuse_other_rows()
        self.values |= lengths
        self.coords = dict(coords)

    def _refuse_other_rows(self) -> None:
        """Raise an error where outcomes and data that are as long as they were are now not."""
        for name, y in self.outcomes.items():
            before = _observed_data(self.model, self.observed[name])
            if not y.ndim or not is_array(before):
                continue
            rows = len(value_of(before))
            for v, x in self.values.items():
                old = v.get_value(borrow=True)
                if x.ndim and len(old) == rows and len(x) != len(y):
                    raise ValueError(
                        f"{v.name!r} has {len(x)} rows, and {name!r} has {len(y)}: give both for "
                        "the same rows."
                    )

    def _other_shapes(self) -> str:
        """Data whose rows are not as they were in the model, in words."""
        found = [
            f"{v.name!r} has {_axes(old.shape)} in the model, and was given {_axes(x.shape)}"
            for v, x in self.values.items()
            if v.name in self.shared and x.shape[1:] != (old := v.get_value(borrow=True)).shape[1:]
        ]
        return "; ".join(found)

    def _lengths(self, coords: Mapping[str, Any]) -> dict[Any, np.ndarray]:
        """New lengths of the dims of the data that are exchanged."""
        lengths: dict[str, int] = {k: len(x) for k, x in coords.items()}
        named = {v.name: x for v, x in self.values.items()} | self.outcomes
        for name, x in named.items():
            dims = self.model.named_vars_to_dims.get(name, (None,) * x.ndim)
            for dim, n in zip(dims, x.shape, strict=True):
                if dim is not None and lengths.setdefault(dim, n) != n:
                    raise ValueError(
                        f"{name!r} has {n} entries along {dim!r}, where other data have "
                        f"{lengths[dim]}."
                    )
        known = self.model.dim_lengths
        return {
            known[dim]: np.asarray(n, known[dim].type.dtype)
            for dim, n in lengths.items()
            if dim in known and is_shared_value(known[dim]) and n != int(known[dim].get_value())
        }

    def run(self, var_names: Sequence[str] | None, rng: np.random.Generator) -> DataTree:
        """Evaluate what is asked for."""
        asked = self._asked(var_names)
        try:
            return self._run(asked, rng)
        except Exception as error:
            shapes = self._other_shapes()
            if not shapes:
                raise
            raise ValueError(f"{shapes}. The model can't be evaluated with those.") from error

    def _run(self, asked: dict[str, Variable], rng: np.random.Generator) -> DataTree:
        from arviz_base import dict_to_dataset

        sampled = {k: _resized(v) for k, v in asked.items() if k in self.observed}
        computed = {k: v for k, v in asked.items() if k not in self.observed}
        scores = {
            k: pm.logp(_resized(self.observed[k]), pt.as_tensor(x))
            for k, x in self.outcomes.items()
        }
        graphs = [*computed.values(), *scores.values()]
        results = self._evaluate(graphs) if graphs else []
        predictions = dict(zip(computed, results, strict=False))
        likelihood = dict(zip(scores, results[len(computed) :], strict=True))
        for name, x in likelihood.items():
            _warn_of_impossible(name, self.outcomes[name], x)
        if sampled:
            predictions |= zip(sampled, self._draw(list(sampled.values()), rng), strict=True)

        dims = self._dims([*predictions, *likelihood])
        changed = {d for d, n in self.model.dim_lengths.items() if n in self.values}
        known = {k: v for k, v in self.model.coords.items() if v is not None and k not in changed}
        coords: dict[Any, Any] = {k: np.asarray(v) for k, v in {**known, **self.coords}.items()}
        coords |= {d: self.posterior.dataset[d].values for d in ("chain", "draw")}
        groups: dict[str, Any] = {}
        for group, arrays, sample_dims in (
            ("predictions", predictions, ["chain", "draw"]),
            ("log_likelihood", likelihood, ["chain", "draw"]),
            ("observed_data", self.outcomes, []),
            (
                "predictions_constant_data",
                {v.name: x for v, x in self.values.items() if v.name in self.shared},
                [],
            ),
        ):
            if arrays:
                array_dims: Any = {k: dims.get(k, self._own_dims(k)) for k in arrays}
                lead = len(sample_dims)
                lengths = {
                    (d, n)
                    for k, x in arrays.items()
                    for d, n in zip(array_dims[k], np.shape(x)[lead:], strict=False)
                }
                # Labels of rows that went with the old data.
                old = {d for d, n in lengths if d in coords and len(coords[d]) != n}
                groups[f"/{group}"] = dict_to_dataset(
                    arrays,
                    inference_library=pm,
                    coords={d: x for d, x in coords.items() if d not in old},
                    dims=array_dims,
                    sample_dims=sample_dims,
                    check_conventions=False,
                )
        return DataTree.from_dict(groups)

    # -- what is asked for -----------------------------------------------------------------------

    def _asked(self, var_names: Sequence[str] | None) -> dict[str, Variable]:
        parameters = {k: v for rv in self.model.observed_RVs for k, v in _parameters(rv).items()}
        if var_names is None:
            changed = {v for v in self.values if v.name in self.shared}
            return {k: v for k, v in parameters.items() if changed & set(values_read(v))}
        if isinstance(var_names, str):
            raise TypeError(f"var_names must be a list of names: var_names=[{var_names!r}].")
        deterministics = {v.name: v for v in self.model.deterministics}
        known = {**self.observed, **parameters, **deterministics}
        for name in var_names:
            if name not in known:
                raise ValueError(
                    f"var_names has {name!r}. What can be predicted: {', '.join(map(repr, known))}."
                )
        return {name: known[name] for name in var_names}

    def _own_dims(self, name: str) -> list[str]:
        return list(self.model.named_vars_to_dims.get(name, ()))

    def _dims(self, names: Sequence[str]) -> dict[str, list[str]]:
        """Dims of the parameters of observed variables: theirs, and one for the classes."""
        dims: dict[str, list[str]] = {}
        for rv in self.model.observed_RVs:
            rows = [d or f"{rv.name}_dim_{i}" for i, d in enumerate(self._own_dims(rv.name))]
            rows = rows or [f"{rv.name}_dim_{i}" for i in range(rv.type.ndim)]
            dims[rv.name] = rows
            for name, parameter in _parameters(rv).items():
                classes = isinstance(rv.owner.op, CategoricalRV)
                named = [*rows, f"{rv.name}_class"] if classes else rows
                if len(named) == parameter.type.ndim:
                    dims[name] = named
        return {name: dims[name] for name in names if name in dims}

    # -- how it is evaluated ---------------------------------------------------------------------

    def _graph(self, outputs: Sequence[Variable]) -> tuple[list[Any], list[Any], list[Any]]:
        """Recorded variables and data that the outputs need, and the outputs as their functions."""
        recorded = self._recorded(outputs)
        missing = [
            v.name
            for v in self.model.free_RVs
            if v not in recorded and v in set(ancestors(outputs, blockers=recorded))
        ]
        if missing:
            free = [v.name for v in self.model.free_RVs]
            raise ValueError(
                f"The {self.posterior.name} has no draws of {', '.join(map(repr, missing))}, which "
                f"predictions need. Sample with var_names={free!r}, or without var_names."
            )
        inputs = [
            pt.tensor(v.name, dtype=v.type.dtype, shape=self.posterior[v.name].shape[2:])
            for v in recorded
        ]
        data = [v for v in leaves(outputs, blockers=recorded) if is_shared_value(v)]
        self._refuse_old_rows(data)
        held = [self.values.get(v, v.get_value(borrow=True)) for v in data]
        symbols = [
            pt.tensor(v.name, dtype=v.type.dtype, shape=np.shape(x))
            for v, x in zip(data, held, strict=True)
        ]
        replacements: dict[Any, Any] = dict(zip(recorded, inputs, strict=True))
        replacements |= zip(data, symbols, strict=True)
        graphs = rebuild(list(outputs), replacements)
        self._refuse_unknown_codes(graphs, dict(zip(symbols, data, strict=True)))
        return recorded, [symbols, held, inputs], graphs

    def _refuse_unknown_codes(self, graphs: Sequence[Variable], data: Mapping[Any, Any]) -> None:
        """Raise an error for codes beyond the entries that they pick: JAX takes the nearest."""
        new = {symbol: v for symbol, v in data.items() if v in self.values}
        for node in {v.owner for v in ancestors(graphs) if v.owner is not None}:
            if not isinstance(node.op, AdvancedSubtensor):
                continue
            table, *indices = node.inputs
            for axis, place in enumerate(node.op.idx_list):
                v = new.get(indices[place]) if isinstance(place, int) else None
                if v is not None and axis < table.type.ndim and table.type.shape[axis] is not None:
                    _refuse_beyond(v, self.values[v], table.type.shape[axis], table.name)

    def _refuse_old_rows(self, data: Sequence[Any]) -> None:
        """Raise an error where data that are as long as the old rows were given no new values."""
        dims = self.model.named_vars_to_dims
        changed = {d for d, n in self.model.dim_lengths.items() if n in self.values}
        lengths = {
            (v.get_value(borrow=True).shape[0], len(x))
            for v, x in self.values.items()
            if v.name in self.shared and np.ndim(x)
        }
        old = {before for before, now in lengths if before != now}
        for v in data:
            if v in self.values or v.name not in self.shared:
                continue
            shape = v.get_value(borrow=True).shape
            if changed & set(dims.get(v.name, ())) or (shape and shape[0] in old):
                raise ValueError(
                    f"What is to be predicted depends on {v.name!r} as well, which has "
                    f"{shape[0]} rows. Give its values for the new rows: "
                    f"data={{..., {v.name!r}: ...}}, or predict something else: var_names=[...]."
                )

    def _recorded(self, outputs: Sequence[Variable]) -> list[Any]:
        """Variables of the model nearest to the outputs whose draws can be taken as they are."""
        changed = set(self.values)
        asked = set(outputs)
        usable = [
            v
            for name, v in self.model.named_vars.items()
            if name in self.posterior.data_vars
            and v not in asked
            and not changed & set(values_read(v))
        ]
        needed = set(ancestors(outputs, blockers=usable))
        return [v for v in usable if v in needed]

    def _draws(self, variables: Sequence[Variable]) -> list[np.ndarray]:
        """Draws of the variables, chains one after another, as they were recorded."""
        dataset = self.posterior.dataset
        values = [dataset[str(v.name)].values for v in variables]
        return [x.reshape(-1, *x.shape[2:]) for x in values]

    def _evaluate(self, outputs: Sequence[Variable]) -> list[np.ndarray]:
        recorded, (symbols, held, inputs), graphs = self._graph(outputs)
        graphs = [g.astype(self.dtype) if g.type.dtype.startswith("float") else g for g in graphs]
        draws = self._draws(recorded)
        try:
            found = self._by_jax(inputs, symbols, graphs, draws, held)
        except CANT_COMPILE as error:
            _log.warning(
                "JAX can't compile what is to be predicted (%s): one draw is computed after "
                "another, which is slow.",
                reason(error),
            )
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Numba will use object mode")
                function = pytensor.function(
                    [*inputs, *symbols], graphs, on_unused_input="ignore", trust_input=True
                )
            each = [function(*draw, *held) for draw in _one_by_one(inputs, draws)]
            found = [np.stack(x) for x in zip(*each, strict=True)]
        return [self._by_chain(x) for x in found]

    def _by_jax(
        self, inputs: Any, symbols: Any, graphs: Any, draws: list[np.ndarray], held: Any
    ) -> list[np.ndarray]:
        import jax

        from pymc_sgmcmc.engines.jax.functions import jax_function

        wide = any(v.type.dtype == "float64" for v in [*inputs, *symbols])
        function = jax_function([*inputs, *symbols], graphs)
        rows = max((len(x) for x in held if np.ndim(x)), default=1)
        n = len(draws[0])
        # A row becomes as many numbers on its way as the weights have columns.
        width = sum(v.type.shape[-1] for v in inputs if v.type.ndim) + 1
        size = int(np.clip(_AT_ONCE // (rows * width), 1, min(n, 1024)))
        with jax.enable_x64(wide):
            compiled = jax.jit(jax.vmap(function, (0,) * len(inputs) + (None,) * len(symbols)))
            data = [jax.device_put(x) for x in held]
            found: list[np.ndarray] = []
            for first in range(0, n, size):
                part = [
                    x[first : first + size].astype(v.type.dtype)
                    for v, x in zip(inputs, draws, strict=True)
                ]
                kept = len(part[0])
                if kept < size:  # nothing compiles twice
                    part = [np.concatenate([x, np.repeat(x[-1:], size - kept, 0)]) for x in part]
                values = compiled(*part, *data)
                if not found:
                    found = [np.empty((n, *x.shape[1:]), x.dtype) for x in values]
                for all_draws, x in zip(found, values, strict=True):
                    all_draws[first : first + kept] = np.asarray(x)[:kept]
        return found

    def _draw(self, outputs: list[Variable], rng: np.random.Generator) -> list[np.ndarray]:
        """Outcomes, drawn one draw of the posterior after another."""
        recorded, (symbols, held, inputs), graphs = self._graph(outputs)
        function = pm.compile(
            [*inputs, *symbols],
            graphs,
            random_seed=int(rng.integers(2**30)),
            on_unused_input="ignore",
        )
        each = [function(*draw, *held) for draw in _one_by_one(inputs, self._draws(recorded))]
        found = [np.stack(x) for x in zip(*each, strict=True)]
        return [self._by_chain(x.astype(self.dtype) if x.dtype.kind == "f" else x) for x in found]

    def _by_chain(self, x: np.ndarray) -> np.ndarray:
        sizes = self.posterior.sizes
        return x.reshape(sizes["chain"], sizes["draw"], *x.shape[1:])


def _one_by_one(inputs: Sequence[Any], draws: list[np.ndarray]) -> Iterator[list[np.ndarray]]:
    """Each draw, in the dtypes of the inputs."""
    dtypes = [v.type.dtype for v in inputs]
    for draw in zip(*draws, strict=True):
        yield [np.asarray(x, dtype) for x, dtype in zip(draw, dtypes, strict=True)]


def _parameters(rv: Any) -> dict[str, Variable]:
    """Parameters of an observed variable's law, by the names that predictions have."""
    op, name = rv.owner.op, rv.name
    if isinstance(op, NormalRV):
        parameters: Any = op.dist_params(rv.owner)
        mean, sd = pt.broadcast_arrays(*parameters)
        return {f"{name}_mean": mean, f"{name}_sd": sd}
    if isinstance(op, BernoulliRV):
        return {f"{name}_probability": op.dist_params(rv.owner)[0]}
    if isinstance(op, CategoricalRV):
        return {f"{name}_probability": op.dist_params(rv.owner)[0]}
    try:
        return {f"{name}_mean": mean_of(_resized(rv))}
    except (NotImplementedError, UndefinedMomentException):
        return {}


def _resized(rv: Any) -> Any:
    """The same variable with as many rows as its parameters have, whatever was observed."""
    op = rv.owner.op
    if not isinstance(op, RandomVariable):
        return rv
    parameters = op.dist_params(rv.owner)
    by_row = any(
        p.type.ndim - of_one >= rv.type.ndim - op.ndim_supp > 0
        for p, of_one in zip(parameters, op.ndims_params, strict=True)
    )
    if not by_row:
        return rv
    return op(*parameters, size=None, rng=op.rng_param(rv.owner), return_next_rng=True)[1]
