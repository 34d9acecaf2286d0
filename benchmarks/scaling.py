"""What an update costs against the number of rows, parameters, rows in a batch, chains and draws.

Runs both engines on logistic regressions in float32 that differ in one number from N=100,000,
d=50 and slopes, B=500, one chain, 200 draws of 10 updates; prints microseconds of wall time for
each update of each chain, the median and range of some rounds, and draws them. The points of a
panel are measured in turn, after all of them have compiled. Cost should not depend on N, nor on
how many draws were made before. Both engines and all panels take about ten minutes.

    python benchmarks/scaling.py [--panels N d] [--backends numba] [--picture scaling.png]
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from peers.ours import build_model, make_step
from workloads import logistic

SECONDS = 0.3  # of one measurement, at least: short runs are repeated
UPDATES_PER_DRAW = 10
USUAL = {"n": 100_000, "d": 50, "batch_size": 500, "chains": 1, "draws": 200}
PANELS = {
    "N": ("n", (2_000, 10_000, 100_000, 1_000_000), {"batch_size": 100}),
    "d": ("d", (5, 20, 50, 200, 1_000), {"n": 10_000}),
    "B": ("batch_size", (32, 128, 500, 2_000, 8_000), {}),
    "chains": ("chains", (1, 2, 4, 16, 64), {}),
    "draws": ("draws", (10, 100, 1_000, 10_000), {}),
}
LABELS = {
    "N": "rows of the data (B = 100)",
    "d": "slopes (N = 10,000)",
    "B": "rows of a batch",
    "chains": "chains (cost of each one's update)",
    "draws": f"draws of a run, each {UPDATES_PER_DRAW} updates",
}


def prepare(
    sampler: str, backend: str, n: int, d: int, batch_size: int, chains: int, draws: int
) -> Callable[[], float]:
    """Compile; what is returned makes runs and gives seconds per update of each chain."""
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

    def runs() -> float:
        number, started = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - started) < SECONDS:
            one_run()
            number += 1
        return elapsed / (number * draws * UPDATES_PER_DRAW * chains)

    one_run()
    return runs


def measure(name: str, sampler: str, backends: list[str], rounds: int) -> dict[str, np.ndarray]:
    """Microseconds per update of one panel: ``(points, rounds)`` for each engine."""
    parameter, values, others = PANELS[name]
    runs = {
        (backend, value): prepare(sampler, backend, **USUAL | others | {parameter: value})
        for backend in backends
        for value in values
    }
    microseconds = {backend: np.empty((len(values), rounds)) for backend in backends}
    for r in range(rounds):
        for (backend, value), run in runs.items():
            microseconds[backend][values.index(value), r] = 1e6 * run()
    return microseconds


def draw_picture(panels: dict[str, dict[str, np.ndarray]], sampler: str, path: Path) -> None:
    """One panel for each number that was varied."""
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(4.2 * columns, 3.4 * rows), squeeze=False, layout="constrained"
    )
    for (name, engines), ax in zip(panels.items(), axes.flat, strict=False):
        for backend, cost in engines.items():
            middle = np.median(cost, axis=1)
            spread = np.stack([middle - cost.min(1), cost.max(1) - middle])
            ax.errorbar(PANELS[name][1], middle, yerr=spread, fmt="o-", capsize=3, label=backend)
        ax.set(xscale="log", xlabel=LABELS[name], ylabel="µs per update")
        if name in ("d", "B"):
            ax.set_yscale("log")
            ax.yaxis.set_major_formatter("{x:g}")
            ax.yaxis.set_minor_formatter("")
        else:  # what should be flat is seen to be
            ax.set_ylim(0, 1.25 * max(cost.max() for cost in engines.values()))
        ax.grid(alpha=0.3)
    axes.flat[0].legend(title="engine")
    for ax in axes.flat[len(panels) :]:
        ax.remove()
    figure.suptitle(f"What one {sampler.upper()} update costs: logistic regression, float32")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--panels", nargs="+", default=list(PANELS), choices=list(PANELS))
    parser.add_argument("--backends", nargs="+", default=["numba", "jax"])
    parser.add_argument("--sampler", default="atmc")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--picture", type=Path, default=Path("scaling.png"))
    a = parser.parse_args()
    panels = {}
    for name in a.panels:
        panels[name] = measure(name, a.sampler, a.backends, a.rounds)
        print(f"\n{LABELS[name]}; µs per {a.sampler.upper()} update, median (range) of {a.rounds}")
        print(f"{'':>12}{''.join(f'{backend:>26}' for backend in a.backends)}")
        for i, value in enumerate(PANELS[name][1]):
            row = [panels[name][backend][i] for backend in a.backends]
            cells = [f"{np.median(x):.2f} ({x.min():.2f}-{x.max():.2f})" for x in row]
            print(f"{value:12,}{''.join(f'{cell:>26}' for cell in cells)}", flush=True)
    draw_picture(panels, a.sampler, a.picture)
    print(f"\n{a.picture}")


if __name__ == "__main__":
    main()
