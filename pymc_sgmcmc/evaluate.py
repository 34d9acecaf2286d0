"""Graphs evaluated for many draws: all draws of a chunk at once by JAX, or one after another."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pytensor
from pytensor.graph.basic import Variable

from pymc_sgmcmc.model.graphs import CANT_COMPILE

if TYPE_CHECKING:
    from jax import Array


class Evaluator:
    """Graphs as a function of draws, compiled once.

    Parameters
    ----------
    inputs : sequence of Variable
        What differs between draws.
    graphs : mapping of str to Variable
        What is computed of each draw, by name.
    data : mapping of Variable to ndarray
        What is the same in all draws, and its values: inputs, not parts of the code.
    chunk : int
        Draws evaluated at once, which bounds the memory that takes.
    tell : callable
        Told the error, if JAX can't compile the graphs, and a function that finds the names of
        those that it can't.
    """

    def __init__(
        self,
        inputs: Sequence[Variable],
        graphs: Mapping[str, Variable],
        data: Mapping[Variable, np.ndarray],
        chunk: int,
        tell: Callable[[Exception, Callable[[], list[str]]], None],
    ) -> None:
        self._inputs, self._graphs, self._data = list(inputs), dict(graphs), dict(data)
        self._chunk, self._tell = chunk, tell
        # On one draw's numbers, PyTensor's own code; of chunks, JAX's.
        self._by_draw: Callable[..., list[np.ndarray]] | None = None
        self._by_chunk: Callable[..., list[Array]] | None = None

    def hold(self, data: Sequence[np.ndarray]) -> None:
        """Take other values of the data, of the same shapes."""
        self._data = dict(zip(self._data, data, strict=True))

    def __call__(self, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Evaluate the graphs for draws ``(n, ...)`` of the inputs: ``(n, ...)`` each."""
        if self._by_chunk is not None:
            return self._in_chunks(self._by_chunk, values, self._chunk)
        if self._by_draw is None:
            try:
                function = self._vectorised(self._graphs.values())
                found = self._in_chunks(function, values, self._chunk)
            except CANT_COMPILE as error:
                self._tell(error, lambda: self._unknown(values))
                self._by_draw = self._compiled()
            else:
                self._by_chunk = function
                return found
        held = self._data.values()
        return draw_by_draw(self._by_draw, self._inputs, values, held, list(self._graphs))

    def _unknown(self, values: Sequence[np.ndarray]) -> list[str]:
        """Names of the graphs that JAX can't compile."""
        unknown = []
        for name, graph in self._graphs.items():
            try:
                self._in_chunks(self._vectorised([graph]), [x[:1] for x in values], 1)
            except CANT_COMPILE:
                unknown.append(name)
        return unknown

    def _vectorised(self, graphs: Iterable[Variable]) -> Callable[..., list[Array]]:
        import jax

        from pymc_sgmcmc.engines.jax.functions import jax_function

        function = jax_function([*self._inputs, *self._data], list(graphs))
        axes = (0,) * len(self._inputs) + (None,) * len(self._data)
        return jax.jit(jax.vmap(function, in_axes=axes))

    def _in_chunks(
        self, function: Callable[..., list[Array]], values: Sequence[np.ndarray], size: int
    ) -> list[np.ndarray]:
        import jax

        wide = any(v.type.dtype == "float64" for v in [*self._inputs, *self._data])
        n = len(values[0])
        found: list[np.ndarray] = []
        with jax.enable_x64(wide), warnings.catch_warnings():
            # A graph in single precision may pass through 64 bits, which JAX then leaves out.
            warnings.filterwarnings("ignore", message=".*requested dtype.*")
            held = [jax.device_put(x) for x in self._data.values()]
            for first in range(0, n, size):
                part = [
                    x[first : first + size].astype(v.type.dtype, copy=False)
                    for v, x in zip(self._inputs, values, strict=True)
                ]
                kept = len(part[0])
                if kept < size:  # nothing compiles twice
                    part = [np.concatenate([x, np.repeat(x[-1:], size - kept, 0)]) for x in part]
                results = function(*part, *held)
                if not found:
                    found = [np.empty((n, *x.shape[1:]), x.dtype) for x in results]
                for all_draws, x in zip(found, results, strict=True):
                    all_draws[first : first + kept] = np.asarray(x)[:kept]
        return found

    def _compiled(self) -> Callable[..., list[np.ndarray]]:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Numba will use object mode")
            return pytensor.function(
                [*self._inputs, *self._data],
                list(self._graphs.values()),
                on_unused_input="ignore",
                trust_input=True,
            )


def draw_by_draw(
    function: Callable[..., list[np.ndarray]],
    inputs: Sequence[Variable],
    values: Sequence[np.ndarray],
    held: Collection[np.ndarray],
    names: Sequence[str],
) -> list[np.ndarray]:
    """Results of a PyTensor function for one draw after another, ``(n, ...)`` each.

    Parameters
    ----------
    function : callable
        Of one draw of the inputs, and of what is held.
    inputs : sequence of Variable
        Draws are given in their dtypes.
    values : sequence of ndarray
        Draws of the inputs, ``(n, ...)``.
    held : collection of ndarray
    names : sequence of str
        Of the results.

    Raises
    ------
    ValueError
        If a result has not the same shape in all draws.
    """
    dtypes = [v.type.dtype for v in inputs]
    found: list[np.ndarray] = []
    for i, draw in enumerate(zip(*values, strict=True)):
        typed = [np.asarray(x, dtype) for x, dtype in zip(draw, dtypes, strict=True)]
        results = [np.asarray(x) for x in function(*typed, *held)]
        if not found:
            found = [np.empty((len(values[0]), *x.shape), x.dtype) for x in results]
        for name, all_draws, x in zip(names, found, results, strict=True):
            if x.shape != all_draws.shape[1:]:
                one, other = sorted((all_draws.shape[1:], x.shape))
                raise ValueError(
                    f"{name!r} has the shape {one} in one draw and {other} in another: an array "
                    "can't hold both. Leave it out with var_names=[...], or give it one shape."
                )
            all_draws[i] = x
    return found
