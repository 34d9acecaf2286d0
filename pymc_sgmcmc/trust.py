"""Signs in the statistics of a run that its draws are not to be trusted.

None of them is proof of the contrary: a kinetic temperature of 1 is necessary, not sufficient.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pymc_sgmcmc.chains import Sampler

_log = logging.getLogger(__name__)

# Relative error of the kinetic temperature, and momentum lost to the gradient's noise in one
# update, from which on variances are several percent off.
_KINETIC = 0.05
_NOISE_FRICTION = 0.3


def signs_of_trouble(statistics: Mapping[str, np.ndarray], sampler: Sampler) -> list[str]:
    """What is wrong, and what to do.

    Parameters
    ----------
    statistics : mapping of str to ndarray
        Statistics of the draws after tuning, ``(chains, draws)``.
    sampler : Sampler
        What was run.

    Returns
    -------
    list of str
        A sentence for each sign; empty if there is none.
    """
    h, T = sampler.step_size, sampler.dynamics.temperature
    signs = []
    kinetic = statistics.get("kinetic_temperature")
    if kinetic is not None and T > 0 and abs(kinetic.mean() / T - 1) > _KINETIC:
        signs.append(
            f"The kinetic temperature is {kinetic.mean():.3g} instead of {T:g}: the step is too "
            f"large, or tuning was too short. Try step_size={h / 2:.2g}, or larger batches."
        )
    noise = statistics.get("gradient_noise")
    if noise is not None and h**2 * noise.mean() / (2 * T) > _NOISE_FRICTION:
        signs.append(
            f"Gradient noise takes {h**2 * noise.mean() / (2 * T):.2g} of the momentum in every "
            "update, too much for the thermostat to be exact. Try "
            f"step_size={h * (_NOISE_FRICTION / 3 * 2 * T / (h**2 * noise.mean())) ** 0.5:.2g}, "
            "or larger batches."
        )
    if rejected := int(statistics["rejected"].sum()):
        signs.append(
            f"{rejected} updates gave numbers that are not finite and were rejected. A few do no "
            f"harm; if they are many, try step_size={h / 2:.2g}."
        )
    return signs


def log_trouble(statistics: Mapping[str, np.ndarray], sampler: Sampler) -> None:
    """Log a warning for each sign of trouble."""
    for sign in signs_of_trouble(statistics, sampler):
        _log.warning(sign)
