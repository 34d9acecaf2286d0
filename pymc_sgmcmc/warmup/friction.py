"""The friction that, with its step size, takes the fewest updates to an independent draw."""

import numpy as np

from pymc_sgmcmc.dynamics import Dynamics, MomentumDynamics
from pymc_sgmcmc.warmup.step_size import step_size, steps_per_draw

# λ, the momentum lost in one update. Above a quarter more friction hardly allows longer steps,
# below 5e-4 a run of usual length does not exchange energy with its heat bath.
_RATES = np.geomspace(0.25, 5e-4, 32)


def friction_to_find(dynamics: Dynamics) -> bool:
    """Whether there is a friction, and it was left to the warm-up."""
    return isinstance(dynamics, MomentumDynamics) and dynamics.momentum_decay == "auto"


def with_best_friction(
    dynamics: Dynamics,
    target_bias: float,
    curvature: float,
    noise: np.ndarray,
    correlated: float,
    spread: float,
    softest: float,
    independent: bool = False,
) -> Dynamics:
    r"""Dynamics whose friction D and step size h together need the fewest updates.

    In a direction of curvature ω² the friction β decorrelates positions in the times

    .. math::

        2\int_0^\infty \rho\,dt = \frac{2\beta}{\omega^2}, \qquad
        2\int_0^\infty \rho^2\,dt = \frac{1}{\beta} + \frac{\beta}{\omega^2}

    ρ being the autocorrelation of a damped oscillator; the second is that of squares, and of
    the energy. Friction thus hinders soft directions, and its lack stiff ones: β = ω of the softest
    would be best if the step were free. It is not: noise that no thermostat absorbs heats by hV/2D,
    so that less friction asks for smaller steps.

    Parameters
    ----------
    dynamics : Dynamics
    target_bias, curvature, noise, correlated, spread
        As in `step_size`.
    softest : float
        ω² of the softest direction that matters.
    independent : bool
        Whether draws are to be about independent: updates are then those of `steps_per_draw`, in
        the direction with the most noise, and these times decide between equals.

    Returns
    -------
    Dynamics
        The same where the friction is not left to be found.
    """
    if not (friction_to_find(dynamics) and isinstance(dynamics, MomentumDynamics)):
        return dynamics
    every = [dynamics.with_decay(float(np.exp(-rate))) for rate in _RATES]
    # Friction distorts a law by itself, some splittings' more than others'.
    tried = [one for one in every if abs(one.friction_bias()) <= target_bias] or every[-1:]
    largest, costs = noise.max(keepdims=True), []
    for one in tried:
        h = step_size(one, target_bias, curvature, noise, correlated, spread)
        beta = float(np.mean(one.friction(h, noise))) / h
        updates = steps_per_draw(one, h, largest, softest) if independent else 0
        costs.append((updates, (beta / softest + 1 / beta) / h))
    return tried[costs.index(min(costs))]
