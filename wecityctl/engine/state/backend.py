"""A city's state back end: where its stacks are, the passphrase that opens them, and reading what they hold."""

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
    """The crypters made so far, by salt: each costs a quarter of a second."""

    crypters: dict[str, crypto.PassphraseCrypter] = field(default_factory=dict)
    city_salt: str = ""


@dataclass(frozen=True, slots=True)
class Backend:
    """The back end of one city.

    `passphrase` is `None` where another secrets provider is used. Reading decrypts; nothing is cached but keys.
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
        """The store where states are seen as they are stored; `None` where only the CLI reaches it."""
        return self.store if isinstance(self.store, StateStore) else None

    def environment(self) -> dict[str, str]:
        """The environment for the engine's CLI on this back end."""
        return cli_environment(self.store.url, self.passphrase.environment if self.passphrase else {})

    def sealed_environment(self) -> dict[str, str]:
        """The environment for a CLI whose stack's secrets its run keeps: it gets no passphrase."""
        passed = cli_environment(self.store.url, {})
        return {name: value for name, value in passed.items() if not name.startswith(VARIABLE)}

    def list_stacks(self) -> tuple[str, ...]:
        """The names of the city's stacks that exist, whatever the files say."""
        return tuple(name for name in self.store.names() if name.startswith(f"{self.city}."))

    def read_state(self, stack: str) -> StackState | None:
        """The stack's state, its export decrypted; `None` for a stack that does not exist.

        Raises `AuthenticationError` when the passphrase does not open it.
        """
        deployment, stored = self.store.read(stack)
        if deployment is None and not stored:
            return None
        outputs = self._reveal(deployment, root_outputs(deployment))
        return parse_state(stack, deployment, outputs, stored)

    def sealed(self, stack: str) -> Deployment:
        """The stack's deployment with its secrets encrypted, to be written elsewhere; empty for none."""
        return self.store.sealed(stack) or {}

    def reveal(self, deployment: Deployment, value: Any) -> Any:
        """A value out of `deployment` with its secrets decrypted."""
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
        """Prove that the passphrase opens what is there. Raises `AuthenticationError`; changes nothing."""
        if self.passphrase is None or self.states is None:
            return
        for salt in sorted(self._salts()):
            self._crypter(salt)

    def _salts(self) -> set[str]:
        return {salt for name in self.list_stacks() if (salt := quick_salt(self.store.glimpse(name)))}

    def salt(self) -> str:
        """The city's salt: the one its state has, or a new one that lives from the first stack written with it."""
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
        """What the stack's settings file says for plain `pulumi`: the salt of its secrets."""
        salt = self._salt_of(stack)
        return f"encryptionsalt: {salt}\n" if salt else ""

    def seal(self, stack: str) -> Seal | None:
        """What keeps the stack's secrets; `None` where another secrets provider than the passphrase does."""
        salt = self._salt_of(stack)
        return Seal(salt, self._crypter(salt)) if salt else None

    def _salt_of(self, stack: str) -> str:
        """The stack's own salt, or the city's for a stack that has none yet."""
        if self.passphrase is None or self.states is None:
            return ""
        return quick_salt(self.store.glimpse(stack)) or self.salt()

    def ensure_stack(self, stack: str) -> None:
        """Make the stack, empty, where it does not exist."""
        if self.passphrase is not None:
            self.passphrase.persist()
        if not self.store.exists(stack):
            self.store.create(stack)

    def delete_stack(self, stack: str) -> None:
        """Remove an emptied stack and its history."""
        self.store.remove(stack)

    def cancel(self, stack: str) -> None:
        """Have the engine's CLI break the locks on a stack. Only where it alone knows them."""
        assert isinstance(self.store, CliStore)
        self.store.cancel(stack)

    def last_update(self, stack: str) -> Mapping[str, Any] | None:
        """The stack's newest update as the engine recorded it; `None` before there was one that came to its end."""
        return next(iter(self.store.history(stack, 1)), None)

    def history(self, stack: str) -> list[Mapping[str, Any]]:
        """The stack's updates, newest first, as the engine recorded them."""
        return list(self.store.history(stack))


_SALT = re.compile(rb'"secrets_providers":\{"type":"passphrase","state":\{"salt":"([^"]+)"')


def quick_salt(stored: bytes) -> str:
    """The salt in a stored state, found without parsing all of it where the engine's own writing allows."""
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
        # Damaged: whoever reads the stack is told.
        return ""


def open_backend(city: City, *, moving: bool = False) -> Backend:
    """The back end that the city's files name. Raises `AuthenticationError` when no passphrase is to be had.

    Raises `ConfigurationError` for a place that the city's states have left, or have not all reached, unless it is
    opened for `moving` them.
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
    # Over local files, another secrets provider can be asked by the CLI alone: then the CLI reads and writes it all.
    if store is not None and provider == PASSPHRASE:
        return Backend(city.name, store, provider, _passphrase(provider, files, is_default), is_default)
    from wecityctl.toolchain import locate

    url = file_url(root) if root is not None else url
    passphrase = _passphrase(provider, None, False)
    environment = cli_environment(url, passphrase.environment if passphrase else {})
    return Backend(city.name, CliStore(locate("pulumi"), url, environment, provider), provider, passphrase, False)


def open_states(url: str) -> StateStore:
    """The store at a URL that begins with `file://`, `s3://` or `postgres://`. Raises `ConfigurationError` for another
    one, and what `open_objects` raises."""
    root = _file_root(url)
    return FileStore(root) if root is not None else ObjectStore.open(url)


def _passphrase(provider: str, store: FileStore | None, is_default: bool) -> Passphrase | None:
    if provider != PASSPHRASE:
        return None
    encrypted = store is not None and any(quick_salt(store.glimpse(name)) for name in store.names())
    return find_passphrase(local_default=is_default, encrypted_state=encrypted)


def _file_root(url: str) -> Path | None:
    """The directory of a `file://` URL that has the layout we know; `None` leaves it to the CLI."""
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
    """The project's settings file."""
    return f"name: {PROJECT}\nruntime: python\ndescription: stacks of wecityctl\n"
