"""A city's state back end: opens the store, finds the passphrase, and reads and decrypts states."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wecityctl.engine.process.home import cli_environment
from wecityctl.engine.secrets import crypto
from wecityctl.engine.secrets.passphrase import VARIABLE, Passphrase, find_passphrase
from wecityctl.engine.secrets.sealing import Seal
from wecityctl.engine.state.checkpoint import (
    Deployment,
    StackState,
    deployment_in,
    parse_state,
    plain,
    root_outputs,
    salt_of,
)
from wecityctl.engine.state.moved import require_here
from wecityctl.engine.state.store import StateStore
from wecityctl.engine.state.store_cli import CliStore
from wecityctl.engine.state.store_file import FileStore
from wecityctl.engine.state.store_objects import ObjectStore
from wecityctl.errors import ConfigurationError
from wecityctl.model.city import City
from wecityctl.model.fileurl import SCHEME, FileUrlError, file_path, file_url
from wecityctl.model.naming import PROJECT
from wecityctl.objects import schemes
from wecityctl.paths import state_dir

PASSPHRASE = "passphrase"  # noqa: S105
Store = StateStore | CliStore


@dataclass(slots=True)
class _Vault:
    """The crypters created so far, by salt; each takes about 0.25 s to derive its key."""

    crypters: dict[str, crypto.PassphraseCrypter] = field(default_factory=dict)
    city_salt: str = ""


@dataclass(frozen=True, slots=True)
class Backend:
    """The state back end of one city.

    `passphrase` is `None` if another secrets provider is used. Reading decrypts; only keys are cached.
    """

    city: str
    store: Store
    secrets_provider: str
    passphrase: Passphrase | None
    is_default: bool
    _vault: _Vault = field(default_factory=_Vault, repr=False)

    @property
    def url(self) -> str:
        return self.store.public_url

    @property
    def states(self) -> StateStore | None:
        """The store, if states can be read as stored; `None` if only the CLI can reach them."""
        return self.store if isinstance(self.store, StateStore) else None

    def environment(self) -> dict[str, str]:
        """Return the environment for the engine's CLI on this back end."""
        return cli_environment(self.store.url, self.passphrase.environment if self.passphrase else {})

    def sealed_environment(self) -> dict[str, str]:
        """Return the environment for a CLI whose secrets are encrypted by the run; it contains no passphrase."""
        passed = cli_environment(self.store.url, {})
        return {name: value for name, value in passed.items() if not name.startswith(VARIABLE)}

    def list_stacks(self) -> tuple[str, ...]:
        """Return the names of the city's existing stacks, whether or not they are in the configuration."""
        return tuple(name for name in self.store.names() if name.startswith(f"{self.city}."))

    def read_state(self, stack: str) -> StackState | None:
        """Return the stack's state with its outputs decrypted; `None` if the stack does not exist.

        Raises `AuthenticationError` if the passphrase does not decrypt it.
        """
        deployment, stored = self.store.read(stack)
        if deployment is None and not stored:
            return None
        outputs = self._reveal(deployment, root_outputs(deployment))
        return parse_state(stack, deployment, outputs, stored)

    def sealed(self, stack: str) -> Deployment:
        """Return the stack's deployment with its secrets encrypted, to be written elsewhere; empty if there is none."""
        return self.store.sealed(stack) or {}

    def reveal(self, deployment: Deployment, value: Any) -> Any:
        """Return a value from `deployment` with its secrets decrypted."""
        return self._reveal(deployment, value)

    def _reveal(self, deployment: Deployment | None, value: Any) -> Any:
        if not crypto.has_secrets(value):
            return value
        salt = salt_of(deployment)
        if salt and self.passphrase is not None and self.states is not None:
            return self._crypter(salt).reveal(value)
        return plain(value)

    def _crypter(self, salt: str) -> crypto.PassphraseCrypter:
        assert self.passphrase is not None
        if salt not in self._vault.crypters:
            self._vault.crypters[salt] = crypto.open_salt(self.passphrase.value, salt)
        return self._vault.crypters[salt]

    def unlock(self) -> None:
        """Check that the passphrase decrypts the existing states. Raises `AuthenticationError`; changes nothing."""
        if self.passphrase is None or self.states is None:
            return
        for salt in sorted(self._salts()):
            self._crypter(salt)

    def _salts(self) -> set[str]:
        return {salt for name in self.list_stacks() if (salt := quick_salt(self.store.glimpse(name)))}

    def salt(self) -> str:
        """Return the city's salt: that of its states, or a new one that is first stored with the next stack."""
        if self.passphrase is None or self.states is None:
            return ""
        if not self._vault.city_salt:
            found = sorted(self._salts())
            if found:
                self._vault.city_salt = found[0]
            else:
                salt, crypter = crypto.new_salt(self.passphrase.value)
                self._vault.city_salt = salt
                self._vault.crypters[salt] = crypter
        return self._vault.city_salt

    def stack_settings(self, stack: str) -> str:
        """Return the stack's settings file for plain `pulumi`: the salt of its secrets."""
        salt = self._salt_of(stack)
        return f"encryptionsalt: {salt}\n" if salt else ""

    def seal(self, stack: str) -> Seal | None:
        """Return the object that encrypts the stack's secrets; `None` for a secrets provider other
        than the passphrase.
        """
        salt = self._salt_of(stack)
        return Seal(salt, self._crypter(salt)) if salt else None

    def _salt_of(self, stack: str) -> str:
        """Return the stack's own salt, or the city's if the stack has none yet."""
        if self.passphrase is None or self.states is None:
            return ""
        return quick_salt(self.store.glimpse(stack)) or self.salt()

    def ensure_stack(self, stack: str) -> None:
        """Create the stack, empty, if it does not exist."""
        if self.passphrase is not None:
            self.passphrase.persist()
        if not self.store.exists(stack):
            self.store.create(stack)

    def delete_stack(self, stack: str) -> None:
        """Delete an empty stack and its history."""
        self.store.remove(stack)

    def cancel(self, stack: str) -> None:
        """Break the locks on a stack through the CLI. Only for stores that the CLI alone can reach."""
        assert isinstance(self.store, CliStore)
        self.store.cancel(stack)

    def last_update(self, stack: str) -> Mapping[str, Any] | None:
        """Return the stack's newest completed update as recorded by the engine; `None` if there is none."""
        return next(iter(self.store.history(stack, 1)), None)

    def history(self, stack: str) -> list[Mapping[str, Any]]:
        """Return the stack's updates as recorded by the engine, newest first."""
        return list(self.store.history(stack))


_SALT = re.compile(rb'"secrets_providers":\{"type":"passphrase","state":\{"salt":"([^"]+)"')


def quick_salt(stored: bytes) -> str:
    """Return the salt in a stored state; avoids parsing the whole state if the engine has written it."""
    if not stored:
        return ""
    found = _SALT.search(stored)
    if found:
        return found[1].decode()
    if stored[:1] != b"{":
        return ""
    try:
        return salt_of(deployment_in(stored))
    except ValueError:
        # Damaged: reported when the stack is read.
        return ""


def open_backend(city: City, *, moving: bool = False) -> Backend:
    """Open the back end of the city's files.

    Raises `AuthenticationError` if no passphrase is available, and `ConfigurationError` if the city's states were moved
    away or have not all arrived, unless it is opened for `moving` them.
    """
    url = city.state.backend
    provider = city.state.secrets_provider or PASSPHRASE
    is_default = not url
    root = state_dir() / "state" if is_default else _file_root(url)
    files = FileStore(root) if root is not None else None
    is_ours = provider == PASSPHRASE and url.partition("://")[0] in schemes()
    store: StateStore | None = files or (ObjectStore.open(url) if is_ours else None)
    if store is not None and not moving:
        require_here(city.name, store)
    # With another secrets provider, only the CLI can decrypt, so the CLI reads and writes local files too.
    if store is not None and provider == PASSPHRASE:
        return Backend(city.name, store, provider, _passphrase(provider, files, is_default), is_default)
    from wecityctl.toolchain import locate

    url = file_url(root) if root is not None else url
    passphrase = _passphrase(provider, None, False)
    environment = cli_environment(url, passphrase.environment if passphrase else {})
    return Backend(city.name, CliStore(locate("pulumi"), url, environment, provider), provider, passphrase, False)


def open_states(url: str) -> StateStore:
    """Open the store at a `file://`, `s3://` or `postgres://` URL.

    Raises `ConfigurationError` for any other URL, and what `open_objects` raises.
    """
    root = _file_root(url)
    return FileStore(root) if root is not None else ObjectStore.open(url)


def _passphrase(provider: str, store: FileStore | None, is_default: bool) -> Passphrase | None:
    if provider != PASSPHRASE:
        return None
    encrypted = store is not None and any(quick_salt(store.glimpse(name)) for name in store.names())
    return find_passphrase(local_default=is_default, encrypted_state=encrypted)


def _file_root(url: str) -> Path | None:
    """Return the directory of a `file://` URL whose layout is supported; `None` leaves it to the CLI."""
    if not url.startswith(SCHEME):
        return None
    try:
        root = file_path(url)
    except FileUrlError as error:
        raise ConfigurationError(
            f"the state back end {url!r} is not a directory's URL: {error.message}",
            resolution=f"write {error.suggestion or 'file:///directory, or file://~/directory for one in your home'}",
        ) from None
    if not (root / ".pulumi").exists() or (root / ".pulumi" / "meta.yaml").exists():
        return root
    raise ConfigurationError(
        f"the state back end {url} has the layout of a very old Pulumi",
        resolution="run `pulumi state upgrade` there once",
    )


def project_file() -> str:
    """Return the content of the project file `Pulumi.yaml`."""
    return f"name: {PROJECT}\nruntime: python\ndescription: stacks of wecityctl\n"
