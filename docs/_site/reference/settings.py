"""Every setting, as the code has it: name, what it takes, default and meaning."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from _site.reference.writing import code, prose, table
from config.settings import IN_FILES, Settings
from porch_client.settings import MEANINGS, SECRETS, SET_FOR_SCRIPTS, TIMEOUT

_HEAD = ("name", "meaning", "default", "takes")
_IN_A_FILE = "A file that holds the value of {}, instead."


def markdown() -> str:
    """The server's, the client's, and those that scripts find set."""
    return "\n".join(
        [
            "## Of the server\n",
            table(_HEAD, server()),
            "## Of the client\n",
            table(_HEAD, client()),
            "## For scripts\n",
            "Read by nothing of porch, and set for programs that it starts, or that you do.\n",
            table(("name", "holds"), for_scripts()),
        ]
    )


def server() -> Iterator[tuple[str, ...]]:
    """A row for each that the server reads."""
    schema = Settings.model_json_schema()["properties"]
    files = {setting: name for name, setting in IN_FILES.items()}
    for field, info in Settings.model_fields.items():
        name = f"PORCH_{field.upper()}"
        default = "" if info.default_factory else _told(info.default)
        yield code(name), prose(info.description or ""), default, _takes(schema[field])
        if field in files:
            yield code(files[field]), _IN_A_FILE.format(code(name)), "", "path"


def client() -> Iterator[tuple[str, ...]]:
    """A row for each that the client reads."""
    for name, meaning in MEANINGS.items():
        number = name == "PORCH_TIMEOUT"
        takes, default = ("number above 0", code(f"{TIMEOUT:g}")) if number else ("text", "")
        yield code(name), prose(meaning), default, takes
        if name in SECRETS:
            yield code(f"{name}_FILE"), _IN_A_FILE.format(code(name)), "", "path"


def for_scripts() -> Iterator[tuple[str, str]]:
    """A row for each that is set and not read."""
    for name, meaning in SET_FOR_SCRIPTS.items():
        yield code(name), prose(meaning)
    yield code("PORCH_INPUT_<KEY>"), prose("By `porch drain`: the scalar of that key of the input.")


def _takes(schema: dict[str, Any]) -> str:
    (kind,) = [one for one in schema.get("anyOf", [schema]) if one.get("type") != "null"]
    if "enum" in kind:
        return " or ".join(map(code, kind["enum"]))
    if kind["type"] == "integer":
        return f"{kind['minimum']:,} to {kind['maximum']:,}"
    if kind["type"] == "boolean":
        return "`true` or `false`"
    return "path" if kind.get("format") == "path" else "text"


def _told(default: object) -> str:
    if default is None or default == "":
        return ""
    return code(str(default).lower() if isinstance(default, bool) else str(default))
