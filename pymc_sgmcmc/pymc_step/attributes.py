"""What was run, in the attributes of the output, also of `pm.sample`."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from numbers import Number
from typing import TYPE_CHECKING, Any

import numpy as np
import pymc as pm
from xarray import DataTree

from pymc_sgmcmc.engines.base import UPDATE_STATISTICS
from pymc_sgmcmc.model.graphs import is_network

if TYPE_CHECKING:
    from pymc_sgmcmc.run.chains import Chains, Sampler

_GROUPS = ("posterior", "sample_stats", "warmup_posterior", "warmup_sample_stats")

_PACKAGES = ("pymc_sgmcmc", "pymc", "pytensor", "jax", "numba")


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
    row_data = potential.rows.variables if potential.rows else ()
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
        "data": ", ".join(v.name for v in row_data if v.name) or None,
        "schedule": str(getattr(sampler.schedule, "__name__", sampler.schedule)),
        "dtype": potential.dtype,
        "shard": sampler.shard,
        "matmul_precision": sampler.matmul_precision,
        "free_variables": ", ".join(v.name for v in potential.model.free_RVs),
        "network": is_network(potential.model),
        "statistics": " ".join((*sampler.dynamics.statistics, *UPDATE_STATISTICS)),
        **vars(sampler.dynamics),
        **{f"{k}_version": _version(k) for k in _PACKAGES},
    }
    return {k: int(v) if isinstance(v, bool) else v for k, v in attributes.items() if v is not None}


class Reported(dict):
    """Statistics of a step, type by name, that know what the step runs.

    PyMC's trace keeps this very object beside the draws: so its output gets the attributes of the
    steps that made it, whatever other steps there are.

    Parameters
    ----------
    statistics : mapping of str to type
    settings : dict
        Attributes of the step as it was made.

    Attributes
    ----------
    found : dict
        Attributes of its latest run in this process, with what the warm-up found.
    latest : dict
        Statistics of the latest draw of that run.
    """

    def __init__(self, statistics: Mapping[str, Any], settings: dict[str, Any]) -> None:
        super().__init__(statistics)
        self.settings = self.found = settings
        self.latest: dict[str, Any] = {}
        # PyMC's conversion has no hook for attributes.
        if not hasattr(pm.to_inference_data, "adds_attributes"):
            pm.to_inference_data = _adding_attributes(pm.to_inference_data)

    def attributes(self, last: list[dict[str, Any]]) -> dict[str, Any]:
        """Attributes of the run whose chains ended with these statistics."""
        ours = list(self.latest.values())
        if ours and np.array_equal(list(last[-1].values()), ours, equal_nan=True):
            return self.found
        # It ran in other processes, and what was found stayed there, but for the step sizes.
        return {"step_size": float(np.mean([x["step_size"] for x in last]))} | self.settings


def _adding_attributes(convert: Any) -> Any:
    @functools.wraps(convert)
    def to_inference_data(trace: Any = None, **kwargs: Any) -> DataTree:
        idata = convert(trace, **kwargs)
        chains = dict(sorted(getattr(trace, "_straces", {}).items())).values()
        steps = next(iter(chains)).sampler_vars or [] if chains and len(trace) else []
        entries = []
        for i, statistics in enumerate(steps):
            if isinstance(statistics, Reported):
                last = [
                    {k: chain.get_sampler_stats(k, sampler_idx=i)[-1] for k in statistics}
                    for chain in chains
                ]
                entries.append(statistics.attributes(last))
        if entries:
            attributes = _joined(entries, trace.report.n_tune or 0, trace.report.n_draws or 0)
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
    """Attributes of a run; where several steps differ, those of each in their order.

    As an array where all are numbers, and otherwise as a text.
    """
    entries = [{**entry, **_updates(entry, n_tune, n_draws)} for entry in entries]
    joined = {}
    for name in dict.fromkeys(name for entry in entries for name in entry):
        values = [entry.get(name, "-") for entry in entries]
        if all(np.array_equal(value, values[0]) for value in values):
            joined[name] = values[0]
        elif all(isinstance(value, Number) for value in values):
            joined[name] = np.array(values)
        else:
            joined[name] = ", ".join(map(str, values))
    return joined


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:  # one of the engines may be missing
        return None
