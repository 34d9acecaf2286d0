"""The reference posteriors of posteriordb as plain PyMC models, and draws held against them.

The files are looked for in ``posteriordb/`` of the folder that ``PYMC_SGMCMC_DATA`` names.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pymc as pm
from scipy.linalg import eigvalsh


def flat_linear(X: np.ndarray, y: np.ndarray) -> None:
    beta = pm.Flat("beta", shape=X.shape[1])
    sigma = pm.HalfFlat("sigma")
    pm.Normal("y", pm.Data("X", X) @ beta, sigma, observed=y)


def cauchy_linear(X: np.ndarray, y: np.ndarray) -> None:
    beta = pm.Flat("beta", shape=X.shape[1])
    sigma = pm.HalfCauchy("sigma", 2.5)
    pm.Normal("y", pm.Data("X", X) @ beta, sigma, observed=y)


def normal_linear(X: np.ndarray, y: np.ndarray) -> None:
    beta = pm.Normal("beta", 0, 10, shape=X.shape[1])
    sigma = pm.HalfNormal("sigma", 10)
    pm.Normal("y", pm.Data("X", X) @ beta, sigma, observed=y)


def diamonds(X: np.ndarray, y: np.ndarray) -> None:
    b = pm.Normal("b", 0, 1, shape=X.shape[1])
    intercept = pm.StudentT("Intercept", nu=3, mu=8, sigma=10)
    sigma = pm.HalfStudentT("sigma", nu=3, sigma=10)
    pm.Normal("y", intercept + pm.Data("X", X) @ b, sigma, observed=y)


def logistic(X: np.ndarray, y: np.ndarray) -> None:
    beta = pm.Flat("beta", shape=X.shape[1])
    pm.Bernoulli("y", logit_p=pm.Data("X", X) @ beta, observed=y.astype(int))


def poisson(X: np.ndarray, y: np.ndarray) -> None:
    # posteriordb bounds the coefficients at 10 and 20, far outside of where the posterior is.
    beta = pm.Flat("beta", shape=X.shape[1])
    pm.Poisson("y", pm.math.exp(pm.Data("X", X) @ beta), observed=y.astype(int))


_MODELS: dict[str, Callable[[np.ndarray, np.ndarray], None]] = {
    "GLM_Poisson_Data-GLM_Poisson_model": poisson,
    "diamonds-diamonds": diamonds,
    "earnings-logearn_height_male": flat_linear,
    "kidiq-kidscore_momhsiq": cauchy_linear,
    "kidiq-kidscore_momiq": cauchy_linear,
    "mesquite-logmesquite": flat_linear,
    "nes1972-nes": flat_linear,
    "nes1976-nes": flat_linear,
    "nes_logit_data-nes_logit_model": logistic,
    "sblrc-blr": normal_linear,
    "sblri-blr": normal_linear,
    "wells_data-wells_dist100_model": logistic,
    "wells_data-wells_interaction_model": logistic,
}
NAMES = tuple(_MODELS)


@dataclass(frozen=True, eq=False)
class ReferencePosterior:
    """A model, and the moments of its parameters by a sampler that is trusted.

    Attributes
    ----------
    name : str
        Of the file, without its ending.
    names : tuple of str
        Parameters, in the order of the moments.
    model : pm.Model
        Its free variables, one after the other, are the parameters.
    n_rows : int
    mean, sd, covariance : ndarray
        Moments of the parameters on their constrained scale.
    effective_size : float
        Independent draws that the reference is worth.
    """

    name: str
    names: tuple[str, ...]
    model: pm.Model
    n_rows: int
    mean: np.ndarray
    sd: np.ndarray
    covariance: np.ndarray
    effective_size: float

    def vector(self, idata: Any) -> np.ndarray:
        """Draws of the parameters, of shape ``(chains, draws, d)``."""
        draws = [idata["posterior"][v.name].values for v in self.model.free_RVs]
        return np.concatenate([x.reshape(*x.shape[:2], -1) for x in draws], axis=-1)


def load(name: str) -> ReferencePosterior:
    """Build the model of one of `NAMES` and read its reference."""
    path = Path(os.environ["PYMC_SGMCMC_DATA"]) / "posteriordb" / f"{name}.npz"
    with np.load(path) as file:
        stored = dict(file)
    if "ref_cov" in stored:
        covariance, size = stored["ref_cov"], stored["ref_is_ess"]
    else:
        pooled = stored["draws"].reshape(-1, stored["draws"].shape[-1])
        covariance, size = np.cov(pooled, rowvar=False, dtype=float), stored["ess_bulk"].min()
    with pm.Model() as model:
        _MODELS[name](stored["X"], stored["y"])
    return ReferencePosterior(
        name=name,
        names=tuple(map(str, stored["names"])),
        model=model,
        n_rows=len(stored["y"]),
        mean=stored["ref_mean"],
        sd=stored["ref_sd"],
        covariance=covariance,
        effective_size=float(size),
    )


@dataclass(frozen=True)
class Comparison:
    """How far draws are from a reference.

    Attributes
    ----------
    mean_error : float
        Largest error of a mean, in standard deviations of the reference.
    sd_ratio : tuple of float
        Smallest and largest standard deviation, over the reference's.
    eigenvalues : tuple of float
        Smallest and largest variance in any direction, over the reference's: eigenvalues of
        ``inv(covariance of the reference) @ covariance of the draws``.
    """

    mean_error: float
    sd_ratio: tuple[float, float]
    eigenvalues: tuple[float, float]


def compare(posterior: ReferencePosterior, draws: np.ndarray) -> Comparison:
    """Hold draws of shape ``(chains, draws, d)`` against the reference, all chains together."""
    pooled = draws.reshape(-1, draws.shape[-1])
    error = (pooled.mean(0) - posterior.mean) / posterior.sd
    ratio = pooled.std(0, ddof=1) / posterior.sd
    eigenvalues = eigvalsh(np.cov(pooled, rowvar=False), posterior.covariance)
    return Comparison(
        mean_error=float(np.abs(error).max()),
        sd_ratio=(float(ratio.min()), float(ratio.max())),
        eigenvalues=(float(eigenvalues[0]), float(eigenvalues[-1])),
    )
