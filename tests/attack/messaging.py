"""The messaging server as the stacks declare it, on the loopback interface, and the clients of its apps."""

from __future__ import annotations

import asyncio
import os
import shutil
import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import nats
from nats.aio.client import Client
from nats.errors import Error

from stacks.platforms.application.messaging.access import ADMIN_PORT
from stacks.platforms.application.messaging.provision import PROVISIONER
from tests.attack.served import ADMIN, PASSWORD, Attacked, Served
from tests.images.rootfs import RootFilesystem, free_port
from wecityctl.model.city import Capability, Platform

PLATFORM = Platform("application", (Capability("application", "messaging", "messaging"),))


@dataclass(slots=True)
class Messaging(Served):
    """The server of a city, whose volume is `data`."""

    admin: int = field(default_factory=free_port)

    @contextmanager
    def up(self) -> Iterator[None]:
        """The server's own command for as long as the block lasts."""
        assert self.data is not None
        with self.running("messaging", self.command("messaging"), [self.data], ADMIN_PASSWORD=ADMIN):
            # It waits for the server.
            self.accounts()
            yield

    def script(self, text: str, **values: str) -> tuple[int, str]:
        """Run a script of the capability's as its Jobs do; the code, and what it prints."""
        for old, new in self.replacing:
            text = text.replace(old, new)
        if "-admin" not in text:
            text = text.replace("-tries", f"-admin {self.admin} -tries")
        where = {"HOST": "127.0.0.1", "PORT": str(self.port), "ADMIN_PASSWORD": ADMIN, "AUTHORITY": "/etc/tls/ca.crt"}
        done = self.image.run("/bin/sh", "-c", text, **where, **values)
        return done.returncode, done.stdout + done.stderr

    def accounts(self) -> dict[str, list[str]]:
        """The words after each account's name in the inventory."""
        code, text = self.script(PROVISIONER.inventory)
        assert code == 0, text
        return {words[1]: words[2:] for words in (line.split() for line in text.splitlines())}

    async def connect(self, user: str, password: str = PASSWORD, authority: str = "") -> Client:
        """A client that ends with the error of its first try, and with its connection."""
        context = ssl.create_default_context(cadata=authority or self.authority)
        errors: list[Exception] = []

        async def failed(error: Exception) -> None:
            errors.append(error)

        try:
            return await nats.connect(
                f"tls://127.0.0.1:{self.port}", user=user or None, password=password or None, tls=context,
                allow_reconnect=False, max_reconnect_attempts=1, connect_timeout=10, error_cb=failed,
            )  # fmt: skip
        except Error as error:
            raise errors[0] if errors else error from error

    @asynccontextmanager
    async def client(self, user: str, password: str = PASSWORD) -> AsyncIterator[Client]:
        client = await self.connect(user, password)
        try:
            yield client
        finally:
            await client.close()


@contextmanager
def volume() -> Iterator[Path]:
    """A directory of the image's user; not under pytest's own, which other users may not enter."""
    data = Path(tempfile.mkdtemp(prefix="attacked-"))
    try:
        os.chown(data, 65532, 65532)
        yield data
    finally:
        shutil.rmtree(data, ignore_errors=True)


@contextmanager
def prepared(city: Attacked, image: RootFilesystem) -> Iterator[Messaging]:
    """The server of `city` with an empty volume, to be brought up."""
    served = Messaging(city, "messaging", image)
    served.certify()
    with volume() as data:
        served.data = data
        served.replacing = (
            ("-listen :4222", f"-listen 127.0.0.1:{served.port}"),
            (f"-admin :{ADMIN_PORT}", f"-admin 127.0.0.1:{served.admin}"),
            (f"-admin {ADMIN_PORT}", f"-admin {served.admin}"),
            ("/data", f"/tmp{data}"),
        )
        yield served


@contextmanager
def messaging_server(city: Attacked, image: RootFilesystem) -> Iterator[Messaging]:
    """The server of `city`, with the accounts of its apps."""
    with ExitStack() as stack:
        served = stack.enter_context(prepared(city, image))
        stack.enter_context(served.up())
        try:
            served.provision()
            yield served
        except BaseException:
            print("\n".join(served.log[-40:]))
            raise


async def comes(check: Callable[[], Awaitable[bool]], seconds: float = 20) -> None:
    """Wait until `check` is true; fail when it is not within `seconds`."""
    deadline = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < deadline:
        if await check():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it did not come to that")


async def closed(client: Client) -> None:
    """Wait until a client's connection has been ended by the server."""

    async def is_closed() -> bool:
        return client.is_closed

    await comes(is_closed)
