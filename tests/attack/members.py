"""Members of a highly available PostgreSQL as processes: the commands of the manifests, run inside the image's files.

They agree through a real API server, each with the rights of the members' account and by a way of its own that a test
can cut. Only addresses, the place of the data and generated values are the test's.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from stacks.catalogue import load_catalogue
from stacks.platforms.application.postgresql.access import BINARIES
from stacks.platforms.application.postgresql.patroni import PORT
from stacks.platforms.application.postgresql.server import DATA
from tests.attack.served import ADMIN, Attacked, Served
from tests.images.rootfs import RootFilesystem
from tests.stacks.cities import app, application, city, objects, one, record_city
from tests.support.control_plane import ControlPlane
from tests.support.processes import below
from wecityctl.model.city import Use
from wecityctl.model.naming import MEMBER_LABEL, ROLE_LABEL
from wecityctl.plan import make_plan

SPACE = "platform-application"
SECRET = "members-password"
_ACCOUNT = "var/run/secrets/kubernetes.io/serviceaccount"


class Way:
    """A way to the API server that can be cut: connections end, and new ones are refused."""

    def __init__(self, port: int) -> None:
        self._target, self._open, self.is_cut = port, set[socket.socket](), False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        self.is_cut = True
        for item in list(self._open):
            with suppress(OSError):
                item.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        self.is_cut = False

    def close(self) -> None:
        self.cut()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self.is_cut:
                near.close()
                continue
            far = socket.create_connection(("127.0.0.1", self._target))
            for pair in ((near, far), (far, near)):
                self._open.add(pair[0])
                threading.Thread(target=self._copy, args=pair, daemon=True).start()

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        for item in (source, target):
            with suppress(OSError):
                item.shutdown(socket.SHUT_RDWR)
        self._open.discard(source)
        source.close()


@dataclass(slots=True)
class Member:
    """One member; `environment` and `command` are its container's."""

    index: int
    name: str
    address: str
    image: RootFilesystem
    command: list[str]
    environment: Mapping[str, str]
    volume: Path
    log: Path
    way: Way
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        words = ["unshare", "--pid", "--fork", "--kill-child", *self.image.command(self.command)]
        values = {**self.image.environment, **self.environment, "WRITABLE": "", "SHARED": str(self.volume)}
        with self.log.open("ab") as stream:
            self.process = subprocess.Popen(words, env=values, stdout=stream, stderr=stream, start_new_session=True)

    def kill(self) -> None:
        """End it as the kernel does: all at once, with its first process."""
        assert self.process is not None
        for each in below(self.process.pid)[:1]:
            each.send(signal.SIGKILL)
        self.process.wait(20)

    def stop(self) -> None:
        """End it as a node does that has time."""
        assert self.process is not None
        for each in below(self.process.pid)[:1]:
            each.send(signal.SIGTERM)
        self.process.wait(40)

    def crash(self) -> None:
        """End the server alone, as a fault in it does."""
        assert self.process is not None
        lines = next(self.volume.glob("pgdata/postmaster.pid")).read_text().splitlines()
        inside = int(lines[0])
        for each in below(self.process.pid):
            status = Path(f"/proc/{each.pid}/status").read_text()
            numbers = next(line.split() for line in status.splitlines() if line.startswith("NSpid:"))
            if int(numbers[-1]) == inside:
                each.send(signal.SIGKILL)

    def readiness(self) -> int:
        """The status that the kubelet would see."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        try:
            with urllib.request.urlopen(
                f"https://{self.address}:{PORT}/readiness", context=context, timeout=5
            ) as found:
                return int(found.status)
        except urllib.error.HTTPError as error:
            return error.code

    def answers(self) -> bool:
        return self.sql("SELECT 1") == "1"

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def sql(self, query: str, user: str = "postgres", password: str = ADMIN, database: str = "postgres") -> str:
        """A query over the network; the error if there is one."""
        values = {
            "PGPASSWORD": password,
            "PGCONNECT_TIMEOUT": "3",
            "PGSSLMODE": "require",
            "WRITABLE": "",
            "SHARED": "",
        }
        call = (f"{BINARIES}/psql", "-h", self.address, "-U", user, "-d", database, "-Atc", query)
        done = subprocess.run(
            self.image.command(call),
            env={**self.image.environment, **values},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        return (done.stdout + done.stderr).strip()


@dataclass(slots=True)
class Members:
    plane: ControlPlane
    namespace: str
    all: list[Member] = field(default_factory=list)

    def pod(self, member: Member) -> Any:
        return json.loads(self.plane.kubectl("get", "pod", member.name, "-n", self.namespace, "-o", "json"))

    def primary(self) -> Member | None:
        """The member that has the primary's label, and is one."""
        found = [item for item in self.all if self.pod(item)["metadata"]["labels"].get(ROLE_LABEL) == "primary"]
        return next((item for item in found if item.sql("SELECT pg_is_in_recovery()") == "f"), None)

    def whole(self) -> bool:
        """Whether the other member is noted as the one that may take the primary's place."""
        first = self.primary()
        noted = json.loads(self.plane.kubectl("get", "configmap/postgresql-sync", "-n", self.namespace, "-o", "json"))
        found = noted["metadata"]["annotations"]
        return first is not None and (found.get("leader"), found.get("sync_standby")) == (
            first.name,
            self.other(first).name,
        )

    def other(self, member: Member) -> Member:
        return next(item for item in self.all if item is not member)


def attacked_members(count: int = 2) -> Attacked:
    """A city whose PostgreSQL has members, recorded."""
    platform = application()
    found = tuple(
        replace(item, replicas=count, has_members=True) if item.type == "postgresql" else item
        for item in platform.capabilities
    )
    whole = city(app("code", uses=(Use("postgresql", "db"),)), platforms=(replace(platform, capabilities=found),))
    return Attacked(make_plan(whole, load_catalogue()), record_city(whole), {})


@contextmanager
def members(image: RootFilesystem, plane: ControlPlane, logs: Path) -> Iterator[Members]:
    """Two members that are not started yet, and their objects in the API server."""
    whole = attacked_members()
    served = Served(whole, "postgresql", image)
    served.certify()
    namespace = f"members-{os.getpid()}"
    found = Members(plane, namespace)
    own = [
        item.inputs
        for kind in ("ServiceAccount", "Role", "RoleBinding", "ConfigMap")
        for item in objects(whole.recordings, kind)
        if item.name.startswith(f"{SPACE}/postgresql-")
    ]
    assert len(own) == 7
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": own}).replace(SPACE, namespace)
    plane.kubectl("create", "namespace", namespace)
    plane.kubectl("apply", "-f", "-", stdin=text)
    token = plane.kubectl("create", "token", "postgresql-members", "-n", namespace, "--duration=1h")
    place = image.root / _ACCOUNT
    place.mkdir(parents=True, exist_ok=True)
    (place / "token").write_text(token.strip())
    (place / "ca.crt").write_bytes(plane.authority.cert)
    (place / "namespace").write_text(namespace)
    with ExitStack() as stack:
        stack.callback(plane.kubectl, "delete", "namespace", namespace, "--wait=false")
        hosts = []
        for index, name in enumerate(("postgresql", "postgresql-member-1")):
            template = one(whole.recordings, "StatefulSet", f"{SPACE}/{name}").inputs["spec"]["template"]
            container = next(item for item in template["spec"]["containers"] if item["name"] == "postgresql")
            volume = Path(tempfile.mkdtemp(prefix="member-"))
            stack.callback(shutil.rmtree, volume, ignore_errors=True)
            volume.chmod(0o700)
            os.chown(volume, 999, 999)
            address = f"127.77.{os.getpid() % 250}.{index + 1}"
            way = Way(plane.port)
            stack.callback(way.close)
            values = {item["name"]: item["value"] for item in container["env"] if "value" in item}
            hosts.append(f"{address} {values['PATRONI_RESTAPI_CONNECT_ADDRESS'].partition(':')[0]}\n")
            values |= {f"PATRONI_{role}_PASSWORD": SECRET for role in ("REPLICATION", "REWIND", "RESTAPI")}
            values |= {"POSTGRES_PASSWORD": ADMIN, "MEMBERS_PASSWORD": SECRET}
            values |= {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(way.port)}
            script = container["command"][-1]
            for old, new in (
                (DATA, f"/tmp{volume}"),
                ('"*:5432"', f'"{address}:5432"'),
                ('"0.0.0.0:8008"', f'"{address}:8008"'),
                (f'"namespace": "{SPACE}"', f'"namespace": "{namespace}"'),
            ):
                assert old in script, old
                script = script.replace(old, new)
            pod = {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": f"{name}-0", "namespace": namespace, "labels": template["metadata"]["labels"]},
                "spec": {
                    "serviceAccountName": "postgresql-members",
                    "containers": [{"name": "postgresql", "image": "none.invalid/none"}],
                },
            }
            assert pod["metadata"]["labels"][MEMBER_LABEL] == str(index)  # type: ignore[index]
            plane.kubectl("apply", "-f", "-", stdin=json.dumps(pod))
            command = [*container["command"][:-1], script]
            found.all.append(Member(index, f"{name}-0", address, image, command, values, volume, logs / name, way))
        (image.root / "etc/hosts").write_text("127.0.0.1 localhost\n" + "".join(hosts))
        try:
            yield found
        finally:
            for member in found.all:
                # Shown where a test has failed.
                print(member.name, member.said[-6000:] if member.log.exists() else "", sep="\n")
                if member.process is not None and member.process.poll() is None:
                    member.kill()
