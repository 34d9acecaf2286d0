"""Networks of Equinox and Flax that `modules.py` times, and the data that they are for.

A multilayer perceptron, a convolutional network and a transformer of two layers in each library,
written as its users do.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

# -- Equinox: modules take one row -----------------------------------------------------------------


class Conv(eqx.Module):
    """Two convolutions, the mean over the pixels, a linear layer."""

    first: eqx.nn.Conv2d
    second: eqx.nn.Conv2d
    head: eqx.nn.Linear

    def __init__(self, classes, key):
        one, two, three = jax.random.split(key, 3)
        self.first = eqx.nn.Conv2d(1, 8, 3, key=one)
        self.second = eqx.nn.Conv2d(8, 16, 3, stride=2, key=two)
        self.head = eqx.nn.Linear(16, classes, key=three)

    def __call__(self, x):
        """Logits of an image ``(side, side)``."""
        x = jax.nn.silu(self.second(jax.nn.silu(self.first(x[None]))))
        return self.head(x.mean((1, 2)))


class Block(eqx.Module):
    """Attention to what came before, and a small network for each place."""

    attention: eqx.nn.MultiheadAttention
    network: eqx.nn.MLP
    norms: list[eqx.nn.LayerNorm]

    def __init__(self, width, key):
        one, two = jax.random.split(key)
        self.attention = eqx.nn.MultiheadAttention(2, width, key=one)
        self.network = eqx.nn.MLP(width, width, 2 * width, 1, jax.nn.gelu, key=two)
        self.norms = [eqx.nn.LayerNorm(width), eqx.nn.LayerNorm(width)]

    def __call__(self, x):
        """Signals ``(length, width)`` of signals."""
        before = jnp.tril(jnp.ones((len(x), len(x)), bool))
        y = jax.vmap(self.norms[0])(x)
        x = x + self.attention(y, y, y, before)
        return x + jax.vmap(self.network)(jax.vmap(self.norms[1])(x))


class Transformer(eqx.Module):
    """Logits of the character that follows each place of a text."""

    characters: eqx.nn.Embedding
    places: jax.Array
    blocks: list[Block]
    head: eqx.nn.Linear

    def __init__(self, classes, length, width, key):
        one, two, three, *others = jax.random.split(key, 5)
        self.characters = eqx.nn.Embedding(classes, width, key=one)
        self.places = jax.random.normal(two, (length, width))
        self.blocks = [Block(width, k) for k in others]
        self.head = eqx.nn.Linear(width, classes, key=three)

    def __call__(self, x):
        """Logits ``(length, classes)`` of a text ``(length,)``."""
        x = jax.vmap(self.characters)(x) + self.places
        for block in self.blocks:
            x = block(x)
        return jax.vmap(self.head)(x)


def equinox(kind, width, classes, length):
    """One of the three, with random weights."""
    key = jax.random.key(0)
    if kind == "mlp":
        return eqx.nn.MLP(length**2, classes, width, 2, jnp.tanh, key=key)
    return Conv(classes, key) if kind == "conv" else Transformer(classes, length, width, key)


# -- Flax: modules take all rows -------------------------------------------------------------------


class FlaxConv(nnx.Module):
    """Two convolutions, the mean over the pixels, a linear layer."""

    def __init__(self, classes, rngs):
        self.first = nnx.Conv(1, 8, (3, 3), padding="VALID", rngs=rngs)
        self.second = nnx.Conv(8, 16, (3, 3), strides=2, padding="VALID", rngs=rngs)
        self.head = nnx.Linear(16, classes, rngs=rngs)

    def __call__(self, x):
        """Logits of images ``(rows, side, side)``."""
        x = nnx.silu(self.second(nnx.silu(self.first(x[..., None]))))
        return self.head(x.mean((1, 2)))


class FlaxBlock(nnx.Module):
    """Attention to what came before, and a small network for each place."""

    def __init__(self, width, rngs):
        self.attention = nnx.MultiHeadAttention(2, width, decode=False, rngs=rngs)
        self.inner = nnx.Linear(width, 2 * width, rngs=rngs)
        self.outer = nnx.Linear(2 * width, width, rngs=rngs)
        self.norms = nnx.List([nnx.LayerNorm(width, rngs=rngs) for _ in range(2)])

    def __call__(self, x):
        """Signals ``(rows, length, width)`` of signals."""
        before = nnx.make_causal_mask(x[..., 0])
        x = x + self.attention(self.norms[0](x), mask=before)
        return x + self.outer(nnx.gelu(self.inner(self.norms[1](x))))


class FlaxTransformer(nnx.Module):
    """Logits of the character that follows each place of a text."""

    def __init__(self, classes, length, width, rngs):
        self.characters = nnx.Embed(classes, width, rngs=rngs)
        self.places = nnx.Param(rngs.params.normal((length, width)))
        self.blocks = nnx.List([FlaxBlock(width, rngs) for _ in range(2)])
        self.head = nnx.Linear(width, classes, rngs=rngs)

    def __call__(self, x):
        """Logits ``(rows, length, classes)`` of texts ``(rows, length)``."""
        x = self.characters(x) + self.places
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def flax(kind, width, classes, length):
    """One of the three, with random weights."""
    rngs = nnx.Rngs(0)
    if kind == "conv":
        return FlaxConv(classes, rngs)
    if kind == "transformer":
        return FlaxTransformer(classes, length, width, rngs)
    sizes = [(length**2, width), (width, width), (width, classes)]
    one, two, three = (nnx.Linear(*size, rngs=rngs) for size in sizes)
    return nnx.Sequential(one, nnx.tanh, two, nnx.tanh, three)


# -- data ------------------------------------------------------------------------------------------


def images(rows, side, classes):
    """Bars at `classes` heights in noise: ``(rows, side, side)``, and the classes ``(rows,)``."""
    rng = np.random.default_rng(0)
    y = rng.integers(classes, size=rows)
    x = rng.normal(size=(rows, side, side))
    x[np.arange(rows), y * side // classes] += 1
    return x, y


def text(rows, length):
    """Pieces of sentences of a small grammar, ``(rows, length)``, and what follows each character.

    Characters are numbered from 0 on.
    """
    rng = np.random.default_rng(0)
    parts = ["a cat", "the dog", "one bird"], ["sees", "hears", "likes"], ["it. ", "me. ", "you. "]
    characters = "".join(" ".join(rng.choice(part) for part in parts) for _ in range(rows))
    codes = np.unique(list(characters), return_inverse=True)[1]
    starts = rng.integers(len(codes) - length, size=rows)
    pieces = codes[starts[:, None] + np.arange(length + 1)]
    return pieces[:, :-1], pieces[:, 1:]
