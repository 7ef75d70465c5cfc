"""Accounts in capabilities whose use ends: noted before a run takes them out of a state, until they are locked.

An engine that deletes a provisioning Job runs no program, and a run may be killed right after. So what is about to
leave is noted beside the states first, by stack. Whoever locks accounts (`operations.deprovision`) reads the notes, and
takes the states as they are then: an account that any of them has is in use.

Whoever may write a stack's state or note may write anything there. So what is read from either is taken only where its
parts are names, and the account is one of the stack's own tenant on the stack's own cloud.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from wecityctl.engine.state import layout
from wecityctl.engine.state.backend import Backend
from wecityctl.engine.state.checkpoint import StackState
from wecityctl.model.catalogue import Catalogue
from wecityctl.model.city import App, Capability, Use
from wecityctl.model.naming import LABEL_PREFIX, digest, label_value
from wecityctl.model.requirements import CAPABILITY, Consumer, uses_of
from wecityctl.model.stacknames import StackName
from wecityctl.paths import state_dir, write_private
from wecityctl.plan import Plan

VERSION = 1
_JOB = "kubernetes:batch/v1:Job"
_NAME = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True, order=True)
class Account:
    """What one use has in a capability on a cloud. `owner` is `<tenant>/<app>/<binding>`, with the word `capability` in
    the tenant's place for a capability's own use."""

    cloud: str
    capability: str
    owner: str

    @property
    def parts(self) -> tuple[str, ...]:
        """The owner's parts, of which names of accounts and credentials are made."""
        return tuple(self.owner.split("/"))

    def __str__(self) -> str:
        return f"{self.owner} in {self.capability} on {self.cloud}"


@dataclass(frozen=True, slots=True, order=True)
class Leaving:
    """An account to be locked, or with `delete` to be removed with its data. `done`: it is; should its user come back,
    the credentials in the secret store are replaced."""

    account: Account
    delete: bool = field(default=False, compare=False)
    done: bool = field(default=False, compare=False)


def is_own(stack: str, account: Account) -> bool:
    """Whether `account` is well-formed and a stack of that name may have it: one of its tenant's, or for a platform's
    stack of a capability's, on its cloud."""
    name = StackName.parse(stack)
    group = {"tenant": name.subject, "crossing": name.subject, "platform": CAPABILITY}.get(name.layer)
    texts = (account.cloud, account.capability, account.owner)
    return (
        all(isinstance(text, str) for text in texts)
        and account.cloud == name.cloud
        and account.capability != ""
        and account.capability == label_value(account.capability)
        and len(account.parts) == 3
        and all(_NAME.fullmatch(part) for part in account.parts)
        and account.parts[0] == group
    )


def accounts_in(stack: str, state: StackState | None) -> frozenset[Account]:
    """The accounts that the stack's provisioning Jobs have made, as its state has them.

    Jobs of versions that did not say whose account it is are passed over, and so is what cannot be the stack's.
    """
    cloud = StackName.parse(stack).cloud
    found = set()
    for item in state.resources if state is not None else ():
        if item.type != _JOB:
            continue
        template: Any = (item.inputs.get("spec") or {}).get("template") or {}
        capability = ((template.get("metadata") or {}).get("labels") or {}).get(f"{LABEL_PREFIX}/provisions")
        variables = [
            entry for one in (template.get("spec") or {}).get("containers") or () for entry in one.get("env") or ()
        ]
        owner = next((entry.get("value") for entry in variables if entry.get("name") == "OWNER"), None)
        if isinstance(capability, str) and isinstance(owner, str):
            found.add(Account(cloud, capability, owner))
    return frozenset(account for account in found if is_own(stack, account))


def planned_accounts(plan: Plan, catalogue: Catalogue) -> frozenset[Account]:
    """The accounts that the city's files ask for, wherever the plan has their capabilities."""
    city = plan.city
    users: list[tuple[App | Capability, tuple[Use, ...]]] = [(app, app.uses) for app in city.apps if app.runs]
    users += [(item, uses_of(item, city.capabilities, catalogue)) for item in city.capabilities]
    return frozenset(
        Account(
            plan.placement.capabilities[use.capability],
            label_value(use.capability),
            "/".join(Consumer.of(user).parts(use)),
        )
        for user, uses in users
        for use in uses
    )


def note(backend: Backend, stack: str, accounts: Iterable[Account], *, delete: bool = False) -> None:
    """Note accounts before a run of `stack`; what was noted before stays. Call it with the stack locked."""
    new = tuple(Leaving(account, delete) for account in accounts)
    if new:
        _write(backend, stack, {item.account: item for item in (*_read(backend, stack), *new)}.values())


def noted(backend: Backend) -> Mapping[str, tuple[Leaving, ...]]:
    """Everything that is noted of the city, by stack, without what is `refused`."""
    return {stack: items for stack in _noted_stacks(backend) if (items := _read(backend, stack))}


def refused(backend: Backend) -> tuple[str, ...]:
    """A message for each stack of the city whose note has something that is not the stack's, or cannot be read."""
    return tuple(
        f"the note of accounts of {stack} has {problems[0]}: it is left alone; find out who wrote it"
        for stack in _noted_stacks(backend)
        if (problems := _parse(stack, _stored(backend, stack))[1])
    )


def _noted_stacks(backend: Backend) -> list[str]:
    if backend.states is not None:
        names = [key.removeprefix(f"{layout.LEAVING}/") for key in backend.states.keys(layout.LEAVING)]
    else:
        names = [path.name for path in _directory(backend).glob("*.json")]
    stacks = [name.removesuffix(".json") for name in names]
    return sorted(stack for stack in stacks if StackName.parse(stack).city == backend.city)


def settle(backend: Backend, stack: str, done: Mapping[Account, bool]) -> None:
    """Forget what is noted of the accounts in `done`, or mark it as done where their value is true."""
    noted = _read(backend, stack)
    if all(item.account not in done or (item.done and done[item.account]) for item in noted):
        return
    left = [
        replace(item, done=True) if item.account in done else item for item in noted if done.get(item.account, True)
    ]
    _write(backend, stack, left)


def _read(backend: Backend, stack: str) -> tuple[Leaving, ...]:
    return _parse(stack, _stored(backend, stack))[0]


def _stored(backend: Backend, stack: str) -> bytes | None:
    if backend.states is not None:
        return backend.states.get(layout.leaving(stack))
    path = _directory(backend) / f"{stack}.json"
    return path.read_bytes() if path.exists() else None


def _parse(stack: str, stored: bytes | None) -> tuple[tuple[Leaving, ...], tuple[str, ...]]:
    """What a stack's note has, and what is wrong with the rest of it."""
    if not stored:
        return (), ()
    try:
        data = json.loads(stored)
        if data["version"] != VERSION:
            return (), ()
        items = [Leaving(Account(**item.pop("account")), **item) for item in data["accounts"]]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return (), ("something that cannot be read",)
    own = [item for item in items if _is_flagged(item) and is_own(stack, item.account)]
    others = [f"an account that is not the stack's, {item.account.owner!r:.200}" for item in items if item not in own]
    return tuple(own), tuple(others)


def _is_flagged(item: Leaving) -> bool:
    return isinstance(item.delete, bool) and isinstance(item.done, bool)


def _write(backend: Backend, stack: str, items: Iterable[Leaving]) -> None:
    whole = sorted(items)
    data = json.dumps({"version": VERSION, "accounts": [asdict(item) for item in whole]}).encode()
    if backend.states is not None:
        if whole:
            backend.states.put(layout.leaving(stack), data)
        else:
            backend.states.delete(layout.leaving(stack))
        return
    path = _directory(backend) / f"{stack}.json"
    if whole:
        write_private(path, data)
    else:
        path.unlink(missing_ok=True)


def _directory(backend: Backend) -> Path:
    """On this machine, where only the engine's CLI reaches the states."""
    return state_dir() / "leaving" / digest(backend.url)
