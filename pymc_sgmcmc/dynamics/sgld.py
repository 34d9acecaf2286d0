"""Stochastic-gradient Langevin dynamics."""

from collections.abc import Mapping

import numpy as np
from pytensor.tensor.variable import TensorVariable

from pymc_sgmcmc.dynamics.base import Dynamics, Transition, leapfrog_bias
from pymc_sgmcmc.settings import settings


@settings
class SGLDDynamics(Dynamics):
    r"""Overdamped Langevin dynamics, one Euler-Maruyama step an update.

    .. math::

        \theta \leftarrow \theta - \tfrac{h^2}{2} \nabla\tilde U(\theta) + h \sqrt{T}\,\eta

    As h → 0 it leaves exp(−U/T) invariant. At a fixed h a Gaussian of curvature ω² gets the
    variance T/ω² / (1 − h²ω²/4), and gradient noise of variance V adds h²V/(4ω²) to it.

    h² is the step size ε of Welling & Teh (2011), equation 4.

    Parameters
    ----------
    {parameters}
    """

    def friction(self, step_size: float, noise: np.ndarray) -> np.ndarray:
        """Infinite: there is no momentum; see `Dynamics.friction`."""
        return np.full(np.shape(noise), np.inf)

    def bias(
        self,
        step_size: float,
        curvature: float,
        noise: np.ndarray,
        correlated: float = 0.0,
        spread: float = 10.0,
    ) -> float:
        """Largest relative error of a variance; see `Dynamics.bias`."""
        noise_bias = step_size**2 * (np.max(noise) + correlated) / (4 * self.temperature)
        return leapfrog_bias(step_size, curvature) + noise_bias

    def correlation(
        self, step_size: float, noise: np.ndarray, updates: np.ndarray, curvature: float = 1.0
    ) -> np.ndarray:
        """Autocorrelation of the position; see `Dynamics.correlation`."""
        return (1 - step_size**2 * curvature / 2) ** np.asarray(updates)

    def transition(
        self,
        position: TensorVariable,
        auxiliaries: Mapping[str, TensorVariable],
        gradient: TensorVariable,
        noise: TensorVariable,
        step_size: TensorVariable,
        base_step_size: TensorVariable,
    ) -> Transition:
        """One update; see `Dynamics.transition`."""
        drift = step_size**2 / 2 * gradient
        diffusion = step_size * self.temperature**0.5 * noise
        return Transition(position - drift + diffusion, {}, {})
