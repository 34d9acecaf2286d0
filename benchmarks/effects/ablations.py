"""Settings of ours in which something is not what the warm-up finds."""

from typing import Any

# Of a step; those of its warm-up by themselves.
ABLATIONS: dict[str, dict[str, Any]] = {
    "friction 0.9": {"momentum_decay": 0.9},
    "scale alone": {"warmup": {"preconditioner": "diagonal"}},
    "no control variate": {"warmup": {"control_variate": False}},
    "independent batches": {"batches": "independent"},
    "none of these": {
        "momentum_decay": 0.9,
        "warmup": {"preconditioner": "diagonal", "control_variate": False},
    },
}
