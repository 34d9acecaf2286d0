"""What ran, and what was found: one record of a run, for its output and its diagnosis."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pymc_sgmcmc.report.found import Found
from pymc_sgmcmc.report.record import NotMeasured, Record


@dataclass(frozen=True, kw_only=True)
class Report(Record):
    """One run of one step.

    Its `attributes` are those of the output, and `read` makes it of them again. What a diagnosis
    reads of the settings has a field; the others stand in `also`.

    Attributes
    ----------
    sampler : str
        Name of the step.
    temperature : float
        T of the sampled law.
    momentum_decay : float or None
        What friction leaves of the momentum in one update.
    step_size : float
        h₀; unknown as long as it is to be found.
    step_size_given : bool
        Whether a person gave it.
    steps_per_draw : int or None
        Updates between two draws; None as long as it is to be found.
    target_bias : float or None
        Relative error of a variance that the step size found may leave.
    clip_gradient : float or None
        Largest norm of a gradient.
    backend : str or None
        Name of the engine that ran; None as long as it is open.
    batch_size : int or str
        Rows of a batch, N where all are taken; ``"all rows"`` where N need not be known.
    batches : str or None
        How the rows of batches were drawn.
    n_rows : int or None
        N.
    dtype : str
    control_variate : bool or None
    updates, tuning_updates, warmup_updates : int or None
        Updates of every chain; those of the tuning draws; and these with as many as the search
        would have made of the gradients that it took.
    network : bool
        Whether the model is a network that `nn` wrote.
    free_variables : tuple of str
        Names of the variables that were sampled.
    statistics : str
        Names of what the sampler reports of an update, with spaces in between.
    found : Found
        What the warm-up found.
    also : mapping
        The other settings, and versions.
    """

    sampler: str
    temperature: float
    momentum_decay: float | None = None
    step_size: float
    step_size_given: bool = False
    steps_per_draw: int | None = None
    target_bias: float | None = None
    clip_gradient: float | None = None
    backend: str | None = None
    batch_size: int | str = "all rows"
    batches: str | None = None
    n_rows: int | None = None
    dtype: str | None = None
    control_variate: bool | None = None
    updates: int | None = None
    tuning_updates: int | None = None
    warmup_updates: int | None = None
    network: bool = False
    free_variables: tuple[str, ...] = ()
    statistics: str = ""
    found: Found = dataclasses.field(default_factory=Found)
    also: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def in_batches(self) -> bool:
        """Whether gradients are of some of the rows."""
        try:
            return float(self.batch_size) < (self.n_rows or 0)
        except (NotMeasured, TypeError, ValueError, OverflowError):
            return False

    @property
    def friction(self) -> float:
        """Friction in one update, by the momentum that it leaves; see `Dynamics.friction`."""
        decay = self.momentum_decay
        if decay is None:
            raise NotMeasured("the attributes have no 'momentum_decay'")
        if not 0 < decay < 1:
            raise NotMeasured(
                f"the attribute 'momentum_decay' is {decay:g}, not within 0 and 1", True
            )
        return -math.log(decay)
