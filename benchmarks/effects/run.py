"""One run in a process of its own: sample, note seconds and memory, and score the draws.

    python -m benchmarks.effects.run '{"case": "gaussian", ...}' RESULT REFERENCE

Seconds are from the start of Python, which ``BENCHMARK_STARTED`` tells, until the draws are there;
scoring comes after. Both methods are given a seed, chains, and draws and tune where asked for, and
do whatever else PyMC's users get: progress bars, convergence checks and their warnings.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pymc as pm

from benchmarks.effects import scores
from benchmarks.effects.ablations import ABLATIONS
from benchmarks.effects.cases import CASES, Case
from benchmarks.effects.moments import Moments
from benchmarks.peak_memory import peak_megabytes

CHAINS = 4
_LARGEST_RHAT = 1.05  # of a reference; of several thousand quantities some exceed 1.01 by chance
_TOLD = (
    *("updates", "warmup_updates", "steps_per_draw", "step_size", "momentum_decay"),
    *("preconditioner", "control_variate", "largest_noise", "backend"),
)


def sample(method: str, case: Case, lengths: dict[str, int], seed: int) -> Any:
    """Draw from the posterior by "ours", one of `ABLATIONS`, "nutpie", or as a "reference"."""
    given = {"chains": CHAINS, "random_seed": seed, **lengths}
    easier = method == "reference" and case.easier is not None
    with case.easier() if easier else case.model:
        if method in ("nutpie", "reference"):
            return pm.sample(nuts_sampler="nutpie", **given)
        from pymc_sgmcmc import ATMC, WarmUp

        changed = dict(ABLATIONS.get(method, {}))
        warmup = WarmUp(**changed.pop("warmup", {}))
        return pm.sample(step=ATMC(batch_size=case.batch_size, warmup=warmup, **changed), **given)


def run(job: dict[str, Any], reference: Path) -> dict[str, Any]:
    """Make the run that a job tells, and score it; keep the moments of a reference that mixed.

    Parameters
    ----------
    job : dict
        ``case``, ``groups``, ``method``, ``draws``, ``tune`` (None is PyMC's default) and ``seed``.
    reference : Path
        File with moments of the posterior, for cases without an exact answer; there may be none.
    """
    is_reference = job["method"] == "reference"
    case = CASES[job["case"]](job["groups"])
    lengths = {name: job[name] for name in ("draws", "tune") if job[name] is not None}
    idata = sample(job["method"], case, lengths, job["seed"])
    seconds = time.time() - float(os.environ["BENCHMARK_STARTED"])
    megabytes = peak_megabytes()

    posterior = idata["posterior"]
    draws = posterior.to_dataset()
    if is_reference and case.crossed is not None:
        draws = case.crossed.restore(draws, job["seed"])
    draws = draws[[*case.effects, *case.hyper]]
    found = scores.moments_of(draws)
    attributes = {name: posterior.attrs[name] for name in _TOLD if name in posterior.attrs}
    row = job | scores.convergence(draws) | {"seconds": seconds, "megabytes": megabytes}
    row |= {name: np.asarray(value).tolist() for name, value in attributes.items()}
    row["truth"] = scores.distance_to_truth(found, case.truth)
    if is_reference:
        row["kept"] = row["rhat"] <= _LARGEST_RHAT
        if row["kept"]:
            found.save(reference)
    elif case.exact is not None:
        row |= scores.accuracy(found, case.exact(), case.effects, case.hyper)
    elif reference.exists():
        row |= scores.accuracy(found, Moments.load(reference), case.effects, case.hyper)
    return row


if __name__ == "__main__":
    job, result, reference = sys.argv[1:]
    Path(result).write_text(json.dumps(run(json.loads(job), Path(reference))))
