"""BlackJAX: its kernels scanned, batches drawn on the device, chains by `jax.vmap`."""

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
from blackjax.sgmcmc.gradients import grad_estimator
from peers.jax_models import log_likelihood, log_prior
from peers.protocol import Prepared, serve
from workloads import FRICTION, Workload


def prepare(workload: Workload, sampler: str, chains: int, draws: int) -> Prepared:
    n, h = len(workload.X), workload.step_size
    gradient = grad_estimator(log_prior(workload), log_likelihood(workload), n)
    if sampler == "sgld":
        algorithm, step_size = blackjax.sgld(gradient), h**2 / 2
    elif sampler == "sgnht":
        algorithm, step_size = blackjax.sgnht(gradient, alpha=FRICTION / h), h
    else:
        raise ValueError(f"BlackJAX has no {sampler}.")

    def chain(state, key, X, y):
        def update(state, key):
            of_batch, of_step = jax.random.split(key)
            batch = jax.random.randint(of_batch, (workload.batch_size,), 0, n)
            return algorithm.step(of_step, state, (X[batch], y[batch]), step_size), None

        def draw(state, key):
            state, _ = jax.lax.scan(update, state, jax.random.split(key, workload.steps_per_draw))
            return state, state if sampler == "sgld" else state.position

        return jax.lax.scan(draw, state, jax.random.split(key, draws))

    program = jax.jit(jax.vmap(chain, in_axes=(0, 0, None, None)), donate_argnums=0)
    rows = jnp.asarray(workload.X), jnp.asarray(workload.y)
    key, *keys = jax.random.split(jax.random.key(0), chains + 1)
    start = [jnp.asarray(x) for x in workload.split(workload.start(chains))]
    state = jax.vmap(algorithm.init)(start, jnp.stack(keys))

    def run() -> list[np.ndarray]:
        nonlocal state, key
        key, of_run = jax.random.split(key)
        state, positions = program(state, jax.random.split(of_run, chains), *rows)
        return [np.asarray(x) for x in positions]

    def all_rows(theta: np.ndarray) -> np.ndarray:
        position = [jnp.asarray(x) for x in workload.split(theta)]
        return np.concatenate([np.ravel(x) for x in gradient(position, rows)])

    return Prepared(run, all_rows)


if __name__ == "__main__":
    serve(prepare, ("blackjax", "jax"))
