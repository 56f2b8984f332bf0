"""No secret is where it need not be: all of porch at work, and everything that can be read of it.

Tokens: nowhere but with whoever holds them, and in the two files in which `up` keeps the first one.
Of a token, the broker sees a proof, Flower and logs a number, PostgreSQL a hash. Passwords of the
servers: nowhere but in files and environments of their owner.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urlencode
from urllib.request import Request, urlopen

import psutil
import psycopg2
import pytest
from celery import Celery
from celery.worker.control import Panel
from redis import Redis

from porch_client.errors import PorchError
from porch_client.model import Change, Decision
from tests.envelopes import envelope, text
from tests.flower_pages import Pages, routes
from tests.house import House, User, json_lines, wait_until
from tests.security.needles import files_below, found, keys_of, opened

#: Files of the state directory that are made to hold a secret, for its owner.
KEEPERS = {"admin-token", "env.sh", "state.json", "password", "valkey.conf", "pgpass"}
DISK = "PostgreSQL's disk"
#: What shows up in a place that is truly searched.
CANARY = "canary-in-the-mine"


class Traffic:
    """What all kinds of users did, and all that could be read meanwhile, by place."""

    def __init__(self, house: House, folder: Path) -> None:
        self.house = house
        self.folder = folder
        self.tokens: dict[str, str] = {"admin": house.ready["admin_token"]}
        self.digests: dict[str, str] = {}
        self.sent: list[str] = []
        self.noted: dict[str, list[bytes]] = {}
        self.evidence: dict[str, bytes] = {}
        password = (house.state_dir / "flower" / "password").read_text().strip()
        state = json.loads((house.state_dir / "state.json").read_text())
        self.passwords = {
            "Flower's": password,
            "PostgreSQL's": state["postgres_password"],
            "the broker's": state["valkey_password"],
        }
        self.pages = Pages(house.ready["flower_url"], password)
        self.url = house.ready["database_url"].replace("+psycopg2", "")

    def note(self, place: str, content: bytes) -> None:
        """Keep what was read in a place."""
        self.noted.setdefault(place, []).append(content)

    def token(self, name: str, secret: str) -> str:
        """A token that must be found nowhere."""
        self.tokens[name] = secret
        self.digests[f"hash of {name}"] = sha256(secret.encode()).hexdigest()
        return secret

    # What is done --------------------------------------------------------------------------------

    def over_the_queue(self) -> None:
        house = self.house
        admin = {"token": self.tokens["admin"]}
        register = ("pipeline", "register", CANARY, "--uri", "https://example.org", "--version")
        assert house.porch(*register, "1", **admin).returncode == 0
        issue = ("token", "issue", "--pipeline", CANARY, "--description", "canary's")
        (issued,) = json_lines(house.porch(*issue, **admin).stdout)
        first = self.token("rotated", issued["token"])
        rotate = ("token", "rotate", str(issued["token_id"]), "--overlap", "1h")
        rotated = json_lines(house.porch(*rotate, **admin).stdout)
        self.token("pipeline", next(one["token"] for one in rotated if "token" in one))
        with house.admin() as porch:
            revoked, secret = porch.issue_token(pipeline=CANARY, description="revoked")
            porch.revoke_token(revoked.token_id)
        self.token("revoked", secret)
        self.token("wrong", secrets.token_hex(16))
        self.token("malformed", f"not-a-token-{secrets.token_hex(16)}")
        with house.client(first) as porch:
            list(porch.submit([{"n": n} for n in range(6)]))
            list(porch.submit([{"n": float("nan")}, {"n": 0}]))
            (held,) = porch.claim(1)
            name, attempt = held.task.task_input_id, held.task.attempt
            porch.heartbeat([(name, attempt, None)])
            for status, of in (("RUNNING", attempt), ("DONE", 7), ("FAILED", attempt)):
                porch.update([Change(name, status, attempt=of, message="as it happens")])
            porch.rerun([Decision(name, "FAILED", attempt)], reason="once more")
        for name in ("revoked", "wrong", "malformed", "admin"):
            with house.client(self.tokens[name]) as porch, pytest.raises(PorchError):
                list(porch.submit([{"n": 1}], version="no such"))

    def drain(self) -> None:
        script = f"ps -A -o args >{self.folder}/ps; test $PORCH_INPUT_n -ne 2"
        done = self.house.porch("drain", "--", "sh", "-c", script, token=self.tokens["pipeline"])
        assert "FAILED" in done.stderr
        self.note("what drain says", (done.stdout + done.stderr).encode())
        self.note("process list of a drain", (self.folder / "ps").read_bytes())

    def malformed(self) -> None:
        token = self.tokens["pipeline"]
        sent = [
            envelope(text(surprise=1), token=token),
            envelope("no JSON", token=token),
            envelope(text(), task="os.system", token=token),
            envelope(text(), eta="2099-01-01T00:00:00", token=token),
            envelope(text(), text(), token=token),
        ]
        with Redis.from_url(self.house.ready["broker_url"]) as redis:
            for message in sent:
                redis.lpush("porch.query", json.dumps(message))
            broken = json.dumps(sent[0])[:-20]
            redis.lpush("porch.query", broken, "7", json.dumps({"headers": sent[0]["headers"]}))
            wait_until(lambda: not redis.llen("porch.query"), 20.0, "all are taken")

    def over_http(self) -> None:
        admin, token = self.tokens["admin"], self.tokens["pipeline"]
        v2 = "/api/v2"
        body = {"pipeline": CANARY, "description": "by http"}
        told = self.http("POST", f"{v2}/tokens", admin, body)
        self.token("issued over HTTP", told["token"])
        for name in ("wrong", "malformed", "revoked", "pipeline", "issued over HTTP"):
            secret = self.tokens[name]
            self.http("GET", f"{v2}/tokens", secret)
            self.http("POST", f"{v2}/claim", secret, {"n": "many"})
            self.http("POST", f"{v2}/update", secret, b"no JSON")
            self.http("PUT", "/tasks", secret, {"task_input": 1})
            self.http("GET", f"{v2}/tasks/ffff", secret)
            self.http("GET", f"/nowhere/{quote(CANARY)}", secret)
            self.http("POST", "/session", None, urlencode({"token": secret}).encode())
        self.http("POST", f"{v2}/claim", token, {"n": 1})

    def http(self, method: str, path: str, token: str | None, body: Any = None) -> Any:
        """The JSON of an answer, or nothing; all of it is kept but where a token is issued."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode() if body else None
        request = Request(f"{self.house.ready['gateway_url']}{path}", data, method=method)
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        kind = "x-www-form-urlencoded" if path == "/session" else "json"
        request.add_header("Content-Type", f"application/{kind}")
        try:
            with urlopen(request, timeout=30) as answer:
                content = answer.read()
        except HTTPError as error:
            content = error.read()
        if (method, path) == ("POST", "/api/v2/tokens") and b'"token":' in content:
            return json.loads(content)
        self.note("answers of the gateway", content)
        return None

    def defects(self) -> None:
        """Make porch fail in the midst of requests, over both doors: tracebacks follow."""
        with closing(psycopg2.connect(self.url)) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            cursor.execute("ALTER TABLE porch.token RENAME COLUMN description TO elsewhere")
            try:
                with self.house.client(self.tokens["pipeline"]) as porch:
                    with pytest.raises(PorchError):
                        list(porch.submit([{"n": "defect"}]))
                    with pytest.raises(PorchError):
                        porch.count()
                self.http("POST", "/api/v2/claim", self.tokens["pipeline"], {"n": 1})
            finally:
                cursor.execute("ALTER TABLE porch.token RENAME COLUMN elsewhere TO description")

    # What is read --------------------------------------------------------------------------------

    def in_flight(self) -> None:
        """Look while requests wait in queues, in workers and in batches."""
        token = self.tokens["pipeline"]

        def sent(task: str, queue: str, **fields: Any) -> None:
            message = envelope(
                text(**fields), task=task, token=token, argsrepr=f"pipeline={CANARY} n=1"
            )
            message["properties"]["delivery_info"]["routing_key"] = queue
            self.sent.append(message["headers"]["id"])
            redis.lpush(queue, json.dumps(message))

        with (
            Redis.from_url(self.house.ready["broker_url"]) as redis,
            closing(psycopg2.connect(self.url)) as other,
            other.cursor() as cursor,
        ):
            cursor.execute("LOCK TABLE porch.task IN ACCESS EXCLUSIVE MODE")
            for n in range(120):
                sent("porch.submit", "porch.submit", definitions=[{CANARY: n}])
                sent("porch.count", "porch.query")
            wait_until(lambda: redis.hlen("unacked"), 10.0, "some are in hand")
            self.note("the broker, in flight", keys_of(redis))
            self.ask_workers()
            self.look_at_flower()
        with Redis.from_url(self.house.ready["broker_url"]) as redis:
            wait_until(lambda: not redis.hlen("unacked"), 60.0, "all are done")

    def ask_workers(self) -> None:
        """Every question that workers answer, by their own list, and porch's."""
        app = Celery(broker=self.house.ready["broker_url"], set_as_current=False)
        arguments = {
            "query_task": {"ids": self.sent},
            "conf": {"with_defaults": True},
            "objgraph": {"num": 10, "max_depth": 2, "type": "Request"},
        }
        asked = [name for name, meta in Panel.meta.items() if meta.type == "inspect"]
        assert {"active", "reserved", "stats", "report", "conf", "query_task"} <= set(asked)
        try:
            for name in (*asked, "porch_health"):
                if name == "memdump":  # needs psutil's memory of two calls; tells of sizes only
                    continue
                reply = app.control.broadcast(
                    name, arguments=arguments.get(name, {}), reply=True, timeout=1.0, limit=2
                )
                self.note(f"celery inspect {name}", json.dumps(reply, default=repr).encode())
        finally:
            app.close()

    def look_at_flower(self) -> None:
        """Every page and every route, by Flower's own list."""
        seen = self.pages.tasks()
        latest = {task["name"]: task["uuid"] for task in reversed(seen)}
        about_one = ("/task/", "/api/task/info/")
        for worker in {task["worker"] for task in seen if task["worker"]}:
            self.pages.ask(f"/api/workers?refresh=1&workername={worker}")
            for method, path in routes(worker, latest["porch.submit"], "porch.submit"):
                self.look(method, path)
        for task_id in latest.values():
            for path in about_one:
                self.look("GET", f"{path}{task_id}")

    def look(self, method: str, path: str) -> None:
        place = f"Flower's {method} {path.partition('?')[0]}"
        self.note(place, self.pages.ask(path, method)[1].encode())

    def processes(self) -> None:
        told = [
            " ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])
        ]
        self.note("process list", "\n".join(told).encode())

    def database(self) -> None:
        """What a dump holds: every row of every table, as text."""
        with closing(psycopg2.connect(self.url)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT oid::regclass FROM pg_class WHERE relkind = 'r' AND "
                           "relnamespace = 'porch'::regnamespace")  # fmt: skip
            for (table,) in cursor.fetchall():
                with (self.folder / "dump").open("wb") as file:
                    cursor.copy_expert(f"COPY {table} TO STDOUT", file)
                self.note(f"dump of {table}", (self.folder / "dump").read_bytes())

    def files(self) -> None:
        """Logs, what Flower keeps, and the disks of both servers."""
        for folder in {self.house.state_dir, self.house.home()}:
            for path, content in files_below(folder):
                if path.name not in KEEPERS and "programs-" not in str(path):
                    data = "postgres" in str(path.parent.relative_to(folder))
                    self.note(DISK if data else f"file {path.name}", content)


@contextmanager
def monitored(url: str) -> Iterator[list[str]]:
    """What the broker's MONITOR shows meanwhile."""
    shown: list[str] = []
    with Redis.from_url(url) as redis, redis.monitor() as monitor:

        def listen() -> None:
            for told in monitor.listen():
                shown.append(told["command"])
                if told["command"].endswith("the-end"):
                    break

        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield shown
        finally:
            with Redis.from_url(url) as other:
                other.echo("the-end")
            thread.join(20)


@pytest.fixture(scope="module")
def traffic(scratch: Callable[[str], Path]) -> Iterator[Traffic]:
    with House(scratch("house") / "state", {"PORCH_FLOWER": "true"}) as house:
        made = Traffic(house, scratch("evidence"))
        with User(house) as user:
            wait_until(
                lambda: user.client.count() == {} and made.pages.tasks(), 20.0, "Flower is told"
            )
        url = house.ready["broker_url"]
        with monitored(url) as shown:
            made.over_the_queue()
            made.drain()
            made.malformed()
            made.over_http()
            made.defects()
            made.in_flight()
            made.look_at_flower()
            made.processes()
        made.note("MONITOR", "\n".join(shown).encode())
        with Redis.from_url(url) as redis:
            made.note("the broker, afterwards", keys_of(redis))
        made.database()
        house.close()  # Flower writes down what it has seen
        made.files()
        for place, told in made.noted.items():
            everything = b"\n".join(told)
            # Nothing of ours is in Base64 there, and it is large.
            made.evidence[place] = everything if place == DISK else opened(everything)
        yield made


def test_no_token_is_anywhere(traffic: Traffic) -> None:
    assert len(traffic.tokens) >= 7
    assert found(traffic.tokens, traffic.evidence) == set()


def test_hashes_of_tokens_are_in_the_database_alone(traffic: Traffic) -> None:
    """With one of these and a message of the queue, the token can be taken out."""
    places = {place for _, place in found(traffic.digests, traffic.evidence)}
    # It logs each statement that fails, with what was looked for.
    own = {"dump of porch.token", DISK, "file postgresql.log"}
    assert places <= own
    assert "dump of porch.token" in places


def test_no_password_is_shown(traffic: Traffic) -> None:
    assert found(traffic.passwords, traffic.evidence) == set()


@pytest.mark.parametrize(
    "place",
    [
        *("MONITOR", "the broker, in flight", "the broker, afterwards", "what drain says"),
        *("celery inspect active", "celery inspect reserved", "celery inspect query_task"),
        *("Flower's GET /tasks/datatable", "Flower's GET /api/tasks", "dump of porch.pipeline"),
        *("file worker.submit.log", "file worker.claim.log", "file postgresql.log"),
        *("answers of the gateway", "file gateway.log", "process list of a drain"),
        *(DISK, "file events.dat"),
    ],
)
def test_the_search_sees_what_is_there(traffic: Traffic, place: str) -> None:
    signs = {
        "a pipeline": CANARY,
        "a process": "porch drain",
        "an answer": "celery-task-meta",
        "a defect": "k.description does not exist",
    }
    seen = found(signs, traffic.evidence)
    assert place in {where for _, where in seen}


def test_no_task_input_is_shown_but_where_it_belongs(traffic: Traffic) -> None:
    """The bulk is in messages and in PostgreSQL; what operators look at has sentences."""
    bulk = {"a definition": f'"{CANARY}":'}
    shown = {
        place
        for _, place in found(bulk, traffic.evidence)
        if place.startswith(("Flower", "celery inspect", "process list")) or place.endswith(".log")
    }
    assert shown == set()
