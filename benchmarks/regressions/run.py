"""One run in a process of its own: sample a case by a method, and judge the draws.

    python -m benchmarks.regressions.run '{"case": "flights", "method": "ATMC", ...}' RESULT MOMENTS

The driver (``efficiency.py``) counts this process's seconds up to ``sampled``: judging comes after.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.effects.moments import Moments
from benchmarks.regressions.cases import CASES
from benchmarks.regressions.methods import METHODS

MEAN_ERROR, SD_ERROR = 0.1, 0.1  # that a posterior is right to: in standard deviations, and of them


def run(job: dict[str, Any], exact: Moments) -> dict[str, Any]:
    """Sample, and give seconds and errors.

    Parameters
    ----------
    job : dict
        ``case``, ``method``, ``seed`` and ``options``.
    exact : Moments
    """
    method, case = METHODS[job["method"]], CASES[job["case"]]()
    draws = method.sample(case, job["seed"], **job["options"])
    sampled = time.time()
    import arviz as az  # what judges comes after, and so do its imports

    from benchmarks.effects.scores import moments_of

    found = moments_of(draws)
    errors = _all(abs(found.mean[n] - exact.mean[n]) / exact.sd[n] for n in exact.mean)
    ratios = _all(found.sd[n] / exact.sd[n] for n in exact.mean)
    smallest = None
    if not method.independent:
        smallest = min(float(x.min()) for x in az.ess(draws).data_vars.values())
    right = bool(errors.max() < MEAN_ERROR and abs(ratios - 1).max() < SD_ERROR)
    return {
        "sampled": sampled,
        "mean_error": float(errors.max()),
        "sd_low": float(ratios.min()),
        "sd_high": float(ratios.max()),
        "ess": smallest,
        "met": right,
    }


def _all(parts: Any) -> np.ndarray:
    return np.concatenate([np.ravel(part) for part in parts])


if __name__ == "__main__":
    job, result, moments = sys.argv[1:]
    made = run(json.loads(job), Moments.load(Path(moments)))
    Path(result).write_text(json.dumps(made))
