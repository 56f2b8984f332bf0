"""The settings: what is read, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

import porch_client.settings as client
from config import settings as server
from config.settings import Misconfigured, Settings
from porch_client.errors import Misconfigured as ClientMisconfigured


def test_client_and_server_know_the_same_names() -> None:
    assert server.known_names() == client._KNOWN
    assert server.ELSEWHERE_PREFIX == client._INPUT


@pytest.mark.parametrize(
    ("misspelt", "meant"),
    [
        ("PORCH_DATABASEURL", "PORCH_DATABASE_URL"),
        ("PORCH_TOKN", "PORCH_TOKEN"),
        ("PORCH_STATEDIR", "PORCH_STATE_DIR"),
    ],
)
class TestAMisspeltName:
    def test_is_refused_by_the_server_with_the_nearest(self, misspelt: str, meant: str) -> None:
        with pytest.raises(Misconfigured, match=f"there is no setting {misspelt}.*{meant}"):
            server.refuse_unknown({misspelt: "x"})

    def test_is_refused_by_the_client_with_the_nearest(self, misspelt: str, meant: str) -> None:
        with pytest.raises(ClientMisconfigured, match=f"there is no setting {misspelt}.*{meant}"):
            client.Settings.from_environment({misspelt: "x"})


def test_what_drain_sets_for_its_commands_is_no_misspelling() -> None:
    given = {"PORCH_TASK": "{}", "PORCH_INPUT_RUN": "1", "PORCHLIGHT": "on"}
    server.refuse_unknown(given)
    client.Settings.from_environment(given)


class TestTheServer:
    def test_takes_the_log_format_and_level_in_any_case(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PORCH_LOG_FORMAT", "JSON")
        monkeypatch.setenv("PORCH_LOG_LEVEL", "Warning")
        settings = Settings.from_environment()
        assert (settings.log_format, settings.log_level) == ("json", "warning")

    @pytest.mark.parametrize(
        ("name", "cure"),
        [("PORCH_LOG_FORMAT", "'text' or 'json'"), ("PORCH_LOG_LEVEL", "'warning' or 'error'")],
    )
    def test_refuses_another_log_format_or_level_with_those_that_there_are(
        self, monkeypatch: pytest.MonkeyPatch, name: str, cure: str
    ) -> None:
        monkeypatch.setenv(name, "xml")
        with pytest.raises(Misconfigured, match=f"{name}.*{cure}"):
            Settings.from_environment()

    def test_uses_embedded_servers_unless_told(self) -> None:
        settings = Settings.from_environment()
        assert (settings.database_url, settings.broker_url) == (None, None)

    @pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2"])
    def test_takes_every_spelling_of_a_postgresql_url(
        self, scheme: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PORCH_DATABASE_URL", f"{scheme}://u:p@host/db")
        assert Settings.from_environment().database_url == "postgresql+psycopg2://u:p@host/db"

    @pytest.mark.parametrize("url", ["mysql://host/db", "host:5432", "sqlite://", "localhost"])
    def test_refuses_any_other_database(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PORCH_DATABASE_URL", url)
        with pytest.raises(Misconfigured, match="not a PostgreSQL URL"):
            Settings.from_environment()

    def test_does_not_repeat_a_password_that_it_refuses(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PORCH_DATABASE_URL", "mysql://u:hunter2@host/db")
        with pytest.raises(Misconfigured) as refused:
            Settings.from_environment()
        assert "hunter2" not in str(refused.value)

    @pytest.mark.parametrize("value", ["a lot", "12", "-1", "999999999999"])
    def test_refuses_a_limit_that_is_none(
        self, value: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PORCH_MAX_INPUT_BYTES", value)
        with pytest.raises(Misconfigured, match="PORCH_MAX_INPUT_BYTES"):
            Settings.from_environment()

    def test_takes_an_empty_value_for_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        usual = Settings.from_environment().state_dir
        monkeypatch.setenv("PORCH_STATE_DIR", "")
        assert Settings.from_environment().state_dir == usual

    def test_says_which_setting_is_missing(self) -> None:
        with pytest.raises(Misconfigured, match="PORCH_DATABASE_URL is not set"):
            Settings.from_environment().required("database_url")

    def test_keeps_its_data_where_it_is_told(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PORCH_STATE_DIR", str(tmp_path))
        assert Settings.from_environment().state_dir == tmp_path


class TestTheClient:
    def test_reads_what_is_given(self) -> None:
        given = {"PORCH_BROKER_URL": "redis://h/0", "PORCH_TOKEN": "t", "PORCH_TIMEOUT": "2.5"}
        settings = client.Settings.from_environment(given)
        assert (settings.broker_url, settings.token, settings.timeout) == ("redis://h/0", "t", 2.5)

    def test_takes_an_empty_value_for_none(self) -> None:
        assert client.Settings.from_environment({"PORCH_TOKEN": ""}).token is None

    def test_does_not_show_its_token(self) -> None:
        settings = client.Settings.from_environment({"PORCH_TOKEN": "secret"})
        assert "secret" not in repr(settings)

    @pytest.mark.parametrize("value", ["soon", "0", "-1", "inf", "nan"])
    def test_refuses_a_timeout_that_is_none(self, value: str) -> None:
        with pytest.raises(ClientMisconfigured, match="not a number of seconds"):
            client.Settings.from_environment({"PORCH_TIMEOUT": value})


class TestASecretInAFile:
    def test_is_read_by_the_server(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "database").write_text("postgresql://u:p@host/db\n")
        (tmp_path / "broker").write_text("redis://:p@host:6379/0\n")
        monkeypatch.setenv("PORCH_DATABASE_URL_FILE", str(tmp_path / "database"))
        monkeypatch.setenv("PORCH_BROKER_URL_FILE", str(tmp_path / "broker"))
        settings = Settings.from_environment()
        assert settings.database_url == "postgresql+psycopg2://u:p@host/db"
        assert settings.broker_url == "redis://:p@host:6379/0"

    def test_is_checked_like_any_other(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "database").write_text("mysql://u:hunter2@host/db\n")
        monkeypatch.setenv("PORCH_DATABASE_URL_FILE", str(tmp_path / "database"))
        with pytest.raises(Misconfigured, match="not a PostgreSQL URL") as refused:
            Settings.from_environment()
        assert "hunter2" not in str(refused.value)

    def test_is_not_to_be_given_twice(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PORCH_BROKER_URL", "redis://h/0")
        monkeypatch.setenv("PORCH_BROKER_URL_FILE", str(tmp_path / "broker"))
        with pytest.raises(Misconfigured, match="both PORCH_BROKER_URL and PORCH_BROKER_URL_FILE"):
            Settings.from_environment()

    def test_is_read_by_the_client(self, tmp_path: Path) -> None:
        (tmp_path / "token").write_text("t\n")
        (tmp_path / "broker").write_text("redis://h/0\n")
        given = {
            "PORCH_TOKEN_FILE": str(tmp_path / "token"),
            "PORCH_BROKER_URL_FILE": str(tmp_path / "broker"),
        }
        settings = client.Settings.from_environment(given)
        assert (settings.token, settings.broker_url) == ("t", "redis://h/0")

    def test_is_not_to_be_given_to_the_client_twice(self) -> None:
        with pytest.raises(ClientMisconfigured, match="set_twice"):
            client.Settings.from_environment({"PORCH_TOKEN": "t", "PORCH_TOKEN_FILE": "f"})

    @pytest.mark.parametrize(
        ("contents", "problem"),
        [(None, "No such file"), ("", "is empty"), (" \n", "is empty"), (b"\xff", "")],
    )
    def test_that_holds_none_is_told(
        self,
        contents: str | bytes | None,
        problem: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        path = tmp_path / "secret"
        if contents is not None:
            path.write_bytes(contents if isinstance(contents, bytes) else contents.encode())
        monkeypatch.setenv("PORCH_BROKER_URL_FILE", str(path))
        with pytest.raises(Misconfigured, match=f"{path}.*{problem}"):
            Settings.from_environment()
        with pytest.raises(ClientMisconfigured, match=f"no_broker.*{path}.*{problem}"):
            client.Settings.from_environment({"PORCH_BROKER_URL_FILE": str(path)})
