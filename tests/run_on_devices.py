"""One run of the JAX engine, by itself in a process: how many devices there are is set before.

python run_on_devices.py OUTPUT SHARD BATCH_SIZE [COORDINATOR PROCESS]
"""

import sys

import jax
import numpy as np

output, shard, batch_size, *distributed = sys.argv[1:]
if distributed:
    coordinator, process = distributed
    # On a busy machine one process may come long after the other.
    patience = dict.fromkeys(
        ("initialization_timeout", "heartbeat_timeout_seconds", "shutdown_timeout_seconds"), 3600
    )
    jax.distributed.initialize(coordinator, 2, int(process), **patience)

import pymc as pm  # noqa: E402

import pymc_sgmcmc as sg  # noqa: E402

N, H = 203 if int(batch_size) < 200 else 200, 0.01

rng = np.random.default_rng(0)
X = rng.normal(size=(N, 3))
with pm.Model() as model:
    b = pm.Normal("b", shape=3)
    s = pm.HalfNormal("s")
    pm.Normal("y", X @ b, s, observed=X @ [1, -1, 0] + rng.normal(size=N))
    step = sg.ATMC(
        batch_size=int(batch_size), step_size=H, steps_per_draw=20, engine=sg.JAX(shard=shard)
    )
engine = step.compiled.engine()
seeds = rng.integers(2**32, size=(8, 2), dtype=np.uint32)
starts = rng.normal(0, 0.1, (8, 4))
state = engine.init(starts, seeds)
draws, state = engine.run(state, np.full((5, 20), H), H)
value, gradient = engine.evaluate(starts, {}, seeds[0])
swept = sg.SGHMC(
    batch_size=int(batch_size),
    batches="sweeps" if int(batch_size) < N else "independent",
    step_size=H,
    engine=sg.JAX(shard=shard),
    model=model,
).compiled.engine()
in_sweeps, _ = swept.run(swept.init(starts, seeds), np.full((5, 20), H), H)
idata = sg.sample(
    20,
    tune=20,
    chains=4,
    step=sg.SGLD(batch_size=int(batch_size), engine=sg.JAX(shard=shard), model=model),
    model=model,
    random_seed=1,
    progressbar=False,
)
np.savez(
    output,
    devices=jax.device_count(),
    positions=draws.positions,
    value=value,
    gradient=gradient,
    in_sweeps=in_sweeps.positions,
    b=idata.posterior["b"].values,
    **draws.statistics,
)
