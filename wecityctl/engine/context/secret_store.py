"""The city's secret store: generated and user-supplied values, kept as secret outputs of a stack of their own.

They are encrypted by the state's secrets provider, so another machine with the same back end sees the same values.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from shlex import quote

from wecityctl.engine.secrets.certificate_names import ISSUED_PREFIXES
from wecityctl.engine.state.backend import Backend
from wecityctl.errors import ConfigurationError
from wecityctl.model.naming import (
    BACKUP_KEYS,
    GIVEN_KEYS,
    NOTIFICATION_KEYS,
    REGISTRY_KEYS,
    TENANT_KEYS,
    given_name,
    stack_name,
)
from wecityctl.model.words import counted
from wecityctl.plan import Plan

# Who names values of each kind, in words for people.
_NAMED_BY = {
    TENANT_KEYS: "the apps name",
    REGISTRY_KEYS: "images.credentials names",
    BACKUP_KEYS: "compliance.backup names",
    NOTIFICATION_KEYS: "notification names",
}
BYTES = 32


@dataclass(frozen=True, slots=True)
class SecretStore:
    """Reads the store. Writing it is a run of its stack."""

    backend: Backend

    @property
    def stack(self) -> str:
        """The name of the stack that holds the values."""
        return stack_name(self.backend.city, "secrets")

    def read(self) -> dict[str, str]:
        """Return all values by name. Raises `AuthenticationError` if the passphrase does not decrypt them."""
        state = self.backend.read_state(self.stack)
        values = (state.outputs or {}).get("values") if state is not None else None
        return {str(name): str(value) for name, value in (values or {}).items()}

    def names(self) -> tuple[str, ...]:
        """Return the names of all values."""
        return tuple(sorted(self.read()))


def needed(plan: Plan) -> tuple[str, ...]:
    """Return the names of the values that the plan's stacks use."""
    return tuple(sorted({name for stack in plan.stacks for name in stack.secrets}))


def has_certificates(names: Iterable[str]) -> bool:
    """Whether some of the values are certificates issued by the city, which expire."""
    return any(name.startswith(ISSUED_PREFIXES) for name in names)


def require_given(names: Iterable[str], have: Mapping[str, str], files: str) -> None:
    """Raise `ConfigurationError` if a value that only a user can supply is missing; `files` is how the user names the
    city.
    """
    missing = [name for name in names if name.startswith(GIVEN_KEYS) and name not in have]
    if missing:
        who = {words for prefix, words in _NAMED_BY.items() for name in missing if name.startswith(prefix)}
        whose = who.pop() if len(who) == 1 else "the files name"
        raise ConfigurationError(
            f"secrets are missing that {whose}: " + ", ".join(missing),
            resolution="set each of them: "
            + "; ".join(f"wecityctl secrets set {quote(files)} {given_name(name)}" for name in missing),
        )


def require_not_lost(
    names: Iterable[str], have: Collection[str], noted: Collection[str], stack: str, *, confirm: str
) -> None:
    """Raise `ConfigurationError` if generated values are missing that existed at the last `up`.

    `names` are the needed values, `noted` those of the last `up`, `stack` is the secret store's stack, and `confirm` is
    the command that creates new ones. New values would differ from those that databases and pods already use.
    """
    lost = [name for name in names if name in noted and name not in have and not name.startswith(GIVEN_KEYS)]
    if lost:
        raise ConfigurationError(
            f"the secret store has lost {counted(len(lost), 'value')} that what is running was given",
            details="\n".join(lost),
            resolution=f"put the state of {stack} back from a copy; or, if it is lost for good, make new values with "
            f"`{confirm}`: databases keep the old ones until they are told",
        )


def with_generated(names: Iterable[str], have: Mapping[str, str]) -> dict[str, str]:
    """Return `have` with a new random value for each missing name; existing values are not changed."""
    return {**have, **{name: secrets.token_urlsafe(BYTES) for name in names if name not in have}}
