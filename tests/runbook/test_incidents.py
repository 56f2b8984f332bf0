"""Each incident is staged, the runbook's commands are typed as they stand there until they name a
cause, and its cure is tried: the pipeline moves again."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager

import pytest

from porch_client import channel
from porch_client.errors import Refused
from tests.acceptance.test_away import broker_gone, broker_silent, database_gone, no_workers
from tests.house import House, User, environment, start, wait_until
from tests.runbook import incidents, page
from tests.runbook.conftest import Town

Staged = Callable[[House], AbstractContextManager[None]]


def outside(user: User, **more: str) -> dict[str, str]:
    """The environment of an operator."""
    house = user.house
    known = {
        **house.env(house.ready["admin_token"]),
        "PORCH_DATABASE_URL": house.ready["database_url"],
        "PORCH_STATE_DIR": str(house.state_dir),
    }
    return environment({**known, "PIPELINE": user.pipeline, **more})


def typed(user: User, script: str, **more: str) -> subprocess.CompletedProcess[str]:
    """What a shell says to some lines of the page."""
    return subprocess.run(
        ["bash", "-c", script],
        env=outside(user, **more),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def looked(user: User, *, to_the_end: bool = False) -> str:
    """What the commands of the page print, one after the other, until a cause is named."""
    first, lines = page.commands()
    assert len(lines) <= 5
    first = first.replace("PIPELINE=cardinal", f"PIPELINE={user.pipeline}")
    printed = ""
    for line in lines:
        done = typed(user, f"{first}\n{line}")
        printed += done.stdout + done.stderr
        if page.named(printed) and not to_the_end:
            break
    return printed


def cured(user: User, section: str, **more: str) -> None:
    """Do what the page says."""
    for block in page.blocks("cure", section):
        done = typed(user, f"set -eu -o pipefail\n{block}", **more)
        assert done.returncode == 0, done.stderr


def moves(user: User) -> None:
    """Something new is registered, claimed and done."""
    (task,) = user.register({"moves": os.urandom(4).hex()})
    for claimed in user.client.claim(100):
        claimed.done()
    assert user.status(task) == "DONE"


def test_no_worker(town: Town, user: User) -> None:
    with no_workers(town.house):
        assert page.named(looked(user)) == {"no-worker"}
        (block,) = page.blocks("cure", "no-worker")
        with start(*block.split(), env=outside(user)) as worker:
            try:
                moves(user)
            finally:
                os.killpg(worker.pid, signal.SIGKILL)
    moves(user)


@pytest.mark.parametrize("staged", [broker_gone, broker_silent])
def test_broker_away(town: Town, user: User, staged: Staged) -> None:
    with staged(town.house):
        assert page.named(looked(user)) == {"broker-away"}
    moves(user)


@pytest.mark.parametrize("staged", [database_gone, incidents.database_hangs])
def test_postgresql_away(town: Town, user: User, staged: Staged) -> None:
    with staged(town.house):
        assert page.named(looked(user)) == {"postgresql-away"}
    moves(user)


def test_all_claimed_and_silent(town: Town, user: User) -> None:
    tasks = incidents.all_claimed_and_silent(user, 3)
    printed = looked(user, to_the_end=True)
    assert page.named(printed) == {"claimed-and-silent"}
    assert [task for task in tasks if f'"task_input_id": "{task}"' not in printed] == []
    cured(user, "claimed-and-silent")
    assert user.client.count() == {"PENDING": 3}
    moves(user)


def test_poison_message(town: Town, user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        monkeypatch.context() as patch,
        ThreadPoolExecutor() as pool,
        incidents.Reaper(town.house, until=3) as reaper,
    ):
        patch.setattr(channel, "RESEND_AFTER", 60.0)  # copies would have victims of their own
        poison = pool.submit(user.register, {"poison": 1})
        wait_until(lambda: reaper.deaths == 3, what="three processes have died over it")
        printed = looked(user)
        assert page.named(printed) == {"poison-message"}
        # The worker may be about to notice the third.
        assert re.search(r"has killed [23] processes of worker submit@", printed)
        with User(town.house) as other:
            moves(other)
        reaper.until = 99
        with pytest.raises(Refused, match="internal_error: 5 processes") as refused:
            poison.result(60)
    assert reaper.deaths == 5
    number = re.search(r"[0-9a-f-]{36}", refused.value.cure)
    assert number is not None
    assert number[0] in printed
    os.killpg(town.house.pid("worker.submit"), signal.SIGKILL)  # its successor knows nothing of it
    moves(user)
    assert user.client.count() == {"DONE": 1}


def test_postgresqls_disk_full(town: Town, user: User) -> None:
    many = "".join(f'{{"run": {n}}}\n' for n in range(20_000))
    with incidents.full(town.disk("postgres")) as ballast:
        wrapper = user.porch("--timeout", "3", "submit", "--quiet", "-", input=many)
        assert (wrapper.returncode, wrapper.stderr[:22]) == (3, "porch: database_away: ")
        printed = looked(user)
        assert page.named(printed) == {"disk-full"}
        assert "PostgreSQL's disk is full" in printed
        with incidents.stopped_for_want_of_room(town.house):
            printed = looked(user)
            assert page.named(printed) == {"disk-full"}
            assert "PostgreSQL's disk is full, and it has stopped" in printed
            ballast.unlink()
        assert user.porch("submit", "--quiet", "-", input=many).returncode == 0
    assert user.client.count() == {"PENDING": 20_000}


def test_the_brokers_disk_full(town: Town, user: User) -> None:
    with incidents.full_broker(town) as ballast:
        wrapper = user.porch("--timeout", "3", "submit", "-", input='{"run": 1}\n')
        assert (wrapper.returncode, wrapper.stderr[:20]) == (3, "porch: broker_away: ")
        assert "MISCONF" in wrapper.stderr
        printed = looked(user)
        assert page.named(printed) == {"disk-full"}
        assert "the broker" in printed
        ballast.unlink()
        moves(user)


def test_one_pipeline_floods(town: Town, user: User) -> None:
    with User(town.house) as wild, ThreadPoolExecutor() as pool:
        with incidents.flooded(wild, 300):
            waits = pool.submit(user.register, {"behind": "the flood"})
            printed = looked(user)
            assert page.named(printed) == {"one-pipeline-floods"}
            assert f"{wild.pipeline} floods it with token " in printed
            assert wild.token not in printed
            assert not waits.done()
            revoke = re.search(r"porch token revoke (\d+)", printed)
            assert revoke is not None
            cured(user, "one-pipeline-floods", TOKEN_ID=revoke[1])
            # What waits is a matter of half a minute, if it is carried out.
            waits.result(15)
        with pytest.raises(Refused, match="revoked_token"):
            wild.register({"run": 1})
    moves(user)


def test_when_all_is_mended_nothing_is_named(town: Town, user: User) -> None:
    _, (quick, *_) = page.commands()
    done = typed(user, quick)
    assert (done.returncode, page.named(done.stdout)) == (0, set()), done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("section", page.ANCHORS)
def test_what_the_page_lets_one_look_at_is_there(town: Town, user: User, section: str) -> None:
    for block in page.blocks("look", section):
        done = typed(user, f"set -e\n{block}")
        assert (done.returncode, done.stderr) == (0, "")
