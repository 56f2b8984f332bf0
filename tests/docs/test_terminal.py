"""What is taken for the output that a page shows, and what is not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.docs.pages import Snippet
from tests.docs.terminal import Terminals, shows


@pytest.mark.parametrize(
    ("page", "output"),
    [
        ("4 claimed  3 DONE", "x\n  4 claimed 3 DONE  1 FAILED\n"),
        ("first\n...\nlast", "first\nsecond\nlast\n"),
        ("{...}", '{"a": 1}'),
        ("at 127.0.0.1:8080", "at 127.0.0.1:31999"),
        ("16:00:00  -> PENDING  host a", "09:59:01  -> PENDING  host b"),
    ],
)
def test_what_differs_from_time_to_time_is_the_same(page: str, output: str) -> None:
    assert shows(page, output)


@pytest.mark.parametrize(
    ("page", "output"),
    [
        ("4 claimed  3 DONE", "4 claimed  2 DONE"),
        ("first\nlast", "last\nfirst"),
        ("a line", ""),
        ("...", "what a page shows must have a word"),
        ("exit 1: x", "exit 2: x"),
    ],
)
def test_what_is_different_is_not(page: str, output: str) -> None:
    assert not shows(page, output)


def snippet(language: str, text: str, mark: str = "") -> Snippet:
    return Snippet("page.md", abs(hash((language, text))), language, text, mark, "")


def test_one_shell_is_typed_into_and_others_begin_where_it_is(tmp_path: Path) -> None:
    page = [
        snippet("sh", "WORD=here\nmkdir deep\ncd deep\ntest -t 1\n"),
        snippet("sh", "pwd; echo $WORD; exec sleep 1000\n", "until Ctrl-C"),
        snippet("text", ".../deep\nhere\n"),
        snippet("sh", "pwd; echo ${WORD-nothing}; sleep 1000\n", "in a terminal of its own"),
        snippet("text", f"{tmp_path}\nnothing\n"),
        snippet("python", "import os\nprint('here', 'again')\n"),
        snippet("text", "here again\n"),
    ]
    with Terminals(tmp_path, os.environ) as terminals:
        typed = terminals.type_page(page)
    assert [one.snippet.language for one in typed] == ["sh", "sh", "sh", "python"]


@pytest.mark.parametrize("text", ["false\ntrue\n", 'echo "$UNSET_WORD"\n', "no-such-command\n"])
def test_a_snippet_that_fails_is_told(tmp_path: Path, text: str) -> None:
    with Terminals(tmp_path, os.environ) as terminals, pytest.raises(AssertionError, match="fails"):
        terminals.type_page([snippet("sh", text)])


def test_output_that_the_page_does_not_show_is_told(tmp_path: Path) -> None:
    with Terminals(tmp_path, os.environ) as terminals, pytest.raises(AssertionError, match="shows"):
        terminals.type_page([snippet("sh", "echo one\n"), snippet("text", "two\n")])
