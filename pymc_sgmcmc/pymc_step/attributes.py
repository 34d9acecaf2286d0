"""What was run, in the attributes of the output of `pm.sample`."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pymc as pm
from xarray import DataTree

from pymc_sgmcmc.report.report import Report
from pymc_sgmcmc.report.several import joined

_GROUPS = ("posterior", "sample_stats", "warmup_posterior", "warmup_sample_stats")


class Reported(dict):
    """Statistics of a step, type by name, that know what the step runs.

    PyMC's trace keeps this very object beside the draws: so its output gets the attributes of the
    steps that made it, whatever other steps there are.

    Parameters
    ----------
    statistics : mapping of str to type
    made : Report
        Of the step as it was made.

    Attributes
    ----------
    found : Report
        Of its latest run in this process, with what the warm-up found.
    latest : dict
        Statistics of the latest draw of that run.
    """

    def __init__(self, statistics: Mapping[str, Any], made: Report) -> None:
        super().__init__(statistics)
        self.made = self.found = made
        self.latest: dict[str, Any] = {}
        # PyMC's conversion has no hook for attributes.
        if not hasattr(pm.to_inference_data, "adds_attributes"):
            pm.to_inference_data = _adding_attributes(pm.to_inference_data)

    def report(self, last: list[dict[str, Any]]) -> Report:
        """Report of the run whose chains ended with these statistics."""
        ours = list(self.latest.values())
        if ours and np.array_equal(list(last[-1].values()), ours, equal_nan=True):
            return self.found
        # It ran in other processes, and what was found stayed there, but for the step sizes.
        if self.made.step_size_given:
            return self.made
        return self.made.but(step_size=float(np.mean([x["step_size"] for x in last])))


def _adding_attributes(convert: Any) -> Any:
    @functools.wraps(convert)
    def to_inference_data(trace: Any = None, **kwargs: Any) -> DataTree:
        idata = convert(trace, **kwargs)
        chains = dict(sorted(getattr(trace, "_straces", {}).items())).values()
        steps = next(iter(chains)).sampler_vars or [] if chains and len(trace) else []
        reports = []
        for i, statistics in enumerate(steps):
            if isinstance(statistics, Reported):
                last = [
                    {k: chain.get_sampler_stats(k, sampler_idx=i)[-1] for k in statistics}
                    for chain in chains
                ]
                reports.append(statistics.report(last))
        if reports:
            attributes = joined(reports, trace.report.n_tune or 0, trace.report.n_draws or 0)
            for name in _GROUPS:
                if name in idata:
                    idata[name].attrs.update(attributes)
        return idata

    to_inference_data.adds_attributes = True  # type: ignore[attr-defined]
    return to_inference_data
