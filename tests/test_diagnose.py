"""`diagnose`: what it finds in good runs, in bad ones, and in planted statistics."""

import numpy as np
import pymc as pm
import pytest
from xarray import Dataset, DataTree

from pymc_sgmcmc import ATMC, SGHMC, SGLD, SGNHT, diagnose, sample
from pymc_sgmcmc.report.signs import signs_of_trouble

SHAPE = (4, 200)


def run(model, step, draws=400, **kwargs):
    settings = {"tune": 200, "chains": 4, "random_seed": 1, "progressbar": False}
    return sample(draws, step=step, model=model, **(settings | kwargs))


# -- whole runs ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def regression():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 2))
    with pm.Model() as model:
        b = pm.Normal("b", 0, 1, shape=2)
        s = pm.HalfNormal("s")
        pm.Normal("y", pm.Data("X", X) @ b, s, observed=X.sum(1) + rng.normal(size=400))
    return model


@pytest.mark.parametrize("sampler", [SGLD, SGHMC, SGNHT, ATMC])
@pytest.mark.slow
def test_good_runs_are_not_flagged(regression, sampler):
    step = sampler(batch_size=40, model=regression)
    for seed in range(3):
        found = diagnose(run(regression, step, random_seed=seed))
        assert found.trustworthy, str(found)
        assert str(found).startswith("No problems detected.")


@pytest.mark.slow
def test_a_funnel_is_flagged():
    with pm.Model() as model:
        v = pm.Normal("v", 0, 3)
        pm.Normal("x", 0, pm.math.exp(v / 2), shape=9)
        step = ATMC()
    for seed in range(3):
        found = diagnose(run(model, step, 200, random_seed=seed))
        assert not found.trustworthy
        assert "configurational temperature" in {f.check for f in found.findings if f.problem}


@pytest.mark.slow
def test_a_target_of_two_modes_is_flagged():
    with pm.Model() as model:
        pm.NormalMixture("x", [0.5, 0.5], [-4.0, 4.0], [1.0, 0.5])
        step = ATMC()
    for seed in range(3):
        idata = run(model, step, 100, random_seed=seed)
        found = diagnose(idata)
        assert not found.trustworthy
        (modes,) = [f for f in found.findings if f.check == "modes"]
        assert modes.problem
        assert "at least 2 modes" in modes.message
        # With names, modes are worth knowing, and no problem by themselves.
        (modes,) = [f for f in diagnose(idata, ["x"]).findings if f.check == "modes"]
        assert not modes.problem


@pytest.mark.slow
def test_a_step_that_is_too_large_is_flagged(regression):
    step = SGHMC(batch_size=40, step_size=0.01, steps_per_draw=10, model=regression)
    found = diagnose(run(regression, step))
    assert not found.trustworthy
    assert "kinetic temperature" in {f.check for f in found.findings if f.problem}


def test_findings_read_well(regression):
    step = SGLD(batch_size=40, step_size=1e-4, steps_per_draw=1, model=regression)
    found = diagnose(run(regression, step, 50))
    first, *others = str(found).splitlines()
    assert first.endswith("before you use the draws.")
    assert len(others) == len(found.findings)
    assert all(line.startswith(("✗ ", "· ")) for line in others)
    marks = [line[0] for line in others]
    assert marks == sorted(marks, key="✗·".index)  # problems first
    assert repr(found) == str(found)
    checks = {f.check: f for f in found.findings}
    assert checks["R-hat"].problem
    assert "R-hat is" in checks["R-hat"].message
    assert checks["effective sample size"].problem
    assert "larger steps_per_draw" in checks["effective sample size"].message


def test_one_chain_is_too_few(regression):
    step = ATMC(batch_size=40, step_size=0.005, steps_per_draw=5, model=regression)
    found = diagnose(run(regression, step, 20, tune=5, chains=1))
    (chains,) = [f for f in found.findings if f.check == "chains"]
    assert not chains.problem
    assert "run four" in chains.message


@pytest.mark.parametrize("attributes", [{}, {"sampler": "NUTS"}])
def test_draws_of_others_are_refused(attributes):
    draws = Dataset({"x": (("chain", "draw"), np.zeros((2, 10)))}, attrs=attributes)
    stats = Dataset({"diverging": (("chain", "draw"), np.zeros((2, 10), bool))})
    for groups in ({"posterior": draws}, {"posterior": draws, "sample_stats": stats}):
        with pytest.raises(ValueError, match=r"needs the output of pm\.sample\(step=\.\.\.\)"):
            diagnose(DataTree.from_dict(groups))


def test_draws_of_nuts_are_refused():
    with pm.Model():
        pm.Normal("x")
        idata = pm.sample(
            10, tune=10, chains=1, progressbar=False, compute_convergence_checks=False
        )
    with pytest.raises(ValueError, match="one of this package's steps"):
        diagnose(idata)


# -- planted ---------------------------------------------------------------------------------------


def good(seed=0):
    """Statistics and attributes of a run in which all is well."""
    rng = np.random.default_rng(seed)
    statistics = {
        "kinetic_temperature": rng.normal(1, 0.1, SHAPE),
        "configurational_temperature": rng.normal(1, 0.5, SHAPE),
        "gradient_noise": rng.normal(0.5, 0.1, SHAPE),
        "potential_energy": rng.normal(500, 1.5, SHAPE),
        "rejected": np.zeros(SHAPE, int),
        "step_size": np.full(SHAPE, 0.3),
    }
    attributes = {
        "temperature": 1.0,
        "step_size": 0.3,
        "step_size_given": 0,
        "steps_per_draw": 20,
        "momentum_decay": 0.9,
        "target_bias": 0.02,
        "expected_bias": 0.02,
        "modes": 1,
        "modes_found": 1,
        "mode_mass": np.array([-3.0]),
        "mode_of_chain": np.zeros(4, int),
        "curvature_ratio": 1.5,
    }
    return statistics, attributes


def test_nothing_is_found_where_nothing_is_wrong():
    for seed in range(50):
        assert signs_of_trouble(*good(seed)) == []


def drift(statistics):
    noise = statistics["gradient_noise"]
    return noise + np.linspace(0, 5, noise.shape[1])


TWO = {"modes": 2, "modes_found": 2, "mode_of_chain": np.array([0, 0, 1, 1])}

PLANTED = {
    "step size": ({}, {"expected_bias": 0.08, "step_size_given": 1}, r"8% off.*step_size=0\.15\."),
    "kinetic temperature": (
        {"kinetic_temperature": lambda s: s["kinetic_temperature"] * 1.1},
        {},
        r"temperature is 1\.(1|09) instead of 1.*Try warmup=WarmUp\(target_bias=0\.00[45]\d?\)",
    ),
    "configurational temperature": (
        {"configurational_temperature": lambda s: s["configurational_temperature"] + 0.3},
        {},
        r"is 1\.[23]\d? ± .*too large by .*longer tune.*warmup=WarmUp\(target_bias=0\.001\d\)\.",
    ),
    "gradient noise": (
        {"gradient_noise": lambda s: s["gradient_noise"] + 10},
        {},
        r"friction of 0\.47 .*Try warmup=WarmUp.target_bias=",
    ),
    "thermostat": ({"gradient_noise": drift}, {}, r"still adapting.*Try a longer tune="),
    "rejected updates": (
        {"rejected": lambda s: np.ones(SHAPE, int)},
        {},
        r"800 updates .*try warmup=WarmUp.target_bias=",
    ),
    "modes": (
        {},
        {**TWO, "mode_mass": np.array([-3.0, -4.0])},
        r"at least 2 modes; 2 of them have chains in them \(2, 2\)",
    ),
    "worse modes": (
        {},
        {**TWO, "mode_mass": np.array([-3.0, -13.0])},
        r"Chains 2, 3 sit in modes .*e\^-10 .*idata\.sel\(chain=",
    ),
    "mode": ({}, {"modes_found": 0}, r"No mode .*Reparametrise"),
    "potential energy": (
        {"potential_energy": lambda s: s["potential_energy"] + [[0], [20], [0], [0]]},
        {},
        r"Chain 1 has .* 20.* above that of chain \d.*longer tune=.*\.stack_chains\.",
    ),
    "curvature": ({}, {"curvature_ratio": 40.0}, "factor of 40 .*Reparametrise"),
}


def test_chains_that_are_not_at_rest_are_told_how_long_they_take():
    statistics, attributes = good()
    statistics["configurational_temperature"] -= 0.5

    def told(**known):
        found = signs_of_trouble(statistics, attributes | known)
        (message,) = [f.message for f in found if f.check == "configurational temperature"]
        return message

    assert "Try a longer tune=..., or a larger steps_per_draw." in told()
    needed = {"updates_to_forget": 2000.0}
    asked = told(**needed, tuning_updates=1000)
    assert "about 2,000 updates to forget" in asked
    assert "the tuning had 1,000: try a tune=... or a steps_per_draw 10 times as large" in asked
    assert "Try a longer tune=..." in told(**needed, tuning_updates=20_000)


def test_draws_that_wait_for_noise_are_told_of_larger_batches():
    statistics, attributes = good()
    noisy = {"updates_to_forget": 8000.0, "largest_noise": 136.0, "steps_per_draw": 250}
    rows = {"batch_size": 128, "n_rows": 50_000}
    (finding,) = signs_of_trouble(statistics, attributes | noisy | rows)
    assert finding.check == "batch size"
    assert not finding.problem
    assert "about 8,000 updates to forget" in finding.message
    assert "try batch_size=512." in finding.message
    for other in (
        {"network": 1},
        {"largest_noise": 3.0},
        {"updates_to_forget": 800.0},
        {"updates_to_forget": np.inf},
        {"n_rows": 2_000},
        {"batch_size": "all rows"},
    ):
        assert signs_of_trouble(statistics, attributes | noisy | rows | other) == []


@pytest.mark.parametrize("check", PLANTED)
def test_what_is_planted_is_found(check):
    changes, attributes, message = PLANTED[check]
    for seed in range(5):
        statistics, found = good(seed)
        statistics |= {name: change(statistics) for name, change in changes.items()}
        findings = {f.check: f for f in signs_of_trouble(statistics, found | attributes)}
        expected = {"modes", "worse modes"} if check == "worse modes" else {check}
        assert set(findings) == expected
        assert findings[check].problem
        assert_matches(findings[check].message, message)


def assert_matches(text, pattern):
    with pytest.raises(AssertionError, match=pattern):
        raise AssertionError(text)


def test_a_few_rejected_updates_are_no_problem():
    statistics, attributes = good()
    statistics["rejected"][0, :3] = 1
    (finding,) = signs_of_trouble(statistics, attributes)
    assert not finding.problem
    assert finding.message.startswith("3 updates")


def test_a_step_size_that_was_given_gets_one_as_advice():
    statistics, attributes = good()
    statistics["kinetic_temperature"] = statistics["kinetic_temperature"] + 0.2
    (finding,) = signs_of_trouble(statistics, attributes | {"step_size_given": 1})
    assert "Try step_size=0.11," in finding.message


@pytest.mark.parametrize("name", ["kinetic_temperature", "configurational_temperature"])
def test_sweeps_may_be_hotter(name):
    """What a sweep is yet to take back is heat of momenta, and hardly of positions."""
    for excess, batches, problems in (
        (0.15, "independent", 1),
        (0.15, "sweeps", 0),
        (0.3, "sweeps", 1),
        (-0.3, "sweeps", 1),
    ):
        statistics, attributes = good()
        statistics[name] = statistics[name] + excess
        attributes |= {"batches": batches, "batch_size": 10, "n_rows": 100}
        assert len(signs_of_trouble(statistics, attributes)) == problems, (excess, batches)


def test_draws_that_are_too_narrow_get_no_smaller_step_as_advice():
    for name in ("kinetic_temperature", "configurational_temperature"):
        statistics, attributes = good()
        statistics[name] = statistics[name] - 0.4
        (finding,) = signs_of_trouble(statistics, attributes)
        assert finding.problem
        assert "Try a longer tune" in finding.message
        assert "target_bias" not in finding.message


@pytest.mark.parametrize(("batch_size", "noisy"), [(10, True), (100, False), ("all rows", False)])
def test_noise_and_batches_are_named_only_where_there_are_batches(batch_size, noisy):
    for name in ("kinetic_temperature", "configurational_temperature", "gradient_noise"):
        statistics, attributes = good()
        statistics[name] = statistics[name] + 10
        (finding,) = signs_of_trouble(
            statistics, attributes | {"batch_size": batch_size, "n_rows": 100}
        )
        assert ("larger batches" in finding.message) == noisy
        assert "leave step_size out" not in finding.message  # it was not given
        assert ("have no noise" in finding.message) == (not noisy and name == "gradient_noise")


@pytest.mark.slow
def test_noise_that_nobody_measured_is_told_of():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 2))
    X[:, 1] = 0.95 * X[:, 0] + np.sqrt(1 - 0.95**2) * X[:, 1]
    with pm.Model() as model:
        b = pm.Normal("b", 0, 1, shape=2)
        pm.Normal("y", pm.Data("X", X) @ b, 1, observed=X.sum(1) + rng.normal(size=2000))
    precision = X.T @ X + np.eye(2)
    _, directions = np.linalg.eigh(precision)  # the wide one first
    step = {"batch_size": 20, "model": model}
    found = {}
    for step_size in (0.0015, None):
        idata = run(model, SGNHT(step_size=step_size, **step), tune=400)
        ratio = (idata.posterior["b"].values.reshape(-1, 2) @ directions).var(0) / (
            directions.T @ np.linalg.inv(precision) @ directions
        ).diagonal()
        found[step_size] = diagnose(idata), ratio[0]
    diagnosis, wide = found[0.0015]
    assert wide < 0.75
    (note,) = [f for f in diagnosis.findings if f.check == "gradient noise"]
    assert not note.problem
    assert "Leave step_size out" in note.message
    diagnosis, wide = found[None]
    assert wide > 0.85
    assert "gradient noise" not in {f.check for f in diagnosis.findings}


@pytest.mark.parametrize("sampler", [SGLD, SGHMC])
@pytest.mark.parametrize(("batch_size", "step_size"), [(None, 0.07), (20, 0.02)])
@pytest.mark.slow
def test_the_step_size_that_a_hot_run_gets_as_advice_is_enough(sampler, batch_size, step_size):
    rows = np.random.default_rng(0).normal(size=(400, 3))  # posterior sd 0.05
    with pm.Model() as model:
        pm.Normal("y", pm.Normal("mu", 0, 1, shape=3), 1, observed=rows)
    options = {"batch_size": batch_size, "steps_per_draw": 20, "model": model}
    hot = diagnose(run(model, sampler(step_size=step_size, **options)))
    (message,) = [f.message for f in hot.findings if f.check == "configurational temperature"]
    advised = float(message.split("step_size=")[1].split(" ")[0].rstrip("."))
    mended = diagnose(run(model, sampler(step_size=advised, **options), tune=1000))
    assert not {f.check for f in mended.findings} & {
        "kinetic temperature",
        "configurational temperature",
    }


def test_gradients_that_are_shortened_often_are_a_problem():
    statistics, attributes = good()
    statistics["gradient_norm"] = np.full(SHAPE, 1.4)
    for length, often in ((1.5, True), (5, False)):
        (finding,) = signs_of_trouble(statistics, attributes | {"clip_gradient": length})
        assert finding.problem == often
        assert ("It happened often" in finding.message) == often


@pytest.mark.parametrize(
    ("name", "mean", "sd"),
    [
        ("kinetic_temperature", 1, 0.6),
        ("configurational_temperature", 1, 3),
        ("gradient_noise", 0.5, 5),
        ("potential_energy", 500, 30),
    ],
)
def test_chance_is_not_taken_for_trouble(name, mean, sd):
    # A short run of a small model: its averages are worth little.
    for seed in range(20):
        rng = np.random.default_rng(seed)
        statistics, attributes = good(seed)
        statistics = {k: x[:2, :30] for k, x in statistics.items()}
        statistics[name] = rng.normal(mean, sd, (2, 30))
        problems = [f for f in signs_of_trouble(statistics, attributes) if f.problem]
        assert not problems, problems


def test_temperature_zero_has_no_temperature_to_miss():
    statistics, attributes = good()
    statistics = {k: x * 0 for k, x in statistics.items() if k != "gradient_noise"}
    assert signs_of_trouble(statistics, attributes | {"temperature": 0.0}) == []
