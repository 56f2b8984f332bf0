"""Clients in several threads of one process, each with a `Porch` of its own; and forked ones."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import psutil

from tests.house import House, User, run

ROUNDS = 60


def test_one_that_comes_and_goes_disturbs_none_that_stays(house: House) -> None:
    over = threading.Event()

    def stay(user: User) -> int:
        asked = 0
        with house.client(user.token) as client:
            while not over.is_set():
                assert client.count() == {"PENDING": 1}
                asked += 1
        return asked

    def come_and_go(user: User) -> None:
        try:
            for _ in range(ROUNDS):
                with house.client(user.token) as client:
                    assert client.count() == {"PENDING": 1}
        finally:
            over.set()

    with User(house) as user, ThreadPoolExecutor() as pool:
        user.register({"n": 1})
        staying, coming = pool.submit(stay, user), pool.submit(come_and_go, user)
        coming.result()
        assert staying.result() > 0


def test_a_client_that_is_closed_keeps_no_connection(house: House) -> None:
    def connections() -> int:
        return len(psutil.Process().net_connections("tcp"))

    with User(house) as user:
        before = connections()
        clients = [house.client(user.token) for _ in range(5)]
        for client in clients:
            client.count()
        assert connections() > before
        for client in clients:
            client.close()
        assert connections() == before


FORKED = """
import os
from porch_client import Porch

with Porch.from_environment() as porch:
    assert porch.count() == {"PENDING": 1}
    child = os.fork()
    for _ in range(50):
        assert porch.count() == {"PENDING": 1}
    if child:
        _, status = os.waitpid(child, 0)
        assert status == 0
"""


def test_a_forked_child_goes_on_with_a_connection_of_its_own(house: House) -> None:
    with User(house) as user:
        user.register({"n": 1})
        done = run("python", "-X", "dev", "-c", FORKED, env=house.env(user.token))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
