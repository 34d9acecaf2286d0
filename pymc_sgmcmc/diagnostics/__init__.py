"""Diagnostics of a DataTree: whether its draws are to be trusted."""

from pymc_sgmcmc.diagnostics.diagnosis import Diagnosis, diagnose

__all__ = ["Diagnosis", "diagnose"]
