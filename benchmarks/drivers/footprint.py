"""What programs take when they are at rest, and how long they take to begin."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import psutil
import redis

ROOT = Path(__file__).parents[2]

#: Appended to what a measured process runs: its own memory, in bytes.
_OWN_MEMORY = """
import json
text = open("/proc/self/smaps_rollup").read()
kb = dict(line.split(":") for line in text.splitlines()[1:])
print(json.dumps([int(kb[name].split()[0]) * 1024 for name in ("Rss", "Pss")]))
"""


def family_mb(pid: int) -> tuple[float, float]:
    """Memory of a process and its descendants in MiB: resident, and with what they share counted
    once (PSS)."""
    process = psutil.Process(pid)
    whole = [one.memory_full_info() for one in (process, *process.children(recursive=True))]
    return sum(one.rss for one in whole) / 2**20, sum(one.pss for one in whole) / 2**20


def python_mb(code: str, env: Mapping[str, str] | None = None) -> tuple[float, float]:
    """Memory of an interpreter that has run ``code``, as ``family_mb``."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", code + _OWN_MEMORY],
        env={**os.environ, **(env or {})},
        stdout=subprocess.PIPE,
        check=True,
    )
    rss, pss = json.loads(done.stdout)
    return rss / 2**20, pss / 2**20


def milliseconds(
    argv: Sequence[str], env: Mapping[str, str] | None = None, text: str = ""
) -> float:
    """How long a command takes from start to end."""
    began = time.perf_counter()
    subprocess.run(
        list(argv),
        env={**os.environ, **(env or {})},
        input=text.encode(),
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return (time.perf_counter() - began) * 1000


@cache
def wheel_kb(source: Path) -> float:
    """The wheel of a distribution, in KiB; nothing is fetched."""
    with tempfile.TemporaryDirectory(prefix="porch-bench-") as folder:
        copy = Path(folder) / "source"
        ignored = shutil.ignore_patterns(".*", "__pycache__", "build", "*.egg-info", "tests")
        shutil.copytree(source, copy, ignore=ignored)
        build = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
        subprocess.run(
            [sys.executable, "-c", build, folder], cwd=copy, stdout=subprocess.DEVNULL, check=True
        )
        (wheel,) = Path(folder).glob("*.whl")
        return wheel.stat().st_size / 1024


def queue_bytes(broker_url: str, queue: str) -> int:
    """What the messages of a queue take in the broker, which is emptied."""
    with redis.Redis.from_url(broker_url, socket_timeout=10) as broker:
        size = broker.memory_usage(queue, samples=0)
        broker.flushdb()
    return int(size or 0)
