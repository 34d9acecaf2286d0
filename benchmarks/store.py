"""What a store costs, and what it saves: memory, and updates per second.

Memory: the most that a process had, of a model of 10,000 parameters (one chain, one update a draw,
recorded in float64) with 10³, 10⁴ and 10⁵ draws, in a store and without one. (Without one, 10⁵
draws take more than their 8 GB: they are left out.) The store needs as much room on the disk.

    python benchmarks/store.py memory [--draws 1000 10000 100000] [--folder /tmp]

Cost: updates per second of the digits network (6,310 parameters, batches of 32 and 128, 100 updates
a draw, four chains) with and without a store, in turns within one process, from the third block of
draws to the last, and to the end of the call with what is written then. Where other jobs run as
well, only differences within a row of turns mean something.

    python benchmarks/store.py cost [--backend numba] [--draws 400] [--rounds 3] [--folder /tmp]
"""

import argparse
import json
import logging
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pymc_sgmcmc as sg

SIZE = 10_000


def use_memory(draws: int, folder: str | None) -> None:
    """Sample, and print the peak and the seconds."""
    import numpy as np
    import pymc as pm
    from peak_memory import peak_megabytes

    import pymc_sgmcmc as sg

    logging.disable(logging.WARNING)
    with pm.Model() as model:
        pm.Normal("x", shape=SIZE, initval=np.zeros(SIZE, "float32"))
        step = sg.SGLD(step_size=0.5, steps_per_draw=1, dtype="float32", engine="jax")
    store = None if folder is None else Path(folder) / "run.zarr"
    started = time.time()
    settings = {"tune": 0, "chains": 1, "progressbar": False, "random_seed": 1}
    idata = sg.sample(draws, step=step, model=model, store=store, **settings)
    assert idata.posterior.sizes["draw"] == draws
    print(json.dumps({"peak": peak_megabytes(), "seconds": time.time() - started}))


def paces(sample: Callable, draws: int, store: Path | None) -> tuple[float, float]:
    """Updates per second of every chain: while it runs, and to the end of the call."""
    moments: list[tuple[float, int]] = []

    def note(progress: "sg.Progress") -> None:
        moments.append((time.perf_counter(), progress.updates))

    sample(draws, store=store, callback=note)
    ended = time.perf_counter()
    (began, before), (last, updates) = moments[2], moments[-1]
    return (updates - before) / (last - began), (updates - before) / (ended - began)


def tell_cost(options: argparse.Namespace) -> None:
    from peers.ours import build_model, make_step
    from workloads import digits

    import pymc_sgmcmc as sg

    logging.disable(logging.WARNING)
    print(f"{'batch':>6} {'updates/s, none':>24} {'store':>24} {'cost':>6} {'to the end':>10}")
    for batch_size in options.batches:
        workload = digits(batch_size)
        model = build_model(workload)
        step = make_step(model, workload, "atmc", options.backend, steps_per_draw=100)
        settings = {"tune": 0, "chains": 4, "progressbar": False, "random_seed": 1}
        sample = partial(sg.sample, step=step, model=model, **settings)
        sample(30)  # compiles
        found: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
        for i in range(2 * options.rounds):
            stored = i % 4 in (1, 2)  # a machine that grows slower slows both
            with tempfile.TemporaryDirectory(dir=options.folder) as folder:
                store = Path(folder) / "run.zarr" if stored else None
                found[stored].append(paces(sample, options.draws[0], store))
        running = {k: [x for x, _ in runs] for k, runs in found.items()}
        ended = {k: [x for _, x in runs] for k, runs in found.items()}
        cost, in_all = (1 - mean(x[True]) / mean(x[False]) for x in (running, ended))
        each = [f"{mean(x):,.0f} ({min(x):,.0f}-{max(x):,.0f})" for x in running.values()]
        print(f"{batch_size:6} {each[0]:>24} {each[1]:>24} {cost:6.1%} {in_all:10.1%}", flush=True)


def in_process(folder: str, stored: bool, *arguments: object) -> dict:
    """What a run in a process of its own prints."""
    with tempfile.TemporaryDirectory(dir=folder) as own:
        command = [sys.executable, __file__, *map(str, arguments)]
        command += ["--run", own if stored else ""]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def tell_memory(options: argparse.Namespace) -> None:
    print(f"{'draws':>8} {'MB of draws':>12} {'peak, store':>12} {'seconds':>8} {'peak, none':>12}")
    for draws in options.draws:
        size = draws * SIZE * 8 / 1e6
        if 1.2e6 * size > shutil.disk_usage(options.folder).free:
            print(f"{draws:8,} {size:12,.0f} there is no room for them in {options.folder}")
            continue
        with_it = in_process(options.folder, True, "memory", "--draws", draws)
        without = None
        if size < 1000:
            without = in_process(options.folder, False, "memory", "--draws", draws)["peak"]
        last = "-" if without is None else f"{without:,.0f}"
        peak, seconds = with_it["peak"], with_it["seconds"]
        print(f"{draws:8,} {size:12,.0f} {peak:12,.0f} {seconds:8.0f} {last:>12}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["memory", "cost"])
    parser.add_argument("--draws", type=int, nargs="+")
    parser.add_argument("--backend", default="numba")
    parser.add_argument("--batches", type=int, nargs="+", default=[32, 128])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", default=tempfile.gettempdir(), help="where stores are written")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.draws is None:
        options.draws = [1000, 10_000, 100_000] if options.what == "memory" else [400]
    if options.run is None:
        {"memory": tell_memory, "cost": tell_cost}[options.what](options)
    else:
        use_memory(options.draws[0], options.run or None)


if __name__ == "__main__":
    main()
