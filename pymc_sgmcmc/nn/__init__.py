"""Networks in plain PyMC: layers with named dims and sane priors, and heads that observe data.

Everything here only writes PyMC variables into the model of the context; mix it freely with your
own. Chains of a network start from prior draws, with the variables that have an ``initval`` there.
"""

from pymc_sgmcmc.nn.equinox import from_equinox, to_equinox
from pymc_sgmcmc.nn.flax import from_flax, to_flax
from pymc_sgmcmc.nn.heads import classification, regression
from pymc_sgmcmc.nn.layers import dense, mlp, residual
from pymc_sgmcmc.nn.modules import Around
from pymc_sgmcmc.nn.priors import FixedScale, GroupLaplace, LearnedScale, Prior, WeightNorm

__all__ = [
    "Around",
    "FixedScale",
    "GroupLaplace",
    "LearnedScale",
    "Prior",
    "WeightNorm",
    "classification",
    "dense",
    "from_equinox",
    "from_flax",
    "mlp",
    "regression",
    "residual",
    "to_equinox",
    "to_flax",
]
