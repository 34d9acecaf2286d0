"""What is predicted, as a function of a posterior's draws and of the new rows."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence

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
from pymc_sgmcmc.model.graphs import (
    is_network,
    is_shared_value,
    leaves,
    reason,
    rebuild,
    values_read,
)
from pymc_sgmcmc.model.variables import Named
from pymc_sgmcmc.prediction.new_rows import NewRows
from pymc_sgmcmc.prediction.same_model import check_draws

_log = logging.getLogger("pymc_sgmcmc.prediction")

# Numbers that the draws evaluated at once may fill between an input and an output.
_AT_ONCE = 2**24


class Posterior:
    """Draws of a model's variables, of which others are computed for the new rows.

    Parameters
    ----------
    model : pm.Model
    draws : DataTree
        A group of draws.
    new : NewRows
    dtype : str
        Of what is computed.
    """

    def __init__(self, model: Model, draws: DataTree, new: NewRows, dtype: str) -> None:
        check_draws(model, draws)
        self._model, self._posterior, self._new, self._dtype = model, draws, new, dtype
        # A network that was sampled in single precision is evaluated in it, as it was there.
        single = draws.attrs.get("dtype") == "float32" and is_network(model)
        self._floats = "float32" if single else None

    def evaluate(self, outputs: Mapping[str, TensorVariable]) -> dict[str, np.ndarray]:
        """Evaluate variables for each draw: ``(chain, draw, ...)``."""
        evaluator, draws, _ = self._evaluator(outputs)
        return self._by_chain(outputs, evaluator(draws))

    def in_blocks(
        self, outputs: Mapping[str, TensorVariable], outcomes: Mapping[str, SharedVariable]
    ) -> Callable[[NewRows], dict[str, np.ndarray]]:
        """Function that evaluates variables for other new rows, as many of them each time.

        Parameters
        ----------
        outputs : mapping of str to TensorVariable
        outcomes : mapping of str to SharedVariable
            What stands for outcomes in them.
        """
        evaluator, draws, symbols = self._evaluator(outputs)
        graphs = list(outputs.values())

        def evaluate(new: NewRows) -> dict[str, np.ndarray]:
            for name, v in outcomes.items():
                v.set_value(new.outcomes[name])
            new.refuse_unknown_codes(graphs, {v: v for v in symbols})
            evaluator.hold([_value(new, v) for v in symbols])
            return self._by_chain(outputs, evaluator(draws))

        return evaluate

    def _evaluator(
        self, outputs: Mapping[str, TensorVariable]
    ) -> tuple[Evaluator, list[np.ndarray], list[SharedVariable]]:
        """Outputs as a function of draws; the draws; and the data that it holds."""
        recorded, inputs, data, graphs = self.graph(list(outputs.values()))
        graphs = [g.astype(self._dtype) if g.type.dtype.startswith("float") else g for g in graphs]
        draws = self._draws(recorded)
        rows = max((len(x) for x in data.values() if np.ndim(x)), default=1)
        # A row becomes as many numbers on its way as the weights have columns, and images pixels.
        width = sum(v.type.shape[-1] for v in inputs if v.type.ndim) + 1
        images = [getattr(v.tag, "image", ()) for v in ancestors(list(outputs.values()))]
        width += sum(math.prod(x[:3]) for x in images if x)
        size = int(np.clip(_AT_ONCE // (rows * width), 1, min(len(draws[0]), 1024)))
        named = dict(zip(outputs, graphs, strict=True))
        held = _data(list(outputs.values()), recorded)
        return Evaluator(inputs, named, data, size, _tell), draws, held

    def draw(
        self, outputs: Mapping[str, TensorVariable], rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """Draw outcomes, for one draw of the posterior after another: ``(chain, draw, ...)``."""
        recorded, inputs, data, graphs = self.graph(list(outputs.values()))
        function = pm.compile(
            [*inputs, *data],
            graphs,
            random_seed=int(rng.integers(2**30)),
            on_unused_input="ignore",
        )
        draws, names = self._draws(recorded), list(outputs)
        found = draw_by_draw(function, inputs, draws, data.values(), names)
        typed = [x.astype(self._dtype) if x.dtype.kind == "f" else x for x in found]
        return self._by_chain(outputs, typed)

    def _by_chain(
        self, names: Iterable[str], arrays: Sequence[np.ndarray]
    ) -> dict[str, np.ndarray]:
        lead = self._posterior.sizes["chain"], self._posterior.sizes["draw"]
        return {k: x.reshape(*lead, *x.shape[1:]) for k, x in zip(names, arrays, strict=True)}

    def graph(
        self, outputs: Sequence[TensorVariable]
    ) -> tuple[list[Named], list[TensorVariable], dict[Variable, np.ndarray], list[TensorVariable]]:
        """Recorded variables that outputs need, their symbols, data, and functions of those two."""
        recorded = self._recorded(outputs)
        missing = [
            v.name
            for v in self._model.free_RVs
            if v not in recorded and v in set(ancestors(outputs, blockers=recorded))
        ]
        if missing:
            free = [v.name for v in self._model.free_RVs]
            raise ValueError(
                f"The {self._posterior.name} has no draws of {', '.join(map(repr, missing))}, "
                f"which predictions need. Sample with var_names={free!r}, or without var_names."
            )
        inputs = [
            pt.TensorType(self._type_of(v), self._posterior[v.name].shape[2:])(v.name)
            for v in recorded
        ]
        data = _data(outputs, recorded)
        self._new.refuse_old_rows(data)
        held = [_value(self._new, v) for v in data]
        symbols = [
            pt.TensorType(v.type.dtype, np.shape(x))(v.name)
            for v, x in zip(data, held, strict=True)
        ]
        replacements: dict[Variable, Variable] = dict(zip(recorded, inputs, strict=True))
        replacements |= zip(data, symbols, strict=True)
        graphs = rebuild(list(outputs), replacements, self._floats)
        self._new.refuse_unknown_codes(graphs, dict(zip(symbols, data, strict=True)))
        return recorded, inputs, dict(zip(symbols, held, strict=True)), graphs

    def _type_of(self, variable: Variable) -> str:
        dtype = variable.type.dtype
        return self._floats if self._floats and dtype.startswith("float") else dtype

    def _recorded(self, outputs: Sequence[Variable]) -> list[Named]:
        """Variables of the model nearest to the outputs whose draws can be taken as they are."""
        changed = set(self._new.values)
        asked = set(outputs)
        usable = [
            v
            for name, v in self._model.named_vars.items()
            if name in self._posterior.data_vars
            and v not in asked
            and not changed & set(values_read(v))
        ]
        needed = set(ancestors(outputs, blockers=usable))
        # What depends on none is the same in every draw, of whatever variable that is.
        return [v for v in usable if v in needed] or usable[:1]

    def _draws(self, variables: Sequence[Variable]) -> list[np.ndarray]:
        """Draws of the variables, chains one after another, as they were recorded."""
        dataset = self._posterior.dataset
        values = [dataset[str(v.name)].values for v in variables]
        return [x.reshape(-1, *x.shape[2:]) for x in values]


def _data(outputs: Sequence[Variable], recorded: Sequence[Variable]) -> list[SharedVariable]:
    """Data that outputs are computed from, besides the draws of recorded variables."""
    return [v for v in leaves(outputs, blockers=recorded) if is_shared_value(v)]


def _value(new: NewRows, variable: SharedVariable) -> np.ndarray:
    return new.values.get(variable, variable.get_value(borrow=True))


def _tell(error: Exception, unknown: Callable[[], list[str]]) -> None:
    _log.warning(
        "JAX can't compile what is to be predicted (%s): one draw is computed after "
        "another, which is slow.",
        reason(error),
    )
