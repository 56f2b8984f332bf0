"""Flower as ``porch-server up`` starts it: behind a password, looking only, in sentences."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psutil
import psycopg2
import pytest
from redis import Redis

from config.embedded import embedded_servers
from config.ports import free_port
from config.queues import QUEUES
from config.server_home import remove_state_dir
from tests.envelopes import envelope, text
from tests.flower_pages import OPEN, Pages, flower, routes
from tests.house import House, User, run, start, wait_until


@pytest.fixture(scope="module")
def house(scratch: Callable[[str], Path]) -> Iterator[House]:
    with House(scratch("house") / "state", {"PORCH_FLOWER": "true"}) as running:
        yield running


@pytest.fixture(scope="module")
def pages(house: House) -> Pages:
    password = (house.state_dir / "flower" / "password").read_text().strip()
    found = Pages(house.ready["flower_url"], password)
    with User(house) as someone:

        def told() -> bool:
            someone.client.count()
            return bool(found.tasks("porch.count"))

        wait_until(told, 20.0, "workers tell Flower what they do")
    return found


@pytest.fixture
def user(house: House) -> Iterator[User]:
    with User(house) as someone:
        yield someone


# Who may look -------------------------------------------------------------------------------------


def test_nothing_is_shown_without_the_password_but_metrics_and_health(pages: Pages) -> None:
    shown = {
        (method, path): status
        for method, path in routes()
        for status in {pages.ask(path, method, "wrong")[0]}
    }
    assert len(shown) > 25
    bare = {path for (_, path), status in shown.items() if status < 400}
    # Its stylesheets and scripts are anybody's: they come with the package.
    assert bare == {*OPEN, "/static/css/flower.css", "/logout"}


def test_the_password_is_a_file_of_its_owner_alone_and_no_argument(house: House) -> None:
    file = house.state_dir / "flower" / "password"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    password = file.read_text().strip()
    assert len(password) == 43
    assert password not in " ".join(psutil.Process(house.pid("flower")).cmdline())
    assert f"PORCH_FLOWER_PASSWORD={password}" in (house.state_dir / "env.sh").read_text()
    assert password not in "".join(log.read_text() for log in house.state_dir.glob("*.log"))


def test_it_listens_on_this_machine_only(house: House) -> None:
    listening = psutil.Process(house.pid("flower")).net_connections()
    assert {c.laddr.ip for c in listening if c.status == psutil.CONN_LISTEN} == {"127.0.0.1"}


@pytest.mark.parametrize(
    "path",
    [
        "/api/worker/shutdown/{worker}",
        "/api/worker/pool/shrink/{worker}",
        "/api/task/revoke/7b0f1a52-9a0e-4c43-8a35-111111111111",
        "/api/task/send-task/porch.sweep",
        "/api/task/async-apply/porch.sweep",
    ],
)
def test_it_only_looks(house: House, pages: Pages, path: str) -> None:
    worker = pages.tasks()[0]["worker"]
    assert pages.ask(path.format(worker=worker), "POST")[0] == 403
    assert psutil.pid_exists(house.pid("worker.claim"))


def test_it_knows_the_workers_that_were_started_with_it(house: House, pages: Pages) -> None:
    """They are not there when it begins; it used to ask them then, and to warn of no answer."""

    def known() -> bool:
        workers = json.loads(pages.ask("/api/workers")[1])
        asked = [one for one in workers.values() if {"stats", "registered", "conf"} <= set(one)]
        return len(asked) == 2

    wait_until(known, 20.0, "it has asked both workers how they are")
    assert "Inspect" not in (house.state_dir / "flower.log").read_text()


# What is shown ------------------------------------------------------------------------------------


def test_a_request_reads_like_a_sentence(pages: Pages, user: User) -> None:
    definitions = [{"n": n} for n in range(500)]
    user.register(*definitions[:20])
    user.register(*definitions)
    said = f"pipeline={user.pipeline} n=500 new=480 refused=0"
    seen = wait_until(
        lambda: [t for t in pages.tasks("porch.submit") if t["result"] == said], 10.0, said
    )
    assert [(t["args"], t["kwargs"]) for t in seen] == [("pipeline=- n=500", "")]
    page = pages.ask(f"/task/{seen[0]['uuid']}")[1]
    assert said in page


def test_requests_that_were_gathered_read_like_one(house: House, pages: Pages, user: User) -> None:
    def sent(n: int) -> dict[str, object]:
        message = envelope(text(definitions=[{"n": n}]), task="porch.submit", token=user.token)
        message["properties"]["delivery_info"]["routing_key"] = "porch.submit"
        return message

    url = house.ready["database_url"].replace("+psycopg2", "")
    with (
        Redis.from_url(house.ready["broker_url"]) as redis,
        closing(psycopg2.connect(url)) as other,
        other.cursor() as cursor,
    ):
        cursor.execute("LOCK TABLE porch.task IN ACCESS EXCLUSIVE MODE")
        redis.lpush("porch.submit", *(json.dumps(sent(n % 20)) for n in range(40)))
        wait_until(lambda: not redis.llen("porch.submit"), 10.0, "the worker has them all")

    def told() -> list[tuple[str, str]]:
        return [
            (t["args"], t["result"])
            for t in pages.tasks("porch.together")
            if user.pipeline in (t["result"] or "")
        ]

    wait_until(told, 10.0, "Flower has seen the batch")
    for args, result in told():
        assert args.startswith("porch.submit requests=")
        assert f" x pipeline={user.pipeline} n=1 new=" in result


def test_what_a_client_does_not_say_is_not_shown(house: House, pages: Pages, user: User) -> None:
    """Celery's own client sends what it sends twice: the second time for people to read."""
    bulk = text(definitions=[{"sample": "of somebody"}])
    shown = {"argsrepr": repr((bulk,)), "kwargsrepr": "{'a': 1}"}
    message = envelope(bulk, token=user.token, **shown)
    with Redis.from_url(house.ready["broker_url"]) as redis:
        redis.lpush("porch.query", json.dumps(message))
    (seen,) = wait_until(
        lambda: [t for t in pages.tasks() if t["uuid"] == message["headers"]["id"]], 10.0
    )
    assert (seen["args"], seen["kwargs"]) == ("-", "")
    assert seen["result"] == "pipeline=- refused: bad_request"


def test_the_queues_are_counted(pages: Pages) -> None:
    status, shown = pages.ask("/api/queues/length")
    assert status == 200
    assert {q["name"] for q in json.loads(shown)["active_queues"]} == set(QUEUES)


def test_answers_are_not_shown(pages: Pages, user: User) -> None:
    user.client.count()
    assert pages.ask(f"/api/task/result/{pages.tasks('porch.count')[0]['uuid']}")[0] == 503


def test_prometheus_needs_no_password(pages: Pages) -> None:
    status, shown = pages.ask("/metrics", password="")
    assert status == 200
    assert 'flower_events_total{task="porch.count",type="task-succeeded"' in shown


# That it stays ------------------------------------------------------------------------------------


def test_what_it_has_seen_outlives_it(house: House, pages: Pages, user: User) -> None:
    before = {t["uuid"] for t in pages.tasks("porch.count")}
    old = house.pid("flower")
    os.kill(old, signal.SIGTERM)
    wait_until(lambda: not psutil.pid_exists(old), 20.0, "it ends")
    wait_until(pages.answers, 30.0, "it is started again")
    assert before <= {t["uuid"] for t in pages.tasks("porch.count")}


# By itself ----------------------------------------------------------------------------------------


def test_it_touches_nothing_that_workers_have_in_hand(scratch: Callable[[str], Path]) -> None:
    """Kombu's consumers give back what others have had for long. No worker is here to do so."""
    folder = scratch("flower")
    (folder / "flowerconfig.py").write_text('raise SystemExit("hostile")\n')
    password = "correct-horse-battery"
    try:
        with (
            embedded_servers(folder / "servers") as servers,
            Redis.from_url(servers.broker_url, decode_responses=True) as redis,
        ):
            message = ["{}", "", "porch.submit"]
            redis.zadd("unacked_index", {"tag": 1.0})
            redis.hset("unacked", "tag", json.dumps(message))
            with redis.monitor() as monitor:
                commands = monitor.listen()
                env = {"PORCH_FLOWER_PASSWORD": password, "FLOWER_BASIC_AUTH": "a:b"}
                with flower(servers.broker_url, folder, **env) as (pages, process):
                    assert pages.ask("/api/tasks")[0] == 200
                    assert pages.ask("/api/tasks", password="b")[0] == 401
                    seen = [next(commands)["command"]]
                    while "celeryev.flower.unacked_index" not in seen[-1]:
                        seen.append(next(commands)["command"])
                assert process.returncode == 0
            assert not [one for one in seen if " unacked" in one]
            assert redis.hgetall("unacked") == {"tag": json.dumps(message)}
            assert redis.zcard("unacked_index") == 1
    finally:
        remove_state_dir(folder / "servers")


def test_a_port_that_is_taken_is_told(pages: Pages, tmp_path: Path) -> None:
    port = pages.url.rpartition(":")[2]
    env = {"PORCH_BROKER_URL": "redis://127.0.0.1:1/0", "PORCH_STATE_DIR": str(tmp_path / "s")}
    done = run("porch-server", "flower", "--port", port, env=env)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"Flower cannot listen on 127.0.0.1, port {port}" in done.stderr


def test_port_0_is_one_that_is_free_and_told(tmp_path: Path) -> None:
    env = {
        "PORCH_BROKER_URL": "redis://127.0.0.1:1/0",
        "PORCH_STATE_DIR": str(tmp_path / "s"),
        "PORCH_FLOWER_PORT": "0",
    }
    with start("porch-server", "flower", env=env) as started:
        assert started.stderr is not None
        try:
            said = started.stderr.readline()
        finally:
            started.kill()
    port = re.search(r"Flower listens on 127\.0\.0\.1, port (\d+)", said)
    assert port is not None
    assert int(port[1]) > 0


@pytest.mark.parametrize("password", ["short", "with a space in", "naïve-password-of-mine"])
def test_a_password_that_will_not_do_is_refused(tmp_path: Path, password: str) -> None:
    file = tmp_path / "password"
    file.write_text(password)
    env = {"PORCH_BROKER_URL": "redis://127.0.0.1:1/0", "PORCH_FLOWER_PASSWORD_FILE": str(file)}
    done = run("porch-server", "flower", "--port", str(free_port()), env=env)
    assert done.returncode == 2
    assert "PORCH_FLOWER_PASSWORD" in done.stderr
    assert password not in done.stderr
