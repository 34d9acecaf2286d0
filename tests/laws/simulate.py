"""Long runs of a `Dynamics` on targets whose law is known.

Updates are elementwise, so thousands of independent one-dimensional chains are one long vector.
Chains form an array of shape ``(groups, size)``: a group has its own step size, and `size` is the
number of parameters that the dynamics sees, which matters to a thermostat that they share.
"""

from collections.abc import Callable
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from scipy.linalg import solve_discrete_lyapunov

from pymc_sgmcmc.dynamics import Dynamics
from pymc_sgmcmc.engines.jax.functions import compile_fresh, compile_transition

Gradient = Callable[[jax.Array, jax.Array], jax.Array]
"""(position, standard normal), ``(groups, size)`` both → noisy gradient."""

compiled = cache(compile_transition)

# -- simulation --------------------------------------------------------------------------------


def gaussian(curvature=1.0, noise=0.0) -> Gradient:
    """Gradient of U = ω²θ²/2 with noise of variance V; ω² and V broadcast against positions."""
    return noisy(lambda position: curvature * position, noise)


def noisy(exact: Callable[[jax.Array], jax.Array], noise) -> Gradient:
    """Exact gradient plus Gaussian noise of variance `noise`."""
    scale = np.sqrt(noise)
    return lambda position, normal: exact(position) + scale * normal


def simulate(
    dynamics: Dynamics,
    gradient: Gradient,
    shape: tuple[int, int],
    base_step_size,
    draws: int,
    burn_in: int,
    factors=(1.0,),
    seed: int = 0,
    start=None,
) -> dict[str, np.ndarray]:
    """Time averages of every chain.

    Parameters
    ----------
    dynamics : Dynamics
    gradient : callable
        (position, standard normal) → noisy gradient.
    shape : (int, int)
        Groups and size.
    base_step_size : float or array (groups,)
        h₀.
    draws, burn_in : int
        Draws that are averaged, and draws dropped before them.
    factors : array
        Step sizes of the updates of one draw, in units of h₀.
    seed : int
    start : mapping of str to array (groups,), optional
        Auxiliaries that start at these values, where others are those of a fresh chain.

    Returns
    -------
    dict of str to ndarray
        Averages over the draws, ``(groups, size)``: ``q2`` of position², ``q4``, ``p2`` of
        momentum², ``pv`` of momentum times velocity, ``xi`` and ``xi2`` of the friction hζ (or
        the published ξ) at h = h₀; and of the dynamics' statistics, ``(groups, 1)``.
    """
    groups, size = shape
    transition = jax.vmap(compiled(dynamics, size, "float64"))
    fresh = jax.vmap(compile_fresh(dynamics, size, "float64"))
    n_auxiliaries = len(dynamics.auxiliaries)
    c = getattr(dynamics, "speed_limit", None)
    published = getattr(dynamics, "published", False)

    def update(state, inputs, key, h0):
        number, factor = inputs
        position, *auxiliaries = state
        # Single precision is three times as fast; the normal law is exact to 1e-7 still.
        normals = jax.random.normal(jax.random.fold_in(key, number), (2, *shape), jnp.float32)
        normals = lax.optimization_barrier(normals).astype(float)
        noisy_gradient = gradient(position, normals[0])
        h = jnp.broadcast_to(factor * h0, h0.shape)
        outputs = transition(position, *auxiliaries, noisy_gradient, normals[1], h, h0)
        return list(outputs[: 1 + n_auxiliaries]), list(outputs[1 + n_auxiliaries :])

    def observe(state, statistics, h0):
        q, *auxiliaries = state
        seen = {"q2": q**2, "q4": q**4}
        for name, value in zip(dynamics.auxiliaries, auxiliaries, strict=True):
            if name == "momentum":
                mobility = 1.0 if c is None else 1 / jnp.sqrt(1 + (value / c) ** 2)
                seen |= {"p2": value**2, "pv": mobility * value**2}
            elif name == "thermostat":
                xi = value if published else h0[:, None] * value
                seen |= {"xi": xi, "xi2": xi**2}
        named = zip(dynamics.statistics, statistics, strict=True)
        return seen | {name: value[:, None] for name, value in named}

    def run(key, state, factors, h0):
        def draw(carry, i):
            state, sums = carry
            numbers = i * len(factors) + jnp.arange(len(factors))
            state, statistics = lax.scan(
                lambda state, inputs: update(state, inputs, key, h0), state, (numbers, factors)
            )
            seen = observe(state, [s.mean((0, -1)) for s in statistics], h0)
            counts = i >= burn_in  # where, not times: a burn-in that overflows is no NaN
            return (state, {k: sums[k] + jnp.where(counts, seen[k], 0) for k in sums}), None

        no_statistics = [jnp.zeros(groups)] * len(dynamics.statistics)
        shapes = jax.eval_shape(lambda: observe(state, no_statistics, h0))
        sums = {k: jnp.zeros(v.shape) for k, v in shapes.items()}
        (_, sums), _ = lax.scan(draw, (state, sums), jnp.arange(burn_in + draws))
        return {k: v / draws for k, v in sums.items()}

    with jax.enable_x64(True):
        # All chains start in the mode: the spread that a test finds is the sampler's own.
        position = jnp.zeros(shape)
        noise = jnp.asarray(np.random.default_rng(seed).standard_normal(shape))
        h0 = jnp.broadcast_to(jnp.asarray(base_step_size, float), (groups,))
        auxiliaries = dict(zip(dynamics.auxiliaries, fresh(position, noise), strict=True))
        for name, value in (start or {}).items():
            auxiliaries[name] = jnp.broadcast_to(jnp.asarray(value, float)[:, None], shape)
        state = [position, *auxiliaries.values()]
        averages = jax.jit(run)(jax.random.key(seed), state, jnp.asarray(factors, float), h0)
        return {k: np.asarray(v) for k, v in averages.items()}


# -- Monte Carlo error -------------------------------------------------------------------------


def estimate(averages: np.ndarray, axis: int = -1) -> tuple[np.ndarray, np.ndarray]:
    """Mean over independent chains and its standard error."""
    with np.errstate(invalid="ignore", over="ignore"):
        error = averages.std(axis, ddof=1) / np.sqrt(averages.shape[axis])
        return averages.mean(axis), error


def check(averages, expected, allowance=0.0, axis: int = -1, precision: float = 0.015) -> None:
    """Assert that chains average to `expected`, within 5 standard errors and an allowance.

    The allowance is for what theory leaves out: terms of higher order in the step size, or the
    rounding of a quoted figure. A standard error above `precision` (relative, or absolute below
    an expected value of 1) fails too: such a test would pass anything.
    """
    __tracebackhide__ = True
    mean, error = estimate(np.asarray(averages), axis)
    expected, allowance = np.broadcast_to(expected, mean.shape), np.asarray(allowance)
    figures = f"\nmean     {mean}\nexpected {expected}\nerror    {error}\nallowed  {allowance}"
    assert np.isfinite(error).all(), "Diverged." + figures
    assert (np.abs(mean - expected) <= 5 * error + allowance).all(), "Wrong." + figures
    assert (error <= precision * np.maximum(1, np.abs(expected))).all(), "Imprecise." + figures


# -- theory ------------------------------------------------------------------------------------


def sgld_variance(h, curvature=1.0, noise=0.0, temperature=1.0):
    """Variance of θ under SGLD on a Gaussian, exact at every h."""
    h2 = np.square(h)
    return (temperature + h2 * noise / 4) / (curvature * (1 - h2 * curvature / 4))


def sghmc_covariance(h, momentum_decay, curvature=1.0, noise=0.0, temperature=1.0):
    """Covariance of (θ, p) under SGHMC on a Gaussian, exact at every h."""
    a = momentum_decay
    drift = (1 - a) * h / -np.log(a)
    momentum = np.array([-drift * curvature, a])
    update = np.array([[1.0, 0.0] + h * momentum, momentum])
    source = drift**2 * noise + temperature * (1 - a**2)
    return solve_discrete_lyapunov(update, source * np.outer([h, 1.0], [h, 1.0]))


@np.vectorize
def sghmc_variance(h, momentum_decay, curvature=1.0, noise=0.0, temperature=1.0):
    """Variance of θ under SGHMC on a Gaussian, exact at every h."""
    return sghmc_covariance(h, momentum_decay, curvature, noise, temperature)[0, 0]


def swept_covariance(sampler, h, n_rows, batch_size, noise, momentum_decay=None):
    """Covariance of θ, or of (θ, p), on a standard normal in sweeps, averaged over their turns.

    Exact at every h, where gradient noise does not depend on the position: `noise` is its variance
    for rows drawn with replacement. The batches of a partition have the covariance of means of
    disjoint parts of a finite population.
    """
    if sampler == "sgld":
        recursion, drift = np.array([[1 - h**2 / 2]]), np.array([-(h**2) / 2])
        source = np.array([[h**2]])
    else:
        a = momentum_decay
        kicked = (1 - a) * h / -np.log(a)
        recursion = np.array([[1 - h * kicked, h * a], [-kicked, a]])
        drift = -kicked * np.array([h, 1.0])
        source = (1 - a**2) * np.outer([h, 1.0], [h, 1.0])
    parts = n_rows // batch_size
    between = noise * batch_size / (n_rows - 1) * (n_rows / batch_size * np.eye(parts) - 1)
    size = len(drift)
    power, injected, response = np.eye(size), np.zeros((size, size)), np.zeros((size, parts))
    turns = []
    for part in [*range(parts), *reversed(range(parts))]:
        power, response = recursion @ power, recursion @ response
        injected = recursion @ injected @ recursion.T + source
        response[:, part] += drift
        turns.append((power, injected + response @ between @ response.T))
    start = solve_discrete_lyapunov(*turns[-1])
    return np.mean([power @ start @ power.T + added for power, added in turns], axis=0)


def step_bias(h, friction):
    """Variance of θ over its target under a Gaussian thermostat with nearly constant friction β.

    A stationary ζ has E[p²] = T at every h. With that, two equations of the stationary update,
    E[θ'²] = E[θ²] and E[θ'p'] = E[θp], give ω² E[θ²] = T (βh/2) coth(βh/2).
    """
    x = np.asarray(friction) * h / 2
    return x / np.tanh(x)


def expectation(f: Callable, potential: Callable, temperature: float = 1.0, width: float = 40.0):
    """Mean of f under exp(−potential/T), by quadrature on (−width, width)."""
    x = np.linspace(-width, width, 400_001)
    energy = potential(x) / temperature
    weights = np.exp(energy.min() - energy)
    return float((f(x) * weights).sum() / weights.sum())


def hyperbolic(c: float) -> Callable:
    """K(p) = c²(√(1 + p²/c²) − 1)."""
    return lambda p: c**2 * (np.sqrt(1 + (p / c) ** 2) - 1)
