"""Predictions of new rows, against NumPy and against PyMC's own."""

import numpy as np
import pandas as pd
import pymc as pm
import pytest
import xarray as xr
from scipy import special, stats

from pymc_sgmcmc import ATMC, nn, predict, sample
from pymc_sgmcmc.diagnostics import rmse

RNG = np.random.default_rng(0)
N, M, DRAWS = 20, 7, 30
X, NEW = RNG.normal(size=(N, 3)), RNG.normal(size=(M, 3))
ROWS = {"X": NEW, "exposure": np.full(M, 2.0)}


@pytest.fixture(scope="module")
def model():
    kind, y = RNG.integers(3, size=N), RNG.normal(size=N)
    with pm.Model(coords={"row": np.arange(N), "feature": list("abc")}) as model:
        x = pm.Data("X", X, dims=("row", "feature"))
        features = nn.mlp(x, (4,))
        pm.Deterministic("first", features[:, 0], dims="row")
        nn.regression(features, y, noise="input", dims="row")
        nn.classification(features, kind, name="kind", dims="row")
        nn.classification(features, kind > 0, name="positive", dims="row")
        other = pm.Data("exposure", np.ones(N), dims="row")
        pm.Poisson("count", other * pm.math.exp(features[:, 1]), observed=kind, dims="row")
    return model


@pytest.fixture(scope="module")
def posterior(model):
    with model:
        found = pm.sample_prior_predictive(DRAWS, random_seed=1)
    del found["prior"]["first"]
    draws = found["prior"].dataset.isel(chain=0, drop=True)
    halves = [draws.isel(draw=slice(i, i + DRAWS // 2)) for i in (0, DRAWS // 2)]
    halves = [half.assign_coords(draw=np.arange(DRAWS // 2)) for half in halves]
    found["posterior"] = xr.concat(halves, "chain").assign_coords(chain=[0, 1])
    return found


def by_hand(posterior, name):
    """Features and outputs of the second chain."""
    w, b = (posterior["posterior"][f"{name}_{x}"].values[1] for x in ("weights", "bias"))
    hidden = [posterior["posterior"][f"hidden_1_{x}"].values[1] for x in ("weights", "bias")]
    features = np.tanh(NEW @ hidden[0] + hidden[1][:, None])
    return features, np.einsum("sru,su...->sr...", features, w) + b[:, None]


def test_parameters_of_every_law(model, posterior):
    found = predict(posterior, ROWS, model=model)["predictions"]
    assert set(found.data_vars) == {
        "y_mean",
        "y_sd",
        "kind_probability",
        "positive_probability",
        "count_mean",
    }
    assert found["y_mean"].dims == ("chain", "draw", "row")
    assert found["kind_probability"].dims == ("chain", "draw", "row", "kind_class")
    features, mean = by_hand(posterior, "y_mean")
    close = {"rtol": 1e-5, "atol": 1e-5}
    np.testing.assert_allclose(found["y_mean"][1], mean, **close)
    _, logits = by_hand(posterior, "kind_class")
    np.testing.assert_allclose(found["kind_probability"][1], special.softmax(logits, -1), **close)
    _, logit = by_hand(posterior, "positive_logit")
    np.testing.assert_allclose(found["positive_probability"][1], special.expit(logit), **close)
    np.testing.assert_allclose(found["count_mean"][1], 2 * np.exp(features[..., 1]), **close)
    assert all(x.dtype == "float32" for x in found.data_vars.values())


def test_the_likelihood_of_outcomes(model, posterior):
    y, kind = RNG.normal(size=M), RNG.integers(3, size=M)
    found = predict(posterior, {**ROWS, "y": y, "kind": kind}, model=model)
    mean, sd = (found["predictions"][f"y_{k}"].values for k in ("mean", "sd"))
    np.testing.assert_allclose(
        found["log_likelihood"]["y"], stats.norm.logpdf(y, mean, sd), rtol=1e-3, atol=1e-3
    )
    chosen = np.log(found["predictions"]["kind_probability"].values[..., np.arange(M), kind])
    np.testing.assert_allclose(found["log_likelihood"]["kind"], chosen, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(found["observed_data"]["y"], y)
    np.testing.assert_array_equal(found["predictions_constant_data"]["X"], NEW)


def test_deterministics_and_coords(model, posterior):
    rows = [f"new {i}" for i in range(M)]
    found = predict(posterior, {"X": NEW}, var_names=["first"], coords={"row": rows}, model=model)
    features, _ = by_hand(posterior, "y_mean")
    np.testing.assert_allclose(found["predictions"]["first"][1], features[..., 0], rtol=1e-5)
    assert list(found["predictions"]["row"].values) == rows


def test_it_agrees_with_pymc_and_leaves_the_model_alone(model, posterior):
    before = model["X"].get_value().copy()
    ours = predict(posterior, {"X": X[::-1]}, var_names=["first"], model=model)
    np.testing.assert_array_equal(model["X"].get_value(), before)
    with model:
        pm.set_data({"X": X[::-1]})
        theirs = pm.sample_posterior_predictive(
            posterior, var_names=["first"], predictions=True, progressbar=False
        )
        pm.set_data({"X": before})
    np.testing.assert_allclose(
        ours["predictions"]["first"], theirs["predictions"]["first"], rtol=1e-5, atol=1e-6
    )


def test_draws_of_another_group(model, posterior):
    """As those of a posterior; also where chains and draws have no labels."""
    prior = posterior["prior"].dataset.drop_vars(["chain", "draw"])
    found = predict(xr.DataTree.from_dict({"prior": prior}), ROWS, model=model, group="prior")
    assert found["predictions"].sizes["draw"] == DRAWS
    renamed = predict(xr.DataTree.from_dict({"posterior": prior}), ROWS, model=model)
    xr.testing.assert_equal(found["predictions"].dataset, renamed["predictions"].dataset)
    with pytest.raises(ValueError, match="no group 'posterior', only 'prior'"):
        predict(xr.DataTree.from_dict({"prior": prior}), ROWS, model=model)


def test_draws_of_outcomes_follow_their_law(model, posterior):
    found = predict(
        posterior, {"X": np.repeat(NEW, 200, 0)}, var_names=["y", "y_mean", "y_sd", "kind"],
        model=model, random_seed=1,
    )["predictions"]  # fmt: skip
    z = ((found["y"] - found["y_mean"]) / found["y_sd"]).values.ravel()
    assert stats.kstest(z, "norm").pvalue > 0.01
    assert found["kind"].dtype.kind == "i"
    assert set(np.unique(found["kind"])) == {0, 1, 2}


def test_weights_need_not_be_kept_raw(model, posterior):
    few = posterior.copy()
    names = [n for n in posterior["posterior"].data_vars if not n.endswith(("_raw", "_scale"))]
    few["posterior"] = posterior["posterior"].dataset[names]
    a, b = (predict(x, {"X": NEW}, var_names=["y_mean"], model=model) for x in (few, posterior))
    np.testing.assert_allclose(a["predictions"]["y_mean"], b["predictions"]["y_mean"], rtol=1e-5)


def test_chunks_are_not_seen(model, posterior, monkeypatch):
    whole = predict(posterior, ROWS, model=model)["predictions"]
    monkeypatch.setattr("pymc_sgmcmc.prediction.posterior._AT_ONCE", 7 * 40 * M)
    parts = predict(posterior, ROWS, model=model)["predictions"]
    for name, x in whole.data_vars.items():
        np.testing.assert_allclose(parts[name], x, rtol=1e-5, atol=1e-6)


def test_what_depends_on_the_data_alone(caplog):
    with pm.Model() as model:
        a, x = pm.Normal("a"), pm.Data("x", np.ones(3))
        twice = pm.Deterministic("twice", 2 * x)
        pm.Normal("y", a * twice, 1, observed=np.ones(3))
        draws = pm.sample_prior_predictive(4, random_seed=1)
    found = predict(draws, {"x": [1.0, 5.0]}, var_names=["twice"], group="prior", model=model)
    assert found["predictions"]["twice"].values.tolist() == [[[2.0, 10.0]] * 4]
    assert not caplog.records


def test_a_model_that_jax_cannot_compile(model, posterior, monkeypatch, caplog):
    by_jax = predict(posterior, ROWS, model=model)["predictions"]

    error = NotImplementedError("no such Op")

    def fail(*args):
        raise error

    monkeypatch.setattr("pymc_sgmcmc.evaluate.Evaluator._vectorised", fail)
    others = predict(posterior, ROWS, model=model)["predictions"]
    (told,) = [r for r in caplog.records if r.name == "pymc_sgmcmc.prediction"]
    assert "can't compile what is to be predicted (no such Op)" in told.getMessage()
    for name, x in by_jax.data_vars.items():
        np.testing.assert_allclose(others[name], x, rtol=1e-5, atol=1e-6)
    # A loop would be as short of memory.
    error = MemoryError("all of it")
    with pytest.raises(MemoryError, match="all of it"):
        predict(posterior, ROWS, model=model)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"data": NEW}, TypeError, r"must be a dict .* got ndarray: predict\(idata, {'X': \.\.\.}"),
        ({"data": {"Z": NEW}}, ValueError, "no pm.Data.*'X', 'exposure', 'y'.*pm.Data\\('Z'"),
        ({"var_names": ["z"]}, ValueError, "var_names has 'z'.*'y_mean'"),
        ({"var_names": "y"}, TypeError, r"var_names=\['y'\]"),
        ({"data": {"X": NEW, "y": np.zeros(M + 1)}}, ValueError, "entries along 'row'"),
        ({}, ValueError, r"depends on 'exposure' as well, which has 20 rows.*'exposure': \.\.\."),
    ],
)
def test_errors(model, posterior, arguments, error, message):
    with pytest.raises(error, match=message):
        predict(posterior, **({"data": {"X": NEW}} | arguments), model=model)


def test_missing_draws_are_named(model, posterior):
    few = posterior.copy()
    few["posterior"] = posterior["posterior"].dataset[["hidden_1_weights", "hidden_1_bias"]]
    with pytest.raises(ValueError, match=r"no draws of .*'y_mean_bias'.*var_names="):
        predict(few, {"X": NEW}, model=model)


def plain_model(**kwargs):
    """Data without dims, that observed variables do not tell the length of."""
    with pm.Model() as model:
        x = pm.Data("X", X, **kwargs)
        b = pm.Normal("b", shape=3)
        y = pm.Data("y_data", X[:, 0])
        pm.StudentT("y", nu=5, mu=x @ b, sigma=0.1, observed=y)
        pm.Cauchy("c", x @ b, 1, observed=X[:, 1])
        pm.Normal("two", (x @ b)[:, None] + np.zeros(2), 1, observed=X[:, :2])
        found = pm.sample_prior_predictive(40, random_seed=1)
    found["posterior"] = found["prior"].dataset
    return model, found


@pytest.mark.parametrize("kwargs", [{}, {"dims": ("row", "feature")}], ids=["plain", "dims"])
@pytest.mark.parametrize("rows", [1, M, N])
def test_data_without_dims_and_labels(kwargs, rows):
    model, found = plain_model(**kwargs)
    new = RNG.normal(size=(rows, 3))
    mean = new @ found["posterior"]["b"].values[0].T
    predicted = predict(found, {"X": new}, model=model)["predictions"]
    np.testing.assert_allclose(predicted["y_mean"][0], mean.T, rtol=1e-5, atol=1e-6)
    assert predicted["two_mean"].shape == (1, 40, rows, 2)
    drawn = predict(found, {"X": new}, var_names=["y", "two"], model=model)["predictions"]
    assert drawn["y"].shape == (1, 40, rows)
    assert drawn["two"].shape == (1, 40, rows, 2)
    # t with 5 degrees of freedom: few are beyond 10 scales.
    assert np.mean(np.abs(drawn["y"].values[0] - mean.T) < 1) > 0.95


def test_outcomes_by_the_name_of_their_data():
    model, found = plain_model()
    y = RNG.normal(size=M)
    by_data, by_name = (
        predict(found, {"X": NEW, name: y}, model=model)["log_likelihood"]["y"]
        for name in ("y_data", "y")
    )
    np.testing.assert_array_equal(by_data, by_name)
    mean = (NEW @ found["posterior"]["b"].values[0].T).T
    np.testing.assert_allclose(by_name[0], stats.t.logpdf(y, 5, mean, 0.1), rtol=1e-4)


def test_seeds_and_dtypes(model, posterior):
    first, same, other = (
        predict(posterior, ROWS, var_names=["y"], model=model, random_seed=s, dtype="float64")
        for s in (1, 1, 2)
    )
    assert first.equals(same)
    assert not first.equals(other)
    assert first["predictions"]["y"].dtype == "float64"


def test_whole_numbers_are_not_made_of_others():
    with pm.Model() as model:
        b = pm.Normal("b", shape=2)
        pm.Normal("y", pm.Data("X", np.eye(2, dtype=int)) @ b, 1, observed=[0.0, 1.0])
        found = pm.sample_prior_predictive(2)
    found["posterior"] = found["prior"].dataset
    with pytest.raises(ValueError, match=r"'X' holds int.*given float64.*astype\(float\)"):
        predict(found, {"X": np.full((3, 2), 0.5)}, model=model)
    with pytest.raises(ValueError, match=r"'X' holds int.*given object: \['a'\].*cat\.codes"):
        predict(found, {"X": np.full((3, 2), "a", dtype=object)}, model=model)
    with pytest.raises(ValueError, match=r"'X' has 2 axes.*shape \(2,\)"):
        predict(found, {"X": np.ones(2, int)}, model=model)
    with pytest.raises(ValueError, match=r"'X' holds int32.*up to 2147483647"):
        predict(found, {"X": np.full((3, 2), 2**40)}, model=model)


@pytest.fixture(scope="module")
def classes():
    """Plain data without dims, and an outcome of two classes."""
    with pm.Model() as model:
        b = pm.Normal("b", shape=3)
        k = pm.Data("k", np.zeros(N, "int32"))
        pm.Bernoulli("y", logit_p=pm.Data("X", X) @ b + b[k], observed=X[:, 0] > 0)
        found = pm.sample_prior_predictive(10, random_seed=1)
    found["posterior"] = found["prior"].dataset
    return model, found


K = np.zeros(M, int)


def test_frames_of_bool_and_float_columns(classes):
    model, found = classes
    mixed = np.array([[True, False, 0.5]] * M, dtype=object)
    new, same = (
        predict(found, {"X": x, "k": K}, model=model) for x in (mixed, mixed.astype(float))
    )
    xr.testing.assert_equal(new["predictions"].dataset, same["predictions"].dataset)


def test_columns_of_a_frame_come_in_the_order_of_the_model():
    columns = ["age", "income", "height"]
    with pm.Model(coords={"column": columns}) as model:
        b = pm.Normal("b", dims="column")
        pm.Normal("y", pm.Data("X", X, dims=("row", "column")) @ b, 1, observed=X[:, 0])
        found = pm.sample_prior_predictive(10, random_seed=1)
    frame = pd.DataFrame(NEW, columns=columns)

    def predicted(x, **kwargs):
        made = predict(found, {"X": x}, model=model, group="prior", **kwargs)
        return made["mean" if kwargs else "predictions"]["y_mean"].values

    for kwargs in ({}, {"quantiles": [0.5]}):
        for x in (frame, frame[columns[::-1]]):
            np.testing.assert_array_equal(predicted(x, **kwargs), predicted(NEW, **kwargs))
    with pytest.raises(ValueError, match=r"'X' has the columns .* without \['age'\]"):
        predicted(frame[columns[1:]])
    with pytest.raises(ValueError, match=r"with \['id'\] as well.*frame\.to_numpy\(\)"):
        predicted(frame.assign(id=1))
    # Names that are numbers are those of no column.
    np.testing.assert_array_equal(predicted(pd.DataFrame(NEW)), predicted(NEW))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"X": NEW[:, :2]}, "'X' has 3 columns in the model, and was given 2 columns"),
        ({"y": np.zeros(5)}, "'X' has 7 rows, and 'y' has 5: give both for the same rows"),
        ({"y": np.zeros(1)}, "'X' has 7 rows, and 'y' has 1"),
        ({"y": np.array(["no"] * M)}, r"'y' holds 0/1 in the model.*given <U2: \['no'\]"),
        ({"y": np.array(["no"] * M, object)}, "'y' holds 0/1 in the model, and was given object"),
        ({"X": np.where(np.arange(M)[:, None] == 3, np.nan, NEW)}, r"nan in 3 places.* \[3, 0\]"),
        ({"y": [np.nan, *np.zeros(M - 1)]}, r"'y' is nan in 1 places, the first at \[0\]"),
        ({"k": K + 2**31}, r"'k' holds int32 .*up to 2147483647, and was given .*2147483648"),
        ({"k": K + 3}, r"'k' is 3 at \[0\], and .* from, 'b', has the entries 0 to 2: .*not seen"),
        ({"k": K - 1}, r"'k' is -1 \(pandas' code of what is in no category\) at \[0\]"),
        ({"y": np.full(M, 0.5)}, r"'y' is 0.5 at \[0\], and whole numbers in the model"),
        ({"X": np.array([[1.0, 2.0, "a"]] * M, object)}, r"given object: \['a'\].*Give numbers"),
        ({"X": np.array([[1.0, 2.0, None]] * M, object)}, r"nan in 7 places, .* \[0, 2\]"),
        ({"X": np.ma.masked_less(NEW, 0)}, "'X' is nan in"),
        ({"X": NEW[:0]}, "'X' has no rows"),
    ],
)
def test_rows_that_the_model_can_not_have(classes, changes, message):
    model, found = classes
    with pytest.raises(ValueError, match=message):
        predict(found, {"X": NEW, "k": K} | changes, model=model)


def test_a_name_that_is_wrong_is_told_before_shapes(classes):
    model, found = classes
    with pytest.raises(ValueError, match="var_names has 'z'"):
        predict(found, {"X": NEW[:, :2]}, var_names=["z"], model=model)
    with pytest.raises(TypeError, match=r"predict needs the DataTree .* got dict"):
        predict({"b": X}, {"X": NEW}, model=model)


def test_codes_that_count_from_the_end_as_before():
    with pm.Model() as model:
        effect = pm.Normal("effect", shape=3) * pm.HalfNormal("scale")
        pm.Normal("y", effect[pm.Data("k", [0, 1, -1])], observed=np.zeros(3))
        found = pm.sample_prior_predictive(10, random_seed=1)
    found["posterior"] = found["prior"].dataset
    same = predict(found, {"k": [-1, 2]}, model=model)["predictions"]["y_mean"].values
    np.testing.assert_array_equal(same[..., 0], same[..., 1])
    for code in (-4, 3):
        with pytest.raises(ValueError, match=f"'k' is {code} .* has the entries 0 to 2"):
            predict(found, {"k": [code, 0]}, model=model)


def test_outcomes_that_are_impossible(classes):
    model, found = classes
    y = np.zeros(M, int)
    y[3] = 2
    with pytest.warns(UserWarning, match=r"'y' is 2 at \[3\], .* of 1 rows are -inf"):
        new = predict(found, {"X": NEW, "k": K, "y": y}, model=model)
    assert np.isneginf(new["log_likelihood"]["y"].values).any((0, 1)).tolist() == (y == 2).tolist()
    with pytest.raises(ValueError, match=r"rmse is for numbers, .* use brier_score"):
        rmse(new)


def test_outcomes_are_known_by_the_name_of_their_data_below_a_change_of_type():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 2)), rng.integers(2, size=30)
    with pm.Model() as model:
        logit = pm.Data("X", X) @ pm.Normal("b", shape=2)
        pm.Bernoulli("y", logit_p=logit, observed=pm.Data("labels", y))  # 32 bits, cast to 64
        step = ATMC(batch_size=10, step_size=0.05)
        idata = sample(5, tune=0, step=step, random_seed=1, progressbar=False)
    new = predict(idata, {"X": X[:4], "labels": y[:4]}, model=model)
    assert new["log_likelihood"]["y"].shape[2:] == (4,)
    with pytest.raises(ValueError, match=r"'X' has 4 rows, and 'y' has 3"):
        predict(idata, {"X": X[:4], "labels": y[:3]}, model=model)
    with pytest.warns(UserWarning, match="'y' is 2 at .* probability 0"):
        predict(idata, {"X": X[:4], "labels": np.array([0, 2, 1, 0])}, model=model)
