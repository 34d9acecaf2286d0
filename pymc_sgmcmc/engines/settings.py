"""The engines that a step can name: `JAX` and `Numba`, or the choice between them."""

from __future__ import annotations

import importlib.util
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from pymc_sgmcmc import processes
from pymc_sgmcmc.arguments import integer, one_of, optional, quoted
from pymc_sgmcmc.dynamics.base import Dynamics
from pymc_sgmcmc.engines.base import Derivatives, Engine
from pymc_sgmcmc.engines.choice import faster_engine
from pymc_sgmcmc.engines.forks import refuse_forked_jax
from pymc_sgmcmc.settings import Settings, setting, settings

if TYPE_CHECKING:
    from pymc_sgmcmc.engines.programs import Program
    from pymc_sgmcmc.estimators.estimators import Estimator
    from pymc_sgmcmc.model.potential import StochasticPotential


@settings
class EngineSettings(Settings, ABC):
    """What `engine` of a step may be: the settings of an engine, or the choice of one."""

    name: ClassVar[str]
    """What a person writes for it: ``engine="jax"``."""
    title: ClassVar[str]
    """What it is called."""

    def require(self) -> None:
        """Raise an error where it can't run: not installed, or forked from where it ran."""

    @property
    @abstractmethod
    def candidates(self) -> Sequence[OneEngine]:
        """Engines to try, one after another, until one can compile the model."""

    def choose(
        self, size: int, batch_numbers: int, chains: int, updates: int, convolves: bool
    ) -> Sequence[OneEngine]:
        """Give the candidates in the order of preference for a run; see `faster_engine`."""
        return self.candidates


_SHARED = ("chains", "rows")


def _shard(name: str, value: Any) -> str | tuple[int, int]:
    """What devices share: chains, rows, or a mesh of both."""
    if isinstance(value, str) and value in _SHARED:
        return value
    if isinstance(value, tuple | list) and len(value) == 2:
        groups, parts = (integer(f"{name}[{i}]", x) for i, x in enumerate(value))
        return groups, parts
    raise ValueError(
        f"{name} must be {quoted(_SHARED)}, or a mesh of both, (2, 4) say, got {value!r}."
    )


@settings
class OneEngine(EngineSettings):
    """An engine and its settings, which makes it when it is asked to: imports take a while."""

    @property
    def candidates(self) -> Sequence[OneEngine]:
        """It alone."""
        return (self,)

    @abstractmethod
    def engine(
        self,
        estimator: Estimator,
        dynamics: Dynamics,
        like: Any = None,
        batches: str = "independent",
    ) -> Engine:
        """Compile an engine; one of the same potential may share its rows, and more."""

    @abstractmethod
    def derivatives(
        self,
        potential: StochasticPotential,
        rows: Sequence[np.ndarray],
        one_program: bool = False,
    ) -> Derivatives:
        """Derivatives of a potential on fixed rows, by this engine.

        In `one_program` for slopes and products, where it would make two.
        """

    @abstractmethod
    def translate(self, program: Program) -> None:
        """Raise a NotImplementedError if it can't compile a graph."""

    @property
    def rows_are_spread(self) -> bool:
        """Whether each of several processes looks at its own part of the rows."""
        return False


@settings
class JAX(OneEngine):
    """The JAX engine: chains vectorised, on the accelerator if there is one.

    For ``engine=JAX(...)`` of a step; ``engine="jax"`` is the same with the defaults.

    Parameters
    ----------
    {parameters}

    Examples
    --------
    >>> import pymc as pm
    >>> from pymc_sgmcmc import ATMC, JAX
    >>> with pm.Model():
    ...     x = pm.Normal("x")
    ...     step = ATMC(engine=JAX(matmul_precision="float32"))
    """

    shard: Literal["chains", "rows"] | tuple[int, int] = setting(
        "chains",
        '{"chains", "rows"} or (int, int)',
        """What several devices share, those of other machines too where `jax.distributed` has
        joined them. "chains": each device holds all rows and runs some of the chains, as many as
        divide evenly. "rows": each device holds some of the rows, and its share of every batch, for
        data that outgrow one; the j-th row of a batch is then drawn from the j-th of B equal parts
        of the data. A pair is a mesh of both: ``(2, 4)`` has two groups of four devices, each with
        half of the chains on all rows, and in a group each device has a quarter of the rows.""",
        _shard,
    )
    matmul_precision: Literal["bfloat16", "tensorfloat32", "float32"] | None = setting(
        None,
        '{"bfloat16", "tensorfloat32", "float32"}, optional',
        """In which accelerators multiply float32 matrices, while positions stay float32; JAX's
        default for the device when None ("tensorfloat32" on recent GPUs). Processors do not
        care.""",
        optional(
            partial(one_of, allowed=("bfloat16", "tensorfloat32", "float32"), otherwise=", or None")
        ),
    )

    name: ClassVar[str] = "jax"
    title: ClassVar[str] = "JAX"

    def require(self) -> None:
        """Raise an error where JAX can't run."""
        if not _has_jax():
            raise ImportError(
                'engine="jax" compiles updates with JAX, which is not installed: pip install jax. '
                'Or use engine="numba".'
            )
        refuse_forked_jax()

    @property
    def rows_are_spread(self) -> bool:
        """Whether they are; see `OneEngine.rows_are_spread`."""
        return self.shard != "chains" and processes.count() > 1

    def engine(
        self,
        estimator: Estimator,
        dynamics: Dynamics,
        like: Any = None,
        batches: str = "independent",
    ) -> Engine:
        """Compile an engine by XLA; see `OneEngine.engine`."""
        from pymc_sgmcmc.engines.jax.engine import JaxEngine

        made = JaxEngine(estimator, dynamics, like, batches, **vars(self))
        return _reading(made, estimator.potential)

    def derivatives(
        self,
        potential: StochasticPotential,
        rows: Sequence[np.ndarray],
        one_program: bool = False,
    ) -> Derivatives:
        """Derivatives by JAX; see `OneEngine.derivatives`."""
        from pymc_sgmcmc.engines.jax.derivatives import JaxDerivatives

        return JaxDerivatives(potential, rows, one_program)

    def translate(self, program: Program) -> None:
        """Raise a NotImplementedError if JAX can't compile a graph."""
        import jax

        from pymc_sgmcmc.engines.jax.functions import jax_function

        with jax.enable_x64(True):
            jax_function(*program)


@settings
class Numba(OneEngine):
    """The Numba engine: each chain on a core of its own, without JAX.

    For ``engine=Numba()`` of a step; ``engine="numba"`` is the same.

    Examples
    --------
    >>> import pymc as pm
    >>> from pymc_sgmcmc import ATMC, Numba
    >>> with pm.Model():
    ...     x = pm.Normal("x")
    ...     step = ATMC(engine=Numba())
    """

    name: ClassVar[str] = "numba"
    title: ClassVar[str] = "Numba"

    def require(self) -> None:
        """Raise an error where several processes would each make the whole run."""
        if processes.count() > 1:
            raise ValueError(
                'engine="numba" runs in one process, and jax.distributed has joined '
                f'{processes.count()}. Use engine="jax", which spreads chains or rows over them.'
            )

    def engine(
        self,
        estimator: Estimator,
        dynamics: Dynamics,
        like: Any = None,
        batches: str = "independent",
    ) -> Engine:
        """Compile an engine by Numba; see `OneEngine.engine`."""
        from pymc_sgmcmc.engines.numba.engine import NumbaEngine

        made = NumbaEngine(estimator, dynamics, like, batches, **vars(self))
        return _reading(made, estimator.potential)

    def derivatives(
        self,
        potential: StochasticPotential,
        rows: Sequence[np.ndarray],
        one_program: bool = False,
    ) -> Derivatives:
        """Derivatives by Numba; see `OneEngine.derivatives`."""
        from pymc_sgmcmc.engines.numba.derivatives import NumbaDerivatives

        return NumbaDerivatives(potential, rows)

    def translate(self, program: Program) -> None:
        """Raise a NotImplementedError if Numba can't compile a graph."""
        from pymc_sgmcmc.engines.numba.functions import numba_function

        numba_function(program)


@settings
class Auto(EngineSettings):
    """Whichever of the two is expected to end the run first, of those that can compile it."""

    name: ClassVar[str] = "auto"
    title: ClassVar[str] = "JAX or Numba"

    def require(self) -> None:
        """Raise an error where JAX can't run: it is tried first."""
        refuse_forked_jax()

    @property
    def candidates(self) -> Sequence[OneEngine]:
        """JAX first: its warm-up is the faster one. Several processes have it alone."""
        return (JAX(),) if processes.count() > 1 else (JAX(), Numba())

    def choose(
        self, size: int, batch_numbers: int, chains: int, updates: int, convolves: bool
    ) -> Sequence[OneEngine]:
        """Give both, the faster one first."""
        if processes.count() > 1:
            return self.candidates
        faster = faster_engine(size, batch_numbers, chains, updates, convolves)
        return sorted(self.candidates, key=lambda engine: engine.name != faster)


def resolve_engine(name: str, engine: Any) -> EngineSettings:
    """Take the `engine` argument of a step, a name or the settings of one.

    Raises
    ------
    ValueError
        If it is neither; the message says what to write.
    """
    if not isinstance(engine, EngineSettings):
        named = {cls.name: cls for cls in (Auto, JAX, Numba)}
        own = ", or JAX(...) or Numba() of pymc_sgmcmc"
        engine = named[one_of(name, engine, tuple(named), otherwise=own)]()
    return Numba() if engine == Auto() and not _has_jax() else engine


def _reading(engine: Engine, potential: StochasticPotential) -> Engine:
    """Engine that reads its rows, where they are stored."""
    if potential.stored is None:
        return engine
    from pymc_sgmcmc.engines.read_ahead import ReadAhead

    return ReadAhead(engine, potential)


def _has_jax() -> bool:
    # Not imported to see: that takes a while. None is what a module is that may not be imported.
    if "jax" in sys.modules:
        return sys.modules["jax"] is not None
    return importlib.util.find_spec("jax") is not None
