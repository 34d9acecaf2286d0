"""From positions to the DataTree that `pm.sample` returns."""

from __future__ import annotations

import functools
import logging
import math
import warnings
from collections.abc import Mapping, Sequence
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
from pytensor.graph.basic import Variable
from xarray import DataTree

from pymc_sgmcmc.model.graphs import CANT_COMPILE, is_shared_value, leaves, reason, rebuild
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
        if isinstance(var_names, str):
            raise TypeError(
                f"var_names must be a list of names, got {var_names!r}: "
                f"write var_names=[{var_names!r}]."
            )
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
        self._function: Any = None
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
            for name, x in zip(self._derived, self._derive(flat), strict=True):
                x = x.astype(self._derived[name].type.dtype, copy=False)
                recorded[name] = x.reshape(*lead, *x.shape[1:])
        return {name: recorded[name] for name in self.names}

    def _derive(self, values: list[np.ndarray]) -> list[np.ndarray]:
        """Evaluate in chunks of one size, so that memory stays small and nothing compiles twice."""
        n = len(values[0])
        pieces = []
        for start in range(0, n, self._chunk):
            piece = [x[start : start + self._chunk] for x in values]
            short = self._chunk - len(piece[0])
            if short:
                piece = [np.concatenate([x, np.repeat(x[-1:], short, axis=0)]) for x in piece]
            pieces.append([x[: self._chunk - short] for x in self._evaluate(piece)])
        return [np.concatenate(xs) for xs in zip(*pieces, strict=True)]

    @functools.cached_property
    def _chunk(self) -> int:
        return int(min(1024, max(1, _CHUNK_BYTES // output_bytes(self._model, self.names))))

    def _evaluate(self, values: list[np.ndarray]) -> list[np.ndarray]:
        """Derived variables of values with a leading draw axis, by JAX where it can."""
        if self._function is None:
            try:
                function = self._jax_function()
                result = function(values)
            except CANT_COMPILE as error:
                names = ", ".join(map(repr, self._unknown_to_jax(values) or self._derived))
                _log.warning(
                    "JAX can't compile %s (%s): Deterministics are computed one draw after "
                    "another, which is slow. Leave out what is not needed: var_names=[...].",
                    names,
                    reason(error),
                )
                self._function = self._pytensor_function()
            else:
                self._function = function
                return result
        return self._function(values)

    def _unknown_to_jax(self, values: list[np.ndarray]) -> list[str]:
        """Names of the derived variables that JAX can't compile."""
        unknown = []
        for name, variable in self._derived.items():
            try:
                self._jax_function([variable])([x[:1] for x in values])
            except CANT_COMPILE:
                unknown.append(name)
        return unknown

    def _jax_function(self, outputs: Sequence[Variable] | None = None) -> Any:
        import jax

        from pymc_sgmcmc.engines.jax.functions import jax_function

        inputs, data, held, graphs = self._graph(outputs)
        wide = any(v.type.dtype == "float64" for v in inputs)
        function = jax_function([*inputs, *data], graphs)
        axes = (0,) * len(inputs) + (None,) * len(data)
        vectorised = jax.jit(jax.vmap(function, in_axes=axes))

        def evaluate(values: list[np.ndarray]) -> list[np.ndarray]:
            with jax.enable_x64(wide):
                return [np.asarray(x) for x in vectorised(*values, *held)]

        return evaluate

    def _pytensor_function(self) -> Any:
        inputs, data, held, graphs = self._graph()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Numba will use object mode")
            function = pytensor.function([*inputs, *data], graphs, on_unused_input="ignore")

        # One draw at a time: a length may depend on the values.
        def evaluate(values: list[np.ndarray]) -> list[np.ndarray]:
            draws = [function(*draw, *held) for draw in zip(*values, strict=True)]
            each = zip(self._derived, zip(*draws, strict=True), strict=True)
            return [_stacked(name, xs) for name, xs in each]

        return evaluate

    def _graph(
        self, outputs: Sequence[Variable] | None = None
    ) -> tuple[list[Variable], list[Any], list[np.ndarray], list[Variable]]:
        """Value variables, shared data and its values, and the derived variables of those two."""
        outputs = list(self._derived.values() if outputs is None else outputs)
        shared = [v for v in leaves(outputs) if is_shared_value(v)]
        held = [v.get_value() for v in shared]
        data = [
            pt.tensor(dtype=v.type.dtype, shape=x.shape) for v, x in zip(shared, held, strict=True)
        ]
        graphs = rebuild(outputs, dict(zip(shared, data, strict=True)))
        return self._model.value_vars, data, held, graphs


def _stacked(name: str, draws: Sequence[np.ndarray]) -> np.ndarray:
    """Draws of a derived variable as one array."""
    shapes = sorted({np.shape(x) for x in draws})
    if len(shapes) > 1:
        raise ValueError(
            f"{name!r} has the shape {shapes[0]} in one draw and {shapes[-1]} in another: an array "
            "can't hold both. Leave it out with var_names=[...], or give it one shape."
        )
    return np.stack(draws)


def output_bytes(model: Model, var_names: Sequence[str] | None = None) -> int:
    """Bytes that one draw of the recorded variables takes."""
    variables = [
        v
        for v in model.unobserved_value_vars
        if not is_transformed_name(v.name) and (var_names is None or v.name in var_names)
    ]
    point = model.initial_point(0)
    shapes = pytensor.function(
        model.value_vars,
        [v.shape for v in variables],
        mode="FAST_COMPILE",
        on_unused_input="ignore",
    )(*(point[v.name] for v in model.value_vars))
    return max(8, sum(8 * math.prod(map(int, shape)) for shape in shapes))


def warn_of_large_output(
    model: Model, n_draws: int, var_names: Sequence[str] | None = None
) -> None:
    """Warn if the recorded variables of `n_draws` draws in all fill more than about 1 GB."""
    total = n_draws * output_bytes(model, var_names)
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
    from arviz_base import dict_to_dataset

    coords, dims = coords_and_dims_for_inferencedata(model)

    def dataset(arrays: Mapping[str, np.ndarray], **kwargs: Any) -> Any:
        return dict_to_dataset(
            dict(arrays),
            inference_library=pm,
            coords=coords,
            dims=dims,
            check_conventions=False,  # more chains than draws are normal here
            **kwargs,
        )

    def part(arrays: Mapping[str, np.ndarray], draws: slice) -> Any:
        return dataset({k: x[:, draws] for k, x in arrays.items()}, attrs=dict(attributes))

    groups = {}
    if keep_tuning and n_tune:
        groups["warmup_posterior"] = part(posterior, slice(n_tune))
        groups["warmup_sample_stats"] = part(sample_stats, slice(n_tune))
    if not n_tune or next(iter(sample_stats.values())).shape[1] > n_tune:
        groups["posterior"] = part(posterior, slice(n_tune, None))
        groups["sample_stats"] = part(sample_stats, slice(n_tune, None))
    for name, arrays in (
        ("observed_data", find_observations(model)),
        ("constant_data", find_constants(model)),
    ):
        if arrays:
            groups[name] = dataset(arrays, sample_dims=[])
    return DataTree.from_dict({f"/{name}": group for name, group in groups.items()})
