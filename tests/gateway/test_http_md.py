"""docs/http.md is run: every shell block, in order, in one shell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.docs.pages import snippets
from tests.docs.terminal import Terminals
from tests.house import House, environment, needs

PAGE = "docs/http.md"


def test_every_line_of_the_page_does_what_it_says(house: House, tmp_path: Path) -> None:
    needs("curl")
    env = {"GATEWAY": house.ready["gateway_url"], "ADMIN": house.ready["admin_token"]}
    with Terminals(tmp_path, environment(env)) as terminals:
        typed = terminals.type_page(snippets(PAGE))
    said = [answer for one in typed for answer in answers(one.output)]
    assert [line["created"] for line in said if "created" in line] == [True, True]
    assert [r["status"] for line in said for r in line.get("results", [])] == [
        *("CLAIMED", "FAILED", "PENDING", "CANCELLED")
    ]
    assert [line["released"] for line in said if "released" in line] == [1]
    assert [line.get("counts") for line in said if line.keys() == {"counts"}] == [
        {"CANCELLED": 1, "PENDING": 1}
    ]
    near = [line["nearest"]["differs"] for line in said if line.get("nearest")]
    assert near == ["type", "value"]
    assert said[-1]["code"] == "missing_token"


def answers(output: str) -> list[dict[str, Any]]:
    """The JSON objects in an output: what curl writes has no line of its own."""
    found, decode = [], json.JSONDecoder().raw_decode
    at = output.find("{")
    while at >= 0:
        answer, end = decode(output, at)
        found.append(answer)
        at = output.find("{", end)
    return found
