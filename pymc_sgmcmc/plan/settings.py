"""The settings that all samplers share, each declared here and nowhere else.

`WarmUp` holds what the warm-up is asked to find, and how; `RunSettings` what a person types first.
A sampler's own settings are the fields of its dynamics, an engine's those of `engines.settings`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np

from pymc_sgmcmc import schedules
from pymc_sgmcmc.arguments import integer, number, numbers, one_of, optional
from pymc_sgmcmc.engines.settings import EngineSettings, resolve_engine
from pymc_sgmcmc.settings import Settings, setting, settings
from pymc_sgmcmc.streaming.sources import open_rows
from pymc_sgmcmc.streaming.stored import StoredRows

_PRECONDITIONERS = ("auto", "dense", "diagonal")


def _preconditioner(name: str, chosen: Any) -> str | np.ndarray | None:
    if chosen is None or isinstance(chosen, str):
        return optional(partial(one_of, allowed=_PRECONDITIONERS, otherwise=", None or an array"))(
            name, chosen
        )
    array = numbers(name, chosen)
    if not (np.isfinite(array).all() and _are_variances(array)):
        raise ValueError(
            f"An array as {name} is a covariance matrix, symmetric and positive definite, "
            f"or a vector of positive variances; got one of shape {array.shape} that is neither."
        )
    return array


def _are_variances(array: np.ndarray) -> bool:
    if array.ndim == 1:
        return bool((array > 0).all())
    square = array.ndim == 2 and array.shape[0] == array.shape[1]
    return square and np.allclose(array, array.T) and bool((np.linalg.eigvalsh(array) > 0).all())


def _control_variate(name: str, value: Any) -> bool | str:
    if value is None:
        return False
    if isinstance(value, bool) or (isinstance(value, str) and value == "auto"):
        return value
    raise ValueError(f'{name} must be True, False or "auto", got {value!r}.')


@settings
class WarmUp(Settings):
    """What the warm-up is to find, and how.

    For ``warmup=WarmUp(...)`` of a step. Nothing here is needed in the common case.

    Parameters
    ----------
    {parameters}

    See Also
    --------
    pymc_sgmcmc.ATMC : A step that takes it.

    Examples
    --------
    >>> import pymc as pm
    >>> from pymc_sgmcmc import ATMC, WarmUp
    >>> with pm.Model():
    ...     x = pm.Normal("x", shape=3)
    ...     step = ATMC(warmup=WarmUp(preconditioner="diagonal", target_bias=0.05))
    """

    preconditioner: Any = setting(
        "auto",
        '{"auto", "dense", "diagonal"}, array or None',
        """Coordinates θ = μ + L z in which the chains move. "dense": the posterior is about N(0, I)
        in them, by the curvature around its mode on a sample of the rows; "diagonal": each
        parameter has its own scale. "auto" is dense up to 1,000 parameters; above, a diagonal with
        a few more directions and with the effects of each group together. An array is L Lᵀ: a
        covariance ``(d, d)`` or variances ``(d,)``
        of the unconstrained parameters, in the order of the model's value variables.""",
        _preconditioner,
    )
    control_variate: bool | Literal["auto"] = setting(
        "auto",
        'bool or "auto"',
        """Whether to take gradients relative to those at the mode, g̃(θ) − g̃(θ*) + ∇U(θ*): as
        unbiased, and far less noisy where the posterior has one mode and is concentrated around
        it. "auto" measures whether it is.""",
        _control_variate,
    )
    target_bias: float = setting(
        0.02,
        "float, default 0.02",
        "Relative error of a posterior variance that the step size found may leave.",
        partial(number, low=0, high=0.5),
    )
    start: Literal["auto", "jitter", "prior"] = setting(
        "auto",
        '{"auto", "jitter", "prior"}',
        """Where chains start that are given no points: at U(−1, 1) jitter around the model's
        initial point in the unconstrained space, or at a draw from the prior each (variables with
        an ``initval`` of their own start there). "auto" takes the prior for a network: more than
        1,000 parameters, or a posterior that is far from normal.""",
        partial(
            one_of,
            allowed=("auto", "jitter", "prior"),
            otherwise=" (points of your own: pm.sample(initvals=...))",
        ),
    )

    @property
    def whitens(self) -> bool:
        """Whether the coordinates are those in which the posterior is a standard normal."""
        return isinstance(self.preconditioner, str) and self.preconditioner != "diagonal"


def _checked(name: str, value: Any) -> WarmUp:
    if isinstance(value, WarmUp):
        return value
    raise TypeError(f"{name} must be a WarmUp(...) of pymc_sgmcmc, got {value!r}.")


def _data(name: str, value: Any) -> Sequence[str] | StoredRows | None:
    return open_rows(value) if isinstance(value, Mapping) else value


def _steps_per_draw(name: str, value: Any) -> int | None:
    if value is None or (isinstance(value, str) and value == "auto"):
        return None
    return integer(name, value, otherwise=', or "auto"')


@settings
class RunSettings(Settings):
    """What every step takes, besides the settings of its dynamics.

    Parameters
    ----------
    {parameters}
    """

    batch_size: int | None = setting(
        None,
        "int, optional",
        """Rows B in a minibatch; None takes all rows (or those of the model's own
        ``pm.Minibatch``).""",
    )
    batches: Literal["auto", "independent", "balanced", "sweeps", "blocks"] = setting(
        "auto",
        '{"auto", "independent", "balanced", "sweeps", "blocks"}',
        """How the rows of minibatches are drawn. "independent": anew in every update. "balanced":
        so, but rows of the rare levels of an index more often than others, and with less weight:
        as unbiased, and far less noisy for effects that have few rows. "auto" is that where some
        level has less than a quarter of the average's rows, and independent else. "sweeps": a
        random partition of the rows into ⌊N/B⌋ batches is gone through once and back, then another
        one; the N mod B rows left out are other ones each time, and none is best. The second visit
        takes most of a batch's noise back where a sweep is short beside the scale of the posterior
        and friction: ``step_size`` up to about B/N of the smallest posterior standard deviation.
        Give it: the warm-up finds the smaller one that independent batches need. For SGLD and SGHMC
        only: a thermostat mistakes for heat what a sweep is yet to take back, and makes variances
        up to half too small. "blocks": B rows side by side from a random place, another one in
        every update, for files that outgrow memory, where rows here and there wait for the disk.
        As unbiased as independent rows, in any order of the file, and as little noisy if that is
        random (`shuffle_rows`).""",
        partial(one_of, allowed=("auto", "independent", "balanced", "sweeps", "blocks")),
    )
    data: Sequence[str] | StoredRows | None = setting(
        None,
        "list of str or dict, optional",
        """Names of the row data, the arrays with one entry per row. When None, those that feed an
        observed variable and have its length (the greatest length, if observed variables differ;
        the terms of shorter ones are evaluated in full). Or, by their names, the sources of rows
        that stay on disk, where the model is written with the first few of them: arrays of NumPy
        (``np.load(..., mmap_mode="r")``), zarr, h5py, xarray; columns of a table,
        ``("rows.parquet", ["a", "b"])``; parts of the blocks of a loader, ``(loader, 0)``.""",
        _data,
    )
    step_size: float | None = setting(
        None,
        "float, optional",
        """h, the root-mean-square displacement of one preconditioned parameter in one update. When
        None, the warm-up finds it, from the largest curvature and the gradient noise where the
        chains are. When given, there is no preconditioner and no warm-up unless `warmup` asks for
        them: the chains take this step in the unconstrained space, from where they start. With s
        the smallest posterior standard deviation there, min(0.2, 0.3 √(B/N)) s is a good one;
        for SGHMC, which absorbs no noise, min(0.2, 0.06 √(B/N)) s.""",
        optional(partial(number, low=0, otherwise=", or None to have it found")),
    )
    steps_per_draw: int | None = setting(
        "auto",
        'int or "auto"',
        """Updates between two draws. "auto" makes successive draws about independent where that
        takes at most 250, and takes a quarter as many in tuning; it is 100 where the scale of the
        posterior is not known (a given step size, a schedule), and 80, 54 of them in tuning, where
        the posterior is far from normal (a network).""",
        _steps_per_draw,
    )
    schedule: str | schedules.Schedule | None = setting(
        None,
        '{"constant", "polynomial", "cyclical"} or callable, optional',
        """Factor of the step size as a function of the number of the update, counted from the first
        tuning update. "cyclical" has one cycle in every draw. An optax schedule with
        ``init_value=1`` serves; see `pymc_sgmcmc.schedules`.""",
    )
    dtype: Literal["float32", "float64"] | None = setting(
        None,
        '{"float32", "float64"}, optional',
        """Precision of the updates; ``pytensor.config.floatX`` when None. "float32" is faster and
        enough for networks.""",
    )
    ensemble: float | None = setting(
        None,
        "float, optional",
        """η between 0 and 1: chains are walkers, which lend each other their shape. They form two
        halves; before each draw one moves while the other stands, in coordinates θ = μ + L z with
        L Lᵀ = (1 − η) S + η C, where S is what the preconditioner found (the identity where there
        is none) and C the covariance of the half that stands; then they change places. The law
        stays that of the dynamics, for each chain. It needs an even number of chains (of use are
        more than twice as many as parameters), and all rows where the sampler has a thermostat.
        None for chains that know nothing of each other, in coordinates that stay.""",
        optional(partial(number, low=0, high=1, otherwise=", or None for independent chains")),
    )
    clip_gradient: float | None = setting(
        None,
        "float, optional",
        """Largest norm of the gradient in the sampler's coordinates, in which that of a normal
        posterior is about √d; longer ones are shortened. The law is then no longer the
        posterior's, and `diagnose` says so.""",
        optional(partial(number, low=0)),
    )
    warmup: WarmUp = setting(
        WarmUp(),
        "WarmUp, optional",
        """What the warm-up is to find and how: ``WarmUp(preconditioner=..., control_variate=...,
        target_bias=..., start=...)``.""",
        _checked,
    )
    engine: EngineSettings = setting(
        "auto",
        '{"auto", "jax", "numba"}, JAX or Numba',
        """What compiles the updates. "jax" vectorises chains, on the accelerator if there is
        one; "numba" runs each chain on a core of its own. "auto" is JAX where it has an
        accelerator, where Numba's faster updates would save less than 10 seconds, which its
        compilation costs, for models of more than 50,000 parameters or with filters of images,
        and where Numba can't compile the model; Numba otherwise, also where JAX is not
        installed. The attribute ``backend`` of the output tells. Each does its own warm-up; that
        of "auto" is JAX's where JAX can do it. ``JAX(shard=..., matmul_precision=...)`` has the
        settings of that engine.""",
        resolve_engine,
    )
