"""Effective draws per second, and seconds until the posterior is right, against other methods.

The logistic regression of the other benchmarks: N=100,000, 50 slopes. Ours is
``sample(step=ATMC(batch_size=500))``, untuned. Against NUTS (nutpie, numpyro), ADVI (``pm.fit``
on minibatches of 500) and BlackJAX's SGLD on minibatches of 500 at the best of some step sizes.
Tools that are not installed are left out.

    python benchmarks/efficiency.py [NAME ...] [--quick] [--seed 1] [--limit 600] [--json FILE]

As in ``flights.py``, a run is a process of its own and its seconds are all of that process; it
meets the accuracy if no posterior mean is off by 0.1 posterior standard deviations and no standard
deviation by 10%; a tool's budget grows until it does, and only that run's seconds count. Of the
step sizes of SGLD, only the run of the best counts: that it had to be found costs it nothing. ESS
is the bulk ESS of the worst parameter, per second of the process. The reference is importance
sampling around the mode.
"""

import argparse
import contextlib
import importlib.util
import io
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import arviz as az
import flights
import measured
import numpy as np
import workloads
import xarray as xr
from flights import OUR_BUDGETS, PEER_BUDGETS, PEERS
from measured import rounded

NUTS = ("nutpie", "numpyro")
PACKAGES = {"ours": "pymc_sgmcmc", "advi": "pymc", "sgld": "blackjax"} | {n: n for n in NUTS}
ITERATIONS = (10_000, 30_000, 100_000, 300_000)  # of ADVI
UPDATES = (100_000, 300_000, 1_000_000, 3_000_000)  # of each chain of SGLD, the first half dropped
STEP_SIZES = (0.03, 0.045, 0.06, 0.08)  # of SGLD, h in posterior sds: adds h²N/4B to variances
CORES = min(4, os.cpu_count() or 1)


def budgets(name: str) -> list[list[dict]]:
    """Growing budgets, each as the runs of which the best counts."""
    if name == "advi":
        return [[{"n": n}] for n in ITERATIONS]
    if name == "sgld":
        return [[{"n": n, "h": h} for h in STEP_SIZES] for n in UPDATES]
    pairs = OUR_BUDGETS[1:] + OUR_BUDGETS[:1] if name == "ours" else PEER_BUDGETS
    return [[{"tune": tune, "draws": draws} if draws else {}] for tune, draws in pairs]


# -- what is timed -------------------------------------------------------------------------------


def run(name: str, seed: int, sd: float, out: Path, options: dict[str, float]) -> None:
    """Sample with one tool; writes its draws, ``(chains, draws, d)``."""
    workload = workloads.logistic()
    if name == "sgld":
        theta = run_sgld(workload, int(options["n"]), options["h"] * sd)
    else:
        whole = {key: int(value) for key, value in options.items()}
        idata = run_model(name, workload, seed, **whole)
        posterior = idata["posterior"]
        parts = posterior["intercept"].values[..., None], posterior["slopes"].values
        theta = np.concatenate(parts, axis=-1)
    np.save(out, theta)


def run_sgld(workload: workloads.Workload, updates: int, step_size: float) -> np.ndarray:
    from peers.blackjax import prepare

    workload = replace(workload, step_size=step_size)
    sampler = prepare(workload, "sgld", CORES, workload.draws)
    blocks = [sampler.run() for _ in range(updates // workload.steps_per_draw // workload.draws)]
    kept = blocks[len(blocks) // 2 :]
    return np.concatenate([np.concatenate([a[..., None], b], axis=-1) for a, b in kept], axis=1)


def run_model(name: str, workload: workloads.Workload, seed: int, **options: int):
    import pymc as pm
    from peers.ours import build_model

    if name == "advi":
        X, y = pm.Minibatch(workload.X, workload.y, batch_size=workload.batch_size)
        with pm.Model():
            intercept = pm.Normal("intercept", 0, workloads.PRIOR_SD)
            slopes = pm.Normal("slopes", 0, workloads.PRIOR_SD, shape=workload.X.shape[1])
            logit = intercept + X @ slopes
            pm.Bernoulli("y", logit_p=logit, observed=y, total_size=len(workload.X))
            fit = pm.fit(options["n"], method="advi", random_seed=seed, progressbar=False)
            return fit.sample(4000, random_seed=seed)
    with build_model(workload):
        if name == "ours":
            import pymc_sgmcmc as sg

            return sg.sample(step=sg.ATMC(batch_size=500), random_seed=seed, **options)
        quiet = {"progressbar": False, "compute_convergence_checks": False}
        return pm.sample(
            chains=CORES, cores=CORES, random_seed=seed, **quiet, **options, **PEERS[name]
        )


# -- timing and judging --------------------------------------------------------------------------


def timed(name: str, seed: int, sd: float, limit: float, options: dict) -> tuple[float, object]:
    """Seconds of a process of `run`, and its draws or why there are none."""
    with tempfile.TemporaryDirectory() as folder:
        out, log = Path(folder) / "draws.npy", Path(folder) / "log"
        command = [sys.executable, __file__, "run", name, str(seed), str(sd), str(out)]
        command += [f"{key}={value}" for key, value in options.items()]
        one_thread = {f"{blas}_NUM_THREADS": "1" for blas in ("OMP", "OPENBLAS", "MKL")}
        variables = {"JAX_PLATFORMS": "cpu"} | (one_thread if name in NUTS else {})
        started = time.time()
        with open(log, "w") as file:
            process = subprocess.Popen(
                command, stdout=file, stderr=file, env=os.environ | variables,
                start_new_session=True,
            )  # fmt: skip
            try:
                process.wait(limit)
            except BaseException as error:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                if not isinstance(error, subprocess.TimeoutExpired):
                    raise
                return limit, "stopped"
        seconds = time.time() - started
        if process.returncode:
            return seconds, log.read_text().strip().split("\n")[-1][:200]
        return seconds, np.load(out)


def reference(path: Path) -> dict[str, np.ndarray]:
    """Exact moments, made once."""
    if not path.exists():
        workload = workloads.logistic()
        names = [f"slope {i}" for i in range(workload.X.shape[1])]
        flights.load = lambda: (workload.X.astype(float), workload.y, names)
        with contextlib.redirect_stdout(io.StringIO()) as said:
            flights.reference(path, 4000)
        print(said.getvalue().split("\n")[0])
    with np.load(path) as exact:
        return {key: exact[key] for key in ("mean", "sd")}


def compare(
    name: str, exact: dict[str, np.ndarray], a: argparse.Namespace, rows: list[dict]
) -> dict[str, float]:
    """Print a row for each run, and add it to `rows`; seconds to the accuracy, best ESS/s."""
    found: dict[str, float] = {}
    for runs in budgets(name)[: 1 if a.quick else None]:
        for options in runs:
            seconds, theta = timed(name, a.seed, np.median(exact["sd"]), a.limit, options)
            settings = " ".join(f"{key}={value:,}" for key, value in options.items()) or "defaults"
            row = f"{name:9}{settings:23}{seconds:9.1f}"
            told = {"method": name, "settings": options, "seconds": round(seconds, 1)}
            rows.append(told)
            if isinstance(theta, str):
                print(f"{row}  {theta}", flush=True)
                told["failed"] = theta
                continue
            error = np.abs((theta.mean((0, 1)) - exact["mean"]) / exact["sd"]).max()
            ratio = theta.std((0, 1)) / exact["sd"]
            right = np.abs(ratio - 1).max() < 0.1
            ess = None if name == "advi" else effective(theta)
            met = error < 0.1 and right
            told |= {
                "mean_error": rounded(error, 3),
                "sd_low": rounded(ratio.min(), 4),
                "sd_high": rounded(ratio.max(), 4),
                "ess": None if ess is None else round(ess),
                "met": bool(met),
            }
            print(
                f"{row}{error:12.3f}   {ratio.min():.3f}-{ratio.max():.3f}"
                + (f"{'-':>9}{'-':>9}" if ess is None else f"{ess:9.0f}{ess / seconds:9.1f}")
                + ("   met" if met else "   not met"),
                flush=True,
            )
            if right and ess is not None:
                found["ess"] = max(found.get("ess", 0), ess / seconds)
            if met:
                found["seconds"] = min(found.get("seconds", np.inf), seconds)
        if "seconds" in found and name != "ours":
            break
    return found


def effective(theta: np.ndarray) -> float:
    """Bulk ESS of the worst parameter."""
    draws = xr.DataArray(theta, dims=("chain", "draw", "parameter"))
    return float(az.ess(draws).min())


def main() -> None:
    if sys.argv[1:2] == ["run"]:
        name, seed, sd, out, *rest = sys.argv[2:]
        options = {key: float(value) for key, value in (x.split("=") for x in rest)}
        run(name, int(seed), float(sd), Path(out), options)
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help=f"of {', '.join(PACKAGES)}; all when none")
    parser.add_argument("--quick", action="store_true", help="only the smallest budget of each")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit", type=float, default=600, help="seconds of one run")
    cache = Path(tempfile.gettempdir()) / "efficiency_reference.npz"
    parser.add_argument("--cache", type=Path, default=cache, help="the reference moments")
    measured.add_arguments(parser)
    a = parser.parse_args()
    if unknown := set(a.names) - set(PACKAGES):
        parser.error(f"no {', '.join(unknown)}; there are {', '.join(PACKAGES)}")
    exact, found, rows = reference(a.cache), {}, []
    print(
        f"{'':9}{'':23}{'seconds':>9}{'mean error':>12}   {'sd ratios':11}{'ESS':>9}{'ESS/s':>9}"
        f"   load {os.getloadavg()[0]:.1f}"
    )
    for name in a.names or PACKAGES:
        if importlib.util.find_spec(PACKAGES[name]) is None:
            print(f"{name:9}is left out: {PACKAGES[name]} is not installed")
            continue
        found[name] = compare(name, exact, a, rows)
    peers = {package: version(package) for package in {PACKAGES[name] for name in found}}
    measured.save(a, rows, versions=peers)
    print("\nseconds to the accuracy, and the best ESS/s of a run whose sds are right")
    for name, best in found.items():
        print(f"{name:9}{best.get('seconds', np.nan):10.1f}{best.get('ess', np.nan):10.1f}")


if __name__ == "__main__":
    main()
