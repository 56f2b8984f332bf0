"""Of tasks that are one definition here, which is kept: on disk, for there may be millions."""

from __future__ import annotations

import sqlite3
from contextlib import AbstractContextManager

_Key = tuple[int, str, bytes]

_ADD = """
    INSERT INTO kept VALUES (?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET rank = excluded.rank, task_id = excluded.task_id
    WHERE excluded.rank < kept.rank
"""


class Furthest(AbstractContextManager["Furthest"]):
    """A temporary file that is gone when it is closed, or its process."""

    def __init__(self) -> None:
        self._file = sqlite3.connect("")
        self._file.execute(
            "CREATE TABLE kept (pipeline INTEGER, scope TEXT, key BLOB, rank INTEGER,"
            " task_id INTEGER, PRIMARY KEY (pipeline, scope, key)) WITHOUT ROWID"
        )

    def add(self, key: _Key, rank: int, task_id: int) -> None:
        """Note a task; of several of one key the lowest rank is kept, of those the first."""
        self._file.execute(_ADD, (*key, rank, task_id))

    def of(self, key: _Key) -> int | None:
        """The task that is kept."""
        found = self._file.execute(
            "SELECT task_id FROM kept WHERE pipeline = ? AND scope = ? AND key = ?", key
        ).fetchone()
        return int(found[0]) if found else None

    def __exit__(self, *exception: object) -> None:
        self._file.close()
