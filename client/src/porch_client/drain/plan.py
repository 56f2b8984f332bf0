"""What to drain, and how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

OnStop = Literal["fail", "release", "wait"]
ON_STOP: tuple[str, ...] = get_args(OnStop)


@dataclass(frozen=True)
class Plan:
    """`batch` None claims as many as there is room for, `most` None until
    the claim queue is empty; `job_id` is what a scheduler calls the job that we are.

    `on_stop`: what becomes at a signal of commands that run. `fail`: they are stopped, and what
    ends badly has FAILED; `release`: it is given back instead; `wait`: they are not stopped."""

    words: Sequence[str]
    pipeline: str | None = None
    version: str | None = None
    jobs: int = 1
    batch: int | None = None
    grace: float = 30.0
    job_id: str | None = None
    most: int | None = None
    on_stop: OnStop = "fail"
