"""Point estimates of a classifier by Adam: once, as an ensemble, and with dropout."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.networks.image_sets import Images
from pymc_sgmcmc.nn.convolution import Convolution, by_jax

# Shapes of the weights of networks for images of 28 × 28 bytes: filters have four axes.
SHAPES: dict[str, list[tuple[int, ...]]] = {
    "mlp": [(784, 400), (400, 400), (400, 10)],
    "lenet": [(5, 5, 1, 6), (5, 5, 6, 16), (400, 120), (120, 84), (84, 10)],
}
_BATCH = 100
_MEMBERS, _SAMPLES = 5, 100
_BLOCK = 1000  # rows that are predicted at once
_DECAY = 1e-4  # of the weights, relative to the learning rate
_DROPPED = (0.2, 0.5)  # of the pixels, and of the hidden units


def fit(
    method: str, images: Images, network: str, epochs: int, seed: int
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Class probabilities of test images and of others, by MAP, ensemble or MC-dropout."""
    drop = method == "MC-dropout"
    members = _MEMBERS if method == "ensemble" else 1
    epochs = 3 * epochs if drop else epochs  # it learns more slowly, and does not overfit
    samples = _SAMPLES if drop else 1
    X, *others = (_pixels(x, images.X.mean()) for x in (images.X, images.X_test, images.X_other))
    sums = [0.0, 0.0]
    for member in range(members):
        parameters = train(X, images.y, SHAPES[network], epochs, drop, seed + member)
        for sample in range(samples):
            key = jax.random.key(sample) if drop else None
            found = [_in_blocks(parameters, x, key) for x in others]
            sums = [a + b for a, b in zip(sums, found, strict=True)]
    inside, outside = (x / (members * samples) for x in sums)
    return inside, outside, {"epochs": epochs}


def _pixels(x: np.ndarray, mean: float) -> np.ndarray:
    return ((x - mean) / 255).astype(np.float32)


def _in_blocks(parameters: list, X: np.ndarray, key: Any) -> np.ndarray:
    blocks = [X[first : first + _BLOCK] for first in range(0, len(X), _BLOCK)]
    return np.concatenate([probabilities(parameters, x, key) for x in blocks])


@jax.jit
def probabilities(parameters: list, X: np.ndarray, key: Any = None) -> jax.Array:
    """Class probabilities ``(rows, classes)``, with the dropout of a key."""
    return jax.nn.softmax(logits(parameters, X, key))


def logits(parameters: list, X: Any, key: Any = None) -> Any:
    """Of the network, some of whose inputs and hidden units are dropped if there is a key."""
    signal = dropped(X, key, _DROPPED[0])
    for layer, (weights, bias) in enumerate(parameters):
        if weights.ndim == 4:  # zeros around the image for the first, as LeNet-5 has them
            signal = by_jax.convolve(Convolution(1, layer == 0), signal, weights) + bias
            signal = _largest(jax.nn.relu(signal))
            continue  # filters are few: none is dropped
        signal = signal.reshape(len(signal), -1) @ weights + bias
        if layer == len(parameters) - 1:
            return signal
        key = None if key is None else jax.random.fold_in(key, layer)
        signal = dropped(jax.nn.relu(signal), key, _DROPPED[1])


def _largest(x: Any) -> Any:
    """Of squares of 2 × 2 pixels."""
    n, height, width, channels = x.shape
    return x.reshape(n, height // 2, 2, width // 2, 2, channels).max((2, 4))


def dropped(signal: Any, key: Any, share: float) -> Any:
    """Signal with some of its entries 0, and the same mean."""
    if key is None:
        return signal
    return signal * jax.random.bernoulli(key, 1 - share, signal.shape) / (1 - share)


def train(
    X: np.ndarray,
    y: np.ndarray,
    shapes: list[tuple[int, ...]],
    epochs: int,
    drop: bool,
    seed: int,
) -> list:
    """Minimise the cross entropy with Adam and weight decay; the learning rate falls to 0."""
    rng = np.random.default_rng(seed)
    parameters = [
        (
            jnp.asarray(rng.normal(0, (2 / math.prod(shape[:-1])) ** 0.5, shape), jnp.float32),
            jnp.zeros(shape[-1], jnp.float32),
        )
        for shape in shapes
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
