"""`diagnose` of outputs made by hand: what was edited, spoilt or never measured."""

import logging
from functools import partial

import numpy as np
import pymc as pm
import pytest
from xarray import DataTree

from pymc_sgmcmc import diagnose, nn
from pymc_sgmcmc.diagnostics import Diagnosis, temperatures
from pymc_sgmcmc.model.graphs import is_network
from pymc_sgmcmc.report.report import Report
from pymc_sgmcmc.report.several import joined as joined_reports
from pymc_sgmcmc.report.signs import log_problems, signs_of_trouble
from tests.diagnostics.trees import tree

CHAINS, DRAWS = 4, 200
ATTRIBUTES = {
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
    "mode_of_chain": np.zeros(CHAINS, int),
    "curvature_ratio": 1.5,
    "batch_size": 10,
    "n_rows": 1000,
    "dtype": "float64",
    "free_variables": "x, z",
    "network": 0,
    "descent_at_rest": 1,
    "descent_updates": 3000,
    "non_centred": "z",
    "non_centred_rows": 1250.0,
}


def run(**attributes):
    """Output of a run in which all is well, with other attributes."""
    rng = np.random.default_rng(0)
    shape = CHAINS, DRAWS
    statistics = {
        "kinetic_temperature": rng.normal(1, 0.1, shape),
        "configurational_temperature": rng.normal(1, 0.5, shape),
        "gradient_noise": rng.normal(0.5, 0.1, shape),
        "gradient_norm": rng.normal(1, 0.1, shape),
        "potential_energy": rng.normal(500, 1.5, shape),
        "rejected": np.zeros(shape, int),
        "step_size": np.full(shape, 0.3),
    }
    draws = {"x": ([], rng.normal(size=shape)), "z": (["group"], rng.normal(size=(*shape, 3)))}
    draws["e"] = [], np.exp(draws["x"][1])
    idata = tree(posterior=draws, sample_stats={k: ([], x) for k, x in statistics.items()})
    idata["posterior"].attrs = {**ATTRIBUTES, **attributes}
    return idata


def problems(found):
    return {finding.check: finding.message for finding in found.findings if finding.problem}


def replaced(idata, group, name, change):
    """The same output with another variable in place of one."""
    dataset = idata[group].to_dataset()
    return with_group(idata, group, dataset.assign({name: change(dataset[name])}))


def with_group(idata, group, dataset):
    groups = {name: node.to_dataset() for name, node in idata.children.items()}
    groups[group] = dataset
    return DataTree.from_dict({k: v for k, v in groups.items() if v is not None})


def spoilt(x, value, where=(0, 3)):
    values = x.values.astype(float)
    values[where] = value
    return x.copy(data=values)


def apart(x):
    """Chains that disagree."""
    return x + 10 * x["chain"]


def test_nothing_is_found_where_nothing_is_wrong():
    found = diagnose(run())
    assert found.trustworthy
    assert found.findings == ()


# -- edits -----------------------------------------------------------------------------------------

WRONG = [
    None,
    "",
    "0.1, 0.2",
    "no number",
    np.nan,
    np.inf,
    -1.0,
    0,
    10**400,
    np.array([]),
    np.array([0.1, np.nan]),
    np.array([0, 1, 0, 10**9]),
    [[1], [2]],
    {"a": 1},
]


@pytest.mark.parametrize("name", [*ATTRIBUTES, "clip_gradient"])
@pytest.mark.filterwarnings("error")
def test_no_edit_of_an_attribute_ends_in_an_error(name, caplog):
    idata = run()
    if name in ("free_variables", "network", "non_centred", "non_centred_rows"):
        # What is read only where chains disagree.
        bad = replaced(idata, "posterior", "z", apart)
    else:
        bad = idata
    for value in WRONG:
        bad["posterior"].attrs = {**ATTRIBUTES, name: value}
        assert isinstance(diagnose(bad), Diagnosis)
    idata["posterior"].attrs = {k: x for k, x in ATTRIBUTES.items() if k != name}
    if name == "temperature":
        with pytest.raises(ValueError, match="needs the output of"):
            diagnose(idata)
    else:
        assert diagnose(idata).trustworthy
    # Each is foreseen: no check failed by itself.
    assert not [r for r in caplog.records if r.name == "pymc_sgmcmc.report.signs"]


STATISTICS = list(run()["sample_stats"].data_vars)
EDITS = {
    "text": lambda x: x.astype(str),
    "nan": lambda x: x * np.nan,
    "one inf": lambda x: spoilt(x, np.inf),
    "without chains": lambda x: x.isel(chain=0, drop=True),
    "turned": lambda x: x.transpose(),
    "with an axis": lambda x: x.expand_dims({"more": 2}, axis=-1),
    "complex": lambda x: x * 1j,
}


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize(
    ("group", "name"), [*(("sample_stats", k) for k in STATISTICS), ("posterior", "x")]
)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_no_edit_of_a_variable_ends_in_an_error(group, name, edit, caplog):
    found = diagnose(replaced(run(), group, name, EDITS[edit]))
    if edit in ("nan", "one inf") and name != "step_size":
        assert not found.trustworthy
    assert not [r for r in caplog.records if r.name == "pymc_sgmcmc.report.signs"]
    without = run()
    assert diagnose(with_group(without, group, without[group].to_dataset().drop_vars(name)))


def test_groups_that_are_gone_are_told():
    idata = run()
    for other in (
        with_group(idata, "posterior", None),
        with_group(idata, "sample_stats", None),
        DataTree(),
        None,
        idata["posterior"].to_dataset(),
    ):
        with pytest.raises(ValueError, match="diagnose needs the output of"):
            diagnose(other)
    with pytest.raises(ValueError, match=r"diagnose\(idata, predictions=predict\(idata"):
        diagnose(tree(predictions={"y_mean": (["row"], np.zeros((2, 5, 3)))}))


# -- what was not measured -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["expected_bias", "target_bias", "curvature_ratio", "step_size"])
def test_a_measurement_that_is_no_number_is_no_all_clear(name):
    assert f"{name!r} is nan" in str(problems(diagnose(run(**{name: np.nan}))))


def test_statistics_and_variables_that_are_gone_are_told():
    idata = run()
    statistics = idata["sample_stats"].to_dataset()
    (note,) = diagnose(
        with_group(idata, "sample_stats", statistics.drop_vars("configurational_temperature"))
    ).findings
    assert not note.problem
    assert "no numbers of 'configurational_temperature'" in note.message
    none = with_group(idata, "sample_stats", statistics[[]])
    assert "no numbers of 'potential_energy'" in problems(diagnose(none))["statistics"]
    for name, free in (("x", True), ("e", False)):
        (finding,) = diagnose(replaced(idata, "posterior", name, EDITS["text"])).findings
        assert finding.problem == free
        assert f"{name!r} has no number for each chain" in finding.message


def test_draws_that_nothing_can_be_measured_of():
    idata = run()
    posterior = idata["posterior"].to_dataset()

    def messages(dataset):
        return " ".join(problems(diagnose(with_group(idata, "posterior", dataset))).values())

    assert "No draw is finite" in messages(posterior * np.nan)
    assert "No chain ever moves" in messages(posterior * 0 + 1)
    assert "1 draws of each chain are too few" in messages(posterior.isel(draw=[0]))
    assert "no draws" in messages(posterior.isel(draw=[]))
    assert "no draws" in messages(posterior.drop_vars(list(posterior.data_vars)))
    stuck = posterior.copy(deep=True)
    for x in stuck.data_vars.values():
        x[2] = x[2, 0].values
    assert "Not a single variable of chain 2 ever moves" in messages(stuck)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_one_draw_that_is_not_finite_is_found(value):
    for name in ("x", "e"):
        idata = replaced(run(), "posterior", name, lambda x: spoilt(x, value))
        assert f"{name!r} has 1 of 800 values" in problems(diagnose(idata))["non-finite draws"]
    # A Deterministic that nobody asks for is worth knowing.
    assert diagnose(idata, "x").trustworthy


def test_a_computed_variable_may_be_constant_and_a_sampled_one_not():
    for name, free in (("e", False), ("x", True)):
        found = diagnose(replaced(run(), "posterior", name, lambda x: 0 * x + 1))
        (finding,) = found.findings
        assert finding.check == f"constant {name}"
        assert finding.problem == free


def test_numbers_that_are_coarser_than_the_posterior_is_narrow():
    def far(dtype):
        return replaced(
            run(dtype=dtype), "posterior", "x", lambda x: (1e6 + 0.014 * x).astype(dtype)
        )

    message = problems(diagnose(far("float32")))["resolution"]
    assert "'x' has mean 1e+06" in message
    assert "dtype='float64'" in message
    assert diagnose(far("float64")).trustworthy


def test_names_that_are_none_of_the_variables():
    idata = run()
    assert diagnose(idata, var_names="x").trustworthy
    for names in (["a"], []):
        with pytest.raises(ValueError, match="Variables with chains and draws are: 'x', 'z', 'e'"):
            diagnose(idata, names)


# -- networks and hierarchies ----------------------------------------------------------------------


def test_weights_that_disagree_are_expected_of_a_network():
    idata = replaced(run(network=1, non_centred=""), "posterior", "z", apart)
    found = diagnose(idata)
    assert found.trustworthy
    assert "expected of a network" in str(found)
    assert "diagnose(idata, predictions=predict(idata" in str(found)
    assert not diagnose(replaced(run(), "posterior", "z", apart)).trustworthy


def test_predictions_are_judged_in_place_of_weights():
    idata = replaced(run(network=0, modes=2), "posterior", "z", apart)
    y = np.random.default_rng(1).normal(size=(CHAINS, DRAWS, 5))
    new = tree(np.zeros(5), predictions={"y_mean": (["row"], y)})
    found = diagnose(idata, predictions=new)
    assert found.trustworthy
    assert {finding.check for finding in found.findings} == {"modes"}
    found = diagnose(idata, predictions=replaced(new, "predictions", "y_mean", apart))
    assert "R-hat is" in problems(found)["R-hat"]
    found = diagnose(
        idata, predictions=replaced(new, "predictions", "y_mean", lambda x: x * np.nan)
    )
    assert "No draw is finite" in problems(found)["draws"]
    with pytest.raises(ValueError, match="predictions must be what predict gives"):
        diagnose(idata, predictions=idata)


def test_layers_one_after_the_other_are_a_network():
    X, y = np.ones((10, 2)), np.zeros(10)
    for hidden, network in (((3,), True), ((), False)):
        with pm.Model() as model:
            x = pm.Data("X", X)
            nn.regression(nn.mlp(x, hidden), y)
        assert is_network(model) == network
    with pm.Model() as model:
        pm.Normal("y", X @ pm.Normal("b", shape=2), observed=y)
    assert not is_network(model)


def test_effects_that_are_written_non_centred_and_do_not_mix():
    found = problems(diagnose(replaced(run(), "posterior", "z", apart)))
    assert found["hierarchy"] == (
        "'z' is written non-centred (scale * z), while each of the 3 groups has about 1,250 rows: "
        "write it centred, pm.Normal('z', 0, scale, shape=3)."
    )


def test_a_search_that_was_cut_off_is_told():
    (finding,) = diagnose(run(descent_at_rest=0)).findings
    assert not finding.problem
    assert "ended after 3000 updates before the potential stopped falling" in finding.message


# -- several steps, samplers of others, checks that fail -------------------------------------------


def several():
    """Statistics and attributes of two steps, the second of which is too hot."""
    idata = run()
    one = {k: x.values for k, x in idata["sample_stats"].data_vars.items()}
    other = one | {"kinetic_temperature": one["kinetic_temperature"] + 0.2}
    return {k: np.stack([one[k], other[k]], axis=-1) for k in one}


@pytest.mark.parametrize("step_sizes", [np.array([0.3, 0.2]), "0.3, 0.2", [0.3, 0.2]])
def test_each_of_several_steps_is_judged_by_its_own_numbers(step_sizes):
    attributes = ATTRIBUTES | {"step_size": step_sizes, "step_size_given": 1}
    (finding,) = signs_of_trouble(several(), attributes)
    assert finding.message.startswith("Step 2 of 2: The kinetic temperature is 1.2")
    # 0.2 times what leaves half of the error allowed.
    assert "Try step_size=0.07" in finding.message


def test_what_is_the_same_of_all_steps_is_told_once():
    statistics = several()
    statistics["kinetic_temperature"] = statistics["kinetic_temperature"][..., [1, 1]]
    (finding,) = signs_of_trouble(statistics, ATTRIBUTES)
    assert finding.message.startswith("The kinetic")


def joined(n=2, **of_first):
    """Attributes of steps, the first of which lacks what is None, as the output has them."""
    first = {k: x for k, x in {**ATTRIBUTES, **of_first}.items() if x is not None}
    reports = [Report.read(x) for x in (first, *[ATTRIBUTES] * (n - 1))]
    return joined_reports(reports, 100, 200)


def test_what_a_step_lacks_is_no_trouble():
    # The first was given its step size: there was no warm-up.
    names = "expected_bias", "modes", "modes_found", "mode_mass", "mode_of_chain", "curvature_ratio"
    attributes = joined(step_size=0.2, **dict.fromkeys(names))
    assert attributes["mode_mass"] == "-, [-3.]"
    statistics = several()
    statistics["kinetic_temperature"][..., 1] -= 0.2
    assert signs_of_trouble(statistics, attributes) == [
        finding for finding in signs_of_trouble(statistics, joined()) if finding.problem
    ]


def test_modes_of_each_step_are_read():
    attributes = joined(modes=2, modes_found=2, mode_mass=np.array([-3.0, -13.0]))
    attributes["mode_of_chain"] = "[0 0 0 1], [0 0 0 0]"
    statistics = several()
    statistics["kinetic_temperature"][..., 1] -= 0.2
    modes, worse = signs_of_trouble(statistics, attributes)
    assert modes.message.startswith("Step 1 of 2: The posterior has at least 2 modes")
    assert worse.message.startswith("Step 1 of 2: Chain 3 sits in a mode")


def test_a_step_of_another_package_hides_nothing():
    idata = run()
    hot = {k: x.values for k, x in idata["sample_stats"].data_vars.items()}
    hot["kinetic_temperature"] += 0.2
    hot["step_size"] = np.stack([hot["step_size"]] * 2, axis=-1)  # NUTS reports one as well
    (finding,) = signs_of_trouble(hot, ATTRIBUTES)
    assert finding.check == "kinetic temperature"


def test_a_statistic_of_one_of_the_steps_is_judged_where_it_belongs():
    statistics = several()
    statistics["kinetic_temperature"] = statistics["kinetic_temperature"][..., 1]
    (finding,) = signs_of_trouble(statistics, ATTRIBUTES)
    assert not finding.problem
    assert "of which of the steps is not known: 'kinetic_temperature'" in finding.message
    attributes = ATTRIBUTES | {
        "statistics": "potential_energy, potential_energy kinetic_temperature"
    }
    (finding,) = signs_of_trouble(statistics, attributes)
    assert finding.message.startswith("Step 2 of 2: The kinetic temperature is 1.2")


@pytest.mark.filterwarnings("error")
def test_temperatures_of_each_of_several_steps():
    idata = run(temperature=np.array([1.0, 2.0]))
    stats = {k: (["step"], x) for k, x in several().items()}
    both = with_group(idata, "sample_stats", tree(g=stats)["g"].to_dataset())
    table = temperatures(both)
    assert dict(table.sizes) == {"step": 2, "kind": 2, "chain": CHAINS}
    np.testing.assert_allclose(table["mean"].sel(kind="kinetic").mean("chain"), [1, 1.2], atol=0.02)
    deviation = table["deviation"].sel(kind="kinetic")
    assert (abs(deviation[0]) < 5).all()
    assert (deviation[1] < -20).all()  # against the second one's own
    # A first one without momenta, as SGLD is.
    stats["kinetic_temperature"] = [], several()["kinetic_temperature"][..., 1]
    both = with_group(idata, "sample_stats", tree(g=stats)["g"].to_dataset())
    both["posterior"].attrs["statistics"] = "gradient_noise, gradient_noise kinetic_temperature"
    kinetic = temperatures(both)["mean"].sel(kind="kinetic")
    assert np.isnan(kinetic[0]).all()
    np.testing.assert_allclose(kinetic[1].mean("chain"), 1.2, atol=0.02)


def test_a_sampler_without_momentum_decay_keeps_its_draws(caplog):
    rng = np.random.default_rng(0)
    noise = {"gradient_noise": np.linspace(0.5, 5, 200) + rng.normal(0, 0.1, (4, 200))}
    attributes = {"temperature": 1.0, "step_size": 0.3}
    log_problems(partial(signs_of_trouble, noise, attributes))
    (finding,) = signs_of_trouble(noise, attributes)
    assert not finding.problem
    assert "have no 'momentum_decay'" in finding.message
    assert not caplog.records


def test_a_check_that_fails_is_a_finding(monkeypatch, caplog):
    def failing(statistics, attributes):
        raise KeyError("surprise")
        yield

    monkeypatch.setitem(signs_of_trouble.__globals__["_CHECKS"], "kinetic temperature", failing)
    idata = run()
    with caplog.at_level(logging.WARNING):
        (finding,) = diagnose(idata).findings
        log_problems(partial(signs_of_trouble, {}, ATTRIBUTES))
    assert "the check itself failed (KeyError: 'surprise')" in finding.message
    assert "kinetic temperature" in caplog.text
