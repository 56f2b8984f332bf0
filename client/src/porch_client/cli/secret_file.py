"""Where the secret of a new token goes: to who reads the output, or into a file of theirs."""

from __future__ import annotations

import errno
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from porch_client.cli.door import emit

#: Whether the file had another token in it before.
Tell = Callable[[str, dict[str, Any]], bool]

_TOKEN = re.compile(rb"[0-9a-f]{32}\s*")


@contextmanager
def secret_told(into: str | None) -> Iterator[Tell]:
    """How to tell a secret and all else about its token, once it is known.

    The file is tried before anything is asked: a token whose secret nobody has seen is of no use.
    It may have a token in it, which is replaced, and nothing else. Raises click.BadParameter.
    """
    if into is None:
        yield _tell_all
        return
    path = Path(into)
    try:
        had_one = _has_token(path)
        # Mode 0600 from the start, and never through somebody's symbolic link.
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise click.BadParameter(f"{into}: {error.strerror}", param_hint="--into") from error
    made = Path(name)
    try:
        with open(handle, "w", encoding="utf-8") as file:

            def tell(secret: str, token: dict[str, Any]) -> bool:
                file.write(f"{secret}\n")
                file.flush()
                os.fsync(file.fileno())
                made.replace(path)
                emit(token)
                return had_one

            yield tell
    finally:
        made.unlink(missing_ok=True)


def _tell_all(secret: str, token: dict[str, Any]) -> bool:
    emit({"token": secret, **token})
    return False


def _has_token(path: Path) -> bool:
    """Whether there is a token to be replaced. Raises OSError where there is anything else."""
    if not path.exists():
        return False
    if path.is_file():
        with path.open("rb") as file:
            held = file.read(99)
        if not held or _TOKEN.fullmatch(held):
            return bool(held)
    raise FileExistsError(errno.EEXIST, "there is something else than a token; name another file")
