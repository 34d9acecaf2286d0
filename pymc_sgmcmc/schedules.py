"""Schedules: factors of the step size, as functions of the number of the update.

Any callable of the update number, such as an optax schedule with ``init_value=1``, serves as well.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pymc_sgmcmc.arguments import integer, number, quoted

__all__ = ["CyclicalCosine", "PolynomialDecay", "Schedule", "constant"]

Schedule = Callable[[Any], Any]
"""A function of the number of an update, or of an array of them."""


def constant(update: np.ndarray) -> np.ndarray:
    """Factor 1 at every update."""
    return np.ones(np.shape(update))


@dataclass(frozen=True)
class PolynomialDecay:
    r"""Decay of h² as a power of the update number t: h = h₀ (1 + t/b)^(−γ/2).

    With h² = ε it is the ε_t = a (b + t)^(−γ) of Welling & Teh (2011), whose draws approach the
    posterior without a step-size bias where 1/2 < γ ≤ 1. Their averages weight a draw by ε_t.

    Parameters
    ----------
    offset : float
        b, updates after which the decay sets in.
    power : float
        γ.

    See Also
    --------
    CyclicalCosine : Cycles, with a draw at the end of each.

    Examples
    --------
    >>> import numpy as np
    >>> from pymc_sgmcmc import schedules
    >>> schedule = schedules.PolynomialDecay(offset=1000, power=1)
    >>> schedule(np.array([0, 3_000, 99_000])).tolist()
    [1.0, 0.5, 0.1]

    To sample with it: ``ATMC(schedule=schedule)``.
    """

    offset: float = 1000.0
    power: float = 0.55

    def __post_init__(self) -> None:
        number("offset", self.offset, 0)
        if not 0 <= number("power", self.power, -np.inf) <= 1:
            raise ValueError(f"power must lie between 0 and 1, got {self.power}.")

    def __call__(self, update: np.ndarray) -> np.ndarray:
        """Factor at update number(s) `update`."""
        return (1 + np.asarray(update) / self.offset) ** (-self.power / 2)


@dataclass(frozen=True)
class CyclicalCosine:
    r"""Cosine from 1 to 0 over and over: ½ (1 + cos(π (t mod n)/n)).

    Each cycle starts with steps that leave a mode and ends with steps that explore one; a draw
    is taken at its end. Heek & Kalchbrenner (2019), section 4; Zhang et al. (2020), equation 1.

    Parameters
    ----------
    cycle_length : int
        n, updates in a cycle.

    See Also
    --------
    PolynomialDecay : A step size that goes to 0.

    Examples
    --------
    >>> import numpy as np
    >>> from pymc_sgmcmc import schedules
    >>> schedule = schedules.CyclicalCosine(100)
    >>> schedule(np.array([0, 25, 50, 75, 100])).round(2).tolist()
    [1.0, 0.85, 0.5, 0.15, 1.0]

    To sample with it: ``ATMC(schedule=schedule, steps_per_draw=100)``.
    """

    cycle_length: int

    def __post_init__(self) -> None:
        integer("cycle_length", self.cycle_length)

    def __call__(self, update: np.ndarray) -> np.ndarray:
        """Factor at update number(s) `update`."""
        phase = np.mod(update, self.cycle_length) / self.cycle_length
        return (1 + np.cos(np.pi * phase)) / 2


def resolve(schedule: str | Schedule | None, steps_per_draw: int) -> Schedule:
    """Turn the `schedule` argument of a step into a function of the update number.

    Raises
    ------
    ValueError
        If the name is unknown, or cycles and draws do not end together.
    """
    named: dict[str, Schedule] = {
        "constant": constant,
        "polynomial": PolynomialDecay(),
        "cyclical": CyclicalCosine(steps_per_draw),
    }
    if schedule is None:
        return constant
    if isinstance(schedule, str):
        if schedule not in named:
            raise ValueError(
                f"schedule must be {quoted(tuple(named))}, or a function of the update number, got "
                f"{schedule!r}."
            )
        return named[schedule]
    if not callable(schedule):
        raise ValueError(
            f"schedule must be a name or a function of the update number, got {schedule!r}."
        )
    if isinstance(schedule, CyclicalCosine) and steps_per_draw % schedule.cycle_length:
        raise ValueError(
            f"A draw is taken every steps_per_draw={steps_per_draw} updates, which is not the end "
            f"of a cycle of {schedule.cycle_length}. Use "
            f"steps_per_draw={schedule.cycle_length}."
        )
    return schedule


def factors(schedule: Schedule, start: int, n_updates: int, least: int | None = None) -> np.ndarray:
    """Factors of updates start, ..., start + n_updates − 1, shape ``(n_updates,)``.

    Parameters
    ----------
    schedule : callable
    start, n_updates : int
    least : int, optional
        Updates that must have a factor; those after the first that has none are left out.
        `n_updates` when None.

    Raises
    ------
    ValueError
        If a factor is negative or not finite.
    """
    updates = np.arange(start, start + n_updates)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # an array of one as a number
            values = np.asarray(schedule(updates), dtype=float)
    except (TypeError, ValueError):
        values = np.empty(0)
    if values.shape != updates.shape:  # it takes one number at a time
        values = np.array([float(schedule(t)) for t in updates])
    good = np.isfinite(values) & (values >= 0)
    n_good = n_updates if good.all() else int(good.argmin())
    if n_good < (n_updates if least is None else least):
        raise ValueError(
            f"The schedule gave {values[n_good]} at update {updates[n_good]}: factors of the step "
            "size must be finite and not negative."
        )
    return values[:n_good]
