"""One process of a run of one or several, which are joined on this machine.

python -m tests.run_in_processes FOLDER SHARD SOURCE STORE [COORDINATOR COUNT PROCESS]

It samples a logistic regression, with a warm-up, on the rows in FOLDER, from memory or from disk,
and writes its draws to FOLDER/draws_PROCESS.npz. It says "ready" when it begins to sample. With
DIES=PROCESS in the environment that one is killed when it has written its chains for the fifteenth
time, and nothing of that counts yet.
"""

import ast
import os
import signal
import sys

import jax
import numpy as np

folder, shard, source, store, *distributed = sys.argv[1:]
process = 0
if distributed:
    coordinator, count, process = distributed
    # On a busy machine one process may come long after the other.
    patience = dict.fromkeys(
        ("initialization_timeout", "heartbeat_timeout_seconds", "shutdown_timeout_seconds"), 3600
    )
    jax.distributed.initialize(coordinator, int(count), int(process), **patience)

import pymc as pm  # noqa: E402

from pymc_sgmcmc import ATMC, JAX, processes, sample  # noqa: E402
from pymc_sgmcmc.run import chains  # noqa: E402
from pymc_sgmcmc.store import stored, together  # noqa: E402
from pymc_sgmcmc.streaming import places  # noqa: E402

X, y = (np.load(f"{folder}/{name}.npy", mmap_mode="r") for name in "Xy")
taken = []
take = places.Mapped.take


def noting(self, numbers, out=None):
    if out is not None:  # batches; the model is checked with some of all rows
        taken.append((numbers.min(), numbers.max()))
    return take(self, numbers, out)


places.Mapped.take = noting
first = slice(200) if source == "disk" else slice(None)
data = {"X": X, "y": y} if source == "disk" else None
with pm.Model() as model:
    slopes = pm.Normal("slopes", 0, 2, shape=X.shape[1])
    eta = pm.Data("X", X[first]) @ slopes
    pm.Bernoulli("y", logit_p=eta, observed=y[first])
    engine = JAX(shard=shard if shard.isalpha() else ast.literal_eval(shard))
    step = ATMC(batch_size=40, data=data, engine=engine, steps_per_draw=5)
chains._BLOCK_SECONDS = 0.0  # a draw in each
stored._SECONDS = stored._TIMES = 0.0
written = []
write_part = together.Together._write_part


def mortal(self, mark):
    found = write_part(self, mark)
    written.append(mark.made)
    if len(written) == 15 and os.environ.get("DIES") == process:
        os.kill(os.getpid(), signal.SIGKILL)
    return found


together.Together._write_part = mortal
asked = []


def ask(progress):
    asked.append(progress.made)
    # What a callback reads are all draws so far, of the others too.
    if store != "none" and progress.kept:
        slopes_so_far = progress.idata.posterior["slopes"]
        assert slopes_so_far.shape[:2] == (8, progress.kept)
        assert np.isfinite(slopes_so_far.values).all()


taken.clear()  # the step looked at all rows
print("ready", flush=True)
idata = sample(
    30,
    tune=20,
    chains=8,
    step=step,
    model=model,
    random_seed=None if distributed and store == "none" and process != "0" else 1,
    store=None if store == "none" else store,
    callback=ask,
    stop_when=lambda progress: progress.kept >= 25,
    progressbar=False,
)
np.savez(
    f"{folder}/draws_{process}.npz",
    slopes=idata.posterior["slopes"].values,
    energy=idata.sample_stats["potential_energy"].values,
    step_size=idata.posterior.attrs["step_size"],
    asked=len(asked),
    taken=np.array(taken or [(0, 0)]),
    processes=processes.count(),
)
