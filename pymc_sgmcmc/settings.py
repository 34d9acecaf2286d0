"""How a setting is declared: once, with its default, its check and its text.

A class of settings is a frozen dataclass. What its fields say is all there is: the signature of a
step, its docstring, its checks and what the output records are made of them.
"""

import dataclasses
import inspect
import textwrap
from collections.abc import Callable
from typing import Any, dataclass_transform

Check = Callable[[str, Any], Any]
"""(name, value) → the value that stands, or an error that says what to write."""


def setting(default: Any, kind: str, text: str, check: Check | None = None) -> Any:
    """Declare a setting, as the field of a class of `settings`.

    Parameters
    ----------
    default : object
    kind : str
        What it may be, as numpydoc has it: ``"int, optional"``.
    text : str
        What it does; its indentation does not matter.
    check : callable, optional
        Of its name and a value, gives the value that stands or raises an error.
    """
    metadata = {"kind": kind, "text": inspect.cleandoc(text), "check": check}
    return dataclasses.field(default=default, metadata=metadata)


class Settings:
    """Base of classes of settings: each value is checked as its declaration says."""

    def __post_init__(self) -> None:
        for field in declared(type(self)):
            if check := field.metadata.get("check"):
                # In a frozen dataclass, this is how a value is put in order.
                object.__setattr__(self, field.name, check(field.name, getattr(self, field.name)))


@dataclass_transform(kw_only_default=True, frozen_default=True)
def settings[T](cls: type[T]) -> type[T]:
    """Make a class of settings, whose docstring lists them where it has ``{parameters}``."""
    made = dataclasses.dataclass(frozen=True, kw_only=True)(cls)
    text = inspect.cleandoc(made.__doc__ or "")
    made.__doc__ = text.replace("{parameters}", "\n".join(described(made)))
    return made


def declared(*classes: Any) -> list[dataclasses.Field]:
    """Fields of classes of settings, in their order."""
    return [field for cls in classes for field in dataclasses.fields(cls) if field.init]


def described(*classes: Any) -> list[str]:
    """Lines of a docstring that list what classes of settings declare."""
    lines = []
    for field in declared(*classes):
        kind = field.metadata.get("kind", getattr(field.type, "__name__", field.type))
        lines.append(f"{field.name} : {kind}")
        if text := field.metadata.get("text"):
            lines.append(textwrap.indent(text, "    "))
    return lines
