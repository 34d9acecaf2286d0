"""Step methods for ``pm.sample(step=...)``.

SGLD, SGHMC, SGNHT and ATMC; other splittings of Langevin dynamics, GLA1, GLA2 and BAOAB; CCAdL.
"""

from __future__ import annotations

from typing import Any, Unpack

from pymc_sgmcmc.dynamics import (
    ATMCDynamics,
    BAOABDynamics,
    CCAdLDynamics,
    GLA1Dynamics,
    GLA2Dynamics,
    SGHMCDynamics,
    SGLDDynamics,
    SGNHTDynamics,
)
from pymc_sgmcmc.pymc_step.options import (
    ATMCOptions,
    BAOABOptions,
    CCAdLOptions,
    GLA1Options,
    GLA2Options,
    Options,
    SGHMCOptions,
    SGNHTOptions,
)
from pymc_sgmcmc.pymc_step.step import StochasticGradientStep


class SGLD(StochasticGradientStep):
    r"""Stochastic-gradient Langevin dynamics.

    .. math::

        \theta \leftarrow \theta - \tfrac{h^2}{2} \nabla\tilde U(\theta) + h \sqrt{T}\,\eta

    Samples exp(-U/T) as h → 0. At a fixed h, a direction of curvature ω² has its variance
    multiplied by 1/(1 − h²ω²/4), and gradient noise of variance V adds h²V/(4ω²).

    Parameters
    ----------
    {parameters}

    See Also
    --------
    SGHMC : With momentum and friction.
    ATMC : With a thermostat that absorbs gradient noise.
    pymc_sgmcmc.diagnose : Whether the draws are to be trusted.

    Notes
    -----
    h² is the ε of Welling & Teh (2011), and h²/2 the ``step_size`` of BlackJAX's ``sgld``.

    References
    ----------
    Welling & Teh (2011), Bayesian learning via stochastic gradient Langevin dynamics, ICML.

    Examples
    --------
    >>> import numpy as np
    >>> import pymc as pm
    >>> from pymc_sgmcmc import SGLD
    >>> rows = np.random.default_rng(0).normal(3, 2, size=10_000)
    >>> with pm.Model():
    ...     mu = pm.Normal("mu", 0, 10)
    ...     y = pm.Normal("y", mu, 2, observed=rows)
    ...     step = SGLD(batch_size=100)
    ...     idata = pm.sample(200, tune=200, step=step, random_seed=1, progressbar=False)

    The posterior's mean is that of the rows, and its standard deviation 2/√10,000:

    >>> round(float(idata.posterior["mu"].mean()), 1), round(float(idata.posterior["mu"].std()), 2)
    (3.0, 0.02)
    """

    name = "sgld"
    dynamics_class = SGLDDynamics

    def __init__(self, vars: Any = None, **options: Unpack[Options]) -> None:
        super().__init__(vars, **options)


class SGHMC(StochasticGradientStep):
    r"""Stochastic-gradient Hamiltonian Monte Carlo.

    .. math::

        d\theta = p\,dt, \qquad dp = -\nabla\tilde U\,dt - D p\,dt + \sqrt{2 D T}\,dW

    with the friction solved exactly and one gradient an update. Samples exp(-U/T) as h → 0 with
    exact gradients; gradient noise of variance V raises the temperature by hV/2D.
    With a `speed_limit` c, θ moves by p/√(1 + p²/c²) instead of p, and friction acts on that.

    Parameters
    ----------
    {parameters}

    See Also
    --------
    SGLD : Without momentum.
    BAOAB : The same dynamics, exact on a normal posterior.
    SGNHT : Its friction adapts to the gradient noise.
    pymc_sgmcmc.diagnose : Whether the draws are to be trusted.

    Notes
    -----
    h² is the η of Chen et al. (2014), equation 15, and 1 − momentum_decay about their α.

    References
    ----------
    Chen, Fox & Guestrin (2014), Stochastic gradient Hamiltonian Monte Carlo, ICML.
    Lu et al. (2017), Relativistic Monte Carlo, AISTATS.

    Examples
    --------
    >>> import numpy as np
    >>> import pymc as pm
    >>> from pymc_sgmcmc import SGHMC
    >>> rows = np.random.default_rng(0).normal(3, 2, size=10_000)
    >>> with pm.Model():
    ...     mu = pm.Normal("mu", 0, 10)
    ...     y = pm.Normal("y", mu, 2, observed=rows)
    ...     step = SGHMC(batch_size=100, temperature=0.25)
    ...     idata = pm.sample(200, tune=200, step=step, random_seed=1, progressbar=False)

    At a quarter of the temperature, the standard deviation is half the posterior's 0.02:

    >>> round(float(idata.posterior["mu"].std()), 2)
    0.01
    """

    name = "sghmc"
    dynamics_class = SGHMCDynamics

    def __init__(self, vars: Any = None, **options: Unpack[SGHMCOptions]) -> None:
        super().__init__(vars, **options)


class GLA1(StochasticGradientStep):
    r"""Geometric Langevin algorithm of first order: kick, drift, friction.

    .. math::

        d\theta = p\,dt, \qquad dp = -\nabla\tilde U\,dt - D p\,dt + \sqrt{2 D T}\,dW

    split B-A-O: a symplectic Euler step, then friction and its noise, exactly. Samples exp(-U/T) as
    h → 0, to first order: a friction that takes λ of the momentum in an update makes variances
    λ/2 too small. Gradient noise of variance V raises the temperature by hV/2D.

    Parameters
    ----------
    {parameters}

    See Also
    --------
    GLA2 : Of second order, for the same gradients: take that.
    BAOAB : Of second order, with the smaller error.
    pymc_sgmcmc.diagnose : Whether the draws are to be trusted.

    Notes
    -----
    The default sampler of TATi, ``GeometricLangevinAlgorithm_1stOrder``. It is here to be compared.

    References
    ----------
    Bou-Rabee & Owhadi (2010), Long-run accuracy of variational integrators in the stochastic
    context, SIAM Journal on Numerical Analysis 48.

    Examples
    --------
    >>> import numpy as np
    >>> import pymc as pm
    >>> from pymc_sgmcmc import GLA1
    >>> rows = np.random.default_rng(0).normal(3, 2, size=10_000)
    >>> with pm.Model():
    ...     mu = pm.Normal("mu", 0, 10)
    ...     y = pm.Normal("y", mu, 2, observed=rows)
    ...     step = GLA1(batch_size=100)
    ...     idata = pm.sample(200, tune=200, step=step, random_seed=1, progressbar=False)
    >>> round(float(idata.posterior["mu"].mean()), 1), round(float(idata.posterior["mu"].std()), 2)
    (3.0, 0.02)
    """

    name = "gla1"
    dynamics_class = GLA1Dynamics

    def __init__(self, vars: Any = None, **options: Unpack[GLA1Options]) -> None:
        super().__init__(vars, **options)


class GLA2(StochasticGradientStep):
    r"""Geometric Langevin algorithm of second order: leapfrog, friction.

    .. math::

        d\theta = p\,dt, \qquad dp = -\nabla\tilde U\,dt - D p\,dt + \sqrt{2 D T}\,dW

    split B-O-B-A, which passes through the positions of a leapfrog step B-A-B followed by friction
    and its noise, exactly. Samples exp(-U/T) as h → 0; a direction of curvature ω² has its variance
    multiplied by 1/(1 − h²ω²/4) at any friction. Gradient noise of variance V raises the
    temperature by hV/2D.

    Parameters
    ----------
    {parameters}

    See Also
    --------
    SGHMC : The same error at little friction, and more at much.
    BAOAB : The smaller error, for the same gradients.
    pymc_sgmcmc.diagnose : Whether the draws are to be trusted.

    References
    ----------
    Bou-Rabee & Owhadi (2010), Long-run accuracy of variational integrators in the stochastic
    context, SIAM Journal on Numerical Analysis 48.

    Examples
    --------
    >>> import numpy as np
    >>> import pymc as pm
    >>> from pymc_sgmcmc import GLA2
    >>> rows = np.random.default_rng(0).normal(3, 2, size=10_000)
    >>> with pm.Model():
    ...     mu = pm.Normal("mu", 0, 10)
    ...     y = pm.Normal("y", mu, 2, observed=rows)
    ...     step = GLA2(batch_size=100)
    ...     idata = pm.sample(200, tune=200, step=step, random_seed=1, progressbar=False)
    >>> round(float(idata.posterior["mu"].mean()), 1), round(float(idata.posterior["mu"].std()), 2)
    (3.0, 0.02)
    """

    name = "gla2"
    dynamics_class = GLA2Dynamics

    def __init__(self, vars: Any = None, **options: Unpack[GLA2Options]) -> None:
        super().__init__(vars, **options)


class BAOAB(StochasticGradientStep):
    r"""Stochastic-gradient Langevin dynamics, split as BAOAB.

    .. math::

        d\theta = p\,dt, \qquad dp = -\nabla\tilde U\,dt - D p\,dt + \sqrt{2 D T}\,dW

    split into half a kick, half a drift, friction with its noise, and the halves again.
    Samples exp(-U/T) as h → 0, and on a normal posterior with exact gradients at every stable h: it
    takes longer steps than `SGHMC` where gradients are exact or have a control variate. Gradient
    noise of variance V raises the temperature by hV/2D, as it does SGHMC's.

    Parameters
    ----------
    {parameters}

    See Also
    --------
    SGHMC : The same dynamics, with the usual error of a finite step.
    GLA2 : The same dynamics, as a leapfrog step and friction.
    SGNHT : Absorbs gradient noise.
    pymc_sgmcmc.diagnose : Whether the draws are to be trusted.

    References
    ----------
    Leimkuhler & Matthews (2013), Rational construction of stochastic numerical methods for
    molecular sampling, Applied Mathematics Research eXpress 2013(1).

    Examples
    --------
    >>> import numpy as np
    >>> import pymc as pm
    >>> from pymc_sgmcmc import BAOAB
    >>> X, noise = np.split(np.random.default_rng(0).normal(size=(5_000, 6)), [5], axis=1)
    >>> with pm.Model():
    ...     slopes = pm.Normal("slopes", 0, 1, shape=5)
    ...     y = pm.Normal("y", pm.Data("X", X) @ slopes, 1, observed=X.sum(1) + noise[:, 0])
    ...     step = BAOAB(batch_size=500)
    ...     idata = pm.sample(200, tune=200, step=step, random_seed=1, progressbar=False)
    >>> round(float(idata.posterior["slopes"].mean()), 1)
    1.0
    """

    name = "baoab"
    dynamics_class = BAOABDynamics

    def __init__(self, vars: Any = None, **options: Unpack[BAOABOptions]) -> None:
        super().__init__(vars, **options)


class SGNHT(StochasticGradientStep):
    r"""Stochastic-gradient Nosé-Hoover thermostats.

    .. math::

        d\theta = p\,dt, \quad dp = -\nabla\tilde U\,dt - (D + h\zeta) p\,dt + \sqrt{2 D T}\,dW,
        \quad d\zeta \propto p^2 - T

    Samples exp(-U/T) as h → 0, with the gradient noise absorbed by the friction hζ, which settles
    at hV/2T for gradient noise of variance V. With a `speed_limit` c, θ moves by
    v = p/√(1 + p²/c²) instead of p, friction acts on that, and dζ ∝ v² − T (v/p)³.

    Parameters
    ----------
    {parameters}

    See Also
    --------
    SGHMC : With a constant friction.
    ATMC : Injects only the noise that the gradient lacks, and bounds the speed.
    pymc_sgmcmc.diagnose : Whether the draws are to be trusted.

    References
    ----------
    Ding et al. (2014), Bayesian sampling using stochastic gradient thermostats, NeurIPS.

    Examples
    --------
    >>> import numpy as np
    >>> import pymc as pm
    >>> from pymc_sgmcmc import SGNHT
    >>> X, noise = np.split(np.random.default_rng(0).normal(size=(5_000, 21)), [20], axis=1)
    >>> with pm.Model():
    ...     slopes = pm.Normal("slopes", 0, 1, shape=20)
    ...     y = pm.Normal("y", pm.Data("X", X) @ slopes, 1, observed=X.sum(1) + noise[:, 0])
    ...     step = SGNHT(batch_size=100)
    ...     idata = pm.sample(100, tune=100, step=step, random_seed=1, progressbar=False)
    >>> round(float(idata.posterior["slopes"].mean()), 1)
    1.0

    The thermostat keeps the momenta at a temperature of 1:

    >>> round(float(idata.sample_stats["kinetic_temperature"].mean()), 1)
    1.0
    """

    name = "sgnht"
    dynamics_class = SGNHTDynamics

    def __init__(self, vars: Any = None, **options: Unpack[SGNHTOptions]) -> None:
        super().__init__(vars, **options)


class CCAdL(StochasticGradientStep):
    r"""Covariance-controlled adaptive Langevin dynamics.

    .. math::

        d\theta &= p\,dt, \qquad d\zeta \propto \tfrac{1}{d} p^\top p - T \\
        dp &= -\nabla\tilde U\,dt - \bigl(D + \tfrac{h}{2T}\Sigma + h\zeta\bigr) p\,dt
        + \sqrt{2 D T}\,dW

    Samples exp(-U/T) as h → 0. Σ is the variance of each parameter's gradient noise, measured
    during the run, whose heat its friction takes up; one thermostat ζ for all parameters takes up
    what is left.

    Parameters
    ----------
    {parameters}

    See Also
    --------
    SGNHT : A thermostat for each parameter, which needs no Σ.
    ATMC : Injects only the noise that the gradient lacks, and bounds the speed.
    pymc_sgmcmc.diagnose : Whether the draws are to be trusted.

    References
    ----------
    Shang, Zhu, Leimkuhler & Storkey (2015), Covariance-controlled adaptive Langevin thermostat for
    large-scale Bayesian sampling, NeurIPS.

    Examples
    --------
    >>> import numpy as np
    >>> import pymc as pm
    >>> from pymc_sgmcmc import CCAdL
    >>> X, noise = np.split(np.random.default_rng(0).normal(size=(5_000, 21)), [20], axis=1)
    >>> with pm.Model():
    ...     slopes = pm.Normal("slopes", 0, 1, shape=20)
    ...     y = pm.Normal("y", pm.Data("X", X) @ slopes, 1, observed=X.sum(1) + noise[:, 0])
    ...     step = CCAdL(batch_size=100)
    ...     idata = pm.sample(100, tune=100, step=step, random_seed=1, progressbar=False)
    >>> round(float(idata.posterior["slopes"].mean()), 1)
    1.0

    Friction keeps the momenta at a temperature of 1:

    >>> round(float(idata.sample_stats["kinetic_temperature"].mean()), 1)
    1.0
    """

    name = "ccadl"
    dynamics_class = CCAdLDynamics

    def __init__(self, vars: Any = None, **options: Unpack[CCAdLOptions]) -> None:
        super().__init__(vars, **options)


class ATMC(StochasticGradientStep):
    r"""Adaptive Thermostat Monte Carlo.

    .. math::

        d\theta = v\,dt, \quad dp = -\nabla\tilde U\,dt - \max(D, \xi)\,v\,dt
        + \sqrt{2 \max(D - \xi, 0)\,T}\,dW, \quad d\xi \propto v^2 - T u^{-3}

    with v = p/u and u = √(1 + p²/c²), whose speed never exceeds c. Samples exp(-U/T) as h → 0.
    The thermostat ξ of each parameter settles at hV/2T, the friction that balances gradient noise
    of variance V; noise is injected only as far as the gradient's own falls short of D.

    Parameters
    ----------
    {parameters}

    See Also
    --------
    SGNHT : Thermostats with Gaussian momenta and constant noise.
    pymc_sgmcmc.sample : Many chains, and draws that survive Ctrl-C.
    pymc_sgmcmc.diagnose : Whether the draws are to be trusted.
    pymc_sgmcmc.predict : Predictions for new rows.

    References
    ----------
    Heek & Kalchbrenner (2019), Bayesian inference for large scale image classification,
    arXiv:1908.03491.

    Examples
    --------
    >>> import numpy as np
    >>> import pymc as pm
    >>> from pymc_sgmcmc import ATMC
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(20_000, 2))
    >>> y = rng.random(20_000) < 1 / (1 + np.exp(-X @ [1, -1]))
    >>> with pm.Model():
    ...     slopes = pm.Normal("slopes", 0, 1, shape=2)
    ...     outcome = pm.Bernoulli("y", logit_p=pm.Data("X", X) @ slopes, observed=y)
    ...     step = ATMC(batch_size=200)
    ...     idata = pm.sample(100, tune=100, step=step, random_seed=1, progressbar=False)
    >>> idata.posterior["slopes"].mean(("chain", "draw")).values.round(1).tolist()
    [1.0, -1.0]
    """

    name = "atmc"
    dynamics_class = ATMCDynamics

    def __init__(self, vars: Any = None, **options: Unpack[ATMCOptions]) -> None:
        super().__init__(vars, **options)
