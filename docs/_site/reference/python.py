"""The Python client: what `porch_client` gives out and gets back, with its docstrings."""

from __future__ import annotations

import inspect
from dataclasses import is_dataclass

import porch_client
from _site.reference.writing import fenced
from porch_client import errors, model, overview


def markdown() -> str:
    """A section for each kind of class."""
    tree = (inspect.getdoc(errors) or "").split("\n\n")[1]
    return "\n".join(
        [
            "## Porch\n",
            _documented("Porch", "porch_client", ":inherited-members:"),
            "## Claimed\n",
            _documented("Claimed", "porch_client"),
            "## What you give and get\n",
            *(_documented(name, module) for name, module in nouns()),
            "## Errors\n",
            fenced(tree),
            *(_documented(name, errors.__name__, directive="autoexception") for name in kinds()),
        ]
    )


def nouns() -> list[tuple[str, str]]:
    """The classes of what is given and got, each with where to import it from."""
    return [
        (name, "porch_client" if name in porch_client.__all__ else module.__name__)
        for module in (model, overview)
        for name, named in vars(module).items()
        if is_dataclass(named) and named.__module__ == module.__name__
    ]


def kinds() -> list[str]:
    """The classes of errors, each after that which it is a kind of."""
    return [
        name
        for name, named in vars(errors).items()
        if inspect.isclass(named) and issubclass(named, errors.PorchError)
    ]


def _documented(name: str, module: str, *options: str, directive: str = "autoclass") -> str:
    lines = (":members:", ":exclude-members: from_wire, as_wire", *options)
    told = "".join(f"   {line}\n" for line in lines)
    return fenced(f".. {directive}:: {module}.{name}\n{told}", "{eval-rst}")
