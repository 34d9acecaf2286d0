"""Models that were written with ``pymc.dims``, as the same models of plain tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast
from weakref import WeakKeyDictionary

import pytensor.tensor as pt
from pymc.logprob.transforms import Transform
from pymc.model import Model, modelcontext
from pymc.model.core import BaseModel
from pytensor.compile import optdb
from pytensor.compile.ops import ViewOp
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Constant, Variable
from pytensor.graph.fg import FunctionGraph
from pytensor.graph.traversal import ancestors
from pytensor.tensor.sharedvar import TensorSharedVariable
from pytensor.tensor.variable import TensorConstant, TensorVariable
from pytensor.xtensor.basic import tensor_from_xtensor, xtensor_from_tensor
from pytensor.xtensor.type import XTensorType, as_xtensor
from xarray import DataArray

from pymc_sgmcmc.model.graphs import leaves

# Of each model that has labelled arrays: what it was made of, and its copy.
_copies: WeakKeyDictionary[Model, tuple[list[Variable], Model]] = WeakKeyDictionary()


def the_model(model: Model | None) -> Model:
    """The model of the ``with`` context when None.

    Raises
    ------
    TypeError
        If it is no model, or None and there is no context.
    """
    if model is not None and not isinstance(model, BaseModel):
        raise TypeError(f"model must be a pm.Model, got {model!r}.")
    try:
        return modelcontext(model)
    except TypeError as error:
        raise TypeError(
            "No model on context stack: write `with model:` around this line, or give model=model."
        ) from error


def plain(model: Model) -> Model:
    """Give a model without the labelled arrays of ``pymc.dims``; the model itself if it has none.

    All that the package does with a model it does with this one. Names, dims, coordinates and
    transforms are the model's, in its order, and so is the memory of its data: ``pm.set_data``
    changes both. It is the same object in every call, until variables are added to the model.

    Parameters
    ----------
    model : pm.Model

    Returns
    -------
    pm.Model

    Raises
    ------
    NotImplementedError
        If PyTensor can't turn a labelled array into a tensor; the message names the variable.
    """
    variables = _variables(model)
    before, copy = _copies.get(model, ([], model))
    if before != variables:
        labelled = _is_labelled([*variables, *model.data_vars])
        copy = _without_labels(model, variables) if labelled else model
        if labelled:
            _copies[model] = variables, copy
    return copy


def _variables(model: Model) -> list[Variable]:
    """All that a model computes, and the values that it observes."""
    observed = [model.rvs_to_values[rv] for rv in model.observed_RVs]
    starts = [x for x in model.rvs_to_initial_values.values() if isinstance(x, Variable)]
    return [*model.basic_RVs, *observed, *model.deterministics, *model.potentials, *starts]


def _is_labelled(graphs: Sequence[Variable]) -> bool:
    return any(isinstance(v.type, XTensorType) for v in ancestors(graphs))


def _without_labels(model: Model, variables: list[Variable]) -> Model:
    """Copy a model, all of its graphs lowered together: what they share, they go on to share."""
    held = dict.fromkeys([*leaves(variables), *model.data_vars])
    tensors = {v: _tensor(v) for v in held if isinstance(v.type, XTensorType)}
    lowered = dict(zip(variables, _lower(variables, tensors), strict=True))
    _refuse_labels(lowered)
    copy = Model(model=None, check_bounds=model.check_bounds)
    # The very same: `pm.set_data` changes them.
    copy._coords, copy._dim_lengths = model._coords, model._dim_lengths
    taken: dict[Variable, Variable] = {}
    for name, v in model.named_vars.items():
        new = tensors.get(v, v) if v in model.data_vars else lowered[v]
        if new in taken.values():
            new = new.copy()  # a Deterministic that is another variable as it is
        new.name, taken[v] = name, new
        copy.add_named_variable(new, model.named_vars_to_dims.get(name))
    for of_model, of_copy in (
        (model.free_RVs, copy.free_RVs),
        (model.observed_RVs, copy.observed_RVs),
        (model.deterministics, copy.deterministics),
        (model.potentials, copy.potentials),
        (model.data_vars, copy.data_vars),
    ):
        of_copy.extend(taken[v] for v in of_model)
    for rv in model.basic_RVs:
        value = lowered.get(model.rvs_to_values[rv])
        copy.create_value_var(
            taken[rv],
            transform=_transform(model.rvs_to_transforms[rv], rv.type),
            default_transform=None,
            value_var=value,
        )
    for rv, start in model.rvs_to_initial_values.items():
        copy.set_initval(taken[rv], _start(start, rv.type, lowered))
    return copy


def _tensor(leaf: Any) -> Variable:
    """A leaf of the graph as a tensor that holds the same array."""
    type_ = pt.TensorType(leaf.type.dtype, leaf.type.shape)
    if isinstance(leaf, Constant):
        return TensorConstant(type_, leaf.data, name=leaf.name)
    assert isinstance(leaf, SharedVariable)
    shared: Any = TensorSharedVariable
    return shared(type_, value=None, strict=None, container=leaf.container, name=leaf.name)


def _lower(outputs: Sequence[Variable], tensors: dict[Variable, Variable]) -> list[TensorVariable]:
    """Copy graphs, with tensors in place of labelled arrays and of the operations on them."""
    unlabelled: list[Any] = [
        tensor_from_xtensor(v) if isinstance(v.type, XTensorType) else v for v in outputs
    ]
    graph = FunctionGraph(outputs=unlabelled, clone=True, copy_inputs=False, copy_orphans=False)
    for leaf, tensor in tensors.items():
        if leaf in graph.variables:
            labelled = xtensor_from_tensor(tensor, dims=leaf.type.dims)
            graph.replace(leaf, labelled, import_missing=True)
    for node in graph.toposort():
        # PyMC's Deterministic makes one, which PyTensor has no tensors for.
        if isinstance(node.op, ViewOp) and isinstance(node.outputs[0].type, XTensorType):
            graph.replace(node.outputs[0], node.inputs[0])
    optdb.query("+lower_xtensor").rewrite(graph)
    return cast(list[TensorVariable], list(graph.outputs))


def _refuse_labels(lowered: dict[Variable, TensorVariable]) -> None:
    for v, graph in lowered.items():
        for x in ancestors([graph]):
            if isinstance(x.type, XTensorType) and x.owner is not None:
                raise NotImplementedError(
                    f"{v.name!r} of the model has the operation {x.owner.op} of pymc.dims, which "
                    "PyTensor can't turn into one of tensors. Write this part of the model with "
                    "pymc: pm.Normal(..., dims=...), and x.values for a labelled x."
                )


class _OfTensors(Transform):
    """A transform of labelled arrays, for tensors whose axes have these labels."""

    def __init__(self, transform: Transform, dims: Sequence[str]) -> None:
        self._of_labelled, self._dims = transform, dims
        self.name, self.ndim_supp = transform.name, transform.ndim_supp

    def forward(self, value: TensorVariable, *inputs: Variable) -> TensorVariable:
        """Apply the transformation."""
        return self._lowered(self._of_labelled.forward, value)

    def backward(self, value: TensorVariable, *inputs: Variable) -> TensorVariable:
        """Invert it."""
        return self._lowered(self._of_labelled.backward, value)

    def log_jac_det(self, value: TensorVariable, *inputs: Variable) -> TensorVariable:
        """Give the logarithm of the determinant of its inverse's Jacobian."""
        return self._lowered(self._of_labelled.log_jac_det, value)

    def _lowered(self, function: Callable, value: TensorVariable) -> TensorVariable:
        result = function(as_xtensor(value, dims=self._dims))
        kept = [dim for dim in self._dims if dim in result.type.dims]
        return _lower([result.transpose(*kept)], {})[0]


def _transform(transform: Transform | None, type_: Any) -> Transform | None:
    labelled = transform is not None and isinstance(type_, XTensorType)
    return _OfTensors(transform, type_.dims) if labelled else transform


def _start(start: Any, type_: Any, lowered: dict[Variable, TensorVariable]) -> Any:
    """Initial value of a variable: an array, a graph, or the name of a strategy."""
    if isinstance(start, DataArray):
        return start.transpose(*type_.dims).values
    return lowered[start] if isinstance(start, Variable) else start
