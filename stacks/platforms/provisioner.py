"""The interface of a capability's `provision.py`: how to create an account for a use, and the entries of its
binding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pulumi

from stacks import references
from stacks.stack_references import KnownEndpoint
from wecityctl.model.catalogue import CapabilityType, UseLimits
from wecityctl.model.city import Capability, Use
from wecityctl.model.quantity import parse_quantity

# Passed to scripts if there is no limit, which can happen with types of partners' packages.
UNBOUNDED = 2**62

# A shell function for servers that record no owners. `is_of ACCOUNT OWNER`: whether the account's name is the one of
# that owner (`naming.account_name` with dots); any owner, if it is `-`, which is not known. A name that was shortened
# has the beginning of the owner's, a hyphen and a digest.
IS_OF = r"""
is_of() {
  [ "$2" != - ] || return 0
  named=$(printf %s "$2" | tr / .)
  if [ "${#named}" -le 63 ]; then [ "$named" = "$1" ]; return; fi
  case $named in "${1%-????????}"*) [ "${1%-????????}" != "$1" ] ;; *) return 1 ;; esac
}
"""


@dataclass(frozen=True)
class Provisioner:
    """How a capability creates an account for one use.

    `script` is an idempotent shell script. A Job runs it in the capability's image, in its namespace and as its
    administrator, again whenever its input changes. Its environment has HOST, PORT, ADMIN_PASSWORD, APP_ROLE (the
    account's name), APP_PASSWORD with APP_PASSWORD_SHA256 and APP_PASSWORD_SCRAM (`stacks.passwords`), other generated
    credentials as APP_<NAME>, OWNER (whose account it is), and the variables from `settings` and `connecting`. Put
    no secret on a command line, or into a statement that the server may log.

    `values` returns the binding's entries; its arguments are the account's name, the credentials, the endpoint, and the
    path of the CA certificates in the user's pods (empty for a plain connection). `settings` returns the variables with
    the account's permissions and limits. `connecting` returns those with which the script verifies the server; its
    argument is whether the server speaks TLS.

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


def provisioner_of(kind: CapabilityType) -> Provisioner | None:
    """The provisioner of a type; `None` if its uses need no account. Raises `ConfigurationError` if it cannot be
    loaded.
    """
    if kind.binding is None or not kind.binding.provisioner:
        return None
    found: Provisioner = references.load(kind.binding.provisioner, kind.name)
    return found


def as_bytes(quantity: str) -> str:
    """A quantity in bytes as scripts take it; `UNBOUNDED` for an empty one."""
    return str(int(parse_quantity(quantity)) if quantity else UNBOUNDED)
