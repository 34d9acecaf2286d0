"""Chains that grow hot: a step that was right where they were is too large where they are."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from pymc_sgmcmc.engines.base import Draws
from pymc_sgmcmc.plan.tuning import Tuning

# Relative excess of a temperature that no chance brings and no target allows, and the standard
# errors that it must be besides.
_EXCESS, _ERRORS = 0.2, 6.0
# Relaxations of the energy that a window holds; draws and updates that it has at least, and draws
# at most.
_RELAXATIONS, _LEAST, _UPDATES, _MOST = 4.0, 10, 1000, 1000


class Heat:
    """Watches the kinetic temperature of chains, in windows of a fixed number of draws.

    A window depends on the tuning alone, not on the blocks that draws come in: the same seed gives
    the same run.

    Parameters
    ----------
    temperature : float
        T of the sampled law.
    size : int
        Parameters d.

    Attributes
    ----------
    left : int
        Draws until the window ends; blocks must end there.
    """

    def __init__(self, temperature: float, size: int) -> None:
        self._temperature, self._size = temperature, size
        self._rate, self.left = 0.0, _LEAST
        self._seen: list[np.ndarray] = []

    def state(self) -> dict[str, Any]:
        """What was seen in the window so far."""
        return {"rate": self._rate, "left": self.left, "seen": list(self._seen)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on with a window, as `state` gave it."""
        self._rate, self.left, self._seen = state["rate"], state["left"], list(state["seen"])

    def begin(self, friction: float, steps: int) -> None:
        """Open a window for chains with `steps` updates a draw, whose energy friction takes.

        Parameters
        ----------
        friction : float
            Momentum lost to friction in one update, as `Dynamics.friction` gives it.
        steps : int
        """
        self._rate = friction * steps
        wanted = max(_RELAXATIONS / self._rate, _UPDATES / steps)
        self.left = int(np.clip(wanted, _LEAST, _MOST))
        self._seen = []

    def hot(self, draws: Draws) -> np.ndarray:
        """Numbers of the chains that are hot, told when a window ends; none before."""
        kinetic = draws.statistics.get("kinetic_temperature")
        self.left -= draws.n
        if kinetic is None or self._temperature == 0:
            return np.zeros(0, int)
        self._seen.append(kinetic)
        if self.left > 0:
            return np.zeros(0, int)
        # In one order, however the window was cut: sums depend on it in their last bits.
        window = np.ascontiguousarray(np.concatenate(self._seen, axis=1))
        relaxations = max(1.0, window.shape[1] * min(1.0, self._rate))
        error = math.sqrt(2 / self._size / relaxations)
        excess = window.mean(1) / self._temperature - 1
        return np.flatnonzero(excess > _EXCESS + _ERRORS * error)


def cooler(tuning: Tuning, hot: np.ndarray) -> Tuning:
    """Half the step, and the same friction in a unit of time, since some chains are hot."""
    decay, found = tuning.momentum_decay, tuning.found
    known = np.zeros(0) if found.hot_chains is None else found.hot_chains
    return dataclasses.replace(
        tuning,
        step_size=tuning.step_size / 2,
        momentum_decay=None if decay is None else math.sqrt(decay),
        found=found.but(
            step_halved=(found.step_halved or 0) + 1, hot_chains=np.union1d(known, hot)
        ),
    )
