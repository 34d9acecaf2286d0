"""A mode in which PyTensor evaluates a graph once, and calls no compiler for it."""

from pytensor.compile.builders import OpFromGraph
from pytensor.compile.mode import get_mode
from pytensor.compile.rewriting import inline_ofg_node
from pytensor.graph.basic import Apply, Variable
from pytensor.graph.fg import FunctionGraph
from pytensor.graph.rewriting.basic import dfs_rewriter, node_rewriter

# After the rewrites that look for operations such as a softmax, and make some.
_LATE = 60


@node_rewriter(None)
def _unfold(fgraph: FunctionGraph, node: Apply) -> list[Variable] | bool:
    return inline_ofg_node(node) if isinstance(node.op, OpFromGraph) else False


# PyTensor's own mode for this makes C of what is inside of a softmax: some seconds each.
INTERPRETED = get_mode("FAST_COMPILE").register((dfs_rewriter(_unfold), _LATE))
