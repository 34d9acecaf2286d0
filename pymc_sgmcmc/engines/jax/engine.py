"""The JAX engine: all chains vectorised, updates looped, state on the devices."""

import contextlib
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from pymc_sgmcmc.dynamics.base import Dynamics
from pymc_sgmcmc.engines.base import (
    UPDATE_STATISTICS,
    Draws,
    State,
    block_capacity,
    check_capacity,
    type_of_rows,
)
from pymc_sgmcmc.engines.jax.devices import Devices, to_host
from pymc_sgmcmc.engines.jax.functions import (
    compile_for,
    compile_fresh,
    compile_position,
    compile_transition,
    jax_function,
)
from pymc_sgmcmc.engines.jax.integers import needs_64_bits
from pymc_sgmcmc.engines.jax.subsets import random_subset
from pymc_sgmcmc.engines.programs import gradient_program
from pymc_sgmcmc.estimators.estimators import Estimator
from pymc_sgmcmc.model.potential import StochasticPotential
from pymc_sgmcmc.streaming.stored import StoredRows

_GENERATOR = "threefry2x32"
# What is recorded is exact in its type, whatever matrices the model's own products have.
_EXACT = functools.partial(jax.default_matmul_precision, "highest")
# Room for the updates of a draw, as many as the warm-up may ask for, so that tuning and sampling
# are one program; and for those of all draws of a run.
_STEPS, _STEP_SIZES = 256, 2**20


class JaxEngine:
    """Chains of one estimator and one dynamics, compiled by XLA for the devices that JAX has.

    Every chain has its own rows and its own noise, drawn from a key that depends on the chain's
    seed and the number of the update only; the same seed gives the same draws on the same device,
    however a run is cut into pieces. Rows are drawn with replacement below a tenth of all rows
    and without from there on; or in sweeps of 2n updates, n = ⌊N/B⌋, through the parts of a new
    random partition, once and back. An update that gives a number that is not finite is rejected:
    the chain returns to the last position with a finite potential, with fresh momentum.

    Parameters
    ----------
    estimator : Estimator
        The potential, and the coordinates in which its chains move.
    dynamics : Dynamics
    same_rows : JaxEngine, optional
        One that has loaded the row data already.
    batches : {"independent", "sweeps"}
        How rows are drawn for an update.
    shard : {"chains", "rows"}
        What is spread over several devices.
    matmul_precision : {"bfloat16", "tensorfloat32", "float32"}, optional
        In which matrices are multiplied; JAX's default for the device when None.
    """

    _stored: StoredRows | None = None

    def __init__(
        self,
        estimator: Estimator,
        dynamics: Dynamics,
        same_rows: Any = None,
        batches: str = "independent",
        shard: str = "chains",
        matmul_precision: str | None = None,
    ) -> None:
        potential = estimator.potential
        self._matmul_precision = matmul_precision
        self._devices = Devices(shard)
        self._in_sweeps = batches == "sweeps"
        self.dtype = potential.dtype
        self.size = potential.size
        self.batch_size = potential.batch_size
        self.auxiliaries = dynamics.auxiliaries
        self.statistics = (*dynamics.statistics, *UPDATE_STATISTICS)
        self._other_names = tuple(v.name for v in potential.others)
        self._other_dtypes = [v.type.dtype for v in potential.inputs()[1]]
        with potential.model:
            length = length_of_parts(potential, self._devices.parts)
            program = gradient_program(estimator, length)
            self._64_bits = self.dtype == "float64" or needs_64_bits(
                program, potential.row_arrays()
            )
            self._gradient = jax_function(*program)
            self._theta = compile_position(estimator)
            self._transition = compile_transition(dynamics, self.size, self.dtype)
            self._fresh = compile_fresh(dynamics, self.size, self.dtype)
        self._parameters = estimator.parameters
        self._compiled: dict[Any, Any] = {}
        self._stored = potential.stored
        if self._stored is not None:
            self.load([])
        elif same_rows is None:
            self.load(potential.row_arrays())
        else:
            self.share_rows(same_rows)

    # -- the contract ----------------------------------------------------------------------------

    def load(self, rows: Sequence[np.ndarray]) -> None:
        """Take the row data, ``(N, ...)`` each; they go to the devices that come to need them."""
        self._rows: dict[int, list[Any]] = {}
        self._host_rows = rows

    def share_rows(self, other: Any) -> None:
        """Take the row data that another engine has loaded."""
        self._rows, self._host_rows = other._rows, other._host_rows

    def release(self) -> None:
        """Take the rows off the devices, until they are needed again."""
        self._rows.clear()

    def vectorise(
        self,
        one: Any,
        axes: tuple[Any, ...],
        args: Sequence[Any],
        chains: int,
        batches: Sequence[Any] | None = None,
    ) -> Any:
        """Make a function of one chain one of many, and put its arguments and the rows in place.

        The last argument of the function are the rows, or `batches`, which every chain has its own
        of; see `Devices.vectorise`.
        """
        number = self._devices.used_by(chains)
        if batches is not None:
            function, args = self._devices.vectorise(one, axes, args, number, True)
            return function, (*args, list(batches))
        rows = self._rows.get(number)  # another thread may release them
        if rows is None:
            some = self.batch_size is not None
            cast = [
                x.astype(type_of_rows(x.dtype, self.dtype, some), copy=False)
                for x in self._host_rows
            ]
            rows = self._rows[number] = self._devices.place_rows(cast, number)
        function, args = self._devices.vectorise(one, axes, args, number)
        return function, (*args, rows)

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
        batches: Sequence[Any] | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Potential ``(chains,)`` and gradient ``(chains, d)`` from one random batch for each."""

        def one(position, others, parameters, key, rows):
            if batches is None:
                batch = self._batch(jax.random.wrap_key_data(key, impl=_GENERATOR), rows)
            else:
                batch = [x[0] for x in rows]
            return self.estimate(others, parameters, batch, position)

        with self.precision():
            keys = _keys_of(seed, len(positions))
            values, axes = self._arguments(parameters)
            start = jnp.asarray(positions, self.dtype)
            args = (start, self.others(others), values, keys)
            function, args = self.vectorise(one, (0, 0, axes, 0), args, len(positions), batches)
            value, gradient = self._compile(function, "evaluate", args)(*args)
            return to_host(value), to_host(gradient)

    def capacity(self, chains: int) -> int:
        """Draws that one call of `run` may return."""
        return block_capacity(chains, self.size, self.dtype)

    def run(
        self,
        state: State,
        step_sizes: np.ndarray,
        base_step_size: float,
        others: Mapping[str, np.ndarray] | None = None,
        capacity: int | None = None,
        parameters: Mapping[str, np.ndarray] | None = None,
        batches: Sequence[Any] | None = None,
        place: int = 0,
    ) -> tuple[Draws, State]:
        """Advance all chains by ``n_draws`` draws; see `Engine.run`."""
        n_draws, n_steps = step_sizes.shape
        chains = len(state["position"])
        capacity = self.capacity(chains) if capacity is None else capacity
        check_capacity(n_draws, chains, capacity)
        with self.precision():
            # The same shapes whatever the number of draws and, mostly, of updates between them:
            # next to nothing compiles twice.
            room = max(_STEPS, 1 << (n_steps - 1).bit_length())
            capacity = max(n_draws, min(capacity, _STEP_SIZES // room))
            padded = np.zeros((capacity, room), self.dtype)
            padded[:n_draws, :n_steps] = step_sizes
            values, axes = self._arguments(parameters)
            args = (
                {k: jnp.asarray(v) for k, v in state.items()},
                self.others(others or {}),
                values,
                jnp.asarray(padded),
                jnp.asarray(base_step_size, self.dtype),
                jnp.asarray([n_draws, n_steps, place], jnp.int32),
            )
            self._devices.warn_of_idle(chains)
            run, args = self.vectorise(
                self._run_chain, (0, 0, axes, None, None, None), args, chains, batches
            )
            state, positions, statistics = self._compile(run, "run", args)(*args)
            draws = Draws(
                to_host(positions)[:, :n_draws],
                {k: to_host(v)[:, :n_draws] for k, v in statistics.items()},
            )
            if jax.process_count() > 1:
                state = {k: to_host(v) for k, v in state.items()}
            return draws, state

    # -- rows that are read while the chains run -------------------------------------------------

    def numbers(self, keys: np.ndarray, updates: np.ndarray, n: int) -> np.ndarray:
        """Numbers of the rows of some updates; see `Reads.numbers`."""

        def one(key, update):
            following = update + jnp.arange(n, dtype=jnp.uint32)
            return jax.vmap(lambda i: self._numbers_of_update(key, i))(following)

        return self._on_host(one, f"numbers of {n}", keys, updates)

    def numbers_to_evaluate(self, seed: np.ndarray, chains: int) -> np.ndarray:
        """Numbers of the rows that `evaluate` takes; see `Reads.numbers_to_evaluate`."""

        def one(key):
            return self._numbers(jax.random.wrap_key_data(key, impl=_GENERATOR))

        return self._on_host(one, "numbers", _keys_of(seed, chains))

    def place(self, batches: Sequence[np.ndarray]) -> list[Any]:
        """Put batches on the devices that need them; see `Reads.place`."""
        with self.precision():
            return self._devices.place_batches(batches, self._devices.used_by(len(batches[0])))

    def _on_host(self, one, name, *args):
        """Value of a function of one chain's numbers for all, computed beside the chains."""
        host = jax.devices("cpu")[0]
        with self.precision(), jax.default_device(host):
            placed = [jax.device_put(np.asarray(x), host) for x in args]
            return np.asarray(self._compile(jax.vmap(one), name, placed)(*placed))

    # -- one chain -------------------------------------------------------------------------------

    def _run_chain(self, state, others, parameters, step_sizes, base_step_size, numbers, rows):
        n_draws, n_steps, place = numbers

        def estimate(state, number):
            if self._stored is None:
                batch = self._batch_of_update(state["key"], state["update"], rows)
            else:
                batch = [lax.dynamic_index_in_dim(x, number, keepdims=False) for x in rows]
            return self.estimate(others, parameters, batch, state["position"])

        def draw(i, carry):
            def update(j, carry):
                state, sums = carry
                state, accepted, statistics = self._update(
                    state,
                    estimate(state, place + i * n_steps + j),
                    step_sizes[i, j],
                    base_step_size,
                )
                sums = {k: sums[k] + jnp.where(accepted, v, 0) for k, v in statistics.items()} | {
                    "accepted": sums["accepted"] + accepted
                }
                return state, sums

            state, positions, statistics = carry
            zeros = {k: jnp.zeros((), self.dtype) for k in (*self.statistics, "accepted")}
            state, sums = lax.fori_loop(0, n_steps, update, (state, zeros))
            potential, _ = estimate(state, place + (i + 1) * n_steps)
            state, left = self._leave_infinite(state, potential)
            accepted = sums.pop("accepted")
            recorded = {k: v / jnp.maximum(accepted, 1) for k, v in sums.items()}
            recorded["gradient_norm"] = jnp.sqrt(recorded["gradient_norm"])
            recorded["step_size"] = step_sizes[i, n_steps - 1]
            recorded["rejected"] = n_steps - accepted + left
            statistics = {k: v.at[i].set(recorded[k]) for k, v in statistics.items()}
            with _EXACT():
                (theta,) = self._theta(state["position"], *parameters)
            return state, positions.at[i].set(theta), statistics

        capacity = len(step_sizes)
        names = (*self.statistics, "step_size", "rejected")
        empty = {k: jnp.zeros(capacity, self.dtype) for k in names}
        positions = jnp.zeros((capacity, self.size), self.dtype)
        return lax.fori_loop(0, n_draws, draw, (state, positions, empty))

    def estimate(self, others, parameters, batch, position):
        """Potential and its gradient from the rows of a batch."""
        return self._devices.average(self._gradient(position, *others, *parameters, *batch))

    def _update(self, state, estimated, step_size, base_step_size):
        noise_key, _ = jax.random.split(key_of(state["key"], state["update"]))
        noise = self._noise(noise_key)
        position = state["position"]
        potential, gradient = estimated
        # XLA would otherwise fuse the noise's generator into the gradient's loop, and draw it
        # several times over.
        gradient, noise = lax.optimization_barrier((gradient, noise))
        auxiliaries = [state[k] for k in self.auxiliaries]
        new_position, *rest = self._transition(
            position, *auxiliaries, gradient, noise, step_size, base_step_size
        )
        new_auxiliaries = rest[: len(auxiliaries)]
        # XLA adds up one number after the other, but for products of vectors.
        ones = jnp.ones_like(position)
        with _EXACT():
            means = [x @ ones / self.size for x in rest[len(auxiliaries) :]]
            virial = (position - state["origin"]) @ gradient / self.size
            of_update = (potential, gradient @ gradient, virial)  # UPDATE_STATISTICS
            # A sum is finite only if every term is.
            finite = jnp.isfinite(new_position @ ones)
        statistics = dict(zip(self.statistics, (*means, *of_update), strict=True))
        for x in statistics.values():
            finite &= jnp.isfinite(x)

        def keep(new, old):
            return jnp.where(finite, new, old)

        fresh = self._fresh(state["finite_position"], noise)
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

    def _leave_infinite(self, state, potential):
        """Return from a position whose potential the next update would find not finite."""
        noise_key, _ = jax.random.split(key_of(state["key"], state["update"]))
        leave = ~jnp.isfinite(potential)
        noise = self._noise(jax.random.fold_in(noise_key, 1))
        back = state["finite_position"]
        fresh = dict(zip(self.auxiliaries, self._fresh(back, noise), strict=True))
        returned = {
            "position": back,
            "rejected_in_a_row": state["rejected_in_a_row"] + 1,
            **{k: v for k, v in fresh.items() if k == "momentum"},
        }
        return state | {k: jnp.where(leave, v, state[k]) for k, v in returned.items()}, leave

    def _noise(self, key):
        return jax.random.normal(key, (self.size,), self.dtype)

    def _batch_of_update(self, seed, update, rows):
        """Rows of a batch of its own, or of the part of a sweep whose turn it is."""
        if self.batch_size is None or not rows:
            return rows
        return self._take(rows, self._numbers_of_update(seed, update))

    def _numbers_of_update(self, seed, update):
        """Numbers of those rows."""
        if not self._in_sweeps:
            _, key = jax.random.split(key_of(seed, update))
            return self._numbers(key)
        n, size = self._n_rows, self.batch_size or 1
        parts = n // size
        sweep, turn = update // (2 * parts), update % (2 * parts)
        part = jnp.minimum(turn, 2 * parts - 1 - turn)
        _, key = jax.random.split(key_of(seed, sweep))
        return random_subset(key, n, size, part * size)

    def _batch(self, key, rows):
        """Rows of a batch, or all of them."""
        if self.batch_size is None or not rows:
            return rows
        return self._take(rows, self._numbers(key))

    def _take(self, rows, numbers):
        """Rows by their numbers, in the engine's precision."""
        batch = self._devices.take(rows, numbers)
        return [x.astype(self.dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x for x in batch]

    def _numbers(self, key):
        """Numbers of the rows of a batch."""
        n, size = self._n_rows, self.batch_size or 1
        if size < n / 10:
            return jax.random.randint(key, (size,), 0, n, jnp.int32)
        return random_subset(key, n, size)

    @property
    def _n_rows(self):
        return self._stored.n_rows if self._stored else len(self._host_rows[0])

    # -- compilation -----------------------------------------------------------------------------

    @contextlib.contextmanager
    def precision(self):
        """Context in which JAX computes in the engine's precision."""
        products = jax.default_matmul_precision(self._matmul_precision)
        with jax.enable_x64(self._64_bits), products:
            yield

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


def length_of_parts(potential: StochasticPotential, parts: int) -> int | None:
    """Rows of a batch that one of several devices evaluates.

    Raises
    ------
    ValueError
        If a batch can't be cut into parts of one length.
    """
    if parts == 1:
        return None
    if potential.n_rows is None:
        raise ValueError(
            'shard="rows" spreads the rows over devices, and none are known without a batch_size. '
            "Give one: batch_size=... (N for all rows)."
        )
    length = potential.batch_size or potential.n_rows
    if length % parts:
        raise ValueError(
            f'shard="rows" cuts every batch into {parts} parts, one for each device, and '
            f"{length} rows have no such parts. Use batch_size={-(-length // parts) * parts}."
        )
    return length // parts


def _keys_of(seed, chains):
    """Data of the random keys of chains that are evaluated once."""
    keys = jax.random.split(key_of(jnp.asarray(seed, jnp.uint32), jnp.uint32(0)), chains)
    return jax.random.key_data(keys)


def key_of(key_data, update):
    """Random key of an update of a chain with the seed `key_data`."""
    key = jax.random.wrap_key_data(key_data, impl=_GENERATOR)
    return jax.random.fold_in(key, update)
