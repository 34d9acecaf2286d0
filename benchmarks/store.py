"""What a store costs, and what it saves: memory, and updates per second.

Memory: the most that a process had, of a model of 10,000 parameters (one chain, one update a draw,
recorded in float64) with 10³, 10⁴ and 10⁵ draws, in a store and without one. (Without one, 10⁵
draws take more than their 8 GB: they are left out.) The store needs as much room on the disk.

    python benchmarks/store.py memory [--draws 1000 10000 100000] [--folder /tmp]

Cost: updates per second of the digits network (6,310 parameters, batches of 32 and 128, 100 updates
a draw, four chains) with and without a store, in turns; the first blocks, which compile, don't
count. Where other jobs run as well these are noise; so the processor's time for 10,000 updates of a
chain is told, too (of all threads), and the share of the time that chains waited for the store.

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
from pathlib import Path

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


def measure_cost(batch_size: int, backend: str, draws: int, folder: str | None) -> None:
    """Sample the digits network, and print its updates per second."""
    from peers.ours import build_model, make_step
    from workloads import digits

    import pymc_sgmcmc as sg
    from pymc_sgmcmc.session import Session
    from pymc_sgmcmc.store.stored import Stored

    logging.disable(logging.WARNING)
    workload = digits(batch_size)
    model = build_model(workload)
    step = make_step(model, workload, "atmc", backend, steps_per_draw=100)
    store = None if folder is None else Path(folder) / "run.zarr"
    moments: list[tuple[float, float, int]] = []
    spent = 0.0

    def timed(owner: type, name: str) -> None:
        function = getattr(owner, name)

        def wrapper(*args: object) -> object:
            nonlocal spent
            started = time.perf_counter()
            try:
                return function(*args)
            finally:
                spent += time.perf_counter() - started if len(moments) > 3 else 0.0

        setattr(owner, name, wrapper)

    timed(Session, "_reach")  # which writes, if there is a store
    timed(Stored, "add")
    timed(Stored, "finish")

    def note(progress: sg.Progress) -> None:
        moments.append((time.perf_counter(), time.process_time(), progress.updates))

    settings = {"tune": 0, "chains": 4, "progressbar": False, "random_seed": 1}
    sg.sample(draws, step=step, model=model, store=store, callback=note, **settings)
    ended, cpu = time.perf_counter(), time.process_time()  # with what is written at the end
    began, cpu_before, before = moments[3]  # when a first draw was written, too
    written = sum(x.stat().st_size for x in store.rglob("*") if x.is_file()) if store else 0
    updates = moments[-1][2] - before
    found = {"pace": updates / (ended - began), "cpu": 1e4 * (cpu - cpu_before) / updates}
    share = spent / (ended - began)
    print(json.dumps({**found, "share": share, "written": written / 1e6}))


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


def tell_cost(options: argparse.Namespace) -> None:
    print("Medians, with and without a store: updates a second of each chain, CPU s for 10,000")
    for batch_size in options.batches:
        found: dict[bool, list[dict]] = {False: [], True: []}
        arguments = ("cost", "--batches", batch_size, "--backend", options.backend)
        for i in range(2 * options.rounds):
            stored = i % 4 in (1, 2)  # a machine that grows slower slows both
            made = in_process(options.folder, stored, *arguments, "--draws", options.draws[0])
            found[stored].append(made)
        middle = {
            (name, k): sorted(x[name] for x in runs)[len(runs) // 2]
            for k, runs in found.items()
            for name in ("pace", "cpu", "share", "written")
        }
        print(
            f"B={batch_size}: {middle['pace', True]:,.0f}, {middle['pace', False]:,.0f} updates/s; "
            f"{middle['cpu', True]:.2f}, {middle['cpu', False]:.2f} CPU s; waited "
            f"{middle['share', True]:.1%} of the time; wrote {middle['written', True]:.0f} MB",
            flush=True,
        )


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
    elif options.what == "memory":
        use_memory(options.draws[0], options.run or None)
    else:
        measure_cost(options.batches[0], options.backend, options.draws[0], options.run or None)


if __name__ == "__main__":
    main()
