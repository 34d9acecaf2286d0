"""Posteriors whose moments are known: logistic regressions of real and made-up data, a hierarchy.

A case gives its data, the model that anybody would write for it, and the moments that a run is held
against: of the logistic regressions by importance sampling (`importance.py`), but of a9a, where
columns with a single row make it skewed, by HMC (`whitened.py`); of the varying intercepts exactly
(``effects/collapsed.py``).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pymc as pm

from benchmarks.effects import collapsed
from benchmarks.effects.moments import Moments
from benchmarks.regressions import importance, late_flights

PRIOR_SD = 2.5  # of an intercept and slopes


@dataclass(frozen=True)
class Case:
    """A regression.

    Attributes
    ----------
    columns : tuple of ndarray
        Data of the rows, ``(N, ...)`` each: what a minibatch takes rows of.
    write : callable
        Makes the model of columns; with the number of all rows where these are a minibatch's.
    moments : callable
        Gives the posterior's, of all free variables.
    batch_size : int
        Rows of a minibatch, of all methods that take some.
    """

    columns: tuple[np.ndarray, ...]
    write: Callable[..., pm.Model]
    moments: Callable[[], Moments]
    batch_size: int

    @property
    def rows(self) -> int:
        """N."""
        return len(self.columns[0])

    def model(self, minibatch: bool = False) -> pm.Model:
        """Give the model of all rows, or that of a random minibatch of PyMC's."""
        if not minibatch:
            return self.write(self.columns)
        return self.write(pm.Minibatch(*self.columns, batch_size=self.batch_size), self.rows)


def logistic(X: np.ndarray, y: np.ndarray, batch_size: int = 500) -> Case:
    """Logistic regression with an intercept."""

    def write(columns: tuple[Any, ...], rows: int | None = None) -> pm.Model:
        X, y = columns
        with pm.Model() as model:
            X = pm.Data("X", X) if isinstance(X, np.ndarray) else X
            intercept = pm.Normal("intercept", 0, PRIOR_SD)
            slopes = pm.Normal("slopes", 0, PRIOR_SD, shape=width)
            pm.Bernoulli("y", logit_p=intercept + X @ slopes, observed=y, total_size=rows)
        return model

    width = X.shape[1]
    return Case((X, y), write, partial(importance.moments, X, y, PRIOR_SD), batch_size)


def flights() -> Case:
    """Lateness of flights, by 13 columns of which some are nearly the same."""
    X, y, _ = late_flights.load()
    return logistic(X, y)


def a9a() -> Case:
    """Income above 50,000 dollars, by 123 binary columns of which some are rare."""
    with np.load(Path(os.environ["PYMC_SGMCMC_DATA"]) / "tabular" / "a9a.npz") as data:
        case = logistic(data["X_train"].astype(float), data["y_train"].astype(np.int32))
    return replace(case, moments=partial(_by_hmc, *case.columns))


def _by_hmc(X: np.ndarray, y: np.ndarray) -> Moments:
    from benchmarks.regressions import whitened  # takes BlackJAX

    return whitened.moments(X, y, PRIOR_SD)


def simulated(rows: int) -> Case:
    """50 independent normal features."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((rows, 50))
    p = 1 / (1 + np.exp(-0.5 - X @ rng.normal(0, 50**-0.5, 50)))
    return logistic(X, (rng.random(rows) < p).astype(np.int32))


def intercepts(groups: int) -> Case:
    """Varying intercepts, 100 rows a group, as centred as one writes them first."""

    def write(columns: tuple[Any, ...], rows: int | None = None) -> pm.Model:
        g, y = columns
        with pm.Model() as model:
            mu, sigma, tau = (
                pm.Normal("mu", 0, 5),
                pm.HalfNormal("sigma", 2),
                pm.HalfNormal("tau", 2),
            )
            effect = pm.Normal("a", mu, tau, shape=groups)
            pm.Normal("y", effect[g], sigma, observed=y, total_size=rows)
        return model

    rng = np.random.default_rng(1)
    g = rng.integers(groups, size=100 * groups)
    y = rng.normal(rng.normal(1.0, 0.5, groups)[g], 1.0)
    return Case((g, y), write, partial(collapsed.moments, g, y, groups), 1000)


CASES: dict[str, Callable[[], Case]] = {
    "flights": cache(flights),
    "a9a": cache(a9a),
    "100,000 × 50": cache(partial(simulated, 100_000)),
    "1,000,000 × 50": cache(partial(simulated, 1_000_000)),
    "200 groups": cache(partial(intercepts, 200)),
    "2,000 groups": cache(partial(intercepts, 2000)),
}
NEED_DATA = ("flights", "a9a")
