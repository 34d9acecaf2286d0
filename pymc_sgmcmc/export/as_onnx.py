"""A program as a file of ONNX: one graph, whose loop over draws is the operator Scan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pymc_sgmcmc.export.program import Program, Step

# Of the operators' versions, and of the file's format that came with them: what runtimes have
# read since 2023.
_OPSET, _FORMAT = 18, 8
# Attributes that ONNX takes as inputs, in their order.
_INPUTS = ("starts", "ends", "axes", "steps")


def write(program: Program, path: Path, title: str) -> None:
    """Write a program to a file."""
    onnx = module()
    constants: dict[str, np.ndarray] = dict(program.constants)
    body = onnx.helper.make_graph(
        [_node(step, constants) for step in program.by_draw],
        "of_draw",
        [_value(k, x.dtype.name, x.shape[1:]) for k, x in program.draws.items()],
        [onnx.helper.make_empty_tensor_value_info(x) for x in program.stacked],
    )
    loop = onnx.helper.make_node(
        "Scan",
        list(program.draws),
        list(program.stacked.values()),
        body=body,
        num_scan_inputs=len(program.draws),
    )
    graph = onnx.helper.make_graph(
        [
            *(_node(step, constants) for step in program.before),
            loop,
            *(_node(step, constants) for step in program.after),
        ],
        "predict",
        [_value(k, dtype, shape) for k, (dtype, shape) in program.inputs.items()],
        [_value(*result) for result in program.results.values()],
        [
            onnx.numpy_helper.from_array(np.asarray(x, order="C"), k)
            for k, x in (program.draws | constants).items()
        ],
    )
    model = onnx.helper.make_model(
        graph,
        opset_imports=[onnx.helper.make_opsetid("", _OPSET)],
        ir_version=_FORMAT,
        producer_name="pymc_sgmcmc",
        doc_string=title,
    )
    onnx.checker.check_model(model)
    onnx.save(model, path)


def module() -> Any:
    """The library.

    Raises
    ------
    ImportError
        If it is not installed.
    """
    try:
        import onnx
    except ImportError:
        raise ImportError("Files of ONNX need onnx: pip install 'pymc-sgmcmc[onnx]'.") from None
    return onnx


def _node(step: Step, constants: dict[str, np.ndarray]) -> Any:
    inputs, attributes = list(step.inputs), dict(step.attributes)
    for name in _INPUTS:
        if name in attributes:
            values = attributes.pop(name)
            key = f"{step.output}/{name}"
            constants[key] = np.array(values, "int64")
            inputs.append(key)
    if step.operator == "Cast":
        attributes["to"] = module().helper.np_dtype_to_tensor_dtype(np.dtype(attributes["to"]))
    return module().helper.make_node(step.operator, inputs, [step.output], **attributes)


def _value(name: str, dtype: str, shape: tuple) -> Any:
    helper = module().helper
    axes = ["rows" if n is None else n for n in shape]
    return helper.make_tensor_value_info(
        name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), axes
    )
