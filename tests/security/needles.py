"""Secrets in every form in which they may lie about, and where they are looked for."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from redis import Redis

_BASE64 = re.compile(rb"[A-Za-z0-9+/]{24,}={0,2}")


def forms(secret: str) -> set[bytes]:
    """A secret as it is, in capitals, percent-encoded, and as the 16 bytes that it stands for."""
    found = {secret.encode(), secret.upper().encode(), quote(secret, safe="").encode()}
    if re.fullmatch(r"(?:[0-9a-f]{2}){16,}", secret):
        raw = bytes.fromhex(secret)
        found |= {b64encode(raw).rstrip(b"="), urlsafe_b64encode(raw).rstrip(b"="), raw}
    return found


def opened(content: bytes) -> bytes:
    """What is there, and what is there in Base64: so are the bodies of messages."""
    decoded = [content]
    for blob in _BASE64.findall(content):
        bare = blob.rstrip(b"=")
        # Where other letters stand before it, it begins later.
        for start in range(4):
            whole = bare[start : start + (len(bare) - start) // 4 * 4]
            decoded.append(b64decode(whole))
    return b"\n".join(decoded)


def found(secrets: Mapping[str, str], evidence: Mapping[str, bytes]) -> set[tuple[str, str]]:
    """(which secret, where) for each that is found."""
    wanted = {name: forms(secret) for name, secret in secrets.items()}
    return {
        (name, place)
        for place, content in evidence.items()
        for name, forms_of_it in wanted.items()
        if any(form in content for form in forms_of_it)
    }


def keys_of(redis: Redis) -> bytes:
    """Everything that a broker holds, with its keys; read as bytes."""
    read: dict[bytes, Callable[[bytes], Any]] = {
        b"string": redis.get,
        b"list": lambda key: redis.lrange(key, 0, -1),
        b"hash": redis.hgetall,
        b"set": redis.smembers,
        b"zset": lambda key: redis.zrange(key, 0, -1),
        b"stream": redis.xrange,
    }
    told: list[bytes] = []
    for key in redis.scan_iter():
        kind = redis.type(key)
        if kind != b"none":  # it has run out meanwhile
            told += [key, *_flat(read[kind](key))]
    return b"\n".join(told)


def _flat(value: Any) -> Iterator[bytes]:
    if isinstance(value, bytes):
        yield value
    elif isinstance(value, dict):
        for pair in value.items():
            yield from _flat(pair)
    elif value is not None:
        for one in value:
            yield from _flat(one)


def files_below(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Every file below a folder, with what is in it."""
    for path in folder.rglob("*"):
        if path.is_file():
            yield path, path.read_bytes()
