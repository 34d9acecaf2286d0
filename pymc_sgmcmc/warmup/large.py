"""Warm-up of models with too many dimensions for a Hessian, such as neural networks."""

from __future__ import annotations

import dataclasses

import numpy as np

from pymc_sgmcmc.engines.settings import OneEngine
from pymc_sgmcmc.estimators.coordinates import Coordinates, preconditioned
from pymc_sgmcmc.plan.compiled import Compiled
from pymc_sgmcmc.plan.tuning import Place
from pymc_sgmcmc.warmup.base import BaseWarmUp
from pymc_sgmcmc.warmup.descent import DescentDynamics, descend
from pymc_sgmcmc.warmup.landscape import Landscape
from pymc_sgmcmc.warmup.noise import correlated_part

# Rows on which curvature is measured, and pairs of batches that show the gradient's noise.
_ROWS, _PAIRS = 2000, 64
# Products that show the diagonal of a Hessian; smallest curvature that counts, over the median.
_SIGNS, _FLOOR = 32, 1e-2


class LargeWarmUp(BaseWarmUp):
    """Minibatch descent from every start, then a diagonal scale from the Fisher information.

    Every chain stays where its own descent ends; the scale is pooled over all of them. It is
    measured again when the chains have left the bottom, where gradients are small.

    Ahn, Korattikara & Welling (2012), Bayesian posterior sampling via stochastic gradient Fisher
    scoring, ICML: the Fisher information is N/B times smaller than the noise's variance.
    """

    # A parameter is a mixture of thousands of directions, and soft ones make up its variance: the
    # few stiffest may be further off than what is asked of a parameter.
    leniency = 5.0

    def __init__(
        self,
        compiled: Compiled,
        others: dict[str, np.ndarray],
        rng: np.random.Generator,
        engine: OneEngine,
    ) -> None:
        super().__init__(compiled, others, rng, engine)
        potential = self.plan.potential
        self.landscape = Landscape(potential, _ROWS, others, rng, engine)
        self._prior = Landscape(potential.prior(), None, others, rng, engine)

    def _landscapes(self) -> set[Landscape]:
        return {self.landscape, self._prior}

    def _locate(self, starts: np.ndarray) -> tuple[tuple[Place, ...], np.ndarray, np.ndarray]:
        others = {k: np.stack([v] * len(starts)) for k, v in self.others.items()}
        seeds = self.rng.integers(2**32, size=(len(starts), 2), dtype=np.uint32)
        temperature = self.plan.dynamics.temperature
        descent = DescentDynamics(temperature=temperature)
        engine = self.compiled.engine(self.engine, dynamics=descent)
        found = descend(engine, starts, others, seeds, temperature)
        if found.stuck.any():
            chain = int(found.stuck.argmax())
            raise self._not_finite(
                f"U or its gradient around chain {chain}", found.positions[chain]
            )
        ends = found.positions
        self._batches += found.updates * len(starts)
        self.found = self.found.but(descent_updates=found.updates, descent_at_rest=found.at_rest)
        centre, anchor = np.zeros(self.size), None
        if self.plan.settings.warmup.control_variate is True:
            centre = ends[found.potentials.argmin()]
            whole = Landscape(self.plan.potential, None, self.others, self.rng, self.engine)
            values, gradients = whole.gradient(centre[None])
            anchor = float(values[0]), gradients[0]
        place = Place(Coordinates(centre, np.ones(self.size)), np.zeros(self.size), 0.0, anchor)
        return self._settled((place,), [ends]), np.zeros(len(starts), int), ends

    def _settled(self, places: tuple[Place, ...], visited: list[np.ndarray]) -> tuple[Place, ...]:
        (place,), (positions,) = places, visited
        unscaled = Coordinates(place.coordinates.centre, np.ones(self.size))
        chosen = self.rng.choice(positions, _PAIRS, replace=len(positions) < _PAIRS)
        plain, controlled = self._noise(unscaled, chosen)
        noise = controlled if place.anchor else plain
        if not (len(noise) and np.isfinite(noise).all()):
            raise self._not_finite("The gradient where the chains are", chosen[0])
        fitted = self._scale(np.square(plain).mean(0), chosen[:_SIGNS])
        coordinates = preconditioned(
            dataclasses.replace(unscaled, factor=fitted), self.plan.settings.warmup.preconditioner
        )
        noise = coordinates.gradient(noise)
        settled = dataclasses.replace(
            place,
            coordinates=coordinates,
            noise=np.square(noise).mean(0),
            correlated=correlated_part(noise, turned=False),
        )
        return (settled,)

    def _scale(self, noise: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Diagonal of L from the variance of the gradient's noise, ``(d,)``."""
        n, size = self.plan.potential.n_rows, self.plan.potential.batch_size
        if n is None or size is None:
            curvature = self._diagonal(self.landscape, positions)
        else:
            taken = size / n
            # Batches without replacement are less noisy; see `Engine`.
            information = noise * taken / (1 if taken < 0.1 else 1 - taken)
            curvature = information + self._diagonal(self._prior, positions)
        return 1 / np.sqrt(np.maximum(curvature, _FLOOR * np.median(curvature)))

    def _diagonal(self, landscape: Landscape, positions: np.ndarray) -> np.ndarray:
        """Absolute diagonal of the mean Hessian, by products with random signs.

        Of those positions where it is finite.

        Bekas, Kokiopoulou & Saad (2007), An estimator for the diagonal of a matrix.
        """
        signs = self.rng.choice([-1.0, 1.0], positions.shape)
        products = landscape.products(positions, signs)
        finite = np.isfinite(products).all(1)
        if not finite.any():
            raise self._not_finite("The curvature of U where the chains are", positions[0])
        return np.abs((signs * products)[finite].mean(0))
