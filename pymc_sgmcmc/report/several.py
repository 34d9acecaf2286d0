"""Reports of several steps in the attributes of one output, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Number
from typing import Any

import numpy as np

from pymc_sgmcmc.engines.base import UPDATE_STATISTICS
from pymc_sgmcmc.report.report import Report

# Attributes that are arrays by nature, and not because there are several steps.
_OF_MODES = ("mode_mass", "mode_of_chain")


def joined(reports: Sequence[Report], n_tune: int, n_draws: int) -> dict[str, Any]:
    """Attributes of a run of several steps; where these differ, those of each in their order.

    As an array where all are numbers, and otherwise as a text.
    """
    entries = [_counted(report, n_tune, n_draws).attributes() for report in reports]
    found: dict[str, Any] = {}
    for name in dict.fromkeys(name for entry in entries for name in entry):
        values = [entry.get(name, "-") for entry in entries]
        if all(np.array_equal(value, values[0]) for value in values):
            found[name] = values[0]
        elif all(isinstance(value, Number) for value in values):
            found[name] = np.array(values)
        else:
            found[name] = ", ".join(map(str, values))
    return found


def _counted(report: Report, n_tune: int, n_draws: int) -> Report:
    """Report with the updates of a chain, if they are known.

    What was found in another process is not.
    """
    steps, tuning = report.steps_per_draw, report.tuning_updates
    if steps is None:
        return report
    return report.but(updates=(n_tune * steps if tuning is None else tuning) + n_draws * steps)


def steps_of(
    statistics: Mapping[str, np.ndarray], attributes: Mapping[str, Any]
) -> list[tuple[dict[str, np.ndarray], Report]]:
    """Statistics and report of each of our steps.

    PyMC stacks a statistic that several steps report along a last axis, whoever wrote the steps.
    """
    # What each of our steps reports, and no other, tells how many they are.
    n = max((_reporting(statistics[k]) for k in UPDATE_STATISTICS if k in statistics), default=1)
    reports = [Report.read(_of_step(attributes, i, n)) for i in range(n)]
    found: list[tuple[dict[str, np.ndarray], Report]] = [({}, report) for report in reports]
    for name, x in statistics.items():
        owners = [i for i, report in enumerate(reports) if name in report.statistics.split()]
        everyone = list(range(n))
        # Of other numbers of steps nobody knows which they are.
        steps = next((k for k in (everyone, owners) if len(k) == _reporting(x)), [])
        for place, i in enumerate(steps):
            found[i][0][name] = x[..., place] if np.ndim(x) == 3 else x
    return found


def _reporting(x: np.ndarray) -> int:
    """Steps that a statistic is of."""
    return x.shape[2] if np.ndim(x) == 3 else 1


def _of_step(attributes: Mapping[str, Any], i: int, n: int) -> dict[str, Any]:
    """Attributes of a step, where those of all are listed in an array or a text."""
    own = {}
    for name, value in attributes.items():
        each = value.split(", ") if isinstance(value, str) else value
        by_step = isinstance(each, list) or (np.ndim(each) == 1 and name not in _OF_MODES)
        own[name] = each[i] if n > 1 and by_step and len(each) == n else value
    # "-" stands for what others have and this step has not.
    return {k: x for k, x in own.items() if not (isinstance(x, str) and x == "-")}
