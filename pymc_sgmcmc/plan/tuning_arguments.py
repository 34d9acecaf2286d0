"""The arguments of a step that a person may give or leave to the warm-up."""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from pymc_sgmcmc.dynamics import schedules
from pymc_sgmcmc.dynamics.base import check_number

if TYPE_CHECKING:
    from pymc_sgmcmc.run.chains import Sampler

_PRECONDITIONERS = ("auto", "dense", "diagonal")
# Updates between two draws where nothing is known of the posterior's scale.
_STEPS_PER_DRAW = 100


def resolve_tuning_arguments(options: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of `Sampler` that say what is given and what is to be found.

    Raises
    ------
    ValueError, TypeError
        If an argument is wrong; the message says what to write.
    """
    step_size = _step_size(options.get("step_size"))
    preconditioner = _preconditioner(options.get("preconditioner", "auto"))
    control_variate = options.get("control_variate", "auto")
    if not (isinstance(control_variate, bool) or control_variate in ("auto", None)):
        raise ValueError(f'control_variate must be True, False or "auto", got {control_variate!r}.')
    target_bias = options.get("target_bias", 0.02)
    check_number("target_bias", target_bias, 0, 0.5)
    clip_gradient = options.get("clip_gradient")
    if clip_gradient is not None:
        check_number("clip_gradient", clip_gradient, 0)
    if step_size is not None:
        # A step that a person chose is one in the model's own coordinates.
        if isinstance(preconditioner, str) and preconditioner == "auto":
            preconditioner = None
        if control_variate == "auto":
            control_variate = False
    steps = _steps_per_draw(options.get("steps_per_draw", "auto"))
    if steps is None and (step_size is not None or options.get("schedule") is not None):
        steps = _STEPS_PER_DRAW
    return {
        "step_size": step_size,
        "steps_per_draw": steps,
        "schedule": schedules.resolve(options.get("schedule"), steps or _STEPS_PER_DRAW),
        "preconditioner": preconditioner,
        "control_variate": False if control_variate is None else control_variate,
        "target_bias": target_bias,
        "clip_gradient": clip_gradient,
    }


def check_tuning_arguments(sampler: Sampler) -> None:
    """Raise a ValueError for what the model does not allow."""
    size, chosen = sampler.potential.size, sampler.preconditioner
    if isinstance(chosen, np.ndarray) and chosen.shape not in ((size,), (size, size)):
        raise ValueError(
            f"preconditioner has the shape {chosen.shape}; the model has {size} unconstrained "
            f"parameters. Give their variances, shape ({size},), or covariance, ({size}, {size})."
        )
    if sampler.step_size is None and sampler.dynamics.temperature == 0:
        raise ValueError(
            "temperature=0 leaves no variances to find a step size by. Give step_size=..."
        )
    if sampler.control_variate and sampler.potential.others:
        if sampler.control_variate is True:
            names = ", ".join(repr(v.name) for v in sampler.potential.others)
            raise ValueError(
                f"control_variate=True needs a step that samples all variables: the gradient at "
                f"the centre changes whenever another step moves {names}."
            )
        sampler.control_variate = False


def _step_size(step_size: Any) -> float | None:
    if step_size is None:
        return None
    number = isinstance(step_size, numbers.Real) and not isinstance(step_size, bool)
    if not (number and 0 < step_size < math.inf):
        raise ValueError(
            f"step_size must be a positive number, or None to have it found, got {step_size!r}."
        )
    return float(step_size)


def _steps_per_draw(steps_per_draw: Any) -> int | None:
    if isinstance(steps_per_draw, str) and steps_per_draw == "auto":
        return None
    try:
        if isinstance(steps_per_draw, bool):
            raise TypeError
        steps = operator.index(steps_per_draw)
    except TypeError:
        raise TypeError(
            f'steps_per_draw must be an integer or "auto", got {steps_per_draw!r}.'
        ) from None
    if steps < 1:
        raise ValueError(f"steps_per_draw must be at least 1, got {steps}.")
    return steps


def _preconditioner(chosen: Any) -> str | np.ndarray | None:
    if chosen is None or (isinstance(chosen, str) and chosen in _PRECONDITIONERS):
        return chosen
    if isinstance(chosen, str):
        raise ValueError(
            f'preconditioner must be "auto", "dense", "diagonal", None or an array, got {chosen!r}.'
        )
    array = np.asarray(chosen, dtype=float)
    if not (np.isfinite(array).all() and _are_variances(array)):
        raise ValueError(
            "An array as preconditioner is a covariance matrix, symmetric and positive definite, "
            f"or a vector of positive variances; got one of shape {array.shape} that is neither."
        )
    return array


def _are_variances(array: np.ndarray) -> bool:
    if array.ndim == 1:
        return bool((array > 0).all())
    square = array.ndim == 2 and array.shape[0] == array.shape[1]
    return square and np.allclose(array, array.T) and bool((np.linalg.eigvalsh(array) > 0).all())
