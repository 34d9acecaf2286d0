"""Methods around the mode of the posterior: the mode itself, and Laplace on the last layer."""

import warnings
from dataclasses import replace

import arviz as az
import jax
import numpy as np
import optax
import pymc as pm
import pytensor
from pymc.model.transform.optimization import freeze_dims_and_data
from scipy.optimize import minimize
from xarray import DataTree

from benchmarks.networks.models import Predictive, build, predictive, prior_start
from benchmarks.networks.settings import Network, Settings


def find_mode(model: pm.Model, updates: int, seed: int) -> dict[str, np.ndarray]:
    """Free variables where Adam on all rows ends, from one draw of the prior.

    As in `pm.find_MAP`, the density is that of the variables as they are, without the Jacobian of
    what makes them unconstrained.
    """
    frozen = freeze_dims_and_data(model)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Skipping Check")
        log_density = pytensor.function(frozen.value_vars, frozen.logp(jacobian=False), mode="JAX")
    potential = jax.value_and_grad(lambda position: -log_density.vm.jit_fn(*position)[0])
    adam = optax.adam(optax.cosine_decay_schedule(0.01, updates))

    def update(_, state):
        position, moments = state
        change, moments = adam.update(potential(position)[1], moments)
        return optax.apply_updates(position, change), moments

    start = prior_start(frozen, seed)
    position = [start[variable.name] for variable in frozen.value_vars]
    position, _ = jax.jit(lambda state: jax.lax.fori_loop(0, updates, update, state))(
        (position, adam.init(position))
    )

    values = frozen.unobserved_value_vars
    constrain = frozen.compile_fn(values, inputs=frozen.value_vars, point_fn=False)
    found = zip(values, constrain(*map(np.asarray, position)), strict=True)
    names = {variable.name for variable in model.free_RVs}
    return {value.name: x for value, x in found if value.name in names}


def as_draws(point: dict[str, np.ndarray]) -> DataTree:
    """Give a point as a posterior of one chain and draw."""
    return az.from_dict({"posterior": {name: x[None, None] for name, x in point.items()}})


def at_mode(
    X: np.ndarray,
    y: np.ndarray,
    X_test: np.ndarray,
    network: Network,
    settings: Settings,
    seed: int,
) -> Predictive:
    """Predict with the mode of the posterior alone.

    There may be none: as many parameters as rows fit the target, and the noise goes to 0.
    """
    model, _ = build(network, X, y)
    mode = find_mode(model, settings.mode_updates, seed)
    return predictive(as_draws(mode), model, X_test)


def laplace(
    X: np.ndarray,
    y: np.ndarray,
    X_test: np.ndarray,
    network: Network,
    settings: Settings,
    seed: int,
) -> Predictive:
    """Laplace approximation of the last layer around the mode, with one noise for all rows.

    Generalised Gauss-Newton curvature; precision of the prior and standard deviation of the noise
    maximise the marginal likelihood (Daxberger et al. 2021, Laplace redux).
    """
    if network.head == "input":
        network = replace(network, head="learned")
    model, _ = build(network, X, y)
    mode = find_mode(model, settings.mode_updates, seed)
    features, last = _last_layer(network, X, y, mode)
    features_test, _ = _last_layer(network, X_test, np.zeros(len(X_test)), mode)

    squares, basis = np.linalg.eigh(features.T @ features)
    squares = np.maximum(squares, 0)
    errors = np.square(y - features @ last).sum()

    def negative_evidence(logs: np.ndarray) -> float:
        precision, noise = np.exp(logs)
        fit = len(y) * np.log(noise) + errors / (2 * noise**2)
        prior = (precision * last @ last - len(last) * np.log(precision)) / 2
        return fit + prior + np.log(squares / noise**2 + precision).sum() / 2

    start = np.log([1, np.sqrt(errors / len(y))])
    precision, noise = np.exp(minimize(negative_evidence, start, method="Nelder-Mead").x)
    uncertain = np.square(features_test @ basis) @ (1 / (squares / noise**2 + precision))
    mean, sd = features_test @ last, np.sqrt(noise**2 + uncertain)
    return Predictive(mean[None], sd[None], {"precision": precision, "noise": noise})


def _last_layer(
    network: Network, X: np.ndarray, y: np.ndarray, point: dict[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Inputs of the last layer, with a column of ones, and its weights and bias."""
    model, features = build(network, X, y)
    parts = [features, model["y_mean_weights"], model["y_mean_bias"]]
    compute = pytensor.function(model.free_RVs, parts, on_unused_input="ignore")
    features, weights, bias = compute(*(point[variable.name] for variable in model.free_RVs))
    return np.column_stack([features, np.ones(len(X))]), np.append(weights, bias)
