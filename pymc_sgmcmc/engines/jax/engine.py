"""The JAX engine: chains vectorised, updates looped, state on the devices."""

import contextlib
import functools
import math
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from pymc.pytensorf import compile as compile_graph

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
    compile_gradient,
    compile_position,
    compile_transition,
    translate,
)
from pymc_sgmcmc.engines.jax.integers import needs_64_bits
from pymc_sgmcmc.engines.jax.random import (
    ESCAPE,
    NOISE,
    ROWS,
    neighbours,
    normals,
    pairs_of_normals,
    random_rows,
    rows_of_strata,
    words,
)
from pymc_sgmcmc.engines.jax.subsets import ROUNDS, random_subset
from pymc_sgmcmc.engines.jax.tiles import Tiles
from pymc_sgmcmc.engines.programs import (
    fresh_program,
    gradient_program,
    is_elementwise,
    transition_program,
)
from pymc_sgmcmc.engines.threads import chains_of_a_thread, cores
from pymc_sgmcmc.estimators.estimators import Estimator
from pymc_sgmcmc.model.interpreted import INTERPRETED
from pymc_sgmcmc.model.potential import StochasticPotential
from pymc_sgmcmc.streaming.stored import StoredRows

# What is recorded is exact in its type, whatever matrices the model's own products have.
_EXACT = functools.partial(jax.default_matmul_precision, "highest")
# Room for the updates of a draw, as many as the warm-up may ask for, so that tuning and sampling
# are one program; and for those of all draws of a run.
_STEPS, _STEP_SIZES = 256, 2**20
# What the host asks of a state: which batches come, and whether chains are stuck.
_SMALL_OF_STATE = ("key", "update", "rejected_in_a_row")
# Numbers that estimates at several positions touch at once.
_EVALUATED = 2**23


class JaxEngine:
    """Chains of one estimator and one dynamics, compiled by XLA for the devices that JAX has.

    Every chain has its own rows and its own noise, drawn from a key that depends on the chain's
    seed and the number of the update only; the same seed gives the same draws on the same device,
    however a run is cut into pieces. Rows are drawn with replacement below a tenth of all rows
    and without from there on; or one of each of B strata, where rows are spread over devices, which
    then need no others than their own; or B neighbours from a random place; or in sweeps of 2n
    updates, n = ⌊N/B⌋, through the parts of a new random partition, once and back. An update that
    gives a number that is not finite is rejected: the chain returns to the last position with a
    finite potential, with fresh momentum.

    Parameters
    ----------
    estimator : Estimator
        The potential, and the coordinates in which its chains move.
    dynamics : Dynamics
    like : JaxEngine, optional
        One of the same potential, whose row data and whose translation of it serve this one.
    batches : {"independent", "sweeps", "blocks"}
        How rows are drawn for an update.
    shard : {"chains", "rows"} or (int, int)
        What is spread over several devices; see `Devices`.
    matmul_precision : {"bfloat16", "tensorfloat32", "float32"}, optional
        In which matrices are multiplied; JAX's default for the device when None.
    """

    _stored: StoredRows | None = None

    def __init__(
        self,
        estimator: Estimator,
        dynamics: Dynamics,
        like: Any = None,
        batches: str = "independent",
        shard: str | tuple[int, int] = "chains",
        matmul_precision: str | None = None,
    ) -> None:
        potential = estimator.potential
        self._matmul_precision = matmul_precision
        self._devices = Devices(shard)
        self._in_sweeps, self._in_blocks = batches == "sweeps", batches == "blocks"
        self._in_strata = shard != "chains" and not self._in_blocks
        self.dtype = potential.dtype
        self.size = potential.size
        self.batch_size = potential.batch_size
        self.auxiliaries = dynamics.auxiliaries
        self.statistics = (*dynamics.statistics, *UPDATE_STATISTICS)
        self._other_names = tuple(v.name for v in potential.others)
        self._other_dtypes = [v.type.dtype for v in potential.inputs()[1]]
        with potential.model:
            length = length_of_parts(potential, self._devices.parts)
            if like is None:
                program = gradient_program(Estimator(potential), length)
                self._64_bits = self.dtype == "float64" or needs_64_bits(
                    program, potential.row_arrays()
                )
                self._translated = translate(program)
            else:
                self._64_bits, self._translated = like._64_bits, like._translated
            self._gradient = compile_gradient(estimator, length, self._translated)
        # That an update of a chain touches: of its position, and of its rows.
        _, _, batch = potential.inputs(length)
        self._numbers = self.size + sum(math.prod(v.type.shape) for v in batch)
        # Also refuses what keeps no contract.
        transition = transition_program(dynamics, self.size, self.dtype)
        alike = is_elementwise(transition) and is_elementwise(
            fresh_program(dynamics, self.size, self.dtype)
        )
        self._tiles = Tiles(self.size, cores() if alike and self._devices.one_processor else 1)
        self._estimator, self._dynamics = estimator, dynamics
        self._parameters = estimator.parameters
        self._compiled: dict[Any, Any] = {}
        self._compiling = threading.Lock()
        self._stored = potential.stored
        if self._stored is not None:
            self.load([])
        elif like is None:
            self.load(potential.row_arrays())
        else:
            self.share_rows(like)

    # The warm-up asks for gradients alone: what moves chains is made when the first of them begin.

    @functools.cached_property
    def _theta(self):
        return compile_position(self._estimator)

    @functools.cached_property
    def _transition(self):
        return compile_transition(self._dynamics, self._tiles.shape, self.dtype)

    @functools.cached_property
    def _fresh(self):
        return compile_fresh(self._dynamics, self._tiles.shape, self.dtype)

    @functools.cached_property
    def _begin(self):
        program = fresh_program(self._dynamics, self.size, self.dtype)
        return compile_graph(*program, mode=INTERPRETED, on_unused_input="ignore")

    # -- the contract ----------------------------------------------------------------------------

    def prepare(self) -> None:
        """Make the functions that move chains; see `Engine.prepare`."""
        _ = self._theta, self._transition, self._fresh

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
        groups = self._devices.used_by(chains)
        if batches is not None:
            function, args = self._devices.vectorise(one, axes, args, groups, True)
            return function, (*args, list(batches))
        rows = self._rows.get(groups)  # another thread may release them
        if rows is None:
            some = self.batch_size is not None
            cast = [
                x.astype(type_of_rows(x.dtype, self.dtype, some), copy=False)
                for x in self._host_rows
            ]
            rows = self._rows[groups] = self._devices.place_rows(cast, groups, some)
        function, args = self._devices.vectorise(one, axes, args, groups)
        return function, (*args, rows)

    def init(
        self, positions: np.ndarray, seeds: np.ndarray, origin: np.ndarray | None = None
    ) -> State:
        """State of chains at the coordinates `positions`; see `Engine.init`."""
        start = np.array(positions, self.dtype)
        zero = start.copy() if origin is None else np.array(origin, self.dtype)
        zeros = np.zeros(len(start), np.uint32)
        # Once in a run, and on the host: XLA takes longer to compile it than it takes.
        begun = []
        for position, seed in zip(start, np.asarray(seeds, np.uint64), strict=True):
            rng = np.random.Generator(np.random.Philox(key=seed))
            begun.append(self._begin(position, rng.normal(size=self.size).astype(self.dtype)))
        fresh = (np.stack(x) for x in zip(*begun, strict=True))
        return {
            "position": start,
            "finite_position": start.copy(),
            "origin": zero,
            **dict(zip(self.auxiliaries, fresh, strict=True)),
            "key": np.array(seeds, np.uint32),
            "update": zeros,
            "rejected_in_a_row": zeros.copy(),
        }

    def evaluate(
        self,
        positions: np.ndarray,
        others: Mapping[str, np.ndarray],
        seed: np.ndarray,
        parameters: Mapping[str, np.ndarray] | None = None,
        batches: Sequence[Any] | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Potential ``(chains,)`` and gradient ``(chains, d)`` from one random batch for each."""

        def one(position, others, parameters, seed, number, rows):
            if batches is None:
                batch = self._batch(seed, number, rows)
            else:
                batch = [x[0] for x in rows]
            return self.estimate(others, parameters, batch, position)

        n = len(positions)
        few = max(1, _EVALUATED // self._numbers) if batches is None else n
        some = self.enough(min(n, few))
        seeds, numbers = _of_evaluation(seed, n)
        found = []
        with self.precision():
            values, axes = self._arguments(parameters)
            for first in range(0, n, some):
                filled = np.arange(first, first + some) % n
                start = np.asarray(positions)[filled].astype(self.dtype)
                known = self.others({k: np.asarray(x)[filled] for k, x in others.items()})
                pairs = zip(values, axes, strict=True)
                own = [x if axis is None else x[filled] for x, axis in pairs]
                args = (start, known, own, seeds[filled], numbers[filled])
                function, args = self.vectorise(one, (0, 0, axes, 0, 0), args, some, batches)
                found.append(to_host(self._compile(function, "evaluate", args)(*args)))
        value, gradient = (np.concatenate(x)[:n] for x in zip(*found, strict=True))
        return value, gradient

    def enough(self, chains: int) -> int:
        """Chains to evaluate in place of so many, that every process has some."""
        return self._devices.enough(chains)

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
        self.prepare()  # not within the trace of another
        with self.precision():
            # The same shapes whatever the number of draws and, mostly, of updates between them:
            # next to nothing compiles twice.
            room = max(_STEPS, 1 << (n_steps - 1).bit_length())
            capacity = max(n_draws, min(capacity, _STEP_SIZES // room))
            padded = np.zeros((capacity, room), self.dtype)
            padded[:n_draws, :n_steps] = step_sizes
            values, axes = self._arguments(parameters)
            args = (
                {k: self._typed(v) for k, v in state.items()},
                self.others(others or {}),
                values,
                padded,
                np.asarray(base_step_size, self.dtype),
                np.array([n_draws, n_steps, place], np.int32),
            )
            self._devices.warn_of_idle(chains)
            return self._advance((0, 0, axes, None, None, None), args, chains, n_draws, batches)

    def _advance(self, axes, args, chains, n_draws, batches):
        """Draws and state after a run of all chains, in one program or in several.

        On the cores of a processor, threads take a few chains each: XLA makes the products of
        several chains one by one, and no faster than those of one.
        """

        def advance(args, chains, batches):
            run, args = self.vectorise(self._run_chain, axes, args, chains, batches)
            state, *made = self._compile(run, "run", args)(*args)
            if jax.process_count() > 1:
                state, *made = self._own_part(state, *made)
            return jax.tree.map(lambda x: np.asarray(x)[:, :n_draws], made), state

        few = chains_of_a_thread(chains, self._numbers) if self._devices.one_processor else chains
        if few == chains:
            (positions, statistics), state = advance(args, chains, batches)
            own = self._devices.own(chains) if jax.process_count() > 1 else None
            return Draws(positions, statistics, own), state

        def advance_some(first):
            # The last ones are filled up, for all to be one program.
            some = np.arange(first, first + few) % chains

            def of_some(axis, values):
                if axis is None:
                    return values
                return jax.tree.map(lambda x: np.asarray(x)[some], values)

            with self.precision():  # which is a thread's own
                own = jax.tree.map(of_some, axes, args, is_leaf=lambda axis: axis is None)
                own_batches = None if batches is None else of_some(0, batches)
                return advance(own, few, own_batches)

        with ThreadPoolExecutor(cores()) as threads:
            parts = list(threads.map(advance_some, range(0, chains, few)))
        made, state = jax.tree.map(lambda *x: np.concatenate(x)[:chains], *parts)
        return Draws(*made), state

    def _own_part(self, state, positions, statistics):
        """State, positions and statistics, of which all processes have what is small.

        Positions are of the chains that are a process's own, and what else is as large stays on
        the devices.
        """
        state = dict(state)
        small = {name: state[name] for name in _SMALL_OF_STATE}
        known, statistics = to_host((small, statistics))
        own = self._devices.own(len(positions))
        return state | known, self._devices.own_rows(positions, own), statistics

    # -- rows that are read while the chains run -------------------------------------------------

    def numbers(self, keys: np.ndarray, updates: np.ndarray, n: int) -> np.ndarray:
        """Numbers of the rows of some updates; see `Reads.numbers`."""

        def one(key, update):
            following = update + jnp.arange(n, dtype=jnp.uint32)
            return jax.vmap(lambda i: self._numbers_of_update(key, i))(following)

        return self._on_host(one, f"numbers of {n}", keys, updates)

    def numbers_to_evaluate(self, seed: np.ndarray, chains: int) -> np.ndarray:
        """Numbers of the rows that `evaluate` takes; see `Reads.numbers_to_evaluate`."""
        return self._on_host(self._numbers_of_its_own, "numbers", *_of_evaluation(seed, chains))

    def shares(self, numbers: np.ndarray) -> list[np.ndarray]:
        """What each device of this process needs of some batches; see `Reads.shares`."""
        return self._devices.shares(numbers)

    def place(
        self, shares: Sequence[Sequence[np.ndarray]], shape: tuple[int, ...]
    ) -> list[jax.Array]:
        """Put batches on the devices that need them; see `Reads.place`."""
        with self.precision():
            return self._devices.place_batches(shares, shape)

    def _on_host(self, one, name, *args):
        """Value of a function of one chain's numbers for all, computed beside the chains."""
        host = jax.local_devices(backend="cpu")[0]
        with self.precision(), jax.default_device(host):
            placed = [jax.device_put(np.asarray(x), host) for x in args]
            return np.asarray(self._compile(jax.vmap(one), name, placed)(*placed))

    # -- one chain -------------------------------------------------------------------------------

    def _run_chain(self, state, others, parameters, step_sizes, base_step_size, numbers, rows):
        vectors = {"position", "finite_position", "origin", *self.auxiliaries}

        def each(change, state):
            return {k: change(x) if k in vectors else x for k, x in state.items()}

        laid = each(self._tiles.lay, state)
        state, *made = self._run_laid(
            laid, others, parameters, step_sizes, base_step_size, numbers, rows
        )
        return each(self._tiles.take_up, state), *made

    def _run_laid(self, state, others, parameters, step_sizes, base_step_size, numbers, rows):
        n_draws, n_steps, place = numbers

        def draw(i, carry):
            def update(j, carry):
                state, sums = carry
                # After the updates of a draw one more batch: whether the next could go on.
                last = j == n_steps
                noise, batch = self._random(state, last, rows, place + i * n_steps + j)
                position = self._tiles.take_up(state["position"])
                estimate = self.estimate(others, parameters, batch, position)
                state, accepted, statistics = self._update(
                    state, estimate, noise, step_sizes[i, j], base_step_size, last
                )
                counts = accepted & ~last
                sums = {k: sums[k] + jnp.where(counts, v, 0) for k, v in statistics.items()} | {
                    "accepted": sums["accepted"] + counts,
                    "rejected": sums["rejected"] + ~accepted,
                }
                return state, sums

            state, positions, statistics = carry
            names = (*self.statistics, "accepted", "rejected")
            zeros = {k: jnp.zeros((), self.dtype) for k in names}
            state, sums = lax.fori_loop(0, n_steps + 1, update, (state, zeros))
            accepted, rejected = sums.pop("accepted"), sums.pop("rejected")
            recorded = {k: v / jnp.maximum(accepted, 1) for k, v in sums.items()}
            recorded["gradient_norm"] = jnp.sqrt(recorded["gradient_norm"])
            recorded["step_size"] = step_sizes[i, n_steps - 1]
            recorded["rejected"] = rejected
            statistics = {k: v.at[i].set(recorded[k]) for k, v in statistics.items()}
            with _EXACT():
                (theta,) = self._theta(self._tiles.take_up(state["position"]), *parameters)
            return state, positions.at[i].set(theta), statistics

        capacity = len(step_sizes)
        names = (*self.statistics, "step_size", "rejected")
        empty = {k: jnp.zeros(capacity, self.dtype) for k in names}
        positions = jnp.zeros((capacity, self.size), self.dtype)
        return lax.fori_loop(0, n_draws, draw, (state, positions, empty))

    def estimate(self, others, parameters, batch, position):
        """Potential and its gradient from the rows of a batch."""
        return self._devices.average(self._gradient(position, *others, *parameters, *batch))

    def _update(self, state, estimate, noise, step_size, base_step_size, last):
        """State after an update, whether it was accepted, and its statistics.

        The `last` one of a draw moves no chain but those whose potential the next update would find
        not finite: they return to where it was, with fresh momentum.
        """
        position = state["position"]
        # XLA would otherwise fuse the noise's generator into the gradient's loop, and draw it
        # several times over.
        (potential, slope), noise = lax.optimization_barrier((estimate, noise))
        gradient = self._tiles.lay(slope)
        auxiliaries = [state[k] for k in self.auxiliaries]
        moved_on = self._transition(
            position, *auxiliaries, gradient, noise, step_size, base_step_size
        )
        if self._devices.one_processor:  # which would do it anew for everything that reads of it
            moved_on = lax.optimization_barrier(moved_on)
        new_position, *rest = moved_on
        new_auxiliaries = rest[: len(auxiliaries)]
        # XLA adds up one number after the other, but for products of vectors.
        ones = self._tiles.ones(self.dtype)
        with _EXACT():
            means = [jnp.vdot(x, ones) / self.size for x in rest[len(auxiliaries) :]]
            virial = self._tiles.take_up(position - state["origin"]) @ slope / self.size
            of_update = (potential, slope @ slope, virial)  # UPDATE_STATISTICS
            # A sum is finite only if every term is.
            finite = jnp.isfinite(jnp.vdot(new_position, ones))
            # Back at the last finite position, an update that is finite there is no move yet.
            moved = jnp.vdot(jnp.abs(position - state["finite_position"]), ones) > 0
        statistics = dict(zip(self.statistics, (*means, *of_update), strict=True))
        for x in statistics.values():
            finite &= jnp.isfinite(x)
        accepted = jnp.where(last, jnp.isfinite(potential), finite)

        def keep(new, old, otherwise):
            return jnp.where(accepted, jnp.where(last, old, new), otherwise)

        returned = state["finite_position"]
        fresh = self._fresh(returned, noise)
        count = state["rejected_in_a_row"]
        new_state = {
            "position": keep(new_position, position, returned),
            "finite_position": keep(position, returned, returned),
            **{
                name: keep(new, old, renewed if name == "momentum" else old)
                for name, new, old, renewed in zip(
                    self.auxiliaries, new_auxiliaries, auxiliaries, fresh, strict=True
                )
            },
            "origin": state["origin"],
            "key": state["key"],
            "update": state["update"] + ~last,
            "rejected_in_a_row": keep(jnp.where(moved, 0, count), count, count + 1),
        }
        return new_state, accepted, statistics

    # -- random numbers --------------------------------------------------------------------------

    def _random(self, state, last, rows, place):
        """Noise of an update, and its rows: a batch of its own, or the next part of a sweep.

        Rows that were read are at a place among the batches that were handed over.
        """
        seed, update = state["key"], state["update"]
        stream = jnp.where(last, jnp.uint32(ESCAPE), jnp.uint32(NOISE))
        of_noise = (stream, pairs_of_normals(self.size))
        if self._stored is None and self.batch_size is not None and rows and not self._in_sweeps:
            first, pairs = self._stretch()
            noise, drawn = words(seed, update, of_noise, (ROWS + first, pairs))
            batch = self._take(rows, self._drawn(drawn, first), self._in_strata)
        else:
            (noise,) = words(seed, update, of_noise)
            if self._stored is not None:
                batch = [lax.dynamic_index_in_dim(x, place, keepdims=False) for x in rows]
            elif self.batch_size is None or not rows:
                batch = rows
            else:
                batch = self._take(rows, self._numbers_of_update(seed, update))
        return self._tiles.lay(normals(noise, self.size, self.dtype)), batch

    def _batch(self, seed, number, rows):
        """Rows of a batch, or all of them."""
        if self.batch_size is None or not rows:
            return rows
        numbers = self._numbers_of_its_own(seed, number, self._stretch())
        return self._take(rows, numbers, self._in_strata)

    def _take(self, rows, numbers, own=False):
        """Rows by their numbers, in the engine's precision: of this device's part, or of any."""
        take = self._devices.take if own else self._devices.hand_out
        batch = take(rows, numbers, self._n_rows, self._in_blocks)
        return [x.astype(self.dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x for x in batch]

    def _numbers_of_update(self, seed, update):
        """Numbers of the rows of an update."""
        if not self._in_sweeps:
            return self._numbers_of_its_own(seed, update)
        n, size = self._n_rows, self.batch_size or 1
        parts = n // size
        sweep, turn = update // (2 * parts), update % (2 * parts)
        part = jnp.minimum(turn, 2 * parts - 1 - turn)
        (drawn,) = words(seed, sweep, (ROWS, ROUNDS // 2))
        return random_subset(drawn.ravel(), n, size, part * size)

    def _numbers_of_its_own(self, seed, number, stretch=None):
        """Numbers of the rows of a batch that no other one knows of; of all, or of a stretch."""
        first, pairs = stretch or (0, self._pairs_of_rows())
        (drawn,) = words(seed, number, (ROWS + first, pairs))
        return self._drawn(drawn, first)

    def _drawn(self, pairs, first):
        """Numbers of the rows of a batch, or of a stretch of it, from pairs of random words."""
        n, size = self._n_rows, self.batch_size or 1
        if self._in_strata:
            return rows_of_strata(pairs, n, size, first)
        if self._in_blocks:
            return neighbours(pairs, n, size)
        if self._with_replacement():
            return random_rows(pairs, n)
        return random_subset(pairs.ravel(), n, size)

    def _stretch(self):
        """First pair of random words for the rows that are this device's share, and how many."""
        if self._in_strata:
            return self._devices.stretch(self.batch_size or 1)
        return 0, self._pairs_of_rows()

    def _pairs_of_rows(self):
        """Pairs of random words that the rows of a batch take."""
        if self._in_blocks:
            return 1
        one_by_one = self._in_strata or self._with_replacement()
        return (self.batch_size or 1) if one_by_one else ROUNDS // 2

    def _with_replacement(self):
        return (self.batch_size or 1) < self._n_rows / 10

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

    def _typed(self, x: Any) -> Any:
        """An array of a state in the engine's precision; those that JAX made have it."""
        if isinstance(x, jax.Array) or x.dtype.kind != "f":
            return x
        return x.astype(self.dtype, copy=False)

    def others(self, others: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Values of the model's other value variables, in their order."""
        return [
            np.asarray(others[name], dtype)
            for name, dtype in zip(self._other_names, self._other_dtypes, strict=True)
        ]

    def _arguments(self, parameters: Mapping[str, np.ndarray] | None):
        """Parameters of the estimator in their order, and which of them each chain has its own."""
        values = [np.asarray((parameters or {})[k], self.dtype) for k in self._parameters]
        shapes = self._parameters.values()
        return values, [
            0 if x.ndim > len(shape) else None for x, shape in zip(values, shapes, strict=True)
        ]

    def _compile(self, function, name: str, args):
        shapes = jax.tree.map(lambda x: (x.shape, x.dtype), args)
        key = (name, str(shapes))
        with self._compiling:
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


def _of_evaluation(seed: np.ndarray, chains: int) -> tuple[np.ndarray, np.ndarray]:
    """Seeds and numbers of the batches of chains that are evaluated once."""
    seeds = np.tile(np.asarray(seed, np.uint32), (chains, 1))
    return seeds, np.arange(chains, dtype=np.uint32)
