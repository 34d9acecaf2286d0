"""The JAX engine: all chains vectorised, updates scanned, state on the device."""

import functools
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytensor.tensor as pt
from jax import lax
from pymc.pytensorf import compile as compile_graph
from pytensor.graph.basic import Variable

from pymc_sgmcmc.dynamics.base import Dynamics
from pymc_sgmcmc.engines.base import UPDATE_STATISTICS, Draws, State
from pymc_sgmcmc.engines.subsets import random_subset
from pymc_sgmcmc.estimators import Estimator
from pymc_sgmcmc.graphs import rebuild

# Draws leave the device in blocks of at most this many bytes and this many draws.
_BLOCK_BYTES = 2**25
_BLOCK_DRAWS = 256
# Room for the updates of a draw.
_STEPS = 128


class JaxEngine:
    """Chains of one estimator and one dynamics, compiled by XLA for the default device.

    Every chain has its own rows and its own noise, drawn from a key that depends on the chain's
    seed and the number of the update only; the same seed gives the same draws on the same device,
    however a run is cut into pieces. Rows are drawn with replacement below a tenth of all rows
    and without from there on. An update that gives a number that is not finite is rejected: the
    chain returns to the last position with a finite potential, with fresh momentum.

    Parameters
    ----------
    estimator : Estimator
        The potential, and the coordinates in which its chains move.
    dynamics : Dynamics
    same_rows : JaxEngine, optional
        One that has loaded the row data already.
    """

    def __init__(self, estimator: Estimator, dynamics: Dynamics, same_rows: Any = None) -> None:
        potential = estimator.potential
        self.dtype = potential.dtype
        self.size = potential.size
        self.batch_size = potential.batch_size
        self.auxiliaries = dynamics.auxiliaries
        self.statistics = (*dynamics.statistics, *UPDATE_STATISTICS)
        self._other_names = tuple(v.name for v in potential.others)
        self._other_dtypes = [v.type.dtype for v in potential.inputs()[1]]
        with potential.model:
            self._gradient = compile_gradient(estimator)
            self._theta = compile_position(estimator)
            self._transition = compile_transition(dynamics, self.size, self.dtype)
            self._fresh = compile_fresh(dynamics, self.size, self.dtype)
        self._parameters = estimator.parameters
        self._compiled: dict[Any, Any] = {}
        if same_rows is None:
            self.load(potential.row_values())
        else:
            self.share_rows(same_rows)

    # -- the contract ----------------------------------------------------------------------------

    def load(self, rows: Sequence[np.ndarray]) -> None:
        """Put the row data on the device, ``(N, ...)`` each."""
        with self.precision():
            self.rows = [jax.device_put(x) for x in rows]
        self._n_rows = len(rows[0]) if rows else 0

    def share_rows(self, other: Any) -> None:
        """Take the row data that another engine has put on the device."""
        self.rows, self._n_rows = other.rows, other._n_rows

    def init(
        self, positions: np.ndarray, seeds: np.ndarray, origin: np.ndarray | None = None
    ) -> State:
        """State of chains at the coordinates `positions`; see `Engine.init`."""

        def one(position, origin, seed):
            # The last number that an update can have: no update shares its noise.
            noise = self._noise(key_of(seed, jnp.uint32(2**32 - 1)))
            fresh = dict(zip(self.auxiliaries, self._fresh(position, noise), strict=True))
            zero = jnp.zeros((), jnp.uint32)
            return {
                "position": position,
                "finite_position": position,
                "origin": origin,
                **fresh,
                "key": seed,
                "update": zero,
                "rejected_in_a_row": zero,
            }

        with self.precision():
            start = jnp.asarray(positions, self.dtype)
            zero = start if origin is None else jnp.asarray(origin, self.dtype)
            args = (start, zero, jnp.asarray(seeds, jnp.uint32))
            return self._compile(jax.vmap(one), "init", args)(*args)

    def evaluate(
        self,
        positions: np.ndarray,
        others: Mapping[str, np.ndarray],
        seed: np.ndarray,
        parameters: Mapping[str, np.ndarray] | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Potential ``(chains,)`` and gradient ``(chains, d)`` from one random batch for each."""

        def one(position, others, parameters, key, rows):
            return self._gradient(position, *others, *parameters, *self._batch(key, rows))

        with self.precision():
            keys = jax.random.split(key_of(jnp.asarray(seed), jnp.uint32(0)), len(positions))
            values, axes = self._arguments(parameters)
            start = jnp.asarray(positions, self.dtype)
            args = (start, self.others(others), values, keys, self.rows)
            function = jax.vmap(one, in_axes=(0, 0, axes, 0, None))
            value, gradient = self._compile(function, "evaluate", args)(*args)
            return np.asarray(value), np.asarray(gradient)

    def capacity(self, chains: int) -> int:
        """Draws that one call of `run` may return."""
        draw_bytes = chains * self.size * np.dtype(self.dtype).itemsize
        return max(1, min(_BLOCK_DRAWS, _BLOCK_BYTES // draw_bytes))

    def run(
        self,
        state: State,
        step_sizes: np.ndarray,
        base_step_size: float,
        others: Mapping[str, np.ndarray] | None = None,
        capacity: int | None = None,
        parameters: Mapping[str, np.ndarray] | None = None,
    ) -> tuple[Draws, State]:
        """Advance all chains by ``n_draws`` draws; see `Engine.run`."""
        n_draws, n_steps = step_sizes.shape
        chains = len(state["position"])
        capacity = self.capacity(chains) if capacity is None else capacity
        if n_draws > capacity:
            raise ValueError(f"At most {capacity} draws of {chains} chains fit a run: {n_draws}.")
        with self.precision():
            # The same shapes whatever the number of draws and, mostly, of updates between them:
            # next to nothing compiles twice.
            room = max(_STEPS, 1 << (n_steps - 1).bit_length())
            padded = np.zeros((capacity, room), self.dtype)
            padded[:n_draws, :n_steps] = step_sizes
            values, axes = self._arguments(parameters)
            args = (
                {k: jnp.asarray(v) for k, v in state.items()},
                self.others(others or {}),
                values,
                jnp.asarray(padded),
                jnp.asarray(base_step_size, self.dtype),
                jnp.asarray([n_draws, n_steps], jnp.int32),
                self.rows,
            )
            chain = jax.vmap(self._run_chain, in_axes=(0, 0, axes, None, None, None, None))
            state, positions, statistics = self._compile(chain, "run", args)(*args)
            draws = Draws(
                np.asarray(positions)[:, :n_draws],
                {k: np.asarray(v)[:, :n_draws] for k, v in statistics.items()},
            )
            return draws, state

    # -- one chain -------------------------------------------------------------------------------

    def _run_chain(self, state, others, parameters, step_sizes, base_step_size, numbers, rows):
        n_draws, n_steps = numbers
        estimate = functools.partial(self.estimate, others, parameters, rows)

        def draw(i, carry):
            def update(j, carry):
                state, sums = carry
                state, accepted, statistics = self._update(
                    state, estimate, step_sizes[i, j], base_step_size
                )
                sums = {k: sums[k] + jnp.where(accepted, v, 0) for k, v in statistics.items()} | {
                    "accepted": sums["accepted"] + accepted
                }
                return state, sums

            state, positions, statistics = carry
            zeros = {k: jnp.zeros((), self.dtype) for k in (*self.statistics, "accepted")}
            state, sums = lax.fori_loop(0, n_steps, update, (state, zeros))
            state, left = self._leave_infinite(state, estimate)
            accepted = sums.pop("accepted")
            recorded = {k: v / jnp.maximum(accepted, 1) for k, v in sums.items()}
            recorded["gradient_norm"] = jnp.sqrt(recorded["gradient_norm"])
            recorded["step_size"] = step_sizes[i, n_steps - 1]
            recorded["rejected"] = n_steps - accepted + left
            statistics = {k: v.at[i].set(recorded[k]) for k, v in statistics.items()}
            (theta,) = self._theta(state["position"], *parameters)
            return state, positions.at[i].set(theta), statistics

        capacity = len(step_sizes)
        names = (*self.statistics, "step_size", "rejected")
        empty = {k: jnp.zeros(capacity, self.dtype) for k in names}
        positions = jnp.zeros((capacity, self.size), self.dtype)
        return lax.fori_loop(0, n_draws, draw, (state, positions, empty))

    def estimate(self, others, parameters, rows, position, key):
        """Potential and its gradient from a random batch."""
        return self._gradient(position, *others, *parameters, *self._batch(key, rows))

    def _update(self, state, estimate, step_size, base_step_size):
        noise_key, batch_key = jax.random.split(key_of(state["key"], state["update"]))
        noise = self._noise(noise_key)
        position = state["position"]
        potential, gradient = estimate(position, batch_key)
        # XLA would otherwise fuse the noise's generator into the gradient's loop, and draw it
        # several times over.
        gradient, noise = lax.optimization_barrier((gradient, noise))
        auxiliaries = [state[k] for k in self.auxiliaries]
        new_position, *rest = self._transition(
            position, *auxiliaries, gradient, noise, step_size, base_step_size
        )
        new_auxiliaries = rest[: len(auxiliaries)]
        virial = (position - state["origin"]) @ gradient / self.size
        of_update = (potential, gradient @ gradient, virial)  # UPDATE_STATISTICS
        statistics = dict(
            zip(self.statistics, (*rest[len(auxiliaries) :], *of_update), strict=True)
        )
        # A sum is finite only if every term is.
        finite = jnp.isfinite(jnp.sum(new_position))
        for x in statistics.values():
            finite &= jnp.isfinite(x)

        def keep(new, old):
            return jnp.where(finite, new, old)

        fresh = self._fresh(position, noise)
        # Back at the last finite position, an update that is finite there is no move yet.
        moved = jnp.any(position != state["finite_position"])
        count = state["rejected_in_a_row"]
        new_state = {
            "position": keep(new_position, state["finite_position"]),
            "finite_position": keep(position, state["finite_position"]),
            **{
                name: keep(new, renewed if name == "momentum" else old)
                for name, new, old, renewed in zip(
                    self.auxiliaries, new_auxiliaries, auxiliaries, fresh, strict=True
                )
            },
            "origin": state["origin"],
            "key": state["key"],
            "update": state["update"] + 1,
            "rejected_in_a_row": keep(jnp.where(moved, 0, count), count + 1),
        }
        return new_state, finite, statistics

    def _leave_infinite(self, state, estimate):
        """Return from a position whose potential the next update would find not finite."""
        noise_key, batch_key = jax.random.split(key_of(state["key"], state["update"]))
        potential, _ = estimate(state["position"], batch_key)
        leave = ~jnp.isfinite(potential)
        noise = self._noise(jax.random.fold_in(noise_key, 1))
        fresh = dict(zip(self.auxiliaries, self._fresh(state["position"], noise), strict=True))
        returned = {
            "position": state["finite_position"],
            "rejected_in_a_row": state["rejected_in_a_row"] + 1,
            **{k: v for k, v in fresh.items() if k == "momentum"},
        }
        return state | {k: jnp.where(leave, v, state[k]) for k, v in returned.items()}, leave

    def _noise(self, key):
        return jax.random.normal(key, (self.size,), self.dtype)

    def _batch(self, key, rows):
        """Rows of a batch, or all of them."""
        if self.batch_size is None or not rows:
            return rows
        n, size = self._n_rows, self.batch_size
        if size < n / 10:
            batch = jax.random.randint(key, (size,), 0, n, jnp.int32)
        else:
            batch = random_subset(key, n, size)
        return [jnp.take(x, batch, axis=0, mode="clip") for x in rows]

    # -- compilation -----------------------------------------------------------------------------

    def precision(self):
        """Context in which JAX computes in the engine's precision."""
        return jax.enable_x64(self.dtype == "float64")

    def others(self, others: Mapping[str, np.ndarray]) -> list[jax.Array]:
        """Values of the model's other value variables, in their order."""
        return [
            jnp.asarray(others[name], dtype)
            for name, dtype in zip(self._other_names, self._other_dtypes, strict=True)
        ]

    def _arguments(self, parameters: Mapping[str, np.ndarray] | None):
        """Parameters of the estimator in their order, and which of them each chain has its own."""
        values = [jnp.asarray((parameters or {})[k], self.dtype) for k in self._parameters]
        shapes = self._parameters.values()
        return values, [
            0 if x.ndim > len(shape) else None for x, shape in zip(values, shapes, strict=True)
        ]

    def _compile(self, function, name: str, args):
        shapes = jax.tree.map(lambda x: (x.shape, x.dtype), args)
        key = (name, str(shapes))
        if key not in self._compiled:
            self._compiled[key] = compile_for(function, *args)
        return self._compiled[key]


def compile_for(function, *args):
    """Compile a function for arguments of such shapes and types."""
    with warnings.catch_warnings():
        # PyTensor names 64-bit types in places where JAX has 32 bits: as meant.
        warnings.filterwarnings("ignore", message=".*requested dtype.*")
        return jax.jit(function).lower(*args).compile()


def key_of(key_data, update):
    """Random key of an update of a chain with the seed `key_data`."""
    key = jax.random.wrap_key_data(key_data, impl="threefry2x32")
    return jax.random.fold_in(key, update)


def compile_gradient(estimator: Estimator, length: int | None = None):
    """JAX function (position, *others, *parameters, *rows) → (value, gradient)."""
    position, others, rows = estimator.potential.inputs(length)
    parameters = _symbols(estimator)
    outputs = estimator.value_and_gradient(position, others, rows, parameters)
    return jax_function([position, *others, *parameters.values(), *rows], list(outputs))


def compile_position(estimator: Estimator):
    """JAX function (coordinates, *parameters) → (position,)."""
    coordinates, _, _ = estimator.potential.inputs()
    parameters = _symbols(estimator)
    position = estimator.position(coordinates, parameters)
    return jax_function([coordinates, *parameters.values()], [position])


def _symbols(estimator: Estimator) -> dict[str, Variable]:
    dtype = estimator.potential.dtype
    return {k: pt.tensor(k, dtype=dtype, shape=v) for k, v in estimator.parameters.items()}


def compile_transition(dynamics: Dynamics, size: int, dtype: str):
    """JAX function (position, *auxiliaries, gradient, noise, h, h₀) → (new ones, *statistics)."""
    names = ("position", *dynamics.auxiliaries, "gradient", "noise")
    position, *auxiliaries, gradient, noise = (
        pt.tensor(k, dtype=dtype, shape=(size,)) for k in names
    )
    h, h0 = pt.scalar("step_size", dtype=dtype), pt.scalar("base_step_size", dtype=dtype)
    state = dict(zip(dynamics.auxiliaries, auxiliaries, strict=True))
    new = dynamics.transition(position, state, gradient, noise, h, h0)
    outputs = [
        new.position,
        *(new.auxiliaries[k] for k in dynamics.auxiliaries),
        *(new.statistics[k] for k in dynamics.statistics),
    ]
    inputs = [position, *auxiliaries, gradient, noise, h, h0]
    return jax_function(inputs, rebuild(outputs, {}, dtype))


def compile_fresh(dynamics: Dynamics, size: int, dtype: str):
    """JAX function (position, noise) → auxiliaries of a chain that starts."""
    position, noise = (pt.tensor(k, dtype=dtype, shape=(size,)) for k in ("position", "noise"))
    fresh = dynamics.init(position, noise)
    outputs = [fresh[k] for k in dynamics.auxiliaries]
    if not outputs:
        return lambda position, noise: ()
    return jax_function([position, noise], rebuild(outputs, {}, dtype))


def jax_function(inputs: Sequence[Variable], outputs: Sequence[Variable]):
    """PyTensor graph as a JAX function.

    Raises
    ------
    NotImplementedError
        If an Op of the graph has no JAX counterpart; the message names it.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Skipping .* Op", category=UserWarning)
        try:
            function = compile_graph(
                list(inputs), list(outputs), mode="JAX", on_unused_input="ignore", trust_input=True
            )
        except NotImplementedError as error:
            raise NotImplementedError(
                f"The model's gradient can't be compiled by JAX: {error}. Write that part of the "
                "model with operations that PyTensor's JAX backend knows."
            ) from error
    return function.vm.jit_fn
