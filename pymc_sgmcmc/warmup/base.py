"""What every warm-up does once it knows where the posterior's mass is: noise, then step size."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from pymc.exceptions import SamplingError

from pymc_sgmcmc.dynamics import MomentumDynamics
from pymc_sgmcmc.engines.blas import one_blas_thread
from pymc_sgmcmc.engines.settings import OneEngine
from pymc_sgmcmc.estimators.coordinates import Coordinates
from pymc_sgmcmc.model.hierarchy import non_centred
from pymc_sgmcmc.plan.compiled import Compiled
from pymc_sgmcmc.plan.plan import Plan
from pymc_sgmcmc.plan.tuning import Place, Tuning
from pymc_sgmcmc.report.found import Found
from pymc_sgmcmc.warmup.friction import with_best_friction
from pymc_sgmcmc.warmup.landscape import Landscape
from pymc_sgmcmc.warmup.noise import gradient_noise
from pymc_sgmcmc.warmup.step_size import (
    largest_curvatures,
    step_size,
    steps_per_draw,
    updates_to_forget,
)

# Mean square of ∇U − z over d from which on the curvature at a mode says little of the posterior.
MISLEADING = 10.0
# Updates between two draws where the posterior is far from normal: 134 for a draw and one of the
# tuning, which has most of the way to go.
_FAR_FROM_NORMAL = 80
# Rows of a group from which on its effect is better written centred.
_MANY = 50


class BaseWarmUp(ABC):
    """Finds the tuning of a run of one plan; the step size is pooled over all chains.

    Parameters
    ----------
    compiled : Compiled
        The engines of the plan.
    others : mapping of str to ndarray
        Values of the model's other value variables, which hold still.
    rng : numpy.random.Generator
    engine : OneEngine
        Of the engine that evaluates the potential.

    Attributes
    ----------
    landscape : Landscape
        On which curvature is measured.
    rounds : tuple of float
        Parts of the tuning after which it measures where the chains have come to.
    points : int
        Positions at which curvature is measured.
    leniency, leniency_of_correlation, leniency_of_spread : float
        How many times the target the error of a variance may be: in the stiffest direction, in the
        one with the most noise, and where noise is greater than elsewhere.
    found : Found
        What was found besides the tuning.
    noted : tuple of str
        Attributes that a search or a measurement leaves for those that come later.
    """

    noted: ClassVar[tuple[str, ...]] = ()
    landscape: Landscape
    rounds: tuple[float, ...] = (1 / 2,)
    points: int = 16
    leniency: ClassVar[float] = 1.0
    leniency_of_correlation: float = 1.0
    leniency_of_spread: float = 1.0

    def __init__(
        self,
        compiled: Compiled,
        others: dict[str, np.ndarray],
        rng: np.random.Generator,
        engine: OneEngine,
    ) -> None:
        self.compiled, self.others, self.rng, self.engine = compiled, others, rng, engine
        self.plan = compiled.plan
        self.size = self.plan.potential.size
        self.found = _hierarchy(self.plan)
        self._seconds = 0.0
        self._batches = 0
        self._before = 0
        self._born = rng.bit_generator.state

    def state(self) -> dict[str, Any]:
        """What another process needs to settle as this one would.

        Rows that landscapes took are not part of it: the generator as it was takes them again.
        """
        return {
            "kind": type(self).__name__,
            "engine": self.engine.name,
            "born": self._born,
            "generator": self.rng.bit_generator.state,
            "found": self.found,
            "seconds": self._seconds,
            "row_gradients": self.row_gradients,
            "noted": {name: getattr(self, name) for name in self.noted if hasattr(self, name)},
        }

    @classmethod
    def resumed(
        cls,
        compiled: Compiled,
        others: dict[str, np.ndarray],
        engine: OneEngine,
        state: Mapping[str, Any],
    ) -> BaseWarmUp:
        """Warm-up that goes on from what `state` gave."""
        rng = np.random.default_rng()
        rng.bit_generator.state = state["born"]
        warming = cls(compiled, others, rng, engine)
        rng.bit_generator.state = state["generator"]
        warming.found, warming._seconds = state["found"], state["seconds"]
        warming._before = state["row_gradients"]
        for name, value in state["noted"].items():
            setattr(warming, name, value)
        return warming

    def follow(self, other: BaseWarmUp) -> None:
        """Take over what another warm-up knows of the posterior's shape, and what it cost."""
        known = other.found
        self.found = self.found.but(
            modes=known.modes, modes_found=known.modes_found, misfit=known.misfit
        )
        self._seconds += other._seconds
        self._before += other.row_gradients

    @one_blas_thread()
    def search(self, starts: np.ndarray) -> tuple[Tuning, np.ndarray]:
        """Find the settings to begin with.

        Parameters
        ----------
        starts : ndarray
            Shape ``(chains, d)``.

        Returns
        -------
        tuning : Tuning
        positions : ndarray
            Where the chains then begin, ``(chains, d)``.
        """
        started = time.perf_counter()
        places, place_of_chain, positions = self._locate(starts)
        tuning = self._tuning(places, place_of_chain, positions[:, None], started)
        return tuning, positions

    @one_blas_thread()
    def settle(self, tuning: Tuning, positions: np.ndarray) -> Tuning:
        """Measure noise and curvature where the chains have come to, and adapt the step size.

        Parameters
        ----------
        tuning : Tuning
        positions : ndarray
            Some of each chain, ``(chains, k, d)``.

        Returns
        -------
        Tuning
        """
        started = time.perf_counter()
        visited = [
            np.concatenate(positions[tuning.place_of_chain == i]) for i in range(len(tuning.places))
        ]
        places = self._settled(tuning.places, visited)
        return self._tuning(places, tuning.place_of_chain, positions, started)

    @abstractmethod
    def _locate(self, starts: np.ndarray) -> tuple[tuple[Place, ...], np.ndarray, np.ndarray]:
        """Places, the place of each chain, and where the chains begin."""

    @abstractmethod
    def _settled(self, places: tuple[Place, ...], visited: list[np.ndarray]) -> tuple[Place, ...]:
        """Places as they are found at the positions visited in each, ``(k, d)``."""

    def _updates(self, chains: int) -> int:
        """Updates of every chain that would have evaluated as many gradients of rows."""
        rows = self.plan.potential.batch_size or self.landscape.n_rows
        return -(-self.row_gradients // (rows * chains))

    @property
    def row_gradients(self) -> int:
        """Gradients of single rows that were evaluated."""
        rows = self.plan.potential.batch_size or self.landscape.n_rows
        of_landscapes = sum(landscape.row_gradients for landscape in self._landscapes())
        return self._before + of_landscapes + self._batches * rows

    @abstractmethod
    def _landscapes(self) -> set[Landscape]:
        """All that were evaluated."""

    def _about_normal(self) -> bool:
        """Whether the posterior is about a standard normal in the coordinates that were found."""
        return False

    def _softest(self, places: tuple[Place, ...]) -> float:
        """ω² of the softest direction that matters, in the coordinates of the sampler."""
        return 1.0

    def _noise(
        self, coordinates: Coordinates, positions: np.ndarray, controlled: bool = True
    ) -> tuple[np.ndarray, np.ndarray]:
        """Noise of the gradient, plain and with a control variate; nothing if all rows are used.

        At those of the positions where it is finite.
        """
        if self.plan.potential.batch_size is None:
            nothing = np.zeros((1, self.size))
            return nothing, nothing
        self._batches += (4 if controlled else 2) * len(positions)
        engine = self.compiled.engine(self.engine)
        return gradient_noise(engine, coordinates, positions, self.others, self.rng, controlled)

    def _noise_of_rows(self, coordinates: Coordinates, positions: np.ndarray) -> np.ndarray:
        """Plain noise of batches whose rows all count alike: N/B times the Fisher information."""
        if self.plan.settings.batches != "balanced":
            return self._noise(coordinates, positions, controlled=False)[0]
        self._batches += 2 * len(positions)
        with self.compiled.weighing_once(self.engine) as engine:
            return gradient_noise(
                engine, coordinates, positions, self.others, self.rng, controlled=False
            )[0]

    def _not_finite(self, what: str, position: np.ndarray) -> SamplingError:
        """Error that names the variables in whose directions U can't be followed at a position."""
        potential = self.plan.potential
        _, gradient = self.landscape.gradient(position[None])
        product = self.landscape.product(position, self.rng.choice([-1.0, 1.0], self.size))
        bad = ~(np.isfinite(gradient[0]) & np.isfinite(product))
        names = potential.names_at(bad if bad.any() else ~bad)
        return SamplingError(
            f"{what} is not finite. Look at {', '.join(map(repr, names))}: give initval=... nearer "
            "to values that the data allow, a prior that keeps from extreme ones, or a form "
            "that does not overflow there (a log-density instead of a density, say)."
        )

    def _tuning(
        self,
        places: tuple[Place, ...],
        place_of_chain: np.ndarray,
        positions: np.ndarray,
        started: float,
    ) -> Tuning:
        dynamics, asked = self.plan.dynamics, self.plan.settings
        noise = np.stack([place.noise for place in places])
        lent = _lent(asked.ensemble, positions)
        curvature = self._curvature(places, place_of_chain, positions)
        correlated = lent * max(place.correlated for place in places) / self.leniency_of_correlation
        noise, stiffest = lent * noise, lent * max(float(curvature.max()), 1) / self.leniency
        spread = max(place.spread for place in places) / self.leniency_of_spread
        softest = min(self._softest(places), stiffest)
        h, normal = asked.step_size, len(places) == 1 and self._about_normal()
        if h is None:
            facts = (asked.warmup.target_bias, stiffest, noise, correlated, spread)
            dynamics = with_best_friction(dynamics, *facts, softest, independent=normal)
            h = step_size(dynamics, *facts)
            if asked.ensemble is not None:
                # A change of coordinates costs h²ω²/4 of a variance, a splitting that is exact in
                # fixed ones as well.
                h = min(h, 2 * (asked.warmup.target_bias / stiffest) ** 0.5)
        if asked.steps_per_draw is not None:
            steps = tuning_steps = asked.steps_per_draw
        else:
            steps = steps_per_draw(dynamics, h, noise, softest) if normal else _FAR_FROM_NORMAL
            # Chains that begin in the posterior's mass have little left to settle.
            tuning_steps = -(-steps // 4) if normal else -(-2 * steps // 3)
        self._seconds += time.perf_counter() - started
        self.found = self.found.but(
            largest_curvature=curvature.max(),
            curvature_ratio=curvature.max() / np.median(curvature),
            softest_curvature=softest,
            updates_to_forget=updates_to_forget(dynamics, h, noise, softest),
            largest_noise=noise.max(),
            expected_bias=dynamics.bias(h, stiffest, noise, correlated, spread),
            search_updates=self._updates(len(place_of_chain)),
            warmup_seconds=self._seconds,
        )
        decay = None
        if isinstance(dynamics, MomentumDynamics) and dynamics is not self.plan.dynamics:
            decay = dynamics.decay
        return Tuning(h, steps, tuning_steps, places, place_of_chain, self.found, decay)

    def _curvature(
        self, places: tuple[Place, ...], place_of_chain: np.ndarray, positions: np.ndarray
    ) -> np.ndarray:
        """Largest curvature at some of the positions ``(chains, k, d)``, where it is finite."""
        chains, draws, _ = positions.shape
        chosen = self.rng.permutation(chains * draws)[: self.points]
        chain, draw = chosen % chains, chosen // chains
        found = np.full(len(chosen), np.nan)
        share, everywhere = self.plan.settings.ensemble, positions.reshape(-1, self.size)
        for i, place in enumerate(places):
            here = np.flatnonzero(place_of_chain[chain] == i)
            if here.size:
                visited = positions[chain[here], draw[here]]
                coordinates = place.coordinates
                if share is not None:
                    coordinates = coordinates.blended(everywhere, share)
                found[here] = largest_curvatures(self.landscape, coordinates, visited, self.rng)
        found = found[np.isfinite(found)]
        if not found.size:
            raise self._not_finite("The curvature of U around chain 0", positions[0, 0])
        return found


def _lent(share: float | None, positions: np.ndarray) -> float:
    """Largest curvature in coordinates of few walkers, where in those of many it is 1.

    (1 − η) + η (1 + √(d/m))², the upper edge of the eigenvalues of the covariance of m + 1
    positions in d dimensions, by Marchenko & Pastur (1967). What is soft in the coordinates of one
    draw is not in those of the next.
    """
    if share is None:
        return 1.0
    chains, _, size = positions.shape
    return 1 - share + share * (1 + (size / (chains // 2 - 1)) ** 0.5) ** 2


def _hierarchy(plan: Plan) -> Found:
    """Effects that would be easier to sample if they were written centred."""
    effects = [x for x in non_centred(plan.potential.terms) if x.rows >= _MANY]
    if not effects:
        return Found()
    return Found(
        non_centred=tuple(x.name for x in effects), non_centred_rows=min(x.rows for x in effects)
    )
