"""Warm-up of models with too many dimensions for a Hessian, such as neural networks."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np

from pymc_sgmcmc.engines.settings import OneEngine
from pymc_sgmcmc.estimators.coordinates import Coordinates, preconditioned
from pymc_sgmcmc.plan.compiled import Compiled
from pymc_sgmcmc.plan.tuning import Place
from pymc_sgmcmc.warmup.base import BaseWarmUp
from pymc_sgmcmc.warmup.descent import Descent, DescentDynamics, descend
from pymc_sgmcmc.warmup.landscape import Landscape
from pymc_sgmcmc.warmup.noise import correlated_part, spread_of

# Rows of a landscape, and pairs of batches that show the gradient's noise.
_ROWS, _PAIRS = 2000, 256
# Positions at which it is measured where these are a part of all rows, one of each chain: at 16, a
# LeNet on MNIST spent as many gradients on it as on 10,000 updates.
_POINTS_OF_MANY = 4
# Products that show the diagonal of a Hessian.
_SIGNS = 512
# Numbers that samples are kept in, as far as these are more than the fewest that show anything.
_NUMBERS, _FEWEST = 2**23, 32
# Heat of the noisiest direction, as a relative error, for each row that there is to a parameter:
# predictions of digits (0.2 rows) feel 4, those of protein (37 rows) not even 50.
_HEAT, _MOST = 8.0, 100.0
# Parameters up to which a direction is no small part of the whole.
_FEW = 1000
# Positions whose gradients show the diagonal of the mean Hessian to a quarter.
_GRADIENTS = 32


class LargeWarmUp(BaseWarmUp):
    """Minibatch descent from every start, then a diagonal scale.

    The scale is from the Fisher information, or the mean square of gradients. Every chain stays
    where its own descent ends; the scale is pooled over all of them. It is measured again and again
    on the chains' way from the bottom, where gradients are small.

    Directions that the data say nothing of are as soft as the prior: its curvature, in the units of
    a scale that the data made, is what the friction is chosen for.

    Ahn, Korattikara & Welling (2012), Bayesian posterior sampling via stochastic gradient Fisher
    scoring, ICML: the Fisher information is N/B times smaller than the noise's variance.
    """

    rounds: tuple[float, ...] = (1 / 8, 1 / 4, 1 / 2, 3 / 4)

    # Rows on which curvature is measured; all when None.
    rows: ClassVar[int | None] = _ROWS

    # A parameter is a mixture of thousands of directions, and soft ones make up its variance: the
    # few stiffest may be further off than what is asked of a parameter, and a larger step brings
    # the soft ones to rest.
    leniency = 12.0

    def __init__(
        self,
        compiled: Compiled,
        others: dict[str, np.ndarray],
        rng: np.random.Generator,
        engine: OneEngine,
    ) -> None:
        super().__init__(compiled, others, rng, engine)
        potential = self.plan.potential
        # Where batches show the noise, slopes are asked for at the starts alone.
        few_slopes = self.rows is not None and potential.batch_size is not None
        self.landscape = Landscape(
            potential, self.rows, others, rng, engine, one_program=few_slopes
        )
        if (potential.n_rows or 0) > _ROWS:
            self.points = min(self.points, _POINTS_OF_MANY)
        self._prior = Landscape(potential.prior(), None, others, rng, engine)
        heat = min(_MOST, _HEAT * (potential.n_rows or 0) / self.size) / 0.02
        self.leniency_of_correlation = max(5.0, heat if self.size > _FEW else 0.0)
        self.leniency_of_spread = min(5.0, max(1.0, heat / 100))
        self.ends: Descent | None = None

    def _landscapes(self) -> set[Landscape]:
        return {self.landscape, self._prior}

    def _locate(self, starts: np.ndarray) -> tuple[tuple[Place, ...], np.ndarray, np.ndarray]:
        ends = self._descended(starts)
        centre, anchor = np.zeros(self.size), None
        if self.plan.settings.warmup.control_variate is True:
            centre = ends.positions[ends.potentials.argmin()]
            whole = Landscape(self.plan.potential, None, self.others, self.rng, self.engine)
            values, gradients = whole.gradient(centre[None])
            anchor = float(values[0]), gradients[0]
        place = Place(Coordinates(centre, np.ones(self.size)), np.zeros(self.size), 0.0, anchor)
        places = self._settled((place,), [ends.positions])
        return places, np.zeros(len(starts), int), ends.positions

    def _descended(self, starts: np.ndarray) -> Descent:
        """Where a descent from every start ends; all are finite."""
        if self.ends is not None:
            return self.ends
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
        self._batches += found.updates * len(starts)
        self.found = self.found.but(descent_updates=found.updates, descent_at_rest=found.at_rest)
        self.ends = found
        return found

    def follow(self, other: BaseWarmUp) -> None:
        """Take over where the descents of another warm-up ended, too."""
        super().follow(other)
        if isinstance(other, LargeWarmUp) and other.ends is not None:
            self.ends = other.ends
            self.found = self.found.but(
                descent_updates=other.found.descent_updates,
                descent_at_rest=other.found.descent_at_rest,
            )

    def _settled(self, places: tuple[Place, ...], visited: list[np.ndarray]) -> tuple[Place, ...]:
        (place,), (positions,) = places, visited
        unscaled = Coordinates(place.coordinates.centre, np.ones(self.size))
        chosen = twice(self.rng, positions, self._affordable(_PAIRS))
        plain, controlled = self._noise(unscaled, chosen, controlled=place.anchor is not None)
        noise = controlled if place.anchor else plain
        if not (len(noise) and np.isfinite(noise).all()):
            raise self._not_finite("The gradient where the chains are", chosen[0])
        if self.plan.settings.batches == "balanced":
            plain = self._noise_of_rows(unscaled, chosen)
        fitted = self._scale(np.square(plain).mean(0), positions)
        coordinates = preconditioned(
            dataclasses.replace(unscaled, factor=fitted), self.plan.settings.warmup.preconditioner
        )
        return (place_of(coordinates, coordinates.gradient(noise), place.anchor),)

    def _scale(self, noise: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Diagonal of L from the curvature that the data and the prior bring, ``(d,)``."""
        n, size = self.plan.potential.n_rows, self.plan.potential.batch_size
        self._prior_curvature = self._diagonal(self._prior, positions)
        if n is not None and size is not None:
            taken = size / n
            # Batches without replacement are less noisy; see `Engine`.
            information = noise * taken / (1 if taken < 0.1 else 1 - taken)
            return 1 / np.sqrt(information + self._prior_curvature)
        if len(positions) < _GRADIENTS:
            curvature = self._diagonal(self.landscape, positions)
        else:
            curvature = self._mean_square(positions)
        return 1 / np.sqrt(np.maximum(curvature, self._prior_curvature))

    def _mean_square(self, positions: np.ndarray) -> np.ndarray:
        """Mean square of the gradient over T, ``(d,)``: the diagonal of the mean Hessian at rest.

        By parts, ∫ (∂U)² exp(−U/T) = T ∫ ∂²U exp(−U/T); unlike products with random signs it has
        no error from what stands beside the diagonal.
        """
        _, gradients = self.landscape.gradient(positions)
        finite = np.isfinite(gradients).all(1)
        if not finite.any():
            raise self._not_finite("The gradient where the chains are", positions[0])
        return np.square(gradients[finite]).mean(0) / self.plan.dynamics.temperature

    def _softest(self, places: tuple[Place, ...]) -> float:
        """Median ω² of the prior alone, in the coordinates of the sampler."""
        factor = places[0].coordinates.factor
        scale = np.square(factor) if factor.ndim == 1 else np.square(factor).sum(1)
        return float(np.median(self._prior_curvature * scale))

    def _diagonal(
        self, landscape: Landscape, positions: np.ndarray, products: int = _SIGNS
    ) -> np.ndarray:
        """Absolute diagonal of the mean Hessian, by products with random signs.

        Of those positions where it is finite.

        Bekas, Kokiopoulou & Saad (2007), An estimator for the diagonal of a matrix.
        """
        signs, turned = self._signed(landscape, positions, self._affordable(products))
        return np.abs((signs * turned).mean(0))

    def _affordable(self, samples: int) -> int:
        """So many samples of all parameters, or fewer of very many."""
        return max(_FEWEST, min(samples, _NUMBERS // self.size))

    def _signed(
        self, landscape: Landscape, positions: np.ndarray, products: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Random signs and their products with the Hessian, ``(k, d)``, where they are finite."""
        positions = np.resize(positions, (products, self.size))
        signs = self.rng.choice([-1.0, 1.0], positions.shape)
        turned = landscape.products(positions, signs)
        finite = np.isfinite(turned).all(1)
        if not finite.any():
            raise self._not_finite("The curvature of U where the chains are", positions[0])
        return signs[finite], turned[finite]


def twice(rng: np.random.Generator, positions: np.ndarray, n: int) -> np.ndarray:
    """`n` of some positions, each one followed by itself."""
    return np.repeat(rng.choice(positions, n // 2, replace=len(positions) < n // 2), 2, axis=0)


def place_of(
    coordinates: Coordinates, noise: np.ndarray, anchor: tuple[float, np.ndarray] | None
) -> Place:
    """Place with the noise that was sampled there, ``(k, d)``, in its coordinates."""
    return Place(
        coordinates,
        np.square(noise).mean(0),
        correlated_part(noise, turned=False),
        anchor,
        spread_of(noise),
    )
