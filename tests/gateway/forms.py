"""An operator's browser without scripts: it follows links, fills in forms, and keeps cookies."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

import httpx


@dataclass
class Filled:
    """A form as a page gives it: where it goes, and what its fields hold."""

    action: str
    fields: dict[str, list[str]] = field(default_factory=dict)

    @property
    def hidden(self) -> dict[str, str]:
        """What goes with the form whatever the operator does."""
        return {name: values[0] for name, values in self.fields.items() if name != "task"}


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[Filled] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.found.append(Filled(given["action"]))
        elif (
            tag == "input"
            and self.found
            and (given.get("type") == "hidden" or given.get("name") == "task")
        ):
            self.found[-1].fields.setdefault(given["name"], []).append(given.get("value", ""))


def forms(page: httpx.Response, action: str) -> list[Filled]:
    """The forms of a page that go to ``action``."""
    parser = _Forms()
    parser.feed(page.text)
    return [form for form in parser.found if form.action == action]


def enter(client: httpx.Client, token: str) -> httpx.Response:
    """Begin a session; the page that follows."""
    reply = client.post("/session", data={"token": token})
    return client.get(reply.headers["location"]) if reply.status_code == 303 else reply


def send(client: httpx.Client, form: Filled, **fields: str | list[str]) -> httpx.Response:
    """Send a form with what it holds and what is filled in; the page that follows."""
    reply = client.post(form.action, data=_as_sent({**form.hidden, **fields}))
    return client.get(reply.headers["location"]) if reply.status_code == 303 else reply


def _as_sent(fields: dict[str, str | list[str]]) -> dict[str, str | list[str]]:
    """Browsers send each line end as CRLF, whatever the page had."""
    return {
        name: _crlf(value) if isinstance(value, str) else [_crlf(one) for one in value]
        for name, value in fields.items()
    }


def _crlf(value: str) -> str:
    return re.sub(r"\r\n|\r|\n", "\r\n", value)
