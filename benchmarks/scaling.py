"""What an update costs against the number of rows, parameters, rows in a batch, chains and draws.

Runs both engines on logistic regressions in float32 that differ in one number from N=100,000,
d=50 and slopes, B=500, one chain, 200 draws of 10 updates; prints microseconds of wall time for
each update of each chain, the median and range of some rounds. The points of a panel are measured
in turn, after all of them have compiled. Cost should not depend on how many draws were made before,
and little on N, whose 10,000,000 rows take 5 GB. Both engines and all panels take some minutes.

    python benchmarks/scaling.py [--panels N d] [--backends numba] [--json FILE] [--picture FILE]
    python benchmarks/scaling.py --drawn-from docs/figures/speed/scaling.json --picture scaling.svg
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import measured
import numpy as np
from measured import rounded
from peers.ours import build_model, make_step
from scaling_picture import draw_picture
from workloads import logistic

SECONDS = 0.3  # of one measurement, at least: short runs are repeated
UPDATES_PER_DRAW = 10
USUAL = {"n": 100_000, "d": 50, "batch_size": 500, "chains": 1, "draws": 200}
PANELS = {
    "N": ("n", (1_000, 10_000, 100_000, 1_000_000, 10_000_000), {"d": 20}),
    "d": ("d", (5, 20, 50, 200, 1_000), {"n": 10_000}),
    "B": ("batch_size", (32, 128, 500, 2_000, 8_000), {}),
    "chains": ("chains", (1, 2, 4, 16, 64), {}),
    "draws": ("draws", (10, 100, 1_000, 10_000), {}),
}
LABELS = {
    "N": "rows of the data (20 slopes)",
    "d": "slopes (10,000 rows)",
    "B": "rows of a batch",
    "chains": "chains (updates of all)",
    "draws": f"draws of a run, each {UPDATES_PER_DRAW} updates",
}


def prepare(
    sampler: str, backend: str, n: int, d: int, batch_size: int, chains: int, draws: int
) -> Callable[[], tuple[float, float]]:
    """Compile; what is returned makes runs and gives seconds per update of each chain.

    By the clock, and of the processor: those of all threads, which other processes change less.
    """
    workload = logistic(n, d, batch_size)
    engine = make_step(build_model(workload), workload, sampler, backend).compiled.engine()
    seeds = np.random.default_rng(0).integers(2**32, size=(chains, 2), dtype=np.uint32)
    state = engine.init(workload.start(chains), seeds)
    h, block = workload.step_size, min(draws, engine.capacity(chains))

    def one_run() -> None:
        nonlocal state
        for made in range(0, draws, block):
            step_sizes = np.full((min(block, draws - made), UPDATES_PER_DRAW), h)
            _, state = engine.run(state, step_sizes, h, {})

    def runs() -> tuple[float, float]:
        number, started, cpu = 0, time.perf_counter(), time.process_time()
        while (elapsed := time.perf_counter() - started) < SECONDS:
            one_run()
            number += 1
        updates = number * draws * UPDATES_PER_DRAW * chains
        return elapsed / updates, (time.process_time() - cpu) / updates

    one_run()
    return runs


def measure(name: str, sampler: str, backends: list[str], rounds: int) -> dict[str, np.ndarray]:
    """Microseconds per update of one panel, ``(points, rounds, 2)`` for each engine.

    By the clock, and of the processor.
    """
    parameter, values, others = PANELS[name]
    runs = {
        (backend, value): prepare(sampler, backend, **USUAL | others | {parameter: value})
        for backend in backends
        for value in values
    }
    microseconds = {backend: np.empty((len(values), rounds, 2)) for backend in backends}
    for r in range(rounds):
        for (backend, value), run in runs.items():
            microseconds[backend][values.index(value), r] = 1e6 * np.array(run())
    return microseconds


def rows_of(name: str, sampler: str, microseconds: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """Give rows of a file, one for each engine and point of a panel."""
    parameter, values, others = PANELS[name]
    return [
        {
            "panel": name,
            "engine": engine,
            "sampler": sampler,
            "value": value,
            "chains": (USUAL | others | {parameter: value})["chains"],
            "us_per_update": rounded(np.median(cost[i, :, 0])),
            "cpu_us_per_update": rounded(np.median(cost[i, :, 1])),
            "rounds": [rounded(x) for x in cost[i, :, 0]],
            "cpu_rounds": [rounded(x) for x in cost[i, :, 1]],
        }
        for engine, cost in microseconds.items()
        for i, value in enumerate(values)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--panels", nargs="+", default=list(PANELS), choices=list(PANELS))
    parser.add_argument("--backends", nargs="+", default=["numba", "jax"])
    parser.add_argument("--sampler", default="atmc")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--drawn-from", type=Path, help="a file of --json: measures nothing")
    measured.add_arguments(parser)
    a = parser.parse_args()
    rows = json.loads(a.drawn_from.read_text())["rows"] if a.drawn_from else measured_rows(a)
    if a.picture:
        draw_picture(rows, LABELS, a.picture)
        print(f"\n{a.picture}")


def measured_rows(a: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure panel by panel, and print each."""
    rows = []
    for name in a.panels:
        found = measure(name, a.sampler, a.backends, a.rounds)
        rows += rows_of(name, a.sampler, found)
        print(f"\n{LABELS[name]}; µs per {a.sampler.upper()} update, median (range) of {a.rounds}")
        print(f"{'':>12}{''.join(f'{backend:>26}' for backend in a.backends)}")
        for i, value in enumerate(PANELS[name][1]):
            row = [found[backend][i, :, 0] for backend in a.backends]
            cells = [f"{np.median(x):.2f} ({x.min():.2f}-{x.max():.2f})" for x in row]
            print(f"{value:12,}{''.join(f'{cell:>26}' for cell in cells)}", flush=True)
        measured.save(a, rows, rounds=a.rounds)
    return rows


if __name__ == "__main__":
    main()
