"""What the tests of the gateway share: HTTP clients of a real server process."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.house import House, User


def http(house: House, token: str | None = None) -> httpx.Client:
    """A client of the house's gateway, with a token or without. Redirects are not followed."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.Client(base_url=house.ready["gateway_url"], headers=headers, timeout=30)


@pytest.fixture
def anybody(house: House) -> Iterator[httpx.Client]:
    """Somebody without a token."""
    with http(house) as client:
        yield client


@pytest.fixture
def admin(house: House) -> Iterator[httpx.Client]:
    """An administrator."""
    with http(house, house.ready["admin_token"]) as client:
        yield client


@pytest.fixture
def user(house: House) -> Iterator[User]:
    """Somebody with a pipeline of their own."""
    with User(house) as made:
        yield made


@pytest.fixture
def owner(house: House, user: User) -> Iterator[httpx.Client]:
    """The same, over HTTP."""
    with http(house, user.token) as client:
        yield client
