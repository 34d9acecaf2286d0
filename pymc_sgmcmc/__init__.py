"""Stochastic-gradient MCMC for PyMC models."""

import importlib
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from pymc_sgmcmc import nn, schedules
from pymc_sgmcmc.engines.settings import JAX, Numba
from pymc_sgmcmc.functional.entry import functions
from pymc_sgmcmc.linearised.entry import laplace
from pymc_sgmcmc.plan.settings import WarmUp
from pymc_sgmcmc.run.chains import ChainStuckError
from pymc_sgmcmc.sampling import sample
from pymc_sgmcmc.step_methods import ATMC, BAOAB, GLA1, GLA2, SGHMC, SGLD, SGNHT, CCAdL
from pymc_sgmcmc.stopping import Progress, reached
from pymc_sgmcmc.store.watch import watch
from pymc_sgmcmc.streaming.shuffle import shuffle_rows

if TYPE_CHECKING:
    from pymc_sgmcmc import diagnostics as diagnostics
    from pymc_sgmcmc import export as export
    from pymc_sgmcmc.diagnostics import diagnose
    from pymc_sgmcmc.prediction import predict

__version__ = version("pymc_sgmcmc")

__all__ = [
    "ATMC",
    "BAOAB",
    "GLA1",
    "GLA2",
    "JAX",
    "SGHMC",
    "SGLD",
    "SGNHT",
    "CCAdL",
    "ChainStuckError",
    "Numba",
    "Progress",
    "WarmUp",
    "diagnose",
    "functions",
    "laplace",
    "nn",
    "predict",
    "reached",
    "sample",
    "schedules",
    "shuffle_rows",
    "watch",
]

# What looks at draws brings half of SciPy: it comes when it is asked for.
_LATER = {"diagnostics": "", "export": "", "diagnose": "diagnostics", "predict": "prediction"}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if not _LATER[name]:
        return importlib.import_module(f"{__name__}.{name}")
    found = getattr(importlib.import_module(f"{__name__}.{_LATER[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
