"""Late flights: seconds until the posterior is right, against three implementations of NUTS.

Logistic regression on the 327,346 flights of nycflights13: was the arrival more than 15 minutes
late, given all other columns but the delay at departure, standardised. Run it where nutpie and
numpyro are installed beside pymc_sgmcmc, with PYMC_SGMCMC_DATA naming the folder that has
``tabular/nycflights13.npz``:

    python benchmarks/flights.py [NAME ...] [--seed 1] [--seeds 1] [--limit 1800] [--json FILE]
    python benchmarks/flights.py reference [--samples 4000]     # the exact moments, made once
    python benchmarks/flights.py run NAME [--tune 200] [--draws 200] [--seed 1]   # what is timed

A run is a process of its own, and its time is all of that process: imports, reading the data,
compilation, warm-up, sampling and exit. It meets the accuracy if no posterior mean is off by 0.1
posterior standard deviations and no standard deviation by 10%. Ours counts with
``step=ATMC(batch_size=500)`` and nothing else but a seed; smaller budgets are shown as well. A
peer's budget grows until it meets the accuracy, and only the time of that run counts for it, so
that luck is on its side; a run is stopped when it has taken 3 times as long as the fastest peer,
or ``--limit`` seconds. Peers run one chain on each core (4 at most), which shares
the warm-up best, with one BLAS thread each, and without progress bars and convergence checks. What
PyTensor keeps on disk may be warm. The reference is importance sampling around the mode.
"""

import argparse
import importlib.metadata
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import measured
import numpy as np

OURS = ("atmc", "atmc-sample")  # pm.sample and pymc_sgmcmc.sample
OUR_BUDGETS = ((None, None), (100, 100), (200, 200), (400, 400))
LOW_RANK = dict(nuts_sampler="nutpie", nuts={"adaptation": "low_rank"})
JAX = dict(backend="jax", compile_kwargs={"gradient_backend": "jax"})
PEERS = {
    "nutpie-jax-low-rank": LOW_RANK | JAX,
    "nutpie-low-rank": LOW_RANK,
    "nutpie": dict(nuts_sampler="nutpie"),
    "pymc-dense": dict(nuts_sampler="pymc", init="jitter+adapt_full"),
    "pymc": dict(nuts_sampler="pymc"),
    "numpyro-dense": dict(nuts_sampler="numpyro", nuts={"dense_mass": True}),
    "numpyro": dict(nuts_sampler="numpyro"),
}
PEER_BUDGETS = ((60, 140), (100, 200), (150, 300), (250, 500), (500, 1000), (1000, 1000))
PATIENCE = 3
PRIOR_SD = 2.5


def load() -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Standardised features, lateness and the features' names."""
    with np.load(Path(os.environ["PYMC_SGMCMC_DATA"]) / "tabular" / "nycflights13.npz") as data:
        keep = data["columns"] != "dep_delay"
        X, y, names = data["X"][:, keep].astype(float), data["y"] > 15, data["columns"][keep]
    return (X - X.mean(0)) / X.std(0), y.astype(np.int8), names.tolist()


def reference(path: Path, samples: int, seed: int = 0) -> None:
    """Moments by importance sampling from a t at the mode; the error from jackknifed blocks."""
    started = time.time()
    X, y, names = load()
    X = np.column_stack([np.ones(len(X)), X])
    mode = np.zeros(X.shape[1])
    for _ in range(20):
        p = 1 / (1 + np.exp(-X @ mode))
        precision = X.T @ (X * (p * (1 - p))[:, None]) + np.eye(len(mode)) / PRIOR_SD**2
        move = np.linalg.solve(precision, X.T @ (y - p) - mode / PRIOR_SD**2)
        mode += move
        if np.abs(move).max() < 1e-12:
            break

    rng, nu, blocks, d = np.random.default_rng(seed), 30, 50, len(mode)
    half = np.linalg.cholesky(np.linalg.inv(precision))
    z = rng.normal(size=(samples // 2 // blocks * blocks, d))
    z *= np.sqrt(nu / rng.chisquare(nu, size=(len(z), 1)))
    z = np.stack([z, -z], 1).reshape(-1, d)  # antithetic pairs, side by side
    theta, linear, log_density = mode + z @ half.T, X.T @ y, np.empty(len(z))
    for i in range(0, len(z), 20):
        eta = X @ theta[i : i + 20].T
        log_density[i : i + 20] = -(np.maximum(eta, 0) + np.log1p(np.exp(-abs(eta)))).sum(0)
    log_density += theta @ linear - 0.5 * (theta**2).sum(1) / PRIOR_SD**2
    log_proposal = -0.5 * (nu + d) * np.log1p((z**2).sum(1) / nu)
    weights = np.exp(log_density - log_density.max() - log_proposal)
    normal = np.exp(-0.5 * (z**2).sum(1) - log_proposal)  # the Laplace approximation's

    def moments(w, combine):
        offsets = (theta - mode).reshape(blocks, -1, d)
        w = w.reshape(blocks, -1)
        zeroth, first, second = (combine(np.einsum("bs,bsd->bd", w, offsets**k)) for k in range(3))
        return first / zeroth, np.sqrt(second / zeroth - (first / zeroth) ** 2)

    def estimate(combine):
        mean, sd = moments(weights, combine)
        _, control = moments(normal, combine)  # is known: lowers the variance
        return mean, sd / control * np.linalg.norm(half, axis=1)

    mean, sd = estimate(lambda s: s.sum(0))
    means, sds = estimate(lambda s: s.sum(0) - s)  # with each block left out
    mean_error, sd_error = (np.sqrt((blocks - 1) * x.var(0)) / sd for x in (means, sds))
    np.savez(path, names=["intercept", *names], mean=mode + mean, sd=sd, mode=mode)
    effective = weights.sum() ** 2 / (weights**2).sum()
    print(
        f"{path}: {len(z)} draws, {effective:.0f} effective, {time.time() - started:.0f} s; "
        f"standard errors ≤ {mean_error.max():.4f} sd of the means, ≤ {sd_error.max():.2%} of the "
        f"sds\n{'':15}{'mean':>10}{'sd':>10}   mean - mode, in sd"
    )
    for name, *row in zip(["intercept", *names], mode + mean, sd, mean / sd, strict=True):
        print("{:15}{:10.5f}{:10.5f}{:10.4f}".format(name, *row))


def run(name: str, out: Path | None, **options: int | None) -> None:
    """What is timed: one sampler in a fresh process, from its imports on."""
    import pymc as pm

    marks = {"imports": time.time()}
    X, y, _ = load()
    with pm.Model():
        intercept = pm.Normal("intercept", 0, PRIOR_SD)
        slopes = pm.Normal("slopes", 0, PRIOR_SD, shape=X.shape[1])
        pm.Bernoulli("late", logit_p=intercept + pm.Data("X", X) @ slopes, observed=y)
        marks["model"] = time.time()
        options = {key: value for key, value in options.items() if value is not None}
        if name in OURS:
            import pymc_sgmcmc as sg

            sample = pm.sample if name == "atmc" else sg.sample
            idata = sample(step=sg.ATMC(batch_size=500), **options)
        else:
            cores = min(4, os.cpu_count() or 1)
            options = dict(chains=cores, cores=cores) | options | PEERS[name]
            idata = pm.sample(**options, progressbar=False, compute_convergence_checks=False)
    marks["sampled"] = time.time()
    posterior = idata["posterior"]
    theta = np.concatenate([posterior["intercept"].values[..., None], posterior["slopes"]], -1)
    result = {"mean": theta.mean((0, 1)).tolist(), "sd": theta.std((0, 1)).tolist()}
    text = json.dumps({**result, "shape": theta.shape[:2], "marks": marks})
    _ = out.write_text(text) if out else print(text)


def timed(name: str, tune: int | None, draws: int | None, seed: int, limit: float) -> dict:
    """Run a process of `run` and time it; stop it, and its workers, after `limit` seconds."""
    with tempfile.TemporaryDirectory() as folder:
        out, log = Path(folder) / "out.json", Path(folder) / "log"
        command = [sys.executable, __file__, "run", name, "--seed", str(seed), "--out", str(out)]
        for option, value in (("--tune", tune), ("--draws", draws)):
            command += [] if value is None else [option, str(value)]
        one_thread = {f"{blas}_NUM_THREADS": "1" for blas in ("OMP", "OPENBLAS", "MKL")}
        environment = os.environ | ({} if name in OURS else one_thread)
        started = time.time()
        with open(log, "w") as file:
            process = subprocess.Popen(
                command, stdout=file, stderr=file, env=environment, start_new_session=True
            )
            try:
                process.wait(limit)
            except BaseException as error:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                if not isinstance(error, subprocess.TimeoutExpired):
                    raise
                return {"seconds": limit, "failed": "stopped"}
        seconds = time.time() - started
        if process.returncode or not out.exists():
            last = log.read_text().strip().split("\n")[-1]
            return {"seconds": seconds, "failed": f"exit status {process.returncode}: {last}"}
        return {"seconds": seconds, "started": started, **json.loads(out.read_text())}


def compare(
    names: list[str], path: Path, seed: int, limit: float, rows: list[dict]
) -> dict[str, float]:
    """Print a row for each run, and add it to `rows`; seconds of those that count, by sampler."""
    exact, seconds = np.load(path), {}
    print(
        f"seed {seed}\n{'sampler':20}{'version':9}{'tune+draws':>11}{'chains':>7}{'seconds':>9}"
        f"{'sampling':>10}{'mean error':>12}   sd ratios"
    )
    for name in names:
        version = importlib.metadata.version("pymc_sgmcmc" if name in OURS else name.split("-")[0])
        for tune, draws in OUR_BUDGETS if name in OURS else PEER_BUDGETS:
            if name in seconds and draws:
                continue
            fastest = min((s for peer, s in seconds.items() if peer in PEERS), default=np.inf)
            stop = limit if name in OURS else min(limit, PATIENCE * fastest)
            result = timed(name, tune, draws, seed, stop)
            budget = f"{tune}+{draws}" if draws else "default"
            row = f"{name:20}{version:9}{budget:>11}"
            told = {"sampler": name, "version": version, "budget": budget, "seed": seed}
            rows.append(told | {"seconds": round(result["seconds"], 1)})
            if "failed" in result:
                rows[-1]["failed"] = result["failed"]
                print(f"{row}{'-':>7}{result['seconds']:9.1f}  {result['failed']}", flush=True)
                continue
            error = np.abs((result["mean"] - exact["mean"]) / exact["sd"]).max()
            ratio, marks = result["sd"] / exact["sd"], result["marks"]
            met = error < 0.1 and np.abs(ratio - 1).max() < 0.1
            rows[-1] |= {
                "chains": result["shape"][0],
                "sampling_s": round(marks["sampled"] - marks["model"], 1),
                "mean_error": measured.rounded(error, 3),
                "sd_low": measured.rounded(ratio.min()),
                "sd_high": measured.rounded(ratio.max()),
                "met": bool(met),
            }
            print(
                f"{row}{result['shape'][0]:7}{result['seconds']:9.1f}"
                f"{marks['sampled'] - marks['model']:10.1f}{error:12.3f}   "
                f"{ratio.min():.3f} to {ratio.max():.3f} {'met' if met else 'not met'}",
                flush=True,
            )
            if met:
                seconds[name if draws else f"{name} default"] = result["seconds"]
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="samplers, or 'reference', or 'run' and a sampler")
    parser.add_argument("--tune", type=int)
    parser.add_argument("--draws", type=int)
    parser.add_argument("--chains", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=1, help="how many, from --seed on")
    parser.add_argument("--limit", type=float, default=1800, help="seconds of one run")
    parser.add_argument("--samples", type=int, default=4000)
    parser.add_argument("--out", type=Path, help="of run: a JSON file")
    cache = Path(tempfile.gettempdir()) / "flights_reference.npz"
    parser.add_argument("--cache", type=Path, default=cache, help="the reference moments")
    measured.add_arguments(parser)
    a = parser.parse_args()
    if a.names[:1] == ["run"]:
        run(a.names[1], a.out, tune=a.tune, draws=a.draws, chains=a.chains, random_seed=a.seed)
        return
    if a.names == ["reference"] or not a.cache.exists():
        reference(a.cache, a.samples)
    if a.names == ["reference"]:
        return
    names = a.names or [*OURS, *PEERS]
    if unknown := set(names) - {*OURS, *PEERS}:
        parser.error(f"no sampler {', '.join(unknown)}; there are {', '.join([*OURS, *PEERS])}")
    seeds = range(a.seed, a.seed + a.seeds)
    rows: list[dict] = []
    runs = [compare(names, a.cache, seed, a.limit, rows) for seed in seeds]
    measured.save(a, rows)
    medians = {
        name: np.median([seconds.get(name, np.inf) for seconds in runs])
        for name in dict.fromkeys(name for seconds in runs for name in seconds)
    }
    ours = [name for name in medians if name.split()[0] in OURS]
    peer = min((name for name in medians if name in PEERS), key=medians.get, default=None)
    for name in ours if peer else ():
        print(
            f"{peer} took {medians[peer] / medians[name]:.2f} times as long as {name}: "
            f"{medians[peer]:.1f} s and {medians[name]:.1f} s, medians of {len(runs)} seed(s)"
        )


if __name__ == "__main__":
    main()
