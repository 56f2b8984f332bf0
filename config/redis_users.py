"""The users of the broker: ``redis/users.acl`` with the hashes of their passwords.

That file has every user's rights and no password, so that nobody can log in with it as it is. A
password is kept in a file of its own, of which only the SHA-256 gets into what the broker reads.
"""

from __future__ import annotations

import secrets
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

from config.private_files import write_private
from config.settings import Misconfigured

_NOBODY = "default"
#: Of a user whose password is being changed: the one that is still good meanwhile.
_OLD = ".old"
#: Characters. 22 of these 64 have 128 bits; what people think of has far less.
_SHORTEST = 22


def users_acl(passwords: Path) -> str:
    """What a broker's ``aclfile`` is to hold, for the passwords in this directory.

    A user's password is the file of the user's name; made if it is missing, 256 bits. What is in
    NAME.old is good as well. Raises Misconfigured for a password that could be guessed.
    """
    rules = (files("config") / "redis" / "users.acl").read_text()
    return "".join(_with_passwords(line, passwords) + "\n" for line in rules.splitlines())


def _with_passwords(rule: str, passwords: Path) -> str:
    _, user, on, *rights = rule.split(" ")
    if user == _NOBODY:
        return rule
    file = passwords / user
    if not file.exists():
        write_private(file, secrets.token_urlsafe(32) + "\n")
    known = [path for path in (file, passwords / f"{user}{_OLD}") if path.exists()]
    return " ".join(["user", user, on, *(f"#{_hash(path)}" for path in known), *rights])


def _hash(file: Path) -> str:
    try:
        password = file.read_text().strip()
    except (OSError, UnicodeError) as error:
        raise Misconfigured(f"cannot read the password in {file}: {error}") from None
    if len(password) < _SHORTEST:
        raise Misconfigured(
            f"the password in {file} has {len(password)} characters, which can be guessed",
            f"remove the file: a good one is made; or write {_SHORTEST} or more",
        )
    return sha256(password.encode()).hexdigest()
