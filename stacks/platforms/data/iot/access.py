"""How scripts of the IoT access run its program (`image/go`) as the administrator, and what an account may take.

An app is a user whose name is the account's, with the topics below `<account>/`. A device is a user
`<account>/<device>`: it publishes below `<account>/devices/<device>/` and is sent what is published below
`commands/` there. Users, roles and rights are the server's own, of its plug-in for dynamic security.
"""

from __future__ import annotations

from collections.abc import Mapping

from stacks.platforms import tls

# A queue of one session and the retained messages of one account have this part of the pod's memory in bytes: a hundred
# sessions, as an app may have by default, take less than half of it.
QUEUE_SHARE = 256
# Bytes of a queue for each message that it may have. A retained message counts for at least as many in the program, so
# that whoever asks for all retained messages of an account is sent all.
QUEUE_MESSAGE_BYTES = 256


def script(command: str, *names: str) -> str:
    """A script that runs one of the program's commands, which reads the variables `names` and the password."""
    wanted = " ".join(f'"${{{name}:?}}"' for name in ("ADMIN_PASSWORD", *names))
    return f': {wanted}\niot {command} "$HOST:$PORT" || exit $?\n'


def connecting(is_tls: bool) -> Mapping[str, str]:
    """The variables by which the program knows the server; none for a plain connection."""
    return {"AUTHORITY": tls.AUTHORITY} if is_tls else {}
