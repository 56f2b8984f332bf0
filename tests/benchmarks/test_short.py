"""The short form of ``python -m benchmarks``: it runs, loses nothing, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import psycopg2
import pytest
import redis

from config.embedded import EmbeddedUrls

ROOT = Path(__file__).parents[2]


@dataclass
class Run:
    """What a run printed, the files it wrote, and what it found on the servers."""

    said: subprocess.CompletedProcess[str]
    folder: Path
    found: set[str]

    @property
    def kept(self) -> dict[str, Any]:
        (file,) = self.folder.glob("*.json")
        kept: dict[str, Any] = json.loads(file.read_text())
        return kept


def on(servers: EmbeddedUrls) -> set[str]:
    """The databases there are, and the broker's logical ones that are not empty, but for its first
    one, where others' answers expire."""
    plain = servers.database_url.replace("+psycopg2", "")
    with closing(psycopg2.connect(plain)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT datname FROM pg_database")
        databases = {name for (name,) in cursor.fetchall()}
    with closing(redis.Redis.from_url(servers.broker_url)) as broker:
        return databases | (set(broker.info("keyspace")) - {"db0"})


@pytest.fixture(scope="module")
def run(servers: EmbeddedUrls, scratch: Callable[[str], Path]) -> Run:
    folder = scratch("benchmarks")
    found = on(servers)
    said = subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks", "--short", "--rounds", "1"),
            *("--without-peers", "--results", str(folder)),
        ],
        cwd=ROOT,
        env={
            **os.environ,
            "PORCH_DATABASE_URL": servers.database_url,
            "PORCH_BROKER_URL": servers.broker_url,
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert said.returncode == 0, said.stdout + said.stderr
    return Run(said, folder, found)


def test_both_doors_are_measured_beside_what_bounds_them(run: Run) -> None:
    measured: dict[str, set[str]] = {}
    for one in run.kept["measured"]:
        measured.setdefault(one["work"], set()).add(one["contestant"])
    assert measured == {
        "bulk": {"queue", "http", "sql", "copy"},
        "single": {"queue", "http", "pgbench", "noop"},
        "claim": {"queue", "http", "pgbench"},
        "life": {"queue", "http", "pgbench"},
        "footprint": {"queue", "http", "noop"},
    }
    assert run.kept["out"] == []


def test_nothing_is_lost_refused_or_handed_out_twice(run: Run) -> None:
    assert [one for one in run.kept["measured"] if one["flaws"]] == []
    assert all(one["value"] > 0 for one in run.kept["measured"])


def test_the_file_says_what_was_measured_and_where(run: Run) -> None:
    assert run.kept["machine"]["cores"] == os.cpu_count()
    assert run.kept["versions"].keys() >= {"postgresql", "broker", "celery", "porch-coordinator"}


def test_every_work_has_a_table_and_a_picture(run: Run) -> None:
    for work in ("bulk", "single", "claim", "life"):
        (picture,) = run.folder.glob(f"*-{work}.svg")
        assert ElementTree.parse(picture).getroot().tag.endswith("svg")
        assert str(picture) in run.said.stdout
    assert "What must hold" in run.said.stdout


def test_the_servers_are_left_as_they_were(run: Run, servers: EmbeddedUrls) -> None:
    assert on(servers) == run.found
