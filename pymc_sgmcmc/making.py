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
    left, which takes a quarter of a second each time.
    """
    alone = gc.get_freeze_count() == 0
    if alone:
        gc.freeze()
    try:
        with config.change_flags(traceback__limit=0):
            yield
    finally:
        if alone:
            gc.unfreeze()
