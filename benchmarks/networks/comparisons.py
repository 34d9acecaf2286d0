"""Differences to published figures, in standard errors."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.networks.published import Figure

METRICS = {
    "pbp": {"rmse": "RMSE", "ll": "log-lik."},
    "wiese": {"ll": "lppd"},
    "bde": {"rmse": "RMSE", "ll_normal": "-NLL (distr.)", "ll_rmse": "-NLL (mean)"},
}


def summary(runs: list[dict[str, Any]], metric: str) -> tuple[float, float]:
    """Mean of runs and its standard error: over test rows where a protocol has one run only."""
    values = np.array([run[metric] for run in runs])
    if len(values) > 1:
        return values.mean(), values.std(ddof=1) / math.sqrt(len(values))
    return values[0], runs[0]["ll_se"] if runs[0]["protocol"] == "wiese" else math.nan


@dataclass(frozen=True)
class Comparison:
    """Ours less theirs.

    Attributes
    ----------
    theirs : Figure
    difference, error : float
        Of ours to theirs, and its standard error.
    paired : bool
        Whether it is a mean of differences on the same splits.
    better : float
        The difference in standard errors, positive where ours is better.
    """

    theirs: Figure
    difference: float
    error: float
    paired: bool
    better: float

    @property
    def verdict(self) -> str:
        """Tell whether ours is better, worse, or neither."""
        if math.isnan(self.better):
            return "?"
        return (
            "within 1 s.e." if abs(self.better) <= 1 else "better" if self.better > 0 else "worse"
        )


def compare(runs: list[dict[str, Any]], metric: str, theirs: Figure) -> Comparison:
    """Hold runs against a figure, split by split where it has them."""
    pairs = [run[metric] - theirs.splits[run["split"]] for run in runs if theirs.splits]
    if pairs:
        difference = float(np.mean(pairs))
        error = np.std(pairs, ddof=1) / math.sqrt(len(pairs)) if len(pairs) > 1 else math.nan
    else:
        mean, of_ours = summary(runs, metric)
        difference, error = mean - theirs.value, math.hypot(of_ours, theirs.error)
    sign = -1 if metric == "rmse" else 1
    return Comparison(theirs, difference, error, bool(pairs), sign * difference / error)
