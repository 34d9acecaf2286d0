"""Bayesian linear regression with a known posterior: every sampler, direction by direction.

Prints the error of the mean, in posterior standard deviations, and the ratio of sampled to exact
variance along each eigenvector of the posterior covariance, stiffest first, with its Monte-Carlo
error; with all rows and with minibatches, independent or in sweeps, at the same step size.

    uv run python benchmarks/linear_regression.py [--condition 98] [--samplers BAOAB]
"""

import argparse
import time

import numpy as np
import pymc as pm

import pymc_sgmcmc as sg

SAMPLERS = ("SGLD", "SGHMC", "SGNHT", "ATMC", "GLA1", "GLA2", "BAOAB", "CCAdL")
IN_SWEEPS = ("SGLD", "SGHMC")


def make_data(n: int, d: int, condition: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features whose covariance has the given condition number and rotated axes."""
    rng = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(rng.normal(size=(d, d)))
    scales = np.geomspace(1, condition**-0.5, d)
    X = rng.normal(size=(n, d)) * scales @ rotation
    return X, X @ rng.normal(size=d) + rng.normal(size=n)


def exact_posterior(X: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance under N(0, 1) priors and unit noise."""
    covariance = np.linalg.inv(X.T @ X + np.eye(X.shape[1]))
    return covariance @ X.T @ y, covariance


def build_model(X: np.ndarray, y: np.ndarray) -> pm.Model:
    with pm.Model() as model:
        slopes = pm.Normal("slopes", 0, 1, shape=X.shape[1])
        pm.Normal("y", pm.Data("X", X) @ slopes, 1, observed=pm.Data("y_data", y))
    return model


def compare(idata, mean: np.ndarray, covariance: np.ndarray) -> tuple[np.ndarray, ...]:
    """Error of the mean in sd, variance ratios, and their Monte-Carlo errors, by direction."""
    eigenvalues, vectors = np.linalg.eigh(covariance)
    z = (idata["posterior"]["slopes"].values - mean) @ vectors / np.sqrt(eigenvalues)
    chains = len(z)
    means, variances = z.mean(1), (z**2).mean(1)
    error = means.std(0, ddof=1) / chains**0.5, variances.std(0, ddof=1) / chains**0.5
    return means.mean(0), error[0], variances.mean(0) - means.mean(0) ** 2, error[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--dimensions", type=int, default=8)
    parser.add_argument("--condition", type=float, default=10)
    parser.add_argument("--product", type=float, default=0.15, help="step size × stiffest ω")
    parser.add_argument("--momentum-decay", type=float, default=0.9)
    parser.add_argument("--batch-size", type=int, default=50)
    parser.add_argument("--chains", type=int, default=64)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--steps-per-draw", type=int, default=50)
    parser.add_argument("--samplers", nargs="+", default=SAMPLERS, choices=SAMPLERS)
    arguments = parser.parse_args()
    X, y = make_data(arguments.rows, arguments.dimensions, arguments.condition)
    mean, covariance = exact_posterior(X, y)
    omega = np.linalg.eigvalsh(covariance)[0] ** -0.5
    step_size = arguments.product / omega
    print(
        f"N={arguments.rows} d={arguments.dimensions} condition={arguments.condition:g} "
        f"hω={arguments.product:g} (h={step_size:.3g}), {arguments.chains} chains x "
        f"{arguments.draws} draws x {arguments.steps_per_draw} updates\n"
        f"{'':6} {'batch':>12}  worst |mean error|/sd   variance / exact, stiffest to softest"
    )
    size, samplers = arguments.batch_size, arguments.samplers
    runs = [(sampler, rows, "independent") for rows in (None, size) for sampler in samplers]
    runs += [(sampler, size, "sweeps") for sampler in samplers if sampler in IN_SWEEPS]
    for sampler, batch_size, batches in runs:
        started = time.time()
        momentum = {} if sampler == "SGLD" else {"momentum_decay": arguments.momentum_decay}
        with build_model(X, y):
            step = getattr(sg, sampler)(
                batch_size=batch_size,
                batches=batches,
                step_size=step_size,
                steps_per_draw=arguments.steps_per_draw,
                dtype="float64",
                **momentum,
            )
            idata = sg.sample(
                arguments.draws,
                tune=max(200, arguments.draws // 4),
                chains=arguments.chains,
                step=step,
                random_seed=1,
                progressbar=False,
            )
        error, error_se, ratio, ratio_se = compare(idata, mean, covariance)
        worst = np.abs(error).argmax()
        rows = f"{batch_size or 'all'}{', sweeps' if batches == 'sweeps' else ''}"
        print(
            f"{sampler:6} {rows:>12}  "
            f"{abs(error[worst]):.3f} (se {error_se[worst]:.3f})      "
            f"{' '.join(f'{r:.3f}' for r in ratio)}   se ≤ {ratio_se.max():.3f}   "
            f"{time.time() - started:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
