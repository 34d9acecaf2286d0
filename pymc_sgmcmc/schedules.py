"""Schedules of the step size, under the name that a person types."""

from pymc_sgmcmc.dynamics.schedules import CyclicalCosine, PolynomialDecay, Schedule, constant

__all__ = ["CyclicalCosine", "PolynomialDecay", "Schedule", "constant"]
