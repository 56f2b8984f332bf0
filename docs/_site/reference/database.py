"""The tables, from the schema that migrations are held to."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from sqlalchemy import CheckConstraint, Column, ForeignKeyConstraint, Table, UniqueConstraint
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex

from _site.reference.raised import ROOT
from _site.reference.writing import code, prose, table
from db.schema import metadata

_DIALECT = postgresql.dialect()
#: What makes a column in the schema's code.
_COLUMNS = {"Column", "_now"}


def markdown() -> str:
    """A section for each table, in the order in which they are defined."""
    comments = _comments()
    return "\n".join(_section(of, comments) for of in metadata.tables.values())


def _section(of: Table, comments: dict[str, str]) -> str:
    primary = {column.name for column in of.primary_key}
    columns = (
        (
            code(column.name),
            _type(column, column.name in primary),
            prose(comments.get(f"{of.name}.{column.name}", "")),
        )
        for column in of.columns
    )
    parts = [
        f"## {of.name}\n",
        f"{prose(comments[of.name])}\n",
        table(("column", "is", "what it is"), columns),
        table(("constraint", "holds"), sorted(_constraints(of))),
    ]
    return "\n".join(parts)


def _type(column: Column[object], primary: bool) -> str:
    words = str(column.type.compile(_DIALECT)).lower()
    if primary:
        return f"{words}, primary key"
    return words if column.nullable else f"{words}, not null"


def _constraints(of: Table) -> Iterator[tuple[str, str]]:
    for constraint in of.constraints:
        name = code(str(constraint.name))
        if isinstance(constraint, CheckConstraint):
            yield name, code(str(constraint.sqltext))
        elif isinstance(constraint, UniqueConstraint):
            yield name, f"unique: {code(', '.join(constraint.columns.keys()))}"
        elif isinstance(constraint, ForeignKeyConstraint):
            to = ", ".join(element.target_fullname for element in constraint.elements)
            yield name, f"{code(', '.join(constraint.columns.keys()))} is in {code(to)}"
    for index in of.indexes:
        said = str(CreateIndex(index).compile(dialect=_DIALECT)).partition(" USING ")[0]
        said = said.partition(f"{of.schema}.{of.name} ")[2] or said
        yield code(str(index.name)), f"{'unique ' if index.unique else ''}index: {code(said)}"


def _comments() -> dict[str, str]:
    """By table, and by table and column, the comment above it in the schema's code."""
    text = (ROOT / "db" / "schema.py").read_text(encoding="utf-8")
    lines = text.splitlines()
    found = {}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Table":
            name = ast.literal_eval(node.args[0])
            found[name] = " ".join(reversed(list(_above(lines, node.lineno - 1))))
            for made in node.args[2:]:
                if isinstance(made, ast.Call) and getattr(made.func, "id", "") in _COLUMNS:
                    said = " ".join(reversed(list(_above(lines, made.lineno - 1))))
                    found[f"{name}.{ast.literal_eval(made.args[0])}"] = said
    return found


def _above(lines: list[str], number: int) -> Iterator[str]:
    while lines[number - 1].strip().startswith("#"):
        number -= 1
        yield lines[number].strip().lstrip("# ")
