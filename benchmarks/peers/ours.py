"""pymc_sgmcmc: its bare engines, on the workload as a PyMC model."""

import numpy as np
import pymc as pm
from peers.protocol import Prepared, serve
from workloads import Workload

import pymc_sgmcmc as sg

STEPS = {"sgld": sg.SGLD, "sghmc": sg.SGHMC, "sgnht": sg.SGNHT, "atmc": sg.ATMC}


def build_model(workload: Workload) -> pm.Model:
    sds = iter(workload.prior_sds)
    with pm.Model() as model:
        signal, y = pm.Data("X", workload.X), pm.Data("labels", workload.y)
        if not workload.layers:
            intercept = pm.Normal("intercept", 0, next(sds))
            slopes = pm.Normal("slopes", 0, next(sds), shape=workload.X.shape[1])
            pm.Bernoulli("y", logit_p=intercept + signal @ slopes, observed=y)
            return model
        for i, (inputs, outputs) in enumerate(workload.shapes[::2], start=1):
            weights = pm.Normal(f"weights_{i}", 0, next(sds), shape=(inputs, outputs))
            signal = signal @ weights + pm.Normal(f"bias_{i}", 0, next(sds), shape=outputs)
            if i < len(workload.layers) - 1:
                signal = pm.math.tanh(signal)
        pm.Categorical("y", logit_p=signal, observed=y)
    return model


def make_step(model: pm.Model, workload: Workload, sampler: str, backend: str, **options):
    """Make a step method with settings that leave nothing to find."""
    settings = {
        "batch_size": workload.batch_size,
        "step_size": workload.step_size,
        "steps_per_draw": workload.steps_per_draw,
        "dtype": "float32",
    }
    return STEPS[sampler](model=model, engine=backend, **settings | options)


def prepare(workload: Workload, sampler: str, chains: int, draws: int, backend: str) -> Prepared:
    model = build_model(workload)
    engine = make_step(model, workload, sampler, backend).compiled.engine()
    seeds = np.random.default_rng(0).integers(2**32, size=(chains, 2), dtype=np.uint32)
    state = engine.init(workload.start(chains), seeds)
    h, draws = workload.step_size, min(draws, engine.capacity(chains))
    step_sizes = np.full((draws, workload.steps_per_draw), h)

    def run() -> list[np.ndarray]:
        nonlocal state
        block, state = engine.run(state, step_sizes, h, {})
        return [block.positions]

    def all_rows(theta: np.ndarray) -> np.ndarray:
        full = make_step(model, workload, sampler, backend, batch_size=None).compiled.engine()
        _, gradient = full.evaluate(theta[None], {}, seeds[0])
        return -gradient[0]

    return Prepared(run, all_rows)


if __name__ == "__main__":
    serve(prepare, ("pymc_sgmcmc", "pymc", "pytensor", "jax", "numba"), ("backend",))
