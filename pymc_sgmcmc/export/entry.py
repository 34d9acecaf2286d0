"""The two functions: what is predicted is written to a file, and tried on a few rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from pymc.model import Model
from xarray import DataTree

from pymc_sgmcmc.arguments import boolean, integer
from pymc_sgmcmc.export import as_numpy, as_onnx
from pymc_sgmcmc.export.program import Program
from pymc_sgmcmc.model.plain import plain, the_model
from pymc_sgmcmc.prediction.linearised import GROUP


def to_onnx(
    idata: DataTree,
    path: str | Path,
    *,
    model: Model | None = None,
    var_names: Sequence[str] | None = None,
    inputs: Sequence[str] | None = None,
    draws: int | None = 50,
    average: bool = False,
    weights: ArrayLike | None = None,
) -> None:
    """Write what a posterior predicts to a file of ONNX, which needs no PyMC to be used.

    The file takes any number of rows, in single precision, and gives what `predict` gives, for each
    of some draws or averaged over them. What it computes is tried on a few rows of the model first.

    Parameters
    ----------
    idata : DataTree
        With draws of the model's variables in the group ``posterior``.
    path : path
        Of the file; one that exists is replaced.
    model : pm.Model, optional
        The model of the ``with`` context when None.
    var_names : sequence of str, optional
        What to predict, as of `predict`: ``y_mean``, ``y_probability``, Deterministics. All
        parameters of observed variables that depend on the rows when None.
    inputs : sequence of str, optional
        Each ``pm.Data`` that will be given. When None, all that are as long as an observed variable
        and matter; others are kept in the file as they are.
    draws : int or None, default 50
        How many draws, evenly spaced over the chains; None for all.
    average : bool, default False
        Whether predictions are averaged over draws: ``(rows, ...)`` in place of
        ``(draws, rows, ...)``.
    weights : array_like, optional
        Of each chain in averages: those of `nn.compress` or of `stack_chains`.

    Raises
    ------
    NotImplementedError
        If there is no operator of ONNX for a part of the model, which is named; or if draws are
        those of `laplace`.
    ValueError
        If names are unknown, or no predictions depend on a ``pm.Data`` of the rows.
    ImportError
        If the library onnx is not installed.

    See Also
    --------
    to_numpy : The same as a Python file.
    pymc_sgmcmc.predict : What it computes.
    pymc_sgmcmc.nn.compress : A few draws that predict like all.

    Notes
    -----
    One draw's prediction is written once, and the operator Scan goes over draws (opset 18); what
    no draw changes is computed before. Codes of categories are not checked: -1, which is pandas'
    code of what is in no category, is the last entry.

    Examples
    --------
    >>> import numpy as np
    >>> import pymc as pm
    >>> from pymc_sgmcmc import ATMC, nn, sample
    >>> from pymc_sgmcmc.export import to_onnx
    >>> X = np.random.default_rng(0).normal(size=(200, 4))
    >>> with pm.Model() as model:
    ...     nn.classification(nn.mlp(pm.Data("X", X), (5,)), X[:, 0] > 0)
    ...     idata = sample(20, tune=20, step=ATMC(), random_seed=1, progressbar=False)
    y
    >>> to_onnx(idata, "network.onnx", model=model, average=True)  # doctest: +SKIP
    >>> import onnxruntime  # doctest: +SKIP
    >>> session = onnxruntime.InferenceSession("network.onnx")  # doctest: +SKIP
    >>> (p,) = session.run(["y_probability"], {"X": X[:10].astype("float32")})  # doctest: +SKIP
    """
    path = _path(path, ".onnx")
    as_onnx.module()
    program = _program(idata, model, var_names, inputs, draws, average, weights)
    as_onnx.write(program, path, _title(program))


def to_numpy(
    idata: DataTree,
    path: str | Path,
    *,
    model: Model | None = None,
    var_names: Sequence[str] | None = None,
    inputs: Sequence[str] | None = None,
    draws: int | None = 50,
    average: bool = False,
    weights: ArrayLike | None = None,
) -> Callable[..., dict[str, np.ndarray]]:
    """Write what a posterior predicts to a Python file that needs NumPy alone.

    The file ``network.py`` has one function, ``predict``, a line for each operation, and reads its
    draws from ``network.npz``, which is written beside it. It takes any number of rows and gives
    what `pymc_sgmcmc.predict` gives, in single precision, for each of some draws or averaged over
    them. What it computes is tried on a few rows of the model first.

    Parameters
    ----------
    idata : DataTree
        With draws of the model's variables in the group ``posterior``.
    path : path
        Of the Python file; one that exists is replaced.
    model : pm.Model, optional
        The model of the ``with`` context when None.
    var_names : sequence of str, optional
        What to predict, as of `predict`: ``y_mean``, ``y_probability``, Deterministics. All
        parameters of observed variables that depend on the rows when None.
    inputs : sequence of str, optional
        Each ``pm.Data`` that will be given. When None, all that are as long as an observed variable
        and matter; others are kept with the draws as they are.
    draws : int or None, default 50
        How many draws, evenly spaced over the chains; None for all.
    average : bool, default False
        Whether predictions are averaged over draws: ``(rows, ...)`` in place of
        ``(draws, rows, ...)``.
    weights : array_like, optional
        Of each chain in averages: those of `nn.compress` or of `stack_chains`.

    Returns
    -------
    callable
        The function of the file: of an array for each of the inputs, by name, to a dict of arrays.

    Raises
    ------
    NotImplementedError
        If there is no counterpart for a part of the model, which is named; or if draws are those of
        `laplace`.
    ValueError
        If names are unknown, or no predictions depend on a ``pm.Data`` of the rows.

    See Also
    --------
    to_onnx : The same for runtimes of ONNX.
    pymc_sgmcmc.predict : What it computes.
    pymc_sgmcmc.nn.compress : A few draws that predict like all.

    Examples
    --------
    >>> import numpy as np
    >>> import pymc as pm
    >>> from pymc_sgmcmc import ATMC, nn, sample
    >>> from pymc_sgmcmc.export import to_numpy
    >>> X = np.random.default_rng(0).normal(size=(200, 4))
    >>> with pm.Model() as model:
    ...     nn.classification(nn.mlp(pm.Data("X", X), (5,)), X[:, 0] > 0)
    ...     idata = sample(20, tune=20, step=ATMC(), random_seed=1, progressbar=False)
    y
    >>> network = to_numpy(idata, "network.py", model=model)
    >>> network(X=X[:10])["y_probability"].shape
    (50, 10)
    """
    path = _path(path, ".py")
    program = _program(idata, model, var_names, inputs, draws, average, weights)
    as_numpy.write(program, path, _title(program))
    return as_numpy.load(path)


def _program(
    idata: Any,
    model: Model | None,
    var_names: Sequence[str] | None,
    inputs: Sequence[str] | None,
    draws: int | None,
    average: bool,
    weights: ArrayLike | None,
) -> Program:
    """What is to be written, tried on a few rows."""
    from pymc_sgmcmc.export.prediction import Prediction, some_draws  # they bring JAX

    model = plain(the_model(model))
    if not isinstance(idata, DataTree) or "posterior" not in idata.children:
        raise TypeError(
            "idata must be the DataTree that pm.sample or pymc_sgmcmc.sample gave, got "
            f"{type(idata).__name__}."
        )
    if GROUP in idata.children:
        raise NotImplementedError(
            "Draws of laplace predict by a linear model, which can't be exported. Use sample, or "
            "predict where pymc_sgmcmc is installed."
        )
    if not boolean("average", average) and weights is not None:
        raise ValueError("weights are those of an average over draws: average=True.")
    n = draws if draws is None else integer("draws", draws, otherwise=", or None for all")
    chosen = some_draws(idata.children["posterior"], n, weights)
    prediction = Prediction(model, chosen, inputs, var_names)
    program = prediction.program(average)
    _try(program, *prediction.expected(average))
    return program


def _try(program: Program, rows: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    """Raise an error if a program does not predict what `predict` predicts."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "tried.py"
        as_numpy.write(program, path, "")
        found = as_numpy.load(path)(**rows)
    for name, wanted in expected.items():
        scale = np.abs(wanted[np.isfinite(wanted)]).max(initial=0)
        if not np.allclose(found[name], wanted, 1e-4, 1e-5 * scale, equal_nan=True):
            raise NotImplementedError(
                f"{name!r} would be exported wrongly: {found[name].ravel()[:3].tolist()} where "
                f"predict gives {wanted.ravel()[:3].tolist()}. Use predict, and please report it "
                "with the model; or leave it out with var_names=[...]."
            )


def _path(path: Any, suffix: str) -> Path:
    if not isinstance(path, str | Path) or Path(path).suffix != suffix:
        raise ValueError(f"path must be the name of a file that ends in {suffix}, got {path!r}.")
    return Path(path)


def _title(program: Program) -> str:
    draws = len(next(iter(program.draws.values())))
    return f"{', '.join(program.results)} by {draws} draws of a posterior."
