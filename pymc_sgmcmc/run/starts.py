"""Where chains start, if their starting points were left to us."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from pymc.distributions import continuous
from pymc.exceptions import SamplingError
from pymc.initial_point import make_initial_point_fn

from pymc_sgmcmc.model.potential import StochasticPotential

Point = Mapping[str, np.ndarray]
Evaluate = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]

# Attempts at a finite start, and those among them at the full width of the jitter.
_RETRIES, _WIDE = 20, 4
_FLAT = (continuous.Flat, continuous.HalfFlat)


def starting_positions(
    potential: StochasticPotential,
    points: Sequence[Point],
    rngs: Sequence[np.random.Generator],
    evaluate: Evaluate,
    from_prior: bool | Literal["where possible"],
) -> np.ndarray:
    """Position of each chain at its start, where U and its gradient are finite.

    Points are taken as given, unless all are the model's initial point: then each chain starts at
    U(−1, 1) jitter around it in the unconstrained space, as PyMC's NUTS does, or at a draw from
    the prior, but for the variables that have an ``initval`` of their own.

    Parameters
    ----------
    potential : StochasticPotential
    points : sequence of mapping of str to ndarray
        One for each chain, with values of all of the model's value variables.
    rngs : sequence of numpy.random.Generator
        One for each chain.
    evaluate : callable
        Gives U ``(chains,)`` and its gradient at positions ``(chains, d)``.
    from_prior : bool or "where possible"
        Whether to draw from the prior; flat variables start at the initial point there. Not all
        laws can be drawn from.

    Returns
    -------
    ndarray
        Shape ``(chains, d)``.

    Raises
    ------
    SamplingError
        If no start is finite.
    """
    given = np.stack([potential.ravel(point) for point in points])
    initial = potential.ravel(potential.initial_point)
    free = bool((given == initial).all())
    draw = None
    if from_prior and free:
        try:
            draw = _prior_draw(potential)
        except NotImplementedError:
            if from_prior != "where possible":
                raise
    starts = given.copy()
    todo = np.arange(len(points))
    for attempt in range(_RETRIES):
        # Where the prior is only preferred, its draws may overflow a likelihood everywhere.
        from_draws = draw is not None and (from_prior is True or attempt < _RETRIES // 2)
        # Wide starts may overflow in many dimensions.
        spread = 0.5 ** max(0, (attempt % (_RETRIES // 2)) - _WIDE)
        for chain in todo if free else ():
            rng = rngs[int(chain)]
            if draw is not None and from_draws:
                starts[chain] = draw(rng)
            else:
                starts[chain] = given[chain] + rng.uniform(-spread, spread, potential.size)
        value, gradient = evaluate(starts)
        finite = np.isfinite(gradient)
        todo = np.flatnonzero(~(np.isfinite(value) & finite.all(1)))
        if not free or not todo.size:
            break
    if todo.size:
        around = "draws from the prior" if draw else "points around the model's initial point"
        where = f"{_RETRIES} random {around}" if free else "its start"
        raise SamplingError(
            f"The log posterior or its gradient is not finite for chain {todo[0]} at {where}"
            f"{_direction(potential, finite[todo[0]])}. "
            "Give other starting points with initvals=..., or check the model there."
        )
    return starts


def _direction(potential: StochasticPotential, finite: np.ndarray) -> str:
    """In the direction of which variables the gradient is not finite, if it is not."""
    names = potential.names_at(~finite)
    return f" (in the direction of {', '.join(map(repr, names))})" if names else ""


def _prior_draw(
    potential: StochasticPotential,
) -> Callable[[np.random.Generator], np.ndarray]:
    model = potential.model
    flat: Any = {
        rv: "support_point"
        for rv in model.free_RVs
        if model.rvs_to_initial_values.get(rv) is None
        and isinstance(rv.owner.op, tuple(c.rv_op.__class__ for c in _FLAT))
    }
    function = make_initial_point_fn(model=model, default_strategy="prior", overrides=flat)
    function(0)  # fails where a law has no random draws
    return lambda rng: potential.ravel(function(int(rng.integers(2**30))))
