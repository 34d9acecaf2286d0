"""What each of several processes writes of a run: no chunk of two, no draw twice, none missing."""

import itertools
from types import SimpleNamespace

import numpy as np
import pymc as pm
import pytest

from pymc_sgmcmc import processes
from pymc_sgmcmc.engines.base import Draws
from pymc_sgmcmc.store.lock import Share, StoreInUseError
from pymc_sgmcmc.store.part import Part
from pymc_sgmcmc.store.record import join, pack, spread_of, unpack
from pymc_sgmcmc.store.shelf import Shelf
from pymc_sgmcmc.store.stored import Stored
from pymc_sgmcmc.store.tree import StoredTree

zarr = pytest.importorskip("zarr")

CHAINS = 12


def spread(x, own, held):
    """What a process sees of an array that is spread: rows it is the first to hold, and others."""
    shards = [
        SimpleNamespace(index=(rows,), data=x[rows], replica_id=number)
        for number, some in enumerate((own, held))
        for rows in some
    ]
    return SimpleNamespace(
        is_fully_addressable=False,
        is_fully_replicated=False,
        addressable_shards=shards,
        dtype=x.dtype,
        shape=x.shape,
    )


def test_parts_of_a_state_come_together():
    x = np.random.default_rng(0).normal(size=(6, 3)).astype("float32")
    parts = [
        ([slice(2, 4)], []),
        ([slice(0, 2), slice(4, 6)], [slice(2, 4)]),
        ([], [slice(0, 2)]),
    ]
    states = [
        {"made": 3, "chains": {"state": {"position": spread(x, *part), "key": x[:, 0]}}}
        for part in parts
    ]
    plain, held = pack(states[0])
    for state in states[1:]:
        part, aside = pack(spread_of(state))
        assert set(join(plain, part)) == set(aside)
        held |= aside
    found = unpack(plain, lambda digest: held[digest].tobytes())["chains"]["state"]
    np.testing.assert_array_equal(found["position"], x)
    np.testing.assert_array_equal(found["key"], x[:, 0])
    assert found["position"].dtype == x.dtype


def parts_of(shelf, shares):
    """What processes have of a store whose groups the first one makes."""
    with pm.Model() as model:
        pm.Normal("x", shape=5)
    found = []
    for number, own in enumerate(shares):
        part = Part()
        part._shelf, part._shares = shelf, list(shares)
        part._tree = StoredTree(shelf)
        if number:
            part._tree.take(found[0]._tree.layout)
        part.begin(model, CHAINS, 0, 10, {"energy": np.float64})
        found.append(part)
        if not number:
            part.add({"x": np.zeros((own.stop - own.start, 1, 5))}, energies(own))
            part._create("", part._pending.pop(), {})
            part.filled = 0
    return found


def energies(own, n=1, x=None):
    of_all = {"energy": np.zeros((CHAINS, n)) if x is None else x.sum(-1)}
    return Draws(np.zeros((own.stop - own.start, n, 5)), of_all, own)


@pytest.mark.parametrize("ends", [(0, 6, 12), (0, 4, 12), (0, 3, 6, 9, 12), (0, 12, 12)])
def test_no_chunk_is_of_two_processes_and_all_is_written(tmp_path, ends):
    shares = [slice(*pair) for pair in itertools.pairwise(ends)]
    shelf = Shelf(tmp_path / "run.zarr")
    parts = parts_of(shelf, shares)
    for n in parts[0]._tree.chains_in_chunks("posterior"):
        assert all(end % n == 0 for end in ends)
    x = np.random.default_rng(0).normal(size=(CHAINS, 7, 5))
    for part, own in zip(reversed(parts), reversed(shares), strict=True):  # in any order
        variables = {"x": x[own]} if own.start < own.stop else {}
        part.add(variables, energies(own, 7, x))
        lengths = part._fill(SimpleNamespace(filled=7))
        assert lengths == {"posterior": 7, "sample_stats": 7}
    parts[0]._tree.publish(lengths, {})
    group = zarr.open_group(shelf.store, mode="r")
    np.testing.assert_array_equal(group["posterior/x"][:], x)
    np.testing.assert_array_equal(group["sample_stats/energy"][:], x.sum(-1))
    np.testing.assert_array_equal(group["posterior/draw"][:], np.arange(7))


def test_the_first_writes_all_where_a_chunk_would_be_of_two(tmp_path, monkeypatch):
    part = parts_of(Shelf(tmp_path / "run.zarr"), [slice(0, 6), slice(6, 12)])[0]
    x = np.random.default_rng(0).normal(size=(CHAINS, 2, 5))
    own = slice(3, 6)
    draws = Draws(x[own], {"energy": x.sum(-1)}, own)
    assert part.of_mine(draws) is draws  # of processes whose shares are whole chunks
    part._shares = [slice(i, i + 3) for i in range(0, CHAINS, 3)]
    monkeypatch.setattr(processes, "gathered", lambda rows: [x])
    for number, those in ((0, slice(0, CHAINS)), (1, slice(0, 0))):
        monkeypatch.setattr(processes, "index", lambda number=number: number)
        mine = part.of_mine(draws)
        np.testing.assert_array_equal(mine.positions, x[those])
        assert mine.chains == those


def test_a_process_that_may_still_write_keeps_another_run_out(tmp_path):
    pytest.importorskip("fcntl")
    where = tmp_path / "run.zarr"
    with Stored(where):
        share = Share(Shelf(where))
    with pytest.raises(StoreInUseError):
        Stored(where)
    share.release()
    with Stored(where):
        pass
