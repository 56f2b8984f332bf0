"""The demo proves what it says, and can fail."""

from __future__ import annotations

import csv
import subprocess
from pathlib import Path

from config.sample_sheet import distinct_definitions, write_sample_sheet
from config.settings import known_names
from tests.docs.pages import ROOT
from tests.house import BIN, environment, needs, run


def test_the_demo_runs_every_definition_of_a_sheet_exactly_once(tmp_path: Path) -> None:
    needs("make")
    sheet = write_sample_sheet(tmp_path / "my runs.csv", 300)
    # As a user types it, but with what runs this test, whatever is installed in the checkout; in a
    # terminal that is set to use a porch, which the demo must leave alone.
    elsewhere = dict.fromkeys(known_names(), "/no/such/place")
    words = (f"INPUT={sheet}", "KEY=BioSample,LibraryStrategy")
    ours = (f"BIN={BIN}", "--old-file=.venv/.installed")
    done = subprocess.run(
        ["make", "demo", *words, *ours],
        cwd=ROOT,
        env=environment(elsewhere),
        timeout=120,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "porch demo: my runs.csv" in done.stdout
    assert "every definition ran exactly once" in done.stdout
    assert "WRONG" not in done.stdout


def test_the_demo_counts_definitions_by_the_columns_of_the_key(tmp_path: Path) -> None:
    sheet = write_sample_sheet(tmp_path / "runs.csv", 10)
    assert distinct_definitions(sheet, ["Run"]) == 10
    assert distinct_definitions(sheet, ["BioSample"]) == 5


def test_the_made_up_sheet_is_the_same_each_time(tmp_path: Path) -> None:
    first = write_sample_sheet(tmp_path / "1.csv", 50).read_text()
    assert first == write_sample_sheet(tmp_path / "2.csv", 50).read_text()


def test_an_unknown_column_of_the_key_is_refused_with_the_ones_there_are(tmp_path: Path) -> None:
    sheet = write_sample_sheet(tmp_path / "runs.csv", 5)
    done = run("porch-server", "demo", "--input", str(sheet), "--key", "Runn")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "Runn" in done.stderr
    assert "Run" in done.stderr.replace("Runn", "")


def test_the_real_sheet_has_as_many_definitions_as_is_known(sra: Path) -> None:
    assert distinct_definitions(sra, ["Run", "LibraryLayout", "Platform"]) == 6_889
    assert distinct_definitions(sra, ["BioSample", "LibraryStrategy"]) == 6_777
    with sra.open(newline="") as file:
        assert sum(1 for _ in csv.DictReader(file)) == 6_889
