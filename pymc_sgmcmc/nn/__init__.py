"""Networks in plain PyMC: layers with named dims and sane priors, and heads that observe data.

Everything here only writes PyMC variables into the model of the context; mix it freely with your
own. Chains of a network start from prior draws, with the variables that have an ``initval`` there.
"""

from pymc_sgmcmc.nn.compression import Compressed, compress
from pymc_sgmcmc.nn.convolutional import avg_pool2d, conv2d, flatten, frn, max_pool2d
from pymc_sgmcmc.nn.equinox import from_equinox, to_equinox
from pymc_sgmcmc.nn.flax import from_flax, to_flax
from pymc_sgmcmc.nn.heads import classification, regression
from pymc_sgmcmc.nn.layers import dense, mlp, residual
from pymc_sgmcmc.nn.modules import Around
from pymc_sgmcmc.nn.networks import lenet, resnet_frn, resnet_pp
from pymc_sgmcmc.nn.priors import (
    FixedScale,
    GroupLaplace,
    Isotropic,
    LearnedScale,
    Prior,
    WeightNorm,
)

__all__ = [
    "Around",
    "Compressed",
    "FixedScale",
    "GroupLaplace",
    "Isotropic",
    "LearnedScale",
    "Prior",
    "WeightNorm",
    "avg_pool2d",
    "classification",
    "compress",
    "conv2d",
    "dense",
    "flatten",
    "frn",
    "from_equinox",
    "from_flax",
    "lenet",
    "max_pool2d",
    "mlp",
    "regression",
    "residual",
    "resnet_frn",
    "resnet_pp",
    "to_equinox",
    "to_flax",
]
