"""Which sets, splits, networks and scales each published table stands for.

The files are looked for in the folder that ``PYMC_SGMCMC_DATA`` names.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from benchmarks.networks.settings import OWN_NOISE, Network


@dataclass(frozen=True)
class Split:
    """Rows to learn from and rows to predict, standardised by the former.

    Attributes
    ----------
    X, y, X_test, y_test : ndarray
    scale : float
        What a unit of the standardised target is, in the units in which scores are published.
    """

    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    scale: float


@dataclass(frozen=True)
class Protocol:
    """How the figures of a published table were made.

    Attributes
    ----------
    about : str
    sets : callable
        Gives the names of the sets there are files of; what follows "/" is the network's.
    splits : callable
        Gives the number of splits of a set.
    load : callable
        Gives the split of a set and number.
    network : callable
        Gives the network of a set.
    settings : mapping
        `Settings` that differ from the usual ones.
    """

    about: str
    sets: Callable[[], list[str]]
    splits: Callable[[str], int]
    load: Callable[[str, int], Split]
    network: Callable[[str], Network]
    settings: Mapping[str, int] = field(default_factory=dict)

    def noise(self, name: str, method: str, asked: str | None = None) -> str:
        """Noise of a method's networks of a set: its own, what is asked, or the protocol's.

        Raises
        ------
        SystemExit
            If the protocol's networks have another head than `nn.regression` writes.
        """
        usual = self.network(name).head
        if usual == "standard normal":
            if asked is not None:
                raise SystemExit(
                    f"--noise {asked} is for the protocols pbp and bde; the networks of wiese have "
                    "one noise with the prior of their paper. Leave it out."
                )
            return usual
        return OWN_NOISE.get(method, asked or usual)

    def network_with(self, name: str, noise: str) -> Network:
        """Give the network of a set with this noise."""
        return replace(self.network(name), head=noise)


def data() -> Path:
    """Folder of the data sets."""
    folder = os.environ.get("PYMC_SGMCMC_DATA")
    if not folder:
        raise SystemExit("PYMC_SGMCMC_DATA names no folder; the data sets are looked for there.")
    return Path(folder)


def standardised(
    X: np.ndarray, y: np.ndarray, train: np.ndarray, test: np.ndarray, *, original: bool
) -> Split:
    """Split rows, and standardise both parts by the training rows.

    Parameters
    ----------
    X, y : ndarray
    train, test : ndarray of int
    original : bool
        Whether scores are on the scale of `y`, or on the standardised one.
    """
    X, y = X.astype("float64"), y.astype("float64")
    spread = X[train].std(0)
    X = (X - X[train].mean(0)) / np.where(spread > 0, spread, 1)
    scale = y[train].std()
    y = (y - y[train].mean()) / scale
    return Split(X[train], y[train], X[test], y[test], float(scale) if original else 1.0)


def _pbp_sets() -> list[str]:
    return sorted(path.stem for path in (data() / "uci").glob("*.npz"))


def _pbp_splits(name: str) -> int:
    return int(np.load(data() / "uci" / f"{name}.npz")["n_splits"])


def _pbp_split(name: str, number: int) -> Split:
    file = np.load(data() / "uci" / f"{name}.npz")
    train, test = file[f"train_{number}"], file[f"test_{number}"]
    return standardised(file["X"], file["y"], train, test, original=True)


def _pbp_network(name: str) -> Network:
    return Network(hidden=(100 if name == "protein" else 50,))


_WIESE = {
    "mile": ("sinusoidal", "izmailov", "regression2d", "airfoil", "diabetes", "forest_fire"),
    "uci": ("concrete", "energy", "yacht"),
}
_WIESE_HIDDEN = {"f1": (3,), "f2": (16, 16, 16)}


def _wiese_sets() -> list[str]:
    sets = [name for names in _WIESE.values() for name in names]
    return [f"{name}/{network}" for name in sets for network in _WIESE_HIDDEN]


def _wiese_split(name: str, number: int) -> Split:
    name = name.partition("/")[0]
    folder = next(folder for folder, names in _WIESE.items() if name in names)
    file = np.load(data() / folder / f"{name}.npz")
    indices = np.load(data() / "mile" / "wiese_splits.npz")
    train, test = indices[f"{name}_train_{number}"], indices[f"{name}_test_{number}"]
    return standardised(file["X"], file["y"], train, test, original=False)


def _wiese_network(name: str) -> Network:
    return Network(_WIESE_HIDDEN[name.partition("/")[2]], head="standard normal")


def _bde_split(name: str, number: int) -> Split:
    """Give the split of the paper's scripts: ``train_test_split(test_size=0.2, random_state=0)``.

    A linear regression has the RMSE on it that they print, 0.659863.
    """
    file = np.load(data() / "mile" / f"{name}.npz")
    rows = len(file["y"])
    order = np.random.RandomState(0).permutation(rows)
    test, train = np.split(order, [int(np.ceil(0.2 * rows))])
    return standardised(file["X"], file["y"], train, test, original=False)


PROTOCOLS = {
    "pbp": Protocol(
        "One hidden layer of 50 tanh (protein 100; theirs ReLU); original scale of the target",
        _pbp_sets,
        _pbp_splits,
        _pbp_split,
        _pbp_network,
    ),
    "wiese": Protocol(
        "f1: one hidden layer of 3, f2: three of 16, tanh, N(0, 1) weights, one noise; "
        "standardised target",
        _wiese_sets,
        lambda name: 1,
        _wiese_split,
        _wiese_network,
    ),
    "bde": Protocol(
        "Four hidden layers of 16 tanh (theirs ReLU), one noise; one split, five seeds; "
        "standardised target",
        lambda: ["airfoil"],
        lambda name: 5,
        _bde_split,
        lambda name: Network((16, 16, 16, 16)),
        {"mile_members": 10, "mile_warmup": 50_000, "mile_updates": 1_000, "mile_thinning": 10},
    ),
}
