"""Point estimates of a classifier by Adam: once, as an ensemble, and with dropout."""

from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

_BATCH = 100
_MEMBERS, _SAMPLES = 5, 100
_DECAY = 1e-4  # of the weights, relative to the learning rate
_DROPPED = (0.2, 0.5)  # of the pixels, and of the hidden units


def fit(
    method: str, images: Any, hidden: tuple[int, ...], epochs: int, seed: int
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Class probabilities of test images and of others, by MAP, ensemble or MC-dropout."""
    drop = method == "MC-dropout"
    members = _MEMBERS if method == "ensemble" else 1
    epochs = 3 * epochs if drop else epochs  # it learns more slowly, and does not overfit
    sizes = (images.X.shape[1], *hidden, int(images.y.max()) + 1)
    sums: Any = 0
    for member in range(members):
        parameters = train(images.X, images.y, sizes, epochs, drop, seed + member)
        for sample in range(_SAMPLES if drop else 1):
            key = jax.random.key(sample) if drop else None
            found = [probabilities(parameters, X, key) for X in (images.X_test, images.X_other)]
            sums = (
                found
                if isinstance(sums, int)
                else [a + b for a, b in zip(sums, found, strict=True)]
            )
    total = members * (_SAMPLES if drop else 1)
    return np.asarray(sums[0]) / total, np.asarray(sums[1]) / total, {"epochs": epochs}


@jax.jit
def probabilities(parameters: list, X: np.ndarray, key: Any = None) -> jax.Array:
    """Class probabilities ``(rows, classes)``, with the dropout of a key."""
    return jax.nn.softmax(logits(parameters, X, key))


def logits(parameters: list, X: Any, key: Any = None) -> Any:
    """Of the network, some of whose inputs and hidden units are dropped if there is a key."""
    signal = dropped(X, key, _DROPPED[0])
    for layer, (weights, bias) in enumerate(parameters[:-1]):
        signal = jax.nn.relu(signal @ weights + bias)
        key = None if key is None else jax.random.fold_in(key, layer)
        signal = dropped(signal, key, _DROPPED[1])
    weights, bias = parameters[-1]
    return signal @ weights + bias


def dropped(signal: Any, key: Any, share: float) -> Any:
    """Signal with some of its entries 0, and the same mean."""
    if key is None:
        return signal
    return signal * jax.random.bernoulli(key, 1 - share, signal.shape) / (1 - share)


def train(
    X: np.ndarray, y: np.ndarray, sizes: tuple[int, ...], epochs: int, drop: bool, seed: int
) -> list:
    """Minimise the cross entropy with Adam and weight decay; the learning rate falls to 0."""
    rng = np.random.default_rng(seed)
    parameters = [
        (jnp.asarray(rng.normal(0, (2 / n) ** 0.5, (n, m)), jnp.float32), jnp.zeros(m, jnp.float32))
        for n, m in pairwise(sizes)
    ]
    steps = len(X) // _BATCH
    rate = optax.cosine_decay_schedule(1e-3, epochs * steps)
    optimiser = optax.adamw(rate, weight_decay=_DECAY)

    def loss(parameters, X, y, key):
        found = logits(parameters, X, key if drop else None)
        return optax.softmax_cross_entropy_with_integer_labels(found, y).mean()

    @jax.jit
    def epoch(parameters, state, X, y, order, key):
        def update(carry, batch):
            parameters, state, key = carry
            key, now = jax.random.split(key)
            gradient = jax.grad(loss)(parameters, X[batch], y[batch], now)
            changes, state = optimiser.update(gradient, state, parameters)
            return (optax.apply_updates(parameters, changes), state, key), None

        return jax.lax.scan(update, (parameters, state, key), order)[0]

    state, key = optimiser.init(parameters), jax.random.key(seed)
    X, y = jnp.asarray(X), jnp.asarray(y)
    for _ in range(epochs):
        order = rng.permutation(len(X))[: steps * _BATCH].reshape(steps, _BATCH)
        parameters, state, key = epoch(parameters, state, X, y, jnp.asarray(order), key)
    return parameters
