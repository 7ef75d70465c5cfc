"""The database of a capability that uses PostgreSQL as an app does: its account, and its binding in the image."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from tests.images.rootfs import RootFilesystem

if TYPE_CHECKING:
    from tests.attack.served import Served


def bind_database(image: RootFilesystem, database: Served, name: str, password: str) -> None:
    """Put the binding of a database into a capability's image, whose program is Java's."""
    # Java asks four times for its own address, by IPv6 as well: a name server that is not there costs ten seconds each.
    (image.root / "etc/hosts").write_text(f"127.0.0.1 localhost {socket.gethostname()}\n")
    bound = {"host": "127.0.0.1", "port": str(database.port), "database": name}
    bound |= {"username": name, "password": password, "ca.crt": database.authority}
    place = image.root / "bindings/db"
    place.mkdir(parents=True, exist_ok=True)
    for key, text in bound.items():
        (place / key).write_text(text)


def is_provisioned(database: Served) -> bool:
    """Run the database's Job, which at the server's first start may meet the guard at the same table, as a cluster does
    until it succeeds."""
    try:
        database.provision()
    except AssertionError:
        return False
    return True
