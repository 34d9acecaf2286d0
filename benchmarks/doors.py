"""What the two doors cost over the bare engine, on the digits network at 100 updates a draw.

Times a draw of 4 chains by the engine alone, by `sample` and by `pm.sample`, as the slope between
a short and a long run, so that compilation and other costs of starting drop out (they are printed
beside); and checks that both doors give the same draws for the same seed.

    uv run python benchmarks/doors.py [--backend numba] [--rounds 5]
"""

import argparse
import logging
import sys
import time
from pathlib import Path

import numpy as np
import pymc as pm

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
from digits import build_model, load

import pymc_sgmcmc as sg
from pymc_sgmcmc.run.phases import Run

SHORT, LONG = 50, 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", default="jax", choices=["jax", "numba"])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    logging.getLogger("pymc").setLevel(logging.ERROR)
    X, _, y, _ = load()
    model = build_model(X, y)
    names = [v.name for v in model.free_RVs]
    with model:
        step = sg.ATMC(batch_size=128, step_size=0.01, dtype="float32", engine=options.backend)
        point = model.initial_point(0)

        def engine(draws: int) -> None:
            rngs = [np.random.default_rng(c) for c in range(4)]
            chains = Run(step.compiled, [point] * 4, rngs).start().chains
            capacity = chains.engine.capacity(4)
            step_sizes = np.full((min(draws, capacity), 100), 0.01)
            state = chains.state
            for _ in range(draws // len(step_sizes)):
                _, state = chains.engine.run(state, step_sizes, 0.01)

        def sample(draws: int):
            return sg.sample(draws, tune=0, step=step, var_names=names, random_seed=1)

        def pm_sample(draws: int):
            return pm.sample(
                draws,
                tune=0,
                chains=4,
                step=step,
                var_names=names,
                random_seed=1,
                compute_convergence_checks=False,
            )

        doors = {"engine": engine, "sample()": sample, "pm.sample": pm_sample}
        ours, theirs = sample(SHORT)["posterior"], pm_sample(SHORT)["posterior"]
        # Transformed variables are computed by JAX for one door and by PyTensor for the other.
        same = all(np.allclose(ours[k], theirs[k], rtol=1e-12, atol=0) for k in names)
        print(f"The same draws from both doors, to 12 digits: {same}")
        per_draw = {name: [] for name in doors}
        for _ in range(options.rounds):
            for name, run in doors.items():
                seconds = {}
                for draws in (SHORT, LONG):
                    started = time.perf_counter()
                    run(draws)
                    seconds[draws] = time.perf_counter() - started
                per_draw[name].append((seconds[LONG] - seconds[SHORT]) / (LONG - SHORT))
    bare = np.median(per_draw["engine"])
    print(f"{'':10} ms per draw of 4 chains (median, range of {options.rounds})   over the engine")
    for name, times in per_draw.items():
        low, middle, high = 1e3 * np.array([min(times), np.median(times), max(times)])
        print(f"{name:10} {middle:8.2f}  ({low:.2f} - {high:.2f}) {middle / bare / 1e3 - 1:29.1%}")


if __name__ == "__main__":
    main()
