"""Diagnostics of a DataTree: whether its draws are to be trusted, and what they predict."""

from pymc_sgmcmc.diagnostics.calibration import brier_score, calibration_error, reliability
from pymc_sgmcmc.diagnostics.canonical import canonicalize
from pymc_sgmcmc.diagnostics.chain_counts import ChainsNeeded, chains_needed
from pymc_sgmcmc.diagnostics.chain_temperatures import temperatures
from pymc_sgmcmc.diagnostics.dead import DeadChains, dead_chains
from pymc_sgmcmc.diagnostics.diagnosis import Diagnosis, diagnose
from pymc_sgmcmc.diagnostics.diffusion import diffusion_map
from pymc_sgmcmc.diagnostics.hot_layers import layer_temperatures
from pymc_sgmcmc.diagnostics.interval_coverage import coverage
from pymc_sgmcmc.diagnostics.layers import layer_summary
from pymc_sgmcmc.diagnostics.predictive import chainwise_rhat, predictive_ess, predictive_rhat
from pymc_sgmcmc.diagnostics.principal import principal_components
from pymc_sgmcmc.diagnostics.scores import lppd, rmse
from pymc_sgmcmc.diagnostics.stacking import stack_chains
from pymc_sgmcmc.diagnostics.symmetry import symmetry_count

__all__ = [
    "ChainsNeeded",
    "DeadChains",
    "Diagnosis",
    "brier_score",
    "calibration_error",
    "canonicalize",
    "chains_needed",
    "chainwise_rhat",
    "coverage",
    "dead_chains",
    "diagnose",
    "diffusion_map",
    "layer_summary",
    "layer_temperatures",
    "lppd",
    "predictive_ess",
    "predictive_rhat",
    "principal_components",
    "reliability",
    "rmse",
    "stack_chains",
    "symmetry_count",
    "temperatures",
]
