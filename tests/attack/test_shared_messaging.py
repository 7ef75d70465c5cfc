"""An app that takes all it can of a shared messaging server, and its neighbour in the same one."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import sys
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from nats.aio.client import Client
from nats.errors import Error
from nats.errors import TimeoutError as NoAnswer
from nats.js.api import StorageType, StreamConfig
from nats.js.errors import APIError, NotFoundError

from stacks.platforms.application.messaging.provision import PROVISIONER
from tests.attack.conftest import Unpacked
from tests.attack.messaging import PLATFORM, Messaging, closed, messaging_server
from tests.attack.served import ADMIN, PASSWORD, attacked, wait_until
from tests.docs.blocks import ROOT
from tests.images.rootfs import needs_root
from tests.support.pki import Authority
from wecityctl.model.city import Use

pytestmark = [pytest.mark.build, pytest.mark.by_digest, needs_root, pytest.mark.timeout(300)]

EVE, BOB = "health.code.events", "transport.bus.events"
KILOBYTES = bytes(64 * 1024)


@pytest.fixture(scope="module")
def served(unpacked: Unpacked) -> Iterator[Messaging]:
    city = attacked(
        ("health", "code", Use("messaging", "events", storage="4Mi", connections=5)),
        ("transport", "bus", Use("messaging", "events")),
        platform=PLATFORM,
    )
    with messaging_server(city, unpacked("messaging")) as found:
        yield found


async def emptied(client: Client) -> None:
    for stream in await client.jetstream().streams_info():
        assert stream.config.name is not None
        await client.jetstream().delete_stream(stream.config.name)


async def refusal(served: Messaging, user: str, password: str = PASSWORD) -> str:
    """What somebody who connects is told; empty if he is let in."""
    try:
        await (await served.connect(user, password)).close()
    except Error as error:
        return str(error)
    return ""


@pytest.mark.proves("messaging", "built", "used")
async def test_an_app_does_what_apps_do(served: Messaging) -> None:
    async with served.client(EVE) as eve:

        async def answer(message: object) -> None:
            await message.respond("好".encode())  # type: ignore[attr-defined]

        await eve.subscribe("ask", cb=answer)
        assert (await eve.request("ask", b"?", timeout=5)).data.decode() == "好"
        streams = eve.jetstream()
        await streams.add_stream(name="visits", subjects=["visits.>"])
        assert [(await streams.publish("visits.clinic", str(n).encode())).seq for n in range(5)] == [1, 2, 3, 4, 5]
        reading = await streams.pull_subscribe("visits.>", durable="reader")
        for message in await reading.fetch(2):
            await message.ack_sync()
        bucket = await streams.create_key_value(bucket="settings")
        await bucket.put("opens", b"8")
        assert (await bucket.get("opens")).value == b"8"
        files = await streams.create_object_store(bucket="files")
        await files.put("form", b"f" * 300_000)
        assert len((await files.get("form")).data or b"") == 300_000
        # A provisioning Job that runs again changes nothing, and ends no session.
        served.provision()
        assert [message.data for message in await reading.fetch(3)] == [b"2", b"3", b"4"]
        await emptied(eve)
    code, text = served.script("exec messaging probe -tries 1")
    assert (code, "a message was published into a stream" in text) == (0, True), text


async def test_the_program_of_the_page_needs_nothing_but_the_binding(served: Messaging, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "how-to" / "send-messages.md").read_text()
    _, _, rest = page.partition("```python\n")
    program, _, _ = rest.partition("```\n")
    binding = {"uri": f"tls://{BOB}:{PASSWORD}@127.0.0.1:{served.port}", "ca.crt": served.authority}
    (tmp_path / "events").mkdir()
    for name, text in binding.items():
        (tmp_path / "events" / name).write_text(text)
    environment = {**os.environ, "SERVICE_BINDING_ROOT": str(tmp_path)}
    command = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, env=environment, stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await command.communicate()
    assert printed == b"visits.clinic 1 visitor\n"
    async with served.client(BOB) as bob:
        await emptied(bob)


@pytest.mark.proves("messaging", "refused")
async def test_nobody_gets_at_anothers_subjects_or_streams(served: Messaging) -> None:
    async with served.client(EVE) as eve, served.client(BOB) as bob:
        await bob.jetstream().add_stream(name="routes", subjects=["routes.>"])
        await bob.jetstream().publish("routes.1", b"of bob")
        everything = await eve.subscribe(">")
        system = [await eve.subscribe(name) for name in ("$SYS.>", "$JS.>", "_INBOX.>")]
        await eve.flush()
        heard = await bob.subscribe("routes.>")
        await bob.flush()
        await eve.publish("routes.1", b"of eve")
        await bob.jetstream().publish("routes.1", b"again")
        await eve.flush()
        assert (await heard.next_msg(5)).data == b"again"
        assert (await everything.next_msg(5)).data == b"of eve"
        for subscription in (everything, *system):
            with pytest.raises(NoAnswer):
                while (await subscription.next_msg(0.3)).data != b"again":
                    pass
        streams = eve.jetstream()
        with pytest.raises(NotFoundError):
            await streams.stream_info("routes")
        with pytest.raises(NotFoundError):
            await streams.get_msg("routes", 1)
        with pytest.raises(NotFoundError):
            await streams.delete_stream("routes")
        # Others are not to be copied by a mirror either: it finds nothing.
        await streams.add_stream(StreamConfig(name="routes", subjects=["own"]))
        assert (await streams.stream_info("routes")).state.messages == 0
        # The server's own account is nobody's.
        for subject in ("$SYS.REQ.SERVER.PING.VARZ", "$SYS.REQ.ACCOUNT.PING", f"$SYS.REQ.ACCOUNT.{BOB}.CONNZ"):
            with pytest.raises(Error):
                await eve.request(subject, b"{}", timeout=1)
        assert (await bob.jetstream().stream_info("routes")).state.messages == 2
        await emptied(eve)
        await emptied(bob)


async def test_who_has_no_password_or_anothers_is_not_let_in(served: Messaging) -> None:
    for user, password in (
        ("", ""),
        (EVE, "another-password"),
        ("admin", PASSWORD),
        (f"inside/{EVE}", PASSWORD),
        (f"inside/{EVE}", ADMIN),
        (BOB, ""),
    ):
        assert "authorization" in (await refusal(served, user, password)).lower(), (user, password)
    # A plain connection gets as far as the server's first line.
    with socket.create_connection(("127.0.0.1", served.port), 10) as plain:
        assert b'"tls_required":true' in plain.recv(1 << 16)
        plain.sendall(b'CONNECT {"user":"%s","pass":"%s"}\r\nPING\r\n' % (EVE.encode(), PASSWORD.encode()))
        assert b"PONG" not in plain.recv(1 << 16)
    with pytest.raises((Error, ssl.SSLError, OSError)):
        await served.connect(EVE, authority=Authority().cert.decode())


def test_the_administrators_interface_is_for_the_administrator(served: Messaging) -> None:
    context = ssl.create_default_context(cadata=served.authority)

    def code(path: str, method: str = "GET", user: str = "") -> int:
        request = urllib.request.Request(f"https://127.0.0.1:{served.admin}{path}", method=method)
        if user:
            request.add_header("Authorization", "Basic " + b64encode(user.encode()).decode())
        try:
            with urllib.request.urlopen(request, timeout=10, context=context) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    for user in ("", f"{EVE}:{PASSWORD}", "admin:guess"):
        assert code("/accounts", user=user) == 401
        assert code(f"/accounts/{BOB}/streams", user=user) == 401
        assert code(f"/accounts/{BOB}?owner=-", "DELETE", user) == 401
    assert code("/accounts", user=f"admin:{ADMIN}") == 200
    assert code("/health") == code("/metrics") == 200


@pytest.mark.proves("messaging", "limited")
async def test_an_app_has_no_more_than_its_limits(served: Messaging) -> None:
    async with AsyncExitStack() as stack:
        eve, bob = [await stack.enter_async_context(served.client(user)) for user in (EVE, BOB)]
        streams = eve.jetstream()
        await streams.add_stream(name="visits", subjects=["visits.>"])
        stored = 0
        with pytest.raises(APIError, match="resource limits exceeded"):
            while stored < 128:
                await streams.publish("visits.clinic", KILOBYTES)
                stored += 1
        # 4 MiB, and no message more, with what the server keeps of each.
        assert 60 <= stored <= 64
        with pytest.raises(APIError, match="insufficient memory"):
            await streams.add_stream(StreamConfig(name="m", storage=StorageType.MEMORY, max_bytes=8 * 1024**2))
        await streams.purge_stream("visits")
        await streams.publish("visits.clinic", KILOBYTES)
        with pytest.raises(Error, match=r"(?i)maximum payload"):
            await eve.publish("visits.clinic", bytes(1024**2 + 1))
        for number in range(31):
            await streams.add_stream(name=f"s{number}", subjects=[f"s{number}"])
        with pytest.raises(APIError, match="maximum number of streams"):
            await streams.add_stream(name="one-more", subjects=["one-more"])
        for _ in range(4):
            await stack.enter_async_context(served.client(EVE))
        assert "maximum account active connections exceeded" in (await refusal(served, EVE)).lower()
        # Its neighbour goes on meanwhile.
        await bob.jetstream().add_stream(name="routes", subjects=["routes.>"])
        for _ in range(80):
            await bob.jetstream().publish("routes.1", KILOBYTES)
        await emptied(eve)
        await emptied(bob)


async def test_who_does_not_read_loses_its_own_connection(served: Messaging) -> None:
    """The server keeps a bounded part of what a client has not read, and its memory is not all that client's."""
    async with served.client(EVE) as eve, served.client(BOB) as bob:
        context = ssl.create_default_context(cadata=served.authority)
        deaf: list[ssl.SSLSocket] = []
        for _ in range(3):
            plain = socket.create_connection(("127.0.0.1", served.port), 10)
            plain.recv(1 << 16)
            one = context.wrap_socket(plain, server_hostname="127.0.0.1")
            one.sendall(
                b'CONNECT {"user":"%s","pass":"%s","verbose":false}\r\nSUB flood 1\r\nPING\r\n'
                % (EVE.encode(), PASSWORD.encode())
            )
            assert b"PONG" in one.recv(1 << 16)
            deaf.append(one)
        for _ in range(400):
            await eve.publish("flood", KILOBYTES)
        await eve.flush(30)
        wait_until(lambda: served.logged("Slow Consumer"))
        await bob.flush(5)
        for one in deaf:
            one.close()
        peak = _peak(served)
        assert 10 * 1024 < peak < 256 * 1024, peak


def _peak(served: Messaging) -> int:
    """The most KiB that the server has had in memory."""

    def of(process: Path) -> int:
        try:
            if os.getpgid(int(process.name)) != served.groups["messaging"]:
                return 0
            lines = (process / "status").read_text().splitlines()
            return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
        except (OSError, StopIteration):
            return 0

    return max(of(process) for process in Path("/proc").glob("[0-9]*"))


async def test_accounts_are_locked_at_once_opened_again_and_deleted(served: Messaging) -> None:
    async with served.client(EVE) as eve, served.client(BOB) as bob:
        await eve.jetstream().add_stream(name="visits", subjects=["visits.>"])
        await eve.jetstream().publish("visits.clinic", b"kept")
        ours = f"{EVE} {EVE.replace('.', '/')}"
        # Another owner's of the same name is left alone.
        assert served.script(PROVISIONER.deprovision, ACCOUNTS=f"{EVE} health/others/events") == (0, "")
        await eve.flush(5)
        for _ in range(2):
            assert served.script(PROVISIONER.deprovision, ACCOUNTS=f"{ours}\nnobody.is.there a/b/c") == (0, "")
        await closed(eve)
        assert "authorization" in (await refusal(served, EVE)).lower()
        await bob.flush(5)
    owner, held, state, since = served.accounts()[EVE]
    assert (owner, state) == ("health/code/events", "locked")
    assert int(held) > 0 and int(since) > 1_700_000_000
    served.provision()
    assert served.accounts()[EVE][2:] == ["open", "-"]
    async with served.client(EVE) as eve:
        assert (await eve.jetstream().get_msg("visits", 1)).data == b"kept"
        assert served.script(PROVISIONER.delete, ACCOUNTS=ours) == (0, "")
        await closed(eve)
    assert served.accounts().keys() == {BOB}
    assert served.data is not None and not (served.data / "jetstream" / EVE).exists()
    served.provision()
    async with served.client(EVE) as eve:
        assert await eve.jetstream().streams_info() == []


async def test_a_rotated_password_holds_at_once(served: Messaging) -> None:
    async with served.client(EVE) as eve:
        served.provision(password="another-password-of-eve", only=EVE)
        await closed(eve)
    assert "authorization" in (await refusal(served, EVE)).lower()
    assert await refusal(served, EVE, "another-password-of-eve") == ""
    served.provision()
    assert await refusal(served, EVE) == ""
    assert served.data is not None
    for path in served.data.rglob("*"):
        assert not path.is_file() or PASSWORD.encode() not in path.read_bytes(), path
    assert oct((served.data / "accounts.json").stat().st_mode)[-3:] == "600"


def test_limits_that_the_volume_does_not_have_are_refused(served: Messaging) -> None:
    """10 GiB, for all accounts together."""
    city = attacked(("transport", "bus", Use("messaging", "events", storage="10Gi")), platform=PLATFORM)
    said = served.provision(city, code=1)
    # With the 4 MiB of its neighbour.
    assert f"come to {10 * 1024**3 + 4 * 1024**2} bytes, and there are {10 * 1024**3} for them" in said
    served.provision()


async def test_a_renewed_certificate_is_taken_over(served: Messaging) -> None:
    async with served.client(BOB) as bob:
        before = served.certificate()
        served.certify()
        wait_until(lambda: served.certificate() != before)
        await bob.flush(5)
        await (await served.connect(EVE)).close()


def test_jobs_refuse_a_server_of_another_authority(served: Messaging) -> None:
    with served.certified_by_others():
        code, text = served.script("exec messaging account -tries 1 list")
        assert code == 1 and "certificate" in text
        code, text = served.script("exec messaging probe -tries 1")
        assert code == 1 and "certificate" in text


async def test_metrics_are_of_each_app(served: Messaging) -> None:
    async with served.client(BOB) as bob:
        await bob.publish("routes.1", b"12345")
        await bob.flush(5)
        context = ssl.create_default_context(cadata=served.authority)
        url = f"https://127.0.0.1:{served.admin}/metrics"
        page = await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=10, context=context).read().decode())
    lines = dict(line.rsplit(" ", 1) for line in page.splitlines() if not line.startswith("#"))
    of_bob = f'{{account="{BOB}",tenant="transport",app="bus"}}'
    assert lines[f"wecity_messaging_connections{of_bob}"] == "1"
    assert int(lines[f"wecity_messaging_received_messages_total{of_bob}"]) >= 1
    assert lines[f"wecity_messaging_stored_limit_bytes{of_bob}"] == str(512 * 1024**2)
    assert int(lines["wecity_volume_bytes_size"]) > 0
