"""The step that `pm.sample` sees: settings in, a plan out; chains are advanced elsewhere."""

from __future__ import annotations

import inspect
from typing import Any, ClassVar

import numpy as np
from pymc.step_methods.compound import BlockedStep

from pymc_sgmcmc.arguments import generator
from pymc_sgmcmc.dynamics import Dynamics
from pymc_sgmcmc.engines.base import UPDATE_STATISTICS, Draws
from pymc_sgmcmc.model.plain import the_model
from pymc_sgmcmc.model.potential import sampled_value_vars
from pymc_sgmcmc.plan.compiled import Compiled
from pymc_sgmcmc.plan.plan import Plan
from pymc_sgmcmc.plan.settings import RunSettings
from pymc_sgmcmc.pymc_step.attributes import Reported
from pymc_sgmcmc.pymc_step.lone import Lone
from pymc_sgmcmc.pymc_step.names import hint
from pymc_sgmcmc.pymc_step.population import InPopulation
from pymc_sgmcmc.pymc_step.variant import variant
from pymc_sgmcmc.report.report import Report
from pymc_sgmcmc.run.phases import Run
from pymc_sgmcmc.run.reporting import report_of
from pymc_sgmcmc.run.starts import Point
from pymc_sgmcmc.settings import declared, described

_VARS = """\
vars : list of Variable, optional
    Variables to sample; all continuous ones of the model when None."""
_MODEL = """\
model : pm.Model, optional
    The model of the ``with`` context when None.
rng : None, int or numpy.random.Generator
    Only for a use without `pm.sample`, which gives every chain its own."""


class StochasticGradientStep(BlockedStep):
    """Base of the step methods: a name, a docstring and `dynamics_class` make one.

    The arguments are what `RunSettings` and the dynamics declare; where the docstring has
    ``{parameters}``, they are listed. Where a step owns all variables of its model, it is one of a
    population for PyMC, which then keeps the chains in one process and in lock step; chain 0
    advances all of them in one compiled call (`InPopulation`). Where it doesn't, every chain
    advances alone from the point it is given (`Lone`).
    """

    name = "stochastic_gradient"
    default_blocked = True
    dynamics_class: ClassVar[type[Dynamics]]
    owns_all: bool
    """Whether it samples all variables of its model."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "dynamics_class" in cls.__dict__:
            floats = (*cls.dynamics_class.statistics, *UPDATE_STATISTICS, "step_size")
            cls.stats_dtypes_shapes = {
                **{name: (np.float64, []) for name in floats},
                "rejected": (np.int64, []),
            }
            parameters = [_VARS, *described(RunSettings, cls.dynamics_class), _MODEL]
            text = inspect.cleandoc(cls.__doc__ or "")
            cls.__doc__ = text.replace("{parameters}", "\n".join(parameters))
            cls.__signature__ = _signature(cls.dynamics_class)

    def __new__(cls, vars: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Choose how chains advance, by whether the step owns all variables of the model."""
        if kwargs.get("blocked", True) is False:
            raise ValueError(
                "blocked=False would update each variable on its own, against the gradient of "
                f"all. Leave it out: {cls.__name__}(...)."
            )
        kwargs["model"] = model = the_model(kwargs.get("model"))
        chosen = sampled_value_vars(model, vars)
        step: Any = cls
        kind = InPopulation if len(chosen) == len(model.value_vars) else Lone
        return super().__new__(variant(step, kind), list(chosen), *args, **kwargs)

    def __init__(self, vars: Any = None, **options: Any) -> None:
        """Check the arguments and make a plan; nothing is compiled for speed yet."""
        model = the_model(options.pop("model", None))
        self.rng = generator("rng", options.pop("rng", None))
        options.pop("blocked", None)
        dynamics, settings = self._settings(options)
        self.vars = list(sampled_value_vars(model, vars))
        chosen = None if vars is None else [model.values_to_rvs[v].name for v in self.vars]
        self.compiled = Compiled(Plan.of(model, chosen, dynamics, settings))
        self.tune = True
        statistics = {name: dtype for name, (dtype, _) in self.stats_dtypes_shapes.items()}
        self._reported = Reported(statistics, self.run_report())
        self.stats_dtypes = [self._reported]

    @property
    def plan(self) -> Plan:
        """All that a run of this step is made with."""
        return self.compiled.plan

    def run_report(self, run: Run | None = None) -> Report:
        """What this step runs; with a run of it, also what was found."""
        return report_of(self.plan, type(self).__name__, run)

    def _settings(self, options: dict[str, Any]) -> tuple[Dynamics, RunSettings]:
        """Arguments as the settings that they are."""
        kinds = RunSettings, self.dynamics_class
        run, own = ({field.name for field in declared(kind)} for kind in kinds)
        for name, value in options.items():
            if name not in run | own:
                known = ["vars", *(field.name for field in declared(*kinds)), "model", "rng"]
                raise TypeError(
                    f"{type(self).__name__} takes no argument {name!r}.{hint(name, value, known)} "
                    f"It takes {', '.join(known)}."
                )
        return (
            self.dynamics_class(**{name: options[name] for name in options.keys() & own}),
            RunSettings(**{name: options[name] for name in options.keys() & run}),
        )

    def _result(self, point: Point, draws: Draws, chain: int, draw: int) -> tuple[Any, Any]:
        """Point and statistics of one draw, as PyMC's trace takes them."""
        values = self.plan.potential.unravel(draws.positions[chain, draw])
        stats = {
            name: dtype(draws.statistics[name][chain, draw])
            for name, (dtype, _) in self.stats_dtypes_shapes.items()
        }
        self._reported.latest = stats
        return {**point, **values}, [stats]


def _signature(dynamics: type[Dynamics]) -> inspect.Signature:
    """Signature with all arguments spelled out, for `help` and for editors."""
    keyword = inspect.Parameter.KEYWORD_ONLY
    named = [
        inspect.Parameter(field.name, keyword, default=field.default)
        for field in declared(RunSettings, dynamics)
    ]
    first = inspect.Parameter("vars", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=None)
    last = [inspect.Parameter(name, keyword, default=None) for name in ("model", "rng")]
    return inspect.Signature([first, *named, *last])
