"""SGMCMCJax: its kernels scanned without its progress bar, chains by `jax.vmap`."""

import jax
import jax.numpy as jnp
import numpy as np
from peers.jax_models import log_likelihood, log_prior
from peers.protocol import Prepared, serve
from sgmcmcjax.kernels import build_sgld_kernel, build_sgnht_kernel
from sgmcmcjax.util import build_grad_log_post
from workloads import FRICTION, Workload


def prepare(workload: Workload, sampler: str, chains: int, draws: int) -> Prepared:
    h, of_row = workload.step_size, log_likelihood(workload)

    def likelihood(parameters, x, y):
        return of_row(parameters, (x, y))

    rows = jnp.asarray(workload.X), jnp.asarray(workload.y)
    model = likelihood, log_prior(workload), rows, workload.batch_size
    if sampler == "sgld":
        init, kernel, get_parameters = build_sgld_kernel(h**2 / 2, *model)
    elif sampler == "sgnht":
        init, kernel, get_parameters = build_sgnht_kernel(h**2, *model, a=FRICTION)
    else:
        raise ValueError(f"SGMCMCJax has no {sampler}.")

    def chain(state, key, number):
        def update(carry, key):
            state, number = carry
            return (kernel(number, key, state), number + 1), None

        def draw(carry, key):
            carry, _ = jax.lax.scan(update, carry, jax.random.split(key, workload.steps_per_draw))
            return carry, get_parameters(carry[0])

        (state, _), positions = jax.lax.scan(draw, (state, number), jax.random.split(key, draws))
        return state, positions

    program = jax.jit(jax.vmap(chain, in_axes=(0, 0, None)))
    key, *keys = jax.random.split(jax.random.PRNGKey(0), chains + 1)
    start = [jnp.asarray(x) for x in workload.split(workload.start(chains))]
    state, number = jax.jit(jax.vmap(init))(jnp.stack(keys), start), 0

    def run() -> list[np.ndarray]:
        nonlocal state, key, number
        key, of_run = jax.random.split(key)
        state, positions = program(state, jax.random.split(of_run, chains), number)
        number += draws * workload.steps_per_draw
        return [np.asarray(x) for x in positions]

    def all_rows(theta: np.ndarray) -> np.ndarray:
        gradient = build_grad_log_post(likelihood, model[1], rows)
        position = [jnp.asarray(x) for x in workload.split(theta)]
        return np.concatenate([np.ravel(x) for x in gradient(position, *rows)])

    return Prepared(run, all_rows)


if __name__ == "__main__":
    serve(prepare, ("SGMCMCJax", "jax"))
