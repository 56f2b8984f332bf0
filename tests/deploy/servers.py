"""Images of the servers that porch needs, made of Debian's packages, and of a wheel's Valkey.

Their files are not the official images'; their users, folders and first steps are. Debian 12 has no
Valkey, and its Redis, 7.0, does not know one of the commands in users.acl.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from config.server_home import valkey_program
from tests.deploy.images import Image, bare
from tests.house import needs

#: What the official image does at its first start, as far as docker-compose.yml makes use of it.
_POSTGRES_ENTRYPOINT = """\
#!/bin/sh
set -eu
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    initdb --username="$POSTGRES_USER" --pwfile="$POSTGRES_PASSWORD_FILE" $POSTGRES_INITDB_ARGS
    echo "listen_addresses = '*'" >>"$PGDATA/postgresql.conf"
    echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
    pg_ctl -o "-c listen_addresses=''" -w start
    createdb --username="$POSTGRES_USER" --no-password "$POSTGRES_DB"
    pg_ctl -m fast -w stop
fi
exec "$@"
"""


def postgres(folder: Path) -> Image:
    """PostgreSQL: /var/lib/postgresql belongs to user 999, and 18's data are two folders below."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    server = needs("postgres", *map(str, installed[-1:]), package="postgresql")
    image = _image(folder, "postgres", {}, owns="var/lib/postgresql")
    entrypoint = image.local / "bin" / "docker-entrypoint.sh"
    entrypoint.write_text(_POSTGRES_ENTRYPOINT)
    entrypoint.chmod(0o755)
    image.entrypoint = ["docker-entrypoint.sh"]
    image.env["PATH"] += f":{Path(server).resolve().parent}"
    image.env["PGDATA"] = "/var/lib/postgresql/18/docker"
    return image


def valkey(folder: Path) -> Image:
    """Valkey, and Debian's client of Redis under the name of Valkey's."""
    server, cli = valkey_program(folder, None), needs("redis-cli", package="redis-tools")
    image = _image(folder, "valkey", {"valkey-cli": Path(cli)}, owns="data")
    shutil.copy(server, image.local / "bin" / "valkey-server")
    return image


def redis(folder: Path) -> Image:
    """Debian's Redis under Valkey's name."""
    server = needs("redis-server")
    return _image(folder, "redis", {"valkey-server": Path(server)}, owns="data")


def prometheus(folder: Path) -> Image:
    """Prometheus; what the official image has of Busybox is Debian's."""
    program = needs("prometheus")
    needs("wget")
    image = _image(
        folder, "prometheus", {"prometheus": Path(program)}, owns="prometheus", owner=65534
    )
    image.user, image.workdir, image.entrypoint = "65534:65534", "/prometheus", ["prometheus"]
    return image


def _image(
    folder: Path, name: str, programs: dict[str, Path], *, owns: str, owner: int = 999
) -> Image:
    local = folder / name / "local"
    (local / "bin").mkdir(parents=True)
    for called, program in programs.items():
        (local / "bin" / called).symlink_to(program)
    image = bare(folder / name / "root", local)
    with (image.root / "etc" / "passwd").open("a") as users:
        users.write(f"{name}:x:{owner}:{owner}::/:/bin/sh\n")
    (image.root / owns).mkdir(parents=True)
    os.chown(image.root / owns, owner, owner)
    return image
