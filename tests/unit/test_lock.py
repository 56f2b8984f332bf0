"""requirements.lock is made of constraints.txt, and has a hash of everything in it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]


def locked() -> dict[str, tuple[str, list[str]]]:
    """What is locked: by name, its version, and the hashes of its files."""
    found: dict[str, tuple[str, list[str]]] = {}
    name = ""
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        if pin := re.match(r"([a-z0-9-]+)==(\S+)", line):
            name = pin[1]
            found[name] = (pin[2], [])
        elif digest := re.match(r"    --hash=sha256:([0-9a-f]{64})\b", line):
            found[name][1].append(digest[1])
    return found


def test_the_lock_has_the_versions_of_the_constraints() -> None:
    versions = {name: version for name, (version, _) in locked().items()}
    wrong = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            pinned = Requirement(line)
            name = canonicalize_name(pinned.name)
            if name in versions and f"=={versions[name]}" != str(pinned.specifier):
                wrong[name] = (versions[name], str(pinned.specifier))
    assert wrong == {}, "make lock"


def test_the_lock_has_all_that_the_two_distributions_name() -> None:
    named = set()
    for path in (ROOT / "pyproject.toml", ROOT / "client" / "pyproject.toml"):
        project = tomllib.loads(path.read_text())["project"]
        extras = project.get("optional-dependencies", {})
        for line in [
            *project["dependencies"],
            *(each for all_ in extras.values() for each in all_),
        ]:
            named.add(canonicalize_name(Requirement(line).name))
    assert named <= locked().keys(), "make lock"


def test_everything_has_hashes_and_nothing_comes_from_an_address() -> None:
    assert [name for name, (_, hashes) in locked().items() if not hashes] == []
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text
    assert "--index" not in text
