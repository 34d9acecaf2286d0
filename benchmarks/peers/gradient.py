"""The bare gradient of our engines, on random batches of one chain: what an update can't beat."""

import jax
import jax.numpy as jnp
import numpy as np
from numba import njit
from peers.ours import build_model, make_step
from peers.protocol import Prepared, serve
from threadpoolctl import threadpool_limits
from workloads import Workload

from pymc_sgmcmc.engines.jax.functions import jax_function
from pymc_sgmcmc.engines.numba.functions import numba_function
from pymc_sgmcmc.engines.programs import gradient_program
from pymc_sgmcmc.estimators.estimators import Estimator

TINY = np.float32(1e-12)  # times the gradient is what it moves by, so that none can be left out


def scanned(gradient, workload: Workload, draws: int):
    """Loop compiled by XLA: (position, key, rows) → (position, draws)."""

    def update(carry, key):
        position, rows = carry
        batch = jax.random.randint(key, (workload.batch_size,), 0, len(rows[0]))
        _, g = gradient(position, *(jnp.take(x, batch, axis=0, mode="clip") for x in rows))
        return (position - TINY * g, rows), None

    def draw(carry, key):
        carry, _ = jax.lax.scan(update, carry, jax.random.split(key, workload.steps_per_draw))
        return carry, carry[0]

    @jax.jit
    def loop(position, key, rows):
        (position, _), positions = jax.lax.scan(
            draw, (position, rows), jax.random.split(key, draws)
        )
        return position, positions

    return loop


def looped(gradient, workload: Workload, draws: int):
    """Loop compiled by Numba, over rows in their order: (position, rows) → draws."""
    size, steps = workload.batch_size, workload.steps_per_draw

    @njit(nogil=True)
    def loop(position, a, b):
        positions = np.empty((draws, len(position)), position.dtype)
        for i in range(draws):
            for _ in range(steps):
                batch = np.random.randint(0, len(a), size)  # noqa: NPY002 (Numba has no other)
                _, g = gradient(position, a[batch], b[batch])
                position -= TINY * g
            positions[i] = position
        return positions

    return loop


def prepare(workload: Workload, sampler: str, chains: int, draws: int, backend: str) -> Prepared:
    if chains > 1:
        raise ValueError("The bare gradient is measured for one chain only.")
    potential = make_step(build_model(workload), workload, "sgld", backend).plan.potential
    rows, position = potential.row_values(), workload.start(1)[0]

    def compiled(length: int | None = None):
        program = gradient_program(Estimator(potential), length)
        with potential.model:
            return jax_function(*program) if backend == "jax" else numba_function(program)

    if backend == "jax":
        loop = scanned(compiled(), workload, draws)
        jax.config.update("jax_enable_x64", False)  # PyTensor has set it
        key, rows = jax.random.key(0), [jnp.asarray(x) for x in rows]
        position = jnp.asarray(position)
    else:
        loop = looped(compiled(), workload, draws)

    def run() -> list[np.ndarray]:
        nonlocal position, key
        if backend == "jax":
            key, of_run = jax.random.split(key)
            position, positions = loop(position, of_run, rows)
        else:
            with threadpool_limits(1, "blas"):
                positions = loop(position, *rows)
        return [np.asarray(positions)[None]]

    def all_rows(theta: np.ndarray) -> np.ndarray:
        _, gradient = compiled(len(workload.X))(theta, *rows)
        return -np.asarray(gradient)

    return Prepared(run, all_rows)


if __name__ == "__main__":
    serve(prepare, ("pymc_sgmcmc",), ("backend",))
