"""`secrets rotate`: new generated passwords in the city's secret store, which the next `up` brings in.

That `up` keeps the order by itself. The administrator's password comes with the server's restart, or by a Job where the
server keeps it itself (`stacks.platforms.rotation`): for that the store keeps the values that were replaced. The
provisioning Job sets an account's new password, and the pods of its user roll after it, because their template has
their binding's digest. Open sessions stay until then.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wecityctl.errors import ConfigurationError
from wecityctl.model import naming
from wecityctl.model.requirements import Consumer, uses_of
from wecityctl.operations.names import no_such

if TYPE_CHECKING:
    from wecityctl.model.city import App, Capability, Use
    from wecityctl.session import Session


@dataclass(frozen=True, slots=True)
class Credential:
    """A generated value: its name in the secret store, and who reads it. `capability` is whose it opens."""

    name: str
    capability: str
    user: str


def credentials(session: Session) -> tuple[Credential, ...]:
    """Every generated credential of the city's files: of capabilities' administrators and of accounts in them."""
    return tuple(_credentials(session))


def chosen(session: Session, names: Iterable[str] = (), app: str = "", capability: str = "") -> tuple[Credential, ...]:
    """The credentials with these `names`, and those of an app (`tenant/name`), and of a capability: its administrator's
    and those of all that use it. Raises `ConfigurationError` for what there is not."""
    everything = credentials(session)
    by_name = {item.name: item for item in everything}
    unknown = [name for name in names if name not in by_name]
    if unknown:
        raise ConfigurationError(
            f"{unknown[0]!r} is no generated password of this city",
            details="there are: " + ", ".join(by_name),
            resolution="values that people have given are replaced with `wecityctl secrets set`; certificates are "
            "renewed by `up`",
        )
    apps = [f"{item.tenant}/{item.name}" for item in session.city.apps]
    if app and app not in apps:
        raise no_such("app", app, apps, "write it as TENANT/NAME")
    capabilities = [item.name for item in session.city.capabilities]
    if capability and capability not in capabilities:
        raise no_such("capability", capability, capabilities)
    found = [by_name[name] for name in names]
    found += [item for item in everything if app and item.user == app]
    found += [item for item in everything if capability and item.capability == capability]
    if not found:
        raise ConfigurationError(f"{app or capability or 'nothing'} has no generated passwords")
    return tuple(dict.fromkeys(found))


def rotate(session: Session, wanted: Iterable[Credential]) -> tuple[Credential, ...]:
    """Put new values in the place of those credentials that the store has, and return these.

    What the store has not yet is made by the next `up` anyway. Raises `LockedError` while a run changes the city.
    """
    from wecityctl.engine.context.secret_store import SecretStore
    from wecityctl.engine.run.edit_secrets import renew_generated
    from wecityctl.engine.state.backend import open_backend

    backend = open_backend(session.city)
    backend.unlock()
    kept = set(SecretStore(backend).names())
    found = tuple(item for item in wanted if item.name in kept)
    if found:
        needed = {name for stack in session.plan.whole.stacks for name in stack.secrets}
        kept_in = {item.name: naming.previous_key(item.name) for item in found}
        renew_generated(backend, {name: previous if previous in needed else "" for name, previous in kept_in.items()})
    return found


def _credentials(session: Session) -> Iterator[Credential]:
    city, catalogue = session.city, session.catalogue
    needed = {name for stack in session.plan.whole.stacks for name in stack.secrets}
    for item in city.capabilities:
        if (name := naming.admin_key(item.name)) in needed and not item.is_entry:
            yield Credential(name, item.name, f"{item.name}'s administrator")
    users: list[tuple[App | Capability, tuple[Use, ...]]] = [(app, app.uses) for app in city.apps]
    users += [(item, uses_of(item, city.capabilities, catalogue)) for item in city.capabilities]
    for user, uses in users:
        consumer = Consumer.of(user)
        for use in uses:
            kind = catalogue[city.capability(use.capability).type]
            for name in kind.credential_keys(*consumer.parts(use)):
                if name in needed:
                    yield Credential(name, use.capability, f"{consumer.group}/{consumer.name}")
