"""Peak memory of a run of 10⁶ updates beside one of 10⁴: their difference is the draws.

Each run is a process of its own, which samples a logistic regression (N=100,000, d=50, B=500,
float32) with `sample`, ATMC and a given step size, and reports its largest resident memory. The
long run is made twice: with 100 times the draws, and with as many draws but 100 times the updates
between them. What is recorded of a draw, its position and statistics, is counted from the output,
and "left" is what the difference has besides.

    python benchmarks/memory.py [--backends numba jax] [--updates 1000000] [--json FILE]

With ``--rows`` it tells the peak memory of large data instead, as a multiple of their size: of a
linear regression on that many rows of 20 columns in float64, beyond that of one on 1,000 rows. Your
own array and PyMC's copies of it count: the column "model" is what a model takes by itself. The
last column has the rows as sources, ``data={"X": X, "y_data": y}``, of a model that is written with
the first 1,000.

    python benchmarks/memory.py --rows 1000000 [--backends numba jax]

With ``--processes`` it tells the peak memory of each of several processes that make one run with a
store, joined over the loopback: SGLD on 10,000 parameters without rows, in float32. And what went
over the loopback for each draw, beyond what a run of a tenth of the draws sent; run it where
nothing else uses that (``unshare -rn sh -c "ip link set lo up; ..."``).

    python benchmarks/memory.py --processes 2 [--chains 256] [--draws 60]
"""

import argparse
import json
import logging
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import measured

SHORT = 10_000
STEPS_PER_DRAW = 100


def run(backend: str, draws: int, steps_per_draw: int, chains: int) -> None:
    """Sample, and print the peak and the size of what was recorded."""
    from peak_memory import peak_megabytes
    from peers.ours import build_model, make_step
    from workloads import logistic

    import pymc_sgmcmc as sg

    logging.disable(logging.WARNING)  # a run without tuning is not to be trusted, and says so
    workload = logistic()
    model = build_model(workload)
    step = make_step(model, workload, "atmc", backend, steps_per_draw=steps_per_draw)
    settings = {"tune": 0, "chains": chains, "progressbar": False, "random_seed": 1}
    idata = sg.sample(draws, step=step, model=model, **settings)
    groups = idata["posterior"], idata["sample_stats"]
    recorded = sum(x.nbytes for group in groups for x in group.data_vars.values()) / 2**20
    print(json.dumps({"peak": peak_megabytes(), "recorded": recorded}))


def run_on_rows(backend: str, n_rows: int, dtype: str, warm_up: int, template: int = 0) -> None:
    """Sample a regression, and print the peak and the size of the data."""
    import numpy as np
    import pymc as pm
    from peak_memory import peak_megabytes

    import pymc_sgmcmc as sg

    logging.disable(logging.WARNING)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, 20))
    y = X @ np.arange(20) + rng.normal(size=n_rows)
    with pm.Model() as model:
        b = pm.Normal("b", shape=20)
        n = 1_000 if template else n_rows
        pm.Normal("y", pm.Data("X", X[:n]) @ b, 1, observed=pm.Data("y_data", y[:n]))
    built = peak_megabytes()
    given = {} if warm_up else {"step_size": 1e-4}
    if template:
        given["data"] = {"X": X, "y_data": y}
    step = sg.ATMC(model=model, batch_size=500, dtype=dtype, engine=backend, **given)
    sg.sample(20, tune=20, chains=2, step=step, model=model, random_seed=1, progressbar=False)
    size = (X.nbytes + y.nbytes) / 2**20
    print(json.dumps({"peak": peak_megabytes(), "built": built, "data": size}))


def run_beside(coordinator: str, count: int, index: int, chains: int, draws: int) -> None:
    """Sample in one of several processes with a store, and print its peak."""
    import jax

    jax.distributed.initialize(coordinator, count, index)
    import pymc as pm
    from peak_memory import peak_megabytes

    import pymc_sgmcmc as sg

    logging.disable(logging.WARNING)
    with pm.Model() as model:
        pm.Normal("x", shape=10_000)
    step = sg.SGLD(model=model, step_size=0.1, steps_per_draw=20, dtype="float32")
    settings = {"tune": 0, "chains": chains, "progressbar": False, "random_seed": 1}
    sg.sample(draws, step=step, model=model, store=os.environ["STORE"], **settings)
    print(json.dumps({"peak": peak_megabytes()}))


def beside(count: int, chains: int, draws: int) -> tuple[list[float], float]:
    """Peaks of processes that make one run, and megabytes that went over the loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{probe.getsockname()[1]}"
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "STORE": f"{folder}/run.zarr", "JAX_PLATFORMS": "cpu"}
        numbers = [str(count), "{}", str(chains), str(draws)]
        command = [sys.executable, __file__, "run_beside", coordinator, *numbers]
        before = _loopback()
        started = [
            subprocess.Popen(
                [word.format(i) for word in command],
                env=environment,
                stdout=subprocess.PIPE,
                text=True,
            )
            for i in range(count)
        ]
        told = [process.communicate()[0] for process in started]
        sent = _loopback() - before
    return [json.loads(text.splitlines()[-1])["peak"] for text in told], sent


def _loopback() -> float:
    """Megabytes that were ever sent over the loopback."""
    (line,) = (x for x in Path("/proc/net/dev").read_text().splitlines() if "lo:" in x)
    return int(line.split()[1]) / 2**20


def table_of_processes(count: int, chains: int, draws: int) -> None:
    _, before = beside(count, chains, max(1, draws // 10))
    peaks, sent = beside(count, chains, draws)
    each = (sent - before) / (draws - max(1, draws // 10))
    print(f"{chains} chains x 10,000 parameters, {chains * 4e4 / 2**20:.1f} MB a draw")
    print(f"peaks {' '.join(f'{x:,.0f}' for x in peaks)} MB; {each:.2f} MB sent for each draw")


def in_process(function: str, *arguments: object) -> dict[str, float]:
    command = [sys.executable, __file__, function, *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def table_of_rows(backends: list[str], n_rows: int) -> list[dict]:
    rows: list[dict] = []
    print(f"{n_rows:,} rows; peak memory / size of the data")
    print(f"{'':16}{'model':>10}{'step given':>12}{'warm-up':>10}{'sources':>10}")
    for backend in backends:
        for dtype in ("float64", "float32"):
            found = []
            for warm_up, template in ((0, 0), (1, 0), (1, 1)):
                few, many = (
                    in_process("run_on_rows", backend, n, dtype, warm_up, template)
                    for n in (1_000, n_rows)
                )
                found.append((many["peak"] - few["peak"]) / many["data"])
                if not template:
                    model = (many["built"] - few["built"]) / many["data"]
            numbers = "".join(f"{x:10.2f}" for x in found[1:])
            print(f"{backend:6}{dtype:10}{model:10.2f}{found[0]:12.2f}{numbers}", flush=True)
            of_row = dict(
                zip(("model", "step given", "warm-up", "sources"), (model, *found), strict=True)
            )
            rows.append(
                {"engine": backend, "dtype": dtype, "rows": n_rows}
                | {k: measured.rounded(x, 3) for k, x in of_row.items()}
            )
    return rows


def main() -> None:
    if sys.argv[1:2] == ["run"]:
        backend, *numbers = sys.argv[2:]
        run(backend, *map(int, numbers))
        return
    if sys.argv[1:2] == ["run_on_rows"]:
        backend, n_rows, dtype, *flags = sys.argv[2:]
        run_on_rows(backend, int(n_rows), dtype, *map(int, flags))
        return
    if sys.argv[1:2] == ["run_beside"]:
        coordinator, *numbers = sys.argv[2:]
        run_beside(coordinator, *map(int, numbers))
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backends", nargs="+", default=["numba", "jax"])
    parser.add_argument("--updates", type=int, default=1_000_000, help="of each chain, long run")
    parser.add_argument("--chains", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3, help="of the short run, for its spread")
    parser.add_argument("--rows", type=int, help="of data whose memory is told instead")
    measured.add_arguments(parser)
    parser.add_argument("--processes", type=int, help="of one run, whose memory is told instead")
    parser.add_argument("--draws", type=int, default=60, help="of such a run")
    a = parser.parse_args()
    if a.processes:
        table_of_processes(a.processes, a.chains, a.draws)
        return
    if a.rows:
        measured.save(a, table_of_rows(a.backends, a.rows))
        return
    factor, draws = a.updates // SHORT, SHORT // STEPS_PER_DRAW
    long_runs = {
        f"{draws * factor:,} draws x {STEPS_PER_DRAW}": (draws * factor, STEPS_PER_DRAW),
        f"{draws:,} draws x {STEPS_PER_DRAW * factor:,}": (draws, STEPS_PER_DRAW * factor),
    }
    print(f"{a.chains} chains, MB{'':24}{'peak':>10}{'recorded':>10}{'difference':>12}{'left':>8}")
    rows = []
    for backend in a.backends:
        in_process("run", backend, draws, STEPS_PER_DRAW, a.chains)  # fills the caches on disk
        short = [
            in_process("run", backend, draws, STEPS_PER_DRAW, a.chains) for _ in range(a.rounds)
        ]
        first = sorted(short, key=lambda x: x["peak"])[len(short) // 2]
        rows.append(row_of(backend, f"{draws:,} draws x {STEPS_PER_DRAW}", first))
        low, high = min(x["peak"] for x in short), max(x["peak"] for x in short)
        print(
            f"{backend:6} {f'{draws:,} draws x {STEPS_PER_DRAW}':24}{first['peak']:12.1f}"
            f"{first['recorded']:10.1f}{'':20}   (peak {low:.1f}-{high:.1f} in {a.rounds} runs)"
        )
        for name, (n, steps_per_draw) in long_runs.items():
            found = in_process("run", backend, n, steps_per_draw, a.chains)
            rows.append(row_of(backend, name, found))
            difference = found["peak"] - first["peak"]
            left = difference - (found["recorded"] - first["recorded"])
            print(
                f"{backend:6} {name:24}{found['peak']:12.1f}{found['recorded']:10.1f}"
                f"{difference:12.1f}{left:8.1f}",
                flush=True,
            )
    measured.save(a, rows, chains=a.chains)


def row_of(backend: str, name: str, found: dict[str, float]) -> dict[str, object]:
    """Give a row of the file: megabytes to a tenth."""
    return {"engine": backend, "run": name} | {k: round(x, 1) for k, x in found.items()}


if __name__ == "__main__":
    main()
