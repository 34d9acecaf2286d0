"""Deep ensemble (Lakshminarayanan et al. 2017): networks trained from different starts."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.networks.models import Predictive
from benchmarks.networks.settings import Network, Settings

_ACTIVATIONS = {"tanh": jnp.tanh, "relu": jax.nn.relu}
_SMALLEST_VARIANCE = 1e-6


def deep_ensemble(
    X: np.ndarray,
    y: np.ndarray,
    X_test: np.ndarray,
    network: Network,
    settings: Settings,
    seed: int,
) -> Predictive:
    """Average networks whose mean and variance depend on the input, without adversarial training.

    Each is trained by Adam on minibatches of its own. Half of the epochs fit the mean alone, since
    a variance that learns as fast explains what the mean should (Sluijterman et al. 2024). Of the
    others, those parameters are kept that were best on rows that the network holds out.
    """
    sizes = (X.shape[1], *network.hidden, 2)
    held_out = max(2, round(settings.held_out * len(y)))
    rows = len(y) - held_out
    batch = min(settings.ensemble_batch, rows)
    batches = rows // batch
    epochs = max(1, settings.ensemble_updates // batches)
    adam = optax.adam(optax.cosine_decay_schedule(0.01, epochs * batches))
    X, y, X_test = (jnp.asarray(x, "float32") for x in (X, y, X_test))

    def law(parameters, X):
        for weights, bias in parameters[:-1]:
            X = _ACTIVATIONS[network.activation](X @ weights + bias)
        mean, raw = (X @ parameters[-1][0] + parameters[-1][1]).T
        return mean, jax.nn.softplus(raw) + _SMALLEST_VARIANCE

    def loss(parameters, rows, mean_alone):
        mean, variance = law(parameters, X[rows])
        variance = jnp.where(mean_alone, 1, variance)
        return (jnp.log(variance) + jnp.square(y[rows] - mean) / variance).mean() / 2

    def train(key):
        key, split, start = jax.random.split(key, 3)
        order = jax.random.permutation(split, len(y))
        held, kept = order[:held_out], order[held_out:]

        def epoch(state, key_and_number):
            (parameters, moments, best, least), (key, number) = state, key_and_number
            mean_alone = number < epochs // 2

            def update(state, rows):
                parameters, moments = state
                change, moments = adam.update(jax.grad(loss)(parameters, rows, mean_alone), moments)
                return (optax.apply_updates(parameters, change), moments), None

            shuffled = jax.random.permutation(key, kept)[: batches * batch].reshape(batches, batch)
            (parameters, moments), _ = jax.lax.scan(update, (parameters, moments), shuffled)
            value = jnp.where(mean_alone, jnp.inf, loss(parameters, held, False))
            best = jax.tree.map(
                lambda new, old: jnp.where(value < least, new, old), parameters, best
            )
            return (parameters, moments, best, jnp.minimum(value, least)), None

        parameters = _initial(start, sizes)
        state = (parameters, adam.init(parameters), parameters, jnp.inf)
        state, _ = jax.lax.scan(epoch, state, (jax.random.split(key, epochs), jnp.arange(epochs)))
        return law(state[2], X_test)

    keys = jax.random.split(jax.random.key(seed), settings.members)
    mean, variance = jax.jit(jax.vmap(train))(keys)
    return Predictive(np.asarray(mean), np.sqrt(np.asarray(variance)), {"epochs": epochs})


def _initial(key: jax.Array, sizes: tuple[int, ...]) -> list[tuple[jax.Array, jax.Array]]:
    """Weights from N(0, 1/inputs), biases of 0."""
    keys = jax.random.split(key, len(sizes) - 1)
    return [
        (jax.random.normal(k, s, "float32") / np.sqrt(s[0]), jnp.zeros(s[1], "float32"))
        for k, s in zip(keys, itertools.pairwise(sizes), strict=True)
    ]
