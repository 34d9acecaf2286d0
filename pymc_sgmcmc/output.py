"""From positions to the DataTree that `pm.sample` returns."""

from __future__ import annotations

import functools
import math
import warnings
import weakref
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

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
from pytensor.graph.replace import vectorize_graph
from xarray import DataTree

from pymc_sgmcmc.graphs import is_shared_value, leaves, rebuild

if TYPE_CHECKING:
    from pymc_sgmcmc.chains import Sampler

_WARN_BYTES = 1e9
_CHUNK_BYTES = 2**26

SAMPLE_GROUPS = ("posterior", "sample_stats", "warmup_posterior", "warmup_sample_stats")


class Recorder:
    """Turns positions into the variables of the posterior group, all draws of a chunk at once.

    Parameters
    ----------
    model : pm.Model
    var_names : sequence of str, optional
        Free variables and Deterministics to record; all when None.

    Raises
    ------
    ValueError
        If a name is not in the model.
    """

    def __init__(self, model: Model, var_names: Sequence[str] | None = None) -> None:
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
        """Recorded variables ``(chains, draws, ...)`` of value variables ``(chains, draws, ...)``."""
        recorded = {name: values[name] for name in self._plain}
        if self._derived:
            lead = next(iter(values.values())).shape[:2]
            flat = [
                values[v.name].reshape(-1, *values[v.name].shape[2:])
                for v in self._model.value_vars
            ]
            for name, x in zip(self._derived, self._derive(flat), strict=True):
                recorded[name] = x.reshape(*lead, *x.shape[1:])
        return {name: recorded[name] for name in self.names}

    def _derive(self, values: list[np.ndarray]) -> list[np.ndarray]:
        """Evaluate in chunks of one size, so that memory stays small and nothing compiles twice."""
        n, function = len(values[0]), self._function
        pieces = []
        for start in range(0, n, self._chunk):
            piece = [x[start : start + self._chunk] for x in values]
            short = self._chunk - len(piece[0])
            if short:
                piece = [np.concatenate([x, np.repeat(x[-1:], short, axis=0)]) for x in piece]
            pieces.append([x[: self._chunk - short] for x in function(piece)])
        return [np.concatenate(xs) for xs in zip(*pieces, strict=True)]

    @functools.cached_property
    def _chunk(self) -> int:
        return int(min(1024, max(1, _CHUNK_BYTES // output_bytes(self._model, self.names))))

    @functools.cached_property
    def _function(self) -> Any:
        """Function of a list of values with a leading draw axis."""
        outputs = list(self._derived.values())
        shared = [v for v in leaves(outputs) if is_shared_value(v)]
        data = [pt.tensor(dtype=v.type.dtype, shape=v.get_value(borrow=True).shape) for v in shared]
        held = [v.get_value() for v in shared]
        graphs = rebuild(outputs, dict(zip(shared, data, strict=True)))
        inputs = self._model.value_vars
        try:
            return self._jax_function(inputs, data, held, graphs)
        except NotImplementedError:
            batched = [pt.tensor(dtype=v.type.dtype, shape=(None, *v.type.shape)) for v in inputs]
            function = pytensor.function(
                [*batched, *data],
                vectorize_graph(graphs, dict(zip(inputs, batched, strict=True))),
                on_unused_input="ignore",
            )
            return lambda values: function(*values, *held)

    @staticmethod
    def _jax_function(
        inputs: list[Variable], data: list[Variable], held: list[np.ndarray], graphs: list[Variable]
    ) -> Any:
        import jax

        from pymc_sgmcmc.engines.jax import jax_function

        wide = any(v.type.dtype == "float64" for v in inputs)
        function = jax_function([*inputs, *data], graphs)
        axes = (0,) * len(inputs) + (None,) * len(data)
        vectorised = jax.jit(jax.vmap(function, in_axes=axes))

        def evaluate(values: list[np.ndarray]) -> list[np.ndarray]:
            with jax.enable_x64(wide):
                return [np.asarray(x) for x in vectorised(*values, *held)]

        return evaluate


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
        warnings.warn(
            f"{n_draws:,} draws of all variables take {total / 1e9:.1f} GB. Leave large "
            f"Deterministics out with var_names={names!r}, and compute them from the posterior.",
            UserWarning,
            stacklevel=3,
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
            dict(arrays), inference_library=pm, coords=coords, dims=dims, **kwargs
        )

    def part(arrays: Mapping[str, np.ndarray], draws: slice) -> Any:
        return dataset({k: x[:, draws] for k, x in arrays.items()}, attrs=dict(attributes))

    groups = {}
    if keep_tuning and n_tune:
        groups["warmup_posterior"] = part(posterior, slice(n_tune))
        groups["warmup_sample_stats"] = part(sample_stats, slice(n_tune))
    groups["posterior"] = part(posterior, slice(n_tune, None))
    groups["sample_stats"] = part(sample_stats, slice(n_tune, None))
    for name, arrays in (
        ("observed_data", find_observations(model)),
        ("constant_data", find_constants(model)),
    ):
        if arrays:
            groups[name] = dataset(arrays, sample_dims=[])
    return DataTree.from_dict({f"/{name}": group for name, group in groups.items()})


# PyMC's conversion has no hook for attributes: those of the latest step of each model wait here.
_attributes: weakref.WeakKeyDictionary[Model, dict[str, Any]] = weakref.WeakKeyDictionary()


def attributes_of(sampler: Sampler, name: str) -> dict[str, Any]:
    """What is run and by which versions, as values that netCDF can hold."""
    potential = sampler.potential
    attributes = {
        "sampler": name,
        "step_size": sampler.step_size,
        "steps_per_draw": sampler.steps_per_draw,
        "batch_size": potential.batch_size or "all rows",
        "n_rows": potential.n_rows,
        "schedule": str(getattr(sampler.schedule, "__name__", sampler.schedule)),
        "dtype": potential.dtype,
        **vars(sampler.dynamics),
        **{f"{k}_version": version(k) for k in ("pymc_sgmcmc", "pymc", "pytensor", "jax")},
    }
    return {k: int(v) if isinstance(v, bool) else v for k, v in attributes.items() if v is not None}


def remember_attributes(model: Model, attributes: dict[str, Any]) -> None:
    """Have `pm.sample` put these attributes into the output of this model."""
    _attributes[model] = attributes
    if not hasattr(pm.to_inference_data, "adds_attributes"):
        pm.to_inference_data = _adding_attributes(pm.to_inference_data)


def _adding_attributes(convert: Any) -> Any:
    @functools.wraps(convert)
    def to_inference_data(trace: Any = None, **kwargs: Any) -> DataTree:
        idata = convert(trace, **kwargs)
        attributes = _attributes.get(kwargs.get("model"))  # type: ignore[arg-type]
        if attributes and "rejected" in getattr(trace, "stat_names", ()):
            n_draws = (trace.report.n_tune or 0) + (trace.report.n_draws or 0)
            attributes = {**attributes, "updates": n_draws * attributes["steps_per_draw"]}
            for name in SAMPLE_GROUPS:
                if name in idata:
                    idata[name].attrs.update(attributes)
        return idata

    to_inference_data.adds_attributes = True  # type: ignore[attr-defined]
    return to_inference_data
