"""The units for systemd: without fault, shut in, and running what docker-compose.yml does."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from config.settings import refuse_unknown
from tests.deploy.engine import ROOT, configuration, project
from tests.house import BIN, needs

UNITS = sorted((ROOT / "docs" / "deploy" / "systemd").iterdir())
SERVICES = [unit for unit in UNITS if unit.suffix == ".service"]


def lines(unit: Path, key: str) -> list[str]:
    """The values of a key, in order."""
    return re.findall(rf"^{key}=(.*)$", unit.read_text(), re.MULTILINE)


def test_systemd_finds_no_fault(tmp_path: Path) -> None:
    analyze = needs("systemd-analyze", package="systemd")
    for unit in UNITS:
        # Where porch is installed on this machine: it looks for the program, too.
        text = unit.read_text().replace("/opt/porch/bin/", f"{BIN}/")
        (tmp_path / unit.name.replace("@.", "@submit.")).write_text(text)
        (tmp_path / unit.name).write_text(text)
    paths = [str(path) for path in sorted(tmp_path.iterdir()) if "@." not in path.name]
    done = subprocess.run(
        [analyze, "verify", "--man=no", "--recursive-errors=no", *paths],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert [line for line in done.stderr.splitlines() if "porch" in line] == []
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_a_service_is_shut_in(unit: Path) -> None:
    done = subprocess.run(
        # Of 100; what there is in porch that it must have, the network above all, is about 15.
        [
            needs("systemd-analyze", package="systemd"),
            "security",
            "--offline=true",
            "--threshold=20",
            unit,
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-300:]


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_secrets_are_credentials_and_every_setting_is_known(unit: Path) -> None:
    credentials = {line.partition(":")[0] for line in lines(unit, "LoadCredential")}
    settings = dict(
        word.split("=", 1) for line in lines(unit, "Environment") for word in line.split()
    )
    refuse_unknown(settings)
    files = {name: value for name, value in settings.items() if name.endswith("_URL_FILE")}
    assert {value.removeprefix("%d/") for value in files.values()} == credentials
    assert not [name for name in settings if name.endswith(("_URL", "_TOKEN"))]


def test_they_run_what_the_containers_run(scratch: Callable[[str], Path]) -> None:
    compose = configuration(project(scratch("units") / "porch"))["services"]
    contained = {
        tuple(service["command"][:2])
        for service in compose.values()
        if (service["command"] or [""])[0] == "porch-server"
    }
    run = set()
    for unit in SERVICES:
        (command,) = lines(unit, "ExecStart")
        program, part, *_ = shlex.split(command)
        run.add((Path(program).name, part))
    assert run == contained - {("porch-server", "doctor")}
