"""What a submission would find, told without submitting."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.gateway.lines import NDJSON, posted, written
from tests.house import User

KNOWN = {"id_run": 1, "sample": {"name": "NA12878", "lanes": [1, 2]}, "paired": True, "depth": 30.5}


def preview(client: httpx.Client, user: User, *sent: Any, **query: Any) -> list[dict[str, Any]]:
    """How definitions would be found in the user's pipeline."""
    return posted(client, "/preview", written(sent), params={"pipeline": user.pipeline, **query})


def test_which_are_new_is_told_and_none_is_registered(anybody: httpx.Client, user: User) -> None:
    (key,) = user.register(KNOWN)
    same = dict(reversed(KNOWN.items()))
    answers = preview(anybody, user, {"id_run": 2}, same, [], {"id_run": 2})
    assert [answer.get("new") for answer in answers] == [True, False, None, True]
    assert [answer["position"] for answer in answers] == [0, 1, 2, 3]
    assert answers[1] == {"position": 1, "task_input_id": key, "new": False, "status": "PENDING"}
    assert answers[2]["error"]["code"] == "not_an_object"
    assert user.inputs() == [KNOWN]


@pytest.mark.parametrize(
    ("changed", "differs", "paths"),
    [
        ({"id_run": "1"}, "type", ["$.id_run"]),
        ({"paired": "true"}, "type", ["$.paired"]),
        ({"id_run": "1", "depth": "30.5", "paired": "true"}, "type", None),
        ({"sample": {"name": "NA12878", "lanes": [1, "2"]}}, "type", ["$.sample.lanes[1]"]),
        ({"id_run": 2}, "value", ["$.id_run"]),
        ({"paired": 1}, "value", ["$.paired"]),
        ({"id_run": None}, "value", ["$.id_run"]),
        ({"sample": {"name": "NA1", "lanes": [1, 2]}}, "value", ["$.sample.name"]),
        ({"library": "PCR"}, "value", ["$.library"]),
    ],
)
def test_the_nearest_of_a_new_one_differs_in_a_value_or_its_type(
    anybody: httpx.Client, user: User, changed: dict[str, Any], differs: str, paths: list[str]
) -> None:
    (key,) = user.register(KNOWN)
    (answer,) = preview(anybody, user, {**KNOWN, **changed}, nearest=True)
    near = answer["nearest"]
    assert answer["new"]
    assert (near["differs"], near["task"]["task_input_id"]) == (differs, key)
    assert near["paths"] == (paths or ["$.id_run", "$.paired", "$.depth"])


def test_where_nothing_is_near_it_is_told_among_how_many_that_was_sought(
    anybody: httpx.Client, user: User
) -> None:
    user.register(KNOWN, {"id_run": 5})
    (far,) = preview(anybody, user, {**KNOWN, "id_run": 7, "paired": False}, nearest=True)
    assert (far["nearest"], far["compared"], far["complete"]) == (None, 2, True)
    (known,) = preview(anybody, user, KNOWN, nearest=True)
    assert "nearest" not in known


def test_what_only_differs_in_type_comes_before_what_differs_in_a_value(
    anybody: httpx.Client, user: User
) -> None:
    twin, _ = user.register({"id_run": 1, "lane": 2}, {"id_run": "1", "lane": 3})
    (answer,) = preview(anybody, user, {"id_run": "1", "lane": 2}, nearest=True)
    assert answer["nearest"]["task"]["task_input_id"] == twin


def test_whose_pipeline_it_is_must_be_said(anybody: httpx.Client, owner: httpx.Client) -> None:
    refused = anybody.post("/api/v2/tasks/preview", content=b"{}", headers=NDJSON)
    assert (refused.status_code, refused.json()["code"]) == (422, "bad_request")
