"""The settings of the embedded PostgreSQL: of all memory, a share that leaves others theirs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from config import postgres_settings

GB = 1 << 30


@pytest.fixture
def limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which a control group says how much memory it allows, on a machine of 64 GB."""
    machine = SimpleNamespace(total=64 * GB)
    monkeypatch.setattr(postgres_settings.psutil, "virtual_memory", lambda: machine)
    path = tmp_path / "memory.max"
    monkeypatch.setattr(postgres_settings, "_LIMITS", (path,))
    return path


def shared_buffers() -> str:
    return postgres_settings.postgres_settings(5432)["shared_buffers"]


def test_a_large_machine_gives_no_more_than_helps(limit: Path) -> None:
    assert shared_buffers() == "4096MB"


def test_a_container_counts_what_it_may_use(limit: Path) -> None:
    limit.write_text(f"{8 * GB}\n")
    assert shared_buffers() == "1024MB"


def test_a_container_without_a_limit_has_the_machine(limit: Path) -> None:
    limit.write_text("max\n")
    assert postgres_settings.memory() == 64 * GB


def test_a_small_machine_gives_what_postgresql_needs(limit: Path) -> None:
    limit.write_text(str(GB // 2))
    assert shared_buffers() == "128MB"
