"""The door that PyMC drafts: `pm.sample(sampler=...)`, of its pull request #8358.

What it takes is a `Sampler`, made before there is a model, whose `sample_from_init` is given the
model and the run's arguments. The chains need not pass for a population of steps then. The
interface is the draft's latest that was seen (September 2026), and the one before, which has
`compile_kwargs` in place of `blas_cores`.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import pymc as pm
from pymc.model import Model
from pymc.stats.convergence import log_warnings, run_convergence_checks
from xarray import DataTree

from pymc_sgmcmc.model.plain import the_model
from pymc_sgmcmc.pymc_step.step import StochasticGradientStep
from pymc_sgmcmc.sampling import sample
from pymc_sgmcmc.warn import warn_user

# What a run of one compiled program has no use for: argument, default, what to do.
_WITHOUT_USE = (
    ("cores", None, "all chains advance in one program"),
    ("blas_cores", "auto", "the engine has its own threads: engine=Numba(threads=...)"),
    ("keep_warning_stat", False, "these steps record no warnings: see pymc_sgmcmc.diagnose"),
    ("idata_kwargs", None, "call pm.compute_log_likelihood(idata) and the like"),
    ("compile_kwargs", None, "the engine compiles the model: engine=JAX(...)"),
)


def as_sampler(step: type[StochasticGradientStep], **options: Any) -> Any:
    """Give a step method the form that ``pm.sample(sampler=...)`` is to take.

    Parameters
    ----------
    step : type
        `ATMC`, or another step method of the package; not an instance, which has a model already.
    **options
        Its arguments, but for ``model``.

    Returns
    -------
    pymc.sampling.samplers.base.Sampler
        For ``pm.sample(sampler=as_sampler(ATMC, batch_size=500))``, whose draws are those of
        `sample`.

    Raises
    ------
    NotImplementedError
        If the installed PyMC has no such interface: up to 6.4 none has.
    TypeError
        If `step` is not the class of a step method.
    """
    if not (isinstance(step, type) and issubclass(step, StochasticGradientStep)):
        raise TypeError(
            f"step must be the class of a step method, got {step!r}: as_sampler(ATMC, "
            "batch_size=...)."
        )
    return _sampler_class()(step, options)


def _sampler_class() -> type:
    """Class of samplers, of PyMC's base."""
    try:
        base = importlib.import_module("pymc.sampling.samplers.base").Sampler
    except (ImportError, AttributeError) as error:
        raise NotImplementedError(
            f"PyMC {pm.__version__} has no pm.sample(sampler=...), which its pull request #8358 "
            "drafts. Use pymc_sgmcmc.sample(step=ATMC(...)), or pm.sample(step=ATMC(...))."
        ) from error
    return _of_base(base)


@functools.cache
def _of_base(base: type) -> type:
    return type("StochasticGradientSampler", (_Sampling, base), {})


class _Sampling:
    """What a sampler of ours does, whatever PyMC's base is."""

    def __init__(self, step: type[StochasticGradientStep], options: Mapping[str, Any]) -> None:
        self.step, self.options = step, dict(options)

    def __repr__(self) -> str:
        given = "".join(f", {name}={value!r}" for name, value in self.options.items())
        return f"as_sampler({self.step.__name__}{given})"

    def sample_from_init(
        self,
        *,
        model: Model | None = None,
        draws: int = 1000,
        tune: int | None = 1000,
        chains: int | None = None,
        cores: int | None = None,
        blas_cores: int | str | None = "auto",
        initvals: Mapping[str, Any] | Sequence[Mapping[str, Any] | None] | None = None,
        random_seed: Any = None,
        progressbar: bool = True,
        quiet: bool = False,
        discard_tuned_samples: bool = True,
        keep_warning_stat: bool = False,
        var_names: Sequence[str] | None = None,
        idata_kwargs: dict[str, Any] | None = None,
        compute_convergence_checks: bool = True,
        compile_kwargs: dict[str, Any] | None = None,
    ) -> DataTree:
        """Sample a model, with the arguments that `pm.sample` has for every sampler.

        Where `tune` and `chains` are None they are those of `sample`, 1,000 and 4. Of `cores`,
        `blas_cores`, `keep_warning_stat`, `idata_kwargs` and `compile_kwargs` a warning says that
        they are not used.
        """
        given = {
            "cores": cores,
            "blas_cores": blas_cores,
            "keep_warning_stat": keep_warning_stat,
            "idata_kwargs": idata_kwargs,
            "compile_kwargs": compile_kwargs,
        }
        for name, default, instead in _WITHOUT_USE:
            if given[name] != default:
                warn_user(f"{name}={given[name]!r} is not used by {self.step.__name__}: {instead}.")
        model = the_model(model)
        with model:
            idata = sample(
                draws,
                tune=1000 if tune is None else tune,
                chains=4 if chains is None else chains,
                step=self.step(**self.options),
                random_seed=random_seed,
                initvals=initvals,
                var_names=var_names,
                progressbar=bool(progressbar) and not quiet,
                discard_tuned_samples=discard_tuned_samples,
            )
            if compute_convergence_checks:
                log_warnings(run_convergence_checks(idata, model))
        return idata
