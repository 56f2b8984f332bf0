"""What goes wrong at 3 a.m., staged for real. Each is a context manager that leaves all mended."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

import psutil
import psycopg2
from redis import Redis
from redis.exceptions import ResponseError

from config.broker_queues import age_of
from tests.acceptance.test_away import is_zombie
from tests.house import House, User, wait_until
from tests.integration.test_doctor import do
from tests.runbook.conftest import Town


def database(house: House) -> str:
    """The URL of PostgreSQL."""
    return str(house.ready["database_url"])


@contextmanager
def database_hangs(house: House) -> Iterator[None]:
    """PostgreSQL takes connections and never answers."""
    main = psutil.Process(house.pid("postgres"))
    frozen = [main, *main.children(recursive=True)]
    for process in frozen:
        process.suspend()
    try:
        yield
    finally:
        for process in frozen:
            process.resume()


def all_claimed_and_silent(user: User, n: int) -> list[str]:
    """Tasks that were claimed three hours ago by scripts that are gone; their ids."""
    tasks = user.register(*({"run": i} for i in range(n)))
    assert len(user.client.claim(n)) == n
    do(
        database(user.house),
        "UPDATE porch.task SET created_at = now() - interval '4 h', "
        "updated_at = now() - interval '3 h' WHERE pipeline_id = "
        f"(SELECT pipeline_id FROM porch.pipeline WHERE name = '{user.pipeline}')",
    )
    return tasks


# A disk without room ------------------------------------------------------------------------


@contextmanager
def full(disk: Path) -> Iterator[Path]:
    """Not a byte is left on a disk; the file that takes it all may be removed."""
    ballast = disk / "ballast"
    with ballast.open("wb") as file:
        while left := os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize:
            with suppress(OSError):  # its server has taken some of it meanwhile
                os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), left)
            file.seek(0, os.SEEK_END)
    try:
        yield ballast
    finally:
        ballast.unlink(missing_ok=True)


@contextmanager
def stopped_for_want_of_room(house: House) -> Iterator[None]:
    """PostgreSQL has no room for its log, and is not started again meanwhile."""
    postgres = house.pid("postgres")
    house.process.send_signal(signal.SIGSTOP)

    def stopped() -> bool:
        # There may be a file of the log left that was used before.
        with suppress(psycopg2.OperationalError):
            house.ask("SELECT pg_switch_wal(), pg_logical_emit_message(false, 'porch', 'x')")
        return is_zombie(postgres)

    try:
        wait_until(stopped, what="PostgreSQL has stopped")
        yield
    finally:
        house.process.send_signal(signal.SIGCONT)


@contextmanager
def full_broker(town: Town) -> Iterator[Path]:
    """The broker has noticed that its disk is full."""
    with full(town.disk("valkey")) as ballast, Redis.from_url(broker(town.house)) as redis:
        try:
            try:
                # More than is left of the last block of its file.
                redis.set("ballast", "x" * 8192)
            except ResponseError as refused:
                # Somebody else has written, and it has noticed by that.
                if not str(refused).startswith("MISCONF Errors writing to the AOF file"):
                    raise
            wait_until(lambda: redis.info("persistence")["aof_last_write_status"] != "ok")
            yield ballast
        finally:
            ballast.unlink(missing_ok=True)
            wait_until(lambda: redis.info("persistence")["aof_last_write_status"] == "ok")
            redis.delete("ballast")


def broker(house: House) -> str:
    """The URL of Valkey."""
    return str(house.ready["broker_url"])


# PostgreSQL, made slow ----------------------------------------------------------------------


@contextmanager
def slow(house: House, seconds: float, *, each: str, when: str = "") -> Iterator[None]:
    """Registering takes longer: for each ``ROW`` or ``STATEMENT``, perhaps only some rows."""
    do(
        database(house),
        f"""CREATE FUNCTION public.slow() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN PERFORM pg_sleep({seconds}); RETURN NEW; END $$""",
        f"""CREATE TRIGGER slow BEFORE INSERT ON porch.task FOR EACH {each} {when}
            EXECUTE FUNCTION public.slow()""",
    )
    try:
        yield
    finally:
        do(database(house), "DROP FUNCTION public.slow() CASCADE")


@contextmanager
def flooded(user: User, messages: int) -> Iterator[None]:
    """One wrapper has gone wild; each of its requests takes a fifth of a second of a worker."""
    # Too long to be gathered with others.
    text = json.dumps([{"run": n, "why": "a loop without an end"} for n in range(400)])
    channel = user.client._channel
    with slow(user.house, 0.2, each="STATEMENT"), Redis.from_url(broker(user.house)) as redis:
        for _ in range(messages):
            encoded = {"definitions": text}
            channel.send(channel.prepare("submit", "porch.submit", {}, encoded=encoded))
        wait_until(lambda: (age_of(redis.lindex("porch.submit", -1)) or 0.0) > 6.0)
        assert redis.llen("porch.submit") > 50
        yield
        wait_until(lambda: not redis.llen("porch.submit"), 60.0, "the flood has gone by")


class Reaper:
    """Kills the worker process that registers {"poison": ...}, as want of memory would.

    A context manager; ``deaths`` so far. It stops at ``until`` and goes on when that is raised.
    """

    def __init__(self, house: House, until: int) -> None:
        self.house, self.until = house, until
        self.deaths = 0
        self._over = Event()
        self._thread = Thread(target=self._reap)
        self._slow = slow(
            house, 20, each="ROW", when="WHEN (NEW.task_input ->> 'poison' IS NOT NULL)"
        )

    def __enter__(self) -> Reaper:
        self._slow.__enter__()
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._thread.join()
        self._slow.__exit__(None, None, None)

    def _reap(self) -> None:
        while not self._over.wait(0.05):
            victims = self.house.ask(
                "SELECT pid, client_port FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
            )
            for backend, port in victims if self.deaths < self.until else []:
                child = self._child(port)
                if child is not None:
                    os.kill(child, signal.SIGKILL)
                    self.deaths += 1
                self.house.ask("SELECT pg_terminate_backend(%s, 5000)", backend)

    def _child(self, port: int) -> int | None:
        """The worker process that is connected to PostgreSQL from this port."""
        for child in psutil.Process(self.house.pid("worker.submit")).children():
            if port in [one.laddr.port for one in child.net_connections() if one.laddr]:
                return int(child.pid)
        return None
