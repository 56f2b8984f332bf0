"""/tasks as npg_porch has it: submit, list and claim."""

from __future__ import annotations

import json
import socket
from typing import Any

import httpx
import pytest

from tests.factories import definition
from tests.gateway.conftest import http
from tests.gateway.npg import a_task, detail, full, put, sparse, submitted
from tests.house import House, User


class TestSubmitting:
    def test_a_new_task_is_201_and_told_in_full(self, owner: httpx.Client, user: User) -> None:
        given = a_task(user)
        reply = owner.post("/tasks", json=given)
        assert reply.status_code == 201
        told = reply.json()
        assert told == {
            "pipeline": full(user),
            "task_input_id": told["task_input_id"],
            "task_input": given["task_input"],
            "status": "PENDING",
        }
        assert user.status(told["task_input_id"]) == "PENDING"

    def test_a_known_task_is_200_with_its_status(self, owner: httpx.Client, user: User) -> None:
        task = submitted(owner, user)
        put(owner, task, "RUNNING")
        reply = owner.post("/tasks/", json=task)
        assert (reply.status_code, reply.json()) == (200, {**task, "status": "RUNNING"})

    def test_its_status_is_not_looked_at_nor_is_what_else_it_has(
        self, owner: httpx.Client, user: User
    ) -> None:
        reply = owner.post("/tasks", json=a_task(user, "DONE") | {"note": "?"})
        assert (reply.status_code, reply.json()["status"]) == (201, "PENDING")

    def test_the_order_of_keys_does_not_matter(self, owner: httpx.Client, user: User) -> None:
        n = definition()["run"]
        first = owner.post("/tasks", content=json.dumps(a_task(user, run=n, lane=1)))
        second = owner.post("/tasks", content=json.dumps(a_task(user, lane=1, run=n)))
        assert (first.status_code, second.status_code) == (201, 200)

    def test_a_request_need_not_say_that_it_is_json(self, owner: httpx.Client, user: User) -> None:
        bare = owner.build_request("POST", "/tasks", content=json.dumps(a_task(user)))
        assert "content-type" not in bare.headers
        assert owner.send(bare).status_code == 201

    @pytest.mark.parametrize(
        ("who", "why"),
        [("anybody", "no token"), ("admin", "admin token"), ("other", "is for the pipeline")],
    )
    def test_only_a_token_of_the_pipeline_will_do(
        self, house: House, user: User, request: pytest.FixtureRequest, who: str, why: str
    ) -> None:
        client: httpx.Client = request.getfixturevalue("owner" if who == "other" else who)
        with User(house) as another:
            assert why in detail(client.post("/tasks", json=a_task(another)), 403)

    def test_of_a_pipeline_that_is_none_it_is_403(self, owner: httpx.Client, user: User) -> None:
        given = {**a_task(user), "pipeline": {"name": "not here"}}
        assert owner.post("/tasks", json=given).status_code == 403

    @pytest.mark.parametrize(
        "header",
        ["", "Bearer", "Bearer x", "Basic abc", "Bearer " + 32 * "0", "Bearer " + 32 * "g"],
    )
    def test_a_token_that_is_none_is_403(
        self, anybody: httpx.Client, user: User, header: str
    ) -> None:
        reply = anybody.post("/tasks", json=a_task(user), headers={"Authorization": header})
        assert isinstance(detail(reply, 403), str)

    def test_a_token_that_was_revoked_is_403(self, house: House, user: User) -> None:
        with house.admin() as boss:
            record, secret = boss.issue_token(pipeline=user.pipeline, description="short-lived")
            boss.revoke_token(record.token_id)
        with http(house, secret) as late:
            assert "revoked" in detail(late.post("/tasks", json=a_task(user)), 403)

    def test_several_versions_and_none_named_is_refused(self, house: House) -> None:
        with User(house, "1.0", "2.0") as user, http(house, user.token) as client:
            given = a_task(user)
            assert "several versions: 1.0, 2.0" in detail(client.post("/tasks", json=given), 404)
            given["pipeline"] = sparse(user, "2.0")
            assert client.post("/tasks", json=given).json()["pipeline"] == full(user, "2.0")

    def test_a_version_that_is_none_is_404(self, owner: httpx.Client, user: User) -> None:
        given = {**a_task(user), "pipeline": sparse(user, "9.9")}
        assert 'no version "9.9"' in detail(owner.post("/tasks", json=given), 404)

    @pytest.mark.parametrize(
        "change",
        [
            {"task_input": None},
            {"task_input": []},
            {"task_input": "text"},
            {"pipeline": None},
            {"pipeline": {}},
            {"pipeline": "name"},
            {"task_input": {"x": 2**60}},
            {"task_input": {"x": "\0"}},
            {"task_input": {"x": "\ud800"}},
            {"\ud800": 1, "pipeline": {"\ud800": 1}},
        ],
    )
    def test_what_has_not_the_shape_is_422(
        self, owner: httpx.Client, user: User, change: dict[str, Any]
    ) -> None:
        given = json.dumps({**a_task(user), **change})
        assert owner.post("/tasks", content=given).status_code == 422

    def test_what_is_left_out_is_422(self, owner: httpx.Client, user: User) -> None:
        for left_out in ("pipeline", "task_input"):
            given = a_task(user)
            del given[left_out]
            assert owner.post("/tasks", json=given).status_code == 422

    def test_an_unknown_field_of_a_pipeline_is_422(self, owner: httpx.Client, user: User) -> None:
        given = {**a_task(user), "pipeline": {"name": user.pipeline, "url": "x"}}
        (fault,) = detail(owner.post("/tasks", json=given), 422)
        assert fault["loc"] == ["body", "pipeline", "url"]

    def test_what_is_nested_too_deep_is_refused(self, owner: httpx.Client, user: User) -> None:
        for depth in (100, 100_000):
            deep = "[" * depth + "]" * depth
            given = f'{{"pipeline":{{"name":"{user.pipeline}"}},"task_input":{{"x":{deep}}}}}'
            assert owner.post("/tasks", content=given).status_code in (400, 422)


class TestListing:
    def test_anybody_sees_all_in_the_order_of_registration(
        self, anybody: httpx.Client, owner: httpx.Client, user: User
    ) -> None:
        tasks = [submitted(owner, user) for _ in range(3)]
        for path in ("/tasks", "/tasks/"):
            reply = anybody.get(path)
            assert reply.status_code == 200
            assert reply.headers["content-type"] == "application/json"
            found = [one for one in reply.json() if one["pipeline"]["name"] == user.pipeline]
            assert found == tasks

    def test_filters_combine(self, anybody: httpx.Client, owner: httpx.Client, user: User) -> None:
        first, second = submitted(owner, user), submitted(owner, user)
        running = put(owner, first, "RUNNING").json()

        def found(**given: str) -> Any:
            return anybody.get("/tasks", params=given).json()

        assert found(pipeline_name=user.pipeline) == [running, second]
        assert found(pipeline_name=user.pipeline, status="RUNNING") == [running]
        assert found(pipeline_name=user.pipeline, status="DONE") == []
        assert second in found(status="PENDING")

    def test_a_pipeline_that_is_none_has_no_tasks(self, anybody: httpx.Client) -> None:
        reply = anybody.get("/tasks", params={"pipeline_name": "not here"})
        assert (reply.status_code, reply.json()) == (200, [])

    @pytest.mark.parametrize("given", [{"status": "done"}, {"pipeline_name": "a\0b"}])
    def test_a_filter_that_is_none_is_422(
        self, anybody: httpx.Client, given: dict[str, str]
    ) -> None:
        assert anybody.get("/tasks", params=given).status_code == 422

    def test_a_list_of_several_pages_has_each_once(self, anybody: httpx.Client, user: User) -> None:
        user.register(*({"n": n, "quoted": '"\\\n€'} for n in range(4_321)))
        found = anybody.get("/tasks", params={"pipeline_name": user.pipeline}).json()
        assert sorted(one["task_input"]["n"] for one in found) == list(range(4_321))
        assert {one["task_input"]["quoted"] for one in found} == {'"\\\n€'}


class TestClaiming:
    def test_one_is_handed_out_unless_more_are_asked_for(
        self, owner: httpx.Client, user: User
    ) -> None:
        tasks = [{**submitted(owner, user), "status": "CLAIMED"} for _ in range(4)]
        assert owner.post("/tasks/claim", json=sparse(user)).json() == tasks[:1]
        reply = owner.post("/tasks/claim/?num_tasks=2", json=full(user))
        assert (reply.status_code, reply.json()) == (200, tasks[1:3])
        assert owner.post("/tasks/claim?num_tasks=99999", json=sparse(user)).json() == tasks[3:]

    def test_nothing_left_is_an_empty_list(self, owner: httpx.Client, user: User) -> None:
        reply = owner.post("/tasks/claim", json=sparse(user))
        assert (reply.status_code, reply.json()) == (200, [])

    @pytest.mark.parametrize("number", ["0", "-1", "", "x", "1.5"])
    def test_a_number_that_is_none_is_422(
        self, owner: httpx.Client, user: User, number: str
    ) -> None:
        reply = owner.post("/tasks/claim", params={"num_tasks": number}, json=sparse(user))
        assert reply.status_code == 422

    def test_a_version_that_is_named_is_the_only_one(self, house: House) -> None:
        with User(house, "1.0", "2.0") as user, http(house, user.token) as client:
            for version in ("1.0", "2.0"):
                for _ in range(2):
                    client.post("/tasks", json={**a_task(user), "pipeline": sparse(user, version)})

            def versions(pipeline: dict[str, Any]) -> list[str]:
                reply = client.post("/tasks/claim?num_tasks=2", json=pipeline)
                return [task["pipeline"]["version"] for task in reply.json()]

            assert versions(sparse(user, "2.0")) == ["2.0", "2.0"]
            assert versions(sparse(user)) == ["1.0", "1.0"]

    def test_only_a_token_of_the_pipeline_will_do(
        self, house: House, anybody: httpx.Client, admin: httpx.Client, owner: httpx.Client
    ) -> None:
        with User(house) as other:
            for client in (anybody, admin, owner):
                assert client.post("/tasks/claim", json=sparse(other)).status_code == 403

    @pytest.mark.parametrize("change", [{"name": None}, {"url": "x"}, {"name": ""}])
    def test_what_is_no_pipeline_is_422(
        self, owner: httpx.Client, user: User, change: dict[str, Any]
    ) -> None:
        reply = owner.post("/tasks/claim", json={**sparse(user), **change})
        assert reply.status_code == 422


@pytest.mark.parametrize("path", ["/tasks", "/api/v2/tasks", "/api/v2/tasks/claim"])
def test_without_a_token_no_body_is_read(house: House, path: str) -> None:
    """All that comes is a header that promises more than anybody would wait for."""
    address = httpx.URL(house.ready["gateway_url"])
    with socket.create_connection((address.host, address.port or 80), timeout=30) as line:
        line.sendall(
            f"POST {path} HTTP/1.1\r\nHost: porch\r\nContent-Length: 30000000\r\n\r\n{{".encode()
        )
        assert line.recv(1_000).startswith(b"HTTP/1.1 403 ")
