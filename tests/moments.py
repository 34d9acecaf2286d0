"""Draws held against the exact moments of a posterior, with Monte-Carlo errors from the draws."""

import numpy as np
from scipy import special

PARTS = 5


def standard_error(x):
    """Of the mean over chains and draws, ``(chains, draws, ...)``, from the means of parts."""
    means = np.concatenate([part.mean(1) for part in np.array_split(x, PARTS, axis=1)])
    return means.std(0, ddof=1) / np.sqrt(len(means))


def standardised(draws, mean, covariance):
    """Coordinates along the eigenvectors of the covariance, in standard deviations."""
    scale = np.sqrt(np.diag(covariance))
    values, vectors = np.linalg.eigh(covariance / np.outer(scale, scale))
    return ((draws - mean) / scale) @ vectors / np.sqrt(values)


def assert_moments(draws, mean, covariance, bias=0.02):
    """Hold draws ``(chains, draws, d)`` against a mean and a covariance, ``(d,)`` and ``(d, d)``.

    Means must be right to a tenth of a standard deviation, variances in all of the covariance's
    directions to the bias that the step size may leave and five Monte-Carlo errors.
    """
    z = standardised(draws, mean, covariance)
    of_mean, of_variance = standard_error(z), standard_error(z**2)
    # Otherwise the draws are too few to show anything.
    assert of_mean.max() < 0.05
    assert of_variance.max() < 0.06
    assert np.abs(z.mean((0, 1))).max() < 0.1
    errors = np.abs((z**2).mean((0, 1)) - 1)
    assert (errors < bias + 5 * of_variance).all(), (errors, of_variance)


def regression_posterior(X, y):
    """Mean and covariance of (b, log s) where y ~ N(X b, s), b and s with flat priors."""
    n, d = X.shape
    # In units of the columns, which may lie many powers of ten apart.
    scale = np.linalg.norm(X, axis=0)
    Q, R = np.linalg.qr(X / scale)
    b = np.linalg.solve(R, Q.T @ y) / scale
    squares = np.sum((y - X @ b) ** 2)
    shape = (n - d - 1) / 2
    inverse = np.linalg.inv(R) / scale[:, None]
    covariance = np.zeros((d + 1, d + 1))
    covariance[:d, :d] = squares / (n - d - 3) * inverse @ inverse.T
    covariance[d, d] = special.polygamma(1, shape) / 4
    log_s = (np.log(squares / 2) - special.digamma(shape)) / 2
    return np.append(b, log_s), covariance
