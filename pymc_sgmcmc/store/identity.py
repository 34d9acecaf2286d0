"""What a run is of: what must be the same for another call to go on with it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from pymc_sgmcmc import schedules
from pymc_sgmcmc.model.fingerprint import data_of, described, digest, structure
from pymc_sgmcmc.plan.plan import Plan
from pymc_sgmcmc.report.report import Report
from pymc_sgmcmc.run.starts import Point

_VERSION = "_version"
# Updates at which a schedule is tried.
_UPDATES = (0, *(2**k for k in range(21)))

Identity = dict[str, dict[str, Any]]


def identity(
    plan: Plan, report: Report, points: Sequence[Point], settings: Mapping[str, Any]
) -> Identity:
    """What a run is of, as JSON has it: variables, terms, data, labels, settings, packages.

    Parameters
    ----------
    plan : Plan
    report : Report
        Of the plan, before a run.
    points : sequence of mapping of str to ndarray
        Where the chains start.
    settings : mapping
        Those of `sample`.
    """
    model = plan.potential.model
    recorded = {k: _json(x) for k, x in report.attributes().items()}
    own = {k: _json(x) for k, x in settings.items()}
    shape = plan.settings.warmup.preconditioner
    if isinstance(shape, np.ndarray):
        recorded["preconditioner"] = _json(digest([shape]))
    graphs = [*((v.name, term) for v, term in plan.potential.terms.all()), *_named(model)]
    found: Identity = {
        "variables": {b.name: [list(b.shape), str(b.dtype)] for b in plan.potential.layout},
        "terms": {name: structure(graph) for name, graph in graphs},
        "data": data_of(model) | _rows(plan),
        "dims": {name: list(map(str, dims)) for name, dims in model.named_vars_to_dims.items()},
        "coords": {name: _json(digest([_labels(x)])) for name, x in model.coords.items() if x},
        "settings": {k: x for k, x in recorded.items() if not k.endswith(_VERSION)} | own,
        "schedule": {"values": [_factor(plan.schedule, update) for update in _UPDATES]},
        "starts": {
            b.name: _json(digest([np.stack([p[b.name] for p in points])]))
            for b in plan.potential.layout
        },
    }
    found["packages"] = {
        k.removesuffix(_VERSION): x for k, x in recorded.items() if k.endswith(_VERSION)
    }
    return found


_SAYS = {
    "variables": "the variable {name!r} {change}",
    "terms": "the law or formula of {name!r} {change}",
    "data": "the data {name!r} {change}",
    "dims": "the dims of {name!r} {change}",
    "coords": "the labels of {name!r} {change}",
    "settings": "{name} {change}",
    "schedule": "the schedule {change}",
    "starts": "the start of {name!r} {change}",
}
# What follows from another change need not be told as well.
_FOLLOWS = {"starts": ("variables", "settings")}


def differences(stored: Identity, now: Identity) -> list[str]:
    """Say what differs between two identities, a line for each."""
    found: dict[str, list[str]] = {}
    for kind, says in _SAYS.items():
        if any(found.get(other) for other in _FOLLOWS.get(kind, ())):
            continue
        changes = _changes(kind, stored.get(kind, {}), now[kind])
        found[kind] = [says.format(name=name, change=change) for name, change in changes]
    return [line for lines in found.values() for line in lines]


def other_packages(stored: Identity, now: Identity) -> list[str]:
    """Say which packages have another version."""
    return [f"{k} {x}" for k, x in _changes("packages", stored["packages"], now["packages"])]


def _changes(
    kind: str, stored: Mapping[str, Any], now: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    for name in dict.fromkeys([*stored, *now]):
        if name not in now:
            yield name, "is not there any more" if kind != "settings" else _was(stored[name], None)
        elif name not in stored:
            yield name, "is new" if kind != "settings" else _was(None, now[name])
        elif stored[name] != now[name]:
            yield name, _change(kind, stored[name], now[name])


def _change(kind: str, before: Any, after: Any) -> str:
    if kind == "data":
        (shape, dtype, _), (new_shape, new_dtype, _) = before, after
        if (shape, dtype) == (new_shape, new_dtype):
            return f"has other values, {tuple(shape)} {np.dtype(dtype)} as before"
        was, now = f"{tuple(shape)} {np.dtype(dtype)}", f"{tuple(new_shape)} {np.dtype(new_dtype)}"
        return f"was {was}, and is {now} now"
    if kind in ("settings", "packages", "dims", "variables"):
        return _was(before, after)
    return "is another one"


def _was(before: Any, after: Any) -> str:
    return f"was {before!r}, and is {after!r} now"


def _rows(plan: Plan) -> dict[str, list]:
    """Shape, dtype and checksum of rows that are not the model's; of some of those on disk."""
    rows = plan.potential.rows
    stored = None if rows is None else rows.stored
    if stored is None:
        return {}
    held = stored.held()
    if held is not None:
        return {name: described(x) for name, x in held.items()}
    found: Any = stored.fingerprint()
    return {name: [list(shape), dtype, checksum] for name, shape, dtype, checksum in found}


def _named(model: Any) -> Iterator[tuple[str, Any]]:
    return ((v.name, v) for v in model.deterministics)


def _labels(values: Any) -> np.ndarray:
    labels = np.asarray(values)
    return labels.astype(str) if labels.dtype.hasobject else labels


def _factor(schedule: schedules.Schedule, update: int) -> float | None:
    with suppress(ValueError):
        return float(schedules.factors(schedule, update, 1)[0])
    return None  # it has ended


def _json(value: Any) -> Any:
    if isinstance(value, tuple | list | np.ndarray):
        return [_json(x) for x in value]
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, bool | int | float):
        return value
    # Where a function lies in memory is nothing of it.
    return re.sub(r" at 0x[0-9a-f]+", "", str(value))
