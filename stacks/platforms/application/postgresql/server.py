"""What every PostgreSQL server of ours has: where its data is, who may sign in, its settings and limits on memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stacks.platforms import tls
from stacks.platforms.application.postgresql.access import REJECTED
from stacks.platforms.component import CapabilityScope
from stacks.platforms.stateful import server_requests
from wecityctl.model.quantity import parse_quantity

# The numeric user of the Debian package and of the upstream image.
USER = 999
DATA = "/var/lib/postgresql/data"
PGDATA = f"{DATA}/pgdata"
# Connections in addition to those of apps: for provisioning, the guard and a person.
RESERVED = 5
# Address space of a server process besides the buffers: program, libraries, tables of locks and processes.
PROGRAM_BYTES = 128 * 1024**2

# Lines of `pg_hba.conf`. Plain connections are accepted only from the pod itself.
ACCESS = f"""local all all scram-sha-256
host all postgres 127.0.0.1/32 scram-sha-256
host all postgres ::1/128 scram-sha-256
REMOTE all postgres all scram-sha-256
host @{REJECTED} all all reject
host all @{REJECTED} all reject
host all all 127.0.0.1/32 scram-sha-256
host all all ::1/128 scram-sha-256
REMOTE all all all scram-sha-256
"""


@dataclass(frozen=True)
class Server:
    """A server's `settings` by name, and the most address space of each of its processes in `kilobytes`.

    Each process has a memory limit, so that a large query fails alone. Otherwise the kernel would kill the server.
    """

    settings: Mapping[str, str | int]
    kilobytes: int


def server(context: CapabilityScope, taken: int = 0) -> Server:
    """The server of a pod in which other programs take so many bytes of its memory."""
    memory = int(parse_quantity(server_requests(context)["memory"])) - taken
    buffers = memory // 4
    settings: dict[str, str | int] = {
        "listen_addresses": "*",
        "jit": "off",
        "shared_buffers": f"{buffers // 1024}kB",
        "max_connections": context.type.connections[context.capability.size] + RESERVED,
        "superuser_reserved_connections": RESERVED,
        # Unauthenticated connections take slots away from others, so they are closed after a short time.
        "authentication_timeout": "10s",
        "tcp_keepalives_idle": "60s",
        # Statements, and the details and contexts of errors, have data and passwords of apps. An app gets its own
        # errors whole; whoever may read the pod's log must not.
        "log_min_error_statement": "panic",
        "log_error_verbosity": "terse",
    }
    if context.tls:
        settings |= {
            "ssl": "on",
            "ssl_cert_file": tls.CERTIFICATE,
            "ssl_key_file": tls.KEY,
            "ssl_min_protocol_version": "TLSv1.2",
        }
    return Server(settings, (buffers + PROGRAM_BYTES + memory // 4) // 1024)
