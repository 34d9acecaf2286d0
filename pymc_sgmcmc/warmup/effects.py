"""Warm-up of regressions with too many effects for a Hessian: about normal around one mode."""

from __future__ import annotations

import dataclasses
from contextlib import suppress

import numpy as np

from pymc_sgmcmc.engines.settings import OneEngine
from pymc_sgmcmc.estimators.blocks import families, principal, whitening
from pymc_sgmcmc.estimators.coordinates import Coordinates
from pymc_sgmcmc.model.layout import Block
from pymc_sgmcmc.plan.compiled import Compiled
from pymc_sgmcmc.plan.tuning import Place
from pymc_sgmcmc.warmup.base import MISLEADING
from pymc_sgmcmc.warmup.landscape import Landscape
from pymc_sgmcmc.warmup.large import _ROWS, LargeWarmUp, place_of, twice
from pymc_sgmcmc.warmup.mode import Rough
from pymc_sgmcmc.warmup.polish import Spectrum, curvatures, polish
from pymc_sgmcmc.warmup.turning import along, have_in_common, uncorrelated

# Pairs of batches that show the noise of effects which few of the batches touch.
_PAIRS = 512
# Products that show the diagonal of a Hessian whose effects hardly touch each other.
_SIGNS = 48
# Products that show both ends of its spectrum, and whether it has a lower one at all.
_VECTORS, _GLANCE = 32, 12
# A control variate costs a second gradient: it must divide the noise's variance by this.
_WORTH_IT = 4
# Noise of an effect over the median's, from which on it alone would bound the step.
_NOISIEST = 10
# Share of the directions in which U may curve down in a regression: in networks it is 2% to 40%.
_ROUGH = 0.01
# Positions whose mean curvature shows that of the posterior's mass.
_VISITED = 4
# Parameters that count as few.
_SHARED = 32
# Halvings of a start's way from the mode until U is finite there.
_HALVINGS = 8


class EffectsWarmUp(LargeWarmUp):
    """Minibatch descent, then the mode on all rows: the centre of a scale and a control variate.

    The curvature of thousands of effects is about diagonal, and their gradients from a batch are
    noise: most of them have no row in it. At the mode the noise that is left is that of the few
    rows that an effect has, whatever the number of all.

    Where there is no mode (the scale of effects may shrink with them without end), the centre is
    the mean of where the chains have been, as soon as they have been somewhere.
    """

    leniency = 1.0
    points = 2
    rows = None
    noted = ("rounds", "_curvatures", "_shared", "_fitted_there")

    def __init__(
        self,
        compiled: Compiled,
        others: dict[str, np.ndarray],
        rng: np.random.Generator,
        engine: OneEngine,
    ) -> None:
        super().__init__(compiled, others, rng, engine)
        self._exact, double = self.landscape, self.plan.potential.in_dtype("float64")
        if self.plan.potential.dtype != double.dtype:
            self._exact = Landscape(double, None, others, rng, engine)
        self.leniency_of_correlation = self.leniency_of_spread = 1.0
        self._curvatures, self._softest_left = np.ones(self.size), 1.0
        self._shared = np.zeros(0, int)
        # "diagonal" asks for a scale and no more.
        self._turns = self.plan.settings.warmup.whitens
        self._families = families(self.plan.potential.layout) if self._turns else ()

    def _landscapes(self) -> set[Landscape]:
        return {self.landscape, self._exact, self._prior}

    def _about_normal(self) -> bool:
        return True

    @property
    def _may_control(self) -> bool:
        return bool(self.plan.settings.warmup.control_variate)

    def _softest(self, places: tuple[Place, ...]) -> float:
        return self._softest_left

    def _locate(self, starts: np.ndarray) -> tuple[tuple[Place, ...], np.ndarray, np.ndarray]:
        ends = self._descended(starts)
        lowest = ends.positions[ends.potentials.argmin()]
        rough = self._rough(lowest[None])
        mode = polish(self._exact, lowest, rough.factor)
        self.found = self.found.but(mode_polished=mode.found)
        if mode.found:
            fitted = self._fitted(self._scaled(mode.position), mode.position[None])
            begin = np.stack([self._begin(fitted) for _ in starts])
            self._refuse_far_from_normal(fitted, begin)
            # A few positions would have the noise of thousands of effects by chance large in some.
            likely = fitted.position(self._scatter(_PAIRS // 2))
            place = self._chosen([fitted], np.concatenate([begin, likely]), fitted)
        else:
            some = Landscape(self.plan.potential, _ROWS, self.others, self.rng, self.engine)
            self._refuse_network(some, rough, lowest[None], _GLANCE)
            begin, place = ends.positions, self._chosen([], ends.positions, rough)
        self.rounds = (1 / 2,) if mode.found else type(self).rounds
        return (place,), np.zeros(len(starts), int), begin

    def _rough(self, positions: np.ndarray) -> Coordinates:
        """Coordinates around some positions, from the noise of gradients there."""
        centre = positions.mean(0)
        unscaled = Coordinates(centre, np.ones(self.size))
        noise = self._noise_of_rows(unscaled, twice(self.rng, positions, _PAIRS))
        return Coordinates(centre, self._scale(np.square(noise).mean(0), positions))

    def _scaled(self, mode: np.ndarray) -> Coordinates:
        """Coordinates from the curvature at a mode, of each parameter and between those of a group.

        Products with random signs s show both: the mean of s Hs is the diagonal of H, and that of
        sᵢ (Hs)ⱼ is what stands beside it.
        """
        signs, turned = self._signed(self.landscape, mode[None], _SIGNS)
        factor = 1 / np.sqrt(np.abs((signs * turned).mean(0)))
        scaled = Coordinates(mode, factor)
        if not self._families:
            return scaled
        return scaled.mixed(whitening(self._families, signs * factor, turned * factor))

    def _fitted(self, scaled: Coordinates, positions: np.ndarray) -> Coordinates:
        """Coordinates in which the mean curvature at some positions is about 1: axes on a scale.

        Raises
        ------
        Rough
            If U curves down there in as many directions as in a network.
        """
        seen = self._refuse_network(self.landscape, scaled, positions, _VECTORS)
        left = seen.left if self._turns else seen.least
        self._curvatures = np.full(self.size, max(left, seen.largest / 1e6))
        if not self._turns:
            return scaled
        fitted, numbers = along(scaled, seen.apart)
        self._curvatures[numbers] = 1.0
        self._shared = np.union1d(numbers, _of_few(self.plan.potential.layout))
        return fitted

    def _refuse_network(
        self, landscape: Landscape, scaled: Coordinates, positions: np.ndarray, vectors: int
    ) -> Spectrum:
        """Mean curvatures at some positions; `Rough` if U curves down there as in a network."""
        seen = curvatures(landscape, scaled, positions, self.rng, vectors)
        if seen.downward > _ROUGH:
            raise Rough
        return seen

    def _refuse_far_from_normal(self, fitted: Coordinates, positions: np.ndarray) -> None:
        """Raise `Rough` if slopes at positions of a normal are not those of that normal."""
        _, gradients = self.landscape.gradient(positions)
        misfit = np.square(fitted.gradient(gradients) - fitted.of(positions)).mean()
        self.found = self.found.but(misfit=float(misfit))
        if not misfit < MISLEADING:
            raise Rough

    def _begin(self, fitted: Coordinates) -> np.ndarray:
        """Draw a start from the normal that was fitted, closer to its centre if U is not finite."""
        (z,) = self._scatter(1)
        for _ in range(_HALVINGS):
            point = fitted.position(z)
            if np.isfinite(self.landscape.gradient(point[None])[1]).all():
                return point
            z = z / 2
        return fitted.centre

    def _scatter(self, n: int) -> np.ndarray:
        """Coordinates of draws from a normal of the temperature that is asked for, ``(n, d)``."""
        return self.plan.dynamics.temperature**0.5 * self.rng.normal(size=(n, self.size))

    def _settled(self, places: tuple[Place, ...], visited: list[np.ndarray]) -> tuple[Place, ...]:
        """Decide anew on the control variate, and on its centre."""
        (place,), (positions,) = places, visited
        here = self._fitted_there
        if not self.found.mode_polished:
            some = self.rng.choice(positions, min(_VISITED, len(positions)), replace=False)
            with suppress(Rough):
                here = self._fitted(self._rough(positions), some)
        mean = dataclasses.replace(here, centre=positions.mean(0))
        return (self._chosen([here, mean] if place.anchor else [mean], positions, here),)

    def _chosen(
        self, candidates: list[Coordinates], positions: np.ndarray, otherwise: Coordinates
    ) -> Place:
        """Place around the best of some centres for a control variate, if one pays."""
        wanted = self.plan.settings.warmup.control_variate
        chosen = twice(self.rng, positions, _PAIRS)
        plain, _ = self._noise(otherwise, chosen, controlled=False)
        anchor: tuple[float, np.ndarray] | None = None
        best = otherwise, plain, anchor
        bound = np.inf if wanted is True else _mean(plain) / _WORTH_IT
        for coordinates in candidates if wanted else []:
            _, controlled = self._noise(coordinates, chosen)
            if _mean(controlled) < bound:
                bound = _mean(controlled)
                values, gradients = self._exact.gradient(coordinates.centre[None])
                anchor = float(values[0]), gradients[0]
                best = coordinates, controlled, anchor
        if not (len(plain) and np.isfinite(best[1]).all()):
            raise self._not_finite("The gradient where the chains are", chosen[0])
        coordinates, noise, anchor = best
        self._fitted_there = coordinates
        return place_of(*self._shaped(coordinates, noise), anchor)

    def _shaped(
        self, coordinates: Coordinates, noise: np.ndarray
    ) -> tuple[Coordinates, np.ndarray]:
        """Axes along which noise is not correlated, and shorter ones where there is most of it.

        A thermostat absorbs the noise of its own axis. What all rows have a part in, and what is
        apart in curvature, has noise in common; the axes of curvature 1 can be turned.

        Noise is what an effect of few rows takes its time for: a length l multiplies its noise and
        its curvature by l², and the updates that it needs, V/ω², stay as they were; on no axis may
        it be such that it alone would bound the step of all.
        """
        curvatures = self._curvatures.copy()
        if self._families and self.plan.potential.batch_size:
            turn = principal(self._families, noise).without(self._shared)
            coordinates, noise = coordinates.mixed(turn), turn.transposed.times(noise)
        if self._turns and (coordinates.axes is not None or have_in_common(noise[:, self._shared])):
            coordinates, noise = uncorrelated(coordinates, self._shared, noise)
            curvatures[self._shared] = curvatures[self._shared].min()
        variance = np.square(noise).mean(0)
        bound = _NOISIEST * np.median(variance) or np.inf
        shorter = np.sqrt(np.minimum(1.0, bound / np.maximum(variance, 1e-300)))
        self._softest_left = min(1.0, float((np.square(shorter) * curvatures).min()))
        return coordinates.shortened(shorter), noise * shorter


def _of_few(layout: tuple[Block, ...]) -> np.ndarray:
    """Numbers of the parameters of small variables, which effects in thousands share."""
    few: list[int] = []
    for block in sorted(layout, key=lambda block: block.stop - block.start):
        if len(few) + block.stop - block.start > _SHARED:
            break
        few += range(block.start, block.stop)
    return np.array(few, int)


def _mean(noise: np.ndarray) -> float:
    """Mean variance of noise, infinite where it is not finite.

    The largest is that of an effect with next to no rows, whatever the centre.
    """
    return float(np.nan_to_num(np.square(noise), nan=np.inf).mean()) if len(noise) else 0.0
