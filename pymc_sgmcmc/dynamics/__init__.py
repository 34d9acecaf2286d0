"""Symbolic updates of the samplers: a gradient in, a transition out."""

from pymc_sgmcmc.dynamics.atmc import ATMCDynamics
from pymc_sgmcmc.dynamics.baoab import BAOABDynamics
from pymc_sgmcmc.dynamics.base import Dynamics, MomentumDynamics, Transition
from pymc_sgmcmc.dynamics.ccadl import CCAdLDynamics
from pymc_sgmcmc.dynamics.gla1 import GLA1Dynamics
from pymc_sgmcmc.dynamics.gla2 import GLA2Dynamics
from pymc_sgmcmc.dynamics.relativistic import RelativisticDynamics
from pymc_sgmcmc.dynamics.sghmc import SGHMCDynamics
from pymc_sgmcmc.dynamics.sgld import SGLDDynamics
from pymc_sgmcmc.dynamics.sgnht import SGNHTDynamics

__all__ = [
    "ATMCDynamics",
    "BAOABDynamics",
    "CCAdLDynamics",
    "Dynamics",
    "GLA1Dynamics",
    "GLA2Dynamics",
    "MomentumDynamics",
    "RelativisticDynamics",
    "SGHMCDynamics",
    "SGLDDynamics",
    "SGNHTDynamics",
    "Transition",
]
