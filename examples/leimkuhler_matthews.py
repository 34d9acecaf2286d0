"""A sampler in one file: SGLD with the noise of two updates, exact on a normal posterior.

SGLD adds fresh noise to every step down the gradient. Here every step has half of the noise of the
one before and half of its own, which leaves a normal posterior as it is at any stable step size.
Prints the posterior variance of a regression by both: on minibatches with the step size that the
warm-up finds, and on all rows with longer and longer steps.

    uv run examples/leimkuhler_matthews.py
"""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import pymc as pm
from pytensor.tensor.variable import TensorVariable

from pymc_sgmcmc import SGLD, WarmUp
from pymc_sgmcmc.dynamics import Dynamics, Transition
from pymc_sgmcmc.dynamics.base import leapfrog_bias
from pymc_sgmcmc.pymc_step.step import StochasticGradientStep
from pymc_sgmcmc.settings import settings


@settings
class LeimkuhlerMatthewsDynamics(Dynamics):
    r"""Overdamped Langevin dynamics, with noise that is averaged over two updates.

    .. math::

        \theta \leftarrow \theta - \tfrac{h^2}{2} \nabla\tilde U(\theta)
        + h \sqrt{T}\, \tfrac{1}{2} (\eta_{\text{last}} + \eta)

    With exact gradients it leaves exp(−U/T) on a normal posterior at every h below 2/ω, and on any
    up to an error of order h⁴. Gradient noise of variance V adds h²V/(4ω²) to a variance, as it
    does in SGLD. It is BAOAB where friction makes a momentum anew in every update.

    Leimkuhler & Matthews (2013), Rational construction of stochastic numerical methods for
    molecular sampling, Applied Mathematics Research eXpress 2013(1), section 3.

    Parameters
    ----------
    {parameters}
    """

    auxiliaries: ClassVar[tuple[str, ...]] = ("last_noise",)

    def init(self, position: TensorVariable, noise: TensorVariable) -> dict[str, TensorVariable]:
        """Noise of the update before the first; see `Dynamics.init`."""
        return {"last_noise": noise.astype(position.dtype)}

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
        error = leapfrog_bias(step_size, curvature)
        heat = step_size**2 * (np.max(noise) + correlated) / (4 * self.temperature)
        return error**2 + heat

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
        average = (auxiliaries["last_noise"] + noise) / 2
        position = position - drift + step_size * self.temperature**0.5 * average
        return Transition(position, {"last_noise": noise}, {})


class LeimkuhlerMatthews(StochasticGradientStep):
    """Stochastic-gradient Langevin dynamics with the noise of two updates.

    Samples exp(-U/T), on a normal posterior with exact gradients at every stable step size;
    gradient noise of variance V adds h²V/(4ω²) to a variance.

    Parameters
    ----------
    {parameters}

    References
    ----------
    Leimkuhler & Matthews (2013), Rational construction of stochastic numerical methods for
    molecular sampling, Applied Mathematics Research eXpress 2013(1).
    """

    name = "leimkuhler_matthews"
    dynamics_class = LeimkuhlerMatthewsDynamics


def build_model(rng: np.random.Generator) -> tuple[pm.Model, np.ndarray]:
    """A linear regression on 2,000 rows, and the variances of its normal posterior."""
    X = rng.normal(size=(2000, 8)) @ rng.normal(size=(8, 8))
    y = X @ rng.normal(size=8) + rng.normal(size=2000)
    with pm.Model() as model:
        slope = pm.Normal("slope", 0, 1, shape=8)
        pm.Normal("y", pm.Data("X", X) @ slope, 1, observed=y)
    return model, np.diag(np.linalg.inv(X.T @ X + np.eye(8)))


def main() -> None:
    model, exact = build_model(np.random.default_rng(0))

    def sample(step: StochasticGradientStep) -> tuple[float, float]:
        """Step size, and posterior variance over the exact one, averaged over the slopes."""
        idata = pm.sample(2000, tune=500, chains=8, step=step, random_seed=0, progressbar=False)
        variance = idata.posterior["slope"].var(("chain", "draw"))
        return idata.posterior.attrs["step_size"], float((variance / exact).mean())

    samplers = (SGLD, LeimkuhlerMatthews)
    print("posterior variance / exact variance", *(s.__name__ for s in samplers), sep="\t")
    with model:
        found = [sample(sampler(batch_size=200)) for sampler in samplers]
        print(f"batches of 200, step sizes {found[0][0]:.2f}, {found[1][0]:.2f}", end="\t")
        print(*(f"{ratio:.3f}" for _, ratio in found), sep="\t")
        for h in (0.3, 0.6, 1.2):
            settings = {
                "step_size": h,
                "warmup": WarmUp(preconditioner="dense"),
                "steps_per_draw": 20,
            }
            ratios = [sample(sampler(**settings))[1] for sampler in samplers]
            print(f"all rows, step size {h:<15}", *(f"{r:.3f}" for r in ratios), sep="\t")


if __name__ == "__main__":
    main()
