"""The wire format, from the shapes that workers check requests by, and from recorded messages."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter
from typing_extensions import is_typeddict

from _site.reference.raised import ROOT
from _site.reference.shapes import fields, kind
from _site.reference.writing import code, fenced, prose, table
from config.queues import QUEUES
from config.settings import Settings
from coordinator import arrivals, identity, overview_shapes, proofs, queries, sent, shapes, tokens
from coordinator.messages import MOST_CHARACTERS as MOST_OF_A_MESSAGE
from coordinator.status import Status
from tasks import guard, wire

#: Messages of porch's own clients, recorded for the tests of old clients with new workers.
_RECORDED = ROOT / "tests" / "wire" / f"v{wire.WIRE}"
_VERB = re.compile(r"porch\.(\w+)")


@dataclass
class Verb:
    """One verb: the shape of its requests, and the first that was recorded."""

    name: str
    shape: type[wire.Request]
    recorded: dict[str, Any]

    @property
    def queue(self) -> str:
        """Where its requests go."""
        return str(self.recorded["queue"])


def markdown() -> str:
    """What all messages have in common, then verb by verb, then the shapes of answers."""
    all_of_them = verbs()
    of_queues = (
        (code(queue), ", ".join(code(v.name) for v in all_of_them if v.queue == queue))
        for queue in QUEUES
    )
    return "\n".join(
        [
            "## Queues\n",
            table(("queue", "requests"), of_queues),
            "## Headers\n",
            table(("header", "is"), _headers()),
            "### The proof of a token\n",
            _of_proofs(),
            "## Limits\n",
            table(("of", "at most"), _limits()),
            "## Requests\n",
            "Every request has `wire` and may have `host`, where it comes from, and `pipeline`. "
            "A field that is not listed is refused. The examples are messages that were recorded, "
            "and that each later release must understand.\n",
            *map(_section, all_of_them),
            "## Shapes\n",
            "What requests and answers are made of.\n",
            *map(_shape, _shapes()),
        ]
    )


def verbs() -> list[Verb]:
    """All that a worker takes."""
    recorded: dict[str, dict[str, Any]] = {}
    for path in sorted(_RECORDED.glob("*.json")):
        message = json.loads(path.read_text(encoding="utf-8"))
        recorded.setdefault(message["envelope"]["headers"]["task"], message)
    found = []
    for shape in vars(wire).values():
        named = _VERB.match(inspect.getdoc(shape) or "") if inspect.isclass(shape) else None
        if named and issubclass(shape, wire.Request):
            found.append(Verb(named[0], shape, recorded[named[0]]))
    return found


def _headers() -> Iterator[tuple[str, str]]:
    yield "`porch_proof`", "proves the token for this request: see below; none with `porch.sweep`"
    yield "`porch_sent`", "when it was sent, in seconds since 1970; `doctor` tells how old waits"
    yield "`traceparent`", "names a trace, as W3C Trace Context has it; may be left out"
    accepted = guard._HEADERS.difference(guard._UNWANTED_HEADERS, {"traceparent"})
    yield "Celery's own", ", ".join(map(code, sorted(accepted)))
    unwanted = ", ".join(map(code, sorted(guard._UNWANTED_HEADERS)))
    yield "refused, if they have a value", f"{unwanted}, and any that is not listed here"


def _of_proofs() -> str:
    """What ``coordinator.proofs`` says of itself; formulas are indented there."""
    paragraphs = (inspect.getdoc(proofs) or "").split("\n\n")[1:]
    return "\n\n".join(
        fenced(inspect.cleandoc(text)) if text.startswith("    ") else prose(text)
        for text in paragraphs
    )


def _limits() -> Iterator[tuple[str, str]]:
    definition = Settings.model_fields["max_input_bytes"].default
    yield "one request", f"{wire.MOST_CHARACTERS:,} characters"
    yield "definitions in one request", f"{arrivals.MOST_AT_ONCE:,}"
    yield "one definition", f"{definition:,} bytes of canonical JSON (`PORCH_MAX_INPUT_BYTES`)"
    yield "its depth", f"{identity.Limits().max_depth} levels"
    yield "tasks in one claim", f"{arrivals.MOST_CLAIMED:,}"
    yield "tasks in one page of a list", f"{queries.MOST_LISTED:,}"
    yield "admin events in one page", f"{tokens.MOST_ADMIN_EVENTS:,}"
    yield "a message, as the feed tells it", f"{MOST_OF_A_MESSAGE:,} characters"
    yield "one header", f"{guard._LONGEST_HEADER:,} characters"
    yield "the request's id", f"{guard._LONGEST_ID} characters; a UUID"


def _section(verb: Verb) -> str:
    schema = verb.shape.model_json_schema()
    own = {
        name: of
        for name, of in schema["properties"].items()
        if name not in wire.Request.model_fields or name in schema.get("required", [])
    }
    own.pop("wire", None)
    said = re.sub(r"^porch\.\w+[:.]\s*", "", inspect.getdoc(verb.shape) or "")
    (request,), *_ = verb.recorded["envelope"]["body"]
    both = {"request": request, "answer": verb.recorded["answer"]}
    parts = [
        f"### {verb.name}\n",
        f"In queue {code(verb.queue)}. {prose(said[0].upper() + said[1:])}\n",
        _fields({**schema, "properties": own}),
        *(f"For example, the {word}:\n\n{_example(one)}" for word, one in both.items()),
    ]
    return "\n".join(parts)


def _example(message: dict[str, Any]) -> str:
    """A message, with lists that go on and on cut short."""
    return fenced(json.dumps(_shortened(message), indent=1, ensure_ascii=False), "json")


def _shortened(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _shortened(one) for name, one in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [_shortened(value[0]), *(["..."] if len(value) > 1 else [])]
    return value


def _shapes() -> Iterator[type]:
    """What requests are made of, then what answers are made of."""
    yield from (sent.SentName, sent.SentReport, sent.SentDecision)
    for module in (shapes, overview_shapes):
        for named in vars(module).values():
            if is_typeddict(named) and named.__module__ == module.__name__:
                yield named


def _shape(named: type) -> str:
    schema = TypeAdapter(named).json_schema()
    schema = schema if "properties" in schema else schema["$defs"][named.__name__]
    said = prose(inspect.getdoc(named) or "")
    return f"### {named.__name__}\n\n{said}\n\n{_fields(schema)}"


def _fields(schema: dict[str, Any]) -> str:
    """A table of fields, with statuses by their names."""
    statuses = kind(TypeAdapter(Status).json_schema())
    return fields(schema).replace(kind({"$ref": "Status"}), statuses)
