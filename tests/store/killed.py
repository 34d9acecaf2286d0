"""A run in a process of its own, which is killed: `python -m tests.store.killed STORE KIND ENGINE`.

It says "ready" when it begins to sample.
"""

import sys

from pymc_sgmcmc import sample
from pymc_sgmcmc.run import chains
from pymc_sgmcmc.store import stored
from pymc_sgmcmc.warmup import choice
from tests.store.runs import model_and_step

TUNE, DRAWS = 60, 60


def run(store, kind, engine, callback=None):
    choice._SMALL = 10
    model, step = model_and_step(kind, engine)
    return sample(
        DRAWS,
        tune=TUNE,
        chains=3,
        step=step,
        model=model,
        random_seed=1,
        progressbar=False,
        store=store,
        callback=callback,
    )


if __name__ == "__main__":
    chains._BLOCK_SECONDS = 0.0
    stored._SECONDS = stored._TIMES = 0.0
    print("ready", flush=True)
    run(*sys.argv[1:4])
