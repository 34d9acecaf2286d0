"""Heads: they turn the features of a network into the law of what was observed."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from numpy.typing import ArrayLike
from pytensor.graph.basic import Variable
from pytensor.tensor.variable import TensorVariable

from pymc_sgmcmc.arguments import integer, names, number, one_of, text
from pymc_sgmcmc.nn.inputs import as_tensor, data_of, n_rows, warn_of_scale
from pymc_sgmcmc.nn.layers import dense
from pymc_sgmcmc.nn.priors import LearnedScale, Prior

# Where chains start the scale of the noise's weights: next to nothing. They wake up only when the
# descent has raised it, and by then the mean fits. A mean and a noise that start together end where
# the noise explains what the mean should.
_ASLEEP = 5e-5


def regression(
    features: TensorVariable,
    observed: ArrayLike | TensorVariable,
    name: str = "y",
    *,
    noise: float | str = "learned",
    noise_range: float = 2.0,
    prior: Prior | None = None,
    dims: str | Sequence[str] | None = None,
) -> TensorVariable:
    r"""Observe numbers with normal noise around an affine function of the features.

    Parameters
    ----------
    features : TensorVariable
        ``(rows, units)``: the output of a layer.
    observed : array or pm.Data
        ``(rows,)``; standardised, for the priors here to suit. A warning tells where they are not.
    name : str
        Of the observed variable.
    noise : {"learned", "input"} or float
        Standard deviation σ of the noise. "learned": one unknown number,
        :math:`\log\sigma \sim \mathcal N(-1, 1.5^2)`. "input": that times a function of the
        features, log-linear up to a factor of `noise_range` either way. A number: known.
    noise_range : float
        Largest factor, above 1, between the noise at a row and the common one. A wide range buys
        precision where most rows are at the cost of the mean where few are: on UCI's yacht a
        factor of 20 gives the fast hulls up for noise.
    prior : Prior, optional
        Of the weights from the features to the mean; `LearnedScale` when None.
    dims : str or tuple of str, optional
        Of the observed variable.

    Returns
    -------
    TensorVariable
        The observed variable.

    Raises
    ------
    ValueError, TypeError
        If there are more or fewer outcomes than rows, or an argument is wrong.

    See Also
    --------
    classification : The head for classes.
    pymc_sgmcmc.predict : Gives ``y_mean`` and ``y_sd`` of new rows.

    Examples
    --------
    >>> import numpy as np
    >>> import pymc as pm
    >>> from pymc_sgmcmc import nn
    >>> x = np.linspace(-1, 1, 100)
    >>> with pm.Model() as model:
    ...     features = nn.mlp(pm.Data("X", x[:, None]), hidden=(50,))
    ...     y = nn.regression(features, np.sin(3 * x), noise="learned")
    >>> [v.name for v in model.free_RVs if v.name.startswith("y")]
    ['y_mean_weights_scale', 'y_mean_weights_raw', 'y_mean_bias', 'y_log_sd']
    """
    name = text("name", name)
    features = _checked(features, observed, name, dims)
    undo = f"y.mean() + y.std() * predict(...)['{name}_mean']"
    remedy = f"(y - y.mean()) / y.std(), and undo it after predict, {undo}."
    warn_of_scale(observed, f"The outcome {name!r}", remedy)
    most = math.log(number("noise_range", noise_range, 1))
    mean = dense(features, None, f"{name}_mean", prior=prior)
    if isinstance(noise, numbers.Real) and not isinstance(noise, bool):
        sd: float | TensorVariable = number("noise", noise, 0)
    else:
        one_of("noise", noise, ("learned", "input"), otherwise=", or a number")
        log_sd = pm.Normal(f"{name}_log_sd", -1, 1.5, initval=-1.0)
        if noise == "input":
            asleep = LearnedScale(1.0, start=_ASLEEP)
            shape = dense(features, None, f"{name}_noise", prior=asleep, bias=None)
            log_sd = log_sd + most * pt.tanh(shape / most)
        sd = pt.exp(log_sd)
    return pm.Normal(name, mean, sd, observed=observed, dims=dims)


def classification(
    features: TensorVariable,
    observed: ArrayLike | TensorVariable,
    classes: int | None = None,
    name: str = "y",
    *,
    prior: Prior | None = None,
    dims: str | Sequence[str] | None = None,
) -> TensorVariable:
    """Observe classes, with logits that are affine functions of the features.

    Parameters
    ----------
    features : TensorVariable
        ``(rows, units)``: the output of a layer.
    observed : array or pm.Data
        Integers from 0 to ``classes − 1``, ``(rows,)``.
    classes : int, optional
        K; one more than the largest that was observed when None. Two classes have one logit and a
        Bernoulli law, more have K logits and a categorical one.
    name : str
        Of the observed variable. The dim of the classes is ``<name>_class``.
    prior : Prior, optional
        Of the weights from the features to the logits; `LearnedScale` when None.
    dims : str or tuple of str, optional
        Of the observed variable.

    Returns
    -------
    TensorVariable
        The observed variable.

    Raises
    ------
    ValueError, TypeError
        If there are more or fewer outcomes than rows, or they are not such integers.

    See Also
    --------
    regression : The head for numbers.
    pymc_sgmcmc.predict : Gives ``y_probability`` of new rows.

    Examples
    --------
    >>> import numpy as np
    >>> import pymc as pm
    >>> from pymc_sgmcmc import nn
    >>> _, species = np.unique(["cat", "dog", "fish", "dog"], return_inverse=True)
    >>> with pm.Model() as model:
    ...     features = nn.mlp(pm.Data("X", np.eye(4)), hidden=(50,))
    ...     y = nn.classification(features, species)
    >>> model.named_vars_to_dims["y_class_weights"], len(model.coords["y_class"])
    (('hidden_1', 'y_class'), 3)
    """
    name = text("name", name)
    features = _checked(features, observed, name, dims)
    values = data_of(observed)
    if values is None:
        raise TypeError(f"observed must be an array or a pm.Data, got {observed!r}.")
    if not values.size or values.dtype.kind not in "biuf" or not np.isfinite(values).all():
        raise ValueError(
            "observed must hold the integers 0 to classes - 1, got "
            f"{values.ravel()[:5].tolist()}. Drop rows without a class, and use "
            "np.unique(observed, return_inverse=True)[1]."
        )
    if classes is None:
        classes = max(2, int(values.max()) + 1)
    classes = integer("classes", classes, 2)
    if not np.isin(values, np.arange(classes)).all():
        raise ValueError(
            f"observed must hold the integers 0 to {classes - 1}, got {np.unique(values)[:5]}. Use "
            "np.unique(observed, return_inverse=True)[1]."
        )
    if classes == 2:
        logit = dense(features, None, f"{name}_logit", prior=prior)
        return pm.Bernoulli(name, logit_p=logit, observed=observed, dims=dims)
    logits = dense(features, classes, f"{name}_class", prior=prior)
    return pm.Categorical(name, logit_p=logits, observed=observed, dims=dims)


def _checked(
    features: TensorVariable,
    observed: ArrayLike | TensorVariable,
    name: str,
    dims: str | Sequence[str] | None,
) -> TensorVariable:
    """Features as a tensor; an error where outcomes are not one for each of their rows."""
    features = as_tensor(features, "features")
    try:
        axes = observed.type.ndim if isinstance(observed, Variable) else np.ndim(observed)
    except ValueError as error:  # rows of several lengths
        raise ValueError(f"observed must be an array, got {observed!r}.") from error
    if axes != 1:
        raise ValueError(
            f"observed must have one axis, (rows,), got {axes}. Use observed.ravel(), or a head "
            "for each column."
        )
    known = pm.modelcontext(None).coords
    for dim in [] if dims is None else names("dims", dims, one=True):
        if dim not in known:
            raise ValueError(
                f"dims has {dim!r}, which is no dim of the model. They are: {', '.join(known)}."
            )
    rows, values = n_rows(features), data_of(observed)
    if rows is not None and values is not None and len(values) != rows:
        raise ValueError(
            f"{name!r} has {len(values)} outcomes for {rows} rows of features: give observed one "
            "outcome for each row."
        )
    return features
