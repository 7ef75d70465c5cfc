"""Credentials for the API server: headers and client certificate, renewed when they expire or are rejected.

Runs exec plug-ins and rereads token files. `requester` decides what to do after a 401.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from wecityctl.errors import AuthenticationError
from wecityctl.kube.config import Access, ExecPlugin

TOKEN_FILE_SECONDS = 60.0  # as client-go: a rotated service account token is picked up within a minute
EXEC_SECONDS = 120.0
END_SECONDS = 5.0
MINIMUM_EXEC_SECONDS = 5.0
EXPIRY_LEEWAY_SECONDS = 10.0
WITHHELD = ("PULUMI_", "WECITYCTL_")
MAX_EXEC_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class Login:
    """Credentials for a request. `expires` in seconds since the epoch, 0 for never."""

    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    cert: bytes | None = field(default=None, repr=False)
    key: bytes | None = field(default=None, repr=False)
    expires: float = 0.0


class Credentials:
    """The logins of one access over time. Shared by every client of that access."""

    def __init__(self, access: Access, *, clock: Callable[[], float] = time.time) -> None:
        self._access = access
        self._clock = clock
        self._lock = asyncio.Lock()
        self._login: Login | None = None
        self._renewable = access.exec_plugin is not None or access.token_file is not None

    async def current(self) -> Login:
        """The login to use now. Runs the exec plug-in or reads the token file if there is none or it has expired."""
        login = self._login
        if login is not None and not self._stale(login):
            return login
        async with self._lock:
            if self._login is None or self._stale(self._login):
                self._login = await self._make()
            return self._login

    async def renew(self, refused: Login) -> bool:
        """After a 401: whether a login other than the rejected one is available."""
        if not self._renewable:
            return False
        async with self._lock:
            if self._login is refused:
                self._login = await self._make()
            return self._login is not None and (self._login.headers, self._login.cert) != (
                refused.headers,
                refused.cert,
            )

    def _stale(self, login: Login) -> bool:
        return bool(login.expires) and login.expires <= self._clock()

    async def _make(self) -> Login:
        access = self._access
        if access.token_file is not None:
            return self._login_with(_bearer(_read_token(access.token_file)), self._clock() + TOKEN_FILE_SECONDS)
        if access.token:
            return self._login_with(_bearer(access.token))
        if access.username:
            pair = base64.b64encode(f"{access.username}:{access.password}".encode()).decode()
            return self._login_with((("Authorization", f"Basic {pair}"),))
        if access.exec_plugin is not None:
            return await self._run(access.exec_plugin)
        return self._login_with(())

    async def _run(self, plugin: ExecPlugin) -> Login:
        status = await run_plugin(plugin, self._access)
        token = status.get("token")
        login = self._login_with(_bearer(token) if token else (), _expiry(status.get("expirationTimestamp"), plugin))
        if login.expires:
            # A plug-in that returns an expired credential must not run again for each request.
            login = replace(login, expires=max(login.expires, self._clock() + MINIMUM_EXEC_SECONDS))
        cert, key = status.get("clientCertificateData"), status.get("clientKeyData")
        return replace(login, cert=cert.encode(), key=key.encode()) if cert and key else login

    def _login_with(self, headers: tuple[tuple[str, str], ...], expires: float = 0.0) -> Login:
        access = self._access
        headers += _impersonation(access)
        for name, value in headers:
            if not value.isprintable():
                # The value is a secret and is not quoted.
                raise AuthenticationError(
                    f"the credentials for {access.server} hold a line break or another character that cannot be sent",
                    details=f"in the header {name}",
                    resolution="check the token and the names of the kubeconfig's user",
                )
        return Login(headers, access.client_cert, access.client_key, expires)


def plugin_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment for a credential plug-in: without Pulumi's and our own variables, such as the passphrase."""
    return {name: value for name, value in environ.items() if not name.startswith(WITHHELD)}


async def run_plugin(plugin: ExecPlugin, access: Access) -> Mapping[str, Any]:
    """The `status` of the ExecCredential that the plug-in prints. Raises `AuthenticationError` naming the command."""
    name = " ".join((plugin.command, *plugin.args))
    if plugin.interactive_mode == "Always":
        raise AuthenticationError(
            f"the credential plug-in `{name}` needs a terminal",
            resolution="use a plug-in (or a login made beforehand) that works without one",
        )
    environment = plugin_environment(os.environ) | dict(plugin.env)
    environment["KUBERNETES_EXEC_INFO"] = _exec_info(plugin, access)
    try:
        process = await asyncio.create_subprocess_exec(
            plugin.command,
            *plugin.args,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
            # A process group of its own, so that processes that a script starts end with it.
            start_new_session=True,
        )
    except OSError as error:
        raise AuthenticationError(
            f"the credential plug-in `{name}` cannot be run: {error.strerror or error}", resolution=plugin.install_hint
        ) from error
    try:
        async with asyncio.timeout(EXEC_SECONDS):
            stdout, stderr = await _outputs(process)
    except BaseException as error:
        _kill(process)
        # A process that it started in another session may keep its pipes open.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_SECONDS):
                await process.communicate()
        if isinstance(error, TimeoutError):
            raise AuthenticationError(
                f"the credential plug-in `{name}` gave no answer in {EXEC_SECONDS:.0f} s"
            ) from None
        # Callers that set a shorter limit report what took the time.
        error.add_note(f"the credential plug-in `{name}` had not answered yet")
        raise
    if max(len(stdout), len(stderr)) > MAX_EXEC_BYTES:
        raise AuthenticationError(f"the credential plug-in `{name}` prints without end")
    said = stderr.decode(errors="replace").strip()[-2000:]
    if process.returncode != 0:
        raise AuthenticationError(
            f"the credential plug-in `{name}` failed with exit code {process.returncode}",
            details=said,
            resolution=plugin.install_hint if process.returncode == 127 else "",
        )
    return _status(stdout, plugin, name, said)


async def _outputs(process: asyncio.subprocess.Process) -> tuple[bytes, bytes]:
    """The process's output (stdout, stderr) until it ends, or is killed because it prints too much."""
    assert process.stdout is not None
    assert process.stderr is not None
    stdout, stderr = await asyncio.gather(_all_of(process.stdout, process), _all_of(process.stderr, process))
    await process.wait()
    return stdout, stderr


async def _all_of(stream: asyncio.StreamReader, process: asyncio.subprocess.Process) -> bytes:
    data = bytearray()
    # Read to the end in any case: a process that writes to a full pipe never ends.
    while chunk := await stream.read(65536):
        if len(data) <= MAX_EXEC_BYTES:
            data += chunk
        else:
            _kill(process)
    return bytes(data)


def _kill(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _status(stdout: bytes, plugin: ExecPlugin, name: str, said: str) -> Mapping[str, Any]:
    # The output is a secret: messages never quote it.
    try:
        answer = json.loads(stdout)
    except ValueError:
        raise AuthenticationError(f"the credential plug-in `{name}` did not print JSON", details=said) from None
    if not isinstance(answer, dict) or answer.get("kind") != "ExecCredential":
        raise AuthenticationError(f"the credential plug-in `{name}` did not print an ExecCredential", details=said)
    if answer.get("apiVersion") != plugin.api_version:
        raise AuthenticationError(
            f"the credential plug-in `{name}` answered in {answer.get('apiVersion')!r}, not {plugin.api_version}",
            resolution="set the apiVersion that the plug-in speaks in the kubeconfig's exec section",
        )
    status = answer.get("status")
    if not isinstance(status, dict) or not (status.get("token") or status.get("clientCertificateData")):
        raise AuthenticationError(f"the credential plug-in `{name}` gave neither token nor certificate", details=said)
    if bool(status.get("clientCertificateData")) != bool(status.get("clientKeyData")):
        raise AuthenticationError(f"the credential plug-in `{name}` gave a certificate without key, or a key alone")
    return status


def _exec_info(plugin: ExecPlugin, access: Access) -> str:
    spec: dict[str, Any] = {"interactive": False}
    if plugin.provide_cluster_info:
        cluster: dict[str, Any] = {"server": access.server}
        if access.tls_server_name:
            cluster["tls-server-name"] = access.tls_server_name
        if access.insecure:
            cluster["insecure-skip-tls-verify"] = True
        if access.ca_data:
            cluster["certificate-authority-data"] = base64.b64encode(access.ca_data).decode()
        if access.proxy_url:
            cluster["proxy-url"] = access.proxy_url
        config = json.loads(plugin.cluster_config)
        if config is not None:
            cluster["config"] = config
        spec["cluster"] = cluster
    return json.dumps({"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": spec})


def _expiry(stamp: object, plugin: ExecPlugin) -> float:
    if not stamp:
        return 0.0
    try:
        when = datetime.fromisoformat(str(stamp))
    except ValueError as error:
        raise AuthenticationError(f"the credential plug-in `{plugin.command}` gave a bad expiry: {stamp}") from error
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return when.timestamp() - EXPIRY_LEEWAY_SECONDS


def _bearer(token: str) -> tuple[tuple[str, str], ...]:
    return (("Authorization", f"Bearer {token}"),)


def _impersonation(access: Access) -> tuple[tuple[str, str], ...]:
    headers: list[tuple[str, str]] = []
    if access.impersonate:
        headers.append(("Impersonate-User", access.impersonate))
    if access.impersonate_uid:
        headers.append(("Impersonate-Uid", access.impersonate_uid))
    headers += [("Impersonate-Group", group) for group in access.impersonate_groups]
    for key, values in access.impersonate_extra:
        headers += [(f"Impersonate-Extra-{quote(key, safe='')}", value) for value in values]
    return tuple(headers)


def _read_token(path: Path) -> str:
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise AuthenticationError(f"the token file {path} cannot be read: {reason}") from error
    if not token:
        raise AuthenticationError(f"the token file {path} is empty")
    return token
