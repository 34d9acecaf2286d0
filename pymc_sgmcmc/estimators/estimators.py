"""Estimators of a potential and its gradient, in the coordinates that a sampler moves in.

An estimator wraps an estimator: dynamics and engines see a gradient, not how it was made.
"""

from collections.abc import Callable, Mapping

import numpy as np
import pytensor.tensor as pt
from pytensor.tensor.variable import TensorVariable

from pymc_sgmcmc.estimators.blocks import families
from pymc_sgmcmc.model.potential import StochasticPotential

Symbols = Mapping[str, TensorVariable]
"""Parameters of an estimator, by name."""

Estimate = Callable[[TensorVariable], tuple[TensorVariable, TensorVariable]]
"""Potential energy and its gradient at a position, estimated from the rows of a batch."""


class Estimator:
    """The potential itself, at the position itself.

    Parameters
    ----------
    potential : StochasticPotential

    Attributes
    ----------
    parameters : dict of str to tuple of int
        Names and shapes of what `position` and `value_and_gradient` need to know besides their
        first argument: vectors and matrices that the warm-up finds.
    """

    def __init__(self, potential: StochasticPotential) -> None:
        self.potential = potential
        self.parameters: dict[str, tuple[int, ...]] = {}

    def position(self, coordinates: TensorVariable, parameters: Symbols) -> TensorVariable:
        """Position θ at `coordinates`, shape ``(d,)``."""
        return coordinates

    def value_and_gradient(
        self,
        coordinates: TensorVariable,
        estimate: Estimate,
        parameters: Symbols,
    ) -> tuple[TensorVariable, TensorVariable]:
        """Estimate of U in nats and of its gradient with respect to `coordinates`, ``(d,)``.

        Parameters
        ----------
        coordinates : Variable
            Shape ``(d,)``.
        estimate : callable
            The potential's own, at a position.
        parameters : mapping of str to Variable
        """
        return estimate(coordinates)


class ControlVariate(Estimator):
    r"""Estimate whose noise vanishes at a centre θ*.

    .. math::

        \tilde U(\theta) - \tilde U(\theta^*) + U(\theta^*), \qquad
        \tilde g(\theta) - \tilde g(\theta^*) + \nabla U(\theta^*)

    with the same rows in both estimates, and the terms at θ* without a tilde from all rows: as
    unbiased as the estimator that is wrapped, and less noisy as long as θ is near θ*.

    Baker, Fearnhead, Fox & Nemeth (2019), Control variates for stochastic gradient MCMC,
    Statistics and Computing 29, equation 5.

    Parameters
    ----------
    inner : Estimator
    """

    def __init__(self, inner: Estimator) -> None:
        super().__init__(inner.potential)
        self.inner = inner
        size = inner.potential.size
        self.parameters = inner.parameters | {
            "anchor": (size,),
            "anchor_value": (),
            "anchor_gradient": (size,),
        }

    def value_and_gradient(
        self,
        coordinates: TensorVariable,
        estimate: Estimate,
        parameters: Symbols,
    ) -> tuple[TensorVariable, TensorVariable]:
        """Estimate of U and of its gradient."""
        value, gradient = self.inner.value_and_gradient(coordinates, estimate, parameters)
        at_anchor = self.inner.value_and_gradient(parameters["anchor"], estimate, parameters)
        return (
            value - at_anchor[0] + parameters["anchor_value"],
            gradient - at_anchor[1] + parameters["anchor_gradient"],
        )


class Preconditioned(Estimator):
    r"""Estimate in coordinates z in which the posterior is about a standard normal.

    .. math::

        \theta = \mu + L z, \qquad \nabla_z U = L^{\mathsf T} \nabla_\theta U

    The law of θ does not depend on μ and L, and dynamics of unit mass in z are dynamics with mass
    matrix (L Lᵀ)⁻¹ in θ.

    Parameters
    ----------
    inner : Estimator
    dense : bool
        Whether L is a ``(d, d)`` matrix rather than the diagonal ``(d,)`` of one.
    axes : int, optional
        Rank k of `Axes` beside a diagonal L, if there are such.
    blocks : bool
        Whether the effects of a group are mixed; see `Blocks`.
    """

    def __init__(
        self, inner: Estimator, dense: bool, axes: int | None = None, blocks: bool = False
    ) -> None:
        super().__init__(inner.potential)
        self.inner = inner
        self._families = families(inner.potential.layout) if blocks else ()
        size = inner.potential.size
        factor = (size, size) if dense else (size,)
        self.parameters = {"centre": (size,), "factor": factor} | inner.parameters
        if axes is not None:
            self.parameters |= {"lengths": (size,)}
        if axes:
            self.parameters |= {"left": (axes, size), "right": (axes, size)}
        for i, (groups, effects) in enumerate(x.shape for x in self._families):
            self.parameters[f"block_{i}"] = (groups, effects, effects)

    def position(self, coordinates: TensorVariable, parameters: Symbols) -> TensorVariable:
        """Position θ = μ + L z, shape ``(d,)``."""
        z = coordinates
        if "lengths" in self.parameters:
            z = _along(parameters, z, "right", "left")
        for i, numbers in enumerate(self._families):
            z = _mixed(z, numbers, parameters[f"block_{i}"])
        return parameters["centre"] + _times(parameters["factor"], z)

    def value_and_gradient(
        self,
        coordinates: TensorVariable,
        estimate: Estimate,
        parameters: Symbols,
    ) -> tuple[TensorVariable, TensorVariable]:
        """Estimate of U and of its gradient."""
        position = self.position(coordinates, parameters)
        value, g = self.inner.value_and_gradient(position, estimate, parameters)
        g = _times(parameters["factor"].T, g)
        for i, numbers in enumerate(self._families):
            g = _mixed(g, numbers, parameters[f"block_{i}"].transpose(0, 2, 1))
        if "lengths" in self.parameters:
            g = _along(parameters, g, "left", "right")
        return value, g


class Clipped(Estimator):
    r"""Estimate whose gradient is shortened to a largest length: biased, and asked for by name.

    .. math::

        \tilde g \min(1, c / \lVert \tilde g \rVert)

    Parameters
    ----------
    inner : Estimator
    length : float
        c, in the coordinates of the sampler.
    """

    def __init__(self, inner: Estimator, length: float) -> None:
        super().__init__(inner.potential)
        self.inner, self.length = inner, length
        self.parameters = inner.parameters

    def position(self, coordinates: TensorVariable, parameters: Symbols) -> TensorVariable:
        """Position of the estimator that is wrapped, shape ``(d,)``."""
        return self.inner.position(coordinates, parameters)

    def value_and_gradient(
        self,
        coordinates: TensorVariable,
        estimate: Estimate,
        parameters: Symbols,
    ) -> tuple[TensorVariable, TensorVariable]:
        """Estimate of U, and the clipped one of its gradient."""
        value, gradient = self.inner.value_and_gradient(coordinates, estimate, parameters)
        longest = np.asarray(self.length, gradient.dtype)
        # Its square may overflow where the gradient does not.
        largest = pt.maximum(pt.abs(gradient).max(), longest)
        norm = largest * pt.sqrt(pt.square(gradient / largest).sum())
        return value, gradient * (longest / pt.maximum(norm, longest))


def _times(factor: TensorVariable, vector: TensorVariable) -> TensorVariable:
    return factor * vector if factor.ndim == 1 else pt.dot(factor, vector)


def _along(parameters: Symbols, vector: TensorVariable, rows: str, columns: str) -> TensorVariable:
    scaled = parameters["lengths"] * vector
    if rows not in parameters:
        return scaled
    return scaled + pt.dot(pt.dot(parameters[rows], vector), parameters[columns])


def _mixed(vector: TensorVariable, numbers: np.ndarray, blocks: TensorVariable) -> TensorVariable:
    some = numbers.ravel()
    mixed = (blocks * vector[some].reshape((len(numbers), 1, -1))).sum(2)
    return pt.set_subtensor(vector[some], mixed.ravel())
