"""JSON lines in, JSON lines out, of any length: each chunk is answered before the next is read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import Annotated, Any
from uuid import uuid5

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from coordinator import shapes
from coordinator.errors import InternalError, PorchError
from coordinator.gateway.callers import Porch, Reader, Writer
from coordinator.gateway.problems import log_defect
from coordinator.gateway.v2 import ndjson
from coordinator.gateway.v2.documents import NDJSON, lines_in, lines_out, problems
from coordinator.operations import Operation, under_way
from coordinator.requests import Caller
from coordinator.sent import SentInAddress

#: What an answer to a chunk is made of: definitions in, what is said of each out.
Answering = Callable[[Caller, Sequence[object]], Sequence[Any]]

PREVIEW = "/tasks/preview"
PATHS = ("/tasks", PREVIEW)

#: Comparing takes long: two at a time, beside all the others that the gateway carries out.
_COMPARING = CapacityLimiter(2)

#: Characters of a line beyond the bytes of canonical JSON: \u escapes and spaces.
_SLACK = 8
_SAME = frozenset({NDJSON, "application/ndjson", "application/jsonl", "application/x-jsonlines"})


def json_lines(request: Request) -> None:
    """Raises HTTPException for a body that is something else."""
    sent = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if sent not in _SAME:
        raise HTTPException(415, f"send JSON lines, with the header Content-Type: {NDJSON}")


router = APIRouter(tags=["v2: bulk"], dependencies=[Depends(json_lines)])

_Pipeline = Annotated[SentInAddress | None, Query(description="That of the token, if left out")]
_Version = Annotated[SentInAddress | None, Query(description="The only one, if left out")]


class Streamed(StreamingResponse):
    """Written while the request is read: nothing but the reader may take what comes in."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.stream_response(send)


@router.post(
    "/tasks",
    response_class=Streamed,
    openapi_extra=lines_in('{"id_run": 1}\n'),
    responses={
        **problems(404, 415),
        **lines_out(
            "How each definition stands, in order",
            '{"position":0,"task_input_id":"...","status":"PENDING","created":true}\n',
        ),
    },
)
async def submit(
    request: Request,
    porch: Porch,
    caller: Writer,
    pipeline: _Pipeline = None,
    version: _Version = None,
    priority: Annotated[int, Query(ge=-100, le=100)] = 0,
) -> Streamed:
    """Register the definitions that are new, one task_input a line, in a body of any length.

    Every thousand lines or MiB is committed and answered before the next is read. A line that
    cannot be used is answered with its error and keeps no other out. If it cannot go on, the last
    line is ``{"stopped_at": position, "error": ...}``: what was answered before it is registered.
    """

    def answer(caller: Caller, definitions: Sequence[object]) -> list[Any]:
        standings = porch.submit(
            caller, definitions, pipeline=pipeline, version=version, priority=priority
        )
        return [shapes.standing(standing) for standing in standings]

    await run_in_threadpool(answer, caller, [])
    return _streamed(request, caller, answer, porch.limits.max_bytes * _SLACK)


@router.post(
    PREVIEW,
    response_class=Streamed,
    openapi_extra=lines_in('{"id_run": 1}\n'),
    responses={
        **problems(404, 415),
        **lines_out(
            "How each definition would be found, in order",
            '{"position":0,"task_input_id":"...","new":false,"status":"DONE"}\n',
        ),
    },
)
async def preview(
    request: Request,
    porch: Porch,
    caller: Reader,
    pipeline: _Pipeline = None,
    version: _Version = None,
    nearest: Annotated[bool, Query(description="Tell what is nearest to a new one")] = False,
) -> Streamed:
    """Tell which definitions are new, and register nothing.

    ``nearest``: for each new one, the known one that differs only in the type of values, or else
    one of the last 20,000 that differs in a single value at the top level.
    """

    def answer(caller: Caller, definitions: Sequence[object]) -> list[Any]:
        foreseen = porch.foresee(
            caller, definitions, pipeline=pipeline, version=version, nearest=nearest
        )
        return [shapes.nearest(one) if nearest else shapes.foreseen(one) for one in foreseen]

    await run_in_threadpool(answer, caller, [])
    limiter = _COMPARING if nearest else None
    return _streamed(request, caller, answer, porch.limits.max_bytes * _SLACK, limiter)


def _streamed(
    request: Request,
    caller: Caller,
    answer: Answering,
    longest: int,
    limiter: CapacityLimiter | None = None,
) -> Streamed:
    return Streamed(_answers(request, caller, answer, longest, limiter), media_type=NDJSON)


async def _answers(
    request: Request,
    caller: Caller,
    answer: Answering,
    longest: int,
    limiter: CapacityLimiter | None,
) -> AsyncIterator[bytes]:
    position = 0
    number = 0
    whole = under_way()
    try:
        async for chunk in ndjson.chunks(request.stream(), longest):
            # Sent again under the same Idempotency-Key, each chunk is the same request as before.
            one = replace(caller, request_id=uuid5(caller.request_id, str(number)))
            part = Operation(f"{whole.verb}.part", one.request_id)
            rows = await run_sync(_rows, one, answer, chunk, position, limiter=limiter)
            _log(part, whole, rows)
            yield ndjson.written(rows)
            number += 1
            position += len(chunk)
    except ClientDisconnect:  # nobody is there to be told
        return
    except PorchError as error:
        whole.outcome = error.code
        yield _stopped(request, position, error)
    except Exception as error:  # noqa: BLE001 (its details are logged)
        log_defect(error)
        ours = InternalError("the gateway failed on this chunk", "its log has the details")
        whole.outcome = ours.code
        yield _stopped(request, position, ours)


def _rows(
    caller: Caller, answer: Answering, chunk: Sequence[object], position: int
) -> list[dict[str, Any]]:
    good = [sent for sent in chunk if not isinstance(sent, PorchError)]
    answers = iter(answer(caller, good))
    return [
        {
            "position": position + n,
            **(shapes.refused(sent) if isinstance(sent, PorchError) else next(answers)),
        }
        for n, sent in enumerate(chunk)
    ]


def _log(part: Operation, whole: Operation, rows: Sequence[dict[str, Any]]) -> None:
    """Log a chunk, under the name that its events have, and count it to the whole request."""
    counts = {
        "n": len(rows),
        "new": sum(bool(row.get("created", row.get("new"))) for row in rows),
        "refused": sum("error" in row for row in rows),
    }
    whole.facts = {name: int(whole.facts.get(name, 0)) + n for name, n in counts.items()}
    part.pipeline, part.facts = whole.pipeline, {**counts, "of": str(whole.request_id)}
    part.log()


def _stopped(request: Request, position: int, error: PorchError) -> bytes:
    request.app.state.porch.observer.turn_away(error)
    return ndjson.written([{"stopped_at": position, **shapes.refused(error)}])
