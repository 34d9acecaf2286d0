"""Whether a run is to be trusted, in plain words."""

import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from xarray import DataArray, Dataset, DataTree

from pymc_sgmcmc.arguments import names
from pymc_sgmcmc.diagnostics.reading import observed_names, quoted, sampled
from pymc_sgmcmc.engines.base import UPDATE_STATISTICS
from pymc_sgmcmc.report.record import NotMeasured
from pymc_sgmcmc.report.report import Report
from pymc_sgmcmc.report.signs import Finding, guarded, signs_of_trouble

_RHAT = 1.05
# The worst of thousands of rows is above that of a few parameters, by chance.
_RHAT_OF_ROWS = 1.1
_TOO_FEW, _FEW = 100, 400
# R-hat splits each chain into halves, and each half needs a variance.
_DRAWS = 4
# Standard deviations that numbers are apart, from which on draws are few distinct ones.
_COARSE = 0.1


@dataclass(frozen=True)
class Diagnosis:
    """What `diagnose` found; prints as a list.

    Attributes
    ----------
    findings : tuple of Finding
        Problems first.

    Examples
    --------
    >>> import pymc as pm
    >>> from pymc_sgmcmc import ATMC, diagnose, sample
    >>> with pm.Model():
    ...     x = pm.Normal("x", shape=20)
    ...     idata = sample(200, tune=200, step=ATMC(), random_seed=1, progressbar=False)
    >>> found = diagnose(idata)
    >>> found.trustworthy
    True
    >>> [finding.check for finding in found.findings if finding.problem]
    []
    """

    findings: tuple[Finding, ...]

    @property
    def trustworthy(self) -> bool:
        """Whether no problem was found; that is necessary for right draws, not sufficient."""
        return not any(finding.problem for finding in self.findings)

    def __str__(self) -> str:
        problems = sum(finding.problem for finding in self.findings)
        verdict = {
            0: "No problems detected. This does not prove convergence.",
            1: "1 problem: read it before you use the draws.",
        }.get(problems, f"{problems} problems: read them before you use the draws.")
        lines = [
            f"{'✗' if finding.problem else '·'} {finding.check}: {finding.message}"
            for finding in self.findings
        ]
        return "\n".join([verdict, *lines])

    __repr__ = __str__


def diagnose(
    idata: DataTree,
    var_names: Sequence[str] | str | None = None,
    *,
    predictions: DataTree | None = None,
) -> Diagnosis:
    """Look for signs that draws are not to be trusted, and say what to do next.

    Looks at the step size against the curvature and the gradient noise that the warm-up measured,
    at the kinetic temperature and at the configurational one, ⟨z·∇U⟩/d, at whether the thermostat
    had settled, at modes and at chains with a higher potential energy than others, at updates
    that were rejected, at how the curvature varies, at draws that are not finite, never change or
    are rounded, and at R-hat and the effective sample size. What can't be measured is said to be
    so.

    Parameters
    ----------
    idata : xarray.DataTree
        Output of `pm.sample(step=...)` or `pymc_sgmcmc.sample`.
    var_names : sequence of str, optional
        Variables of the ``posterior`` (or of `predictions`) whose R-hat and effective sample size
        matter; all when None. The weights of a network have many equivalent modes, which are
        worth knowing where it was written by `nn`, or variables are named here, and otherwise a
        problem.
    predictions : xarray.DataTree, optional
        Output of `predict` for the same draws: R-hat and effective sample size are of its
        predictions, those of each row, instead of the posterior's variables. For networks.

    Returns
    -------
    Diagnosis
        Its `trustworthy` is False if there is a problem. True is necessary, not sufficient: a mode
        that no chain came near leaves no sign.

    Raises
    ------
    ValueError
        If the draws are not from this package, or a variable is not among them.

    See Also
    --------
    pymc_sgmcmc.diagnostics.temperatures : The temperatures of each chain.
    pymc_sgmcmc.diagnostics.predictive_rhat : Whether the chains of a network agree.

    Examples
    --------
    >>> import pymc as pm
    >>> from pymc_sgmcmc import SGHMC, diagnose, sample
    >>> with pm.Model():
    ...     x = pm.Normal("x", shape=20)
    ...     step = SGHMC(step_size=1.2)
    ...     idata = sample(200, tune=200, step=step, random_seed=1, progressbar=False)
    >>> diagnose(idata)
    2 problems: read them before you use the draws.
    ✗ kinetic temperature: The kinetic temperature is 1.5... instead of 1: the step is too large, or
    tuning was too short. Try step_size=0.2..., or a longer tune.
    ✗ configurational temperature: The configurational temperature ⟨z·∇U⟩/d is 1.5... instead of 1:
    variances are too large by about that factor. The chains are not at rest, or the step is too
    large. Try a longer tune=..., then step_size=0.2....
    """
    posterior, statistics = _draws_and_statistics(idata)
    attributes = {str(name): value for name, value in posterior.attrs.items()}
    report = Report.read(attributes)
    judged = posterior if predictions is None else _predictions(predictions)
    chosen = judged[_names(judged, var_names)]
    arrays = {
        name: statistics[name].transpose("chain", "draw", ...).values
        for name in sampled(statistics)
    }
    findings = signs_of_trouble(arrays, attributes)
    findings += guarded("statistics", _not_reported, arrays)
    if predictions is None and var_names is None:
        findings += guarded("variables", _no_numbers, posterior, report)
    draws = guarded("draws", _any_draws, chosen, report)
    findings += draws
    if not {"draws", "stuck chains"} & {finding.check for finding in draws}:
        findings += guarded("resolution", _resolution, posterior, report)
        asked = _names(posterior, var_names) if predictions is None else []
        wanted = [*report.free_variables, *asked]
        findings += guarded("draws", _not_finite, posterior, wanted)
        if predictions is not None:
            findings += guarded("predictions", _not_finite, chosen, list(chosen.data_vars))
        limit = _RHAT if predictions is None else _RHAT_OF_ROWS
        mixing = guarded("R-hat", _agreement, chosen, limit)
        mixing += guarded("effective sample size", _effective_draws, chosen)
        if any(finding.problem for finding in mixing):
            findings += guarded("hierarchy", _hierarchy, posterior, report)
        if report.network and var_names is None and predictions is None:
            mixing = [_of_weights(finding) for finding in mixing]
        findings += mixing
    if var_names is not None or predictions is not None:
        findings = [replace(f, problem=f.problem and f.check != "modes") for f in findings]
    return Diagnosis(tuple(sorted(findings, key=lambda finding: not finding.problem)))


def _draws_and_statistics(idata: DataTree) -> tuple[Dataset, Dataset]:
    """Groups ``posterior`` and ``sample_stats``; an error where they are not of this package."""
    groups = idata.children if isinstance(idata, DataTree) else {}
    if "predictions" in groups and "posterior" not in groups:
        raise ValueError(
            "diagnose needs the draws that predictions were made of: "
            "diagnose(idata, predictions=predict(idata, ...))."
        )
    if not {"posterior", "sample_stats"} <= set(groups) or "temperature" not in (
        idata["posterior"].attrs
    ):
        raise ValueError(
            "diagnose needs the output of pm.sample(step=...) or pymc_sgmcmc.sample with one of "
            "this package's steps sampling all variables: the attributes of its posterior group "
            "say how it was sampled. diagnose(idata) with such an idata."
        )
    return idata["posterior"].to_dataset(), idata["sample_stats"].to_dataset()


def _predictions(predictions: DataTree) -> Dataset:
    """Predictions of a tree, without draws of the outcome: their noise hides disagreement."""
    if not isinstance(predictions, DataTree) or "predictions" not in predictions.children:
        raise ValueError(
            "predictions must be what predict gives: "
            "diagnose(idata, predictions=predict(idata, {...}))."
        )
    dataset = predictions["predictions"].to_dataset()
    computed = [name for name in sampled(dataset) if name not in observed_names(predictions)]
    return dataset[computed or sampled(dataset)]


def _names(judged: Dataset, var_names: Sequence[str] | str | None) -> list[str]:
    """Variables to judge: those named, or all that have chains and draws."""
    known = sampled(judged)
    if var_names is None:
        return known
    chosen = names("var_names", var_names, one=True)
    unknown = [name for name in chosen if name not in known]
    if unknown or not chosen:
        raise ValueError(
            f"var_names has {quoted(unknown)}. Variables with chains and draws are: "
            f"{quoted(known)}."
        )
    return chosen


def _not_reported(statistics: Mapping[str, np.ndarray]) -> Iterator[Finding]:
    """What every sampler of this package reports, and is not there."""
    missing = [name for name in UPDATE_STATISTICS if name not in statistics]
    if missing:
        none = len(missing) == len(UPDATE_STATISTICS)
        what = f"sample_stats has no numbers of {quoted(missing)} for each chain and draw"
        yield Finding("statistics", none, f"Not measured: {what}.")


def _no_numbers(posterior: Dataset, report: Report) -> Iterator[Finding]:
    """Variables that nothing can be said of."""
    for name in map(str, posterior.data_vars):
        if name not in sampled(posterior):
            yield Finding(
                f"variable {name}",
                name in report.free_variables,
                f"Not measured: {name!r} has no number for each chain and draw.",
            )


def _any_draws(chosen: Dataset, report: Report) -> Iterator[Finding]:
    """Whether there are draws that differ from each other."""
    chains, draws = (chosen.sizes.get(dim, 0) for dim in ("chain", "draw"))
    if not chains or not draws or not any(x.size for x in chosen.data_vars.values()):
        yield Finding(
            "draws",
            True,
            "There are no draws, of dims (chain, draw, ...): nothing can be measured. Select a "
            "single chain by idata.sel(chain=[0]).",
        )
        return
    if draws < _DRAWS:
        yield Finding(
            "draws",
            True,
            f"{draws} draws of each chain are too few to measure anything: take {_FEW} or more.",
        )
        return
    # Variables one after the other: they may fill the memory.
    finite, still = False, {}
    for name, variable in chosen.data_vars.items():
        if variable.size:
            x = _by_chain(variable)
            finite |= bool(np.isfinite(x).any())
            still[str(name)] = (x == x[:, :1]).all((1, 2))
    if not finite:
        yield Finding("draws", True, "No draw is finite: nothing can be measured.")
        return
    everywhere = np.all(list(still.values()), axis=0)
    if everywhere.any():
        stuck = ", ".join(map(str, chosen["chain"].values[everywhere][:8]))
        where = "No chain" if everywhere.all() else f"Not a single variable of chain {stuck}"
        yield Finding(
            "stuck chains",
            True,
            f"{where} ever moves: nothing can be measured of it. Every update may have been "
            "rejected, or be lost in rounding: try dtype='float64', or a longer tune=....",
        )
        return
    for name, x in still.items():
        if x.all():
            free = name in report.free_variables
            yield Finding(
                f"constant {name}",
                free,
                f"{name!r} never changes: R-hat says nothing of it."
                + (" Its moves may be lost in rounding: try dtype='float64'." if free else ""),
            )


def _by_chain(x: DataArray) -> np.ndarray:
    """Values as numbers, ``(chain, draw, entry)``."""
    values = x.transpose("chain", "draw", ...).values
    chains, draws, *shape = values.shape
    return values.reshape(chains, draws, math.prod(shape))


def _not_finite(draws: Dataset, judged: Sequence[Hashable]) -> Iterator[Finding]:
    for name in sampled(draws):
        bad = ~np.isfinite(draws[name].values)
        if bad.any():
            yield Finding(
                "non-finite draws",
                name in judged,
                f"{name!r} has {bad.sum()} of {bad.size} values that are inf or nan: nothing that "
                "is computed of them is right. Where it is computed from other variables it "
                "overflows: write it on the log scale, or leave it out with var_names.",
            )


def _resolution(draws: Dataset, report: Report) -> Iterator[Finding]:
    """Whether numbers are as close to each other as the posterior is narrow."""
    # The coarsest, where there are several steps.
    ran = "float32" if "float32" in str(report.dtype) else "float64"
    for name in [name for name in sampled(draws) if name in report.free_variables]:
        x = _by_chain(draws[name])
        stored = draws[name].dtype
        if stored.kind != "f" or not np.isfinite(x).all() or (x == x[:1, :1]).all():
            continue
        eps = max(np.finfo(ran).eps, np.finfo(stored).eps)
        mean, sd = (f(x, (0, 1), dtype=float) for f in (np.mean, np.std))
        coarse = np.flatnonzero(eps * np.abs(mean) > _COARSE * sd)
        if coarse.size:
            i = coarse[np.argmax(np.abs(mean[coarse]))]
            kind = "float32" if eps > 1e-10 else "float64"
            wider = "Use dtype='float64' in the step, or write" if kind == "float32" else "Write"
            yield Finding(
                "resolution",
                True,
                f"{name!r} has mean {mean[i]:.3g} and standard deviation {sd[i]:.2g}, and numbers "
                f"of {kind} are up to {eps * abs(mean[i]):.1g} apart there: draws are rounded. "
                f"{wider} it as {mean[i]:.3g} + a variable around 0.",
            )


def _agreement(draws: Dataset, limit: float) -> Iterator[Finding]:
    import arviz as az  # starts JAX

    if draws.sizes["chain"] < 2:
        yield Finding("chains", False, "One chain can't show whether chains agree: run four.")
        return
    with np.errstate(divide="ignore", invalid="ignore"):
        name, worst = _extreme(az.rhat(_with_entries(draws)), np.nanmax)
    if np.isnan(worst):
        yield Finding("R-hat", True, "R-hat could not be measured of any variable.")
    elif worst > limit:
        yield Finding(
            "R-hat",
            True,
            f"The chains disagree: R-hat is {worst:.2f} for {name}. Run longer (draws and tune), "
            "or with larger steps_per_draw; if it stays, their modes differ: weight the chains by "
            "what they predict, diagnostics.stack_chains.",
        )


def _effective_draws(draws: Dataset) -> Iterator[Finding]:
    import arviz as az  # starts JAX

    with np.errstate(divide="ignore", invalid="ignore"):
        name, least = _extreme(az.ess(_with_entries(draws)), np.nanmin)
    if np.isnan(least):
        message = "The effective sample size could not be measured of any variable."
        yield Finding("effective sample size", True, message)
    elif least < _FEW:
        yield Finding(
            "effective sample size",
            bool(least < _TOO_FEW),
            f"{name} has {least:.0f} effective draws. Take more draws or a larger "
            "steps_per_draw: quantiles need some 400.",
        )


def _with_entries(draws: Dataset) -> Dataset:
    """Variables with entries: others have no extreme."""
    names = [name for name, x in draws.data_vars.items() if x.size]
    if not names:
        raise NotMeasured("there are no draws", failed=True)
    return draws[names]


def _of_weights(finding: Finding) -> Finding:
    """What the mixing of a network's weights means: little."""
    if not finding.problem:
        return finding
    message = finding.message.split(". ")[0] + (
        ". That is expected of a network, whose units swap places. Judge predictions: "
        "diagnose(idata, predictions=predict(idata, {...}))."
    )
    return Finding(finding.check, False, message)


def _hierarchy(posterior: Dataset, report: Report) -> Iterator[Finding]:
    names = [name for name in report.found.non_centred if name in sampled(posterior)]
    if not names:
        return
    name, groups = names[0], _by_chain(posterior[names[0]]).shape[2]
    try:
        rows = report.found.non_centred_rows
        many = "many" if rows is None else f"about {rows:,.0f}"
    except NotMeasured:
        many = "many"
    yield Finding(
        "hierarchy",
        True,
        f"{quoted(names)} {'is' if len(names) == 1 else 'are'} written non-centred "
        f"(scale * {name}), while each of the {groups} groups has {many} rows: write it centred, "
        f"pm.Normal({name!r}, 0, scale, shape={groups}).",
    )


def _extreme(values: Dataset, reduce: Callable[[np.ndarray], float]) -> tuple[str, float]:
    """Name of the variable with the most extreme value, and this value; nan if there is none."""
    finite = {k: x.values for k, x in values.data_vars.items() if not np.isnan(x.values).all()}
    each = {str(name): float(reduce(x)) for name, x in finite.items()}
    if not each:
        return "", np.nan
    name = (max if reduce is np.nanmax else min)(each, key=lambda k: each[k])
    return name, each[name]


def extremes(idata: DataTree, var_names: Sequence[str] | str | None = None) -> tuple[float, float]:
    """Largest R-hat and smallest effective sample size of the posterior; nan where unknown.

    Parameters
    ----------
    idata : xarray.DataTree
    var_names : sequence of str, optional
        Variables that matter; all when None.
    """
    import arviz as az  # starts JAX

    posterior = idata["posterior"].to_dataset()
    found = []
    # Variables one after the other: they may fill the memory.
    for name in _names(posterior, var_names):
        draws = _with_entries(posterior[[name]])
        with np.errstate(divide="ignore", invalid="ignore"):
            found.append((_extreme(az.rhat(draws), np.nanmax), _extreme(az.ess(draws), np.nanmin)))
    return max(x for (_, x), _ in found), min(x for _, (_, x) in found)
