"""A terminal in which a page is typed: what programs print there is what its reader sees."""

from __future__ import annotations

import os
import pty
import re
import select
import shlex
import signal
import subprocess
import termios
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.docs.pages import Snippet
from tests.house import wait_until

#: Reads the names of scripts and runs them, one after the other, all in one shell.
_SHELL = """while read -r script; do . "$script" < /dev/null
declare -p | grep -v "^declare -[a-zA-Z]*[rA]" > "$ENVIRONMENT"; pwd > "$ENVIRONMENT.pwd"
printf '\\n## %s\\n' "$script"; done"""
_PATIENCE = 120.0

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
#: What is another at each time, or on each machine: how it looks on a page, and what it may be.
_VARYING = (
    (r"127\.0\.0\.1:\d+", r"127\.0\.0\.1:\d+"),
    (r"\d{4}-\d\d-\d\dT[\d:.]+(?:Z|\+00:00)", r"\d{4}-\d\d-\d\dT[\d:.]+(?:Z|\+00:00)"),
    (r"\b\d\d:\d\d:\d\d\b", r"\d\d:\d\d:\d\d"),
    (r"\b[\d.]+ (?:s|ms)\b", r"[\d.]+(?:s|ms)"),
    (r"host \S+", r"host\S+?"),
    (r"\.\.\.", r".*?"),
)
_ANY = re.compile("|".join(f"({shown})" for shown, _ in _VARYING))


def shows(expected: str, output: str) -> bool:
    """Whether an output has the lines that a page shows of it, in their order.

    `...` on the page stands for anything; times and addresses of this machine may differ, and so
    may spaces and where lines are broken.
    """
    lines = [_pattern(line) for line in expected.splitlines() if line.strip() not in {"", "..."}]
    found = re.search(".*?".join(lines), re.sub(r"\s", "", output), re.DOTALL)
    return bool(lines) and found is not None


def _pattern(line: str) -> str:
    pieces, end = [], 0
    for match in _ANY.finditer(line):
        pieces.append(re.escape(re.sub(r"\s", "", line[end : match.start()])))
        assert match.lastindex is not None
        pieces.append(_VARYING[match.lastindex - 1][1])
        end = match.end()
    return "".join((*pieces, re.escape(re.sub(r"\s", "", line[end:]))))


@dataclass(frozen=True, slots=True)
class Typed:
    """A snippet, and what was seen after it was typed."""

    snippet: Snippet
    output: str


class Terminals:
    """The terminals of one reader. A context manager; what still runs at its end is ended.

    ``change``: what a page says, and what it is here, for words that are of its reader's choice.
    """

    def __init__(
        self, here: Path, env: Mapping[str, str], change: Mapping[str, str] | None = None
    ) -> None:
        self.here, self.change = here, dict(change or {})
        self.scripts = here / ".typed"
        self.scripts.mkdir()
        self._environment = self.scripts / "environment"
        self._env = {
            **env,
            "ENVIRONMENT": str(self._environment),
            "COLUMNS": "100",
            "TERM": "xterm",
        }
        self._first = _Terminal(["bash", "-euc", _SHELL], here, self._env)
        self._others: list[_Terminal] = []

    def __enter__(self) -> Terminals:
        return self

    def __exit__(self, *exception: object) -> None:
        self._first.close()
        for terminal in reversed(self._others):
            terminal.close()

    def type_page(self, snippets: Iterable[Snippet]) -> list[Typed]:
        """Type what is to be typed, and compare what is seen with what the page shows."""
        typed: list[Typed] = []
        seen: Callable[[], str] | None = None
        for snippet in snippets:
            if snippet.elsewhere or snippet.is_data:
                seen = None
            elif snippet.is_typed:
                seen = self.type(snippet)
                typed.append(Typed(snippet, self.as_on_the_page(seen())))
            else:
                assert seen is not None, f"{snippet}: nothing is typed right before it"
                self.compare(snippet, seen)
                typed[-1] = Typed(typed[-1].snippet, self.as_on_the_page(seen()))
        return typed

    def type(self, snippet: Snippet) -> Callable[[], str]:
        """Type one snippet; what tells all that is seen of it."""
        text = snippet.text
        for word, ours in self.change.items():
            text = text.replace(word, ours)
        if snippet.language == "python":
            program = self._write(snippet, ".py", text)
            text = f"python3 {shlex.quote(str(program))}\n"
        script = self._write(snippet, ".sh", text)
        if not snippet.lasting:
            output = self._first.run(script, f"\n## {script}\n", str(snippet))
            return lambda: output
        known = self._environment
        begin = f'cd "$(cat {known}.pwd)"; . "{known}"; ' if known.exists() else ""
        argv = ["bash", "-euc", f"{'' if snippet.own_terminal else begin}. {script}"]
        other = _Terminal(argv, self.here, self._env)
        self._others.append(other)
        return other.read

    def compare(self, snippet: Snippet, seen: Callable[[], str]) -> None:
        """Wait until what a snippet shows is seen; at once, where nothing more will come."""
        patience = 30.0 if self._others else 0.1
        try:
            wait_until(lambda: shows(snippet.text, self.as_on_the_page(seen())), patience)
        except AssertionError:
            raise AssertionError(
                f"{snippet} shows\n{snippet.text}\nbut this is seen:\n{seen()}"
            ) from None

    def as_on_the_page(self, output: str) -> str:
        """With the words of the page for ours."""
        for word, ours in self.change.items():
            output = output.replace(ours.strip(" ,\n"), word.strip(" ,\n"))
        return output

    def _write(self, snippet: Snippet, suffix: str, text: str) -> Path:
        path = self.scripts / f"{Path(snippet.page).stem}-{snippet.line}{suffix}"
        path.write_text(text)
        return path


class _Terminal:
    """A program in a session of its own, behind a pseudo-terminal; its standard input is a pipe."""

    def __init__(self, argv: list[str], here: Path, env: Mapping[str, str]) -> None:
        self._master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (50, 100))
        self.process = subprocess.Popen(
            argv,
            cwd=here,
            env=dict(env),
            stdin=subprocess.PIPE,
            stdout=slave,
            stderr=slave,
            text=True,
            start_new_session=True,
        )
        os.close(slave)
        self._seen = b""

    def read(self) -> str:
        """All that has been seen so far."""
        while select.select([self._master], [], [], 0)[0]:
            try:
                piece = os.read(self._master, 65536)
            except OSError:  # as Linux says that the other end is closed
                break
            if not piece:
                break
            self._seen += piece
        text = self._seen.decode(errors="replace").replace("\r\n", "\n")
        return _ESCAPES.sub("", text)

    def run(self, script: Path, end: str, what: str) -> str:
        """Have the shell run a script; what is seen of it. Fails if the shell ends of it."""
        before = len(self.read())
        assert self.process.stdin is not None
        self.process.stdin.write(f"{script}\n")
        self.process.stdin.flush()
        deadline = time.monotonic() + _PATIENCE
        while not self.read().endswith(end):
            dead = self.process.poll() is not None
            said = self.read()[before:]
            assert not dead, f"{what} fails (exit {self.process.returncode}):\n{said}"
            assert time.monotonic() < deadline, f"{what} does not end:\n{said}"
            select.select([self._master], [], [], 0.2)
        return self.read()[before:].removesuffix(end)

    def close(self) -> None:
        """End it, and all that it has started, as closing a window does."""
        family = _session(self.process.pid)
        if family:
            os.killpg(self.process.pid, signal.SIGTERM)
        deadline = time.monotonic() + 60
        while _session(self.process.pid) and time.monotonic() < deadline:
            self.read()  # or who prints a last word would wait for ever
            self.process.poll()
            time.sleep(0.05)
        left = _session(self.process.pid)
        for process in left:
            process.kill()
        self.process.wait(10)
        if self.process.stdin is not None:
            self.process.stdin.close()
        os.close(self._master)
        assert not left, f"it does not end at SIGTERM: {left}"


def _session(leader: int) -> list[psutil.Process]:
    """What lives of the group that a process leads."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found
