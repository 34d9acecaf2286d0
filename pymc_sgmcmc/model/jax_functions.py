"""JAX functions in a model (``pytensor.wrap_jax``), as operations that can be given other types.

PyTensor fixes the types of such an operation when the model is written, and JAX has 32 bits then
unless someone asked for 64. Here the types follow from the inputs, and 64 bits are JAX's where an
input has them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, MutableMapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, cast
from weakref import WeakKeyDictionary

import numpy as np
from pytensor.gradient import DisconnectedType
from pytensor.graph.basic import Apply, Variable
from pytensor.link.jax.ops import JAXOp
from pytensor.tensor.type import TensorType, discrete_dtypes
from pytensor.tensor.variable import TensorVariable

_threads = threading.local()
# Where their number is not known yet.
_SOME_ROWS = 3


class JaxFunction(JAXOp):
    """A function of JAX arrays, for inputs of given types.

    Parameters
    ----------
    input_types, output_types : sequence of TensorType
    jax_function : callable
        Gives a tuple of arrays.
    name : str, optional

    Attributes
    ----------
    gradient_of : callable or None
        Function that this is the vector-Jacobian product of.
    """

    gradient_of: Callable | None = None

    def perform(self, node: Apply, inputs: Sequence[np.ndarray], outputs: list) -> None:
        """Evaluate the function in the precision of the inputs."""
        with _precision(self.input_types):
            super().perform(node, inputs, outputs)

    def perform_jax(self, *inputs: Any) -> Any:
        """Evaluate the function on JAX arrays; results have the types that the graph says."""
        found = self._values(inputs) if self.gradient_of is None else self._gradients(inputs)
        if found is None:
            found = self.jitted_func(*inputs)
        pairs = zip(found, self.output_types, strict=True)
        results = tuple(x.astype(type_.dtype) for x, type_ in pairs)
        return results if len(results) > 1 else results[0]

    def _values(self, inputs: Sequence[Any]) -> Sequence[Any] | None:
        """Value of a function that gives one array; how it came about is kept for its gradient."""
        import jax

        places = [i for i, t in enumerate(self.input_types) if t.dtype not in discrete_dtypes]
        if len(self.output_types) > 1 or not places:
            return None

        def of_differentiable(*arrays: Any) -> Any:
            whole = list(inputs)
            for i, x in zip(places, arrays, strict=True):
                whole[i] = x
            return self.jax_func(*whole)[0]

        try:
            value, pull = jax.vjp(of_differentiable, *(inputs[i] for i in places))
        except Exception:  # it has no gradient, which may not be wanted
            return None
        _kept()[self.jax_func] = (inputs, value.dtype, pull)
        return [value]

    def _gradients(self, inputs: Sequence[Any]) -> Sequence[Any] | None:
        """Gradients by what was kept, if that was of these inputs: XLA would compute it twice."""
        assert self.gradient_of is not None
        *own, gradient = inputs
        of, dtype, pull = _kept().pop(self.gradient_of, ((), None, None))
        if [id(x) for x in of] != [id(x) for x in own]:
            return None
        return pull(gradient.astype(dtype))

    def pullback(
        self,
        inputs: Sequence[Variable],
        outputs: Sequence[Variable],
        output_gradients: Sequence[Variable],
    ) -> list[Variable]:
        """Give gradients by JAX's vector-Jacobian product, an operation of this kind too."""
        gradients = super().pullback(inputs, outputs, output_gradients)
        connected = [g for g in gradients if not isinstance(g.type, DisconnectedType)]
        if not connected:
            return gradients
        node = connected[0].owner
        node.op.gradient_of = self.jax_func
        copies = dict(zip(node.outputs, on(node.op, node.inputs), strict=True))
        return [copies.get(g, g) for g in gradients]


def function_of_rows(
    function: Callable[..., Any], x: TensorVariable, *arrays: TensorVariable, name: str
) -> TensorVariable:
    """Write a JAX function, whose outputs have the rows of its first input, into a graph.

    Parameters
    ----------
    function : callable
        Of JAX arrays, one for each input; it is traced to see what shape it gives.
    x : TensorVariable
        Rows, ``(rows, ...)``, of which only the number may be unknown.
    *arrays : TensorVariable
        Of known shapes.
    name : str
        What the operation is called.

    Returns
    -------
    TensorVariable
        Shape ``(rows, ...)``.

    Raises
    ------
    ValueError
        If the outputs are not one array with a row for each of `x`.
    """

    def as_tuple(*inputs: Any) -> tuple[Any]:
        return (function(*inputs),)

    rows = x.type.shape[0] or _SOME_ROWS
    types = [v.type for v in (x, *arrays)]
    example = [x.type.clone(shape=(rows, *x.type.shape[1:])), *types[1:]]
    (found,) = _results(as_tuple, example)
    if found.shape[:1] != (rows,):
        raise ValueError(f"of {rows} rows it gives the shape {found.shape}, not one for each row.")
    output = found.clone(shape=(x.type.shape[0], *found.shape[1:]))
    op = JaxFunction(types, [output], as_tuple, name)
    return cast(TensorVariable, op.make_node(x, *arrays).outputs[0])


def on(op: JAXOp, inputs: Sequence[Variable]) -> list[Variable]:
    """Apply a JAX function to inputs of whatever types they have."""
    types = [v.type for v in inputs]
    known = all(n is not None for t in types for n in t.shape)
    outputs = _results(op.jax_func, types) if known else _likely(op.output_types, types)
    made = JaxFunction(types, outputs, op.jax_func, op.name)
    made.gradient_of = getattr(op, "gradient_of", None)
    return made.make_node(*inputs).outputs


def _kept() -> MutableMapping[Callable, tuple]:
    """Of each function, what its latest value in this thread leaves for its gradient."""
    if not hasattr(_threads, "kept"):
        _threads.kept = WeakKeyDictionary()
    return _threads.kept


def traced(op: JAXOp) -> tuple[str, list[np.ndarray]] | None:
    """What a JAX function computes, as JAX writes it, and arrays that it holds.

    None where it can't be traced with lengths made up for those that are not known.
    """
    import jax

    shapes = [tuple(n or _SOME_ROWS for n in t.shape) for t in op.input_types]
    example = [
        jax.ShapeDtypeStruct(shape, t.dtype)
        for shape, t in zip(shapes, op.input_types, strict=True)
    ]
    with _precision(op.input_types):
        try:
            found = jax.make_jaxpr(op.jax_func)(*example)
        except Exception:
            return None
    return str(found.jaxpr), [np.asarray(x) for x in found.consts]


def _results(function: Callable, inputs: Sequence[TensorType]) -> list[TensorType]:
    """Types of what a function gives for inputs of known shapes."""
    import jax

    with _precision(inputs):
        found = jax.eval_shape(function, *(jax.ShapeDtypeStruct(t.shape, t.dtype) for t in inputs))
    return [TensorType(str(x.dtype), x.shape) for x in found]


def _likely(old: Sequence[TensorType], inputs: Sequence[TensorType]) -> list[TensorType]:
    """Types where a shape isn't known: as many axes as before, in the precision of the inputs."""
    floats = [t.dtype for t in inputs if t.dtype.startswith("float")]
    floating = str(np.result_type(*floats)) if floats else None
    return [
        TensorType(
            floating if floating and t.dtype.startswith("float") else t.dtype, (None,) * t.ndim
        )
        for t in old
    ]


def _precision(types: Sequence[TensorType]) -> AbstractContextManager:
    import jax

    return jax.enable_x64(any(t.dtype.endswith("64") for t in types))
