"""What a run tells while it goes on, and what may end it before all draws are made."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from xarray import DataTree

from pymc_sgmcmc.arguments import names, number

# Draws that must be new, as a part of those there are, before a diagnosis is made again; and the
# least that one is made of.
_NEW, _LEAST = 0.2, 20


@dataclass(frozen=True)
class Progress:
    """How far a run has come: what `callback` and `stop_when` of `sample` are given.

    Attributes
    ----------
    phase : {"Tuning", "Sampling"}
    made, tune, draws : int
        Draws that every chain has made, tuning included; draws of the tuning, and those after it
        that were asked for.
    updates : int
        Updates of every chain, tuning included.
    seconds : float
        Since the call began; those of earlier calls with the same store don't count.
    statistics : mapping of str to ndarray
        Of the latest draw of every chain, ``(chains,)`` each: ``potential_energy`` and others.

    Examples
    --------
    >>> import pymc as pm
    >>> from pymc_sgmcmc import ATMC, sample
    >>> def tell(progress):
    ...     if progress.made == 100:
    ...         print(progress.phase, progress.made, progress.statistics["step_size"].shape)
    >>> with pm.Model():
    ...     x = pm.Normal("x", shape=3)
    ...     idata = sample(50, tune=50, step=ATMC(), callback=tell, progressbar=False)
    Sampling 100 (4,)
    """

    phase: str
    made: int
    tune: int
    draws: int
    updates: int
    seconds: float
    statistics: Mapping[str, np.ndarray]
    _tree: Callable[[], DataTree] = dataclasses.field(repr=False)

    @property
    def kept(self) -> int:
        """Draws of every chain after tuning."""
        return max(0, self.made - self.tune)

    @property
    def idata(self) -> DataTree:
        """Draws so far, as `sample` would give them now."""
        return self._tree()


Condition = Callable[[Progress], Any]


def condition(stop_when: Any) -> Condition:
    """What `stop_when` of `sample` may be, as a function of a `Progress`.

    Raises
    ------
    TypeError, ValueError
        If it is none of these.
    """
    if stop_when is None:
        return lambda progress: False
    if callable(stop_when):
        return stop_when
    if isinstance(stop_when, datetime.timedelta):
        limit = stop_when.total_seconds()
        if limit > 0:
            return lambda progress: progress.seconds >= limit
    raise TypeError(
        "stop_when must be a function that is given a Progress and returns True to stop, "
        "reached(ess=..., rhat=...), or a positive datetime.timedelta, as of hours=2; got "
        f"{stop_when!r}."
    )


def reached(
    *, ess: float | None = 400, rhat: float | None = 1.01, var_names: Sequence[str] | None = None
) -> Condition:
    """Stop when the draws are enough: for `stop_when` of `sample`.

    Looked at whenever a fifth more draws have been made than at the last look. Stopping at the
    first sight of a good value favours values that look good by chance: ask for a little more than
    is needed.

    Parameters
    ----------
    ess : float or None
        Effective draws that every variable, and every entry of it, must have.
    rhat : float or None
        R-hat that none may be above.
    var_names : sequence of str, optional
        Variables that matter; all when None. Those of a network never get there: name a
        Deterministic of its predictions.

    Returns
    -------
    callable
        Of a `Progress`, gives whether all is reached.

    Raises
    ------
    TypeError, ValueError
        If a number makes no sense, or no name is a variable.

    Examples
    --------
    >>> import pymc as pm
    >>> from pymc_sgmcmc import ATMC, reached, sample
    >>> with pm.Model():
    ...     x = pm.Normal("x", shape=3)
    ...     enough = reached(ess=400, rhat=1.05)
    ...     idata = sample(10_000, step=ATMC(), random_seed=1, stop_when=enough, progressbar=False)
    >>> 100 < idata.posterior.sizes["draw"] < 5000
    True
    """
    if var_names is not None:
        var_names = names("var_names", var_names, one=True)
    least = 0.0 if ess is None else number("ess", ess, 0)
    most = np.inf if rhat is None else number("rhat", rhat, 1)
    looked_at = 0

    def enough(progress: Progress) -> bool:
        nonlocal looked_at
        if progress.kept < max(_LEAST, looked_at * (1 + _NEW)):
            # A run that is begun anew is looked at anew.
            looked_at = min(looked_at, progress.kept)
            return False
        looked_at = progress.kept
        from pymc_sgmcmc.diagnostics.diagnosis import extremes  # with half of SciPy

        worst, fewest = extremes(progress.idata, var_names)
        return bool(worst <= most and fewest >= least)

    return enough
