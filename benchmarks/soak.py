"""Many runs in one process: memory, open files, threads, and files in the caches stay as they were.

Each kind of run is made over and over: the same step again, a new step for a new model (which is
compiled anew, and whose programs must go when it does), rows read from a disk with draws in a
store, and predictions. After each, what the process holds is measured. A kind is flat where, from
the run by which all has settled (a third of them) to the last one,

    memory    has grown by less than 0.5 MB a run (by the medians of the first and last runs)
    open, threads, cache, temporary   are no more than they were

JAX keeps what it has traced, 2 MB or so of each new model, until `jax.clear_caches()` is called:
that is done after each run. With --keep it is not, and the table shows what JAX keeps.

The exit status is 1 where something grows. About a quarter of an hour on two cores.

    python benchmarks/soak.py [--runs 50] [--kinds "same step" stored] [--keep]
"""

import argparse
import ctypes
import gc
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import NamedTuple

import jax
import numpy as np
import pymc as pm
import pytensor

ROWS, COLUMNS = 2_000, 5
QUIET = {"draws": 20, "tune": 10, "chains": 2, "progressbar": False}
MEGABYTES_PER_RUN = 0.5


class Held(NamedTuple):
    """What a process holds: megabytes, and numbers of open files, threads and files."""

    memory: float
    open: int
    threads: int
    cache: int
    temporary: int


def held(cache: Path, temporary: Path) -> Held:
    """What this process holds now, as Linux tells it."""
    gc.collect()
    if hasattr(ctypes.CDLL(None), "malloc_trim"):
        ctypes.CDLL(None).malloc_trim(0)  # what was freed goes back to the system
    own = Path("/proc/self")
    pages = int((own / "statm").read_text().split()[1])
    return Held(
        pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
        len(list((own / "fd").iterdir())),
        len(list((own / "task").iterdir())),
        sum(path.is_file() for path in cache.rglob("*")),
        sum(path.is_file() for path in temporary.rglob("*")),
    )


def written(x: np.ndarray, y: np.ndarray) -> pm.Model:
    """A regression."""
    with pm.Model() as model:
        mu = pm.Data("X", x) @ pm.Normal("b", 0, 1, shape=COLUMNS)
        pm.Normal("y", mu, pm.HalfNormal("s", 1), observed=y)
    return model


def kinds(folder: Path) -> dict[str, Callable[[int], object]]:
    """Functions that make the run of a number, by what they do."""
    from pymc_sgmcmc import SGHMC, predict, sample

    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, COLUMNS))
    y = x.sum(1) + rng.normal(size=ROWS)
    np.save(folder / "x.npy", x)
    np.save(folder / "y.npy", y)
    stored = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in "xy"}
    model, template = written(x, y), written(x[:100], y[:100])
    settings = {"batch_size": 200, "step_size": 0.001, "steps_per_draw": 20}
    step = SGHMC(model=model, **settings)
    rows = {"X": stored["x"], "y": stored["y"]}
    reading = SGHMC(model=template, data=rows, **settings)
    idata = sample(step=step, model=model, random_seed=0, **QUIET)

    def same_step(number: int) -> object:
        return sample(step=step, model=model, random_seed=number, **QUIET)

    def new_model(number: int) -> object:
        new = written(x, y + number / 50)
        return sample(step=SGHMC(model=new, **settings), model=new, random_seed=1, **QUIET)

    def stored_draws(number: int) -> object:
        with tempfile.TemporaryDirectory() as place:
            run = {"step": reading, "model": template, "random_seed": number, **QUIET}
            return float(sample(store=f"{place}/run.zarr", **run)["posterior"]["s"].mean())

    def predictions(number: int) -> object:
        return predict(idata, {"X": x[: 100 + number % 2]}, model=model, random_seed=number)

    return {
        "same step": same_step,
        "new model": new_model,
        "stored": stored_draws,
        "predictions": predictions,
    }


def growth(history: list[Held]) -> dict[str, float]:
    """How much more is held at the last runs than when all had settled; of memory, for each run."""
    settled = history[len(history) // 3 :]
    third = max(1, len(settled) // 3)
    grown = {
        name: max(getattr(h, name) for h in settled[-third:])
        - max(getattr(h, name) for h in settled[:third])
        for name in Held._fields
    }
    first, last = (median(h.memory for h in part) for part in (settled[:third], settled[-third:]))
    return grown | {"memory": (last - first) / max(1, len(settled) - third)}


def is_flat(grown: dict[str, float]) -> bool:
    """Whether nothing has grown."""
    counts = [n for name, n in grown.items() if name != "memory"]
    return grown["memory"] < MEGABYTES_PER_RUN and max(counts) <= 0


def soak(
    run: Callable[[int], object], runs: int, cache: Path, temporary: Path, keep: bool = False
) -> list[Held]:
    """What is held after each of some runs."""
    history = []
    for number in range(runs):
        run(number)
        if not keep:
            jax.clear_caches()
        history.append(held(cache, temporary))
    return history


def main() -> int:
    """Print a table of what is held; 1 if something grew."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--kinds", nargs="+", help="some of them")
    parser.add_argument("--keep", action="store_true", help="leave JAX its traces")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    with ExitStack() as stack:
        folder, cache, temporary = (
            Path(stack.enter_context(tempfile.TemporaryDirectory())) for _ in range(3)
        )
        os.environ["PYMC_SGMCMC_CACHE"] = str(cache)
        tempfile.tempdir = os.environ["TMPDIR"] = str(temporary)
        # Or PyTensor leaves the source of each function that it compiles in a temporary file.
        pytensor.config.generated_src_dir = str(cache)
        all_kinds = kinds(folder)
        flat = True
        print(f"{'kind':>12} {'':>8}" + "".join(f"{name:>10}" for name in Held._fields))
        for kind in options.kinds or all_kinds:
            history = soak(all_kinds[kind], options.runs, cache, temporary, options.keep)
            for when, row in (("first", history[0]), ("last", history[-1])):
                print(f"{kind:>12} {when:>8}" + "".join(f"{x:>10.0f}" for x in row))
            grown = growth(history)
            flat &= is_flat(grown)
            verdict = "flat" if is_flat(grown) else "GROWS"
            print(f"{kind:>12} {verdict:>8}" + "".join(f"{x:>10.2g}" for x in grown.values()))
            sys.stdout.flush()
    return not flat


if __name__ == "__main__":
    sys.exit(main())
