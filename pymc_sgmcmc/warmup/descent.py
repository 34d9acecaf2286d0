"""Minibatch descent from each chain's start, where Newton's method costs too much."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax, random

from pymc_sgmcmc.engines.devices import to_host
from pymc_sgmcmc.engines.jax import compile_for, key_of

_LEARNING_RATE, _AVERAGING = 0.01, 0.999
# Largest standard deviation of the noise of an update, for parameters with next to no gradient.
_LARGEST_NOISE = 0.2
_BLOCK = 200
_BLOCKS = 50
_RESTS = 2


def descend(
    engine: Any,
    starts: np.ndarray,
    others: Mapping[str, np.ndarray],
    seeds: np.ndarray,
    temperature: float = 1.0,
) -> tuple[np.ndarray, np.ndarray, int]:
    r"""Descend with Adam, and the noise of a Langevin step, until the potential stops falling.

    .. math::

        \Delta\theta = -\epsilon \frac{\hat m}{\sqrt{\hat v}}
        + \sqrt{\frac{2 \epsilon T}{\sqrt{\hat v}}}\, \eta

    The noise keeps the descent from the bottom, which for a network that can interpolate its rows
    lies where the noise of the observations vanishes, far from the mass of the posterior. Where the
    mass of the law ∝ exp(−U/T) is, U lies about T d/2 nats above its minimum: the descent ends when
    twice 200 updates lower no chain's potential by more than a tenth of that.

    Parameters
    ----------
    engine : JaxEngine
        One that moves in the model's own coordinates.
    starts : ndarray
        Shape ``(chains, d)``.
    others : mapping of str to ndarray
        Values of the model's other value variables, ``(chains, ...)`` each.
    seeds : ndarray
        Shape ``(chains, 2)``, uint32.
    temperature : float
        T of the law whose mass is looked for.

    Returns
    -------
    positions : ndarray
        Shape ``(chains, d)``.
    potentials : ndarray
        Mean over the last updates, in nats, ``(chains,)``.
    updates : int
        Of each chain.

    References
    ----------
    Kingma & Ba (2015), Adam: a method for stochastic optimization, ICLR.
    Li, Chen, Carlson & Carin (2016), Preconditioned stochastic gradient Langevin dynamics for deep
    neural networks, AAAI: the noise that suits such a preconditioner.
    """
    import optax  # takes a while

    optimiser = optax.adam(_LEARNING_RATE, b2=_AVERAGING)

    def noise(adam, key):
        mean_square = adam.nu / (1 - _AVERAGING**adam.count)
        variance = 2 * temperature * _LEARNING_RATE / (jnp.sqrt(mean_square) + 1e-8)
        normal = random.normal(key, adam.nu.shape, adam.nu.dtype)
        return jnp.minimum(jnp.sqrt(variance), _LARGEST_NOISE) * normal

    def block(position, state, first, others, seed, rows):
        def update(carry, number):
            position, state = carry
            key = key_of(seed, number)
            value, gradient = engine.estimate(others, (), rows, position, key)
            change, state = optimiser.update(gradient, state)
            change = change + noise(state[0], random.fold_in(key, 1))
            moved = optax.apply_updates(position, change)
            finite = jnp.isfinite(value) & jnp.isfinite(moved).all()
            return (jnp.where(finite, moved, position), state), value

        numbers = first + jnp.arange(_BLOCK, dtype=jnp.uint32)
        (position, state), values = lax.scan(update, (position, state), numbers)
        return position, state, values.mean()

    with engine.precision():
        position = jnp.asarray(starts, engine.dtype)
        state = jax.vmap(optimiser.init)(position)
        fixed = (engine.others(others), jnp.asarray(seeds, jnp.uint32))
        args = (position, state, jnp.uint32(0), *fixed)
        chains, args = engine.vectorise(block, (0, 0, None, 0, 0), args, len(starts))
        position, state, _, *fixed = args
        step = compile_for(chains, *args)
        before, rests = np.full(len(starts), np.inf), 0
        enough = temperature * starts.shape[1] / 20
        for i in range(_BLOCKS):
            position, state, values = step(position, state, jnp.uint32(i * _BLOCK), *fixed)
            values = to_host(values).astype(float)
            falls = before - values > enough
            rests = 0 if falls.any() else rests + 1
            if rests == _RESTS:
                break
            before = np.minimum(before, values)
        return to_host(position).astype(float), values, (i + 1) * _BLOCK
