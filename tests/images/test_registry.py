"""The registry's image: started as its user over a read-only root with a certificate, and used by its own scripts."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from stacks.platforms.operations import registry
from stacks.platforms.operations.registry.access import PROVISION
from stacks.platforms.operations.registry.health import PROBE
from stacks.platforms.operations.registry.program import node_password
from stacks.platforms.operations.registry.provision import PROVISIONER
from tests.images.rootfs import RootFilesystem, fill, free_port, needs_root, small_volume, wait_for
from tests.support.pki import Authority
from wecityctl import oci
from wecityctl.errors import DeploymentError
from wecityctl.oci import push
from wecityctl.operations import images_push

Unpacked = Callable[[str], RootFilesystem]
pytestmark = [pytest.mark.build, pytest.mark.by_digest, needs_root, pytest.mark.timeout(500)]

PASSWORD = "administrator"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def test_the_go_package() -> None:
    """Its own tests: what each account may do with a real registry, limits, and the collection of garbage."""
    done = subprocess.run(
        ["go", "test", "-trimpath", "-buildvcs=false", "-mod=readonly", "-vet=off", "./..."],
        cwd=Path(registry.__file__).parent / "image/go",
        env={**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr


@dataclass(frozen=True)
class Served:
    """A registry that runs, and the ways to ask it."""

    image: RootFilesystem
    place: Path
    port: int
    authority: bytes
    process: subprocess.Popen[str]

    def ask(
        self, user: str, password: str, method: str, path: str, body: bytes | None = None, kind: str = ""
    ) -> tuple[int, bytes, str]:
        """The code, the body and the place of an answer."""
        context = ssl.create_default_context(cadata=self.authority.decode())
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=context, timeout=20)
        headers = {"Accept": MANIFEST, "Content-Type": kind or "application/octet-stream"}
        if user:
            headers["Authorization"] = "Basic " + b64encode(f"{user}:{password}".encode()).decode()
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read(), answer.headers.get("Location", "")
        finally:
            connection.close()

    def push(self, user: str, password: str, repository: str, tag: str, layer: bytes) -> int:
        """Push an image of one layer; the code of the last answer."""
        config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers"}}).encode()
        for content in (config, layer):
            code, _, location = self.ask(user, password, "POST", f"/v2/{repository}/blobs/uploads/")
            if code != 202:
                return code
            code, _, _ = self.ask(user, password, "PUT", f"{location}&digest={_digest(content)}", content)
            if code != 201:
                return code
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": _described("application/vnd.oci.image.config.v1+json", config),
            "layers": [_described("application/vnd.oci.image.layer.v1.tar", layer)],
        }
        path = f"/v2/{repository}/manifests/{tag}"
        return self.ask(user, password, "PUT", path, json.dumps(manifest).encode(), MANIFEST)[0]

    def script(self, text: str, **values: Any) -> str:
        """Run a script of the capability's in the image, as its Jobs do; what it prints."""
        done = self.image.run(
            "/bin/sh", "-c", text, shared=[self.place], HOST="127.0.0.1", PORT=str(self.port), ADMIN_PASSWORD=PASSWORD,
            AUTHORITY=f"/tmp{self.place}/ca.crt", **values,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def _described(kind: str, content: bytes) -> dict[str, object]:
    return {"mediaType": kind, "digest": _digest(content), "size": len(content)}


@pytest.fixture(scope="module")
def served(unpacked: Unpacked, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    image, authority = unpacked("registry"), Authority()
    place = tmp_path_factory.mktemp("registry")
    for parent in (place, *place.parents[:3]):
        parent.chmod(parent.stat().st_mode | 0o055)
    pair = authority.server()
    for name, content in (("tls.crt", pair.cert), ("tls.key", pair.key), ("ca.crt", authority.cert)):
        (place / name).write_bytes(content)
    (place / "data").mkdir()
    os.chown(place / "data", 65532, 65532)
    os.chown(place / "tls.key", 65532, 65532)
    port, inside = free_port(), f"/tmp{place}"
    arguments = ["-listen", f"127.0.0.1:{port}", "-admin", "127.0.0.1:5001", "-data", f"{inside}/data"]
    arguments += ["-certificate", f"{inside}/tls.crt", "-key", f"{inside}/tls.key"]
    environment = {"ADMIN_PASSWORD": PASSWORD, "NODE_PASSWORD": node_password(PASSWORD)}
    with image.running("/usr/local/bin/registry", *arguments, shared=[place], **environment) as process:
        found = Served(image, place, port, authority.cert, process)
        wait_for("the registry", lambda: found.ask("", "", "GET", "/health")[0] == 200 or None, process)
        for tenant in ("parks", "roads"):
            given = {"APP_ROLE": f"{tenant}.app.images", "OWNER": f"{tenant}/app/images", "STORAGE": "1000000"}
            found.script(PROVISION, APP_PASSWORD=f"password of {tenant}", **given)
        yield found


@pytest.mark.proves("registry", "built", "used", "refused")
def test_a_tenant_pushes_and_pulls_its_own(served: Served) -> None:
    parks, roads = (("parks.app.images", "password of parks"), ("roads.app.images", "password of roads"))
    admin, node = ("admin", PASSWORD), ("node", node_password(PASSWORD))
    layer = b"a layer of parks"
    assert served.push(*parks, "parks/web", "1", layer) == 201
    assert served.push(*admin, "city/debian", "1", b"a layer of the city") == 201
    assert served.ask(*parks, "GET", f"/v2/parks/web/blobs/{_digest(layer)}")[:2] == (200, layer)
    for who, repository, pulled, pushed in (
        (parks, "parks/web", 200, 201),
        (roads, "parks/web", 403, 403),
        (("", ""), "parks/web", 401, 401),
        (("parks.app.images", "password of roads"), "parks/web", 401, 401),
        (parks, "city/debian", 403, 403),
        (node, "city/debian", 200, 403),
        (node, "parks/web", 403, 403),
        (("", ""), "city/debian", 401, 401),
        (admin, "city/debian", 200, 201),
    ):
        code, text, _ = served.ask(*who, "GET", f"/v2/{repository}/manifests/1")
        assert code == pulled, (who, repository, text)
        assert served.push(*who, repository, "2", layer) == pushed, (who, repository)
    mount = f"/v2/roads/web/blobs/uploads/?mount={_digest(layer)}&from=parks/web"
    # An upload begins, as for every layer that is not there: nothing of parks is mounted.
    assert served.ask(*roads, "POST", mount)[0] == 202
    assert served.ask(*roads, "GET", f"/v2/roads/web/blobs/{_digest(layer)}")[0] == 404


@pytest.mark.proves("registry", "limited")
def test_probe_limit_and_the_end_of_accounts(served: Served) -> None:
    roads = ("roads.app.images", "password of roads")
    assert "a blob was pushed, pulled and deleted" in served.script(PROBE)
    assert served.push(*roads, "roads/web", "1", os.urandom(900_000)) == 201
    assert served.push(*roads, "roads/web", "2", os.urandom(900_000)) == 403
    listed = dict(line.split()[1:3] for line in served.script(PROVISIONER.inventory).splitlines())
    assert listed == {"parks.app.images": "parks/app/images", "roads.app.images": "roads/app/images"}
    served.script(PROVISIONER.deprovision, ACCOUNTS="roads.app.images roads/app/images")
    assert served.ask(*roads, "GET", "/v2/")[0] == 401
    (line,) = [item for item in served.script(PROVISIONER.inventory).splitlines() if "roads" in item]
    assert int(line.split()[3]) > 900_000
    assert line.split()[4] == "locked"
    assert served.ask("admin", PASSWORD, "GET", "/v2/roads/web/manifests/1")[0] == 200
    served.script(PROVISIONER.delete, ACCOUNTS="roads.app.images roads/app/images")
    assert "roads" not in served.script(PROVISIONER.inventory)
    assert served.ask("admin", PASSWORD, "GET", "/v2/roads/web/manifests/1")[0] == 404
    for path in (served.place / "data").rglob("*"):
        assert not path.is_file() or b"password of" not in path.read_bytes(), path
    status = Path(f"/proc/{_program(served.process.pid)}/status").read_text()
    print("the registry:", next(line for line in status.splitlines() if "VmHWM" in line))


def test_a_full_volume_is_read_and_taken_up_again(unpacked: Unpacked, tmp_path: Path) -> None:
    """Others fill the volume, as where it is a directory of a node's disk."""
    image, authority, place = unpacked("registry"), Authority(), tmp_path / "files"
    place.mkdir()
    for parent in (place, *place.parents[:3]):
        parent.chmod(parent.stat().st_mode | 0o055)
    pair = authority.server()
    (place / "tls.crt").write_bytes(pair.cert)
    (place / "tls.key").write_bytes(pair.key)
    os.chown(place / "tls.key", 65532, 65532)
    port, admin = free_port(), free_port()
    account = ("parks.app.images", "password of parks")

    @contextmanager
    def running(volume: Path) -> Iterator[Served]:
        arguments = ["-listen", f"127.0.0.1:{port}", "-admin", f"127.0.0.1:{admin}", "-data", f"/tmp{volume}"]
        arguments += ["-certificate", f"/tmp{place}/tls.crt", "-key", f"/tmp{place}/tls.key"]
        given = {"ADMIN_PASSWORD": PASSWORD, "NODE_PASSWORD": node_password(PASSWORD)}
        with image.running("/usr/local/bin/registry", *arguments, shared=[place, volume], **given) as process:
            found = Served(image, place, port, authority.cert, process)
            wait_for("the registry", lambda: found.ask("", "", "GET", "/health")[0] == 200 or None, process)
            yield found

    def opened(served: Served, name: str) -> tuple[int, str]:
        path = f"/accounts/parks.{name}.images?owner=parks/{name}/images&tenant=parks&storage=500000000"
        code, text, _ = replace(served, port=admin).ask("admin", PASSWORD, "PUT", path, b"password of parks")
        return code, text.decode()

    with small_volume(tmp_path / "volume", 96) as volume:
        with running(volume) as served:
            assert opened(served, "app")[0] == 204
            assert served.push(*account, "parks/web", "1", b"a layer") == 201
            fill(volume, free=2**25)
            code, text, _ = served.ask(*account, "POST", "/v2/parks/web/blobs/uploads/")
            assert (code, "the volume of the registry is full" in text.decode()) == (403, True)
            assert served.push("admin", PASSWORD, "city/debian", "1", b"a layer") == 403
            assert served.ask(*account, "GET", "/v2/parks/web/manifests/1")[0] == 200
            # What is left is for accounts.
            assert opened(served, "other")[0] == 204
        filler = fill(volume)
        with running(volume) as served:
            assert served.ask(*account, "GET", f"/v2/parks/web/blobs/{_digest(b'a layer')}")[:2] == (200, b"a layer")
            code, why = opened(served, "third")
            assert (code, "no space left on device" in why) == (400, True)
            filler.unlink()
            assert opened(served, "third")[0] == 204
            assert served.push(*account, "parks/web", "2", b"another layer") == 201


def _program(parent: int) -> int:
    """The program that the shells before it have become, or started."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return _program(int(children[0])) if children else parent


class Cutting(http.client.HTTPSConnection):
    """A connection that ends after a number of requests, as one through an API server may."""

    left = 10_000

    def request(self, *arguments: Any, **options: Any) -> None:
        if self.left == 0:
            raise ConnectionResetError("cut")
        self.left -= 1
        super().request(*arguments, **options)


def test_images_are_pushed_once_and_go_on_after_a_cut(
    served: Served, built: Callable[..., dict[str, oci.BuiltImage]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The image of the registry itself, in parts that its layer of programs has many of."""
    monkeypatch.setattr(push, "PART", 2**20)
    image, uploads = built("registry")["registry"], push.Uploads()
    tag = image.reference.rpartition(":")[2]

    def pushing(requests: int = 10_000, *, dry_run: bool = False) -> tuple[push.PushedImage, list[push.PushProgress]]:
        context = ssl.create_default_context(cadata=served.authority.decode())
        connection = Cutting("127.0.0.1", served.port, context=context, timeout=20)
        connection.left = requests
        authorization = "Basic " + b64encode(f"admin:{PASSWORD}".encode()).decode()
        told: list[push.PushProgress] = []
        registry = push.Registry(connection, authorization, uploads)
        try:
            return registry.push(image, "city/registry", tag, told.append, dry_run=dry_run), told
        finally:
            connection.close()

    planned, told = pushing(dry_run=True)
    assert (planned.state, told) == ("missing", [])
    assert image.size > planned.sent > image.size * 0.9
    with pytest.raises(ConnectionResetError):
        pushing(20)
    assert uploads.begun
    first, told = pushing()
    assert (first.state, first.digest, told[-1].sent, uploads.begun) == ("pushed", image.digest, told[-1].size, {})
    # Ten requests are not repeated: the layer that was cut went on where it was.
    assert told[1].sent > 5 * 2**20
    again, told = pushing()
    assert (again.state, again.sent, told) == ("present", 0, [])
    code, text, _ = served.ask("node", node_password(PASSWORD), "GET", f"/v2/city/registry/manifests/{tag}")
    assert (code, _digest(text)) == (200, image.digest)


def test_a_push_takes_as_many_connections_as_it_needs(
    served: Served, built: Callable[..., dict[str, oci.BuiltImage]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each connection ends after a few requests; one that gets nothing across is not the end, several in a row are."""
    monkeypatch.setattr(push, "PART", 2**20)
    images = [replace(built("registry")["registry"], name=name) for name in ("one", "two")]
    opened: list[int] = []

    @asynccontextmanager
    async def connect(requests: int) -> AsyncIterator[tuple[http.client.HTTPConnection, str]]:
        opened.append(requests)
        context = ssl.create_default_context(cadata=served.authority.decode())
        connection = Cutting("127.0.0.1", served.port, context=context, timeout=20)
        connection.left = requests
        try:
            yield connection, "Basic " + b64encode(f"admin:{PASSWORD}".encode()).decode()
        finally:
            connection.close()

    with pytest.raises(DeploymentError, match="again and again"):
        asyncio.run(images_push.push_all(lambda: connect(2), images, lambda progress: None))
    assert len(opened) == images_push.ATTEMPTS
    opened.clear()
    done = asyncio.run(images_push.push_all(lambda: connect(25), images, lambda progress: None))
    assert [(item.name, item.state) for item in done] == [("one", "pushed"), ("two", "pushed")]
    assert len(opened) > 3
    again = asyncio.run(images_push.push_all(lambda: connect(25), images, lambda progress: None, dry_run=True))
    assert {item.state for item in again} == {"present"}


def test_a_push_that_runs_when_the_pod_ends_is_finished(served: Served) -> None:
    """The last of this file: the server has ended then."""
    layer = os.urandom(200_000)
    code, _, location = served.ask("admin", PASSWORD, "POST", "/v2/city/late/blobs/uploads/")
    assert code == 202
    context = ssl.create_default_context(cadata=served.authority.decode())
    connection = http.client.HTTPSConnection("127.0.0.1", served.port, context=context, timeout=20)
    connection.putrequest("PUT", f"{location}&digest={_digest(layer)}")
    connection.putheader("Authorization", "Basic " + b64encode(f"admin:{PASSWORD}".encode()).decode())
    connection.putheader("Content-Length", str(len(layer)))
    connection.putheader("Expect", "100-continue")
    connection.endheaders()
    # The server reads the body.
    assert connection.sock.recv(100).startswith(b"HTTP/1.1 100 ")
    connection.send(layer[:100_000])
    served.process.send_signal(signal.SIGTERM)

    def closed() -> bool | None:
        try:
            socket.create_connection(("127.0.0.1", served.port), 5).close()
        except ConnectionRefusedError:
            return True
        return None

    wait_for("the end of listening", closed, served.process)
    connection.send(layer[100_000:])
    assert connection.getresponse().status == 201
    connection.close()
    assert served.process.wait(15) == 0
