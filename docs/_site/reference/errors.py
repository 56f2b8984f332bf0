"""Every code with which porch refuses: what it means, who sees it how, and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from _site.reference.raised import ROOT, raised
from _site.reference.writing import code, prose, table
from config.settings import Misconfigured as SettingsWrong
from coordinator import errors as coordinators
from coordinator.gateway.problems import status_of
from porch_client import errors as clients
from porch_client.cli.door import exit_code
from porch_client.settings import SECRETS


@dataclass
class Code:
    """One code. ``told``: what is said of it, each with what to do."""

    name: str
    meaning: str
    exits: str
    http: str = ""
    told: list[tuple[str, str]] = field(default_factory=list)


def markdown() -> str:
    """A table of each kind."""
    return "\n".join(
        [
            "## Of the coordinator\n",
            "Whichever door a request came by: the broker, HTTP, or the page. The message of each "
            "says what of the request was wrong, and often a better cure than there can be here.\n",
            table(
                ("code", "means", "HTTP", "exit", "what to do"),
                (
                    (code(c.name), c.meaning, c.http, c.exits, prose(c.told[0][1]))
                    for c in of_the_coordinator()
                ),
            ),
            "## Of the client\n",
            "Before anything was sent, or when nothing came back. What differs from case to case "
            "stands in capitals. Where no exit code is told, the command goes on, or ends with one "
            "of its own.\n",
            _as_told(of_the_client(), "in Python"),
            "## Of porch-server\n",
            "When a server cannot start, or an operator's command cannot be carried out.\n",
            _as_told(of_the_server(), "means"),
        ]
    )


def of_the_coordinator() -> list[Code]:
    """The codes of ``coordinator.errors``, but for those that are only kinds of others."""
    return [
        Code(
            kind.code,
            prose(_meaning(kind)),
            str(exit_code(clients.from_wire({"code": kind.code}))),
            str(status_of(kind(""))),
            [("", kind.to_do)],
        )
        for kind in _all(coordinators.PorchError)
        if kind.__module__ == coordinators.__name__ and kind.to_do
    ]


def of_the_client() -> list[Code]:
    """The codes that ``porch_client`` has, with all that it says of each."""
    kinds = {kind.__name__: kind for kind in _all(clients.PorchError)}
    found: dict[str, Code] = {}
    for one in raised(("client/src",), kinds):
        name, message, cure = (*one.texts, "", "", "")[:3]
        if name.islower():
            error = kinds[one.kind](name, message, cure)
            exits = "" if one.kind == "PorchError" else str(exit_code(error))
            each = found.setdefault(name, Code(name, code(one.kind), exits))
            _tell(each, message, cure)
    for variable, name in SECRETS.items():
        each = found.setdefault(name, Code(name, code("Misconfigured"), "2"))
        _tell(each, f"cannot read {variable} from FILE: WHY", "give the right file")
    return [found[name] for name in sorted(found)]


def of_the_server() -> list[Code]:
    """The codes of whoever runs porch, with all that it says of each."""
    kinds = {
        kind.__name__: kind
        for path in sorted((ROOT / "config").glob("*.py"))
        if "(PorchError):" in path.read_text(encoding="utf-8")
        for kind in vars(import_module(f"config.{path.stem}")).values()
        if isinstance(kind, type) and issubclass(kind, coordinators.PorchError)
        if kind.__module__ == f"config.{path.stem}"
    }
    found = {
        kind.code: Code(kind.code, prose(_meaning(kind)), "2" if kind is SettingsWrong else "1")
        for kind in kinds.values()
    }
    for one in raised(("config",), kinds):
        message, cure = (*one.texts, "", "")[:2]
        _tell(found[kinds[one.kind].code], message, cure)
    return [found[name] for name in sorted(found)]


def _all(kind: type[Any]) -> Iterator[type[Any]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _all(below)


def _meaning(kind: type[Any]) -> str:
    return (kind.__doc__ or "").strip().split("\n\n")[0]


def _tell(each: Code, message: str, cure: str) -> None:
    if message and (message, cure) not in each.told:
        each.told.append((message, cure))


def _as_told(codes: list[Code], meaning: str) -> str:
    rows = ((code(each.name), each.meaning, each.exits, _said(each)) for each in codes)
    return table(("code", meaning, "exit", "what is said, and what to do"), rows)


def _said(each: Code) -> str:
    return "<br>".join(
        f"*{prose(message)}*" + (f": {prose(cure)}" if cure else "") for message, cure in each.told
    )
