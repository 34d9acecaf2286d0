"""Graphs and programs are made without traces of lines, and without a look at older objects."""

import gc
import weakref

import pytensor
import pytensor.tensor as pt
import pytest

from pymc_sgmcmc.making import making


class Circle:
    """An object that only the search for circles frees."""

    def __init__(self):
        self.itself = self


def test_nodes_note_no_lines_while_programs_are_made():
    before = pytensor.config.traceback__limit
    with making():
        assert not any(pt.exp(pt.scalar()).owner.outputs[0].tag.trace)
    assert pytensor.config.traceback__limit == before
    assert any(pt.exp(pt.scalar()).owner.outputs[0].tag.trace)


def test_new_circles_are_found_within_and_older_ones_afterwards():
    circle = Circle()
    older = weakref.ref(circle)
    with making():
        del circle
        newer = weakref.ref(Circle())
        gc.collect()
        assert newer() is None
        assert older() is not None
    gc.collect()
    assert older() is None


def test_everything_is_as_before_after_an_error():
    with pytest.raises(ZeroDivisionError), making(), making():
        _ = 1 / 0
    assert gc.get_freeze_count() == 0


def test_what_others_froze_stays_frozen():
    gc.freeze()
    try:
        with making():
            pass
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()


def test_lines_are_noted_again_where_threads_overlap():
    before = pytensor.config.traceback__limit
    first, second = making(), making()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert pytensor.config.traceback__limit == before
    second.__exit__(None, None, None)
    assert pytensor.config.traceback__limit == before
