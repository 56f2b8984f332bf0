"""The pages that have no test of their own are typed from top to bottom, all into one porch."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from redis import Redis

from config.relay.webhooks import read_webhooks
from porch_client.model import Decision
from tests.docs.pages import OWN_TESTS, Snippet, pages, snippets
from tests.docs.prepared import prepared
from tests.docs.terminal import Terminals
from tests.house import BIN, House, User, environment, wait_until


def typed_here() -> list[str]:
    """The pages that somebody types, and nobody else does."""
    found = []
    for page in pages():
        if page not in OWN_TESTS:
            found += [page for one in snippets(page) if one.is_typed and not one.elsewhere][:1]
    return found


@pytest.mark.parametrize("page", typed_here())
def test_a_page_can_be_typed_from_top_to_bottom(house: House, tmp_path: Path, page: str) -> None:
    with (
        prepared(page, house, tmp_path) as ready,
        Terminals(tmp_path, ready.env, ready.change) as terminals,
    ):
        assert terminals.type_page(snippets(page))


def read_here(page: str) -> list[Snippet]:
    """The snippets of a page that are left to the tests below."""
    mark = f"by tests/docs/{Path(__file__).name}"
    return [one for one in snippets(page) if one.mark.endswith(mark)]


def test_the_lines_of_the_crontab_do_what_they_are_for(house: House, tmp_path: Path) -> None:
    page = "docs/guides/wrappers.md"
    (crontab,) = read_here(page)
    lines = [line for line in crontab.text.splitlines() if "=" not in line.split()[0]]
    with prepared(page, house, tmp_path) as ready:
        (tmp_path / "runs.csv").write_text("Run,Lane\nERR1,1\n")
        (tmp_path / "align_one").write_text("#!/bin/sh\n")
        (tmp_path / "align_one").chmod(0o755)
        (tmp_path / "spooled").mkdir()
        settings = {**house.env(), "PORCH_TOKEN_FILE": str(tmp_path / ".porch" / "align.token")}
        said = ""
        for line in lines:
            assert re.match(r"(\S+\s+){5}cd /home/align && \S", line)
            command = line.split(None, 5)[5].replace("/home/align", str(tmp_path))
            for word, ours in ready.change.items():
                command = command.replace(word, ours)
            done = subprocess.run(
                ["bash", "-c", command],
                env={**ready.env, **settings},
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            said += done.stderr
    assert "1 definition  1 new" in said
    assert "1 claimed  1 DONE" in said


def test_the_log_has_the_fields_that_its_page_shows(house: House) -> None:
    shown = [one.text for one in read_here("docs/logs.md")]
    with User(house) as user:
        user.register({"run": 1})
        lines = (house.state_dir / "worker.submit.log").read_text().splitlines()
        logged = [json.loads(line) for line in lines if f'"{user.pipeline}"' in line]
    (submitted,) = [line for line in logged if line["verb"] == "porch.submit"]
    as_text, as_json = shown
    assert list(json.loads(as_json)) == list(submitted)
    named = re.findall(r"(\w+)=", as_text.splitlines()[0])
    assert named == [name for name in submitted if name in named]
    assert {"pipeline", "n", "new", "refused", "outcome", "ms"} == set(named)


def test_each_way_to_follow_status_messages_tells_of_a_failure(
    house: House, tmp_path: Path
) -> None:
    watch, program, stream = (one.text for one in read_here("docs/feed.md"))
    (tmp_path / "follow.py").write_text(program)
    with User(house) as user, ExitStack() as stack:
        (task,) = user.register({"run": 0})
        env = environment({**house.env(user.token), "PYTHONUNBUFFERED": "1"})
        commands = [shlex.split(line, comments=True) for line in watch.splitlines()]
        told = []
        for number, words in enumerate([*commands, ["python", "follow.py"]]):
            argv = [word.replace("1b7c2f", task[:8]) for word in words]
            told.append(tmp_path / f"{number}.txt")
            file = stack.enter_context(told[-1].open("w"))
            program = str(BIN / argv[0])
            process = subprocess.Popen([program, *argv[1:]], cwd=tmp_path, env=env, stdout=file)
            stack.callback(process.wait, 20)
            stack.callback(process.terminate)

        def it_fails_again_and_all_have_told() -> bool:
            # Two of the commands tell of nothing that was before they began.
            for claimed in user.client.claim(1):
                claimed.running()
                claimed.failed("no space left")
                user.client.rerun([Decision(task, "FAILED", claimed.attempt)])
            return all("FAILED" in path.read_text() for path in told)

        wait_until(it_fails_again_and_all_have_told, 60.0)
        assert (tmp_path / "bookmark").read_text().isdigit()

        ((number,),) = house.ask(
            "SELECT pipeline_id FROM porch.pipeline WHERE name = %s", user.pipeline
        )
        words = shlex.split(stream.replace("4711-0", "0").replace("feed.1 ", f"feed.{number} "))
        assert words[0] == "redis-cli"
        redis = stack.enter_context(closing(Redis.from_url(house.ready["broker_url"])))
        assert redis.execute_command(*words[1:])


def test_the_file_of_webhooks_is_one(tmp_path: Path) -> None:
    blocks = [one.text for one in snippets("docs/feed.md") if one.language == "json"]
    (hooks,) = [text for text in blocks if "webhooks" in text]
    path = tmp_path / "webhooks.json"
    path.write_text(hooks)
    assert [hook.name for hook in read_webhooks(path)] == ["webhook:lims"]
