#!/usr/bin/env python3
"""Registers the files of a folder as they are completed, each once.

    watch.py PIPELINE FOLDER PATTERN [SECONDS]

A file is complete when neither its size nor its time has changed for SECONDS (30), which is also
how often it looks; with 0 it looks once, takes all for complete, and ends: for cron. It keeps
nothing of its own: porch knows what it has seen, so start it again, or twice, at any time.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from porch_client import NotRegistered, Porch, PorchError, Registered, Spooled

SPOOL = Path(os.environ.get("SPOOL", Path.home() / ".porch-spool"))
Look = dict[Path, tuple[int, int]]


def look(folder: Path, pattern: str) -> Look:
    """Each file's size and time; a file that goes away meanwhile is left out."""
    found = {}
    for path in sorted(folder.rglob(pattern)):
        try:
            status = path.stat()
        except FileNotFoundError:
            continue
        if path.is_file():
            found[path] = (status.st_size, status.st_mtime_ns)
    return found


def definition(path: Path, folder: Path, size: int) -> dict[str, Any]:
    """What makes a file one piece of work. With its size in it, a file that is delivered again,
    longer, is new work; without, it would be known by its name."""
    return {"file": str(path.relative_to(folder)), "size": size}


def register(pipeline: str, folder: Path, files: Look) -> Look:
    """Register files; those that are registered, spooled, or refused need no more of our care."""
    if not files:
        return {}
    settled: Look = {}
    paths = list(files)
    definitions = [definition(path, folder, files[path][0]) for path in paths]
    # A session a time: this may run for months, and its broker be restarted.
    with Porch.from_environment() as porch:
        for answer in porch.submit(definitions, pipeline=pipeline, spool=SPOOL / pipeline):
            path = paths[answer.position]
            settled[path] = files[path]
            if isinstance(answer, NotRegistered):
                print(f"{path}: {answer.error.code}: {answer.error}", file=sys.stderr)
            elif isinstance(answer, Spooled):
                print(f"{path}: kept in {SPOOL / pipeline}: {answer.error}", file=sys.stderr)
            elif isinstance(answer, Registered) and answer.created:
                print(f"{path}: {answer.task_input_id}", flush=True)
    return settled


def main(pipeline: str, folder: Path, pattern: str, seconds: float) -> None:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    before = look(folder, pattern) if seconds == 0 else {}
    settled: Look = {}
    while not stop.is_set():
        now = look(folder, pattern)
        complete = {
            path: seen
            for path, seen in now.items()
            if before.get(path) == seen and settled.get(path) != seen
        }
        try:
            settled |= register(pipeline, folder, complete)
        except PorchError as error:
            # Not "away", which the spool is for: settings, or a full disk. The files stay.
            print(f"{error.code}: {error}; {error.cure}", file=sys.stderr)
            if seconds == 0:
                sys.exit(1)
        if seconds == 0:
            return
        before = now
        settled = {path: seen for path, seen in settled.items() if path in now}
        stop.wait(seconds)


if __name__ == "__main__":
    if len(sys.argv) not in (4, 5):
        sys.exit(__doc__)
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], float([*sys.argv, "30"][4]))
