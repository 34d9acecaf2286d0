"""From a model to draws around its mode: mode, prior, curvature, posterior."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytensor
import pytensor.link.jax.dispatch  # (gives JAX 64 bits where PyTensor's floatX has them)
import pytensor.tensor as pt
from pymc.model import Model
from pytensor.graph.basic import Variable
from xarray import Dataset, DataTree

from pymc_sgmcmc.engines.jax.integers import needs_64_bits
from pymc_sgmcmc.engines.programs import gradient_program
from pymc_sgmcmc.estimators.estimators import Estimator
from pymc_sgmcmc.linearised.evidence import Fitted, fit
from pymc_sgmcmc.linearised.exact import Diagonal, Full, diagonal
from pymc_sgmcmc.linearised.gaussian import Curvature
from pymc_sgmcmc.linearised.kronecker import Kronecker
from pymc_sgmcmc.linearised.linear import Graphs, LinearModel
from pymc_sgmcmc.linearised.mode import find_mode, landscapes
from pymc_sgmcmc.linearised.prior import NormalPrior, normal_prior
from pymc_sgmcmc.linearised.sampled import Sampled, warn_unless_converged
from pymc_sgmcmc.linearised.tree import to_tree
from pymc_sgmcmc.linearised.variables import Linearised, named, of_last_layer
from pymc_sgmcmc.model.graphs import rebuild
from pymc_sgmcmc.model.interpreted import INTERPRETED
from pymc_sgmcmc.model.links import Law, as_value_variable, laws_of
from pymc_sgmcmc.model.potential import StochasticPotential
from pymc_sgmcmc.prediction.linearised import GROUP
from pymc_sgmcmc.warn import warn_user

_BATCH = 100
# Variables up to which G is formed by default, and those up to which it may be.
_AUTO, _FULL = 1_000, 10_000
# Relative changes of a precision at which EM ends: draws know γ no better than to a percent.
_EXACT, _NOISY = 1e-4, 0.02
# Nats by which the linear model's mode is lower, per variable and at least, that are worth a word.
_MISSED, _FEW = 0.01, 0.5


@dataclass(frozen=True, eq=False, kw_only=True)
class Asked:
    """Arguments of `laplace` that say how a posterior is found.

    Attributes
    ----------
    structure : str
    draws, batch_size, max_updates : int
    noise, seed : ndarray, int
        Standard normal noise for the draws ``(K, d)``, and a seed of other random numbers.
    """

    structure: str
    draws: int
    batch_size: int
    max_updates: int
    noise: np.ndarray
    seed: int

    def curvature(self, model: LinearModel, shapes: Sequence[tuple[int, ...]]) -> Curvature:
        """G of a model, in the structure that was asked for."""
        if self.structure == "full":
            return Full(model, self.noise)
        if self.structure == "diag":
            return Diagonal(model, self.noise)
        if self.structure == "kron":
            return Kronecker(model, self.noise, shapes)
        return Sampled(model, self.draws, self.batch_size, self.seed, self.max_updates)


def run(
    model: Model,
    *,
    draws: int,
    structure: str,
    em: str | None,
    vars: Sequence[Any] | None,
    mode: Mapping[str, Any] | DataTree | None,
    batch_size: int | None,
    data: Sequence[str] | None,
    max_updates: int,
    em_rounds: int,
    dtype: str | None,
    rng: np.random.Generator,
) -> DataTree:
    """Draw; see `laplace` for the arguments."""
    laws = laws_of(model)
    if structure == "last" and vars is not None:
        raise ValueError(
            'structure="last" chooses the variables by itself. Write structure="full" with '
            f"vars={list(vars)!r}, or leave vars out."
        )
    names = of_last_layer(model, laws) if structure == "last" else named(model, vars)
    potential = _potential(model, laws, batch_size, data, dtype)
    variables = Linearised(potential, names)
    groups = variables.groups(em)
    size = len(variables.places)
    structure = _structure(structure, size)
    with jax.enable_x64(_is_wide(potential)), warnings.catch_warnings():
        # PyTensor names 64-bit types in places where JAX has 32 bits: as meant.
        warnings.filterwarnings("ignore", message=".*requested dtype.*")
        position = _given(potential, mode) if mode is not None else find_mode(potential, rng)
        prior = normal_prior(potential, position, variables.places, rng)
        _, whole = landscapes(potential, rng)
        slope = whole.gradient(position[None])[1][0][variables.places] - prior.slope
        asked = Asked(
            structure=structure,
            draws=draws,
            batch_size=min(potential.batch_size or potential.n_rows or 1, potential.n_rows or 1),
            max_updates=max_updates,
            noise=rng.normal(size=(draws, size)) if structure != "sampled" else np.zeros((0, size)),
            seed=int(rng.integers(2**31)),
        )
        linear = LinearModel(
            tuple(map(jnp.asarray, potential.row_values())),
            jnp.asarray(position, potential.dtype),
            jnp.asarray(variables.places),
            jnp.asarray(1 / np.sqrt(prior.precision), potential.dtype),
            Graphs(potential, laws),
        )
        found = _fitted(linear, prior, slope, asked, variables, groups, em, em_rounds)
    return found.tree(potential, position, variables, structure, em, rng)


@dataclass(frozen=True, eq=False)
class Found:
    """A posterior, in units `width` around the mode.

    Attributes
    ----------
    fitted : Fitted
    width : ndarray
    centre : ndarray
        The prior's mean minus the mode, ``(d,)``.
    updates : int or None
        Of "sampled".
    """

    fitted: Fitted
    width: np.ndarray
    centre: np.ndarray
    updates: int | None

    def tree(
        self,
        potential: StochasticPotential,
        position: np.ndarray,
        variables: Linearised,
        structure: str,
        em: str | None,
        rng: np.random.Generator,
    ) -> DataTree:
        """As a DataTree."""
        posterior, precision = self.fitted.posterior, self.fitted.precision
        noise = rng.normal(size=posterior.deviations.shape) / np.sqrt(precision)
        changes = {
            "posterior": self.width * (posterior.mean + posterior.deviations),
            "prior": self.centre + self.width * noise,
        }
        groups = {}
        for name, change in changes.items():
            positions = np.tile(position, (len(change), 1))
            positions[:, variables.places] += change
            groups[name] = positions
        attributes = {
            "sampler": "linearised Laplace",
            "structure": structure,
            "em": em or "none",
            "em_rounds": self.fitted.rounds - 1,
            "effective_dimension": float(posterior.determined.sum()),
            "free_variables": variables.names,
        }
        if self.updates is not None:
            attributes["updates"] = self.updates
        known = {
            "size": [where.stop - where.start for where in variables.slices],
            "effective_dimension": [posterior.determined[x].sum() for x in variables.slices],
            "precision_factor": [precision[x].mean() for x in variables.slices],
        }
        of_each = Dataset(
            {k: ("variable", np.asarray(x)) for k, x in known.items()},
            coords={"variable": variables.names},
        )
        return to_tree(potential, position, groups, attributes, of_each)


def _fitted(
    linear: LinearModel,
    prior: NormalPrior,
    slope: np.ndarray,
    asked: Asked,
    variables: Linearised,
    groups: Sequence[np.ndarray],
    em: str | None,
    em_rounds: int,
) -> Found:
    """Posterior of the linear model, with precisions fitted where that was asked for."""
    width = 1 / np.sqrt(prior.precision)
    curvature = asked.curvature(linear, variables.shapes)
    precision = np.ones(len(width))
    if em == "g-prior":
        (group,) = groups
        own = curvature.diagonal if isinstance(curvature, Sampled) else diagonal(linear)
        # What no row depends on keeps the precision that it has.
        scaled = group[own[group] > 0]
        width[scaled] /= np.sqrt(own[scaled])
        precision[scaled] = 1 / linear.n_rows
        groups = [scaled]
        linear = linear.with_width(width)
        curvature = asked.curvature(linear, variables.shapes)
    centre = -prior.slope / prior.precision
    tolerance = _NOISY if isinstance(curvature, Sampled) else _EXACT
    fitted = fit(curvature, width * slope, -centre / width, precision, groups, em_rounds, tolerance)
    updates = None
    if isinstance(curvature, Sampled):
        warn_unless_converged(curvature.progress)
        updates = curvature.progress.updates
    if em is None:
        _warn_if_missed(fitted, width * (slope + prior.slope))
    return Found(fitted, width, centre, updates)


def _warn_if_missed(fitted: Fitted, slope: np.ndarray) -> None:
    """Warn where the mode that was found is not one."""
    nats = -slope @ fitted.posterior.mean / 2
    if nats > max(_FEW, _MISSED * len(slope)):
        warn_user(
            f"The linear model has its mode {nats:.1f} nats below the one that was found, which is "
            "none: draws are around the linear model's. Give mode=..., as pm.find_MAP gives it, or "
            "a model that is less at odds with its prior."
        )


def _potential(
    model: Model,
    laws: Sequence[Law],
    batch_size: int | None,
    data: Sequence[str] | None,
    dtype: str | None,
) -> StochasticPotential:
    lengths = [int(n) for law in laws for n in model.rvs_to_values[law.rv].shape.eval()[:1]]
    if batch_size is None:
        batch_size = min([_BATCH, *lengths])
    potential = StochasticPotential(model, batch_size=batch_size, data=data, dtype=dtype)
    if potential.others:
        names = ", ".join(repr(v.name) for v in potential.others)
        raise ValueError(
            f"laplace needs a model whose free variables are all continuous, and {names} is not. "
            "Sum it out of the model (pymc_extras.marginalize), or give its value with pm.do."
        )
    observed = potential.rows.observed if potential.rows else ()
    apart = [law.rv.name for law in laws if law.rv not in observed]
    if apart:
        raise ValueError(
            f"{', '.join(map(repr, apart))} has other rows than "
            f"{', '.join(repr(rv.name) for rv in observed)}: laplace needs the same rows of all "
            "observed variables."
        )
    return potential


def _structure(structure: str, size: int) -> str:
    if structure == "auto":
        return "full" if size <= _AUTO else "sampled"
    if structure in ("full", "last") and size > _FULL:
        raise ValueError(
            f'structure="{structure}" would form a matrix of {size:,} rows. Use '
            'structure="sampled", or name fewer variables: vars=[...].'
        )
    return "full" if structure == "last" else structure


def _given(potential: StochasticPotential, mode: Mapping[str, Any] | DataTree) -> np.ndarray:
    point: Mapping[str, Any] = (
        _mode_of(potential.model, mode) if isinstance(mode, DataTree) else mode
    )
    names = [block.name for block in potential.layout]
    if missing := [name for name in names if name not in point]:
        raise ValueError(
            f"mode has no {', '.join(map(repr, missing))}. It holds the value variables "
            f"{', '.join(map(repr, names))}, as pm.find_MAP() gives them."
        )
    for block in potential.layout:
        if np.shape(point[block.name]) != block.shape:
            raise ValueError(
                f"mode[{block.name!r}] must have the shape {block.shape}, got "
                f"{np.shape(point[block.name])}."
            )
    return potential.ravel(point).astype(float)


def _mode_of(model: Model, idata: DataTree) -> dict[str, np.ndarray]:
    """Value variables where the draws of a tree were linearised."""
    known = idata[GROUP].to_dataset() if GROUP in idata.children else {}
    if missing := [rv.name for rv in model.free_RVs if rv.name not in known]:
        raise ValueError(
            f"mode has no group {GROUP!r} with {', '.join(map(repr, missing))}. Give what laplace "
            "gave for this model, or a dict of the value variables, as pm.find_MAP() gives it."
        )
    held: dict[Variable, Variable] = {
        rv: pt.constant(known[rv.name].values.astype(rv.type.dtype)) for rv in model.free_RVs
    }
    graphs = rebuild([as_value_variable(model, rv) for rv in model.free_RVs], held)
    values = pytensor.function([], graphs, mode=INTERPRETED)()
    names = [model.rvs_to_values[rv].name for rv in model.free_RVs]
    return dict(zip(names, values, strict=True))


def _is_wide(potential: StochasticPotential) -> bool:
    """Whether JAX has to have 64 bits."""
    if potential.dtype == "float64":
        return True
    program = gradient_program(Estimator(potential), potential.n_rows)
    return needs_64_bits(program, potential.row_arrays())
