"""Priors of a layer's weights: each writes the variables that make up one weight matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from pytensor.tensor.variable import TensorVariable

from pymc_sgmcmc.arguments import number


class Prior(Protocol):
    """What a layer asks of a prior: anything with this method serves.

    See Also
    --------
    LearnedScale : The default.
    FixedScale : A scale that is known.
    GroupLaplace : Lets units that are not needed vanish.
    WeightNorm : Direction and scale of each unit apart.

    Examples
    --------
    >>> import numpy as np
    >>> import pymc as pm
    >>> from pymc_sgmcmc import nn
    >>> class LaplaceWeights:
    ...     def weights(self, name, dims, fan_in, gain):
    ...         return pm.Laplace(name, 0, gain / np.sqrt(2 * fan_in), dims=dims)
    >>> with pm.Model() as model:
    ...     layer = nn.dense(np.ones((100, 8)), 3, "layer", prior=LaplaceWeights())
    >>> print(model.str_repr())
    layer_weights ~ Laplace(0, 0.25)
    layer_bias ~ Normal(0, 1)
    """

    def weights(self, name: str, dims: tuple[str, ...], fan_in: int, gain: float) -> TensorVariable:
        """Write the weights into the model of the context.

        Parameters
        ----------
        name : str
            Name of the weights, and the beginning of the names of what they are made of.
        dims : tuple of str
            Dims ``(inputs, units)``, or ``(inputs,)`` where there is a single unit.
        fan_in : int
            Inputs of the layer.
        gain : float
            Standard deviation of a weight, times √fan_in, that suits the activation.

        Returns
        -------
        TensorVariable
            Shape of `dims`.
        """


@dataclass(frozen=True)
class FixedScale:
    """Weights from N(0, s²/fan_in).

    Parameters
    ----------
    scale : float, optional
        s. What suits the layer's activation when None: 1 for SELU (its own initialisation,
        Klambauer et al. 2017), √2 for ReLU, 5/3 for tanh.

    See Also
    --------
    LearnedScale : The scale as an unknown of the model.

    Examples
    --------
    >>> import numpy as np
    >>> import pymc as pm
    >>> from pymc_sgmcmc import nn
    >>> with pm.Model() as model:
    ...     layer = nn.dense(np.ones((100, 16)), 3, "layer", prior=nn.FixedScale(2))
    >>> print(model.str_repr())
    layer_weights ~ Normal(0, 0.5)
    layer_bias ~ Normal(0, 1)
    """

    scale: float | None = None

    def __post_init__(self) -> None:
        _check_positive("scale", self.scale)

    def weights(self, name: str, dims: tuple[str, ...], fan_in: int, gain: float) -> TensorVariable:
        """Write the weights; see `Prior`."""
        s = gain if self.scale is None else self.scale
        return pm.Normal(name, 0, s / np.sqrt(fan_in), dims=dims)


@dataclass(frozen=True)
class Isotropic:
    """Weights from N(0, sd²), whatever the fan-in.

    What the networks of Izmailov et al. (2021) have, for comparisons with them. Signals keep their
    scale only where a layer normalises them, as `frn` does.

    Parameters
    ----------
    sd : float
        Standard deviation of every weight.

    See Also
    --------
    FixedScale : One that goes with 1/√fan_in.

    Examples
    --------
    >>> import numpy as np
    >>> import pymc as pm
    >>> from pymc_sgmcmc import nn
    >>> with pm.Model() as model:
    ...     layer = nn.dense(np.ones((100, 16)), 3, "layer", prior=nn.Isotropic(0.5))
    >>> print(model.str_repr())
    layer_weights ~ Normal(0, 0.5)
    layer_bias ~ Normal(0, 1)
    """

    sd: float = 1.0

    def __post_init__(self) -> None:
        _check_positive("sd", self.sd)

    def weights(self, name: str, dims: tuple[str, ...], fan_in: int, gain: float) -> TensorVariable:
        """Write the weights; see `Prior`."""
        return pm.Normal(name, 0, self.sd, dims=dims)


@dataclass(frozen=True)
class LearnedScale:
    r"""Weights from N(0, s²/fan_in) with a half-normal s that is learned, one for each layer.

    .. math::

        s \sim \mathcal N^+(0, \texttt{scale}^2), \qquad
        w = s\, z / \sqrt{\texttt{fan\_in}}, \qquad z \sim \mathcal N(0, I)

    The variables are ``<name>_scale``, ``<name>_raw`` (z) and the Deterministic ``<name>`` (w). It
    is written non-centred: a centred posterior has its mode where all weights vanish.

    Parameters
    ----------
    scale : float
        Standard deviation of the half-normal prior of s.
    start : float, optional
        Where every chain starts s; what suits the layer's activation when None.

    See Also
    --------
    FixedScale : A scale that is known.
    GroupLaplace : A scale for each unit, with a prior that lets units vanish.
    WeightNorm : A scale for each unit, apart from its direction.

    Examples
    --------
    >>> import numpy as np
    >>> import pymc as pm
    >>> from pymc_sgmcmc import nn
    >>> with pm.Model() as model:
    ...     layer = nn.dense(np.ones((100, 16)), 3, "layer", prior=nn.LearnedScale(2))
    >>> print(model.str_repr())
    layer_weights_scale ~ HalfNormal(0, 2)
    layer_weights_raw ~ Normal(0, 1)
    layer_bias ~ Normal(0, 1)
    layer_weights = Deterministic(f(layer_weights_raw, layer_weights_scale))
    """

    scale: float = 2.0
    start: float | None = None

    def __post_init__(self) -> None:
        _check_positive("scale", self.scale)
        _check_positive("start", self.start)

    def weights(self, name: str, dims: tuple[str, ...], fan_in: int, gain: float) -> TensorVariable:
        """Write the weights; see `Prior`."""
        start = gain if self.start is None else self.start
        s = pm.HalfNormal(f"{name}_scale", self.scale, initval=start)
        z = pm.Normal(f"{name}_raw", 0, 1, dims=dims)
        return pm.Deterministic(name, s * z / np.sqrt(fan_in), dims=dims)


@dataclass(frozen=True)
class GroupLaplace:
    r"""Weights θ into one unit from p(θ) ∝ exp(−‖θ‖/b): units that are not needed vanish whole.

    Written as the mixture of normals that it is, so that no gradient is singular at 0:

    .. math::

        \tau \sim \text{Gamma}\!\left(\tfrac{d+1}{2}, \tfrac{1}{2 b^2}\right), \qquad
        \theta = \sqrt{\tau}\, z, \qquad z \sim \mathcal N(0, I_d)

    The variables are ``<name>_variance`` (τ, one for each unit), ``<name>_raw`` (z) and the
    Deterministic ``<name>``.

    Parameters
    ----------
    b : float or None
        Scale of the length of θ, whose prior mean is b d for d inputs: with the paper's 5, a unit
        multiplies its signal by about 5 √d, which grows from layer to layer beyond all numbers
        where activations have no bounds and the data are few. None for what suits the layer's
        activation, a mean square of the length of gain².

    See Also
    --------
    LearnedScale : One scale for each layer.

    References
    ----------
    Heek & Kalchbrenner (2019), section 5, with b = 5.
    Kyung, Gill, Ghosh & Casella (2010), Penalized regression, standard errors, and Bayesian
    lassos, section 2: the mixture.

    Examples
    --------
    The mean length of the weights into one unit is b d:

    >>> import numpy as np
    >>> import pymc as pm
    >>> from pymc_sgmcmc import nn
    >>> with pm.Model() as model:
    ...     layer = nn.dense(np.ones((100, 16)), 3, "layer", prior=nn.GroupLaplace(0.5))
    >>> weights = pm.draw(model["layer_weights"], 1_000, random_seed=1)
    >>> weights.shape, round(float(np.linalg.norm(weights, axis=1).mean()))
    ((1000, 16, 3), 8)
    """

    b: float | None = 5.0

    def __post_init__(self) -> None:
        _check_positive("b", self.b)

    def weights(self, name: str, dims: tuple[str, ...], fan_in: int, gain: float) -> TensorVariable:
        """Write the weights; see `Prior`."""
        # The length is Gamma(d, b), of mean square b² d (d + 1).
        b = gain / np.sqrt(fan_in * (fan_in + 1)) if self.b is None else self.b
        start = np.full(_lengths(dims[1:]), gain**2 / fan_in)
        variance = pm.Gamma(
            f"{name}_variance",
            (fan_in + 1) / 2,
            1 / (2 * b**2),
            dims=dims[1:],
            initval=start,
        )
        z = pm.Normal(f"{name}_raw", 0, 1, dims=dims)
        return pm.Deterministic(name, pt.sqrt(variance) * z, dims=dims)


@dataclass(frozen=True)
class WeightNorm:
    r"""Weights φ_s φ_d/‖φ_d‖ into one unit: a direction and a scale of its own.

    .. math::

        \phi_s \sim \text{Laplace}(0, b), \qquad
        \log p(\phi_d) = -\tfrac d2 \left(\lVert\phi_d\rVert^2 - 1\right)^2 + \text{const}

    The law of the length keeps φ_d where its direction moves at an even pace; lengths gather at
    √((1+√3)/2) ≈ 1.17 for many inputs d, not at 1. The variables are ``<name>_scale`` (φ_s),
    ``<name>_raw`` (φ_d) and the Deterministic ``<name>``.

    Parameters
    ----------
    b : float
        Scale of the prior of φ_s.
    start : float, optional
        Where every chain starts φ_s; what suits the layer's activation when None.

    See Also
    --------
    LearnedScale : One scale for each layer.

    References
    ----------
    Heek & Kalchbrenner (2019), equation 13; Salimans & Kingma (2016), Weight normalization.

    Examples
    --------
    >>> import numpy as np
    >>> import pymc as pm
    >>> from pymc_sgmcmc import nn
    >>> with pm.Model() as model:
    ...     layer = nn.dense(np.ones((100, 16)), 3, "layer", prior=nn.WeightNorm())
    >>> model.named_vars_to_dims["layer_weights_scale"]  # one for each unit
    ('layer',)
    >>> model.named_vars_to_dims["layer_weights_raw"]  # its direction
    ('layer_input', 'layer')
    """

    b: float = 5.0
    start: float | None = None

    def __post_init__(self) -> None:
        _check_positive("b", self.b)
        _check_positive("start", self.start)

    def weights(self, name: str, dims: tuple[str, ...], fan_in: int, gain: float) -> TensorVariable:
        """Write the weights; see `Prior`."""
        start = np.full(_lengths(dims[1:]), gain if self.start is None else self.start)
        scale = pm.Laplace(f"{name}_scale", 0, self.b, dims=dims[1:], initval=start)
        axes = "ij"[: len(dims)]
        direction = pm.CustomDist(
            f"{name}_raw",
            *(np.zeros(n) for n in _lengths(dims)),  # they tell the shape
            logp=_direction_logp,
            random=_direction_random,
            support_point=_direction_support_point,
            signature=f"{','.join(f'({i})' for i in axes)}->({','.join(axes)})",
            dims=dims,
        )
        length = pt.sqrt(pt.square(direction).sum(0))
        return pm.Deterministic(name, scale * direction / length, dims=dims)


def _direction_logp(value: TensorVariable, *_: TensorVariable) -> TensorVariable:
    d = value.shape[0]
    return -d / 2 * pt.square(pt.square(value).sum(0) - 1).sum()


def _direction_support_point(
    rv: TensorVariable, size: TensorVariable | None, *_: TensorVariable
) -> TensorVariable:
    return pt.full(rv.shape, 1 / pt.sqrt(rv.shape[0]))


def _direction_random(
    *shape: np.ndarray, rng: np.random.Generator, size: tuple[int, ...] | None = None
) -> np.ndarray:
    """Directions are uniform; u = ‖φ‖² has the density u^(d/2 − 1) e^(−d (u − 1)²/2)."""
    d, *units = map(len, shape)
    u = np.linspace(0, 4, 4001)[1:]
    log_density = (d / 2 - 1) * np.log(u) - d / 2 * np.square(u - 1)
    weights = np.exp(log_density - log_density.max())
    lengths = np.sqrt(rng.choice(u, size=units, p=weights / weights.sum()))
    normal = rng.normal(size=(d, *units))
    return lengths * normal / np.linalg.norm(normal, axis=0)


def _lengths(dims: tuple[str, ...]) -> tuple[int, ...]:
    model = pm.modelcontext(None)
    return tuple(int(model.dim_lengths[dim].eval()) for dim in dims)


def _check_positive(name: str, value: float | None) -> None:
    if value is not None:
        number(name, value, 0)


def checked(prior: Prior | None) -> Prior:
    """The prior of a layer's weights; `LearnedScale` when None.

    Raises
    ------
    TypeError
        If it is no prior: an object that writes weights.
    """
    if prior is None:
        return LearnedScale()
    if isinstance(prior, type) or not callable(getattr(prior, "weights", None)):
        raise TypeError(f"prior must be one of weights, nn.FixedScale(2) say, got {prior!r}.")
    return prior
