"""The Numba engine: every chain a loop of its own, in threads."""

import functools
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from pymc_sgmcmc.dynamics.base import Dynamics
from pymc_sgmcmc.engines.base import (
    UPDATE_STATISTICS,
    Draws,
    State,
    block_capacity,
    check_capacity,
    type_of_rows,
)
from pymc_sgmcmc.engines.blas import one_blas_thread
from pymc_sgmcmc.engines.numba import loop
from pymc_sgmcmc.engines.numba.functions import numba_function
from pymc_sgmcmc.engines.numba.kernels import choose_rows, choose_rows_of_updates
from pymc_sgmcmc.engines.numba.random import NOISE, normals, threefry
from pymc_sgmcmc.engines.programs import (
    fresh_program,
    gradient_program,
    position_program,
    transition_program,
)
from pymc_sgmcmc.engines.threads import cores
from pymc_sgmcmc.estimators.estimators import Estimator

_log = logging.getLogger("pymc")


class NumbaEngine:
    """Chains of one estimator and one dynamics, compiled by Numba for the processor's cores.

    Each chain is a loop without Python in it, in a thread of its own with one BLAS thread; as many
    chains run at once as there are cores. Noise and rows follow from the chain's seed and the
    number of the update, as in `JaxEngine`, though they are other numbers.

    Parameters
    ----------
    estimator : Estimator
        The potential, and the coordinates in which its chains move.
    dynamics : Dynamics
    like : NumbaEngine, optional
        One of the same potential, which has loaded the row data already.
    batches : {"independent", "sweeps", "blocks"}
        How rows are drawn for an update.
    """

    def __init__(
        self,
        estimator: Estimator,
        dynamics: Dynamics,
        like: Any = None,
        batches: str = "independent",
    ) -> None:
        potential = estimator.potential
        self.dtype = potential.dtype
        self.size = potential.size
        self.batch_size = potential.batch_size
        self.auxiliaries = dynamics.auxiliaries
        self.statistics = (*dynamics.statistics, *UPDATE_STATISTICS)
        self._others = {
            v.name: symbol.type.dtype
            for v, symbol in zip(potential.others, potential.inputs()[1], strict=True)
        }
        self._parameters = estimator.parameters
        with potential.model:
            self._gradient = numba_function(gradient_program(estimator))
        transition_program(dynamics, self.size, self.dtype)  # refuses what keeps no contract
        self._estimator, self._dynamics = estimator, dynamics
        self._in_sweeps, self._in_blocks = batches == "sweeps", batches == "blocks"
        self._stored = potential.stored
        self._evaluate = loop.bind(
            loop.evaluate,
            {
                "gradient_of": self._gradient,
                "in_blocks": self._in_blocks,
                "given": self._stored is not None,
            },
        )
        if self._stored is not None:
            self.load([])
        elif like is None:
            self.load(potential.row_arrays())
        else:
            self.share_rows(like)

    # The warm-up asks for gradients alone: what moves chains is made when the first of them begin.

    @functools.cached_property
    def _fresh(self) -> Any:
        """Auxiliaries of a chain that starts; None where there are none."""
        program = fresh_program(self._dynamics, self.size, self.dtype)
        return numba_function(program) if program.outputs else None

    @functools.cached_property
    def _run_chain(self) -> Any:
        """`loop.run_chain` of this gradient and these dynamics."""
        renewed: dict[str, Any] = {"momentum": -1}
        if "momentum" in self.auxiliaries:
            place = self.auxiliaries.index("momentum")
            renewed = {"fresh_auxiliaries": self._fresh, "momentum": place}
        transition = transition_program(self._dynamics, self.size, self.dtype)
        return loop.bind(
            loop.run_chain,
            {
                "gradient_of": self._gradient,
                "transition": numba_function(transition),
                "position_of": numba_function(position_program(self._estimator)),
                "renew_momentum": loop.bind(loop.renew_momentum, renewed),
                "n_state": 1 + len(self.auxiliaries),
                "in_sweeps": self._in_sweeps,
                "in_blocks": self._in_blocks,
                "given": self._stored is not None,
            },
        )

    # -- the contract ----------------------------------------------------------------------------

    def prepare(self) -> None:
        """Make the functions that move chains; see `Engine.prepare`."""
        _ = self._run_chain

    def load(self, rows: Sequence[np.ndarray]) -> None:
        """Take the row data, ``(N, ...)`` each; the model's own arrays, where they will do."""
        self._host_rows = rows
        self._cast: dict[str, list[np.ndarray]] = {}

    def share_rows(self, other: Any) -> None:
        """Take the row data that another engine has loaded."""
        self._host_rows, self._cast = other._host_rows, other._cast

    @property
    def rows(self) -> list[np.ndarray]:
        """Row data in the engine's precision."""
        rows = self._cast.get(self.dtype)  # another thread may release them
        if rows is None:
            some = self.batch_size is not None
            rows = self._cast[self.dtype] = [
                np.ascontiguousarray(x, type_of_rows(x.dtype, self.dtype, some))
                for x in self._host_rows
            ]
        return rows

    def release(self) -> None:
        """Let go of rows in another precision than the model's, until they are needed again."""
        self._cast.clear()

    def init(
        self, positions: np.ndarray, seeds: np.ndarray, origin: np.ndarray | None = None
    ) -> State:
        """State of chains at the coordinates `positions`; see `Engine.init`."""
        start = np.array(positions, self.dtype)
        state: State = {
            "position": start,
            "finite_position": start.copy(),
            "origin": start.copy() if origin is None else np.array(origin, self.dtype),
        }
        if self._fresh is not None:
            auxiliaries = []
            for position, seed in zip(start, np.asarray(seeds, np.uint32), strict=True):
                # The last number that an update can have: no update shares its noise.
                key = threefry(*seed, np.uint32(2**32 - 1), np.uint32(0))
                noise = np.empty_like(position)
                normals(*map(np.uint32, key), NOISE, noise)
                auxiliaries.append(self._fresh(position, noise))
            columns = zip(*auxiliaries, strict=True)
            state |= {k: np.stack(x) for k, x in zip(self.auxiliaries, columns, strict=True)}
        zeros = np.zeros(len(start), np.uint32)
        return state | {
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
        batches: Sequence[np.ndarray] | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Potential ``(chains,)`` and gradient ``(chains, d)`` from one random batch for each."""
        results = []
        for chain, position in enumerate(np.array(positions, self.dtype)):
            key = _key_of(seed, chain)
            _, *arguments = self._arguments(chain, others, parameters, batches)
            results.append(self._evaluate(key, position, *arguments))
        values, gradients = zip(*results, strict=True)
        return np.array(values, self.dtype), np.stack(gradients)

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
        batches: Sequence[np.ndarray] | None = None,
        place: int = 0,
    ) -> tuple[Draws, State]:
        """Advance all chains by ``n_draws`` draws; see `Engine.run`."""
        n_draws, chains = len(step_sizes), len(state["position"])
        check_capacity(n_draws, chains, self.capacity(chains) if capacity is None else capacity)
        names = (*self.statistics, "step_size", "rejected")
        # In the precision of the engine, whoever made the state: one compilation serves all.
        new = {
            k: np.array(x, self.dtype if np.asarray(x).dtype.kind == "f" else None)
            for k, x in state.items()
        }
        counters = np.stack([new.pop("update"), new.pop("rejected_in_a_row")], axis=1)
        counters = counters.astype(np.int64)
        h, h0 = np.array(step_sizes, self.dtype), np.array(base_step_size, self.dtype)
        positions = np.empty((chains, n_draws, self.size), self.dtype)
        statistics = np.empty((chains, n_draws, len(names)))

        _ = self.rows  # once, before the chains ask for them all at once

        def run_chain(chain: int, h: np.ndarray = h) -> None:
            of_chain = {k: x[chain] for k, x in new.items()}
            self._run_chain(
                counters[chain],
                of_chain["key"],
                of_chain["position"],
                of_chain["finite_position"],
                of_chain["origin"],
                tuple(of_chain[k] for k in self.auxiliaries),
                *self._arguments(chain, others or {}, parameters, batches),
                h,
                h0,
                place,
                positions[chain],
                statistics[chain],
            )

        with one_blas_thread():
            if not self._run_chain.signatures:
                _log.info("Compiling with Numba: up to half a minute for a new model.")
                run_chain(0, h[:0])
            with ThreadPoolExecutor(min(chains, cores())) as threads:
                list(threads.map(run_chain, range(chains)))
        new |= {
            "update": counters[:, 0].astype(np.uint32),
            "rejected_in_a_row": counters[:, 1].astype(np.uint32),
        }
        columns = {k: statistics[..., i].astype(self.dtype) for i, k in enumerate(names)}
        return Draws(positions, columns), new

    # -- rows that are read while the chains run -------------------------------------------------

    def numbers(self, keys: np.ndarray, updates: np.ndarray, n: int) -> np.ndarray:
        """Numbers of the rows of some updates; see `Reads.numbers`."""
        assert self._stored is not None
        found = np.empty((len(keys), n, self.batch_size or 1), np.int64)
        for key, update, of_chain in zip(keys, updates, found, strict=True):
            key, update = np.array(key, np.uint32), np.int64(update)
            ways = self._in_sweeps, self._in_blocks
            choose_rows_of_updates(key, update, *ways, self._stored.n_rows, of_chain)
        return found

    def numbers_to_evaluate(self, seed: np.ndarray, chains: int) -> np.ndarray:
        """Numbers of the rows that `evaluate` takes; see `Reads.numbers_to_evaluate`."""
        assert self._stored is not None
        found = np.empty((chains, self.batch_size or 1), np.int64)
        for chain, of_chain in enumerate(found):
            choose_rows(*_key_of(seed, chain), self._in_blocks, self._stored.n_rows, of_chain)
        return found

    def enough(self, chains: int) -> int:
        """As many; see `Reads.enough`."""
        return chains

    def shares(self, numbers: np.ndarray) -> list[np.ndarray]:
        """All of it; see `Reads.shares`."""
        return [numbers]

    def place(
        self, shares: Sequence[Sequence[np.ndarray]], shape: tuple[int, ...]
    ) -> Sequence[np.ndarray]:
        """Batches as they are; see `Reads.place`."""
        (whole,) = shares
        return whole

    # -- arguments -------------------------------------------------------------------------------

    def _arguments(
        self,
        chain: int,
        others: Mapping[str, np.ndarray],
        parameters: Mapping[str, np.ndarray] | None,
        batches: Sequence[np.ndarray] | None = None,
    ) -> tuple[Any, ...]:
        """Parameters, arguments, rows, batch and numbers of rows, as in `loop.run_chain`."""
        held = tuple(np.array(others[k][chain], dtype) for k, dtype in self._others.items())
        own = []
        for name, shape in self._parameters.items():
            x = np.array((parameters or {})[name], self.dtype)
            own.append(x[chain].copy() if x.ndim > len(shape) else x)
        known, rows = (*held, *own), self.rows
        if batches is not None:
            rows = [x[chain].reshape(-1, *x.shape[3:]) for x in batches]
        if self.batch_size is None or not rows:
            return tuple(own), (*known, *rows), (), (), np.empty(0, np.int64)
        kinds = (self.dtype if x.dtype.kind == "f" else x.dtype for x in rows)
        pairs = zip(rows, kinds, strict=True)
        batch = [np.zeros((self.batch_size, *x.shape[1:]), kind) for x, kind in pairs]
        flat = tuple(x.reshape(len(x), -1) for x in rows)
        flat_batch = tuple(x.reshape(len(x), -1) for x in batch)
        return tuple(own), (*known, *batch), flat, flat_batch, np.empty(self.batch_size, np.int64)


def _key_of(seed: np.ndarray, chain: int) -> np.ndarray:
    """Key of a chain that is evaluated once."""
    return np.array(threefry(*np.asarray(seed, np.uint32), *_words(chain)), np.uint32)


def _words(number: int) -> tuple[np.uint32, np.uint32]:
    return np.uint32(number & 0xFFFFFFFF), np.uint32(number >> 32)
