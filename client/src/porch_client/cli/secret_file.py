"""Where the secret of a new token goes: to who reads the output, or into a file of theirs."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from porch_client.cli.door import emit

Tell = Callable[[str, dict[str, Any]], None]


@contextmanager
def secret_told(into: str | None) -> Iterator[Tell]:
    """How to tell a secret and all else about its token, once it is known.

    The file is tried before anything is asked: a token whose secret nobody has seen is of no use.
    Raises click.BadParameter.
    """
    if into is None:
        yield lambda secret, token: emit({"token": secret, **token})
        return
    path = Path(into)
    try:
        # Mode 0600 from the start, and never through somebody's symbolic link.
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise click.BadParameter(f"{into}: {error.strerror}", param_hint="--into") from error
    made = Path(name)
    try:
        with open(handle, "w", encoding="utf-8") as file:

            def tell(secret: str, token: dict[str, Any]) -> None:
                file.write(f"{secret}\n")
                file.flush()
                os.fsync(file.fileno())
                made.replace(path)
                emit(token)

            yield tell
    finally:
        made.unlink(missing_ok=True)
