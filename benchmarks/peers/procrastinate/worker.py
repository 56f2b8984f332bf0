"""The procrastinate application of the peer: a worker whose task does nothing (footprint)."""

from __future__ import annotations

import os

from procrastinate import App, PsycopgConnector

app = App(connector=PsycopgConnector(conninfo=os.environ["DATABASE_URL"]))


@app.task(name="register", queue="footprint")
def register(**definition: object) -> None:
    """Do nothing with a definition."""


if __name__ == "__main__":
    app.run_worker(queues=["footprint"])
