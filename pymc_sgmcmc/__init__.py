"""Stochastic-gradient MCMC for PyMC models."""

from importlib.metadata import version

from pymc_sgmcmc import nn, schedules
from pymc_sgmcmc.diagnostics import diagnose
from pymc_sgmcmc.engines.settings import JAX, Numba
from pymc_sgmcmc.plan.settings import WarmUp
from pymc_sgmcmc.prediction import predict
from pymc_sgmcmc.run.chains import ChainStuckError
from pymc_sgmcmc.sampling import sample
from pymc_sgmcmc.step_methods import ATMC, SGHMC, SGLD, SGNHT
from pymc_sgmcmc.stopping import Progress, reached
from pymc_sgmcmc.store.watch import watch

__version__ = version("pymc_sgmcmc")

__all__ = [
    "ATMC",
    "JAX",
    "SGHMC",
    "SGLD",
    "SGNHT",
    "ChainStuckError",
    "Numba",
    "Progress",
    "WarmUp",
    "diagnose",
    "nn",
    "predict",
    "reached",
    "sample",
    "schedules",
    "watch",
]
