"""Walkers that lend each other their shape: ensemble quasi-Newton Langevin dynamics.

A chain moves best in coordinates in which the posterior is round. The package's warm-up finds some
before the draws; here they are found during the run, from where the other walkers are. Walkers
form two halves. While one half moves, by BAOAB in the coordinates q = L z, the other stands still,
and L Lᵀ = s² I + η C with C its covariance; then they change places. Given the half that stands,
L is a constant, and dynamics in any fixed coordinates leave the posterior as it is: all walkers
together leave the product of posteriors, one for each, as exactly as BAOAB does. (All moving at
once, as Leimkuhler, Matthews & Weare do it every 100 steps, is an approximation of that.)

Prints the variances over the exact ones, and effective draws (of squares) in 1,000 gradients, on a
normal distribution whose variances go from 1 to 1e-4 and on Rosenbrock's banana.

    uv run examples/walkers.py

Leimkuhler, Matthews & Weare (2018), Ensemble preconditioning for Markov chain Monte Carlo
simulation, Statistics and Computing 28.
"""

import functools

import arviz as az
import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm

from pymc_sgmcmc import functions

BLOCK, KEPT = 20, 0.9  # updates between two refreshments, and what one leaves of the momentum


def coordinates(still, blending, scale):
    """L ``(d, d)``, of the walkers that stand still ``(m, d)``."""
    d = still.shape[1]
    return jnp.linalg.cholesky(scale**2 * jnp.eye(d) + blending * jnp.cov(still.T, bias=True))


def block(f, L, h, position, momentum, key):
    """Updates of one walker in fixed coordinates: kick, half a drift, friction, half a drift."""

    def update(state, key):
        q, p = state
        p = p - h * L.T @ f.gradient(q)
        q = q + h / 2 * L @ p
        p = KEPT * p + jnp.sqrt(1 - KEPT**2) * jax.random.normal(key, p.shape)
        return (q + h / 2 * L @ p, p), None

    return jax.lax.scan(update, (position, momentum), jax.random.split(key, BLOCK))[0]


def step_size(walkers, d):
    """In units of L: covariances of m walkers have directions too long by (1 + √(d/m))²."""
    return 1 / (1 + (d / (walkers // 2)) ** 0.5)


@functools.partial(jax.jit, static_argnames=("walkers", "rounds"))
def run(f, start, key, *, h, scale, blending, walkers, rounds):
    """Positions of the walkers after each round of both halves, ``(rounds, walkers, d)``."""
    half = walkers // 2
    move = jax.vmap(block, (None, None, None, 0, 0, 0))

    def go(still, q, p, key):
        L = coordinates(still, blending, scale)
        return move(f, L, h, q, p, jax.random.split(key, half))

    def one_round(state, key):
        first, second = state
        keys = jax.random.split(key)
        first = go(second[0], *first, keys[0])
        second = go(first[0], *second, keys[1])
        return (first, second), jnp.concatenate([first[0], second[0]])

    momenta = jax.random.normal(key, start.shape)
    state = tuple((start[i : i + half], momenta[i : i + half]) for i in (0, half))
    return jax.lax.scan(one_round, state, jax.random.split(key, rounds))[1]


def narrow_and_wide(d=20, condition=1e4, seed=0):
    """A normal distribution of variances 1 to 1/condition, turned: model and covariance."""
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0]
    variances = np.geomspace(1, 1 / condition, d)
    precision = (turn / variances) @ turn.T
    with pm.Model() as model:
        x = pm.Flat("x", shape=d)
        pm.Potential("normal", -x @ precision @ x / 2)
    return model, (turn * variances) @ turn.T


def banana():
    """Rosenbrock's: x ~ N(1, 10), y ~ N(x², 0.1)."""
    with pm.Model() as model:
        x = pm.Normal("x", 1, 10**0.5)
        pm.Normal("y", x**2, 0.1**0.5)
    return model


def effective(x):
    """Effective draws ``(rounds, walkers)`` of x², in 1,000 gradients."""
    return float(az.ess(np.square(x).T, chain_axis=0, draw_axis=1)) / x.size / BLOCK * 1000


def main() -> None:
    model, covariance = narrow_and_wide()
    f, d = functions(model), len(covariance)
    values, turn = np.linalg.eigh(covariance)
    key = jax.random.key(0)
    print("normal, d = 20, condition 1e4    variance / exact    effective draws")
    print("                                 widest  narrowest   widest narrowest")
    for walkers, blending in ((4, 0.0), (4, 1.0), (16, 1.0), (64, 1.0)):
        start = jax.random.normal(key, (walkers, d)) @ np.linalg.cholesky(covariance).T
        h = step_size(walkers, d) if blending else 0.5
        settings = {"h": h, "scale": 0.01 if walkers < 2 * d else 0.001, "blending": blending}
        draws = run(f, start, key, walkers=walkers, rounds=24_000 // walkers, **settings)
        z = np.asarray(draws) @ turn / np.sqrt(values)
        ratio, worth = (z**2).mean((0, 1)), [effective(z[:, :, i]) for i in (-1, 0)]
        label = f"{walkers} walkers, blending {blending:.0f}"
        figures = f"{ratio[-1]:7.3f} {ratio[0]:10.3f} {worth[0]:8.2f} {worth[1]:9.2f}"
        print(f"{label:32}{figures}", flush=True)
    print("Rosenbrock, 64 walkers, x")
    f, walkers = functions(banana()), 64
    x, gap = np.array([[10**0.5], [0.1**0.5]]) * jax.random.normal(key, (2, walkers))
    start = jnp.stack([1 + x, (1 + x) ** 2 + gap], axis=1)
    for blending, h, scale in ((0.0, 0.15, 0.1), (1.0, 0.005, 0.001)):
        settings = {"h": h, "scale": scale, "blending": blending}
        draws = run(f, start, key, walkers=walkers, rounds=2000, **settings)
        x = np.asarray(draws)[:, :, 0] - 1
        figures = f"{np.square(x).mean() / 10:7.3f} {effective(x):19.3f}"
        print(f"{f'blending {blending:.0f}':32}{figures}", flush=True)


if __name__ == "__main__":
    main()
