"""Step methods for ``pm.sample(step=...)``: SGLD, SGHMC, SGNHT and ATMC."""

from __future__ import annotations

from typing import Any, Literal, Unpack

from pymc_sgmcmc.dynamics import ATMCDynamics, SGHMCDynamics, SGLDDynamics, SGNHTDynamics
from pymc_sgmcmc.stepping import Options, StochasticGradientStep


class SGLD(StochasticGradientStep):
    r"""Stochastic-gradient Langevin dynamics.

    .. math::

        \theta \leftarrow \theta - \tfrac{{h^2}}{{2}} \nabla\tilde U(\theta) + h \sqrt{{T}}\,\eta

    Samples exp(-U/T) as h → 0. At a fixed h, a direction of curvature ω² has its variance
    multiplied by 1/(1 − h²ω²/4), and gradient noise of variance V adds h²V/(4ω²).

    Parameters
    ----------
    {common}

    Notes
    -----
    h² is the ε of Welling & Teh (2011), and h²/2 the ``step_size`` of BlackJAX's ``sgld``.

    References
    ----------
    Welling & Teh (2011), Bayesian learning via stochastic gradient Langevin dynamics, ICML.
    """

    name = "sgld"
    dynamics_class = SGLDDynamics

    def __init__(self, vars: Any = None, **options: Unpack[Options]) -> None:
        self._setup(vars, {}, options)


class SGHMC(StochasticGradientStep):
    r"""Stochastic-gradient Hamiltonian Monte Carlo.

    .. math::

        d\theta = p\,dt, \qquad dp = -\nabla\tilde U\,dt - D p\,dt + \sqrt{{2 D T}}\,dW

    with the friction solved exactly and one gradient an update. Samples exp(-U/T) as h → 0 with
    exact gradients; gradient noise of variance V raises the temperature by hV/2D.

    Parameters
    ----------
    {common}
    momentum_decay : float, default 0.9
        Factor by which friction shrinks the momentum in one update; D = −log(momentum_decay)/h.

    Notes
    -----
    h² is the η of Chen et al. (2014), equation 15, and 1 − momentum_decay about their α.

    References
    ----------
    Chen, Fox & Guestrin (2014), Stochastic gradient Hamiltonian Monte Carlo, ICML.
    """

    name = "sghmc"
    dynamics_class = SGHMCDynamics

    def __init__(
        self, vars: Any = None, *, momentum_decay: float = 0.9, **options: Unpack[Options]
    ) -> None:
        self._setup(vars, {"momentum_decay": momentum_decay}, options)


class SGNHT(StochasticGradientStep):
    r"""Stochastic-gradient Nosé-Hoover thermostats.

    .. math::

        d\theta = p\,dt, \quad dp = -\nabla\tilde U\,dt - (D + h\zeta) p\,dt + \sqrt{{2 D T}}\,dW,
        \quad d\zeta \propto p^2 - T

    Samples exp(-U/T) as h → 0, with the gradient noise absorbed by the friction hζ, which settles
    at hV/2T for gradient noise of variance V.

    Parameters
    ----------
    {common}
    momentum_decay : float, default 0.9
        Factor by which friction shrinks the momentum in one update; D = −log(momentum_decay)/h.
    thermostat_time : float, default 1000
        Updates in which the thermostat adapts.
    thermostat : {{"parameter", "scalar"}}
        One thermostat for each parameter, or one for all as in the paper.

    References
    ----------
    Ding et al. (2014), Bayesian sampling using stochastic gradient thermostats, NeurIPS.
    """

    name = "sgnht"
    dynamics_class = SGNHTDynamics

    def __init__(
        self,
        vars: Any = None,
        *,
        momentum_decay: float = 0.9,
        thermostat_time: float = 1000.0,
        thermostat: Literal["parameter", "scalar"] = "parameter",
        **options: Unpack[Options],
    ) -> None:
        settings = {
            "momentum_decay": momentum_decay,
            "thermostat_time": thermostat_time,
            "thermostat": thermostat,
        }
        self._setup(vars, settings, options)


class ATMC(StochasticGradientStep):
    r"""Adaptive Thermostat Monte Carlo.

    .. math::

        d\theta = v\,dt, \quad dp = -\nabla\tilde U\,dt - \max(D, \xi)\,v\,dt
        + \sqrt{{2 \max(D - \xi, 0)\,T}}\,dW, \quad d\xi \propto v^2 - T u^{{-3}}

    with v = p/u and u = √(1 + p²/c²), whose speed never exceeds c. Samples exp(-U/T) as h → 0.
    The thermostat ξ of each parameter settles at hV/2T, the friction that balances gradient noise
    of variance V; noise is injected only as far as the gradient's own falls short of D.

    Parameters
    ----------
    {common}
    momentum_decay : float, default 0.9
        Factor by which friction shrinks the momentum in one update; D = −log(momentum_decay)/h.
    speed_limit : float or None, default 10/3
        c: the largest displacement of a parameter in one update, in units of h. None for
        Gaussian momenta.
    thermostat_time : float, optional
        Updates in which the thermostat adapts; 1,000 when None.
    published : bool, default False
        The paper's own thermostat, of mass 1: at small step sizes it needs 10⁵ updates to
        adapt, and it does not follow a schedule of step sizes.

    References
    ----------
    Heek & Kalchbrenner (2019), Bayesian inference for large scale image classification,
    arXiv:1908.03491.
    """

    name = "atmc"
    dynamics_class = ATMCDynamics

    def __init__(
        self,
        vars: Any = None,
        *,
        momentum_decay: float = 0.9,
        speed_limit: float | None = 10 / 3,
        thermostat_time: float | None = None,
        published: bool = False,
        **options: Unpack[Options],
    ) -> None:
        settings = {
            "momentum_decay": momentum_decay,
            "speed_limit": speed_limit,
            "thermostat_time": thermostat_time,
            "published": published,
        }
        self._setup(vars, settings, options)
