"""What predictions are worth: the same function for all methods."""

import numpy as np
from scipy.special import logsumexp
from scipy.stats import norm

from benchmarks.networks.models import Predictive
from benchmarks.networks.protocols import Split


def score(predicted: Predictive, split: Split) -> dict[str, float]:
    """Scores of the test rows, on the scale that the split publishes.

    Returns
    -------
    dict
        ``rmse`` of the mean over draws. ``ll``, the mean over rows of the log of the density
        averaged over draws, and ``ll_se``, its standard error over rows. ``ll_normal``, the same of
        the one normal law with mean and variance of the mixture, and ``ll_rmse`` with the
        root-mean-square error as its standard deviation.
    """
    y, mean, sd, scale = split.y_test, predicted.mean, predicted.sd, split.scale
    density = logsumexp(norm.logpdf(y, mean, sd), axis=0) - np.log(len(mean)) - np.log(scale)
    centre = mean.mean(0)
    total = np.sqrt(np.square(sd).mean(0) + mean.var(0))
    rmse = np.sqrt(np.square(centre - y).mean())
    return {
        "rmse": float(scale * rmse),
        "ll": float(density.mean()),
        "ll_se": float(density.std(ddof=1) / np.sqrt(len(y))),
        "ll_normal": float(norm.logpdf(y, centre, total).mean() - np.log(scale)),
        "ll_rmse": float(norm.logpdf(y, centre, rmse).mean() - np.log(scale)),
    }
