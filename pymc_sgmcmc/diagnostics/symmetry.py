"""How many networks compute the same function."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pymc_sgmcmc.arguments import integer, listed

ODD = ("arctan", "erf", "hardtanh", "identity", "linear", "sin", "sinh", "softsign", "tanh")
"""Activations with f(-a) = -f(a): the signs of a unit's weights can all be turned around."""

OTHER = (
    "celu",
    "elu",
    "gelu",
    "leaky_relu",
    "mish",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "softplus",
    "swish",
)
"""Activations without that symmetry."""


def is_odd(activation: str) -> bool:
    """Whether f(-a) = -f(a); a ValueError if the name is not known."""
    if not isinstance(activation, str) or activation not in ODD + OTHER:
        raise ValueError(
            f"activation={activation!r} is not known. Odd ones: {', '.join(ODD)}; others: "
            f"{', '.join(OTHER)}. For one that is odd and not listed write 'tanh', for any other "
            "'relu'."
        )
    return activation in ODD


def symmetry_count(hidden: Sequence[int] | int, activation: str = "tanh") -> int:
    """Number of weight settings of a network that compute the same function.

    Π_l M_l! 2^M_l for hidden layers of M_l units: units can be put in any order and, if the
    activation is odd, the weights into and out of a unit turned around together. Without the
    powers of 2 for other activations. (Units of ReLU can be rescaled too, but the prior is not
    indifferent to that.)

    Parameters
    ----------
    hidden : sequence of int, or int
        Units of each hidden layer.
    activation : str
        Of the hidden layers: "tanh", "relu" ....

    Returns
    -------
    int
        Exact.

    Raises
    ------
    ValueError
        If a layer has no unit, or the activation is not known.

    See Also
    --------
    canonicalize : Removes these symmetries from draws.

    References
    ----------
    Wiese, Wimmer, Papamarkou, Bischl, Günnemann and Rügamer, "Towards Efficient MCMC Sampling in
    Bayesian Neural Networks by Exploiting Symmetry", ECML PKDD 2023.

    Examples
    --------
    >>> from pymc_sgmcmc.diagnostics import symmetry_count
    >>> symmetry_count(16, "relu")
    20922789888000
    >>> symmetry_count([3, 16])
    65817405988798464000
    """
    several = listed(hidden)
    sizes = [integer("hidden", size) for size in ([hidden] if several is None else several)]
    if not sizes:
        raise ValueError(f"hidden must be the sizes of the hidden layers, got {hidden!r}.")
    signs = 2 if is_odd(activation) else 1
    return math.prod(math.factorial(size) * signs**size for size in sizes)
