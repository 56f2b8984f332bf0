"""Workers of the release before the last migration go on working after it.

``statements_0005.json`` is what that release sent to PostgreSQL, recorded over every verb: each
statement once, and the steps, with the values that were given and how many rows came of it.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from config.doctor import examine

RECORDED = json.loads((Path(__file__).parent / "statements_0005.json").read_text())


def as_given(value: Any) -> Any:
    if isinstance(value, dict) and value.keys() == {"hex"}:
        return bytes.fromhex(value["hex"])
    if isinstance(value, dict) and value.keys() == {"time"}:
        return datetime.fromisoformat(value["time"])
    if isinstance(value, dict) and value.keys() == {"seconds"}:
        return timedelta(seconds=value["seconds"])
    if isinstance(value, list):
        return [as_given(one) for one in value]
    if isinstance(value, dict):
        return {name: as_given(one) for name, one in value.items()}
    return value


def connected(database_url: str) -> Any:
    connection = psycopg2.connect(database_url.replace("+psycopg2", ""))
    connection.autocommit = True
    return connection


def test_statements_of_the_release_before_do_what_they_did(database_url: str) -> None:
    connection = connected(database_url)
    with connection.cursor() as cursor:
        for number, step in enumerate(RECORDED["steps"]):
            statement = RECORDED["statements"][step["statement"]]
            cursor.execute(statement, as_given(step["parameters"]))
            assert cursor.rowcount == step["rows"], f"step {number}: {statement[:300]}"
    connection.close()
    assert examine(database_url).wrong == ()


@pytest.mark.parametrize("change", ["status = 'PENDING'", "status = 'CLAIMED'"])
def test_none_of_them_can_bring_back_what_has_no_input(database_url: str, change: str) -> None:
    connection = connected(database_url)
    with connection.cursor() as cursor:
        for step in RECORDED["steps"]:
            cursor.execute(RECORDED["statements"][step["statement"]], as_given(step["parameters"]))
        cursor.execute(
            "UPDATE porch.task SET task_input = NULL, pruned_at = now() WHERE status = 'DONE'"
        )
        assert cursor.rowcount > 0
        with pytest.raises(psycopg2.errors.CheckViolation, match="task_pruned_check"):
            cursor.execute(f"UPDATE porch.task SET {change} WHERE task_input IS NULL")
    connection.close()
