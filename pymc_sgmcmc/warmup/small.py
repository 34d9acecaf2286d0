"""Warm-up of models in which whole Hessians are affordable."""

from __future__ import annotations

import dataclasses

import numpy as np

from pymc_sgmcmc.engines.settings import OneEngine
from pymc_sgmcmc.estimators.coordinates import Coordinates, preconditioned
from pymc_sgmcmc.plan.compiled import Compiled
from pymc_sgmcmc.plan.tuning import Place
from pymc_sgmcmc.warmup import scale
from pymc_sgmcmc.warmup.base import BaseWarmUp
from pymc_sgmcmc.warmup.landscape import Landscape
from pymc_sgmcmc.warmup.large import twice
from pymc_sgmcmc.warmup.mode import Mode, newton
from pymc_sgmcmc.warmup.noise import correlated_part, spread_of

# Searches for a mode, at least: one that the chains could miss is to be known of.
_SEARCHES = 8
# Points at which U is looked at between a start and a mode.
_WAYPOINTS = 32
# Times that a start is brought half-way to the model's initial point until curvature is finite.
_HALVINGS = 8
# Nats below the best mode's mass from which on a mode has none to speak of, by an estimate that may
# be some nats off.
_NO_MASS = 30.0
# A control variate costs a second gradient: it must divide the noise's variance by this.
_WORTH_IT = 4
# Steps that move the centre of a fit to some of the rows to that of all.
_RECENTRINGS = 10
# Pairs of batches that show the noise of the gradient, or four for each dimension.
_PAIRS = 1024
# Mean square of ∇U − z over d from which on the posterior is not called about normal, and
# positions visited at which it is measured anew.
_MISFIT, _VISITED = 0.5, 64


class SmallWarmUp(BaseWarmUp):
    """Newton's method from every start, then the normal that fits the posterior around each mode.

    Centre and scale are pooled over the chains whose searches end in the same mode; chains in
    different modes keep their own.

    Attributes
    ----------
    refuses_rough : bool
        Whether to raise `Rough`, early, where U curves down as in a network.
    """

    noted = ("misfit", "_unimodal")
    refuses_rough = False

    def __init__(
        self,
        compiled: Compiled,
        others: dict[str, np.ndarray],
        rng: np.random.Generator,
        engine: OneEngine,
    ) -> None:
        super().__init__(compiled, others, rng, engine)
        potential, d = self.plan.potential.in_dtype("float64"), self.size
        # Rows that show where a mode is, and rows that show its shape to a few percent.
        few = int(np.clip(2e8 / d**2, 4 * d, 2e4))
        many = int(np.clip(1e9 / d**2, max(20 * d, few), 5e4))
        many = -(-many // few) * few  # in as many pieces
        n = potential.n_rows or 0  # all of them, where rows are not known
        self.coarse = Landscape(potential, few, others, rng, engine)
        self.fine = self.whole = self.coarse
        if n > few:
            self.fine = self.whole = Landscape(potential, many, others, rng, engine, self.coarse)
        if n > many:
            self.whole = Landscape(potential, None, others, rng, engine, self.coarse)
        self.landscape = self.coarse if few >= 20 * d else self.fine

    def _landscapes(self) -> set[Landscape]:
        return {self.coarse, self.fine, self.whole}

    def _about_normal(self) -> bool:
        return self.plan.settings.warmup.whitens and self.misfit < _MISFIT

    # -- modes -----------------------------------------------------------------------------------

    def _locate(self, starts: np.ndarray) -> tuple[tuple[Place, ...], np.ndarray, np.ndarray]:
        modes, labels = self._modes(starts)
        inhabited, place_of_chain = np.unique(labels, return_inverse=True)
        fits = [self._fit(modes[i]) for i in inhabited]
        self.misfit = max(misfit for _, misfit in fits)
        self.found = self.found.but(
            modes=len(modes),
            mode_of_chain=place_of_chain,
            modes_found=int(sum(modes[i].converged for i in inhabited)),
            mode_mass=np.array([_log_mass(modes[i]) for i in inhabited]),
            misfit=self.misfit,
        )
        self._unimodal = len(modes) == 1
        samples = [self._noise_of_fit(c) for c, _ in fits]
        places = self._places([c for c, _ in fits], samples)
        begin = [self._begin(places[i].coordinates) for i in place_of_chain]
        return places, place_of_chain, np.stack(begin)

    def _modes(self, starts: np.ndarray) -> tuple[list[Mode], np.ndarray]:
        """Modes that have posterior mass, and the number of the one that each chain begins in.

        A chain whose own search failed, or ended where there is no mass, begins in the best mode.
        Where every search failed, the lowest end of one stands for the mode that there isn't.
        """
        extra = max(0, _SEARCHES - len(starts))
        wide = starts[0] + self.rng.uniform(-2, 2, (extra, self.size))
        ends: list[Mode] = []
        labels = []
        for start in (*starts, *wide):
            same = [self._leads_down(start, end) for end in ends]
            if not any(same):
                found = self.search_from(start, self.refuses_rough and not ends)
                same = [_is_at(found, end) for end in ends]
                if not any(same):
                    ends.append(found)
                    same.append(True)
            labels.append(same.index(True))
        failed = sum(not ends[i].converged for i in labels)
        self.found = self.found.but(searches=len(labels), searches_failed=failed)
        if failed == len(labels):
            best = min(range(len(ends)), key=lambda i: np.nan_to_num(ends[i].potential, nan=np.inf))
            return [ends[best]], np.zeros(len(starts), int)
        mass = np.array([_log_mass(end) if end.converged else -np.inf for end in ends])
        kept = np.flatnonzero(mass > mass.max() - _NO_MASS)
        begin = [i if i in kept else int(mass.argmax()) for i in labels[: len(starts)]]
        return [ends[i] for i in kept], np.searchsorted(kept, begin)

    def search_from(self, start: np.ndarray, refuse_rough: bool = False) -> Mode:
        """Follow Newton's method from a start, or from nearer to the model's initial point.

        As near as it takes for a finite Hessian.
        """
        initial = self.plan.potential.ravel(self.plan.potential.initial_point)
        found = newton(self.coarse, start, refuse_rough)
        for _ in range(_HALVINGS):
            if found.started:
                break
            start = (start + initial) / 2
            found = newton(self.coarse, start, refuse_rough)
        return found

    def _leads_down(self, start: np.ndarray, mode: Mode) -> bool:
        """Whether U falls all the way from a start straight to a mode: no search is needed then."""
        if not mode.converged:
            return False
        way = np.linspace(start, mode.position, _WAYPOINTS)
        values, _ = self.coarse.gradient(way)
        return bool(np.isfinite(values).all() and (np.diff(values) < 0).all())

    def _begin(self, coordinates: Coordinates) -> np.ndarray:
        """Draw a start from the normal that was fitted, closer to its centre if U is too high."""
        z = self.plan.dynamics.temperature**0.5 * self.rng.normal(size=self.size)
        for _ in range(10):
            points = coordinates.position(np.stack([z, np.zeros_like(z)]))
            values, gradients = self.fine.gradient(points)
            if np.isfinite(gradients[0]).all() and values[0] - values[1] < 2 * self.size + 20:
                return points[0]
            z = z / 2
        return coordinates.centre

    # -- scale and noise -------------------------------------------------------------------------

    def _fit(self, mode: Mode) -> tuple[Coordinates, float]:
        """Coordinates around a mode as they were asked for, and how far from normal it is."""
        fitted, misfit = scale.refine(scale.laplace(mode), self.fine, self.rng)
        if self.whole is not self.fine:
            fitted = self._recentred(fitted)
        return preconditioned(fitted, self.plan.settings.warmup.preconditioner), misfit

    def _recentred(self, fitted: Coordinates) -> Coordinates:
        """Move the centre by what all rows say besides those of the subset."""
        _, wanted = self.fine.gradient(fitted.centre[None])

        def excess(centre: np.ndarray) -> np.ndarray:
            _, of_all = self.whole.gradient(centre[None])
            return fitted.gradient(of_all - wanted)[0]

        centre, slope, share = fitted.centre, excess(fitted.centre), 1.0
        for _ in range(_RECENTRINGS):
            trial = centre + fitted.position(-share * slope) - fitted.centre
            there = excess(trial)
            # Far from normal whole steps may lead away, to where nothing is finite in the end.
            if np.linalg.norm(there) < np.linalg.norm(slope):
                centre, slope = trial, there
            else:
                share /= 2
            if np.abs(slope).max() < 0.02:
                break
        return dataclasses.replace(fitted, centre=centre)

    def _noise_of_fit(self, coordinates: Coordinates) -> tuple[np.ndarray, np.ndarray]:
        """Samples of the noise at draws from a fitted normal, or nearer to its centre.

        As near as it takes for most of them to be finite.
        """
        z = np.repeat(self.rng.normal(size=(self._pairs // 2, self.size)), 2, axis=0)
        for _ in range(_HALVINGS):
            sample = self._noise(coordinates, coordinates.position(z))
            if self.plan.potential.batch_size is None or 2 * len(sample[0]) > len(z):
                return sample
            z = z / 2
        raise self._not_finite("The gradient around the mode that was found", coordinates.centre)

    def _places(
        self, coordinates: list[Coordinates], samples: list[tuple[np.ndarray, np.ndarray]]
    ) -> tuple[Place, ...]:
        """Places with the noise that was sampled in each, and a control variate if it pays."""
        wanted = self.plan.settings.warmup.control_variate
        if wanted == "auto":
            pairs = zip(coordinates, samples, strict=True)
            plain, controlled = np.max([[_largest(c, x) for x in pair] for c, pair in pairs], 0)
            wanted = self._unimodal and bool(controlled * _WORTH_IT < plain)
        places = []
        for c, noise in zip(coordinates, samples, strict=True):
            # Thermostats, one for each coordinate, need noise without correlations.
            sample = noise[bool(wanted)]
            if not np.isfinite(sample).all():
                raise self._not_finite("The gradient at the centre of a control variate", c.centre)
            if c.dense:
                _, axes = np.linalg.eigh(sample.T @ sample)
                c, sample = c.turned(axes), sample @ axes
            variance = np.square(sample).mean(0)
            correlated = correlated_part(sample, turned=c.dense)
            anchor = self._anchor(c) if wanted else None
            places.append(Place(c, variance, correlated, anchor, spread_of(sample)))
        return tuple(places)

    @property
    def _pairs(self) -> int:
        """Pairs of batches that show noise, two at every position."""
        return max(_PAIRS, 4 * self.size)

    def _anchor(self, coordinates: Coordinates) -> tuple[float, np.ndarray]:
        values, gradients = self.whole.gradient(coordinates.centre[None])
        return float(values[0]), gradients[0]

    def _settled(self, places: tuple[Place, ...], visited: list[np.ndarray]) -> tuple[Place, ...]:
        """Decide anew on the control variate, and whether the posterior is about normal.

        What was right for the normal that was fitted need not be where the chains went.
        """
        samples, misfits = [], []
        for place, positions in zip(places, visited, strict=True):
            chosen = twice(self.rng, positions, self._pairs)
            samples.append(self._noise(place.coordinates, chosen))
            if not len(samples[-1][0]):
                raise self._not_finite("The gradient where the chains are", chosen[0])
            misfits.append(self._misfit(place.coordinates, chosen[: 2 * _VISITED : 2]))
        self.misfit = max(self.misfit, *misfits)
        self.found = self.found.but(misfit=self.misfit)
        return self._places([place.coordinates for place in places], samples)

    def _misfit(self, coordinates: Coordinates, positions: np.ndarray) -> float:
        """Mean square of ∇_z U − z, less its mean, over positions and d."""
        _, gradients = self.fine.gradient(positions)
        away = coordinates.gradient(gradients) - coordinates.of(positions)
        away = away[np.isfinite(away).all(1)]
        return float(np.square(away - away.mean(0)).mean()) if len(away) else np.inf


def _is_at(found: Mode, end: Mode) -> bool:
    """Whether two searches ended in the same mode."""
    if not (found.converged and end.converged):
        return False
    return bool(np.linalg.norm(scale.laplace(end).of(found.position)) < 0.5)


def _largest(coordinates: Coordinates, sample: np.ndarray) -> float:
    """Largest variance of noise, which bounds the step: along an axis that z can be turned to."""
    if not (coordinates.dense and np.isfinite(sample).all()):
        return float(np.square(sample).mean(0).max())
    return float(np.linalg.eigvalsh(sample.T @ sample / len(sample))[-1])


def _log_mass(mode: Mode) -> float:
    """Laplace's approximation to the log of the posterior mass around a mode, up to a constant."""
    return float(np.linalg.slogdet(scale.laplace(mode).factor)[1] - mode.potential)
