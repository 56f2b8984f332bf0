"""Who may do what: admin tokens, pipeline tokens, and what happens to a token that is no good."""

from __future__ import annotations

import json
import secrets
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.factories import unique
from tests.house import House, User, json_lines, wait_until


def denied(done: Any, code: str, says: str) -> None:
    """The command was refused for its token, in one line."""
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"porch: {code}: ")
    assert says in line
    assert (done.returncode, done.stdout) == (1, "")


def submit(house: House, token: str | None, *options: str) -> Any:
    return house.porch("submit", "-", *options, token=token, input='{"a": 1}')


def test_without_a_token_the_cure_is_told(house: House) -> None:
    denied(submit(house, None), "missing_token", "set PORCH_TOKEN")


@pytest.mark.parametrize("token", ["not-a-token", "A" * 32, "é" * 32])
def test_what_cannot_be_a_token_is_refused_and_not_repeated(house: House, token: str) -> None:
    done = submit(house, token)
    denied(done, "unknown_token", "check PORCH_TOKEN")
    assert token not in done.stderr


def test_a_token_that_was_never_issued_is_refused(house: House) -> None:
    denied(submit(house, secrets.token_hex(16)), "unknown_token", "")


def test_a_revoked_token_is_refused_from_then_on(house: House, user: User) -> None:
    admin = house.ready["admin_token"]
    listed = house.porch("token", "list", "--pipeline", user.pipeline, token=admin)
    (token,) = json_lines(listed.stdout)
    assert token["revoked_at"] is None
    revoked = house.porch("token", "revoke", str(token["token_id"]), token=admin)
    assert json.loads(revoked.stdout)["revoked_at"] is not None
    denied(submit(house, user.token), "revoked_token", "")


def test_a_token_of_another_pipeline_is_refused(house: House, user: User) -> None:
    with User(house) as other:
        done = submit(house, other.token, "--pipeline", user.pipeline)
        denied(done, "forbidden", f'for the pipeline "{other.pipeline}", not for "{user.pipeline}"')


@pytest.mark.parametrize("verb", ["show", "cancel"])
def test_a_task_of_another_pipeline_is_not_found(house: House, user: User, verb: str) -> None:
    (task,) = user.register({"a": 1})
    with User(house) as other:
        done = other.porch(verb, task)
        assert done.returncode == 1
        assert "porch: unknown_task: " in done.stderr
    assert user.status(task) == "PENDING"


def test_an_admin_token_cannot_submit(house: House, user: User) -> None:
    done = submit(house, house.ready["admin_token"], "--pipeline", user.pipeline)
    denied(done, "forbidden", f"`porch token issue --pipeline {user.pipeline} --description TEXT`")


@pytest.mark.parametrize(
    "argv",
    [
        ("pipeline", "register", "another", "--uri", "u", "--version", "1"),
        ("pipeline", "add-version", "{pipeline}", "2.0"),
        ("pipeline", "update", "{pipeline}", "--lease", "2h"),
        ("token", "issue", "--pipeline", "{pipeline}", "--description", "d"),
        ("token", "list"),
        ("token", "revoke", "1"),
        ("token", "rotate", "1"),
        ("admin-events",),
    ],
)
def test_a_pipeline_token_cannot_administer(user: User, argv: tuple[str, ...]) -> None:
    done = user.porch(*(word.format(pipeline=user.pipeline) for word in argv))
    denied(done, "forbidden", "this needs an admin token")


def test_a_token_comes_from_a_file(house: House, user: User, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(user.token + "\n")
    done = house.porch("--token-file", str(path), "submit", "-", input='{"a": 1}')
    assert done.returncode == 0, done.stderr
    assert user.inputs() == [{"a": 1}]


def test_an_issued_token_is_shown_once_and_works(house: House) -> None:
    admin, name = house.ready["admin_token"], unique("pipeline")
    house.porch("pipeline", "register", name, "--uri", "u", "--version", "1", token=admin)
    argv = ("token", "issue", "--pipeline", name, "--description", "farm")
    issued = json.loads(house.porch(*argv, token=admin).stdout)
    assert (issued["pipeline"], issued["description"]) == (name, "farm")
    assert submit(house, issued["token"]).returncode == 0
    listed = house.porch("token", "list", "--pipeline", name, token=admin).stdout
    assert [one["description"] for one in json_lines(listed)] == ["farm"]
    assert issued["token"] not in listed


def test_an_expired_token_is_refused_with_its_cure(house: House, user: User) -> None:
    admin = house.ready["admin_token"]
    argv = ("token", "issue", "--pipeline", user.pipeline, "--description", "d", "--expires", "1s")
    issued = json.loads(house.porch(*argv, token=admin).stdout)
    assert issued["expires_at"] is not None

    def ended() -> bool:
        return submit(house, issued["token"]).returncode != 0

    wait_until(ended, 10.0, "the token has expired")
    done = submit(house, issued["token"])
    denied(done, "expired_token", f"porch token issue --pipeline {user.pipeline}")


def test_a_token_is_rotated_and_both_are_good_for_a_while(house: House, user: User) -> None:
    admin = house.ready["admin_token"]
    listed = house.porch("token", "list", "--pipeline", user.pipeline, token=admin)
    (old,) = json_lines(listed.stdout)
    argv = ("token", "rotate", str(old["token_id"]), "--overlap", "1h", "--expires", "90d")
    rotated = json.loads(house.porch(*argv, token=admin).stdout)
    assert rotated["replaces"]["replaced_by"] == rotated["token_id"]
    assert rotated["replaces"]["expires_at"] < rotated["expires_at"]
    assert [submit(house, secret).returncode for secret in (user.token, rotated["token"])] == [0, 0]
    again = house.porch(*argv, token=admin)
    denied(again, "token_ended", f"`porch token rotate {rotated['token_id']}`")
    tokens = json_lines(
        house.porch("token", "list", "--pipeline", user.pipeline, token=admin).stdout
    )
    assert all(token["used_at"] for token in tokens)


def test_what_an_administrator_did_is_told(house: House, user: User) -> None:
    admin = house.ready["admin_token"]
    done = house.porch("admin-events", token=admin)
    events = [event for event in json_lines(done.stdout) if event["pipeline"] == user.pipeline]
    assert [event["action"] for event in events] == ["register", "issue_token"]
    assert {event["token"] for event in events} == {"first admin token, made by porch-server up"}


def test_a_token_is_in_no_output_and_in_no_log(house: House, user: User, tmp_path: Path) -> None:
    sheet = tmp_path / "runs.csv"
    sheet.write_text("Run\nERR1\nERR2\n")
    said = ""
    for argv in (
        ("submit", "--pipeline", user.pipeline, str(sheet)),
        ("submit", "--pipeline", "no-such", str(sheet)),
        ("claim",),
        ("drain", "--", "true"),
        ("list",),
        ("token", "list"),
    ):
        done = user.porch(*argv)
        said += done.stdout + done.stderr
    assert "ERR1" in said
    assert user.token not in said
    logs = {path.name: path.read_text() for path in house.state_dir.glob("*.log")}
    assert f"pipeline={user.pipeline} " in logs["worker.submit.log"]
    assert [name for name, text in logs.items() if user.token in text] == []


def test_the_admin_token_is_in_no_file_but_its_own(house: House) -> None:
    token = house.ready["admin_token"].encode()
    # Below servers/ the broker keeps the messages of the last minutes, each with its token.
    files = [path for path in house.state_dir.iterdir() if path.is_file()]
    holders = {path.name for path in files if token in path.read_bytes()}
    assert holders == {"admin-token", "env.sh"}


def test_a_secret_may_go_into_a_file_of_its_owners_alone(
    house: House, user: User, tmp_path: Path
) -> None:
    path = tmp_path / "token"
    issue = ("token", "issue", "--pipeline", user.pipeline, "--description", "d", "--into")
    admin = house.ready["admin_token"]
    done = house.porch(*issue, str(path), token=admin)
    assert done.stderr == ""
    issued = json.loads(done.stdout)
    assert "token" not in issued
    assert path.read_text().strip() not in json.dumps(issued)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    first = path.read_text()
    rotate = ("token", "rotate", str(issued["token_id"]), "--into", str(path))
    assert house.porch(*rotate, token=admin).returncode == 0
    assert path.read_text() != first
    submitted = house.porch("--token-file", str(path), "submit", "-", input='{"a": 1}')
    assert submitted.returncode == 0, submitted.stderr
    assert [one.name for one in tmp_path.iterdir()] == ["token"]


def test_no_token_is_issued_into_a_file_that_cannot_be(house: House, user: User) -> None:
    admin = house.ready["admin_token"]
    listing = ("token", "list", "--pipeline", user.pipeline)
    before = house.porch(*listing, token=admin).stdout
    issue = ("token", "issue", "--pipeline", user.pipeline, "--description", "d", "--into")
    done = house.porch(*issue, "/nowhere/token", token=admin)
    assert (done.returncode, done.stdout) == (2, "")
    assert "No such file or directory" in done.stderr
    assert house.porch(*listing, token=admin).stdout == before
