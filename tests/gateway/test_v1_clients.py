"""Clients as people have written them for npg_porch: only the URL is changed."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import httpx

from tests.factories import unique
from tests.house import House, environment, needs


class Polite:
    """A small client of npg_porch 2.2 in Python. It knows nothing of attempts or leases."""

    def __init__(self, url: str, token: str, pipeline: dict[str, str]) -> None:
        self.http = httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {token}"}, follow_redirects=True
        )
        self.pipeline = pipeline

    def register(self) -> None:
        reply = self.http.post("/pipelines/", json=self.pipeline)
        assert reply.status_code in (201, 409)

    def get_token(self, description: str) -> str:
        reply = self.http.post(f"/pipelines/{self.pipeline['name']}/token/{description}")
        assert reply.status_code == 201
        token: str = reply.json()["token"]
        return token

    def add(self, task_input: dict[str, Any]) -> bool:
        task = {"pipeline": self.pipeline, "task_input": task_input}
        reply = self.http.post("/tasks/", json=task)
        reply.raise_for_status()
        return reply.status_code == 201

    def listed(self) -> list[dict[str, Any]]:
        reply = self.http.get("/tasks/", params={"pipeline_name": self.pipeline["name"]})
        tasks: list[dict[str, Any]] = reply.raise_for_status().json()
        return tasks

    def claim(self, number: int) -> list[dict[str, Any]]:
        reply = self.http.post("/tasks/claim/", params={"num_tasks": number}, json=self.pipeline)
        tasks: list[dict[str, Any]] = reply.raise_for_status().json()
        return tasks

    def update(self, task: dict[str, Any], status: str) -> dict[str, Any]:
        task["status"] = status
        changed: dict[str, Any] = self.http.put("/tasks/", json=task).raise_for_status().json()
        assert changed == task
        return changed


def test_a_client_in_python(house: House) -> None:
    pipeline = {"name": unique("polite"), "uri": "https://example.org/p", "version": "0.1"}
    url = house.ready["gateway_url"]
    boss = Polite(url, house.ready["admin_token"], pipeline)
    for _ in range(2):
        boss.register()
    client = Polite(url, boss.get_token("of a client"), pipeline)
    assert [client.add({"id_run": n}) for n in (1, 2, 3, 1)] == [True, True, True, False]
    first, second = client.claim(2)
    client.update(client.update(first, "RUNNING"), "DONE")
    client.update(second, "FAILED")
    assert [task["status"] for task in client.listed()] == ["DONE", "FAILED", "PENDING"]
    client.update(second, "PENDING")
    for task in client.claim(10):
        client.update(client.update(task, "RUNNING"), "DONE")
    assert {task["status"] for task in client.listed()} == {"DONE"}
    assert client.claim(1) == []
    for one in (boss, client):
        one.http.close()


SCRIPT = """
set -eu
send() {  # method path token body
    curl --silent --show-error --location --request "$1" "$URL/$2" \\
        --header 'content-type: application/json' --header "Authorization: Bearer $3" \\
        --data "$4" --write-out '\\n%{http_code}\\n'
}
field() { python3 -c 'import json,sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }

send POST pipelines "$ADMIN_TOKEN" "$PIPELINE" > registered
TOKEN=$(send POST "pipelines/$NAME/token/nightly" "$ADMIN_TOKEN" '' | head -n 1 | field token)
for study in 100 101 100; do
    task="{\\"pipeline\\": $PIPELINE, \\"task_input\\": {\\"study_id\\": $study}}"
    send POST tasks "$TOKEN" "$task" | tail -n 1
done
send POST tasks/claim "$TOKEN" "$PIPELINE" | head -n 1 > claimed
task=$(python3 -c 'import json; print(json.dumps(json.load(open("claimed"))[0]))')
for status in RUNNING DONE; do
    send PUT tasks "$TOKEN" "${task/CLAIMED/$status}" | tail -n 1
done
curl --silent "$URL/tasks?pipeline_name=$NAME"
"""


def test_a_client_in_bash_and_curl(house: House, tmp_path: Path) -> None:
    needs("curl")
    name = unique("curl")
    pipeline = {"name": name, "uri": "https://example.org/p", "version": "1.0"}
    done = subprocess.run(
        ["bash", "-c", SCRIPT],
        cwd=tmp_path,
        env=environment(
            {
                "URL": house.ready["gateway_url"],
                "ADMIN_TOKEN": house.ready["admin_token"],
                "NAME": name,
                "PIPELINE": json.dumps(pipeline),
            }
        ),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *codes, listed = done.stdout.splitlines()
    assert codes == ["201", "201", "200", "200", "200"]
    assert [(t["task_input"], t["status"]) for t in json.loads(listed)] == [
        ({"study_id": 100}, "DONE"),
        ({"study_id": 101}, "PENDING"),
    ]
