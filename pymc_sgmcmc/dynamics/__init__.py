"""Symbolic updates of the samplers: a gradient in, a transition out."""

from pymc_sgmcmc.dynamics.atmc import ATMCDynamics
from pymc_sgmcmc.dynamics.base import Dynamics, MomentumDynamics, Transition
from pymc_sgmcmc.dynamics.sghmc import SGHMCDynamics
from pymc_sgmcmc.dynamics.sgld import SGLDDynamics
from pymc_sgmcmc.dynamics.sgnht import SGNHTDynamics

__all__ = [
    "ATMCDynamics",
    "Dynamics",
    "MomentumDynamics",
    "SGHMCDynamics",
    "SGLDDynamics",
    "SGNHTDynamics",
    "Transition",
]
