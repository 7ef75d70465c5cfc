"""One Keycloak over PostgreSQL that the tests of this folder share, with accounts of three apps of two tenants."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stacks.platforms import tls
from stacks.platforms.application.identity.provision import PROVISIONER
from tests.attack.served import ADMIN, PASSWORD, Served

EVE, BOB = "health.code.auth", "transport.bus.auth"
SISTER = "health.maps.auth"
# The account of the sign-in service, in the realm of the city.
SIGN_IN = "capability.sign-in.users"
REALMS = {EVE: "tenant-health", SISTER: "tenant-health", BOB: "tenant-transport"}
OWNERS = {account: account.replace(".", "/") for account in REALMS}
USER = {"username": "alice", "password": "a-long-pass-phrase"}
Answer = tuple[int, dict[str, Any]]


@dataclass(frozen=True)
class Keycloak:
    """The server with the accounts of three apps of two tenants, and a user in each tenant's realm."""

    served: Served
    context: ssl.SSLContext
    first: bytes = b""

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.served.port}/auth"

    def send(self, path: str, form: Mapping[str, str] | None = None, token: str = "", body: Any = None) -> Answer:
        """Status and content of an answer: of a form, of `body` as JSON, or of a GET."""
        data = urllib.parse.urlencode(form).encode() if form else json.dumps(body).encode() if body else None
        request = urllib.request.Request(f"{self.url}/{path}", data)
        if body:
            request.add_header("Content-Type", "application/json")
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        try:
            with self._open(request) as answer:
                return answer.status, json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"{}")

    def _open(self, request: urllib.request.Request) -> Any:
        """The server's answer. A handshake that meets a change of its certificate is cut, and begun once more."""
        try:
            return urllib.request.urlopen(request, timeout=30, context=self.context)
        except urllib.error.URLError as error:
            if not isinstance(error.reason, ssl.SSLEOFError):
                raise
        return urllib.request.urlopen(request, timeout=30, context=self.context)

    def ask(self, account: str, endpoint: str, secret: str = PASSWORD, realm: str = "", **form: str) -> Answer:
        """What an app's client is answered at an endpoint of its realm or of another `realm`."""
        path = f"realms/{realm or REALMS[account]}/protocol/openid-connect/{endpoint}"
        return self.send(path, {"client_id": account, "client_secret": secret, **form})

    def token(self, account: str, secret: str = PASSWORD, realm: str = "") -> Answer:
        return self.ask(account, "token", secret, realm, grant_type="client_credentials")

    def login(self, account: str) -> Answer:
        return self.ask(account, "token", grant_type="password", scope="openid", **USER)

    def user(self, account: str, token: str, realm: str = "") -> int:
        return self.send(f"realms/{realm or REALMS[account]}/protocol/openid-connect/userinfo", token=token)[0]

    def run(self, script: str, *accounts: str) -> str:
        """What one of the capability's scripts prints; `accounts` are the lines that it is given."""
        where = {"HOST": "127.0.0.1", "PORT": str(self.served.port), "ADMIN_PASSWORD": ADMIN}
        values = {**where, "ACCOUNTS": "\n".join(accounts), "AUTHORITY": tls.AUTHORITY}
        done = self.served.image.run("/bin/sh", "-c", script, **values)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def inventory(self) -> dict[str, list[str]]:
        """Owner, bytes, state and since of each app's account."""
        lines = [line.split() for line in self.run(PROVISIONER.inventory).splitlines()]
        assert all(words[0] == "account" and len(words) == 6 for words in lines), lines
        found = {words[1]: words[2:] for words in lines}
        assert found.pop(SIGN_IN) == [SIGN_IN.replace(".", "/"), "0", "open", "-"]
        return found

    def add_person(self, realm: str, username: str, password: str, groups: Sequence[str] = ()) -> None:
        """Add a user to a realm, in groups of which those at the top are made as far as they are not there."""
        token = self.admin()
        for path in groups:
            _, top, *below = path.split("/", 2)
            self.send(f"admin/realms/{realm}/groups", token=token, body={"name": top})
            if below:
                (parent,) = self.send(f"admin/realms/{realm}/groups?exact=true&search={top}", token=token)[1]
                # Of a name with a slash, Keycloak writes `~/` into the path.
                child = {"name": below[0]}
                assert (
                    self.send(f"admin/realms/{realm}/groups/{parent['id']}/children", token=token, body=child)[0] == 201
                )  # type: ignore[index]
        credentials = [{"type": "password", "value": password}]
        names = {"firstName": "Alice", "lastName": "Li", "email": f"{username}@xc.example", "emailVerified": True}
        user = {"username": username, "enabled": True, "credentials": credentials, "groups": list(groups), **names}
        status, answer = self.send(f"admin/realms/{realm}/users", token=token, body=user)
        assert status == 201, answer

    def end_sessions(self, realm: str, username: str) -> None:
        """End the sessions of a user, as an administrator does."""
        token = self.admin()
        (user,) = self.send(f"admin/realms/{realm}/users?exact=true&username={username}", token=token)[1]
        request = urllib.request.Request(f"{self.url}/admin/realms/{realm}/users/{user['id']}/logout", b"")  # type: ignore[index]
        request.add_header("Authorization", f"Bearer {token}")
        self._open(request).close()

    def clients(self, realm: str) -> set[str]:
        """The names of the clients in a realm."""
        return {item["clientId"] for item in self.send(f"admin/realms/{realm}/clients", token=self.admin())[1]}  # type: ignore[index]

    def admin(self) -> str:
        form = {"grant_type": "password", "client_id": "admin-cli", "username": "admin", "password": ADMIN}
        return str(self.send("realms/master/protocol/openid-connect/token", form)[1]["access_token"])


def line(account: str) -> str:
    return f"{account} {OWNERS[account]}"
