"""Signs in a run that its draws are not to be trusted: what is wrong, and what to do next.

None of them is proof of the contrary: a kinetic temperature of 1 is necessary, not sufficient.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

_log = logging.getLogger(__name__)

# Relative error of a temperature, and momentum lost to the gradient's noise in one update, from
# which on variances are several percent off.
_TEMPERATURE, _NOISE_FRICTION = 0.05, 0.3
# What is beyond so many standard errors is not chance.
_ERRORS = 5
# Nats by which one mode is clearly worse than another: less than a hundredth of its mass.
_CLEARLY = 5.0
# Ratio of the largest curvature to a typical one, from which on no single step size suits both.
_CURVATURE_RATIO = 10.0
_REJECTED = 0.01


@dataclass(frozen=True)
class Finding:
    """A sign that draws are not to be trusted, or something to know about them.

    Attributes
    ----------
    check : str
        What was looked at, in a word or two.
    problem : bool
        Whether the draws can't be trusted because of it; otherwise it is worth knowing.
    message : str
        What was found, and what to do.
    """

    check: str
    problem: bool
    message: str


def signs_of_trouble(
    statistics: Mapping[str, np.ndarray], attributes: Mapping[str, Any]
) -> list[Finding]:
    """Look for signs of trouble in statistics and attributes of a run.

    Parameters
    ----------
    statistics : mapping of str to ndarray
        Of the draws after tuning, ``(chains, draws)``.
    attributes : mapping of str to object
        Of the output: the settings, and what the warm-up found.

    Returns
    -------
    list of Finding
    """
    checks = (
        _step_size,
        _kinetic,
        _configurational,
        _noise,
        _thermostat,
        _rejected,
        _modes,
        _potentials,
        _curvature,
        _clipped,
    )
    return [finding for check in checks for finding in check(statistics, attributes)]


def log_trouble(statistics: Mapping[str, np.ndarray], attributes: Mapping[str, Any]) -> None:
    """Log a warning for each problem."""
    for finding in signs_of_trouble(statistics, attributes):
        if finding.problem:
            _log.warning(finding.message)


def _smaller_step(attributes: Mapping[str, Any], factor: float = 0.5) -> str:
    """How to ask for a step size that is smaller by a factor."""
    if "expected_bias" in attributes and not attributes.get("step_size_given"):
        return f"target_bias={attributes['target_bias'] * factor**2:.2g}"
    return f"step_size={attributes['step_size'] * factor:.2g}"


def _mean_and_error(x: np.ndarray) -> tuple[float, float]:
    """Mean over chains and draws, and its standard error from the means of a few batches."""
    n = max(1, min(10, x.shape[1]))
    means = np.array([part.mean(1) for part in np.array_split(x, n, axis=1)]).ravel()
    return float(x.mean()), float(means.std(ddof=1) / math.sqrt(len(means))) if n > 1 else math.inf


def _step_size(statistics: Any, attributes: Mapping[str, Any]) -> Iterator[Finding]:
    bias, target = attributes.get("expected_bias"), attributes.get("target_bias")
    if bias is not None and target is not None and bias > 2 * target:
        yield Finding(
            "step size",
            True,
            f"step_size={attributes['step_size']:.3g} leaves variances up to {bias:.0%} off, by "
            "the curvature and the gradient noise that were measured. Leave step_size out, or try "
            f"step_size={attributes['step_size'] * math.sqrt(target / bias):.2g}.",
        )


def _kinetic(statistics: Mapping[str, Any], attributes: Mapping[str, Any]) -> Iterator[Finding]:
    T, kinetic = attributes["temperature"], statistics.get("kinetic_temperature")
    if kinetic is None or T == 0:
        return
    mean, error = _mean_and_error(kinetic)
    if abs(mean / T - 1) <= max(_TEMPERATURE, _ERRORS * error / T):
        return
    yield Finding(
        "kinetic temperature",
        True,
        f"The kinetic temperature is {mean:.3g} instead of {T:g}: the step is too "
        f"large, or tuning was too short. Try {_smaller_step(attributes)}, or larger batches.",
    )


def _configurational(
    statistics: Mapping[str, Any], attributes: Mapping[str, Any]
) -> Iterator[Finding]:
    T, samples = attributes["temperature"], statistics.get("configurational_temperature")
    if samples is None or T == 0:
        return
    mean, error = _mean_and_error(samples)
    if abs(mean / T - 1) > max(2 * _TEMPERATURE, _ERRORS * error / T):
        yield Finding(
            "configurational temperature",
            True,
            f"The configurational temperature ⟨z·∇U⟩/d is {mean:.3g} ± {error:.2g} instead of "
            f"{T:g}: the chains are not at rest, or the step is too large. Try a longer tune=..., "
            f"then {_smaller_step(attributes)}.",
        )


def _noise(statistics: Mapping[str, Any], attributes: Mapping[str, Any]) -> Iterator[Finding]:
    T, h, noise = (
        attributes["temperature"],
        attributes["step_size"],
        statistics.get("gradient_noise"),
    )
    if noise is None:
        return
    T, h = attributes["temperature"], attributes["step_size"]
    friction = h**2 * noise.mean() / (2 * T)
    if friction > _NOISE_FRICTION:
        yield Finding(
            "gradient noise",
            True,
            f"Gradient noise takes {friction:.2g} of the momentum in every update, too much for "
            "the thermostat to be exact. Try "
            f"{_smaller_step(attributes, math.sqrt(_NOISE_FRICTION / 3 / friction))}, or larger "
            "batches.",
        )


def _thermostat(statistics: Mapping[str, Any], attributes: Mapping[str, Any]) -> Iterator[Finding]:
    noise = statistics.get("gradient_noise")
    if noise is None or noise.shape[1] < 4:
        return
    T, h, decay = (attributes[k] for k in ("temperature", "step_size", "momentum_decay"))
    early, late = np.array_split(noise, 2, axis=1)
    drift = late.mean() - early.mean()
    error = math.hypot(_mean_and_error(early)[1], _mean_and_error(late)[1])
    # The heat that the drift stands for, over what friction takes up.
    heat = h**2 * abs(drift) / (2 * -math.log(decay) * T)
    if heat > _TEMPERATURE and abs(drift) > _ERRORS * error:
        yield Finding(
            "thermostat",
            True,
            f"The thermostat was still adapting: its estimate of the gradient noise went from "
            f"{early.mean():.3g} to {late.mean():.3g} in the draws. Try a longer tune=..., or a "
            "smaller thermostat_time=....",
        )


def _rejected(statistics: Mapping[str, Any], attributes: Mapping[str, Any]) -> Iterator[Finding]:
    rejected = statistics.get("rejected")
    if rejected is None or not rejected.sum():
        return
    share = rejected.sum() / (rejected.size * attributes.get("steps_per_draw", 1))
    yield Finding(
        "rejected updates",
        bool(share > _REJECTED),
        f"{int(rejected.sum())} updates gave numbers that are not finite and were rejected. A few "
        f"do no harm; if they are many, try {_smaller_step(attributes)}.",
    )


def _modes(statistics: Any, attributes: Mapping[str, Any]) -> Iterator[Finding]:
    modes, mass = int(attributes.get("modes", 1)), np.atleast_1d(attributes.get("mode_mass", 0.0))
    if modes > 1:
        place = attributes.get("mode_of_chain")
        where = ""
        if place is not None:
            chains = np.bincount(np.atleast_1d(place))
            where = f"; {len(chains)} of them have chains in them ({', '.join(map(str, chains))})"
        yield Finding(
            "modes",
            True,
            f"The posterior has at least {modes} modes{where}. The share of draws in each says "
            "nothing of its share of the posterior, and modes without chains are missing. Order or "
            "constrain the parameters if the modes are copies of each other; for a network, look "
            "at its predictions instead of its weights.",
        )
        behind = mass.max() - mass
        worse = np.flatnonzero(behind > _CLEARLY)
        if worse.size:
            lost = np.flatnonzero(np.isin(attributes["mode_of_chain"], worse))
            yield Finding(
                "worse modes",
                True,
                f"Chains {', '.join(map(str, lost))} sit in modes that hold less than "
                f"e^-{behind[worse].min():.0f} of the best one's mass, by Laplace's estimate: "
                "leave them out, idata.sel(chain=[...]), or start them elsewhere: initvals=....",
            )
    if attributes.get("modes_found", len(mass)) < len(mass):
        yield Finding(
            "mode",
            True,
            "No mode of the posterior was found: its density grows towards a funnel or without "
            "bound, or is flat. Reparametrise (non-centred), or give proper priors.",
        )


def _potentials(statistics: Mapping[str, Any], attributes: Mapping[str, Any]) -> Iterator[Finding]:
    potential = statistics.get("potential_energy")
    if potential is None or min(potential.shape) < 2 or attributes["temperature"] == 0:
        return
    means, errors = zip(*(_mean_and_error(chain[None]) for chain in potential), strict=True)
    above = np.array(means) - min(means)
    limit = _CLEARLY + _ERRORS * np.hypot(errors, errors[int(np.argmin(means))])
    worse = np.flatnonzero(above > limit)
    if worse.size:
        yield Finding(
            "potential energy",
            True,
            f"Chains {', '.join(map(str, worse))} have a mean potential energy that is "
            f"{above[worse].min():.3g} nats or more above that of chain {int(np.argmin(means))}: "
            "they have not found the posterior's mass, or sit in a worse mode. Try a longer "
            "tune=..., or leave them out: idata.sel(chain=[...]).",
        )


def _curvature(statistics: Any, attributes: Mapping[str, Any]) -> Iterator[Finding]:
    ratio = attributes.get("curvature_ratio", 1.0)
    if ratio > _CURVATURE_RATIO:
        yield Finding(
            "curvature",
            True,
            f"The largest curvature differs by a factor of {ratio:.3g} between positions that the "
            "chains visited, as in a funnel: no step size suits all of the posterior. "
            "Reparametrise (non-centred), or use NUTS.",
        )


def _clipped(statistics: Any, attributes: Mapping[str, Any]) -> Iterator[Finding]:
    length = attributes.get("clip_gradient")
    if length is not None:
        yield Finding(
            "clipped gradient",
            False,
            f"Gradients longer than clip_gradient={length:g} were shortened: where that happened, "
            "the law of the draws is not the posterior's.",
        )
