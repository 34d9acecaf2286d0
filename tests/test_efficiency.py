"""The moments that benchmarks/efficiency.py holds runs against, and how it tells what it found."""

import numpy as np
import pytest

pytest.importorskip("benchmarks", reason="benchmarks/ is in the repository alone")

from benchmarks import speed_tables
from benchmarks.regressions import cases, importance


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(3)
    X = rng.normal(size=(400, 3))
    p = 1 / (1 + np.exp(-0.3 - X @ [1.0, -0.5, 0.2]))
    return X, (rng.random(400) < p).astype(np.int32)


def test_importance_sampling_and_hmc_agree(rows):
    pytest.importorskip("blackjax")
    from benchmarks.regressions import whitened

    one, other = (source.moments(*rows, 2.5) for source in (importance, whitened))
    for name in ("intercept", "slopes"):
        errors = (one.mean[name] - other.mean[name]) / one.sd[name]
        np.testing.assert_allclose(errors, 0, atol=0.06)  # 10,000 draws, somewhat dependent
        np.testing.assert_allclose(other.sd[name] / one.sd[name], 1, atol=0.04)


def test_a_posterior_unlike_its_normal_approximation_is_refused(rows, monkeypatch):
    monkeypatch.setattr(importance, "_ENOUGH", 10**9)
    monkeypatch.setattr(importance, "_ROUNDS", 1)
    with pytest.raises(RuntimeError, match="4,000 draws are worth"):
        importance.moments(*rows, 2.5)


def test_a_minibatch_counts_for_all_rows(rows):
    case = cases.logistic(*rows, batch_size=100)
    whole, part = case.model(), case.model(minibatch=True)
    scaled = part.compile_logp(vars=part.observed_RVs)
    of_parts = [scaled(part.initial_point()) for _ in range(200)]
    of_all = whole.compile_logp(vars=whole.observed_RVs)(whole.initial_point())
    assert np.mean(of_parts) == pytest.approx(of_all, rel=0.01)


def test_every_case_has_moments_of_its_free_variables():
    case = cases.intercepts(20)
    with case.model() as model:
        names = {variable.name for variable in model.free_RVs}
    assert set(case.moments().mean) == names


def test_the_table_tells_seconds_or_what_was_wrong():
    def run(method, seconds, **more):
        return {"case": "flights", "method": method, "asks": "length", "seconds": seconds} | more

    finished = {"sd_low": 0.5, "sd_high": 0.99, "ess": None, "met": False}
    made = [
        run("right", 20.0, met=True, ess=400, mean_error=0.05, sd_low=0.95, sd_high=1.05),
        run("right", 10.0, **finished, mean_error=0.3),
        run("slow", 100.0, failed="stopped"),
        run("narrow", 5.0, **finished, mean_error=0.02),
        run("off", 5.0, **finished, mean_error=0.5),
        run("broken", 5.0, failed="ValueError"),
    ]
    cells = {r[""]: r["flights"] for r in speed_tables.efficiency({"rows": made, "limit": 100})}
    assert cells == {
        "right": "20.0 (20/s)",
        "slow": "> 100",
        "narrow": "sds × 0.50-0.99",
        "off": "mean off by 0.5 sd",
        "broken": "fails",
    }
