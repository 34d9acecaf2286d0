"""From positions to the DataTree that `pm.sample` returns."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
from pymc.backends.arviz import (
    coords_and_dims_for_inferencedata,
    find_constants,
    find_observations,
)
from pymc.model import Model
from pymc.util import is_transformed_name
from xarray import Dataset, DataTree

from pymc_sgmcmc.arguments import names
from pymc_sgmcmc.evaluate import Evaluator
from pymc_sgmcmc.model.graphs import is_shared_value, leaves, reason, rebuild
from pymc_sgmcmc.model.interpreted import INTERPRETED
from pymc_sgmcmc.warn import warn_user

_log = logging.getLogger(__name__)

_WARN_BYTES = 1e9
_CHUNK_BYTES = 2**26


class Recorder:
    """Turns positions into the variables of the posterior group, all draws of a chunk at once.

    Parameters
    ----------
    model : pm.Model
    var_names : sequence of str, optional
        Free variables and Deterministics to record; all when None.

    Raises
    ------
    ValueError, TypeError
        If a name is not in the model, or the names are not a list.
    """

    def __init__(self, model: Model, var_names: Sequence[str] | None = None) -> None:
        if var_names is not None:
            var_names = names("var_names", var_names)
        known = {v.name: v for v in model.unobserved_value_vars if not is_transformed_name(v.name)}
        for name in known if var_names is None else var_names:
            if name not in known:
                raise ValueError(
                    f"var_names has {name!r}, which is no free variable or Deterministic of the "
                    f"model. They are: {', '.join(map(repr, known))}."
                )
        recorded = {k: v for k, v in known.items() if var_names is None or k in var_names}
        value_names = {v.name for v in model.value_vars}
        self._plain = [name for name in recorded if name in value_names]
        self._derived = {k: v for k, v in recorded.items() if k not in value_names}
        self._model = model
        self.names = tuple(recorded)

    def __call__(self, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Recorded variables of value variables; ``(chains, draws, ...)`` all of them."""
        recorded = {name: values[name] for name in self._plain}
        if self._derived:
            lead = next(iter(values.values())).shape[:2]
            flat = [
                values[v.name].reshape(-1, *values[v.name].shape[2:])
                for v in self._model.value_vars
            ]
            for name, x in zip(self._derived, self._evaluate(flat), strict=True):
                x = x.astype(self._derived[name].type.dtype, copy=False)
                recorded[name] = x.reshape(*lead, *x.shape[1:])
        return {name: recorded[name] for name in self.names}

    @functools.cached_property
    def _chunk(self) -> int:
        return int(min(1024, max(1, _CHUNK_BYTES // output_bytes(self._model, self.names))))

    @functools.cached_property
    def _evaluate(self) -> Evaluator:
        """Derived variables of value variables, with the data as they are at the first draws."""
        shared = [v for v in leaves(list(self._derived.values())) if is_shared_value(v)]
        held = [v.get_value() for v in shared]
        data = [
            pt.tensor(dtype=v.type.dtype, shape=x.shape) for v, x in zip(shared, held, strict=True)
        ]
        graphs = rebuild(list(self._derived.values()), dict(zip(shared, data, strict=True)))
        return Evaluator(
            self._model.value_vars,
            dict(zip(self._derived, graphs, strict=True)),
            dict(zip(data, held, strict=True)),
            self._chunk,
            self._tell,
        )

    def _tell(self, error: Exception, unknown: Callable[[], list[str]]) -> None:
        _log.warning(
            "JAX can't compile %s (%s): Deterministics are computed one draw after "
            "another, which is slow. Leave out what is not needed: var_names=[...].",
            ", ".join(map(repr, unknown() or self._derived)),
            reason(error),
        )


def output_bytes(
    model: Model,
    var_names: Sequence[str] | None = None,
    point: Mapping[str, np.ndarray] | None = None,
) -> int:
    """Bytes that one draw of the recorded variables takes, by shapes at the initial point."""
    variables = [
        v
        for v in model.unobserved_value_vars
        if not is_transformed_name(v.name) and (var_names is None or v.name in var_names)
    ]
    shapes = [v.type.shape for v in variables if None not in v.type.shape]
    if unknown := [v.shape for v in variables if None in v.type.shape]:
        point = point or model.initial_point(0)
        function = pytensor.function(
            model.value_vars, unknown, mode=INTERPRETED, on_unused_input="ignore"
        )
        shapes += function(*(point[v.name] for v in model.value_vars))
    return max(8, sum(8 * math.prod(map(int, shape)) for shape in shapes))


def warn_of_large_output(
    model: Model,
    n_draws: int,
    var_names: Sequence[str] | None = None,
    point: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Warn if the recorded variables of `n_draws` draws in all fill more than about 1 GB."""
    total = n_draws * output_bytes(model, var_names, point)
    if total > _WARN_BYTES:
        names = [v.name for v in model.free_RVs]
        warn_user(
            f"{n_draws:,} draws of all variables take {total / 1e9:.1f} GB, unless var_names "
            f"leaves some out. Leave large Deterministics out with var_names={names!r}, and "
            "compute them from the posterior.",
        )


def to_datatree(
    model: Model,
    posterior: Mapping[str, np.ndarray],
    sample_stats: Mapping[str, np.ndarray],
    n_tune: int,
    attributes: Mapping[str, Any],
    keep_tuning: bool,
) -> DataTree:
    """DataTree with the groups, dims and coords that `pm.sample` gives.

    Parameters
    ----------
    model : pm.Model
    posterior, sample_stats : mapping of str to ndarray
        Arrays ``(chains, tuning draws + draws, ...)``, or without the tuning draws.
    n_tune : int
        Leading draws that are tuning draws.
    attributes : mapping
        Attributes of the groups of draws.
    keep_tuning : bool
        Whether tuning draws go to groups of their own or away.

    Returns
    -------
    xarray.DataTree
    """

    def part(arrays: Mapping[str, np.ndarray], draws: slice) -> Any:
        return dataset_of(model, {k: x[:, draws] for k, x in arrays.items()}, attributes)

    groups = {}
    if keep_tuning and n_tune:
        groups["warmup_posterior"] = part(posterior, slice(n_tune))
        groups["warmup_sample_stats"] = part(sample_stats, slice(n_tune))
    if not n_tune or next(iter(sample_stats.values())).shape[1] > n_tune:
        groups["posterior"] = part(posterior, slice(n_tune, None))
        groups["sample_stats"] = part(sample_stats, slice(n_tune, None))
    groups |= data_groups(model)
    return DataTree.from_dict({f"/{name}": group for name, group in groups.items()})


def dataset_of(
    model: Model, arrays: Mapping[str, np.ndarray], attributes: Mapping[str, Any]
) -> Dataset:
    """Draws of a group, ``(chains, draws, ...)``, with the model's dims and coords."""
    return _dataset(model, arrays, attrs=dict(attributes))


def data_groups(model: Model) -> dict[str, Dataset]:
    """Groups of a model's data: ``observed_data`` and ``constant_data``, if there are any."""
    found = {"observed_data": find_observations(model), "constant_data": find_constants(model)}
    return {k: _dataset(model, arrays, sample_dims=[]) for k, arrays in found.items() if arrays}


def _dataset(model: Model, arrays: Mapping[str, np.ndarray], **kwargs: Any) -> Dataset:
    from arviz_base import dict_to_dataset

    coords, dims = coords_and_dims_for_inferencedata(model)
    return dict_to_dataset(
        dict(arrays),
        inference_library=pm,
        coords=coords,
        dims=dims,
        check_conventions=False,  # more chains than draws are normal here
        **kwargs,
    )
