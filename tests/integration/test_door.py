"""How a verb is answered where PostgreSQL is away, and the broker with it, or porch is wrong."""

from __future__ import annotations

import subprocess
import sys

_BOTH_AWAY = """
from coordinator.errors import LedgerAway
from tasks.door import Verb, _patiently
from tasks.wire import CountRequest

class Task:
    @property
    def backend(self):
        told.append(1)
        raise ConnectionError("the broker is away")

told, calls = [], []

def call():
    calls.append(1)
    if len(calls) < 4:
        raise LedgerAway("PostgreSQL is away")
    return [({}, "done")]

verb = Verb("porch.count", CountRequest, None)
print(_patiently(Task(), verb, ["an id"], call)[0][1], len(calls), len(told))
"""


def test_a_broker_that_cannot_be_told_does_not_end_the_patience_with_postgresql() -> None:
    assert _python(_BOTH_AWAY) == "done 4 2\n"


_BUSY = """
from coordinator.errors import LedgerAway
from tasks.door import Verb, _patiently
from tasks.wire import CountRequest

calls = []

def call():
    calls.append(1)
    if len(calls) < 4:
        away = LedgerAway("somebody else has locked it")
        away.busy = True
        raise away
    return "done"

print(_patiently(None, Verb("porch.count", CountRequest, None), ["an id"], call), len(calls))
"""


def test_nobody_is_told_that_postgresql_is_away_where_it_is_busy() -> None:
    assert _python(_BUSY) == "done 4\n"


_COMES_AGAIN = """
from types import SimpleNamespace
from uuid import uuid4
from coordinator.errors import LedgerAway
from coordinator.service import Coordinator
from tasks import door
from tasks.wire import SweepRequest

def carry_out(porch, asked):
    raise LedgerAway("PostgreSQL is away", "wait")

door.coordinator = lambda: Coordinator(None)
sent = [door.Sent(str(uuid4()), None, '{"wire":1}')]
verb = door.Verb("porch.sweep", SweepRequest, carry_out, lasting=False)
(reply,) = door.answer(SimpleNamespace(backend=None), sent, verb)
print(reply.answer["error"]["code"])
"""


def test_what_comes_again_by_itself_is_refused_and_not_put_back_where_postgresql_is_away() -> None:
    assert _python(_COMES_AGAIN) == "database_away\n"


_ONE_DEFECT = """
from uuid import uuid4
from coordinator.service import Coordinator
from tasks import door
from tasks.wire import CountRequest

def carry_out(porch, asked):
    tried.append(len(asked))
    if any(request.pipeline == "bad" for _, request in asked):
        raise ZeroDivisionError("a defect")
    return [({"n": request.pipeline}, {"done": 1}) for _, request in asked]

door.coordinator = lambda: Coordinator(None)
tried = []
sent = [
    door.Sent(str(uuid4()), None, '{"wire":1,"pipeline":"%s"}' % name)
    for name in ("a", "bad", "c")
] + [door.Sent(str(uuid4()), None, "no JSON")]
replies = door.answer(None, sent, door.Verb("porch.count", CountRequest, carry_out))
print([reply.answer.get("ok") or reply.answer["error"]["code"] for reply in replies], tried)
"""


def test_of_requests_that_are_answered_together_a_defect_is_met_by_one_alone() -> None:
    assert _python(_ONE_DEFECT) == (
        "[{'n': 'a'}, 'internal_error', {'n': 'c'}, 'bad_request'] [3, 1, 1, 1]\n"
    )


def _python(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-P", "-c", program],
        env={"PORCH_BROKER_URL": "redis://127.0.0.1:1/0", "PYTHONPATH": "."},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
