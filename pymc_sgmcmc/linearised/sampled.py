r"""The posterior of the linear model, sampled by stochastic gradients: "sample, then optimise".

With θ ~ N(0, A⁻¹) from the prior and noise e of every row, the minimum of

.. math::

    L(z) = \tfrac12 \sum_i \lVert J_i z \rVert^2_{H_i} + \tfrac12 \lVert z - \theta_n\rVert_A^2,
    \qquad \theta_n = \theta + A^{-1} \sum_i J_i^\top R_i e_i, \quad R_i R_i^\top = H_i,

is a draw from N(0, (G + A)⁻¹): it solves (G + A) z = A θ + Jᵀ R e, whose right side has the
covariance A + G. That the noise of the targets is in θ_n, once, and not in the rows' terms is what
makes gradients of batches quiet: their noise is that of J z alone. All draws, and the mean, are the
minima of one loss with different θ_n, and move together.

Antorán, Padhy, Barbano, Nalisnick, Janz & Hernández-Lobato (2023), Sampling-based inference for
large linear models, with application to linearised Laplace, ICLR, section 3.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from pymc_sgmcmc.linearised.gaussian import Gaussian
from pymc_sgmcmc.linearised.linear import Batch, LinearModel
from pymc_sgmcmc.warmup.lanczos import largest_eigenvalues
from pymc_sgmcmc.warn import warn_user

# What a round keeps of the velocity: the first, and at most; half as much is lost in each.
_MOMENTUM, _MOST = 0.9, 0.99
# Batches whose largest eigenvalue bounds the step.
_BATCHES = 8
# Updates of the first round, or those of one pass over the rows; each has twice as many as the one
# before.
_UPDATES = 100
# Loss of a draw in nats, for each direction that the data determine, that no longer matters.
_NATS = 5e-4
_HALVINGS = 10


class Progress(NamedTuple):
    """How draws came about.

    Attributes
    ----------
    updates : int
        Of all posteriors so far.
    gained : float
        By how much the last round lowered the loss, in nats for each direction that is determined.
    converged : bool
    """

    updates: int = 0
    gained: float = np.inf
    converged: bool = False


class Sampled:
    """Draws of the posterior, without its precision.

    Parameters
    ----------
    model : LinearModel
    draws : int
        K.
    batch_size : int
        Rows of a gradient.
    seed : int
    max_updates : int
        Updates of one posterior, at most.

    Attributes
    ----------
    diagonal : ndarray
        Estimate of the diagonal of G, ``(d,)``.
    progress : Progress
    """

    def __init__(
        self, model: LinearModel, draws: int, batch_size: int, seed: int, max_updates: int
    ) -> None:
        self._model, self._batch_size, self._max_updates = model, batch_size, max_updates
        of_data, of_prior, self._key = jax.random.split(jax.random.key(seed), 3)
        self._pieces = model.pieces(batch_size)
        # Once over all rows: what the noise of the targets adds to the draws from the prior.
        self._of_data = np.asarray(_noise(model, self._pieces, of_data, draws))
        dtype = model.width.dtype
        self._of_prior = np.asarray(jax.random.normal(of_prior, (draws, model.size), dtype))
        self.diagonal = np.square(self._of_data.astype(float)).mean(0)
        self._solution: np.ndarray | None = None
        self.progress = Progress()

    def posterior(self, precision: np.ndarray, slope: np.ndarray) -> Gaussian:
        """See `Curvature`; goes on from where the last one ended."""
        right = np.concatenate([self.noise(precision), -slope[None]])
        # In units in which the diagonal of the precision is 1, about, and so is that of `right`.
        scale = 1 / np.sqrt(self.diagonal + precision)
        # Right where the prior alone says how wide the posterior is.
        start = scale * right if self._solution is None else self._solution / scale
        system = System(*map(self._typed, (scale, scale**2 * precision, scale * right)))
        found, turned = self._solve(system, start)
        self._solution = found * scale
        z, data = self._solution[:-1], turned[:-1] / scale
        return Gaussian(self._solution[-1], z, (z * data).mean(0))

    def noise(self, precision: np.ndarray) -> np.ndarray:
        """A θ_n of every draw, ``(K, d)``: the draws are (G + A)⁻¹ times it."""
        return self._of_data + np.sqrt(precision) * self._of_prior

    def _typed(self, x: np.ndarray) -> Array:
        return jnp.asarray(x, self._model.width.dtype)

    def _solve(self, system: System, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Solution in the units of a system, and S G S of it.

        A round begins where the average of the one before lies. When twice as many updates hardly
        lower the loss, what is left to gain is less than that: it falls at least like 1/updates.
        """
        step, momentum = 1 / self._largest(system), _MOMENTUM
        updates = max(_UPDATES, self._model.n_rows // self._batch_size)
        made = halved = 0
        best = Point.at(self._model, self._pieces, system, self._typed(start))
        gained = np.inf
        while gained > _NATS and made < self._max_updates and halved < _HALVINGS:
            self._key, key = jax.random.split(self._key)
            updates = min(updates, self._max_updates - made)
            how = (step, momentum, key, updates)
            average = _descend(self._model, system, best.u, *how, batch_size=self._batch_size)
            made += updates
            new = Point.at(self._model, self._pieces, system, average)
            gain = (best.loss - new.loss) / new.determined
            if not gain.mean() > -_NATS:  # the step was too large for the noise of the batches
                step, halved = step / 2, halved + 1
                continue
            gained = float(max(abs(gain[:-1].mean()), abs(gain[-1])))
            best = new if gain.mean() > 0 else best
            updates, momentum = 2 * updates, min((1 + momentum) / 2, _MOST)
        self.progress = Progress(self.progress.updates + made, gained, gained <= _NATS)
        return np.asarray(best.u, float), best.data

    def _largest(self, system: System) -> float:
        """Largest curvature of the loss of a batch."""
        self._key, of_rows, of_starts = jax.random.split(self._key, 3)
        n, b = self._model.n_rows, self._batch_size
        count = 1 if b == n else _BATCHES
        batches = jax.vmap(lambda key: _batch(self._model, key, b))(
            jax.random.split(of_rows, count)
        )
        starts = np.asarray(jax.random.normal(of_starts, (count, self._model.size)), float)

        def times(u: np.ndarray) -> np.ndarray:
            return np.asarray(_of_batches(self._model, system, batches, self._typed(u)), float)

        return float(np.nanmax(largest_eigenvalues(times, starts)))


class System(NamedTuple):
    """(S G S + A) u = b.

    Attributes
    ----------
    scale, precision : Array
        Diagonals of S and A, ``(d,)``.
    right : Array
        b of each solution, ``(K, d)``.
    """

    scale: Array
    precision: Array
    right: Array

    def data(self, model: LinearModel, batch: Batch, u: Array) -> Array:
        """S G S u of a batch."""
        return self.scale * model.product(batch, self.scale * u)

    def gradient(self, model: LinearModel, batch: Batch, u: Array) -> Array:
        """Of the loss."""
        return self.data(model, batch, u) + self.precision * u - self.right


class Point(NamedTuple):
    """Solutions as far as they are found, seen by all rows.

    Attributes
    ----------
    u : Array
        Shape ``(K + 1, d)``.
    data : ndarray
        S G S u.
    loss : ndarray
        ½ uᵀ(S G S + A)u − bᵀu, in nats, ``(K + 1,)``.
    determined : float
        Effective dimension, from the draws: but 1 at least.
    """

    u: Array
    data: np.ndarray
    loss: np.ndarray
    determined: float

    @classmethod
    def at(cls, model: LinearModel, pieces: Batch, system: System, u: Array) -> Point:
        """Point of some solutions."""
        data, there = np.asarray(_data(model, pieces, system, u), float), np.asarray(u, float)
        precision, right = (np.asarray(x, float) for x in (system.precision, system.right))
        loss = (there * ((data + precision * there) / 2 - right)).sum(1)
        determined = (there[:-1] * data[:-1]).sum(1).mean()
        return cls(u, data, loss, max(1.0, float(determined)))


def _batch(model: LinearModel, key: Array, size: int) -> Batch:
    """Rows that stand for all N; all of them where they are as many."""
    n = model.n_rows
    rows = jnp.arange(n) if size == n else jax.random.randint(key, (size,), 0, n)
    return Batch(rows, jnp.full(size, n / size, model.width.dtype))


@jax.jit(static_argnames="batch_size")
def _descend(
    model: LinearModel,
    system: System,
    start: Array,
    step: float,
    momentum: float,
    key: Array,
    updates: int,
    batch_size: int,
) -> Array:
    """Nesterov's method; the average of the second half of its positions (Polyak's)."""
    h, kept = (jnp.asarray(x, start.dtype) for x in (step, momentum))

    def update(i: Array, state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        u, velocity, total = state
        batch = _batch(model, jax.random.fold_in(key, i), batch_size)
        gradient = system.gradient(model, batch, u + kept * velocity)
        velocity = kept * velocity - h * gradient
        u = u + velocity
        return u, velocity, total + jnp.where(i >= updates // 2, u, 0)

    zero = jnp.zeros_like(start)
    _, _, total = jax.lax.fori_loop(0, updates, update, (start, zero, zero))
    return total / (updates - updates // 2)


@jax.jit
def _data(model: LinearModel, pieces: Batch, system: System, u: Array) -> Array:
    """S G S u of all rows."""

    def add(total: Array, batch: Batch) -> tuple[Array, None]:
        return total + system.data(model, batch, u), None

    return jax.lax.scan(add, jnp.zeros_like(u), pieces)[0]


@jax.jit
def _of_batches(model: LinearModel, system: System, batches: Batch, u: Array) -> Array:
    """(S G S + A) u for as many batches as there are vectors."""
    data = jax.vmap(lambda b, v: system.data(model, b, v[None])[0])(batches, u)
    return data + system.precision * u


@jax.jit(static_argnames="draws")
def _noise(model: LinearModel, pieces: Batch, key: Array, draws: int) -> Array:
    """Jᵀ R e of all rows, ``(draws, d)``."""

    def add(total: Array, part: tuple[Batch, Array]) -> tuple[Array, None]:
        batch, key = part
        return total + model.noise(batch, jax.random.split(key, draws)), None

    keys = jax.random.split(key, len(pieces.rows))
    zero = jnp.zeros((draws, model.size), model.width.dtype)
    return jax.lax.scan(add, zero, (pieces, keys))[0]


def warn_unless_converged(progress: Progress) -> None:
    """Warn of draws that were not found as closely as they should be."""
    if not progress.converged:
        warn_user(
            f"After {progress.updates:,} updates the draws still move: the last round lowered "
            f"their loss by {progress.gained:.2g} nats for each direction that the data determine, "
            f"and {_NATS:g} would do. Standard deviations may be too large. Try max_updates=..., "
            "or a larger batch_size=...."
        )
