"""A sampler in one file: Langevin dynamics split as BAOAB, exact in the position of a normal.

The dynamics are those of SGHMC, underdamped Langevin with a constant friction. SGHMC follows them
by a kick that holds friction and noise, and a drift; here friction and noise have a step O of their
own, amid the drift. Prints the posterior variance of a regression by both: on minibatches with the
step size that the warm-up finds, and on all rows with longer and longer steps.

    uv run examples/baoab.py
"""

from collections.abc import Mapping

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from pytensor.tensor.variable import TensorVariable

from pymc_sgmcmc import SGHMC, WarmUp
from pymc_sgmcmc.dynamics import MomentumDynamics, Transition
from pymc_sgmcmc.dynamics.base import heating, leapfrog_bias
from pymc_sgmcmc.pymc_step.step import StochasticGradientStep
from pymc_sgmcmc.settings import settings


@settings
class BAOABDynamics(MomentumDynamics):
    r"""Underdamped Langevin dynamics with a constant friction D, split B-A-O-A.

    .. math::

        d\theta = p\,dt, \qquad dp = -\nabla\tilde U\,dt - D p\,dt + \sqrt{2 D T}\,dW

    B is p ← p − h g; A is θ ← θ + h p/2; O keeps a = e^(−Dh) of the momentum and adds noise of
    variance T(1 − a²). Beginning with B, where the method's name has half of it at either end,
    takes one gradient an update and passes through the same positions. With exact gradients their
    law on a normal posterior is exp(−U/T) at every stable h. Gradient noise of variance V heats it
    by about hV/2D, as it does SGHMC.

    Leimkuhler & Matthews (2013), Rational construction of stochastic numerical methods for
    molecular sampling, Applied Mathematics Research eXpress 2013(1).

    Parameters
    ----------
    {parameters}
    """

    def bias(
        self,
        step_size: float,
        curvature: float,
        noise: np.ndarray,
        correlated: float = 0.0,
        spread: float = 10.0,
    ) -> float:
        """Largest relative error of a variance; see `Dynamics.bias`.

        The splitting's own is of order h⁴ where the posterior is not normal, and 0 where it is.
        """
        heat = heating(step_size, np.max(noise) + correlated, self.decay_rate, self.temperature)
        return leapfrog_bias(step_size, curvature) ** 2 + heat

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
        h, T = step_size, self.temperature
        friction = auxiliaries["friction"]
        a = pt.exp(-friction * h / base_step_size)
        p = auxiliaries["momentum"] - h * gradient  # B
        position = position + h / 2 * p  # A
        p = a * p + pt.sqrt(T * (1 - a**2)) * noise  # O
        position = position + h / 2 * p  # A
        return Transition(
            position, {"momentum": p, "friction": friction}, {"kinetic_temperature": pt.sqr(p)}
        )


class BAOAB(StochasticGradientStep):
    """Stochastic-gradient Langevin dynamics, split as BAOAB.

    Samples exp(-U/T), on a normal posterior with exact gradients at every stable step size;
    gradient noise of variance V raises the temperature by about hV/2D.

    Parameters
    ----------
    {parameters}

    References
    ----------
    Leimkuhler & Matthews (2013), Rational construction of stochastic numerical methods for
    molecular sampling, Applied Mathematics Research eXpress 2013(1).
    """

    name = "baoab"
    dynamics_class = BAOABDynamics


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

    print("posterior variance / exact variance", *("SGHMC", "BAOAB"), sep="\t")
    with model:
        found = [sample(sampler(batch_size=200)) for sampler in (SGHMC, BAOAB)]
        print(f"batches of 200, step sizes {found[0][0]:.2f}, {found[1][0]:.2f}", end="\t")
        print(*(f"{ratio:.3f}" for _, ratio in found), sep="\t")
        for h in (0.3, 0.6, 1.2):
            settings = {
                "step_size": h,
                "warmup": WarmUp(preconditioner="dense"),
                "steps_per_draw": 20,
            }
            ratios = [sample(sampler(**settings))[1] for sampler in (SGHMC, BAOAB)]
            print(f"all rows, step size {h:<15}", *(f"{r:.3f}" for r in ratios), sep="\t")


if __name__ == "__main__":
    main()
