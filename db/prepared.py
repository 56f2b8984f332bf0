"""Statements that a session plans once, and arrays in the form that PostgreSQL reads fastest.

Ours are long: for a few rows, PostgreSQL takes longer to plan one than to carry it out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, CursorResult, text

#: Rows up to which the plan for any number of them is a good one for these.
FEW = 100

_PARAMETER = re.compile(r"(?<!:):(\w+)")
#: What is known of a session: whether it is ours alone, and what it has prepared.
_OURS = "porch_own_session"
_PREPARED = "porch_prepared"


class Prepared:
    """A statement with parameters as ``:name``, whose types are known from where they stand.

    Sessions that a pooler such as PgBouncer hands from one client to the next prepare nothing.
    """

    def __init__(self, name: str, statement: str) -> None:
        names = list(dict.fromkeys(_PARAMETER.findall(statement)))
        numbers = {parameter: f"${n}" for n, parameter in enumerate(names, 1)}
        self.statement = text(statement)
        self.name = name
        self._prepare = f"PREPARE {name} AS {_PARAMETER.sub(lambda m: numbers[m[1]], statement)}"
        self._execute = text(f"EXECUTE {name} ({', '.join(f':{p}' for p in names)})")
        self.names = names

    def execute(
        self, connection: Connection, values: Mapping[str, Any], rows: int = 1
    ) -> CursorResult[Any]:
        """Carry it out; ``rows``: about how many it is given, or takes. Lists become arrays."""
        given = self.given(values)
        if rows > FEW or not _is_ours(connection):
            return connection.execute(self.statement, given)
        prepared: set[str] = connection.info.setdefault(_PREPARED, set())
        if self.name not in prepared:
            connection.exec_driver_sql(self._prepare)
            prepared.add(self.name)
        return connection.execute(self._execute, given)

    def given(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Of ``values``, those that are parameters; lists as arrays."""
        return {name: _literal(values[name]) for name in self.names}


def _is_ours(connection: Connection) -> bool:
    """Whether the session's backend is the one that we were told of when we connected.

    A pooler tells its clients of backends that do not exist.
    """
    info = connection.info
    if _OURS not in info:
        told = connection.connection.driver_connection.info.backend_pid  # type: ignore[union-attr]
        info[_OURS] = told == connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
    ours: bool = info[_OURS]
    return ours


def _literal(value: Any) -> Any:
    return array(value) if isinstance(value, list) else value


def array(values: Iterable[Any]) -> str:
    """An array as PostgreSQL writes it: of None, bool, int, str, bytes or datetime.

    Source: https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO
    """
    values = list(values)
    return "{" + (_texts(values) or ",".join(map(_element, values))) + "}"


def _texts(values: list[Any]) -> str | None:
    """The elements, if all are texts, as most of what is registered is: escaped in one go.

    They are joined by the character that PostgreSQL cannot hold; None where one has it.
    """
    if not values or any(type(value) is not str for value in values):
        return None
    joined = "\0".join(values)
    if joined.count("\0") != len(values) - 1:
        return None
    return '"' + joined.replace("\\", "\\\\").replace('"', '\\"').replace("\0", '","') + '"'


def _element(value: Any) -> str:
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f'"\\\\x{value.hex()}"'
    if isinstance(value, datetime):
        return f'"{value.isoformat()}"'
    return str(value)
