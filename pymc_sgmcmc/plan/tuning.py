"""Step size and coordinates of a run, given by a person or found by the warm-up."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from pymc_sgmcmc.estimators.coordinates import Coordinates
from pymc_sgmcmc.report.found import Found


@dataclass(frozen=True)
class Place:
    """A part of the space that chains are in, and the coordinates that they have there.

    Parameters
    ----------
    coordinates : Coordinates
    noise : ndarray
        Variance V of the gradient noise of each coordinate, ``(d,)``.
    correlated : float
        Variance of the noise in any direction, beyond what that of the coordinates explains.
    spread : float
        Variance of V over positions, over V².
    anchor : tuple of (float, ndarray), optional
        U in nats and ∇U ``(d,)`` of all rows at the centre, if that is a control variate's.
    """

    coordinates: Coordinates
    noise: np.ndarray
    correlated: float
    anchor: tuple[float, np.ndarray] | None = None
    spread: float = 10.0

    def parameters(self) -> dict[str, np.ndarray]:
        """Parameters of the estimator."""
        c = self.coordinates
        found = {"centre": c.centre, "factor": c.factor}
        if c.axes is not None:
            found |= vars(c.axes)
        if c.blocks is not None:
            found |= {f"block_{i}": x for i, x in enumerate(c.blocks.matrices)}
        if self.anchor is None:
            return found
        value, gradient = self.anchor
        return found | {
            "anchor": c.centre,
            "anchor_value": np.asarray(value),
            "anchor_gradient": gradient,
        }


@dataclass(frozen=True)
class Tuning:
    """What chains move with: step size, updates between draws, and coordinates.

    Parameters
    ----------
    step_size : float
        h₀, in the coordinates of the sampler.
    steps_per_draw : int
        Updates between two draws.
    tuning_steps_per_draw : int
        Updates between two draws of the tuning.
    places : tuple of Place
        Empty where the chains move in the model's own coordinates.
    place_of_chain : ndarray of int
    found : Found
        What else the warm-up found.
    momentum_decay : float or None
        What friction leaves of the momentum in one update, where it was found.
    """

    step_size: float
    steps_per_draw: int
    tuning_steps_per_draw: int
    places: tuple[Place, ...] = ()
    place_of_chain: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    found: Found = field(default_factory=Found)
    momentum_decay: float | None = None

    @property
    def control_variate(self) -> bool:
        """Whether gradients are taken relative to those at the centre."""
        return bool(self.places) and self.places[0].anchor is not None

    def of_chains(self) -> list[Place]:
        """Place of each chain."""
        return [self.places[i] for i in self.place_of_chain]

    def coordinates(self, positions: np.ndarray) -> np.ndarray:
        """Z of one position for each chain, ``(chains, d)``."""
        if not self.places:
            return positions
        pairs = zip(self.of_chains(), positions, strict=True)
        return np.stack([place.coordinates.of(x) for place, x in pairs])

    def parameters(self) -> dict[str, np.ndarray]:
        """Parameters of the estimator: one for all chains, or stacked where their places differ."""
        if len(self.places) <= 1:
            return {k: v for place in self.places for k, v in place.parameters().items()}
        each = [place.parameters() for place in self.of_chains()]
        return {k: np.stack([x[k] for x in each]) for k in each[0]}
