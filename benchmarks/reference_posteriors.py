"""Samplers that are given a batch size and nothing else, against the posteriors of posteriordb.

Every run starts from a plain model and must find its own way. One line each: the largest error of
a mean in reference standard deviations, standard deviations over the reference's, the range of the
variance over the reference's in all directions (eigenvalues) and what is tolerated of it, the
updates of each chain, the effective size, and seconds with compilation.

    PYMC_SGMCMC_DATA=... uv run python -m benchmarks.reference_posteriors [--samplers ATMC SGHMC]

from the root of the repository. PASS is a mean error below 0.1, standard deviations within 10% and
eigenvalues in [0.8, 1.25], in [0.7, 1.4] where there are fewer than 100 rows. The effective size is
the smallest, over parameters, of the squared deviations from the mean: it is variances that are
compared. In many dimensions the eigenvalues of a right sampler spread too, so with more than 20
parameters they may also lie where those of two independent Gaussian samples, of the effective
sizes of the run and of the reference, lie in 99.9% of all cases.
"""

import argparse
import logging
import time

import arviz as az
import numpy as np
import pymc as pm
from scipy.stats import wishart

import pymc_sgmcmc as sg
from tests.posteriors import NAMES, Comparison, ReferencePosterior, compare, load


def effective_size(draws: np.ndarray) -> float:
    """Smallest effective size of the squared deviations, over parameters."""
    squares = (draws - draws.mean((0, 1))) ** 2
    return float(az.ess({"squares": squares}, method="mean")["squares"].min())


def eigenvalues_by_chance(d: int, sizes: tuple[int, int]) -> tuple[float, float]:
    """Range of the eigenvalues of inv(C₁) C₂ for two samples of one law, in 99.9% of all cases."""
    rng = np.random.default_rng(0)
    first, second = (wishart(n, np.eye(d) / n).rvs(4000, random_state=rng) for n in sizes)
    eigenvalues = np.linalg.eigvals(np.linalg.solve(first, second)).real
    return np.quantile(eigenvalues.min(1), 0.0005), np.quantile(eigenvalues.max(1), 0.9995)


def tolerated(posterior: ReferencePosterior, size: float) -> tuple[float, float]:
    """Range in which the eigenvalues of a run of this effective size must lie."""
    low, high = (0.7, 1.4) if posterior.n_rows < 100 else (0.8, 1.25)
    d = len(posterior.mean)
    # A sample of no more than d draws has no covariance to compare.
    if d > 20 and size > d:
        by_chance = eigenvalues_by_chance(d, (int(posterior.effective_size), int(size)))
        low, high = min(low, by_chance[0]), max(high, by_chance[1])
    return low, high


def passes(result: Comparison, limits: tuple[float, float]) -> bool:
    return (
        result.mean_error < 0.1
        and 0.9 <= result.sd_ratio[0] <= result.sd_ratio[1] <= 1.1
        and limits[0] <= result.eigenvalues[0] <= result.eigenvalues[1] <= limits[1]
    )


def run(name: str, sampler: str, arguments: argparse.Namespace) -> tuple[str, bool]:
    """Sample one posterior; the figures as text, and whether they pass."""
    posterior = load(name)
    started = time.perf_counter()
    with posterior.model:
        batch_size = max(32, posterior.n_rows // 10)
        step = getattr(sg, sampler)(batch_size=batch_size, engine=arguments.backend)
        idata = pm.sample(
            draws=arguments.draws,
            tune=arguments.tune,
            chains=arguments.chains,
            step=step,
            random_seed=arguments.seed,
            progressbar=False,
        )
    seconds = time.perf_counter() - started
    draws, attrs = posterior.vector(idata), idata["posterior"].attrs
    result, size = compare(posterior, draws), effective_size(draws)
    limits = tolerated(posterior, size)
    ranges = (f"{low:5.2f} -{high:5.2f}" for low, high in (result.sd_ratio, result.eigenvalues))
    return (
        f"{result.mean_error:10.3f}  {'  '.join(ranges)}  [{limits[0]:.2f}, {limits[1]:.2f}]"
        f"{attrs['updates']:>11,}{attrs['steps_per_draw']:>9}{size:7.0f}{seconds:7.1f}"
    ), passes(result, limits)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samplers", nargs="+", default=["ATMC", "SGNHT", "SGHMC", "SGLD"])
    parser.add_argument("--posteriors", nargs="+", default=NAMES, choices=NAMES, metavar="NAME")
    parser.add_argument("--backend", default="auto", choices=["auto", "jax", "numba"])
    for option, default in {"draws": 1000, "tune": 1000, "chains": 4, "seed": 0}.items():
        parser.add_argument(f"--{option}", type=int, default=default)
    arguments = parser.parse_args()
    logging.getLogger("pymc").setLevel(logging.ERROR)
    columns = "mean error     sd ratio   eigenvalues     tolerated    updates per draw    ESS"
    print(f"{'':41}{columns}      s")
    for name in arguments.posteriors:
        for sampler in arguments.samplers:
            try:
                figures, passed = run(name, sampler, arguments)
            except Exception as error:  # the other lines are worth having
                figures, passed = f"  {type(error).__name__}: {str(error)[:70]}", False
            print(f"{name:35}{sampler:6}{figures}  {'PASS' if passed else 'FAIL'}", flush=True)


if __name__ == "__main__":
    main()
