"""The report of a plan, and of a run of it."""

from __future__ import annotations

import functools
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from pymc_sgmcmc.dynamics import Dynamics, MomentumDynamics
from pymc_sgmcmc.engines.base import UPDATE_STATISTICS
from pymc_sgmcmc.model.graphs import is_network
from pymc_sgmcmc.plan.plan import Plan
from pymc_sgmcmc.report.record import NotMeasured, names_of
from pymc_sgmcmc.report.report import Report
from pymc_sgmcmc.run.phases import Run
from pymc_sgmcmc.settings import Settings, declared

_PACKAGES = ("pymc_sgmcmc", "pymc", "pytensor", "jax", "numba")


def report_of(plan: Plan, sampler: str, run: Run | None = None) -> Report:
    """Report of a plan as it was made; with a run of it, also what was found and what ran.

    Parameters
    ----------
    plan : Plan
    sampler : str
        Name of the step.
    run : Run, optional
    """
    settings, potential = plan.settings, plan.potential
    rows = potential.rows.variables if potential.rows else ()
    step_size: Any = settings.step_size
    if step_size is None:
        step_size = NotMeasured("the step size is to be found")
    recorded = _recorded(settings) | _recorded(plan.dynamics)
    momentum_decay: Any = _decay(plan.dynamics)
    if settings.step_size is None and recorded.get("momentum_decay") == "auto":
        momentum_decay = NotMeasured("the friction is to be found")
    if run is not None:
        recorded |= _recorded(run.engine)
    recorded |= {
        "data": ", ".join(v.name for v in rows if v.name) or None,
        "schedule": str(getattr(plan.schedule, "__name__", plan.schedule)),
        **{f"{package}_version": _version(package) for package in _PACKAGES},
    }
    report = Report(
        sampler=sampler,
        temperature=plan.dynamics.temperature,
        momentum_decay=momentum_decay,
        step_size=step_size,
        step_size_given=settings.step_size is not None,
        steps_per_draw=settings.steps_per_draw,
        target_bias=settings.warmup.target_bias,
        clip_gradient=settings.clip_gradient,
        batch_size=potential.batch_size or potential.n_rows or "all rows",
        batches=settings.batches,
        n_rows=potential.n_rows,
        dtype=potential.dtype,
        network=is_network(potential.model),
        free_variables=tuple(v.name for v in potential.model.free_RVs),
        statistics=" ".join((*plan.dynamics.statistics, *UPDATE_STATISTICS)),
    )
    report = report.but(also={k: x for k, x in recorded.items() if k not in names_of(Report)})
    return report if run is None else _of_run(report, run)


def _of_run(report: Report, run: Run) -> Report:
    """Report with what a run of it found so far."""
    tuning = run.tuning
    return report.but(
        backend=run.engine.name,
        momentum_decay=_decay(run.chains.dynamics),
        step_size=tuning.step_size,
        steps_per_draw=tuning.steps_per_draw,
        control_variate=tuning.control_variate,
        updates=run.updates,
        tuning_updates=run.tuning_updates,
        warmup_updates=run.tuning_updates + (tuning.found.search_updates or 0),
        found=tuning.found,
    )


def _decay(dynamics: Dynamics) -> float | None:
    """Momentum decay in use, of dynamics that have one."""
    if isinstance(dynamics, MomentumDynamics):
        return dynamics.decay
    return getattr(dynamics, "momentum_decay", None)


def _recorded(settings: Settings) -> dict[str, Any]:
    """All settings of a class by name, those within one of them too, as netCDF can hold them."""
    found: dict[str, Any] = {}
    for field in declared(type(settings)):
        value = getattr(settings, field.name)
        if isinstance(value, Settings):
            found |= _recorded(value)
        elif isinstance(value, np.ndarray):
            found[field.name] = "array"
        elif value is None and field.default is not None:  # it was chosen
            found[field.name] = "none"
        else:
            found[field.name] = value
    return found


@functools.cache
def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:  # one of the engines may be missing
        return None
