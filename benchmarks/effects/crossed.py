"""Intercepts of crossed factors: as users write them, and in coordinates in which NUTS mixes.

Only their priors tell an overall intercept and the effects of two factors apart: what is added to
all effects of a factor and taken from the intercept changes no prediction, and NUTS creeps along.
The same posterior is easy in the total of the intercept and the effects' means, and effects that
sum to zero. Given the total, its parts are normal whatever the data, so that they are drawn
afterwards.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pymc as pm
from pytensor.tensor import TensorVariable
from xarray import DataArray, Dataset

TOTAL = "total"


class Crossed:
    """The overall intercept ``b0`` ~ N(0, `sd`) and the effects of factors, N(0, sd of the factor).

    Parameters
    ----------
    sd : float
    factors : mapping of str to str
        Names of the factors' effects, and of the variables that are their standard deviations.
    """

    def __init__(self, sd: float, factors: Mapping[str, str]) -> None:
        self.sd, self.factors = sd, factors

    def write(
        self, model: pm.Model, dims: Sequence[str], apart: bool
    ) -> tuple[TensorVariable, list[TensorVariable]]:
        """Write intercept and effects into a model, which has the standard deviations.

        Parameters
        ----------
        model : pymc.Model
        dims : sequence of str
            Dimension of each factor.
        apart : bool
            Whether the effects sum to zero and the intercept is the total.

        Returns
        -------
        intercept : TensorVariable
        effects : list of TensorVariable
        """
        sds = [model[name] for name in self.factors.values()]
        if not apart:
            effects = [
                pm.Normal(name, 0, sd, dims=dim)
                for name, sd, dim in zip(self.factors, sds, dims, strict=True)
            ]
            return pm.Normal("b0", 0, self.sd), effects
        sizes = [len(model.coords[dim]) for dim in dims]
        variance = sum((sd**2 / n for sd, n in zip(sds, sizes, strict=True)), self.sd**2)
        effects = [
            pm.ZeroSumNormal(name, sd, dims=dim)
            for name, sd, dim in zip(self.factors, sds, dims, strict=True)
        ]
        return pm.Normal(TOTAL, 0, pm.math.sqrt(variance)), effects

    def restore(self, draws: Dataset, seed: int) -> Dataset:
        """Intercept and effects of draws in which they are apart.

        Parameters
        ----------
        draws : xarray.Dataset
            Dims ``(chain, draw, ...)``, of a model that `write` made with ``apart=True``.
        seed : int
        """
        rng = np.random.default_rng(seed)
        total = draws[TOTAL]
        variances = [DataArray(self.sd**2)]
        for name, sd in self.factors.items():
            (dim,) = set(draws[name].dims) - set(total.dims)
            variances.append(draws[sd] ** 2 / draws.sizes[dim])
        free = [total.copy(data=rng.normal(size=total.shape)) * np.sqrt(v) for v in variances]
        missing = (total - sum(free)) / sum(variances)
        intercept, *means = (x + v * missing for x, v in zip(free, variances, strict=True))
        effects = {name: draws[name] + m for name, m in zip(self.factors, means, strict=True)}
        return draws.drop_vars(TOTAL).assign({"b0": intercept, **effects})
