"""What the warm-up costs on the examples: seconds and updates, beside those of the whole run.

Updates of the warm-up are those of the tuning draws, and as many as have the gradients from which
modes, scale, noise and step size are found.

    uv run python -m benchmarks.warmup
"""

import sys
import time
from pathlib import Path

import pymc_sgmcmc as sg

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
import digits
import moons
import regression


def main() -> None:
    made_up, diabetes = regression.made_up(), regression.diabetes()
    moons_data, digits_data = moons.load(), digits.load()
    runs = {
        "regression, made up": (regression.build_model(*made_up), {"batch_size": 200}, {}),
        "regression, diabetes": (regression.build_model(*diabetes), {"batch_size": 44}, {}),
        "moons": (moons.build_model(*moons_data[::2]), {"batch_size": 50}, {}),
        "digits": (
            digits.build_model(*digits_data[::2]),
            {"batch_size": 128, "dtype": "float32"},
            {"draws": 300, "tune": 150},
        ),
    }
    print(f"{'':21}  updates: warm-up    whole run   seconds: search  whole run")
    for name, (model, settings, length) in runs.items():
        started = time.time()
        step = sg.ATMC(model=model, **settings)
        idata = sg.sample(
            **length, step=step, model=model, var_names=[v.name for v in model.free_RVs],
            random_seed=0, progressbar=False,
        )  # fmt: skip
        found = idata["posterior"].attrs
        print(
            f"{name:21}  {found['warmup_updates']:16,} "
            f"{found['updates'] + found['search_updates']:12,} "
            f"{found['warmup_seconds']:17.1f} {time.time() - started:10.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
