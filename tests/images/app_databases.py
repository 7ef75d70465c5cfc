"""Databases in a real PostgreSQL that the scripts of the capability `postgresql` have made."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from stacks.passwords import scram_verifier
from stacks.platforms.application.postgresql import access as postgresql
from tests.support.postgres_server import PostgresServer

# Of the administrator of a server, and of each account.
ADMIN_PASSWORD = "administrators-password"
PASSWORD = "password-of-the-app"


@dataclass(frozen=True)
class Database:
    """A real server with the administrator that the capability's scripts sign in as."""

    server: PostgresServer

    def prepare(self) -> None:
        """Make the administrator; the server may still be starting."""
        for _ in range(100):
            command = [str(self.server.programs / "pg_isready"), "-h", "127.0.0.1", "-p", str(self.server.port)]
            if subprocess.run(command, capture_output=True, check=False).returncode == 0:
                break
            time.sleep(0.1)
        self.server.sql(f"CREATE ROLE postgres SUPERUSER LOGIN PASSWORD '{ADMIN_PASSWORD}'")

    def account(self, role: str, owner: str, connections: int = 20) -> None:
        """A database and its role, as a use of `postgresql` gets them."""
        values = {
            "HOST": "127.0.0.1",
            "PORT": str(self.server.port),
            "ADMIN_PASSWORD": ADMIN_PASSWORD,
            "APP_ROLE": role,
            "APP_PASSWORD_SCRAM": scram_verifier(role, PASSWORD),
            "OWNER": owner,
            "CONNECTIONS": str(connections),
            "STATEMENT_SECONDS": "600",
            "STORAGE": str(2**30),
            "STORAGE_STATED": "yes",
        }
        done = subprocess.run(
            ["/bin/sh", "-c", postgresql.PROVISION],
            env={**os.environ, **values}, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    def sql(self, role: str, statement: str, database: str = "") -> str:
        """What psql prints for a statement of an account, in its own database unless another is named."""
        where = ["-h", "127.0.0.1", "-p", str(self.server.port), "-U", role, "-d", database or role]
        done = subprocess.run(
            [str(self.server.programs / "psql"), *where, "-v", "ON_ERROR_STOP=1", "-qAtc", statement],
            env={**os.environ, "PGPASSWORD": PASSWORD}, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def bind(self, role: str, place: Path) -> None:
        """The files of the binding of a use of `postgresql`."""
        place.mkdir(parents=True)
        entries = {"host": "127.0.0.1", "port": str(self.server.port), "database": role, "username": role}
        for name, text in {**entries, "password": PASSWORD}.items():
            (place / name).write_text(text)
