"""While graphs and programs are made: without what slows that down, and nobody asks for."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from pytensor import config


@contextmanager
def making() -> Iterator[None]:
    """Make graphs and programs a fifth sooner.

    PyTensor doesn't note which lines make a node: they would be this package's. And Python looks
    for circles among the objects that are made here, not among the half a million that imports have
    left, which takes a quarter of a second each time. Whatever another thread, or the program, has
    turned off already is left to it.
    """
    thaw = gc.get_freeze_count() == 0
    if thaw:
        gc.freeze()
    limit, config.traceback__limit = config.traceback__limit, 0
    try:
        yield
    finally:
        config.traceback__limit = limit or config.traceback__limit
        if thaw:
            gc.unfreeze()
