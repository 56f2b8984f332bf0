"""Every block of code on every page is typed, read or compared, or says why it is not."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from tests.docs.pages import OWN_TESTS, PARSERS, ROOT, Snippet, pages, snippets

LANGUAGES = {"sh", "python", "text", "", *PARSERS}
MARKS = (
    "not run: ",
    "run by tests/",
    "checked by tests/",
    "in a terminal of its own",
    "until Ctrl-C",
)
RUNBOOK = {"commands", "look", "cure"}
EVERY = [snippet for page in pages() for snippet in snippets(page)]


@pytest.mark.parametrize("snippet", EVERY, ids=str)
def test_a_snippet_is_of_a_kind_that_somebody_runs_or_reads(snippet: Snippet) -> None:
    assert snippet.language in LANGUAGES
    if snippet.mark:
        known = snippet.mark.startswith(MARKS)
        assert known or (snippet.page == "docs/runbook.md" and snippet.mark in RUNBOOK)
    for test in snippet.tests:
        reads = Path(snippet.page).name in (ROOT / test).read_text()
        assert reads or snippet.mark.startswith("not run: "), f"{test} does not read it"
    if snippet.mark.startswith("not run: "):
        assert len(snippet.mark) > len("not run: a drawing") - 1
    elif snippet.is_data and not snippet.elsewhere:
        PARSERS[snippet.language](snippet.text)


def test_what_goes_on_in_its_terminal_is_seen_to_have_begun() -> None:
    for snippet, following in pairwise(EVERY):
        if snippet.lasting:
            assert (following.page, following.language) == (snippet.page, "text"), snippet


@pytest.mark.parametrize(("page", "test"), OWN_TESTS.items())
def test_a_page_with_a_test_of_its_own_is_read_by_it(page: str, test: str) -> None:
    folder = (ROOT / test).parent
    readers = [(ROOT / test).read_text(), *(path.read_text() for path in folder.glob("page.py"))]
    assert any(f'"{page}"' in reader and "snippets(" in reader for reader in readers)


def test_few_are_not_run() -> None:
    left_out = [str(one) for one in EVERY if one.mark.startswith("not run: ")]
    assert len(left_out) <= 20, left_out
