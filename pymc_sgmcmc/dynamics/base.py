"""The contract of a sampler's dynamics, and the steps that their splittings share."""

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
import pytensor.tensor as pt
from pytensor.tensor.variable import TensorVariable

from pymc_sgmcmc.arguments import number
from pymc_sgmcmc.settings import Settings, setting, settings

# Names that engines give to what they keep of a chain, and of a draw.
OF_STATES = {"position", "finite_position", "origin", "key", "update", "rejected_in_a_row"}
OF_DRAWS = {
    *("potential_energy", "gradient_norm", "configurational_temperature"),
    *("step_size", "rejected", "accepted"),
}


class Transition(NamedTuple):
    """Outcome of one update.

    Parameters
    ----------
    position : TensorVariable
        New position, shape ``(d,)``.
    auxiliaries : dict of str to TensorVariable
        New momentum and thermostat, shape ``(d,)`` each.
    statistics : dict of str to TensorVariable
        Of this update: the mean of the vector is recorded, shape ``(d,)`` each.
    """

    position: TensorVariable
    auxiliaries: dict[str, TensorVariable]
    statistics: dict[str, TensorVariable]


@settings
class Dynamics(Settings, ABC):
    """A stochastic differential equation and the splitting that follows it, at unit mass.

    Its fields are settings of the sampler: arguments of its step, as they are declared here.

    Parameters
    ----------
    {parameters}
    """

    temperature: float = setting(
        1.0,
        "float, default 1",
        "T of the sampled law, proportional to exp(-U/T); 1 is the posterior.",
        partial(number, low=0, closed=True),
    )

    auxiliaries: ClassVar[tuple[str, ...]] = ()
    """Names of the vectors that the state holds besides the position. After an update that is
    rejected the one that is named ``momentum`` is drawn afresh, wherever it stands; others stay."""
    statistics: ClassVar[tuple[str, ...]] = ()
    """Names of the scalars that every update reports."""

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        for what, taken in (("auxiliaries", OF_STATES), ("statistics", OF_DRAWS)):
            names = getattr(cls, what)
            if isinstance(names, str) or len(set(names)) < len(names):
                raise TypeError(
                    f"{cls.__name__}.{what} must be a tuple of names that differ, got {names!r}: "
                    'write ("momentum",).'
                )
            if same := taken & set(names):
                raise TypeError(
                    f"{cls.__name__}.{what} has {', '.join(map(repr, sorted(same)))}: engines use "
                    f"{', '.join(sorted(taken))} themselves. Rename it."
                )

    def init(self, position: TensorVariable, noise: TensorVariable) -> dict[str, TensorVariable]:
        """Auxiliaries at the start of a chain; after a rejected update, the momentum among them.

        Parameters
        ----------
        position, noise : TensorVariable
            Shape ``(d,)``: where the chain starts, or returns to, and standard normal noise.

        Returns
        -------
        dict of str to TensorVariable
            The momentum from N(0, T); no friction besides the injected one.
        """
        zero = pt.zeros_like(noise)
        fresh = {"momentum": self.temperature**0.5 * noise, "thermostat": zero, "friction": zero}
        for name in self.auxiliaries:
            if name not in fresh:
                raise NotImplementedError(
                    f"{type(self).__name__} has an auxiliary {name!r} and does not say where it "
                    f"starts: write its method init, which returns a dict with {name!r}."
                )
        return {name: fresh[name].astype(position.dtype) for name in self.auxiliaries}

    @abstractmethod
    def friction(self, step_size: float, noise: np.ndarray) -> np.ndarray:
        """Momentum lost to friction in one update, β h.

        Parameters
        ----------
        step_size : float
            h, constant.
        noise : ndarray
            Variance V of the gradient noise of each parameter, which thermostats adapt to.

        Returns
        -------
        ndarray
        """

    @abstractmethod
    def bias(
        self,
        step_size: float,
        curvature: float,
        noise: np.ndarray,
        correlated: float = 0.0,
        spread: float = 10.0,
    ) -> float:
        """Largest relative error of a variance that a step size leaves, as far as it depends on h.

        Of coordinates in which the posterior is about a standard normal.

        Parameters
        ----------
        step_size : float
            h, constant.
        curvature : float
            Largest ω² of any direction.
        noise : ndarray
            Variance V of the gradient noise of each parameter.
        correlated : float
            Variance of the noise in any direction, beyond what `noise` explains; no thermostat
            absorbs it.
        spread : float
            Variance of V over positions, over V². About 10 is the greatest that was measured: that
            of regressions with a control variate.

        Returns
        -------
        float
            Increases with `step_size`, from 0 at 0.
        """

    def correlation(
        self, step_size: float, noise: np.ndarray, updates: np.ndarray, curvature: float = 1.0
    ) -> np.ndarray:
        """Autocorrelation of the position in a direction of some curvature, after some updates.

        That of a harmonic oscillator with the friction β: the longest over the parameters.

        Parameters
        ----------
        step_size : float
            h, constant.
        noise : ndarray
            Variance V of the gradient noise of each parameter.
        updates : ndarray
            Numbers of updates.
        curvature : float
            ω² of the direction.

        Returns
        -------
        ndarray
            Same shape as `updates`.
        """
        half = np.max(self.friction(step_size, noise)) / step_size / 2  # β/2
        root = np.emath.sqrt(half**2 - curvature * (1 - 1e-9j))
        fast, slow = half + root, half - root
        t = step_size * np.asarray(updates)
        return ((fast * np.exp(-slow * t) - slow * np.exp(-fast * t)) / (fast - slow)).real

    def settled(self, step_size: float, noise: np.ndarray) -> dict[str, np.ndarray]:
        """Auxiliaries, besides the momentum, that have adapted to gradient noise of variance V.

        Parameters
        ----------
        step_size : float
            h₀.
        noise : ndarray
            V of each parameter.

        Returns
        -------
        dict of str to ndarray
            Same shape as `noise` each; empty for dynamics that do not adapt.
        """
        return {}

    @abstractmethod
    def transition(
        self,
        position: TensorVariable,
        auxiliaries: Mapping[str, TensorVariable],
        gradient: TensorVariable,
        noise: TensorVariable,
        step_size: TensorVariable,
        base_step_size: TensorVariable,
    ) -> Transition:
        """One update.

        Parameters
        ----------
        position : TensorVariable
            Shape ``(d,)``.
        auxiliaries : mapping of str to TensorVariable
            Shape ``(d,)`` each.
        gradient : TensorVariable
            Estimate of ∇U at `position`, shape ``(d,)``.
        noise : TensorVariable
            Standard normal, shape ``(d,)``.
        step_size, base_step_size : TensorVariable
            Scalars: h of this update, and the h₀ that its schedule multiplies.

        Returns
        -------
        Transition
        """


def kick(
    momentum: TensorVariable,
    gradient: TensorVariable,
    noise: TensorVariable,
    step_size: TensorVariable,
    friction: TensorVariable,
    injected: TensorVariable,
    temperature: float,
) -> TensorVariable:
    r"""B step: gradient, friction and injected noise together, solved exactly at a fixed position.

    .. math::

        dp = -g\,dt - \beta p\,dt + \sqrt{2 \alpha T}\,dW

    Parameters
    ----------
    momentum, gradient, noise : TensorVariable
        p, g and a standard normal vector, shape ``(d,)``.
    step_size : TensorVariable
        h.
    friction : TensorVariable
        β, per unit of time; may be negative.
    injected : TensorVariable
        α, the friction whose heat bath the injected noise stands for.
    temperature : float
        T.

    Returns
    -------
    TensorVariable
        p after h, an Ornstein-Uhlenbeck step, shape ``(d,)``.
    """
    x = friction * step_size
    fraction = decayed_fraction(x)
    lost = x * fraction  # 1 − e⁻ˣ
    drift = step_size * fraction * gradient
    variance = temperature * injected * step_size * fraction * (2 - lost)  # ∝ (1 − e⁻²ˣ)/x
    return (1 - lost) * momentum - drift + pt.sqrt(variance) * noise


def decayed_fraction(x: TensorVariable) -> TensorVariable:
    r"""φ(x) = (1 − e⁻ˣ)/x, to 1e-15 up to x = 0.5, 1e-11 up to 1 and 1e-5 up to 4.

    From the Padé approximant [5/6] of e⁻ˣ: compilers make vector instructions of a quotient of
    polynomials, and of an exponential not always. It falls to 0 as x rises, and a kick with any φ
    between 0 and 2/x leaves the same law of the momentum invariant.
    """
    over = (1, 1 / 22, 1 / 33, 1 / 792, 1 / 7920, 1 / 332640)
    under = (1, 6 / 11, 3 / 22, 2 / 99, 1 / 528, 1 / 9240, 1 / 332640)
    return _polynomial(over, x) / _polynomial(under, x)


def _polynomial(coefficients: tuple[float, ...], x: TensorVariable) -> TensorVariable:
    *others, before, last = coefficients
    value = before + x * last
    for coefficient in reversed(others):
        value = coefficient + x * value
    return value


def _momentum_decay(name: str, value: Any) -> float | str:
    if isinstance(value, str) and value == "auto":
        return value
    return number(name, value, low=0, high=1, otherwise=', or "auto"')


@settings
class MomentumDynamics(Dynamics):
    """Dynamics of a position and a momentum, from which friction takes a part in every update.

    Parameters
    ----------
    {parameters}
    """

    momentum_decay: float | Literal["auto"] = setting(
        "auto",
        'float or "auto"',
        """Factor by which friction shrinks the momentum in one update; D = −log(momentum_decay)/h.
        "auto" has the warm-up choose it together with the step size, for the fewest updates per
        independent draw: softer directions need less friction, gradient noise needs more. Where
        there is no warm-up it is 0.9, and 0.99 for `GLA1`.""",
        _momentum_decay,
    )

    usual_decay: ClassVar[float] = 0.9
    """Where nothing is known of the posterior's shape: right in coordinates in which it is about
    standard normal, and steps are about a tenth of it."""
    auxiliaries: ClassVar[tuple[str, ...]] = ("momentum", "friction")
    statistics: ClassVar[tuple[str, ...]] = ("kinetic_temperature",)

    @property
    def decay(self) -> float:
        """Momentum decay that is in use: the usual one where none was given or found."""
        given = self.momentum_decay
        return self.usual_decay if isinstance(given, str) else given

    @property
    def decay_rate(self) -> float:
        """λ = −log momentum_decay, the momentum that constant friction takes in one update."""
        return -math.log(self.decay)

    def with_decay(self, momentum_decay: float) -> Self:
        """Give these dynamics with a momentum decay that was found."""
        return dataclasses.replace(self, momentum_decay=momentum_decay)

    def init(self, position: TensorVariable, noise: TensorVariable) -> dict[str, TensorVariable]:
        """Auxiliaries at the start of a chain; see `Dynamics.init`. The friction is λ."""
        fresh = super().init(position, noise)
        return fresh | {"friction": pt.full_like(position, self.decay_rate)}

    def friction(self, step_size: float, noise: np.ndarray) -> np.ndarray:
        """Momentum lost to friction in one update; see `Dynamics.friction`."""
        return np.full(np.shape(noise), self.decay_rate)

    def friction_bias(self) -> float:
        """Relative error of a variance that friction leaves by itself, however small the step.

        Of a momentum that follows `kick`, which holds the gradient while friction acts.

        Returns
        -------
        float
            (λ/2) coth(λ/2) − 1, with λ the momentum that friction takes in one update.
        """
        half = self.decay_rate / 2
        return half / math.tanh(half) - 1

    def settled(self, step_size: float, noise: np.ndarray) -> dict[str, np.ndarray]:
        """The friction that was found; see `Dynamics.settled`."""
        return {"friction": np.full(np.shape(noise), self.decay_rate)}


def ornstein_uhlenbeck(
    momentum: TensorVariable,
    noise: TensorVariable,
    step_size: TensorVariable,
    friction: TensorVariable,
    temperature: float,
) -> TensorVariable:
    r"""O step: friction and injected noise alone, solved exactly.

    .. math::

        dp = -D p\,dt + \sqrt{2 D T}\,dW, \qquad
        p \leftarrow a p + \sqrt{T (1 - a^2)}\,\eta, \quad a = e^{-Dh}

    Parameters
    ----------
    momentum, noise : TensorVariable
        p and a standard normal vector η, shape ``(d,)``.
    step_size : TensorVariable
        h.
    friction : TensorVariable
        D, per unit of time.
    temperature : float
        T.

    Returns
    -------
    TensorVariable
        p after h, shape ``(d,)``.
    """
    kept = pt.exp(-friction * step_size)
    return kept * momentum + pt.sqrt(temperature * (1 - pt.sqr(kept))) * noise


def leapfrog_bias(step_size: float, curvature: float) -> float:
    """Relative error h²ω²/4 of a variance from following a curved potential in steps of h."""
    return step_size**2 * curvature / 4


def heating(step_size: float, noise: np.ndarray | float, decay: float, temperature: float) -> float:
    """Relative rise hV/2D of a temperature that gradient noise brings where nothing adapts.

    `decay` is Dh, the momentum that constant friction takes in one update.
    """
    return step_size**2 * float(np.max(noise)) / (2 * decay * temperature)


def thermostat_bias(friction: np.ndarray, decay: float, heat: float) -> float:
    """Error of a variance that a thermostat leaves.

    Where the kinetic temperature is held, a friction of x = βh in one update leaves the factor
    (x/2) coth(x/2); noise that is correlated between parameters heats some directions by `heat`.
    """
    x, alone = float(np.max(friction)) / 2, decay / 2
    return x / math.tanh(x) - alone / math.tanh(alone) + heat
