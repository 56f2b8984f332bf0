"""Pipelines, versions, policies and tokens."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.factories import unique
from tests.gateway.conftest import http
from tests.house import House, User, wait_until


def pipeline(**fields: Any) -> dict[str, Any]:
    """What to register."""
    return {"name": unique("p"), "uri": "https://example.org/p", "version": "1", **fields}


def test_a_pipeline_is_made_once(admin: httpx.Client) -> None:
    wanted = pipeline()
    made, again = (admin.post("/api/v2/pipelines", json=wanted) for _ in range(2))
    assert (made.status_code, again.status_code) == (201, 200)
    assert made.json() == again.json()
    other = admin.post("/api/v2/pipelines", json={**wanted, "version": "2"})
    assert (other.status_code, other.json()["code"]) == (409, "pipeline_exists")


def test_a_version_is_added_once(admin: httpx.Client) -> None:
    path = f"/api/v2/pipelines/{admin.post('/api/v2/pipelines', json=pipeline()).json()['name']}"
    made, again = (admin.post(f"{path}/versions", json={"version": "2"}) for _ in range(2))
    assert (made.status_code, again.status_code) == (201, 200)
    assert admin.get(f"{path}/versions").json() == {"versions": ["1", "2"]}


def test_what_is_sent_again_under_one_key_is_answered_the_same(admin: httpx.Client) -> None:
    wanted, key = pipeline(), {"Idempotency-Key": unique("key")}
    posts = [
        ("/api/v2/pipelines", wanted),
        (f"/api/v2/pipelines/{wanted['name']}/versions", {"version": "2"}),
        ("/api/v2/tokens", {"pipeline": wanted["name"], "description": "farm"}),
    ]
    for path, body in posts:
        first, again = (admin.post(path, json=body, headers=key) for _ in range(2))
        assert (first.status_code, again.status_code) == (201, 201)
        assert first.json() == again.json()
    tokens = admin.get("/api/v2/tokens", params={"pipeline": wanted["name"]}).json()["tokens"]
    assert len(tokens) == 1


def test_a_name_may_have_a_slash_in_it(admin: httpx.Client) -> None:
    wanted = pipeline(name=unique("group/p"))
    admin.post("/api/v2/pipelines", json=wanted)
    assert admin.get(f"/api/v2/pipelines/{wanted['name']}").json()["name"] == wanted["name"]
    escaped = wanted["name"].replace("/", "%2F")
    assert admin.get(f"/api/v2/pipelines/{escaped}/versions").json() == {"versions": ["1"]}


def test_policies_that_are_not_named_stay(admin: httpx.Client) -> None:
    path = f"/api/v2/pipelines/{admin.post('/api/v2/pipelines', json=pipeline()).json()['name']}"
    admin.patch(path, json={"lease": 60, "max_attempts": 3})
    left = admin.patch(path, json={"lease": None, "retry": 5}).json()
    assert (left["lease"], left["max_attempts"], left["retry"]) == (None, 3, 5)
    refused = admin.patch(path, json={"max_attempts": None})
    assert (refused.status_code, refused.json()["code"]) == (422, "bad_request")


def test_a_token_is_good_until_it_is_revoked(house: House, admin: httpx.Client, user: User) -> None:
    issued = admin.post("/api/v2/tokens", json={"pipeline": user.pipeline, "description": "farm"})
    assert issued.status_code == 201
    token = issued.json()
    assert len(bytes.fromhex(token["token"])) == 16
    with http(house, token["token"]) as farm:
        assert farm.post("/api/v2/tasks/claim", json={}).status_code == 200
        revoked = admin.delete(f"/api/v2/tokens/{token['token_id']}").json()
        assert revoked["revoked_at"]
        refused = farm.post("/api/v2/tasks/claim", json={})
        assert (refused.status_code, refused.json()["code"]) == (403, "revoked_token")
    shown = admin.get("/api/v2/tokens", params={"pipeline": user.pipeline})
    assert token["token"] not in shown.text
    assert revoked in shown.json()["tokens"]
    assert admin.delete("/api/v2/tokens/999999").status_code == 404


def test_a_token_is_good_until_it_expires(house: House, admin: httpx.Client, user: User) -> None:
    body = {"pipeline": user.pipeline, "description": "farm", "expires": 1}
    token = admin.post("/api/v2/tokens", json=body).json()
    with http(house, token["token"]) as farm:

        def refused() -> bool:
            return farm.post("/api/v2/tasks/claim", json={}).status_code != 200

        wait_until(refused, 10.0, "the token has expired")
        told = farm.post("/api/v2/tasks/claim", json={}).json()
        assert (told["status"], told["code"]) == (403, "expired_token")
        assert "`porch token issue" in told["cure"]
        old = farm.post("/pipelines", json=pipeline())
        assert (old.status_code, "expired on" in old.json()["detail"]) == (403, True)


def test_a_token_is_rotated_once_under_one_key(
    house: House, admin: httpx.Client, user: User
) -> None:
    (old,) = admin.get("/api/v2/tokens", params={"pipeline": user.pipeline}).json()["tokens"]
    path, key = f"/api/v2/tokens/{old['token_id']}/rotate", {"Idempotency-Key": unique("key")}
    first, again = (admin.post(path, json={"overlap": 60}, headers=key) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert first.json()["replaces"]["token_id"] == old["token_id"]
    other = admin.post(path, json={})
    assert (other.status_code, other.json()["code"]) == (409, "token_ended")
    for secret in (user.token, first.json()["token"]):
        with http(house, secret) as holder:
            assert holder.post("/api/v2/tasks/claim", json={}).status_code == 200


def test_what_administrators_did_is_told_page_by_page(admin: httpx.Client, user: User) -> None:
    after, found = 0, []
    while after is not None:
        page = admin.get("/api/v2/admin-events", params={"after": after, "limit": 2}).json()
        found += page["events"]
        after = page["next"]
    mine = [event["action"] for event in found if event["pipeline"] == user.pipeline]
    assert mine == ["register", "issue_token"]


def test_one_without_a_pipeline_is_an_administrator(house: House, admin: httpx.Client) -> None:
    issued = admin.post("/api/v2/tokens", json={"description": "deputy"}).json()
    assert issued["pipeline"] is None
    with http(house, issued["token"]) as deputy:
        assert deputy.post("/api/v2/pipelines", json=pipeline()).status_code == 201


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/pipelines", pipeline()),
        ("POST", "/pipelines/{}/versions", {"version": "2"}),
        ("PATCH", "/pipelines/{}", {"lease": 1}),
        ("POST", "/tokens", {"description": "mine"}),
        ("GET", "/tokens", None),
        ("DELETE", "/tokens/1", None),
        ("POST", "/tokens/1/rotate", {}),
        ("GET", "/admin-events", None),
    ],
)
def test_all_of_it_needs_an_admin_token(
    owner: httpx.Client, anybody: httpx.Client, user: User, method: str, path: str, body: Any
) -> None:
    path = f"/api/v2{path.format(user.pipeline)}"
    for client, code in ((owner, "forbidden"), (anybody, "missing_token")):
        refused = client.request(method, path, json=body)
        assert (refused.status_code, refused.json()["code"]) == (403, code)
