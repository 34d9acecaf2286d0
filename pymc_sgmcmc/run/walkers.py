"""Walkers: chains in two halves, each of which moves in coordinates that the other lends it."""

from __future__ import annotations

import dataclasses

import numpy as np

from pymc_sgmcmc.engines.base import Draws, Engine, State
from pymc_sgmcmc.estimators.coordinates import Coordinates
from pymc_sgmcmc.plan.tuning import Place, Tuning

# What a state holds of positions, in the coordinates of the sampler.
_POSITIONS = ("position", "finite_position", "origin")


class Walkers:
    r"""Moves one half of the chains while the other stands, and then the other.

    .. math::

        \theta = \mu + L z, \qquad L L^\mathsf{T} = (1 - \eta) S + \eta\, C

    with S of the coordinates that the warm-up found, and C the covariance of the half that stands.
    Given that half, L is a constant, and dynamics in any fixed coordinates leave exp(−U/T) as it is
    for each chain that moves, as exactly as their steps are small. So both moves leave the product
    of these laws, one for each chain, invariant, and the momenta N(0, T) beside it, which keep
    their numbers from one L to the next.

    A step of finite length leaves momenta of a slightly other law in each coordinates: a change of
    these is a small kick of energy, of order h², for friction to take until the next. The warm-up
    finds as much as suits the coordinates of S; a friction given far below that heats.

    Between two draws a state is in the coordinates of S: what was lent is not part of it.

    Leimkuhler, Matthews & Weare (2018), Ensemble preconditioning for Markov chain Monte Carlo
    simulation, Statistics and Computing 28, where all walkers move at once between refreshments,
    which is not exact; halves are those of Foreman-Mackey et al. (2013), emcee, section 3.

    Parameters
    ----------
    engine : Engine
        For coordinates whose L is a matrix.
    tuning : Tuning
        With such coordinates; see `coordinates`.
    share : float
        η, the part of L Lᵀ that is lent.
    """

    def __init__(self, engine: Engine, tuning: Tuning, share: float) -> None:
        self._engine, self._tuning, self._share = engine, tuning, share

    @staticmethod
    def coordinates(tuning: Tuning, size: int) -> Tuning:
        """Tuning with the same coordinates as matrices; the model's own where it has none."""
        places = tuning.places
        if not places:
            own = Coordinates(np.zeros(size), np.ones(size))
            places = (Place(own, np.zeros(size), 0.0),)
        whole = (Coordinates(p.coordinates.centre, p.coordinates.matrix) for p in places)
        return dataclasses.replace(
            tuning,
            places=tuple(
                dataclasses.replace(place, coordinates=c)
                for place, c in zip(places, whole, strict=True)
            ),
        )

    def run(
        self, state: State, step_sizes: np.ndarray, base_step_size: float
    ) -> tuple[Draws, State]:
        """Advance all chains by draws; see `Engine.run`."""
        state = {name: np.array(x) for name, x in state.items()}
        first, second = np.split(np.arange(len(state["position"])), 2)
        made = []
        for of_draw in step_sizes:
            one = self._move(state, first, second, of_draw, base_step_size)
            two = self._move(state, second, first, of_draw, base_step_size)
            made.append(_together([one, two], axis=0))
        return _together(made, axis=1), state

    def _move(
        self,
        state: State,
        moving: np.ndarray,
        standing: np.ndarray,
        step_sizes: np.ndarray,
        base_step_size: float,
    ) -> Draws:
        """Draw of the half that moves; its part of the state is written in place."""
        part, lent = {name: x[moving] for name, x in state.items()}, list(self._tuning.places)
        positions = self._positions(state, standing)
        numbers = self._numbers(state, moving)
        for i in np.unique(numbers):
            own = self._tuning.places[i].coordinates
            other = own.blended(positions, self._share)
            lent[i] = dataclasses.replace(lent[i], coordinates=other)
            for name in _POSITIONS:
                part[name][numbers == i] = other.of(own.position(part[name][numbers == i]))
        tuning = dataclasses.replace(self._tuning, places=tuple(lent), place_of_chain=numbers)
        draws, part = self._engine.run(
            part, step_sizes[None], base_step_size, {}, 1, tuning.parameters()
        )
        for name, x in part.items():
            new = np.array(x)
            for i in np.unique(numbers) if name in _POSITIONS else ():
                own, other = self._tuning.places[i].coordinates, lent[i].coordinates
                new[numbers == i] = own.of(other.position(new[numbers == i]))
            state[name][moving] = new
        return draws

    def _positions(self, state: State, chains: np.ndarray) -> np.ndarray:
        """Where some chains are, ``(m, d)``."""
        numbers, found = self._numbers(state, chains), np.array(state["position"][chains], float)
        for i in np.unique(numbers):
            found[numbers == i] = self._tuning.places[i].coordinates.position(found[numbers == i])
        return found

    def _numbers(self, state: State, chains: np.ndarray) -> np.ndarray:
        """Place of each of some chains."""
        known = self._tuning.place_of_chain
        return known[chains] if len(known) else np.zeros(len(chains), int)


def check_walkers(chains: int, share: float | None) -> None:
    """Raise a ValueError where chains make no two halves that know their shape."""
    if share is not None and (chains < 4 or chains % 2):
        enough = max(4, chains + chains % 2)
        raise ValueError(
            f"ensemble={share:g} moves the chains in two halves, of at least two each, and there "
            f"are {chains}. Use chains={enough}, or leave ensemble out."
        )


def _together(parts: list[Draws], axis: int) -> Draws:
    """Draws of several halves, or of several times, in one."""
    positions = np.concatenate([x.positions for x in parts], axis)
    names = parts[0].statistics
    return Draws(
        positions, {k: np.concatenate([x.statistics[k] for x in parts], axis) for k in names}
    )
