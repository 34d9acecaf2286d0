"""The state of a run: cut anywhere, made plain, taken up by another run, nothing shows."""

import itertools
import json

import numpy as np
import pytest

from pymc_sgmcmc.estimators.coordinates import Coordinates
from pymc_sgmcmc.plan.compiled import Compiled
from pymc_sgmcmc.plan.tuning import Place, Tuning
from pymc_sgmcmc.report.found import Found
from pymc_sgmcmc.run import chains
from pymc_sgmcmc.run.phases import Run
from pymc_sgmcmc.store import record
from pymc_sgmcmc.store.record import pack, unpack
from pymc_sgmcmc.warmup import choice
from tests.store.runs import KINDS, model_and_step

TUNE, DRAWS = 40, 30
# In rounds of the tuning, at the end of one and of the last, and after it; and where all is
# compiled anew, which takes long.
CUTS = (3, 20, 27, 40, 47)
ANEW = {"jax": (27,), "numba": ()}


@pytest.fixture(autouse=True)
def one_block_each(monkeypatch):
    monkeypatch.setattr(chains, "_BLOCK_SECONDS", 0.0)
    monkeypatch.setattr(choice, "_SMALL", 10)


def through_text(state):
    plain, aside = pack(state)
    held = {k: x.tobytes() for k, x in aside.items()}
    return unpack(json.loads(json.dumps(plain)), held.__getitem__)


def new_run(compiled, model):
    points = [model.initial_point(0)] * 3
    rngs = [np.random.default_rng(i) for i in range(3)]
    return Run(compiled, points, rngs, TUNE, DRAWS)


QUICK = {("given", "numba")}


@pytest.mark.parametrize(
    ("kind", "engine"),
    [
        pytest.param(*both, marks=[] if both in QUICK else pytest.mark.slow)
        for both in itertools.product(KINDS, ("jax", "numba"))
    ],
)
def test_a_run_that_is_cut_goes_on(kind, engine, monkeypatch):
    monkeypatch.setattr(record, "_SMALL", 100)  # some arrays aside, some in the text
    model, step = model_and_step(kind, engine)
    whole, cut = (new_run(step.compiled, model).start() for _ in range(2))
    if kind != "given":
        expected = {"small": "Small", "network": "Large", "effects": "Effects"}[kind]
        assert type(whole._warm_up).__name__ == f"{expected}WarmUp"
    while whole.made < TUNE + DRAWS:
        if whole.made in CUTS:
            state = through_text(cut.state())
            # In another process all is compiled anew.
            compiled = Compiled(step.plan) if whole.made in ANEW[engine] else step.compiled
            cut = new_run(compiled, model).restore(state)
        one, two = whole.advance(5), cut.advance(5)
        np.testing.assert_array_equal(one.positions, two.positions)
        for name, x in one.statistics.items():
            np.testing.assert_array_equal(x, two.statistics[name], err_msg=name)
        report, other = (step.run_report(run).attributes() for run in (whole, cut))
        for name in report.keys() - {"warmup_seconds"}:
            np.testing.assert_array_equal(report[name], other[name], err_msg=name)


@pytest.mark.slow
def test_blocks_leave_no_trace():
    model, step = model_and_step("network", "numba")
    runs = [new_run(step.compiled, model).start() for _ in range(2)]
    whole = []
    for run, longest in zip(runs, (1, 7), strict=True):
        blocks = []
        while run.made < TUNE + DRAWS:
            run.chains._next_block = longest
            blocks.append(run.advance(min(longest, TUNE + DRAWS - run.made)).positions)
        whole.append(np.concatenate(blocks, axis=1))
    np.testing.assert_array_equal(*whole)
    assert runs[0].tuning.step_size == runs[1].tuning.step_size


def test_what_is_made_plain_comes_back():
    factor = np.asfortranarray(np.arange(9.0).reshape(3, 3))
    place = Place(Coordinates(np.ones(3), factor), np.ones(3), 1e-300, (1.0, np.ones(10**5)))
    found = Found(modes=3, misfit=np.inf, non_centred=("a",), hot_chains=np.arange(2))
    state = {
        "tuning": Tuning(np.float32(0.1), 3, 4, (place,), np.array([0, 0]), found),
        "nothing": None,
        "numbers": [1, 1.5, True, float("nan"), 2**100],
        "empty": np.zeros((4, 0, 3), np.float32),
        "pair": ("a", np.uint32(3)),
        "turned": np.arange(24).reshape(2, 3, 4).swapaxes(1, 2),
        "generators": [np.random.default_rng(1).bit_generator.state, np.random.MT19937(3).state],
    }
    back = through_text(state)
    assert pack(back) == pack(state) or str(pack(back)[0]) == str(pack(state)[0])
    assert back["tuning"].places[0].coordinates.factor.flags.f_contiguous
    assert type(back["tuning"].step_size) is np.float32
    assert back["empty"].shape == (4, 0, 3)
    assert back["turned"].strides == state["turned"].strides
    np.testing.assert_array_equal(back["turned"], state["turned"])
    assert back["numbers"][4] == 2**100
    assert back["generators"][0] == state["generators"][0]


@pytest.mark.parametrize("what", [object(), {1}, np.array([object()])])
def test_nothing_else_is_made_plain(what):
    with pytest.raises(TypeError, match="A state of a run has no"):
        pack({"what": what})
