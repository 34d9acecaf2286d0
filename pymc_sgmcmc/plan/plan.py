"""All that a run is made with, in one frozen object."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pymc.model import Model

from pymc_sgmcmc import processes, schedules
from pymc_sgmcmc.dynamics.base import Dynamics
from pymc_sgmcmc.making import making
from pymc_sgmcmc.model.graphs import is_network
from pymc_sgmcmc.model.potential import StochasticPotential
from pymc_sgmcmc.plan.settings import RunSettings, WarmUp
from pymc_sgmcmc.plan.tuning import Tuning

# Updates between two draws where nothing is known of the posterior's scale.
STEPS_PER_DRAW = 100
# Parameters up to which walkers lend each other a matrix.
MOST_OF_WALKERS = 1000


@dataclass(frozen=True)
class Plan:
    """What is sampled, by which dynamics, with which settings: all that a run is made with.

    Parameters
    ----------
    potential : StochasticPotential
        Of the model as it was when the plan was made.
    dynamics : Dynamics
        The sampler, with its own settings.
    settings : RunSettings
        Those of the step; what follows from one of them, or from the model, is filled in.
    schedule : callable
        Factor of the step size at an update.
    vars : sequence of Variable or None
        Variables that were named, for a potential of the model as it is later.
    """

    potential: StochasticPotential
    dynamics: Dynamics
    settings: RunSettings
    schedule: schedules.Schedule
    vars: Sequence[Any] | None

    @classmethod
    def of(
        cls, model: Model, vars: Sequence[Any] | None, dynamics: Dynamics, settings: RunSettings
    ) -> Plan:
        """Make a plan for a model; nothing is compiled for speed yet.

        Raises
        ------
        ValueError, TypeError
            If the model and the settings don't go together; the message says what to write.
        """
        settings.engine.require()
        potential = _potential(model, vars, settings)
        _check(potential, dynamics, settings)
        wanted = _left_to_find(potential, settings)
        settings = dataclasses.replace(
            settings,
            batches=_batches(potential, settings, wanted),
            steps_per_draw=_steps_per_draw(settings),
            warmup=wanted,
        )
        steps = settings.steps_per_draw or STEPS_PER_DRAW
        return cls(potential, dynamics, settings, schedules.resolve(settings.schedule, steps), vars)

    def of_changed_model(self) -> Plan:
        """Give the same plan for the model as it is now."""
        potential = _potential(self.potential.model, self.vars, self.settings)
        return dataclasses.replace(self, potential=potential)

    @property
    def warms_up(self) -> bool:
        """Whether anything is left for the warm-up to find."""
        wanted, given = self.settings.warmup, self.settings.step_size is not None
        return not (given and wanted.preconditioner is None) or wanted.control_variate is True

    def given(self) -> Tuning:
        """Tuning of a run without a warm-up."""
        h, steps = self.settings.step_size, self.settings.steps_per_draw
        assert h is not None
        assert steps is not None
        return Tuning(h, steps, steps)


def _potential(model: Model, vars: Any, settings: RunSettings) -> StochasticPotential:
    with making():
        return StochasticPotential(
            model, vars, batch_size=settings.batch_size, data=settings.data, dtype=settings.dtype
        )


def _batches(potential: StochasticPotential, settings: RunSettings, warmup: WarmUp) -> Any:
    """How rows are drawn, where the model has a say in it.

    Without a control variate, the noise of common levels is as great as that of rare ones.
    """
    if settings.batches != "auto":
        return settings.batches
    may_pay = warmup.control_variate and not is_network(potential.model)
    return "balanced" if may_pay and potential.has_rare_levels else "independent"


def _steps_per_draw(settings: RunSettings) -> int | None:
    """Updates between two draws, where the warm-up has no say in them."""
    fixed = settings.step_size is not None or settings.schedule is not None
    return settings.steps_per_draw or (STEPS_PER_DRAW if fixed else None)


def _left_to_find(potential: StochasticPotential, settings: RunSettings) -> WarmUp:
    """What is left for the warm-up to find."""
    wanted = settings.warmup
    if settings.step_size is not None:
        # A step that a person chose is one in the model's own coordinates.
        if isinstance(wanted.preconditioner, str) and wanted.preconditioner == "auto":
            wanted = dataclasses.replace(wanted, preconditioner=None)
        if wanted.control_variate == "auto":
            wanted = dataclasses.replace(wanted, control_variate=False)
    if potential.others and wanted.control_variate == "auto":
        wanted = dataclasses.replace(wanted, control_variate=False)
    return wanted


def _check(potential: StochasticPotential, dynamics: Dynamics, settings: RunSettings) -> None:
    """Raise a ValueError for what the model does not allow."""
    size, chosen = potential.size, settings.warmup.preconditioner
    if isinstance(chosen, np.ndarray) and chosen.shape not in ((size,), (size, size)):
        raise ValueError(
            f"preconditioner has the shape {chosen.shape}; the model has {size} unconstrained "
            f"parameters. Give their variances, shape ({size},), or covariance, ({size}, {size})."
        )
    if settings.step_size is None and dynamics.temperature == 0:
        raise ValueError(
            "temperature=0 leaves no variances to find a step size by. Give step_size=..."
        )
    if settings.warmup.control_variate is True and potential.others:
        names = ", ".join(repr(v.name) for v in potential.others)
        raise ValueError(
            f"control_variate=True needs a step that samples all variables: the gradient at "
            f"the centre changes whenever another step moves {names}."
        )
    if settings.ensemble is not None:
        _check_ensemble(potential, dynamics, settings.ensemble)
    if settings.batches not in ("auto", "independent"):
        _check_batches(potential, settings.batches)
    if settings.batches == "sweeps":
        _check_sweeps(dynamics)


def _check_ensemble(potential: StochasticPotential, dynamics: Dynamics, ensemble: float) -> None:
    """Raise a ValueError where walkers can't lend each other coordinates."""
    asked = f"ensemble={ensemble:g}"
    if potential.size > MOST_OF_WALKERS:
        raise ValueError(
            f"{asked} makes a matrix of all parameters before every draw, and there are "
            f"{potential.size:,}, more than {MOST_OF_WALKERS:,}. Leave ensemble out."
        )
    if potential.others:
        names = ", ".join(repr(v.name) for v in potential.others)
        raise ValueError(
            f"{asked} needs a step that samples all variables: chains advance one by one where "
            f"another step moves {names}. Leave ensemble out."
        )
    if potential.stored is not None:
        raise ValueError(
            f"{asked} moves half of the chains at a time, which rows on disk are not read for. "
            "Leave ensemble out."
        )
    if processes.count() > 1:
        raise ValueError(
            f"{asked} needs all chains in one process, and jax.distributed has joined "
            f"{processes.count()}. Leave ensemble out."
        )
    minibatches = potential.batch_size not in (None, potential.n_rows)
    if minibatches and "thermostat" in dynamics.auxiliaries:
        raise ValueError(
            f"{asked} changes coordinates before every draw, and the noise of minibatches in them, "
            "which a thermostat takes longer to measure. Use BAOAB or SGHMC, or leave batch_size "
            "out, or leave ensemble out."
        )


def _check_batches(potential: StochasticPotential, batches: str) -> None:
    """Raise a ValueError where there are no minibatches to be drawn."""
    if potential.batch_size is None:
        what = {
            "sweeps": "goes through the rows in minibatches",
            "blocks": "cuts minibatches",
            "balanced": "draws minibatches",
        }
        raise ValueError(
            f'batches="{batches}" {what[batches]}, and here every update takes all rows. Give '
            "batch_size=..., or leave batches out."
        )
    if batches == "balanced" and not potential.has_rare_levels:
        raise ValueError(
            'batches="balanced" draws rows of rare levels more often: of an index in memory by '
            "which rows pick entries of a variable, w[group], where a level has less than a "
            "quarter of the average's rows, and in batches of at most a tenth of all rows. There "
            "is none here. Leave batches out."
        )


def _check_sweeps(dynamics: Dynamics) -> None:
    """Raise a ValueError where sweeps make a wrong law."""
    if "thermostat" in dynamics.auxiliaries:
        raise ValueError(
            'batches="sweeps" is not for a sampler with a thermostat, which would take for heat '
            "what the second half of a sweep takes back, and make variances too small. Use SGHMC "
            "or SGLD, or leave batches out: a thermostat absorbs the noise of independent ones."
        )
