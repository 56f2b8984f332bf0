"""/versions as npg_porch 3.0 has it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.gateway.npg import URI, detail
from tests.house import House, User


def told(user: User, version: str) -> dict[str, Any]:
    return {"pipeline": {"name": user.pipeline, "uri": URI}, "version": version}


def test_a_pipelines_versions_are_listed_oldest_first(house: House, anybody: httpx.Client) -> None:
    with User(house, "10", "9") as user:
        reply = anybody.get(f"/versions/{user.pipeline}")
        assert (reply.status_code, reply.json()) == (200, [told(user, "10"), told(user, "9")])


def test_a_pipeline_that_is_none_has_none(anybody: httpx.Client) -> None:
    reply = anybody.get("/versions/not here")
    assert (reply.status_code, reply.json()) == (200, [])


@pytest.mark.parametrize("as_text", [True, False])
def test_a_new_version_is_201_and_then_409(owner: httpx.Client, user: User, as_text: bool) -> None:
    pipeline = user.pipeline if as_text else {"name": user.pipeline}
    wanted = {"pipeline": pipeline, "version": "2.0"}
    reply = owner.post("/versions", json=wanted)
    assert (reply.status_code, reply.json()) == (201, told(user, "2.0"))
    again = owner.post("/versions/", json=wanted)
    assert detail(again, 409) == "Version already exists for this pipeline"
    assert owner.get(f"/versions/{user.pipeline}").json() == [told(user, "1.0"), told(user, "2.0")]


def test_of_a_pipeline_that_is_none_it_is_404(owner: httpx.Client) -> None:
    reply = owner.post("/versions", json={"pipeline": {"name": "not here"}, "version": "1"})
    assert detail(reply, 404) == "Pipeline 'not here' not found"


def test_only_a_token_of_the_pipeline_will_do(
    house: House, anybody: httpx.Client, admin: httpx.Client, owner: httpx.Client
) -> None:
    with User(house) as other:
        wanted = told(other, "2.0")
        for client in (anybody, admin, owner):
            assert client.post("/versions", json=wanted).status_code == 403
        assert owner.get(f"/versions/{other.pipeline}").json() == [told(other, "1.0")]


@pytest.mark.parametrize(
    "change", [{"version": None}, {"version": ""}, {"pipeline": {}}, {"more": 1}, {"pipeline": 1}]
)
def test_what_has_not_the_shape_is_422(
    owner: httpx.Client, user: User, change: dict[str, Any]
) -> None:
    assert owner.post("/versions", json={**told(user, "2"), **change}).status_code == 422
