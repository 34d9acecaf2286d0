"""A step method that advances its chains in one of the two ways."""

import functools
from typing import Any


@functools.cache
def variant(step: Any, kind: Any) -> Any:
    """Step method of a kind: `Lone` or `InPopulation`, and an instance of the step all the same."""
    return type(
        step.__name__, (step, kind), {"__module__": step.__module__, "__doc__": step.__doc__}
    )
