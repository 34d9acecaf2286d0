"""The contract of an engine: it compiles a potential and a dynamics, and runs chains of them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from pymc_sgmcmc import processes

State = dict[str, Any]
"""Chains between two runs: position ``(chains, d)``, the auxiliaries, and what else the engine
needs to go on as if it had not stopped. A plain mapping of arrays, which stay on the device; as
NumPy arrays they can be saved, and restored."""

UPDATE_STATISTICS = ("potential_energy", "gradient_norm", "configurational_temperature")
"""What an engine reports of every update, besides the statistics of the dynamics: Ũ, the norm of
its gradient, and (z − z₀)·∇Ũ/d, whose mean is the temperature for any origin z₀. The last two are
taken in the coordinates of the sampler."""

STUCK = 200
"""Rejected updates without a move in between after which a chain counts as unable to move."""


# Draws leave an engine in blocks of at most this many bytes and this many draws.
_BLOCK_BYTES = 2**25
_BLOCK_DRAWS = 256


class Draws(NamedTuple):
    """Draws of all chains, and what happened in the updates before each.

    Attributes
    ----------
    positions : ndarray
        Shape ``(chains, n_draws, d)``; where several processes make a run, of `chains` alone.
    statistics : dict of str to ndarray
        Of all chains, ``(chains, n_draws)``: means over the accepted updates of a draw (the root of
        the mean square for ``gradient_norm``), but for ``step_size``, which is the last update's,
        and ``rejected``, a count.
    chains : slice, optional
        Chains of which positions are here, where several processes make a run: each chain is of
        one of them, in their order, and a process may have none. None means all, in one process.
    """

    positions: np.ndarray
    statistics: dict[str, np.ndarray]
    chains: slice | None = None

    @property
    def n(self) -> int:
        """Draws of every chain."""
        return self.positions.shape[1]

    def whole(self) -> "Draws":
        """Draws with the positions of all chains; all processes must ask for them."""
        return Draws(processes.whole(self.positions, self.chains), self.statistics)


class Engine(Protocol):
    """Runs chains of one potential and one dynamics; see `JaxEngine`."""

    def prepare(self) -> None:
        """Make the functions that move chains, which are else made when the first of them begin.

        Raises
        ------
        NotImplementedError
            If an Op of the dynamics has no counterpart; the message names it.
        """

    def load(self, rows: Sequence[np.ndarray]) -> None:
        """Take the row data, which later runs use: ``(N, ...)``, floats of any precision."""

    def share_rows(self, other: "Engine") -> None:
        """Take the row data that another engine has loaded."""

    def release(self) -> None:
        """Give back memory that row data take besides the model's, until they are needed again."""

    def init(
        self, positions: np.ndarray, seeds: np.ndarray, origin: np.ndarray | None = None
    ) -> State:
        """State of chains that start.

        Parameters
        ----------
        positions : ndarray
            Coordinates of the sampler, ``(chains, d)``.
        seeds : ndarray
            Shape ``(chains, 2)``, uint32.
        origin : ndarray, optional
            z₀ of the configurational temperature, ``(chains, d)``; `positions` when None.
        """

    def evaluate(
        self,
        positions: np.ndarray,
        others: Mapping[str, np.ndarray],
        seed: np.ndarray,
        parameters: Mapping[str, np.ndarray] | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Potential ``(chains,)`` and gradient ``(chains, d)`` from one random batch for each."""

    def capacity(self, chains: int) -> int:
        """Draws that one call of `run` may return."""

    def run(
        self,
        state: State,
        step_sizes: np.ndarray,
        base_step_size: float,
        others: Mapping[str, np.ndarray],
        capacity: int | None = None,
        parameters: Mapping[str, np.ndarray] | None = None,
    ) -> tuple[Draws, State]:
        """Advance all chains by ``n_draws`` draws.

        Parameters
        ----------
        state : State
        step_sizes : ndarray
            Shape ``(n_draws, steps_per_draw)``.
        base_step_size : float
            h₀, which the schedule of the step sizes multiplies.
        others : mapping of str to ndarray
            Values of the model's other value variables, ``(chains, ...)`` each.
        capacity : int, optional
            Draws to make room for, `capacity` of these chains when None; one compilation serves
            every run of up to as many draws.
        parameters : mapping of str to ndarray, optional
            Those of the estimator; one for all chains, or with a leading axis of chains.

        Returns
        -------
        Draws
        State
            After the last update. A run in pieces gives what one run gives, bit for bit.
        """


class Derivatives(Protocol):
    """Derivatives of a potential on fixed rows that stand for all, for the warm-up.

    They depend on the values of the model's other value variables, `others`.
    """

    def of(self, rows: Sequence[np.ndarray]) -> "Derivatives":
        """The same of as many other rows, without another compilation.

        Of fewer as well, where the potential `separates`.
        """

    def gradient(
        self, positions: np.ndarray, others: Mapping[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """U ``(k,)`` in nats and ∇U ``(k, d)`` at positions ``(k, d)``."""

    def hessian(
        self, positions: np.ndarray, others: Mapping[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """U ``(k,)``, ∇U ``(k, d)`` and the Hessian ``(k, d, d)`` at positions ``(k, d)``."""

    def products(
        self, positions: np.ndarray, directions: np.ndarray, others: Mapping[str, np.ndarray]
    ) -> np.ndarray:
        """Hessian at each position ``(k, d)`` times the direction of the same number, ``(k, d)``.

        Directions are not longer than the posterior is wide, or about 1.
        """


def type_of_rows(held: np.dtype, dtype: str, in_batches: bool) -> np.dtype:
    """Type in which an engine of some precision keeps row data.

    Where batches are taken from them, narrower floating-point numbers stay as they are: what is
    computed with becomes wider a batch at a time.
    """
    wanted = np.dtype(dtype)
    if held.kind != "f" or (in_batches and held.itemsize < wanted.itemsize):
        return held
    return wanted


def check_capacity(n_draws: int, chains: int, capacity: int) -> None:
    """Raise a ValueError if that many draws do not fit a run."""
    if n_draws > capacity:
        raise ValueError(f"At most {capacity} draws of {chains} chains fit a run: {n_draws}.")


def block_capacity(chains: int, size: int, dtype: str) -> int:
    """Draws of `chains` chains of `size` numbers that one run may return."""
    draw_bytes = chains * size * np.dtype(dtype).itemsize
    return max(1, min(_BLOCK_DRAWS, _BLOCK_BYTES // draw_bytes))
