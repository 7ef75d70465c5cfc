"""What a capability's `provision.py` defines: how an account is made for one use, and what its binding holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pulumi

from stacks.stack_references import KnownEndpoint
from wecityctl.model.catalogue import UseLimits
from wecityctl.model.city import Capability, Use
from wecityctl.model.quantity import parse_quantity

# What stands for a limit that the type of a partner's package does not have.
UNBOUNDED = 2**62


@dataclass(frozen=True)
class Provisioner:
    """How a capability makes an account for one use.

    `script` is a shell script that a Job runs in the image of the capability, beside it and as its administrator. It is
    idempotent, and runs again whenever something of its input changes. Its environment has HOST, PORT, ADMIN_PASSWORD,
    APP_ROLE (the account's name), APP_PASSWORD with APP_PASSWORD_SHA256 and the other generated credentials as
    APP_<NAME>, OWNER (whose account it is), and what `settings` and `connecting` give.

    `values` makes the binding's entries of account, credentials, endpoint and the path of the authority's certificates
    in the user's pods (empty for a plain connection). `settings` are the variables that say what the account may do and
    take; `connecting` those that say how the script knows the server, with TLS and without.

    The other scripts are for accounts whose use has ended, and run in the same image, as the administrator, with HOST,
    PORT, ADMIN_PASSWORD and what `connecting` gives. Each may be run again at any time. `deprovision` locks accounts
    and ends their sessions: nobody signs in with what the account had; `script` opens it again. `delete` locks accounts
    and then removes them with their data. Both have ACCOUNTS, a line `<account> <owner>` for each; one that is not
    there, or that the server knows as another owner's, is left alone. `inventory` prints a line for each account that
    `script` has made, `account <name> <owner> <bytes> <open|locked> <since>`: `-` for an owner that the server does not
    record, and `since` is when it was locked, in seconds since 1970, or `-`. A capability without these scripts keeps
    its accounts open until it is taken down; `leftovers` says so.
    """

    script: str
    values: Callable[[str, Mapping[str, pulumi.Output[str]], KnownEndpoint, str], Mapping[str, Any]]
    settings: Callable[[Capability, Use, UseLimits], Mapping[str, str]]
    connecting: Callable[[bool], Mapping[str, str]]
    deprovision: str = ""
    delete: str = ""
    inventory: str = ""


def as_bytes(quantity: str) -> str:
    """A quantity in bytes as a script takes it; `UNBOUNDED` where there is none."""
    return str(int(parse_quantity(quantity)) if quantity else UNBOUNDED)
