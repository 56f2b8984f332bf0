"""Where this porch is set to require a token for looking too."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.gateway.alone import gateway_alone
from tests.gateway.npg import full, sparse, submitted
from tests.house import House, User


@pytest.fixture(scope="module")
def closed(house: House) -> Iterator[str]:
    """The URL of a second gateway of the house, which asks everybody for a token."""
    with gateway_alone(house.ready["database_url"], PORCH_READS_NEED_TOKEN="true") as url:
        yield url


PATHS = ["/pipelines", "/pipelines/x", "/versions/x", "/tasks", "/tasks?pipeline_name=x"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("token", [None, "x", 32 * "0"])
def test_without_a_good_one_nobody_looks(closed: str, path: str, token: str | None) -> None:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    assert httpx.get(closed + path, headers=headers).status_code == 403


def test_who_has_one_sees_what_it_is_for(
    closed: str, house: House, owner: httpx.Client, user: User
) -> None:
    task = submitted(owner, user)
    with User(house) as other, httpx.Client(base_url=closed, headers=owner.headers) as client:
        assert client.get("/tasks").json() == [task]
        assert client.get(f"/pipelines/{user.pipeline}").json() == full(user)
        reply = client.get("/tasks", params={"pipeline_name": other.pipeline})
        assert reply.status_code == 403


def test_an_administrator_sees_all(
    closed: str, admin: httpx.Client, owner: httpx.Client, user: User
) -> None:
    task = submitted(owner, user)
    with httpx.Client(base_url=closed, headers=admin.headers) as client:
        assert task in client.get("/tasks").json()


def test_changes_are_as_ever(closed: str, owner: httpx.Client, user: User) -> None:
    with httpx.Client(base_url=closed, headers=owner.headers) as client:
        assert client.post("/tasks/claim", json=sparse(user)).json() == []
    assert httpx.post(f"{closed}/tasks/claim", json=sparse(user)).status_code == 403


def test_health_needs_none(closed: str) -> None:
    assert httpx.get(f"{closed}/health/ready").status_code == 200
