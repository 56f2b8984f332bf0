"""The settings of the server: environment variables named ``PORCH_*``, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

import platformdirs
import psycopg2
from psycopg2.extensions import parse_dsn
from pydantic import BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from coordinator.errors import PorchError
from coordinator.identity import Limits

#: Names that other parts of porch read: the client's settings, and what ``porch drain`` sets for
#: the commands it runs, which may well start a server command; and what scripts give to curl.
ELSEWHERE = frozenset(
    {
        *("PORCH_TOKEN", "PORCH_TOKEN_FILE", "PORCH_TIMEOUT", "PORCH_TASK"),
        *("PORCH_GATEWAY_URL", "PORCH_FLOWER_URL"),
    }
)
ELSEWHERE_PREFIX = "PORCH_INPUT_"

#: Names that say in which file a secret is, and the setting that is read from it. Not all secrets
#: can be in the environment: other processes of the user, and `docker inspect`, show that.
IN_FILES = {
    f"PORCH_{name.upper()}_FILE": name
    for name in ("database_url", "broker_url", "result_url", "flower_password")
}

#: Of all that Celery can speak: what workers are run on.
_RESULTS = ("redis", "rediss", "sentinel")
_BROKERS = (*_RESULTS, "amqp", "amqps", "pyamqp")
#: Read in any case: INFO is what most programs call it.
_Lower = BeforeValidator(lambda text: text.lower() if isinstance(text, str) else text)
_DATABASE_CURE = "write postgresql://user:password@host:5432/database"


class Misconfigured(PorchError):
    """A setting is missing, misspelt or not what it should be."""

    code: ClassVar[str] = "misconfigured"


def default_state_dir() -> Path:
    """Where embedded servers keep their data: the user's data directory; root's is the system's.

    Root's own home is closed to others as a rule, and PostgreSQL, which refuses to run as root,
    runs as another user.
    """
    if os.geteuid() == 0:
        return platformdirs.site_state_path("porch")
    return platformdirs.user_data_path("porch")


class Settings(BaseSettings):
    """Read once at the start of a process; ``Settings.from_environment()`` raises Misconfigured."""

    # Descriptions are for the reference of settings, which is made of them.
    model_config = SettingsConfigDict(env_prefix="PORCH_", env_ignore_empty=True, frozen=True)

    database_url: str | None = Field(
        default=None, description="PostgreSQL: `postgresql://user:password@host:5432/porch`."
    )
    broker_url: str | None = Field(
        default=None, description="The broker: `redis://:password@host:6379/0`."
    )
    result_url: str | None = Field(
        default=None, description="Where answers come back; the broker unless set."
    )
    state_dir: Path = Field(
        default_factory=default_state_dir,
        description="Where the embedded servers keep their data: unless set, in the user's data "
        "directory, for root `/var/lib/porch`.",
    )
    max_input_bytes: int = Field(
        default=Limits().max_bytes,
        ge=1_024,
        le=16 * 2**20,
        description="The largest definition, in bytes of canonical JSON.",
    )
    gateway_host: str = Field(default="127.0.0.1", description="Where the gateway listens.")
    gateway_port: int = Field(
        default=8080, ge=0, le=65_535, description="Its port; 0 is any that is free."
    )
    reads_need_token: bool = Field(
        default=False, description="Whether looking needs a token too, over HTTP."
    )
    metrics_host: str = Field(
        default="127.0.0.1",
        description="Where gateway, worker or beat answers `/metrics` and nothing else, to whoever "
        "can reach it.",
    )
    metrics_port: int | None = Field(
        default=None,
        ge=0,
        le=65_535,
        description="The port of that; 0 is any that is free, and unless it is set there is none.",
    )
    metrics_disks: str = Field(
        default="",
        description="Paths, separated by commas, on disks whose room the gateway's metrics tell.",
    )
    feed_length: int = Field(
        default=10_000,
        ge=0,
        le=10_000_000,
        description="About how many status messages the stream of each pipeline keeps; 0: there "
        "are no streams.",
    )
    webhooks_file: Path | None = Field(
        default=None, description="The file of the webhooks that the relay calls."
    )
    flower: bool = Field(default=True, description="Whether `porch-server up` starts Flower.")
    flower_host: str = Field(default="127.0.0.1", description="Where Flower listens.")
    flower_port: int = Field(
        default=5555, ge=0, le=65_535, description="Its port; for `up`, 0 is any that is free."
    )
    flower_password: str | None = Field(
        default=None,
        pattern=r"^[!-~]{12,}$",
        description="Of its user, `porch`, 12 characters at least; made and kept in the state "
        "directory unless set.",
    )
    ready_file: Path | None = Field(
        default=None,
        description="A worker, or beat, makes this file when it is ready, and touches it every two "
        "seconds while it lives and has its broker.",
    )
    log_format: Annotated[Literal["text", "json"], _Lower] = Field(
        default="text", description="How the lines of the log are written."
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], _Lower] = Field(
        default="info", description="From which level on."
    )

    @classmethod
    def from_environment(cls) -> Settings:
        """The settings as the environment has them. Raises Misconfigured."""
        refuse_unknown(os.environ)
        try:
            settings = cls(**_from_files(os.environ))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            name = "PORCH_" + "_".join(str(part) for part in first["loc"]).upper()
            raise Misconfigured(f"{name}: {first['msg']}", "see the README's settings") from None
        _check_broker("PORCH_BROKER_URL", settings.broker_url, _BROKERS)
        _check_broker("PORCH_RESULT_URL", settings.result_url, _RESULTS)
        if settings.database_url is not None:
            url = _with_driver(settings.database_url)
            return settings.model_copy(update={"database_url": url})
        return settings

    def required(self, name: str) -> str:
        """The value of a setting that this command cannot do without. Raises Misconfigured."""
        value = getattr(self, name)
        if not value:
            raise Misconfigured(
                f"PORCH_{name.upper()} is not set",
                "set it, or let `porch-server up` start everything on this machine",
            )
        return str(value)

    @property
    def watched_disks(self) -> list[str]:
        """The paths in ``metrics_disks``."""
        return [path.strip() for path in self.metrics_disks.split(",") if path.strip()]


def refuse_unknown(environment: Mapping[str, str]) -> None:
    """Raises Misconfigured for a PORCH_ name that nothing reads: it is misspelt."""
    known = known_names()
    for name in environment:
        if name.startswith("PORCH_") and name not in known:
            if name.startswith(ELSEWHERE_PREFIX):
                continue
            near = get_close_matches(name, known, n=1, cutoff=0.0)[0]
            raise Misconfigured(f"there is no setting {name}", f"did you mean {near}?")


def known_names() -> frozenset[str]:
    """Every PORCH_ name that some part of porch reads."""
    ours = {f"PORCH_{name.upper()}" for name in Settings.model_fields}
    return ELSEWHERE.union(ours, IN_FILES)


def _from_files(environment: Mapping[str, str]) -> dict[str, Any]:
    """The settings whose values are in files. A name that is set to nothing is not set."""
    values = {}
    for name, setting in IN_FILES.items():
        path = environment.get(name)
        if not path:
            continue
        plain = f"PORCH_{setting.upper()}"
        if environment.get(plain):
            raise Misconfigured(f"both {plain} and {name} are set", "unset one of them")
        try:
            value = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            said = getattr(error, "strerror", None) or "not UTF-8"
            raise Misconfigured(
                f"{name}: cannot read {path}: {said}",
                f"name a file that this user may read, with what {plain} would be in it",
            ) from None
        if not value:
            raise Misconfigured(f"{name}: {path} is empty", f"write into it what {plain} would be")
        values[setting] = value
    return values


def _with_driver(url: str) -> str:
    """The URL with the driver named: many tools hand out plain postgresql:// or postgres://."""
    from sqlalchemy.engine import make_url  # noqa: PLC0415 (not for those that need no database)
    from sqlalchemy.exc import ArgumentError  # noqa: PLC0415

    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in {"postgres", "postgresql", "postgresql+psycopg2"}:
        raise Misconfigured("PORCH_DATABASE_URL is not a PostgreSQL URL", _DATABASE_CURE)
    try:
        made = make_url(f"postgresql+psycopg2://{rest}")
        parse_dsn(f"postgresql://{rest}")
    except (ArgumentError, ValueError, psycopg2.Error):
        # Not its own words: they repeat the URL, and the password in it.
        raise Misconfigured(
            "PORCH_DATABASE_URL cannot be read: a port that is no number, or an option that "
            "PostgreSQL does not know",
            _DATABASE_CURE,
        ) from None
    return made.render_as_string(hide_password=False)


def _check_broker(name: str, url: str | None, schemes: Collection[str]) -> None:
    if url is None:
        return
    try:
        parts = urlsplit(url)
        good = parts.scheme in schemes and (parts.port is None or parts.port > 0)
    except ValueError:
        good = False
    if not good:
        raise Misconfigured(
            f"{name} is not a URL that porch can use", "write redis://:password@host:6379/0"
        )
