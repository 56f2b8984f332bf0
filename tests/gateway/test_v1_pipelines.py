"""/pipelines as npg_porch has it: what can be run, and tokens for it."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from tests.factories import unique
from tests.gateway.conftest import http
from tests.gateway.npg import URI, a_task, detail, full
from tests.house import House, User


def new(**fields: Any) -> dict[str, Any]:
    return {"name": unique("p"), "uri": "https://example.org/new", "version": "0.3.14", **fields}


class TestRegistering:
    def test_a_new_pipeline_is_201_and_told_back(self, admin: httpx.Client) -> None:
        wanted = new()
        reply = admin.post("/pipelines", json=wanted)
        assert (reply.status_code, reply.json()) == (201, wanted)

    @pytest.mark.parametrize("change", [{}, {"version": "2"}, {"uri": "https://else.org"}])
    def test_a_name_that_is_taken_is_409(self, admin: httpx.Client, change: dict[str, str]) -> None:
        wanted = new()
        admin.post("/pipelines", json=wanted)
        again = admin.post("/pipelines", json={**wanted, **change})
        assert detail(again, 409) == "Pipeline already exists"

    @pytest.mark.parametrize("left_out", ["name", "uri", "version"])
    @pytest.mark.parametrize("null", [True, False])
    def test_what_is_missing_is_400(self, admin: httpx.Client, left_out: str, null: bool) -> None:
        wanted = new()
        del wanted[left_out]
        reply = admin.post("/pipelines", json={**wanted, left_out: None} if null else wanted)
        assert detail(reply, 400) == "Pipeline must specify a name and URI and version"

    def test_an_unknown_field_is_422(self, admin: httpx.Client) -> None:
        (fault,) = detail(admin.post("/pipelines", json=new(url="https://example.org")), 422)
        assert fault["loc"] == ["body", "url"]

    @pytest.mark.parametrize("body", ["{", "[]", '"text"', ""])
    def test_what_is_no_object_is_422(self, admin: httpx.Client, body: str) -> None:
        assert admin.post("/pipelines", content=body).status_code == 422

    def test_a_pipelines_token_registers_none(self, owner: httpx.Client) -> None:
        assert "admin token" in detail(owner.post("/pipelines", json=new()), 403)


class TestLooking:
    def test_anybody_sees_all(self, anybody: httpx.Client, user: User) -> None:
        assert full(user) in anybody.get("/pipelines").json()

    def test_they_are_filtered_by_uri_and_version(
        self, anybody: httpx.Client, admin: httpx.Client
    ) -> None:
        uri = f"https://example.org/{unique('u')}"
        first, second = new(uri=uri), new(uri=uri, version="2")
        for one in (first, second):
            admin.post("/pipelines", json=one)

        def found(**given: str) -> Any:
            return anybody.get("/pipelines", params=given).json()

        assert found(uri=uri) == sorted([first, second], key=lambda one: str(one["name"]))
        assert found(uri=uri, version="2") == [second]
        assert found(uri=uri, version="none") == []

    @pytest.mark.parametrize("slash", ["", "/"])
    def test_one_is_found_by_name(self, anybody: httpx.Client, user: User, slash: str) -> None:
        reply = anybody.get(f"/pipelines/{user.pipeline}{slash}")
        assert (reply.status_code, reply.json()) == (200, full(user))

    def test_one_that_is_none_is_404(self, anybody: httpx.Client) -> None:
        words = detail(anybody.get("/pipelines/not here"), 404)
        assert words == "Pipeline 'not here' not found"

    def test_a_name_that_can_be_none_is_422(self, anybody: httpx.Client) -> None:
        assert anybody.get("/pipelines/a%00b").status_code == 422

    def test_of_several_versions_the_newest_is_told_or_the_one_asked_for(
        self, house: House, anybody: httpx.Client
    ) -> None:
        with User(house, "1.0", "2.0") as user:
            assert anybody.get(f"/pipelines/{user.pipeline}").json() == full(user, "2.0")
            old = anybody.get("/pipelines", params={"uri": URI, "version": "1.0"}).json()
            assert full(user, "1.0") in old


class TestTokens:
    def test_an_administrator_issues_one_that_works(
        self, house: House, admin: httpx.Client, user: User
    ) -> None:
        reply = admin.post(f"/pipelines/{user.pipeline}/token/for the night shift")
        assert reply.status_code == 201
        told = reply.json()
        assert told.keys() == {"name", "description", "token"}
        assert (told["name"], told["description"]) == (user.pipeline, "for the night shift")
        assert re.fullmatch("[0-9a-f]{32}", told["token"])
        with http(house, told["token"]) as client:
            assert client.post("/tasks", json=a_task(user)).status_code == 201

    def test_each_is_another(self, admin: httpx.Client, user: User) -> None:
        path = f"/pipelines/{user.pipeline}/token/same words"
        assert len({admin.post(path).json()["token"] for _ in range(3)}) == 3

    def test_of_a_pipeline_that_is_none_is_404(self, admin: httpx.Client) -> None:
        reply = admin.post("/pipelines/not here/token/words")
        assert detail(reply, 404) == "Pipeline 'not here' not found"

    def test_a_pipelines_token_issues_none_also_for_its_own(
        self, owner: httpx.Client, user: User
    ) -> None:
        reply = owner.post(f"/pipelines/{user.pipeline}/token/words")
        assert "admin token" in detail(reply, 403)
