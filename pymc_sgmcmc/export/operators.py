"""From operations of PyTensor to operators of ONNX, one rule for each kind."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce, singledispatch
from typing import Any

import numpy as np
from pytensor import scalar as ps
from pytensor.compile.builders import OpFromGraph
from pytensor.compile.ops import ViewOp
from pytensor.graph.basic import Apply, Constant, Variable
from pytensor.graph.op import Op
from pytensor.graph.traversal import toposort
from pytensor.link.jax.ops import JAXOp
from pytensor.raise_op import CheckAndRaise
from pytensor.tensor.basic import (
    Alloc,
    Join,
    MakeVector,
    ScalarFromTensor,
    TensorFromScalar,
)
from pytensor.tensor.blockwise import Blockwise
from pytensor.tensor.elemwise import CAReduce, DimShuffle, Elemwise
from pytensor.tensor.math import Argmax, Dot
from pytensor.tensor.shape import Reshape, Shape, Shape_i, SpecifyShape
from pytensor.tensor.special import LogSoftmax, Softmax
from pytensor.tensor.subtensor import (
    AdvancedSubtensor,
    Subtensor,
    indices_from_subtensor,
)

from pymc_sgmcmc.export.program import MOST, Program
from pymc_sgmcmc.nn.convolution import Convolution

# Of ONNX, by the elementwise operation of PyTensor, where they are the same.
_ELEMENTWISE: dict[type, str] = {
    ps.Abs: "Abs",
    ps.Add: "Add",
    ps.AND: "And",
    ps.ArcCos: "Acos",
    ps.ArcSin: "Asin",
    ps.ArcTan: "Atan",
    ps.Ceil: "Ceil",
    ps.Cos: "Cos",
    ps.Cosh: "Cosh",
    ps.EQ: "Equal",
    ps.Erf: "Erf",
    ps.Exp: "Exp",
    ps.Floor: "Floor",
    ps.GE: "GreaterOrEqual",
    ps.GT: "Greater",
    ps.Identity: "Identity",
    ps.IsInf: "IsInf",
    ps.IsNan: "IsNaN",
    ps.Invert: "Not",
    ps.LE: "LessOrEqual",
    ps.Log: "Log",
    ps.LT: "Less",
    ps.Maximum: "Max",
    ps.Minimum: "Min",
    ps.Mul: "Mul",
    ps.Neg: "Neg",
    ps.OR: "Or",
    ps.Pow: "Pow",
    ps.Reciprocal: "Reciprocal",
    ps.RoundHalfToEven: "Round",
    ps.Sigmoid: "Sigmoid",
    ps.Sign: "Sign",
    ps.Sin: "Sin",
    ps.Sinh: "Sinh",
    ps.Softplus: "Softplus",
    ps.Sqrt: "Sqrt",
    ps.Sub: "Sub",
    ps.Tan: "Tan",
    ps.Tanh: "Tanh",
    ps.TrueDiv: "Div",
}
_REDUCTIONS: dict[type, str] = {
    ps.Add: "ReduceSum",
    ps.Mul: "ReduceProd",
    ps.Maximum: "ReduceMax",
    ps.Minimum: "ReduceMin",
}
# What runtimes compute in; narrower integers are computed in the widest.
_COMPUTED = ("float32", "int32", "int64", "bool")


class CantSpellError(NotImplementedError):
    """An operation has no rule."""


def spell(outputs: Sequence[Variable], names: dict[Variable, str], program: Program) -> list[str]:
    """Write the steps of a graph, and name the arrays of its outputs.

    Parameters
    ----------
    outputs : sequence of Variable
        In float32, integers and bool.
    names : dict of Variable to str
        Of the arrays that the graph starts from; those of all others are added.
    program : Program
        Where steps go.

    Raises
    ------
    CantSpellError
        If an operation has no rule; the message names it.
    """
    for node in toposort(outputs, blockers=list(names)):
        inputs = [_named(v, names, program) for v in node.inputs]
        names[node.outputs[0]] = _step(node.op, node, inputs, program)
    return [_named(v, names, program) for v in outputs]


def _named(variable: Variable, names: dict[Variable, str], program: Program) -> str:
    if variable in names:
        return names[variable]
    if not isinstance(variable, Constant):
        raise CantSpellError(f"{variable}, whose value is not known")
    value = variable.data
    if isinstance(value, np.ndarray | np.number | bool | int | float):
        return program.constant(value)
    return ""  # a slice, or None: its operation looks at the variable


@singledispatch
def _step(op: Op, node: Apply, inputs: list[str], program: Program) -> str:
    """Write the steps of one operation, and name the array of its first output."""
    raise CantSpellError(_name(op))


def _name(op: Any) -> str:
    """An operation's name for people."""
    if isinstance(op, JAXOp):
        return "a function of JAX (of a module of Equinox or Flax, say)"
    while hasattr(op, "core_op"):
        op = op.core_op
    return type(getattr(op, "scalar_op", op)).__name__


# -- number by number ------------------------------------------------------------------------------


@_step.register(Elemwise)
def _(op: Elemwise, node: Apply, inputs: list[str], program: Program) -> str:
    f, old, new = op.scalar_op, [v.type.dtype for v in node.inputs], node.outputs[0].type.dtype
    if isinstance(f, ps.Cast):
        return _cast(inputs[0], old[0], new, program)
    if isinstance(f, ps.Switch):
        condition = _cast(inputs[0], old[0], "bool", program)
        pair = [_cast(x, d, new, program) for x, d in zip(inputs[1:], old[1:], strict=True)]
        return program.write("Where", condition, *pair)
    compares = new == "bool" and "bool" not in old
    if isinstance(f, ps.AND | ps.OR | ps.Invert) and {*old} != {"bool"}:
        raise CantSpellError(f"{_name(op)} of the bits of integers")
    wanted = ps.upcast(*old) if compares or "bool" in new else new
    computed = wanted if wanted in _COMPUTED else "int64"
    x = [_cast(a, d, computed, program) for a, d in zip(inputs, old, strict=True)]
    found = _composed(f, x, computed, program)
    return found if new == "bool" else _cast(found, computed, new, program)


def _composed(f: Any, x: list[str], dtype: str, program: Program) -> str:
    """An elementwise operation, of several operators where ONNX has it not."""
    write = program.write

    def number(value: float) -> str:
        return program.constant(np.asarray(value, dtype))

    match f:
        case ps.Sqr():
            return write("Mul", x[0], x[0])
        case ps.NEQ():
            return write("Not", write("Equal", *x))
        case ps.Log1p():
            return write("Log", write("Add", x[0], number(1)))
        case ps.Expm1():
            return write("Sub", write("Exp", x[0]), number(1))
        case ps.Erfc():
            return write("Sub", number(1), write("Erf", x[0]))
        case ps.Clip():
            return write("Min", write("Max", x[0], x[1]), x[2])
        case ps.Mod() if dtype != "float32":
            return write("Mod", *x)
        case ps.Second():
            return write("Expand", x[1], write("Shape", x[0]))
    operator = _ELEMENTWISE.get(type(f))
    if operator is None:
        raise CantSpellError(type(f).__name__)
    if len(x) < 3:
        return write(operator, *x)
    return reduce(lambda a, b: write(operator, a, b), x)


def _cast(x: str, old: str, new: str, program: Program) -> str:
    return x if old == new else program.write("Cast", x, to=new)


# -- products, sums and softmax --------------------------------------------------------------------


@_step.register(Dot)
def _(op: Dot, node: Apply, inputs: list[str], program: Program) -> str:
    return program.write("MatMul", *inputs)


@_step.register(Blockwise)
def _(op: Blockwise, node: Apply, inputs: list[str], program: Program) -> str:
    if not isinstance(op.core_op, Dot):
        raise CantSpellError(_name(op))
    return program.write("MatMul", *inputs)


@_step.register(CAReduce)
def _(op: CAReduce, node: Apply, inputs: list[str], program: Program) -> str:
    (x,), operator = node.inputs, _REDUCTIONS.get(type(op.scalar_op))
    if operator is None:
        raise CantSpellError(f"{_name(op)} over an axis")
    axes = tuple(range(x.type.ndim)) if op.axis is None else op.axis
    new = node.outputs[0].type.dtype
    array = _cast(inputs[0], x.type.dtype, new, program)
    return program.write(operator, array, axes=tuple(axes), keepdims=0)


@_step.register(Argmax)
def _(op: Argmax, node: Apply, inputs: list[str], program: Program) -> str:
    return program.write("ArgMax", inputs[0], axis=_axis(op, node), keepdims=0)


@_step.register(Softmax)
def _(op: Softmax, node: Apply, inputs: list[str], program: Program) -> str:
    return program.write("Softmax", inputs[0], axis=_axis(op, node))


@_step.register(LogSoftmax)
def _(op: LogSoftmax, node: Apply, inputs: list[str], program: Program) -> str:
    return program.write("LogSoftmax", inputs[0], axis=_axis(op, node))


def _axis(op: Any, node: Apply) -> int:
    """The one axis that an operation goes along."""
    axes = range(node.inputs[0].type.ndim) if op.axis is None else np.atleast_1d(op.axis)
    if len(axes) != 1:
        raise CantSpellError(f"{_name(op)} along several axes")
    return int(axes[0])


# -- shapes ----------------------------------------------------------------------------------------


@_step.register(DimShuffle)
def _(op: DimShuffle, node: Apply, inputs: list[str], program: Program) -> str:
    (x,) = inputs
    if op.drop:
        x = program.write("Squeeze", x, axes=tuple(op.drop))
    kept = sorted(op.shuffle)
    order = tuple(kept.index(axis) for axis in op.shuffle)
    if order != tuple(range(len(order))):
        x = program.write("Transpose", x, perm=order)
    if op.augment:
        x = program.write("Unsqueeze", x, axes=tuple(op.augment))
    return x


@_step.register(Reshape)
def _(op: Reshape, node: Apply, inputs: list[str], program: Program) -> str:
    x, shape = inputs
    return program.write("Reshape", x, _cast(shape, node.inputs[1].type.dtype, "int64", program))


@_step.register(MakeVector)
def _(op: MakeVector, node: Apply, inputs: list[str], program: Program) -> str:
    return _vector(node.inputs, inputs, op.dtype, program)


@_step.register(Alloc)
def _(op: Alloc, node: Apply, inputs: list[str], program: Program) -> str:
    shape = _vector(node.inputs[1:], inputs[1:], "int64", program)
    return program.write("Expand", inputs[0], shape)


def _vector(variables: Sequence[Any], names: list[str], dtype: str, program: Program) -> str:
    """Scalars one after the other."""
    typed = [_cast(x, v.type.dtype, dtype, program) for x, v in zip(names, variables, strict=True)]
    return program.write(
        "Concat", *(program.write("Unsqueeze", x, axes=(0,)) for x in typed), axis=0
    )


@_step.register(Shape)
def _(op: Shape, node: Apply, inputs: list[str], program: Program) -> str:
    return program.write("Shape", inputs[0])


@_step.register(Shape_i)
def _(op: Shape_i, node: Apply, inputs: list[str], program: Program) -> str:
    shape = program.write("Shape", inputs[0])
    return program.write("Gather", shape, program.constant(np.int64(op.i)), axis=0)


@_step.register(Join)
def _(op: Join, node: Apply, inputs: list[str], program: Program) -> str:
    new = node.outputs[0].type.dtype
    typed = [_cast(x, v.type.dtype, new, program) for x, v in zip(inputs, node.inputs, strict=True)]
    return program.write("Concat", *typed, axis=int(op.axis))


@_step.register(ViewOp)
@_step.register(SpecifyShape)
@_step.register(CheckAndRaise)
@_step.register(TensorFromScalar)
@_step.register(ScalarFromTensor)
def _(op: Op, node: Apply, inputs: list[str], program: Program) -> str:
    return inputs[0]


# -- entries ---------------------------------------------------------------------------------------


@_step.register(Subtensor)
def _(op: Subtensor, node: Apply, inputs: list[str], program: Program) -> str:
    names = dict(zip(node.inputs[1:], inputs[1:], strict=True))
    x = inputs[0]
    picked: list[Any] = list(indices_from_subtensor(node.inputs[1:], op.idx_list))
    axes = [axis for axis, index in enumerate(picked) if isinstance(index, slice)]
    slices = {axis: _bounds(picked[axis], _name(op)) for axis in axes}
    slices = {axis: s for axis, s in slices.items() if s != (0, MOST, 1)}
    if slices:
        starts, ends, steps = zip(*slices.values(), strict=True)
        x = program.write("Slice", x, starts=starts, ends=ends, axes=tuple(slices), steps=steps)
    for axis in reversed(range(len(picked))):  # entries leave from the last axis on
        index = picked[axis]
        if not isinstance(index, slice):
            place = _cast(names[index], index.type.dtype, "int64", program)
            x = program.write("Gather", x, place, axis=axis)
    return x


def _bounds(index: slice, name: str) -> tuple[int, int, int]:
    """Start, end and step of a slice."""
    step = _integer(index.step, 1, name)
    start = _integer(index.start, 0 if step > 0 else MOST, name)
    return start, _integer(index.stop, MOST if step > 0 else -MOST, name), step


def _integer(bound: Any, otherwise: int, name: str) -> int:
    if bound is None or (isinstance(bound, Constant) and bound.data is None):
        return otherwise
    if not isinstance(bound, Constant):
        raise CantSpellError(f"{name} with bounds that are computed")
    return int(bound.data)


@_step.register(AdvancedSubtensor)
def _(op: AdvancedSubtensor, node: Apply, inputs: list[str], program: Program) -> str:
    picked: list[Any] = list(indices_from_subtensor(node.inputs[1:], op.idx_list))
    names = dict(zip(node.inputs[1:], inputs[1:], strict=True))
    arrays = [axis for axis, index in enumerate(picked) if not isinstance(index, slice)]
    others = [s for s in picked if isinstance(s, slice) and _bounds(s, _name(op)) != (0, MOST, 1)]
    dtypes = {picked[axis].type.dtype for axis in arrays}
    if others or "bool" in dtypes:
        raise CantSpellError(f"{_name(op)} by slices or by true and false")
    places = [_cast(names[picked[a]], picked[a].type.dtype, "int64", program) for a in arrays]
    if len(arrays) == 1:
        return program.write("Gather", inputs[0], places[0], axis=arrays[0])
    if arrays != list(range(len(arrays))):
        raise CantSpellError(f"{_name(op)} by several arrays, not of the first axes")
    # Places are broadcast against each other, and stand on a last axis together.
    sum_ = reduce(lambda a, b: program.write("Add", a, b), places)
    shape = program.write("Shape", sum_)
    last = (max(getattr(picked[axis].type, "ndim", 0) for axis in arrays),)
    wide = [
        program.write("Unsqueeze", program.write("Expand", p, shape), axes=last) for p in places
    ]
    return program.write("GatherND", inputs[0], program.write("Concat", *wide, axis=last[0]))


# -- images, and graphs within ---------------------------------------------------------------------


@_step.register(Convolution)
def _(op: Convolution, node: Apply, inputs: list[str], program: Program) -> str:
    x, w = node.inputs
    (top, bottom), (left, right) = op.zeros(x.type.shape, w.type.shape)
    # Channels are last here, and second there; of filters, outputs are last and first.
    images = program.write("Transpose", inputs[0], perm=(0, 3, 1, 2))
    filters = program.write("Transpose", inputs[1], perm=(3, 2, 0, 1))
    pads, strides = (top, left, bottom, right), (op.stride, op.stride)
    found = program.write("Conv", images, filters, pads=pads, strides=strides)
    return program.write("Transpose", found, perm=(0, 2, 3, 1))


@_step.register(OpFromGraph)
def _(op: OpFromGraph, node: Apply, inputs: list[str], program: Program) -> str:
    graph = op.fgraph.unfreeze()
    names = dict(zip(graph.inputs, inputs, strict=True))
    return spell(graph.outputs[:1], names, program)[0]
