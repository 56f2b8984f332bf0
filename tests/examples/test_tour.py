"""The tour, as a newcomer takes it."""

from __future__ import annotations

import re

from tests.examples.typed import Typist


def test_the_tour_comes_to_its_end_and_shows_what_it_tells(typist: Typist) -> None:
    state = {"PORCH_STATE_DIR": str(typist.user.house.state_dir)}
    done = typist.type("tour.sh", env=state)
    assert done.returncode == 0, done.stderr
    assert "RUNNING -> FAILED" in done.stdout
    assert "exit 1: bgzip: No space left on device" in done.stdout
    assert '{"DONE": 3}' in done.stdout
    assert "--reason 'there is room now'" in done.stdout  # as one would type it
    assert "attempt fences\n   it:" in done.stdout
    assert "exit 1: refused by a rule" in done.stdout
    said = re.sub(r" +", " ", done.stderr)
    assert "3 definitions 3 new" in said
    assert "3 definitions 0 new 3 known" in said
