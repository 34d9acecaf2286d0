"""What every method is run with: the same on all sets of a protocol, chosen by rows alone."""

from dataclasses import asdict, dataclass, replace
from typing import Any

# Methods that model the noise in one way only, whatever they are asked.
OWN_NOISE = {"ensemble": "input", "MILE": "input", "Laplace": "learned"}


@dataclass(frozen=True)
class Network:
    """A multilayer perceptron and its likelihood.

    Attributes
    ----------
    hidden : tuple of int
        Units of the hidden layers.
    activation : str
    head : {"input", "learned", "standard normal"}
        "input" and "learned" are the noise of ``nn.regression``; "standard normal" is the model of
        Wiese et al. (2023): N(0, 1) weights and biases, one half-normal noise.
    """

    hidden: tuple[int, ...]
    activation: str = "tanh"
    head: str = "learned"


@dataclass(frozen=True)
class Settings:
    """How long each method runs.

    Attributes
    ----------
    chains, draws, tune : int
        Of ATMC; from what ADVI fits, as many draws are taken.
    full_rows, minibatch : int
        ATMC takes all rows up to so many, and minibatches of so many above.
    mode_updates, advi_updates, ensemble_updates : int
        Steps of Adam: of MAP and Laplace and of ADVI on all rows, of the ensemble on minibatches.
    members, ensemble_batch, held_out
        Networks of the ensemble, rows of its minibatches, share of the rows that stop its training.
    nuts_chains, nuts_draws, nuts_tune, nuts_rows : int
        Of NUTS, and the greatest number of rows that it is given.
    mile_members, mile_warmup, mile_updates, mile_thinning : int
        Chains of MILE, updates of its warm-up and after, of which every so-manieth is kept; about
        as many in all as ATMC takes.
    """

    chains: int = 4
    draws: int = 200
    tune: int = 200
    full_rows: int = 2000
    minibatch: int = 500
    mode_updates: int = 20_000
    advi_updates: int = 20_000
    ensemble_updates: int = 20_000
    members: int = 10
    ensemble_batch: int = 100
    held_out: float = 0.1
    nuts_chains: int = 2
    nuts_draws: int = 300
    nuts_tune: int = 500
    nuts_rows: int = 1100
    mile_members: int = 4
    mile_warmup: int = 9_000
    mile_updates: int = 13_000
    mile_thinning: int = 13

    def batch_size(self, rows: int) -> int | None:
        """Rows of a minibatch of ATMC; None takes all."""
        return None if rows <= self.full_rows else self.minibatch

    def overridden(
        self, chains: int | None, draws: int | None, tune: int | None, updates: int | None
    ) -> "Settings":
        """Give other lengths, for a quick look."""
        lengths = {"chains": chains, "draws": draws, "tune": tune}
        lengths |= {f"nuts_{name}": value for name, value in lengths.items()}
        lengths |= {f"{name}_updates": updates for name in ("mode", "advi", "ensemble", "mile")}
        lengths |= {"mile_members": chains, "mile_warmup": updates}
        return replace(self, **{k: v for k, v in lengths.items() if v is not None})

    def as_json(self) -> dict[str, Any]:
        """Give what is written beside each result."""
        return asdict(self)
