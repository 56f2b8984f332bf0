"""Where the code refuses something: each code with the sentences and cures that go with it.

They are read from the calls that make the errors. What is filled in at run time stands in capitals.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class Raised:
    """One place where an error is made. What is not known before run time is empty."""

    kind: str
    texts: tuple[str, ...]


def raised(folders: tuple[str, ...], kinds: Mapping[str, object]) -> Iterator[Raised]:
    """Every call of one of these classes, by its name, in the code below the folders."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            known = _named_once(tree)
            for node in ast.walk(tree):
                if isinstance(node, ast.Call):
                    name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                    if name in kinds:
                        yield Raised(name, tuple(_text(word, known) for word in node.args))


def _named_once(tree: ast.Module) -> dict[str, ast.expr]:
    """What a module gives a name, anywhere in it, unless it gives that name to other things too."""
    given: dict[str, list[ast.expr]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            given.setdefault(node.targets[0].id, []).append(node.value)
    return {name: values[0] for name, values in given.items() if len(values) == 1}


def _text(node: ast.expr, known: Mapping[str, ast.expr]) -> str:
    """The text of an expression, as far as it is known; empty where nothing of it is."""
    if isinstance(node, ast.Constant):
        return str(node.value or "")
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(value, known) or _stand_in(value) for value in node.values)
    if isinstance(node, ast.FormattedValue):
        return _text(node.value, known)
    if isinstance(node, ast.IfExp):
        return _text(node.body, known)
    if isinstance(node, ast.Name) and node.id in known:
        rest = {name: value for name, value in known.items() if name != node.id}
        return _text(known[node.id], rest)
    return ""


def _stand_in(value: ast.expr) -> str:
    """A word in capitals for what is filled in: the name that it has in the code."""
    node = value.value if isinstance(value, ast.FormattedValue) else value
    while isinstance(node, ast.Subscript):
        node = node.value
    if isinstance(node, ast.Call):
        node = node.args[0] if node.args else node.func
    return str(getattr(node, "attr", getattr(node, "id", "..."))).strip("_").upper()
