"""Predictions of a linearised model: its laws' parameters are linear in the variables of a draw."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from pymc.model import Model
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Variable
from pytensor.graph.traversal import ancestors
from pytensor.tensor.variable import TensorVariable
from xarray import DataTree

from pymc_sgmcmc.evaluate import Evaluator, draw_by_draw
from pymc_sgmcmc.model.graphs import is_shared_value, leaves, rebuild
from pymc_sgmcmc.model.links import Link, as_value_variable, laws_of, of_value_variables
from pymc_sgmcmc.prediction.new_rows import NewRows
from pymc_sgmcmc.prediction.posterior import Posterior

if TYPE_CHECKING:
    from jax import Array

GROUP = "linearised_at"
"""Group of a DataTree whose draws are of a model that is linear around what it holds: w*."""


def of_draws(
    model: Model, draws: DataTree, new: NewRows, dtype: str, mode: DataTree | None
) -> Posterior:
    """What draws predict; of a linear model, where there is a mode that it is linear around."""
    if mode is None:
        return Posterior(model, draws, new, dtype)
    return LinearisedPosterior(model, draws, new, dtype, mode)


class LinearisedPosterior(Posterior):
    r"""Draws w of a model whose laws have the parameters f(x; w*) + J(x) (w − w*).

    f is the mean and the log of the standard deviation of a normal law, logits, and the log of a
    Poisson mean; w are the variables in PyMC's unconstrained space. What depends on w otherwise is
    computed from the draws themselves.

    Parameters
    ----------
    model : pm.Model
    draws : DataTree
        A group of draws.
    new : NewRows
    dtype : str
        Of what is computed.
    mode : DataTree
        w*, the group `GROUP`.
    """

    def __init__(
        self, model: Model, draws: DataTree, new: NewRows, dtype: str, mode: DataTree
    ) -> None:
        super().__init__(model, draws, new, dtype)
        at_mode = mode.to_dataset()
        self._mode = [at_mode[rv.name].values for rv in model.free_RVs]
        missing = [rv.name for rv in model.free_RVs if rv.name not in draws.data_vars]
        if missing:
            raise ValueError(
                f"The {draws.name} has no draws of {', '.join(map(repr, missing))}, which the "
                "linear model needs. Keep what laplace gave."
            )

    def _evaluator(
        self, outputs: Mapping[str, TensorVariable]
    ) -> tuple[Evaluator, list[np.ndarray], list[SharedVariable]]:
        parts = self._parts(list(outputs.values()))
        typed = [x.astype(self._dtype) if _is_float(x) else x for x in parts.rest]
        named = dict(zip(outputs, typed, strict=True))
        return self._linear(parts, named), self._draws(self._model.free_RVs), parts.shared

    def draw(
        self, outputs: Mapping[str, TensorVariable], rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """See `Posterior.draw`."""
        parts = self._parts(list(outputs.values()))
        draws = self._draws(self._model.free_RVs)
        ends = self._linear(parts, {str(i): x for i, x in enumerate(parts.ends)})(draws)
        inputs = [*parts.ends, *parts.draws]
        function = pm.compile(
            [*inputs, *parts.data],
            parts.rest,
            random_seed=int(rng.integers(2**30)),
            on_unused_input="ignore",
        )
        values, names = [*ends, *draws], list(outputs)
        found = draw_by_draw(function, inputs, values, parts.data.values(), names)
        typed = [x.astype(self._dtype) if x.dtype.kind == "f" else x for x in found]
        return self._by_chain(outputs, typed)

    def _linear(self, parts: Parts, graphs: Mapping[str, TensorVariable]) -> Evaluator:
        rows = max((len(x) for x in parts.data.values() if np.ndim(x)), default=1)
        size = int(np.clip(_AT_ONCE // rows, 1, min(self._posterior.sizes["draw"], 256)))
        return LinearEvaluator(parts, graphs, self._mode, size)

    def _parts(self, outputs: Sequence[TensorVariable]) -> Parts:
        """Outputs by way of the parameters that are linear."""
        model, free = self._model, self._model.free_RVs
        above = set(ancestors(outputs))
        links = [
            link
            for law in laws_of(model)
            for link in law.links
            if link.variable in above and set(free) & set(ancestors([link.variable]))
        ]
        links = list({link.variable: link for link in links}.values())
        forward = of_value_variables(model, [link.forward(link.variable) for link in links])
        cut = [link.variable for link in links]
        shared = [
            v
            for v in dict.fromkeys([*leaves(forward), *leaves(outputs, blockers=[*cut, *free])])
            if is_shared_value(v)
        ]
        self._new.refuse_old_rows(shared)
        held = [self._new.values.get(v, v.get_value(borrow=True)) for v in shared]
        data = [_like(v, np.shape(x)) for v, x in zip(shared, held, strict=True)]
        same: dict[Variable, Variable] = dict(zip(shared, data, strict=True))
        draws = [_like(rv, np.shape(x)) for rv, x in zip(free, self._mode, strict=True)]
        given: dict[Variable, Variable] = dict(zip(free, draws, strict=True))
        transformed = rebuild([as_value_variable(model, rv) for rv in free], given | same)
        own = [model.rvs_to_values[rv] for rv in free]
        values = [_like(v, x.type.shape) for v, x in zip(own, transformed, strict=True)]
        forward = rebuild(forward, dict(zip(own, values, strict=True)) | same)
        self._new.refuse_unknown_codes(forward, dict(zip(data, shared, strict=True)))
        ends = [_like(x, x.type.shape) for x in forward]
        back = {k.variable: _shaped(k, end) for k, end in zip(links, ends, strict=True)}
        rest = rebuild(list(outputs), given | same | back)
        kept: dict[Variable, np.ndarray] = dict(zip(data, held, strict=True))
        return Parts(draws, transformed, values, forward, ends, rest, kept, shared)


class Parts(NamedTuple):
    """A graph that was cut where it is linear.

    Attributes
    ----------
    draws : list of TensorVariable
        Symbols of the free variables.
    transformed : list of TensorVariable
        Graphs of those: the value variables.
    values : list of TensorVariable
        Symbols of these.
    forward : list of TensorVariable
        Graphs of those: parameters of the laws, to be linearised.
    ends : list of TensorVariable
        Symbols of these.
    rest : list of TensorVariable
        Graphs of those, and of `draws`: the outputs.
    data : dict of Variable to ndarray
        Symbols of the data, in all of the graphs, and what is held.
    shared : list of SharedVariable
        The model's own of these.
    """

    draws: list[TensorVariable]
    transformed: list[TensorVariable]
    values: list[TensorVariable]
    forward: list[TensorVariable]
    ends: list[TensorVariable]
    rest: list[TensorVariable]
    data: dict[Variable, np.ndarray]
    shared: list[SharedVariable]


class LinearEvaluator(Evaluator):
    """Evaluates graphs of parameters that are linear in the draws, by JAX.

    Parameters
    ----------
    parts : Parts
    graphs : mapping of str to TensorVariable
        Of `Parts.ends` and `Parts.draws`.
    mode : sequence of ndarray
        w*, as draws are given.
    chunk : int
        Draws evaluated at once.
    """

    def __init__(
        self,
        parts: Parts,
        graphs: Mapping[str, TensorVariable],
        mode: Sequence[np.ndarray],
        chunk: int,
    ) -> None:
        super().__init__(parts.draws, graphs, parts.data, chunk, _refuse)
        self._parts, self._mode = parts, list(mode)

    def _vectorised(self, graphs: Iterable[Variable]) -> Callable[..., list[Array]]:
        import jax

        from pymc_sgmcmc.engines.jax.functions import jax_function

        parts = self._parts
        data = list(parts.data)
        transformed = jax_function([*parts.draws, *data], parts.transformed)
        forward = jax_function([*parts.values, *data], parts.forward)
        rest = jax_function([*parts.ends, *parts.draws, *data], list(graphs))
        n = len(parts.draws)
        mode = [np.asarray(x, v.type.dtype) for x, v in zip(self._mode, parts.draws, strict=True)]

        def evaluate(*inputs: Any) -> Any:
            draws, held = inputs[:n], inputs[n:]
            centre = tuple(transformed(*mode, *held))
            f, push = jax.linearize(lambda *values: tuple(forward(*values, *held)), *centre)

            def one(*draw: Any) -> Any:
                values = transformed(*draw, *held)
                change = push(*(x - c for x, c in zip(values, centre, strict=True)))
                ends = (x + dx for x, dx in zip(f, change, strict=True))
                return rest(*ends, *draw, *held)

            return jax.vmap(one)(*draws)

        return jax.jit(evaluate)


# Numbers that parameters of all rows and draws evaluated at once may fill, about.
_AT_ONCE = 2**21


def _refuse(error: Exception, unknown: Callable[[], list[str]]) -> None:
    raise NotImplementedError(
        f"Predictions of a linearised model need JAX, which can't compile them: {error}"
    ) from error


def _like(variable: Any, shape: Sequence[int | None]) -> TensorVariable:
    return pt.TensorType(variable.type.dtype, tuple(shape))(variable.name)


def _is_float(x: TensorVariable) -> bool:
    return x.type.dtype.startswith("float")


def _shaped(link: Link, end: TensorVariable) -> TensorVariable:
    """What takes the place of a link's variable."""
    return link.backward(end).astype(link.variable.type.dtype)
