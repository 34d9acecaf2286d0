"""The door: a model in, its functions out. JAX is imported when it is called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pymc.model import Model

from pymc_sgmcmc.model.plain import the_model
from pymc_sgmcmc.model.potential import StochasticPotential

if TYPE_CHECKING:
    from pymc_sgmcmc.functional.compiled import Functions


def functions(
    model: Model | None = None,
    *,
    batch_size: int | None = None,
    data: Sequence[str] | None = None,
    dtype: str | None = None,
) -> Functions:
    """Turn a model into functions of JAX: potential energy, gradients, likelihood, prior.

    For a sampler, an optimiser or a diagnostic of one's own. All take positions q, flat vectors
    ``(d,)`` in PyMC's unconstrained space, and can be jitted, differentiated, mapped and scanned.
    They sample the posterior with the density exp(−U(q)).

    Parameters
    ----------
    model : pm.Model, optional
        That of the context when None. It is checked as for a step.
    batch_size : int, optional
        Rows B in a batch; all rows when None, and then a batch is all of them.
    data : sequence of str, optional
        Names of the row data, where they are not recognised.
    dtype : {"float32", "float64"}, optional
        Type of positions and gradients; ``pytensor.config.floatX`` when None.

    Returns
    -------
    Functions
        Frozen, and a pytree whose leaves are the data: hand it to a jitted function as an argument,
        and rows are no constants of its code.

    Raises
    ------
    ValueError, TypeError
        If the model or an argument does not allow minibatches, a variable is discrete, or JAX has
        been told not to have the 64 bits that the model needs.

    See Also
    --------
    pymc_sgmcmc.sample : Samplers that are there.

    Examples
    --------
    Langevin dynamics in a few lines, whose draws become what `pm.sample` returns:

    >>> import jax
    >>> import numpy as np
    >>> import pymc as pm
    >>> from pymc_sgmcmc import functions
    >>> rows = np.random.default_rng(0).normal(3, 2, size=10_000)
    >>> with pm.Model() as model:
    ...     mu = pm.Normal("mu", 0, 10)
    ...     y = pm.Normal("y", mu, 2, observed=rows)
    >>> f = functions(model, batch_size=1000)
    >>> h = 0.004
    >>> @jax.jit
    ... def chain(f, q, key):
    ...     def update(q, key):
    ...         of_batch, of_noise = jax.random.split(key)
    ...         gradient = f.minibatch_gradient(q, of_batch)
    ...         q = q - h**2 / 2 * gradient + h * jax.random.normal(of_noise, q.shape)
    ...         return q, q
    ...     return jax.lax.scan(update, q, jax.random.split(key, 5000))[1]
    >>> draws = chain(f, f.ravel({"mu": 3.0}), jax.random.key(1))[1000::10]
    >>> idata = f.to_datatree(draws[None], step_size=h, steps_per_draw=10)
    >>> round(float(idata.posterior["mu"].mean()), 1), round(float(idata.posterior["mu"].std()), 2)
    (3.0, 0.02)
    """
    from pymc_sgmcmc.functional.compiled import Functions

    model = the_model(model)
    potential = StochasticPotential(model, batch_size=batch_size, data=data, dtype=dtype)
    return Functions.of(potential)
