"""The arguments of the steps, for editors and type checkers, which can't follow declarations.

A test holds them to what `plan.settings` and the dynamics declare.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

import numpy as np
from pymc.model import Model

from pymc_sgmcmc.engines.settings import EngineSettings
from pymc_sgmcmc.plan.settings import WarmUp
from pymc_sgmcmc.schedules import Schedule


class Options(TypedDict, total=False):
    """Of every step."""

    batch_size: int | None
    batches: Literal["auto", "independent", "balanced", "sweeps", "blocks"]
    data: Sequence[str] | Mapping[str, Any] | None
    step_size: float | None
    steps_per_draw: int | Literal["auto"]
    schedule: str | Schedule | None
    dtype: Literal["float32", "float64"] | None
    ensemble: float | None
    clip_gradient: float | None
    warmup: WarmUp
    engine: EngineSettings | Literal["auto", "jax", "numba"]
    temperature: float
    model: Model | None
    rng: int | np.random.Generator | None
    blocked: Any


class SGHMCOptions(Options, total=False):
    """Of `SGHMC`."""

    momentum_decay: float | Literal["auto"]
    speed_limit: float | None


class GLA1Options(Options, total=False):
    """Of `GLA1`."""

    momentum_decay: float | Literal["auto"]


class GLA2Options(Options, total=False):
    """Of `GLA2`."""

    momentum_decay: float | Literal["auto"]


class BAOABOptions(Options, total=False):
    """Of `BAOAB`."""

    momentum_decay: float | Literal["auto"]


class SGNHTOptions(Options, total=False):
    """Of `SGNHT`."""

    momentum_decay: float | Literal["auto"]
    speed_limit: float | None
    thermostat_time: float
    thermostat: Literal["parameter", "scalar"]


class CCAdLOptions(Options, total=False):
    """Of `CCAdL`."""

    momentum_decay: float | Literal["auto"]
    thermostat_time: float


class ATMCOptions(Options, total=False):
    """Of `ATMC`."""

    momentum_decay: float | Literal["auto"]
    speed_limit: float | None
    thermostat_time: float | None
    published: bool
