"""What was run, in the attributes of the output, also of `pm.sample`."""

from __future__ import annotations

import functools
import weakref
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import pymc as pm
from pymc.model import Model, modelcontext
from xarray import DataTree

from pymc_sgmcmc.engines.base import UPDATE_STATISTICS
from pymc_sgmcmc.graphs import is_network

if TYPE_CHECKING:
    from pymc_sgmcmc.chains import Chains, Sampler

_OURS = {"rejected", *UPDATE_STATISTICS}
_GROUPS = ("posterior", "sample_stats", "warmup_posterior", "warmup_sample_stats")


def attributes_of(sampler: Sampler, name: str, chains: Chains | None = None) -> dict[str, Any]:
    """What is run and by which versions, as values that netCDF can hold.

    With `chains`, what their warm-up found.
    """
    potential, chosen = sampler.potential, sampler.preconditioner
    found: dict[str, Any] = {
        "step_size": sampler.step_size,
        "steps_per_draw": sampler.steps_per_draw,
    }
    if chains is not None:
        tuning = chains.tuning
        found = {
            "backend": chains.backend,
            "step_size": tuning.step_size,
            "steps_per_draw": tuning.steps_per_draw,
            "tuning_updates": chains.tuning_updates,
            "warmup_updates": chains.warmup_updates,
            "control_variate": tuning.control_variate,
            **tuning.report,
        }
    attributes = {
        "sampler": name,
        **found,
        "preconditioner": chosen
        if isinstance(chosen, str)
        else "none"
        if chosen is None
        else "array",
        "target_bias": sampler.target_bias,
        "start": sampler.start,
        "clip_gradient": sampler.clip_gradient,
        "step_size_given": sampler.step_size is not None,
        "batch_size": potential.batch_size or potential.n_rows or "all rows",
        "n_rows": potential.n_rows,
        "schedule": str(getattr(sampler.schedule, "__name__", sampler.schedule)),
        "dtype": potential.dtype,
        "free_variables": ", ".join(v.name for v in potential.model.free_RVs),
        "network": is_network(potential.model),
        **vars(sampler.dynamics),
        **{f"{k}_version": version(k) for k in ("pymc_sgmcmc", "pymc", "pytensor", "jax", "numba")},
    }
    return {k: int(v) if isinstance(v, bool) else v for k, v in attributes.items() if v is not None}


# PyMC's conversion has no hook for attributes: those of the steps of each model wait here, by the
# key of the step, the latest last.
_attributes: weakref.WeakKeyDictionary[Model, dict[int, dict[str, Any]]] = (
    weakref.WeakKeyDictionary()
)


def remember_attributes(model: Model, key: int, attributes: dict[str, Any]) -> None:
    """Have `pm.sample` put the attributes of its steps into the output of this model."""
    entries = _attributes.setdefault(model, {})
    entries.pop(key, None)
    entries[key] = attributes
    if not hasattr(pm.to_inference_data, "adds_attributes"):
        pm.to_inference_data = _adding_attributes(pm.to_inference_data)


def _adding_attributes(convert: Any) -> Any:
    @functools.wraps(convert)
    def to_inference_data(trace: Any = None, **kwargs: Any) -> DataTree:
        idata = convert(trace, **kwargs)
        straces = getattr(trace, "_straces", None)
        if straces:
            steps = next(iter(straces.values())).sampler_vars or []
            ours = sum(_OURS <= set(statistics) for statistics in steps)
            entries = list(_attributes.get(modelcontext(kwargs.get("model")), {}).values())
            if ours and len(entries) >= ours:
                lengths = (trace.report.n_tune or 0, trace.report.n_draws or 0)
                attributes = _joined(entries[-ours:], *lengths)
                for name in _GROUPS:
                    if name in idata:
                        idata[name].attrs.update(attributes)
        return idata

    to_inference_data.adds_attributes = True  # type: ignore[attr-defined]
    return to_inference_data


def _updates(entry: dict[str, Any], n_tune: int, n_draws: int) -> dict[str, int]:
    """Updates of a chain, if they are known: what was found in another process is not."""
    steps = entry.get("steps_per_draw")
    if steps is None:
        return {}
    return {"updates": entry.get("tuning_updates", n_tune * steps) + n_draws * steps}


def _joined(entries: list[dict[str, Any]], n_tune: int, n_draws: int) -> dict[str, Any]:
    """Attributes of a run; where several steps differ, a text that lists them in their order."""
    entries = [{**entry, **_updates(entry, n_tune, n_draws)} for entry in entries]
    joined = {}
    for name in dict.fromkeys(name for entry in entries for name in entry):
        values = [entry.get(name, "-") for entry in entries]
        same = all(np.array_equal(value, values[0]) for value in values)
        joined[name] = values[0] if same else ", ".join(map(str, values))
    return joined
