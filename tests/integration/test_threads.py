"""Clients in several threads of one process, each with a `Porch` of its own."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import psutil

from tests.house import House, User

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
