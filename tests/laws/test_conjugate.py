"""Real data, real minibatches: Bayesian linear regression against its exact posterior."""

import numpy as np
import pymc as pm
import pytest

import pymc_sgmcmc as sg

N, D, CHAINS = 500, 4, 96
PRODUCT = 0.15  # step size × stiffest ω


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(2)
    rotation, _ = np.linalg.qr(rng.normal(size=(D, D)))
    X = rng.normal(size=(N, D)) * np.geomspace(1, 0.5, D) @ rotation
    return X, X @ rng.normal(size=D) + rng.normal(size=N)


@pytest.fixture(scope="module")
def posterior(data):
    X, y = data
    covariance = np.linalg.inv(X.T @ X + np.eye(D))
    return covariance @ X.T @ y, covariance


def run(sampler, data, posterior, batch_size, steps_per_draw, **options):
    """Standardised draws along the posterior's eigenvectors: (chains, draws, d), unit normal."""
    X, y = data
    mean, covariance = posterior
    eigenvalues, vectors = np.linalg.eigh(covariance)
    with pm.Model():
        slopes = pm.Normal("slopes", 0, 1, shape=D)
        pm.Normal("y", pm.Data("X", X) @ slopes, 1, observed=y)
        step = sampler(
            batch_size=batch_size,
            step_size=PRODUCT * eigenvalues[0] ** 0.5,
            steps_per_draw=steps_per_draw,
            **options,
        )
        # From the mode: a descent from far away winds a thermostat up for thousands of updates.
        idata = sg.sample(
            200,
            tune=60,
            chains=CHAINS,
            step=step,
            initvals={"slopes": mean},
            random_seed=4,
            progressbar=False,
        )
    return (idata["posterior"]["slopes"].values - mean) @ vectors / eigenvalues**0.5


def moments(z):
    """Mean and variance by direction, and their standard errors over independent chains."""
    means, squares = z.mean(1), (z**2).mean(1)
    return (
        means.mean(0),
        means.std(0, ddof=1) / CHAINS**0.5,
        squares.mean(0),
        squares.std(0, ddof=1) / CHAINS**0.5,
    )


@pytest.mark.parametrize(
    ("sampler", "steps_per_draw"),
    [(sg.SGLD, 150), (sg.SGHMC, 40), (sg.SGNHT, 40), (sg.ATMC, 40)],
    ids=lambda x: getattr(x, "__name__", ""),
)
@pytest.mark.slow
def test_all_rows_give_the_exact_posterior(sampler, steps_per_draw, data, posterior):
    mean, mean_se, variance, variance_se = moments(
        run(sampler, data, posterior, None, steps_per_draw)
    )
    assert (np.abs(mean) < 5 * mean_se).all()
    assert (np.abs(variance - 1) < 0.01 + 4 * variance_se).all()
    assert variance_se.max() < 0.02


def test_a_batch_of_all_rows_is_all_rows(data, posterior):
    few = {"steps_per_draw": 2}
    all_rows = run(sg.SGHMC, data, posterior, None, **few)
    assert np.array_equal(all_rows, run(sg.SGHMC, data, posterior, N, **few))


@pytest.mark.slow
def test_sgld_variance_grows_with_the_gradient_noise(data, posterior):
    """The stationary covariance C of the linear recursion with state-dependent noise."""
    X, y = data
    m, covariance = posterior
    B, h2 = 100, PRODUCT**2 * np.linalg.eigvalsh(covariance)[0]
    H = np.linalg.inv(covariance)
    F = np.eye(D) - h2 / 2 * H
    # Without replacement (B ≥ N/10): the noise of a batch's sum of row gradients.
    factor = N**2 / B * (N - B) / (N - 1)
    fourth = np.einsum("ni,nj,nk,nl->ijkl", X, X, X, X, optimize=True) / N
    C = covariance
    residual = y - X @ m
    rows = X * residual[:, None]
    at_mode = rows.T @ rows / N - np.outer(rows.mean(0), rows.mean(0))
    second = X.T @ X / N
    for _ in range(20_000):
        # Covariance of a row's gradient at θ = m + e, averaged over e ~ N(0, C).
        noise = at_mode + np.einsum("ijkl,kl->ij", fourth, C) - second @ C @ second
        new = F @ C @ F.T + h2 * np.eye(D) + h2**2 / 4 * factor * noise
        if np.allclose(new, C, rtol=1e-12):
            break
        C = new
    eigenvalues, vectors = np.linalg.eigh(covariance)
    expected = np.diag(vectors.T @ C @ vectors) / eigenvalues
    mean, mean_se, variance, variance_se = moments(run(sg.SGLD, data, posterior, B, 150))
    assert (expected > 1.02).any()  # the noise shows
    assert (np.abs(mean) < 5 * mean_se).all()
    assert (np.abs(variance - expected) < 5 * variance_se).all()


@pytest.mark.parametrize("sampler", [sg.SGNHT, sg.ATMC])
@pytest.mark.slow
def test_thermostats_keep_the_mean_and_not_the_shape(sampler, data, posterior):
    """What docs/exactness.md says of minibatches; a sampler that mends it must change the page."""
    mean, mean_se, variance, variance_se = moments(run(sampler, data, posterior, 25, 40))
    assert (np.abs(mean) < 5 * mean_se).all()
    assert variance[0] - 1 > 5 * variance_se[0]
    assert variance[-1] - 1 < -5 * variance_se[-1]
