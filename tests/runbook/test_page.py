"""The page itself: alerts and the doctor name its sections, and its words are theirs."""

from __future__ import annotations

import re
from pathlib import Path

from tests.runbook import page

ROOT = page.PAGE.parents[1]


def test_it_has_a_section_for_every_anchor() -> None:
    assert list(page.sections())[1:] == list(page.ANCHORS)


def test_every_anchor_that_the_code_names_is_there() -> None:
    found = set()
    for path in [*Path(ROOT / "config").glob("*.py"), *Path(ROOT / "db").glob("*.py")]:
        found |= set(re.findall(r'"([a-z]+-[a-z-]+)"', path.read_text())) & set(page.ANCHORS)
    assert found == set(page.ANCHORS) - {"refusals-rising"}


def test_it_names_a_cause_by_the_words_of_its_table_only() -> None:
    assert page.named("all is well: FAILED PENDING ok") == set()
    assert page.named("- the broker is away: x") == {"broker-away"}
    assert page.named("see docs/runbook.md#disk-full)") == {"disk-full"}


def test_links_within_it_lead_somewhere() -> None:
    links = set(re.findall(r"\]\(#([\w-]+)\)", page.PAGE.read_text()))
    assert links <= set(page.ANCHORS)
