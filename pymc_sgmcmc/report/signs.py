"""Signs in a run that its draws are not to be trusted: what is wrong, and what to do next.

None of them is proof of the contrary: a kinetic temperature of 1 is necessary, not sufficient.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pymc_sgmcmc.engines.base import UPDATE_STATISTICS
from pymc_sgmcmc.report.record import NotMeasured, needed, positive
from pymc_sgmcmc.report.report import Report
from pymc_sgmcmc.report.several import steps_of

_log = logging.getLogger(__name__)

Statistics = Mapping[str, np.ndarray]
"""Those of a step's draws after tuning, by name: ``(chains, draws)`` each."""

# Relative error of a temperature, and momentum lost to the gradient's noise in one update, from
# which on variances are several percent off.
_TEMPERATURE, _NOISE_FRICTION = 0.05, 0.3
# What is beyond so many standard errors is not chance.
_ERRORS = 5
# Times that a tuning should last what chains take to forget, and what is a longer one at all.
_FORGOTTEN, _LONGER = 5, 1.5
# Nats by which one mode is clearly worse than another: less than a hundredth of its mass.
_CLEARLY = 5.0
# Ratio of the largest curvature to a typical one, from which on no single step size suits both.
_CURVATURE_RATIO = 10.0
_REJECTED = 0.01
# Chains that a message names, at most: there may be a thousand.
_NAMED = 8
# Root-mean-square gradient, in lengths of the longest one that is let through, from which on the
# law of the draws is mostly that of the shortened ones.
_CLIPPED = 0.7
# Variance of a coordinate's noise, and steps of draws in the time that a position is remembered,
# from which on larger batches are what a run needs; and how much larger.
_LOUD, _DEPENDENT, _LARGER = 10.0, 8, 4
# Friction in one update that dynamics usually have, where it is not recorded.
_USUAL_FRICTION = -math.log(0.9)
# Statistics that checks read, of some samplers or of all.
_READ = (*UPDATE_STATISTICS, "rejected", "kinetic_temperature", "gradient_noise")


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


def signs_of_trouble(statistics: Statistics, attributes: Mapping[str, Any]) -> list[Finding]:
    """Look for signs of trouble in statistics and attributes of an output.

    A check whose numbers are missing is a note; one whose numbers are not finite is a problem.

    Parameters
    ----------
    statistics : mapping of str to ndarray
        Of the draws after tuning, ``(chains, draws)``; of several steps ``(chains, draws, steps)``.
    attributes : mapping of str to object
        Of the output: those of a `Report`, or of several as `joined` has them.

    Returns
    -------
    list of Finding
    """
    steps = steps_of(statistics, attributes)
    each = [signs_of_step(*step) for step in steps]
    shared = [f for f in each[0] if all(f in findings for findings in each)]
    lost = [k for k in _READ if k in statistics and not any(k in step for step, _ in steps)]
    if lost:
        which = "of which of the steps is not known: " + ", ".join(map(repr, lost))
        shared.append(Finding("statistics", False, f"Not measured, because {which}."))
    return shared + [
        replace(f, message=f"Step {i} of {len(each)}: {f.message}")
        for i, findings in enumerate(each, start=1)
        for f in findings
        if f not in shared
    ]


def signs_of_step(statistics: Statistics, report: Report) -> list[Finding]:
    """Look for signs of trouble in the statistics ``(chains, draws)`` and the report of a step."""
    return [f for name, check in _CHECKS.items() for f in guarded(name, check, statistics, report)]


def log_problems(look: Callable[[], Iterable[Finding]]) -> None:
    """Log a warning for each problem among findings. It never raises: draws are worth more."""
    try:
        for finding in look():
            if finding.problem:
                _log.warning(finding.message)
    except KeyboardInterrupt:
        pass
    except Exception:
        _log.warning("The draws could not be looked at for signs of trouble.", exc_info=True)


def guarded(name: str, check: Callable[..., Iterable[Finding]], *arguments: Any) -> list[Finding]:
    """Findings of a check; one that can't be made is a finding too, and never an error."""
    try:
        return list(check(*arguments))
    except NotMeasured as reason:
        return [Finding(name, reason.failed, f"Not measured: {reason}.")]
    except Exception as error:
        _log.warning("The check of %s failed.", name, exc_info=True)
        kind = type(error).__name__
        return [Finding(name, False, f"Not measured: the check itself failed ({kind}: {error}).")]


def _statistic(statistics: Statistics, name: str) -> np.ndarray | None:
    """Statistic of the draws, ``(chains, draws)``, all finite; None where there is none."""
    x = statistics.get(name)
    if x is None or not np.size(x):
        return None
    if np.ndim(x) != 2 or x.dtype.kind not in "biuf":
        raise NotMeasured(f"the statistic {name!r} holds no number for each chain and draw", True)
    bad = int(np.sum(~np.isfinite(x)))
    if bad:
        raise NotMeasured(f"the statistic {name!r} has {bad} values that are not finite", True)
    return x


def _smaller_step(report: Report, factor: float = 0.5) -> str:
    """How to ask for a step size that is smaller by a factor."""
    try:
        if report.found.expected_bias is not None and not report.step_size_given:
            bias = needed("target_bias", report.target_bias) * factor**2
            return f"warmup=WarmUp(target_bias={bias:.2g})"
        return f"step_size={report.step_size * factor:.2g}"
    except NotMeasured:
        return "a smaller step_size"


def _excess(report: Report) -> float:
    """Excess of a temperature, over T, that variances can bear.

    In sweeps momenta and gradients hold noise that the sweep is yet to take back: of an excess of e
    they leave variances about e² too large (`docs/exactness.md`).
    """
    return math.sqrt(_TEMPERATURE) if report.batches == "sweeps" else _TEMPERATURE


def _cooler(report: Report, temperature: float) -> str:
    """How to ask for a step that leaves half of the excess allowed: it grows with h²."""
    excess = temperature / positive("temperature", report.temperature) - 1
    return _smaller_step(report, min(0.5, math.sqrt(_excess(report) / 2 / excess)))


def _or_found(report: Report) -> str:
    """What to do about a step size that was given besides making it smaller."""
    if report.step_size_given:
        return " Or leave step_size out: the warm-up finds one, and coordinates with less noise."
    return ""


def _chains(numbers: np.ndarray, one: str, several: str) -> str:
    """Chains, a few of them by number, and their verb."""
    names = ", ".join(map(str, numbers[:_NAMED]))
    if len(numbers) > _NAMED:
        names += f" and {len(numbers) - _NAMED} more"
    return f"Chain {names} {one}" if len(numbers) == 1 else f"Chains {names} {several}"


def _mean_and_error(x: np.ndarray) -> tuple[float, float]:
    """Mean over chains and draws, and its standard error from the means of a few batches."""
    n = max(1, min(10, x.shape[1]))
    means = np.array([part.mean(1) for part in np.array_split(x, n, axis=1)]).ravel()
    return float(x.mean()), float(means.std(ddof=1) / math.sqrt(len(means))) if n > 1 else math.inf


def _step_size(statistics: Statistics, report: Report) -> Iterator[Finding]:
    if report.found.expected_bias is None:
        return
    bias, h = report.found.expected_bias, report.step_size
    target = needed("target_bias", report.target_bias)
    if bias > 2 * target:
        yield Finding(
            "step size",
            True,
            f"step_size={h:.3g} leaves variances up to {bias:.0%} off, by the curvature and the "
            "gradient noise that were measured. Leave step_size out, or try "
            f"step_size={h * math.sqrt(max(target, 0) / bias):.2g}.",
        )


def _kinetic(statistics: Statistics, report: Report) -> Iterator[Finding]:
    kinetic = _statistic(statistics, "kinetic_temperature")
    if kinetic is None or (T := report.temperature) == 0:
        return
    mean, error = _mean_and_error(kinetic)
    allowed = _TEMPERATURE if mean < T else _excess(report)
    if abs(mean / T - 1) <= max(allowed, _ERRORS * error / T):
        return
    found = f"The kinetic temperature is {mean:.3g} instead of {T:g}: "
    if mean < T:
        message = "tuning was too short for the friction to settle. Try a longer tune."
    elif report.in_batches:
        message = (
            "the step is too large for the curvature or for the noise of so small batches, or "
            f"tuning was too short. Try {_cooler(report, mean)}, or larger batches."
            + _or_found(report)
        )
    else:
        message = (
            "the step is too large, or tuning was too short. Try "
            f"{_cooler(report, mean)}, or a longer tune."
        )
    yield Finding("kinetic temperature", True, found + message)


def _longer(report: Report) -> str:
    """How much longer the tuning has to be, as far as that is known."""
    usual = "Try a longer tune=..., or a larger steps_per_draw."
    try:
        needed, had = report.found.updates_to_forget, report.tuning_updates
    except NotMeasured:
        return usual
    if not needed or not had or (times := _FORGOTTEN * needed / had) < _LONGER:
        return usual
    return (
        f"Their softest directions take about {needed:,.0f} updates to forget where they were, and "
        f"the tuning had {had:,}: try a tune=... or a steps_per_draw {times:,.0f} times as large."
    )


def _configurational(statistics: Statistics, report: Report) -> Iterator[Finding]:
    samples = _statistic(statistics, "configurational_temperature")
    if samples is None or (T := report.temperature) == 0:
        return
    mean, error = _mean_and_error(samples)
    allowed = 2 * _TEMPERATURE if mean < T else max(2 * _TEMPERATURE, _excess(report))
    if abs(mean / T - 1) <= max(allowed, _ERRORS * error / T):
        return
    found = (
        f"The configurational temperature ⟨z·∇U⟩/d is {mean:.3g} ± {error:.2g} instead of {T:g}: "
    )
    if mean < T:
        message = (
            "the chains are not at rest. They are still spreading, or stay where the posterior is "
            "narrow. " + _longer(report)
        )
    elif report.in_batches:
        factor = "up to" if report.batches == "sweeps" else "about"
        message = (
            f"variances are too large by {factor} that factor. The chains are not at rest, or the "
            "step is too large for the curvature or for the noise of so small batches. Try a "
            f"longer tune=..., then {_cooler(report, mean)} or larger batches." + _or_found(report)
        )
    else:
        message = (
            "variances are too large by about that factor. The chains are not at rest, or the step "
            f"is too large. Try a longer tune=..., then {_cooler(report, mean)}."
        )
    yield Finding("configurational temperature", True, found + message)


def _noise(statistics: Statistics, report: Report) -> Iterator[Finding]:
    noise = _statistic(statistics, "gradient_noise")
    if noise is None:
        return
    T, h = report.temperature, report.step_size
    if T == 0:
        return
    friction = float(h**2 * noise.mean() / (2 * T))
    if friction <= _NOISE_FRICTION:
        # A direction with no noise of its own gets the friction that its parameters' noise needs.
        decay = _USUAL_FRICTION if report.momentum_decay is None else report.friction
        colder = 1 - 1 / (1 + friction / decay)
        warmed_up = report.found.expected_bias is not None
        if colder > 2 * _TEMPERATURE and report.in_batches and not warmed_up:
            yield Finding(
                "gradient noise",
                False,
                "Without a warm-up, nothing is known of how the gradient's noise is correlated "
                f"between parameters. Where it is, variances of some directions are {colder:.0%} "
                "too small and those of others too large, at temperatures that are right. Leave "
                f"step_size out, or try {_smaller_step(report)} to see whether they change.",
            )
        return
    smaller = _smaller_step(report, math.sqrt(_NOISE_FRICTION / 3 / friction))
    message = (
        "The step is too large for batches of this size: their gradient noise needs a friction of "
        f"h²V/2T = {friction:.2g} in every update, and above {_NOISE_FRICTION} the thermostat is "
        f"not exact. Try {smaller}, or larger batches." + _or_found(report)
    )
    if not report.in_batches:
        message = (
            f"The thermostat has a friction of {friction:.2g} in every update; above "
            f"{_NOISE_FRICTION} it is not exact. Gradients of all rows have no noise: the step is "
            f"too large for the curvature. Try {smaller}."
        )
    yield Finding("gradient noise", True, message)


def _batch(statistics: Statistics, report: Report) -> Iterator[Finding]:
    found, steps = report.found, report.steps_per_draw
    try:
        forget, noise = found.updates_to_forget, found.largest_noise
    except NotMeasured:  # SGLD, which has no momentum, has no such time
        return
    if forget is None or noise is None or steps is None:
        return
    if report.network or not report.in_batches or noise < _LOUD:
        return
    size, n = int(report.batch_size), needed("n_rows", report.n_rows)
    larger = min(_LARGER * size, n // 10)
    if forget > _DEPENDENT * steps and larger >= 2 * size:
        yield Finding(
            "batch size",
            False,
            f"Draws wait for the noise of batches of {size:,} rows: it takes about "
            f"{forget:,.0f} updates to forget a position, and {steps} make a "
            "draw. Where there are thousands of parameters, larger batches cost little more: try "
            f"batch_size={larger}.",
        )


def _thermostat(statistics: Statistics, report: Report) -> Iterator[Finding]:
    noise = _statistic(statistics, "gradient_noise")
    if noise is None or noise.shape[1] < 4:
        return
    T, h = report.temperature, report.step_size
    if T == 0:
        return
    early, late = np.array_split(noise, 2, axis=1)
    drift = late.mean() - early.mean()
    error = math.hypot(_mean_and_error(early)[1], _mean_and_error(late)[1])
    # The heat that the drift stands for, over what friction takes up.
    heat = h**2 * abs(drift) / (2 * report.friction * T)
    if heat > _TEMPERATURE and abs(drift) > _ERRORS * error:
        yield Finding(
            "thermostat",
            True,
            f"The thermostat was still adapting: its estimate of the gradient noise went from "
            f"{early.mean():.3g} to {late.mean():.3g} in the draws. Try a longer tune=..., or a "
            "smaller thermostat_time=....",
        )


def _rejected(statistics: Statistics, report: Report) -> Iterator[Finding]:
    rejected = _statistic(statistics, "rejected")
    if rejected is None or not rejected.sum():
        return
    steps = 1 if report.steps_per_draw is None else report.steps_per_draw
    share = rejected.sum() / (rejected.size * positive("steps_per_draw", steps))
    yield Finding(
        "rejected updates",
        bool(share > _REJECTED),
        f"{int(rejected.sum())} updates gave numbers that are not finite and were rejected. A few "
        f"do no harm; if they are many, try {_smaller_step(report)}.",
    )


def _modes(statistics: Statistics, report: Report) -> Iterator[Finding]:
    found = report.found
    modes, place = 1 if found.modes is None else found.modes, found.mode_of_chain
    mass = np.zeros(1) if found.mode_mass is None else found.mode_mass
    if modes > 1:
        where = ""
        if place is not None:
            chains = np.unique(place, return_counts=True)[1]
            listed = ", ".join(map(str, chains[:_NAMED]))
            where = f"; {len(chains)} of them have chains in them ({listed})"
        yield Finding(
            "modes",
            not report.network,
            f"The posterior has at least {modes:.0f} modes{where}. The share of draws in each says "
            "nothing of its share of the posterior, and modes without chains are missing. Order or "
            "constrain the parameters if the modes are copies of each other; for a network, look "
            "at its predictions instead of its weights.",
        )
        behind = mass.max() - mass
        worse = np.flatnonzero(behind > _CLEARLY)
        lost = np.flatnonzero(np.isin(place, worse)) if place is not None else np.array([])
        if lost.size:
            yield Finding(
                "worse modes",
                True,
                f"{_chains(lost, 'sits in a mode that holds', 'sit in modes that hold')} less than "
                f"e^-{behind[worse].min():.0f} of the best one's probability, by Laplace's "
                "estimate: leave out such chains, idata.sel(chain=[...]), or start elsewhere: "
                "initvals=....",
            )
    if found.modes_found is not None and found.modes_found < len(mass):
        yield Finding(
            "mode",
            True,
            "No mode of the posterior was found: its density grows towards a funnel or without "
            "bound, or is flat. Reparametrise (non-centred), or give proper priors.",
        )


def _potentials(statistics: Statistics, report: Report) -> Iterator[Finding]:
    potential = _statistic(statistics, "potential_energy")
    if potential is None or min(potential.shape) < 2 or report.temperature == 0:
        return
    means, errors = zip(*(_mean_and_error(chain[None]) for chain in potential), strict=True)
    above = np.array(means) - min(means)
    limit = _CLEARLY + _ERRORS * np.hypot(errors, errors[int(np.argmin(means))])
    worse = np.flatnonzero(above > limit)
    if worse.size:
        yield Finding(
            "potential energy",
            True,
            f"{_chains(worse, 'has', 'have')} a mean potential energy that is "
            f"{above[worse].min():.3g} nats{' or more' if worse.size > 1 else ''} above that of "
            f"chain {int(np.argmin(means))}: "
            "not yet where most of the posterior is, or in a worse mode. Try a longer tune=..., "
            "leave out such chains, idata.sel(chain=[...]), or weight all by what they predict: "
            "diagnostics.stack_chains.",
        )


def _curvature(statistics: Statistics, report: Report) -> Iterator[Finding]:
    ratio = report.found.curvature_ratio
    if ratio is not None and ratio > _CURVATURE_RATIO:
        yield Finding(
            "curvature",
            True,
            f"The largest curvature differs by a factor of {ratio:.3g} between positions that the "
            "chains visited, as in a funnel: no step size suits all of the posterior. "
            "Reparametrise (non-centred), or use NUTS.",
        )


def _clipped(statistics: Statistics, report: Report) -> Iterator[Finding]:
    norms = _statistic(statistics, "gradient_norm")
    length = report.clip_gradient
    if length is None:
        return
    norm = 0.0 if norms is None else math.sqrt(np.mean(np.square(norms)))
    often = norm > _CLIPPED * length
    message = (
        f"Gradients longer than clip_gradient={length:g} were shortened: where that happened, the "
        "draws are not of the posterior."
    )
    if often:
        message += (
            f" It happened often: their root mean square is {norm:.3g} after it. Leave "
            "clip_gradient out, or make it several times as large."
        )
    yield Finding("clipped gradient", often, message)


def _heated(statistics: Statistics, report: Report) -> Iterator[Finding]:
    found = report.found
    if not found.step_halved:
        return
    chains = np.zeros(0, int) if found.hot_chains is None else found.hot_chains.astype(int)
    who = _chains(chains, "came", "came") if chains.size else "Chains came"
    times = "once" if found.step_halved == 1 else f"{found.step_halved:.0f} times"
    yield Finding(
        "heat",
        True,
        f"{who} to where the step was too large, and grew hot: the step was halved {times}. Draws "
        f"before that are of no use in those chains. Try {_smaller_step(report)}, or leave them "
        "out, idata.sel(chain=[...]).",
    )


def _descent(statistics: Statistics, report: Report) -> Iterator[Finding]:
    if report.found.descent_at_rest is False:
        updates = report.found.descent_updates
        after = f" after {updates} updates" if updates is not None else ""
        yield Finding(
            "descent",
            False,
            f"The search for where to start ended{after} before the potential stopped falling. "
            "Try a longer tune=..., or start nearer: initvals=....",
        )


_CHECKS = {
    "step size": _step_size,
    "kinetic temperature": _kinetic,
    "configurational temperature": _configurational,
    "gradient noise": _noise,
    "batch size": _batch,
    "thermostat": _thermostat,
    "rejected updates": _rejected,
    "modes": _modes,
    "potential energy": _potentials,
    "curvature": _curvature,
    "clipped gradient": _clipped,
    "heat": _heated,
    "descent": _descent,
}
