"""What is exported: some draws of a posterior, and the graph of what they predict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import numpy as np
import pytensor.tensor as pt
from numpy.typing import ArrayLike
from pymc.model import Model
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Variable
from pytensor.graph.rewriting.utils import rewrite_graph
from pytensor.tensor.variable import TensorVariable
from xarray import DataArray, Dataset, DataTree

from pymc_sgmcmc.arguments import names
from pymc_sgmcmc.export.operators import CantSpellError, spell
from pymc_sgmcmc.export.program import Program, identifier
from pymc_sgmcmc.model.graphs import is_shared_value, rebuild, values_read
from pymc_sgmcmc.model.rows import is_array, value_of
from pymc_sgmcmc.prediction.new_rows import NewRows
from pymc_sgmcmc.prediction.posterior import Posterior
from pymc_sgmcmc.prediction.predictions import asked_of
from pymc_sgmcmc.weights import of_chains

# Rows that the graph is made with, and that the file is tried on: not as many, so that a number of
# rows that is written into it shows.
_MADE, _TRIED = 2, 3


Rows = dict[str, TensorVariable]
"""What is given, by name."""


class Draws(NamedTuple):
    """Some draws of a posterior, in one chain, and the weight of each, of sum 1."""

    tree: DataTree
    weights: np.ndarray


def some_draws(posterior: DataTree, n: int | None, weights: ArrayLike | None) -> Draws:
    """Take draws evenly spaced over the chains.

    Parameters
    ----------
    posterior : DataTree
        A group of draws.
    n : int or None
        How many; all when None, or where there are no more.
    weights : array_like, optional
        Of each chain; those of its draws share it.
    """
    dataset = posterior.to_dataset()
    chains, draws = dataset.sizes["chain"], dataset.sizes["draw"]
    of_chain = np.ones(chains) if weights is None else of_chains(weights, dataset["chain"]).values
    n = chains * draws if n is None else min(n, chains * draws)
    taken = ((np.arange(n) + 0.5) * chains * draws / n).astype(int)
    chain, draw = np.divmod(taken, draws)
    share = of_chain[chain] / np.bincount(chain, minlength=chains)[chain]
    if not share.any():
        raise ValueError(
            f"The {n} draws are all of chains whose weight is 0: take more, draws=None for all."
        )
    return Draws(
        DataTree(_one_chain(dataset, chain, draw), name=posterior.name), share / share.sum()
    )


def _one_chain(dataset: Dataset, chain: np.ndarray, draw: np.ndarray) -> Dataset:
    picked = dataset.isel(chain=DataArray(chain, dims="draw"), draw=DataArray(draw, dims="draw"))
    found = picked.drop_vars(["chain", "draw"], errors="ignore").expand_dims("chain")
    return found.assign_coords(chain=[0], draw=np.arange(len(draw))).transpose("chain", "draw", ...)


class Prediction:
    """A graph of new rows and draws.

    Parameters
    ----------
    model : pm.Model
    draws : Draws
    inputs : sequence of str or None
        Each ``pm.Data`` that is given when rows are predicted; all as long as an observed variable
        when None.
    var_names : sequence of str or None

    Raises
    ------
    ValueError
        If names are unknown, or there is nothing to predict from.
    """

    def __init__(
        self,
        model: Model,
        draws: Draws,
        inputs: Sequence[str] | None,
        var_names: Sequence[str] | None,
    ) -> None:
        self._model, self._draws, self._var_names = model, draws, var_names
        if var_names is not None and not names("var_names", var_names):
            raise ValueError("var_names is empty: name what is to be predicted, or leave it out.")
        self._given = _rows_of(model, inputs)
        outputs = self._outputs(self._new(_MADE))
        read = {x for v in outputs.values() for x in values_read(v)}
        if inputs is None:
            self._given = {k: v for k, v in self._given.items() if v in read}
        if not self._given or not outputs:
            raise ValueError(
                "No predictions depend on a pm.Data of the rows: write pm.Data('X', X) in the "
                "model for what differs between rows."
            )

    def _new(self, rows: int) -> NewRows:
        """Some of the model's own rows."""
        few = {k: v.get_value(borrow=True)[:rows] for k, v in self._given.items()}
        return NewRows(self._model, few, {})

    def _outputs(self, new: NewRows) -> dict[str, TensorVariable]:
        found = asked_of(new, self._var_names)
        if random := [name for name in found if name in new.observed]:
            raise ValueError(
                f"var_names has {', '.join(map(repr, random))}, whose draws are random. Ask for "
                "parameters of their distribution, such as 'y_mean' or 'y_probability'."
            )
        return found

    def program(self, average: bool) -> Program:
        """Write the steps.

        Parameters
        ----------
        average : bool
            Over draws, with their weights.

        Raises
        ------
        NotImplementedError
            If there is no operator for an operation; the message names it, and says what to do.
        """
        new = self._new(_MADE)
        outputs = self._outputs(new)
        posterior = Posterior(self._model, self._draws.tree, new, "float32")
        _, drawn, data, graphs = posterior.graph(list(outputs.values()))
        rows = self._symbols()
        single = {str(v.name): _float32(v.name, v.type.dtype, v.type.shape) for v in drawn}
        replaced: dict[Variable, Variable] = dict(zip(drawn, single.values(), strict=True))
        replaced |= {v: self._held(v, x, rows) for v, x in data.items()}
        found = rewrite_graph(
            rebuild(rebuild(graphs, replaced), {}, "float32"), include=("canonicalize",)
        )
        arrays = self._draws.tree.dataset
        program = Program(
            {identifier(k): (v.type.dtype, v.type.shape) for k, v in rows.items()},
            {identifier(k): _narrow(arrays[k].values[0]) for k in single},
        )
        starts: dict[Variable, str] = {v: identifier(k) for k, v in (rows | single).items()}
        for name, graph in zip(outputs, cast(list[TensorVariable], found), strict=True):
            try:
                (array,) = spell([graph], starts, program)
            except CantSpellError as error:
                raise NotImplementedError(
                    f"{name!r} needs {error}, which can't be exported. Leave {name!r} out with "
                    "var_names=[...]; or, where no rows go into it, wrap it in pm.Deterministic "
                    "before you sample: its draws are then exported as they are."
                ) from None
            weights = self._draws.weights if average else None
            program.give(name, array, graph.type.dtype, graph.type.shape, weights)
        program.drop_unused()
        return program

    def expected(self, average: bool) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Some rows, and what `predict` gives for them."""
        new = self._new(_TRIED)
        outputs = self._outputs(new)
        found = Posterior(self._model, self._draws.tree, new, "float32").evaluate(outputs)
        by_draw = {identifier(k): x[0] for k, x in found.items()}
        if average:
            by_draw = {k: np.tensordot(self._draws.weights, x, 1) for k, x in by_draw.items()}
        rows = {identifier(str(v.name)): x for v, x in new.values.items() if v.name in self._given}
        return rows, by_draw

    def _symbols(self) -> Rows:
        """What is given, its rows as many as there are."""
        return {
            k: _float32(k, v.type.dtype, (None, *v.get_value(borrow=True).shape[1:]))
            for k, v in self._given.items()
        }

    def _held(self, data: Variable, value: np.ndarray, rows: Rows) -> TensorVariable:
        """What stands for data of the model: what is given, its length, or the value itself."""
        if str(data.name) in rows:
            return rows[str(data.name)]
        for name, symbol in rows.items():
            dims = self._model.named_vars_to_dims.get(name, ())
            if dims and dims[0] is not None and self._model.dim_lengths[dims[0]].name == data.name:
                return symbol.shape[0]
        return pt.constant(_narrow(value))


def _rows_of(model: Model, inputs: Sequence[str] | None) -> dict[str, SharedVariable]:
    """Data that are given when rows are predicted, by name."""
    known = {
        str(v.name): v
        for v in model.data_vars
        if is_shared_value(v) and v.name in model.named_vars and v.type.ndim
    }
    if inputs is None:
        observed = [model.rvs_to_values[rv] for rv in model.observed_RVs]
        lengths = {len(value_of(v)) for v in observed if is_array(v) and v.type.ndim}
        return {k: v for k, v in known.items() if len(v.get_value(borrow=True)) in lengths}
    asked = names("inputs", inputs)
    for name in asked:
        if name not in known:
            can = ", ".join(map(repr, known)) or "nothing"
            raise ValueError(f"inputs has {name!r}. What can be given: {can}.")
    return {k: known[k] for k in asked}


def _float32(name: str | None, dtype: str, shape: tuple) -> TensorVariable:
    """A symbol; of floating-point numbers, in single precision."""
    return pt.TensorType("float32" if dtype.startswith("float") else dtype, shape)(name)


def _narrow(x: np.ndarray) -> np.ndarray:
    return x.astype("float32") if x.dtype.kind == "f" else x
