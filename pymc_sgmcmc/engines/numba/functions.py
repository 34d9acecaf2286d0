"""PyTensor graphs as functions that Numba has compiled."""

import warnings
from typing import Any

from pymc.pytensorf import compile as compile_graph

from pymc_sgmcmc.engines.numba.vector_math import numba_mode
from pymc_sgmcmc.engines.programs import Program


def numba_function(program: Program) -> Any:
    """Graph as a function that other compiled functions can call; arrays in, a tuple out.

    Raises
    ------
    NotImplementedError
        If an Op of the graph has no Numba counterpart; the message names it.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="Numba will use object mode")
        try:
            function = compile_graph(
                *program, mode=numba_mode(), on_unused_input="ignore", trust_input=True
            )
        except UserWarning as warning:
            name = str(warning).removeprefix("Numba will use object mode to run ").split("'s ")[0]
            op = name.partition("{")[0]
            raise NotImplementedError(f"PyTensor can't translate it to Numba ({op}).") from None
    return function.vm.jit_fn
