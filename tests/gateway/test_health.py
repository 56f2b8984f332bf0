"""What load balancers and readers of documents ask."""

from __future__ import annotations

import re

import httpx
import pytest


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/health/live/"])
def test_a_gateway_that_works_says_so(anybody: httpx.Client, path: str) -> None:
    assert anybody.get(path).status_code == 200


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/docs/"])
def test_the_documents_need_no_internet(anybody: httpx.Client, path: str) -> None:
    page = anybody.get(path)
    assert page.status_code == 200
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert loaded
    for address in loaded:
        assert address.startswith("/")
        assert anybody.get(address).status_code == 200


def test_a_path_that_is_none_is_told_in_the_manner_of_its_generation(
    anybody: httpx.Client,
) -> None:
    assert anybody.get("/nothing").json() == {"detail": "Not Found"}
    second = anybody.get("/api/v2/nothing")
    assert second.status_code == 404
    assert second.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/health/live/"])
def test_load_balancers_may_ask_by_head(anybody: httpx.Client, path: str) -> None:
    head, got = anybody.head(path), anybody.get(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == got.headers["content-length"]
