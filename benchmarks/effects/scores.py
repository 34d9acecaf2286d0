"""How good draws are: against the moments of the posterior, and against the simulated effects."""

import math

import arviz as az
import numpy as np
from xarray import Dataset

from benchmarks.effects.moments import Moments


def moments_of(draws: Dataset) -> Moments:
    """Means and standard deviations of draws, over chains and draws."""
    dims = ("chain", "draw")
    mean, sd = draws.mean(dims), draws.std(dims)
    names = list(draws.data_vars)
    return Moments({n: mean[n].values for n in names}, {n: sd[n].values for n in names})


def convergence(draws: Dataset) -> dict[str, float]:
    """Smallest bulk effective sample size and largest R-hat, over all quantities."""
    ess, rhat = az.ess(draws), az.rhat(draws)
    return {
        "ess": min(float(x.min()) for x in ess.data_vars.values()),
        "rhat": max(float(x.max()) for x in rhat.data_vars.values()),
    }


def accuracy(
    found: Moments, reference: Moments, effects: tuple[str, ...], hyper: tuple[str, ...]
) -> dict[str, float]:
    """Errors in standard deviations of the reference.

    Returns
    -------
    dict
        ``effects_error``, the root mean square of the effects' means' errors; ``sd_low`` and
        ``sd_high``, the range of their standard deviations over the reference's, and ``sd_error``,
        the root mean square of what these ratios differ from 1 by; ``hyper_error``, the largest
        error of another variable's mean.
    """
    errors, ratios = _errors(found, reference, effects)
    of_hyper, _ = _errors(found, reference, hyper)
    return {
        "effects_error": _rms(errors),
        "sd_low": float(ratios.min()),
        "sd_high": float(ratios.max()),
        "sd_error": _rms(ratios - 1),
        "hyper_error": float(np.abs(of_hyper).max()),
    }


def distance_to_truth(found: Moments, truth: dict[str, np.ndarray]) -> float:
    """Root mean square of the effects' errors in posterior standard deviations: 1 is right.

    It needs no reference, and sees only what is far off: means without regard to the data, or
    standard deviations too small.
    """
    z = [((found.mean[name] - x) / found.sd[name]).ravel() for name, x in truth.items()]
    return _rms(np.concatenate(z))


def _errors(
    found: Moments, reference: Moments, names: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Errors of means, in standard deviations, and ratios of these, of all variables in a row."""
    errors = [(found.mean[n] - reference.mean[n]) / reference.sd[n] for n in names]
    ratios = [found.sd[n] / reference.sd[n] for n in names]
    return np.concatenate([*map(np.ravel, errors)]), np.concatenate([*map(np.ravel, ratios)])


def _rms(x: np.ndarray) -> float:
    return math.sqrt(np.square(x).mean())
