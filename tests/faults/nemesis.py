"""The nemesis: strikes as the schedule says, and heals what it struck.

A fault is a function of the arena, the wrappers and the blow. It strikes, and returns what heals
it, if anything has to; healing twice does no harm. Where there is nobody to strike (the victim of
an earlier blow has not been started again yet), the blow is tried again for some seconds.
"""

from __future__ import annotations

import heapq
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import partial
from itertools import count
from signal import SIGINT, SIGTERM
from typing import TypeVar

import psutil
import psycopg2
from redis import RedisError

from tests.faults.arena import WORKERS, Arena
from tests.faults.proxy import Proxy
from tests.faults.schedule import Blow
from tests.faults.wrappers import Wrappers
from tests.house import House, wait_until

T = TypeVar("T")
Heal = Callable[[], None]

#: Seconds that a blow waits for somebody to strike.
_TRIES_FOR = 5.0


class Missed(Exception):
    """There is nobody to strike just now."""


class _Agenda:
    """What is to be done, and when."""

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()

    def add(self, at: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._entries, (at, next(self._numbers), action))

    def do(self, now: float) -> None:
        while self._entries and self._entries[0][0] <= now:
            heapq.heappop(self._entries)[2]()


class Nemesis:
    """Strikes an arena and its wrappers; ``injected`` and ``missed`` count its blows."""

    def __init__(self, arena: Arena, wrappers: Wrappers, blows: Sequence[Blow]) -> None:
        self.arena, self.wrappers = arena, wrappers
        self.injected: Counter[str] = Counter()
        self.missed: Counter[str] = Counter()
        self._blows = blows
        self._heals: list[Heal] = []

    def run(self, seconds: float) -> None:
        """All blows, each at its time; returns after so many seconds, with everything healed."""
        began = time.monotonic()
        agenda = _Agenda()
        for blow in self._blows:
            agenda.add(began + blow.at, partial(self._strike, agenda, blow, began + blow.at))
        try:
            while (now := time.monotonic()) < began + seconds:
                self.wrappers.replace()
                agenda.do(now)
                time.sleep(0.02)
        finally:
            for heal in self._heals:
                heal()
            self.arena.heal()

    def _strike(self, agenda: _Agenda, blow: Blow, due: float) -> None:
        now = time.monotonic()
        try:
            heal = STRIKES[blow.fault](self, blow)
        except (Missed, psutil.NoSuchProcess, psycopg2.Error, RedisError):
            if now < due + _TRIES_FOR:
                agenda.add(now + 0.2, partial(self._strike, agenda, blow, due))
            else:
                self.missed[blow.fault] += 1
            return
        self.injected[blow.fault] += 1
        if heal is not None:
            self._heals.append(heal)
            agenda.add(now + blow.seconds, heal)

    # Strikes ------------------------------------------------------------------------------------

    def kill_child(self, blow: Blow) -> None:
        """A process that carries requests out."""
        self._worker_child(blow).kill()

    def kill_worker(self, blow: Blow) -> None:
        """The process that takes messages from the broker; its children end with it."""
        self._worker(blow).kill()

    def kill_beat(self, blow: Blow) -> None:
        self.arena.process(_chosen(self.arena.houses, blow.pick), "beat").kill()

    def kill_wrapper(self, blow: Blow) -> None:
        self.wrappers.kill(blow.pick)

    def freeze_child(self, blow: Blow) -> Heal:
        """Perhaps in the middle of a transaction, with its locks."""
        return _frozen([self._worker_child(blow)])

    def freeze_worker(self, blow: Blow) -> Heal:
        return _frozen([self._worker(blow)])

    def freeze_wrapper(self, blow: Blow) -> Heal:
        """For longer than its claims are good for: it goes on as if nothing had happened."""
        return _frozen([self.wrappers.process(blow.pick)])

    def freeze_valkey(self, blow: Blow) -> Heal:
        return _frozen([self._server("valkey")])

    def kill_valkey(self, blow: Blow) -> None:
        self._server("valkey").kill()

    def restart_valkey(self, blow: Blow) -> None:
        """In good order, with all its data."""
        self._server("valkey").send_signal(SIGTERM)

    def empty_valkey(self, blow: Blow) -> None:
        """Killed, and replaced by one that knows nothing."""
        valkey = self._server("valkey")
        with _held(self.arena.one):  # which would start it again too early
            valkey.kill()
            wait_until(lambda: _is_dead(valkey), what="Valkey is dead")
            self.arena.forget_messages()

    def flush_valkey(self, blow: Blow) -> None:
        with self.arena.redis() as redis:
            redis.flushall()

    def deliver_again(self, blow: Blow) -> None:
        """Messages that are being carried out go to a second worker, as after a long freeze."""
        self.arena.deliver_again()

    def freeze_postgres(self, blow: Blow) -> Heal:
        """Every process of it."""
        main = self._server("postgres")
        return _frozen([main, *main.children(recursive=True)])

    def kill_postgres(self, blow: Blow) -> None:
        """Its main process; its sessions end when they notice."""
        self._server("postgres").kill()

    def restart_postgres(self, blow: Blow) -> None:
        """In good order: sessions are ended, what they had not committed is undone."""
        self._server("postgres").send_signal(SIGINT)

    def crash_postgres(self, blow: Blow) -> None:
        """One session is killed: the server ends all others and recovers from its log."""
        _chosen(self._backends(), blow.pick).kill()

    def terminate_backends(self, blow: Blow) -> None:
        """All sessions of workers, or one in two."""
        every = 1 if blow.pick < 0.5 else 2
        if self._server("postgres").status() == psutil.STATUS_STOPPED:
            raise Missed  # it would not answer before it is healed, which is up to us
        with closing(psycopg2.connect(self._database_url, connect_timeout=3)) as connection:
            connection.autocommit = True
            connection.cursor().execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'porch' AND pid %% %s = 0",
                (every,),
            )

    def drop(self, blow: Blow) -> None:
        self._proxy(blow).drop()

    def refuse(self, blow: Blow) -> Heal:
        proxy = self._proxy(blow)
        proxy.refuse()
        return proxy.heal

    def delay(self, blow: Blow) -> Heal:
        proxy = self._proxy(blow)
        proxy.delay(0.02 + blow.pick % 0.1)
        return proxy.heal

    def swallow(self, blow: Blow) -> Heal:
        """Requests are carried out; nobody hears of it."""
        proxy = self._proxy(blow)
        proxy.swallow()
        return proxy.heal

    def lose_commits(self, blow: Blow) -> Heal:
        """The nastiest: the commit lands, the worker cannot know."""
        proxy = self.arena.worker_database
        proxy.lose_commits()
        return proxy.heal

    # Victims ------------------------------------------------------------------------------------

    def _server(self, name: str) -> psutil.Process:
        return self.arena.process(self.arena.one, name)

    def _worker(self, blow: Blow) -> psutil.Process:
        houses = [(house, name) for house in self.arena.houses for name in WORKERS]
        return self.arena.process(*_chosen(houses, blow.pick))

    def _worker_child(self, blow: Blow) -> psutil.Process:
        return _chosen(self._worker(blow).children(), blow.pick * 7 % 1)

    def _backends(self) -> list[psutil.Process]:
        """Those with a client (PostgreSQL names its processes after what they do)."""
        return [
            process
            for process in self._server("postgres").children()
            if "127.0.0.1" in " ".join(process.cmdline())
        ]

    def _proxy(self, blow: Blow) -> Proxy:
        return _chosen(self.arena.proxies, blow.pick)

    @property
    def _database_url(self) -> str:
        url: str = self.arena.one.ready["database_url"]
        return url.replace("+psycopg2", "")


def _chosen(among: Sequence[T], pick: float) -> T:
    if not among:
        raise Missed
    return among[int(pick * len(among))]


def _frozen(processes: Sequence[psutil.Process]) -> Heal:
    """Stop processes; what lets them go on. psutil knows a process from a later one of its id."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.suspend()

    def thaw() -> None:
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.resume()

    return thaw


@contextmanager
def _held(house: House) -> Iterator[None]:
    """`porch-server up` stands still, and starts nothing."""
    up = psutil.Process(house.process.pid)
    up.suspend()
    try:
        yield
    finally:
        up.resume()


def _is_dead(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


#: The faults of the schedule, as they are done.
STRIKES: dict[str, Callable[[Nemesis, Blow], Heal | None]] = {
    "kill a worker's child": Nemesis.kill_child,
    "kill a worker": Nemesis.kill_worker,
    "kill beat": Nemesis.kill_beat,
    "kill a wrapper": Nemesis.kill_wrapper,
    "freeze a worker's child": Nemesis.freeze_child,
    "freeze a worker": Nemesis.freeze_worker,
    "freeze a wrapper": Nemesis.freeze_wrapper,
    "freeze Valkey": Nemesis.freeze_valkey,
    "kill Valkey": Nemesis.kill_valkey,
    "restart Valkey": Nemesis.restart_valkey,
    "empty Valkey": Nemesis.empty_valkey,
    "flush Valkey": Nemesis.flush_valkey,
    "deliver again": Nemesis.deliver_again,
    "freeze PostgreSQL": Nemesis.freeze_postgres,
    "kill PostgreSQL": Nemesis.kill_postgres,
    "restart PostgreSQL": Nemesis.restart_postgres,
    "crash PostgreSQL": Nemesis.crash_postgres,
    "terminate backends": Nemesis.terminate_backends,
    "drop connections": Nemesis.drop,
    "refuse connections": Nemesis.refuse,
    "delay connections": Nemesis.delay,
    "swallow answers": Nemesis.swallow,
    "lose commits": Nemesis.lose_commits,
}
