"""The potential on fixed rows, for the warm-up: values, slopes, curvature."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from pymc_sgmcmc import processes
from pymc_sgmcmc.engines.base import Derivatives
from pymc_sgmcmc.engines.settings import OneEngine
from pymc_sgmcmc.engines.unknown import naming_variables
from pymc_sgmcmc.model.potential import StochasticPotential

# Rows of large data that are evaluated at once.
_PIECE = 2**17
# Single positions whose slopes are remembered.
_REMEMBERED = 4
# Part of a direction that a position is moved to both sides, for a difference of slopes.
_ASIDE = 1e-4

Arrays = list[np.ndarray]
Remembered = tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]


class Landscape:
    """U, ∇U and its curvature, with a subset of the rows that stands for all of them.

    Where an engine spreads rows over several processes, each of them reads and evaluates its own
    part of the subset, and all add up what they found.

    Parameters
    ----------
    potential : StochasticPotential
    n_rows : int or None
        Rows n of the random subset; all rows when None.
    others : mapping of str to ndarray
        Values of the model's other value variables; read anew at every evaluation.
    rng : numpy.random.Generator
    engine : OneEngine
        Whose derivatives they are.
    like : Landscape, optional
        One of other rows of the same potential, whose compiled programs serve this one.
    one_program : bool
        Whether the program of products may serve for slopes, where few of these are asked for.

    Attributes
    ----------
    n_rows : int
        n; 1 where the model has no row data.
    row_gradients : int
        Gradients of single rows that were evaluated; a product with the Hessian counts as two.
    """

    def __init__(
        self,
        potential: StochasticPotential,
        n_rows: int | None,
        others: Mapping[str, np.ndarray],
        rng: np.random.Generator,
        engine: OneEngine,
        like: Landscape | None = None,
        one_program: bool = False,
    ) -> None:
        self.row_gradients = 0
        self._remembered: deque[Remembered] = deque(maxlen=_REMEMBERED)
        self._others, self._potential, every = others, potential, potential.n_rows
        subset: np.ndarray | None = None
        if n_rows is not None and every is not None and n_rows < every:
            subset = np.sort(rng.choice(every, n_rows, replace=False))
        self._spread = every is not None and potential.separates and engine.rows_are_spread
        own = slice(0, every or 0)
        if every is None:
            rows = potential.rows_at(slice(None))
            self.n_rows = n_own = size = max((len(x) for x in rows), default=1)
        else:
            own = processes.own_part(every) if self._spread else own
            if subset is not None:
                subset = subset[(subset >= own.start) & (subset < own.stop)]
            self.n_rows = every if n_rows is None else min(n_rows, every)
            n_own = own.stop - own.start if subset is None else len(subset)
            # All rows of large data are never in memory in another type, nor on a device, together.
            size = max(1, min(n_own, _PIECE if n_rows is None else every))
        shared = like if like is not None and potential.separates else None
        size = shared._size if shared else size
        self._size: int = size
        self._pieces: list[Any] = [slice(i, min(i + size, n_own)) for i in range(0, n_own, size)]
        if subset is not None:
            self._pieces = [subset[piece] for piece in self._pieces]
        elif every is not None:
            self._pieces = [slice(own.start + x.start, own.start + x.stop) for x in self._pieces]
        if every is None:
            rows = potential.rows_at(slice(None))
        else:  # some process may have no row of a small subset
            rows = potential.rows_at(self._pieces[0] if self._pieces else slice(0, 1))
        with naming_variables(potential, engine):
            self._derivatives: Derivatives
            if shared is not None:
                self._derivatives = shared._derivatives.of(rows)
            else:
                self._derivatives = engine.derivatives(potential, rows, one_program)
            self._rest = self._derivatives
            if n_own % size and not potential.separates:
                rest = potential.rows_at(self._pieces[-1])
                self._rest = engine.derivatives(potential, rest, one_program)
        # What stays in memory is a subset; all rows are read whenever they are needed.
        self._held: list[Derivatives] | None = None
        if subset is not None and len(self._pieces) > 1:
            self._held = [self._of(piece) for piece in self._pieces]

    def gradient(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """U ``(k,)`` and ∇U ``(k, d)`` at positions ``(k, d)``.

        Those at a single position are remembered for a while: the place where a search ends is
        where a control variate is anchored, and anchored again.
        """
        self.row_gradients += len(positions) * self.n_rows
        if len(positions) == 1:
            for position, found in self._remembered:
                if np.array_equal(position, positions):
                    return found[0].copy(), found[1].copy()
        value, gradient = self._mean(lambda some, x: some.gradient(x, self._others), positions)
        if len(positions) == 1:
            self._remembered.append((positions.copy(), (value.copy(), gradient.copy())))
        return value, gradient

    def hessian(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """U ``(k,)``, ∇U ``(k, d)`` and the Hessian ``(k, d, d)`` at positions ``(k, d)``."""
        self.row_gradients += 2 * positions.size * self.n_rows
        value, gradient, hessian = self._mean(
            lambda some, x: some.hessian(x, self._others), positions
        )
        return value, gradient, hessian

    def products(self, positions: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """Hessian at each position ``(k, d)`` times the direction of the same number."""
        self.row_gradients += 2 * len(positions) * self.n_rows
        (found,) = self._mean(
            lambda some, x, v: (some.products(x, v, self._others),), positions, directions
        )
        return found

    def differences(self, positions: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """The same as `products`, by differences of slopes: to eight digits in double precision.

        Where there is a program for slopes, and none for products yet.
        """
        ahead, behind = (self.gradient(positions + x * directions)[1] for x in (_ASIDE, -_ASIDE))
        return (ahead - behind) / (2 * _ASIDE)

    @property
    def is_double(self) -> bool:
        """Whether it is evaluated in double precision."""
        return self._potential.dtype == "float64"

    def product(self, position: np.ndarray, direction: np.ndarray) -> np.ndarray:
        """Hessian at a position times a direction, shape ``(d,)``."""
        return self.products(position[None], direction[None])[0]

    def _of(self, piece: Any) -> Derivatives:
        """Derivatives on a piece of the rows."""
        some = self._rest if piece is self._pieces[-1] else self._derivatives
        return some.of(self._potential.rows_at(piece))

    def _of_pieces(self) -> Iterator[Derivatives]:
        """Derivatives on each piece; the rows of the next are read while those of one are used."""
        if self._held is not None or len(self._pieces) < 2:
            yield from self._held or [self._derivatives] * len(self._pieces)
            return
        read = self._potential.rows_at
        with ThreadPoolExecutor(1, "pymc_sgmcmc-rows") as reader:
            ahead = reader.submit(read, self._pieces[0])
            for i in range(len(self._pieces)):
                rows = ahead.result()
                some = self._derivatives
                if i + 1 < len(self._pieces):
                    ahead = reader.submit(read, self._pieces[i + 1])
                else:
                    some = self._rest
                yield some.of(rows)

    def _mean(self, evaluate: Callable[..., tuple[np.ndarray, ...]], *points: np.ndarray) -> Arrays:
        """Mean over all rows of what is evaluated on a piece of them, which stands for all.

        Of several processes, each has its part of the rows, or else of the points.
        """
        if self._spread:
            return processes.total(self._mean_of_own(evaluate, *points))
        if processes.count() == 1:
            return self._mean_of_own(evaluate, *points)
        own = processes.own_part(len(points[0]))
        here = own.stop > own.start
        found = self._mean_of_own(evaluate, *(x[own] for x in points)) if here else []
        every = [parts for parts in processes.gathered(found) if parts]
        return [np.concatenate(parts) for parts in zip(*every, strict=True)]

    def _mean_of_own(self, evaluate: Callable[..., tuple[np.ndarray, ...]], *points: Any) -> Arrays:
        """Share of this process's rows in the mean; nothing if it has none."""
        total: Arrays = []
        for piece, some in zip(self._pieces, self._of_pieces(), strict=True):
            parts = list(evaluate(some, *points))
            if (share := _length(piece) / self.n_rows) != 1:
                parts = [share * x for x in parts]
            total = [x + part for x, part in zip(total, parts, strict=True)] if total else parts
        return total


def _length(piece: slice | np.ndarray) -> int:
    """Rows of a piece."""
    return piece.stop - piece.start if isinstance(piece, slice) else len(piece)
