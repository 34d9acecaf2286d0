"""Whether a run is to be trusted, in plain words."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from xarray import Dataset, DataTree

from pymc_sgmcmc.trust import Finding, signs_of_trouble

_RHAT = 1.05
_TOO_FEW, _FEW = 100, 400


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
            0: "No sign of trouble. (That is necessary for right draws, not sufficient.)",
            1: "The draws can't be trusted: 1 problem.",
        }.get(problems, f"The draws can't be trusted: {problems} problems.")
        lines = [
            f"{'✗' if finding.problem else '·'} {finding.check}: {finding.message}"
            for finding in self.findings
        ]
        return "\n".join([verdict, *lines])

    __repr__ = __str__


def diagnose(idata: DataTree, var_names: Sequence[str] | None = None) -> Diagnosis:
    """Look for signs that draws are not to be trusted, and say what to do next.

    Looks at the step size against the curvature and the gradient noise that the warm-up measured,
    at the kinetic temperature and at the configurational one, ⟨z·∇U⟩/d, at whether the thermostat
    had settled, at modes and at chains with a higher potential energy than others, at updates
    that were rejected, at how the curvature varies, and at R-hat and the effective sample size.

    Parameters
    ----------
    idata : xarray.DataTree
        Output of `pm.sample(step=...)` or `pymc_sgmcmc.sample`.
    var_names : sequence of str, optional
        Variables of the ``posterior`` whose R-hat and effective sample size matter; all when
        None. For a network name its predictions: its weights have many equivalent modes, which
        then count as worth knowing rather than as a problem.

    Returns
    -------
    Diagnosis
        Its `trustworthy` is False if there is a problem. True is necessary, not sufficient: a mode
        that no chain came near leaves no sign.

    Raises
    ------
    ValueError
        If the draws are not from this package.

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
    The draws can't be trusted: 2 problems.
    ✗ kinetic temperature: The kinetic temperature is 1.5... instead of 1: the step is too large, or
    tuning was too short. Try step_size=0.2..., or a longer tune.
    ✗ configurational temperature: The configurational temperature ⟨z·∇U⟩/d is 1.5... instead of 1:
    variances are too large by about that factor. The chains are not at rest, or the step is too
    large. Try a longer tune=..., then step_size=0.2....
    """
    posterior, statistics = idata["posterior"], idata.get("sample_stats")
    if statistics is None or "temperature" not in posterior.attrs:
        raise ValueError(
            "diagnose needs the output of pm.sample(step=...) or pymc_sgmcmc.sample with one of "
            "this package's steps sampling all variables: the attributes of its posterior group "
            "say how it was sampled."
        )
    attributes = {str(name): value for name, value in posterior.attrs.items()}
    arrays = {str(name): x.values for name, x in statistics.data_vars.items()}
    findings = signs_of_trouble(arrays, attributes)
    if var_names is not None:
        findings = [Finding(f.check, f.problem and f.check != "modes", f.message) for f in findings]
    chosen = posterior.to_dataset()
    findings += _convergence(chosen if var_names is None else chosen[list(var_names)])
    return Diagnosis(tuple(sorted(findings, key=lambda finding: not finding.problem)))


def _convergence(draws: Dataset) -> list[Finding]:
    import arviz as az  # starts JAX

    findings = []
    if draws.sizes["chain"] < 2:
        findings.append(
            Finding("chains", False, "One chain can't show whether chains agree: run four.")
        )
    elif (worst := _extreme(az.rhat(draws), np.nanmax))[1] > _RHAT:
        findings.append(
            Finding(
                "R-hat",
                True,
                f"The chains disagree: R-hat is {worst[1]:.2f} for {worst[0]}. Run longer (draws "
                "and tune), or with larger steps_per_draw; if it stays, their modes differ.",
            )
        )
    name, least = _extreme(az.ess(draws), np.nanmin)
    if least < _FEW:
        findings.append(
            Finding(
                "effective sample size",
                bool(least < _TOO_FEW),
                f"{name} has {least:.0f} effective draws. Take more draws or a larger "
                "steps_per_draw: quantiles need some 400.",
            )
        )
    return findings


def _extreme(values: Any, reduce: Any) -> tuple[str, float]:
    """Name of the variable with the most extreme value, and this value."""
    each = {str(name): float(reduce(x.values)) for name, x in values.data_vars.items()}
    name = (max if reduce is np.nanmax else min)(each, key=lambda k: each[k])
    return name, each[name]
