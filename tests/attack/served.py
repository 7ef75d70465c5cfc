"""Shared capabilities as the stacks declare them, served on the loopback interface: the very commands of the manifests,
run inside the images' files. Only addresses, ports and the administrator's password are the test's."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stacks.catalogue import load_catalogue
from stacks.passwords import scram_verifier, sha256
from stacks.pem import certificates_of, key_of
from stacks.platforms import tls
from stacks.platforms.application.cache.program import probe_password
from stacks.platforms.application.identity.program import DATA
from tests.images.rootfs import RootFilesystem, free_port
from tests.stacks.cities import app, application, city, objects, one, record_city
from wecityctl.engine.secrets.certificates import renewed
from wecityctl.model import naming
from wecityctl.model.city import App, Capability, Dedicated, Platform, Use
from wecityctl.model.service_tls import SERVICE_AUTHORITY_KEY, certificate_key
from wecityctl.plan import Plan, make_plan
from wecityctl.resource_graph import RecordedResource, Recording

ADMIN = "administrators-password"
PASSWORD = "apps-password"
DATABASE_OF_IDENTITY = "capability_identity_db"
# The components of a capability's Jobs that no app has.
_NO_APPS = ("probe", "rotation", "sign-in-clients")


@dataclass(frozen=True, slots=True)
class Attacked:
    """The plan and the recorded stacks of a city, and the user or role that each provisioning Job makes, by the Job's
    name."""

    plan: Plan
    recordings: Mapping[str, Recording]
    roles: Mapping[str, str]


def attacked(
    *uses: tuple[str, str, Use], dedicated: Dedicated | None = None, platform: Platform | None = None
) -> Attacked:
    """A city whose apps (tenant, name, use) share one capability of each type, or whose owner has them alone; those of
    the application platform, or of another `platform`."""
    apps: dict[tuple[str, str], App] = {}
    roles = {}
    for tenant, name, use in uses:
        known = apps.get((tenant, name)) or app(name, tenant=tenant, uses=())
        apps[(tenant, name)] = replace(known, uses=(*known.uses, use))
        binding = load_catalogue()[use.capability].binding
        assert binding is not None
        roles[f"provision-{tenant}-{name}-{use.alias}"] = naming.account_name(
            binding.separator, tenant, name, use.alias
        )
    platform = platform or application()
    if dedicated is not None:
        platform = replace(platform, capabilities=tuple(_dedicated(item, dedicated) for item in platform.capabilities))
    whole = city(*apps.values(), platforms=(platform,))
    return Attacked(make_plan(whole, load_catalogue()), record_city(whole), roles)


def _dedicated(item: Capability, owner: Dedicated) -> Capability:
    return item if item.is_entry else replace(item, dedicated=owner)


@dataclass(slots=True)
class Served:
    """One capability of recorded stacks, on `port`. `log` has what its containers print, oldest first; `replacing` is
    what the test puts into commands beside it, as pairs of texts."""

    city: Attacked
    name: str
    image: RootFilesystem
    port: int = field(default_factory=free_port)
    log: list[str] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)
    replacing: tuple[tuple[str, str], ...] = ()
    # The groups of the containers' processes by name, and the directory of the volume where there is one.
    groups: dict[str, int] = field(default_factory=dict)
    data: Path | None = None

    @property
    def authority(self) -> str:
        """The certificates that clients check the server with, which are in their bindings."""
        return self.values[SERVICE_AUTHORITY_KEY]

    def certify(self, *, by_others: bool = False) -> None:
        """Put a fresh certificate for the loopback address where the kubelet would; `by_others`: one of an authority
        that nobody here knows."""
        key = certificate_key(self.name)
        kept = {} if by_others else {name: value for name, value in self.values.items() if name != key}
        values = {**kept, **renewed(self.city.plan, kept, datetime.now(UTC), {self.name: "127.0.0.1"})}
        if not by_others:
            self.values = values
        files = {"ca.crt": self.authority, "tls.key": key_of(values[key]), "tls.crt": certificates_of(values[key])}
        # Owned and readable as the pod's volume is; the certificate last, by which its guard sees that it is another.
        place = self.image.root / tls.DIRECTORY.lstrip("/")
        place.mkdir(exist_ok=True)
        for name, text in files.items():
            new = place / f".{name}"
            new.write_text(text)
            os.chown(new, 0, self.pod()["securityContext"]["fsGroup"])
            new.chmod(0o440)
            new.replace(place / name)

    @contextmanager
    def certified_by_others(self) -> Iterator[None]:
        """The server shows a certificate of an authority that nobody here knows; afterwards its own again."""
        before = self.certificate()
        self.certify(by_others=True)
        try:
            wait_until(lambda: self.certificate() != before)
            yield
        finally:
            other = self.certificate()
            self.certify()
            wait_until(lambda: self.certificate() != other)

    def pod(self) -> Mapping[str, Any]:
        sets = objects(self.city.recordings, "StatefulSet")
        (found,) = (item for item in sets if item.inputs["metadata"]["name"] == self.name)
        spec: Mapping[str, Any] = found.inputs["spec"]["template"]["spec"]
        return spec

    def container(self, name: str) -> Mapping[str, Any]:
        pod = self.pod()
        return next(item for item in (*pod["containers"], *pod.get("initContainers", ())) if item["name"] == name)

    def command(self, name: str, *replacing: tuple[str, str]) -> list[str]:
        return [_replaced(text, *self.replacing, *replacing) for text in self.container(name)["command"]]

    def certificate(self) -> bytes:
        """The certificate that the server shows, whoever has issued it."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with socket.create_connection(("127.0.0.1", self.port), 10) as plain:
            if self.name == "postgresql":
                # Source: PostgreSQL's documentation, message formats, SSLRequest.
                plain.sendall(struct.pack("!ii", 8, 80877103))
                assert plain.recv(1) == b"S"
            elif self.name == "messaging":
                # Source: NATS' documentation, client protocol: what the server says first is a line, without TLS.
                assert plain.recv(1 << 16).startswith(b"INFO ")
            with context.wrap_socket(plain) as secured:
                return secured.getpeercert(binary_form=True) or b""

    def provision(
        self, city: Attacked | None = None, code: int = 0, tries: int = 60, password: str = PASSWORD, only: str = ""
    ) -> str:
        """Run every app's provisioning Job to its end, in the order of the files; those of another `city` if given,
        and that of the user or role `only` alone.

        Returns what they have said. `tries` is how often they ask for the server; `password` is each app's.
        """
        said = ""
        city = city or self.city
        for job in objects(city.recordings, "Job"):
            template = job.inputs["spec"]["template"]
            labels = template["metadata"]["labels"]
            if labels.get("wecity.dev/provisions") != self.name or labels[naming.COMPONENT_LABEL] in _NO_APPS:
                continue
            if only and city.roles[job.name] != only:
                continue
            (container,) = template["spec"]["containers"]
            # What comes from Secrets are the credentials of the app, but for what is said here.
            values = {item["name"]: item.get("value", password) for item in container["env"]} | {
                "HOST": "127.0.0.1",
                "PORT": str(self.port),
                "ADMIN_PASSWORD": ADMIN,
                "APP_ROLE": city.roles[job.name],
                "APP_PASSWORD": password,
                "APP_PASSWORD_SHA256": sha256(password),
                "APP_PASSWORD_SCRAM": scram_verifier(city.roles[job.name], password),
            }
            words = [_replaced(text, *self.replacing, ("-lt 60", f"-lt {tries}")) for text in container["command"]]
            done = self.image.run(*words, **values)
            said += done.stdout + done.stderr
            assert (done.returncode != 0) == (code != 0), said
        return said

    def probe(self, seconds: int = 20, **values: str) -> subprocess.CompletedProcess[str]:
        """Run the command of the capability's probe as its Job of the platform's stack has it, once and for at most so
        many seconds; `values` replace variables."""
        jobs = {job.inputs["metadata"]["labels"].get("wecity.dev/probes"): job for job in self._jobs()}
        (container,) = jobs[self.name].inputs["spec"]["template"]["spec"]["containers"]
        where = {"HOST": "127.0.0.1", "PORT": str(self.port), "ADMIN_PASSWORD": ADMIN, "ATTEMPTS": "1"}
        own = {item["name"]: item.get("value", "") for item in container["env"]}
        words = [
            _replaced(text, *self.replacing, ("after=5 20", f"after=5 {seconds}")) for text in container["command"]
        ]
        return self.image.run(*words, **{**own, **where, **values})

    def rotate(self, *replacing: tuple[str, str], **values: str) -> subprocess.CompletedProcess[str]:
        """Run the command of the Job that changes the administrator's password; `values` are variables, and
        `replacing` texts in its script."""
        labels = {job.inputs["metadata"]["labels"][naming.COMPONENT_LABEL]: job for job in self._jobs()}
        (container,) = labels["rotation"].inputs["spec"]["template"]["spec"]["containers"]
        where = {"HOST": "127.0.0.1", "PORT": str(self.port)}
        own = {item["name"]: item.get("value", "") for item in container["env"]}
        assert values.keys() <= own.keys()
        words = [_replaced(text, *self.replacing, *replacing) for text in container["command"]]
        return self.image.run(*words, **{**own, **where, **values})

    def _jobs(self) -> list[RecordedResource]:
        return objects(self.city.recordings, "Job")

    @contextmanager
    def running(self, name: str, command: list[str], shared: list[Path] | None = None, **env: str) -> Iterator[None]:
        """A container's command for as long as the block lasts; a group of its own, so that no child outlives it."""
        words = self.image.command(command)
        values = {**self.image.environment, "WRITABLE": "data" if name == "cache" else "", **env}
        values["SHARED"] = " ".join(str(path) for path in shared or ())
        process = subprocess.Popen(
            words, env=values, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )
        self.groups[name] = process.pid
        reader = threading.Thread(target=self._read, args=(process,), daemon=True)
        reader.start()
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGKILL):
                try:
                    os.killpg(process.pid, number)
                    process.wait(10)
                except (ProcessLookupError, subprocess.TimeoutExpired):
                    continue
            reader.join(5)

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.log.append(line.rstrip("\n"))

    def logged(self, text: str) -> bool:
        return any(text in line for line in list(self.log))


def _replaced(text: str, *replacing: tuple[str, str]) -> str:
    for old, new in replacing:
        text = text.replace(old, new)
    return text


@contextmanager
def cache_server(city: Attacked, image: RootFilesystem, users: str = "") -> Iterator[Served]:
    """The cache of `city` with its guard. `users` is what an earlier version left in its access list."""
    served = Served(city, "cache", image)
    served.certify()
    settings = one(city.recordings, "ConfigMap", "platform-application/cache-configuration").inputs["data"][
        "cache.conf"
    ]
    place = image.root / "etc/cache"
    place.mkdir(exist_ok=True)
    (place / "cache.conf").write_text(settings.replace("port 6379", f"port {served.port}"))
    prepare, server = served.command("prepare"), served.command("cache")
    # One mount namespace for both, as one volume in the pod.
    start = f"printf '%s' \"$USERS\" > /data/users.acl; {prepare[-1]} {server[-1]}"
    secrets = {"ADMIN_SHA256": sha256(ADMIN), "PROBE_SHA256": sha256(probe_password(ADMIN)), "USERS": users}
    guard = {item["name"]: item.get("value", "") for item in served.container("guard")["env"]}
    guard |= {"ADMIN_PASSWORD": ADMIN, "PORT": str(served.port)}
    with (
        served.running("cache", ["/bin/sh", "-c", start], **secrets),
        served.running("guard", served.command("guard"), **guard),
    ):
        try:
            yield served
        except BaseException:
            print("\n".join(served.log[-40:]))
            raise


@contextmanager
def database_server(city: Attacked, image: RootFilesystem) -> Iterator[Served]:
    """The PostgreSQL server of `city` with its guard."""
    served = Served(city, "postgresql", image)
    served.certify()
    with ExitStack() as stack:
        # Not under pytest's own directory, which other users may not enter.
        data = served.data = Path(tempfile.mkdtemp(prefix="attacked-"))
        stack.callback(shutil.rmtree, data, ignore_errors=True)
        data.chmod(0o700)
        os.chown(data, 999, 999)
        moved = (("/var/lib/postgresql/data", f"/tmp{data}"), ("exec /usr", f"exec env PGPORT={served.port} /usr"))
        start = f"({served.command('initialise', *moved)[-1]}) && {served.command('postgresql', *moved)[-1]}"
        stack.enter_context(served.running("postgresql", ["/bin/sh", "-c", start], [data], POSTGRES_PASSWORD=ADMIN))
        port = str(served.port)
        stack.enter_context(served.running("guard", served.command("guard"), PGPASSWORD=ADMIN, PGPORT=port))
        try:
            yield served
        except BaseException:
            print("\n".join(served.log[-40:]))
            raise


@contextmanager
def object_store(city: Attacked, image: RootFilesystem) -> Iterator[Served]:
    """The object store of `city` with its guard."""
    served = Served(city, "object-storage", image)
    served.replacing = ((":7070", f":{served.port}"), (":7071", f":{free_port()}"), ("sleep 10", "sleep 1"))
    served.certify()
    with ExitStack() as stack:
        # Not under pytest's own directory, which other users may not enter.
        data = served.data = Path(tempfile.mkdtemp(prefix="attacked-"))
        stack.callback(shutil.rmtree, data, ignore_errors=True)
        os.chown(data, 65532, 65532)
        served.replacing += (("/data", f"/tmp{data}"),)
        keys = {"ROOT_ACCESS_KEY": "admin", "ROOT_SECRET_KEY": ADMIN}
        stack.enter_context(served.running("object-storage", served.command("object-storage"), [data], **keys))
        guard = {"ADMIN_PASSWORD": ADMIN, "SERVER": f"https://127.0.0.1:{served.port}"}
        stack.enter_context(served.running("guard", served.command("guard"), [data], **guard))
        try:
            yield served
        except BaseException:
            print("\n".join(served.log[-40:]))
            raise


@contextmanager
def identity_server(city: Attacked, image: RootFilesystem, database: Served) -> Iterator[Served]:
    """The identity server of `city` over the `database` of the same city, where it has been provisioned."""
    # As the pod: the image itself says the group of root, which may not read the certificate's key.
    served = Served(city, "identity", replace(image, user="1000:1000"))
    served.certify()
    # Java asks four times for its own address, by IPv6 as well: a name server that is not there costs ten seconds each.
    (image.root / "etc/hosts").write_text(f"127.0.0.1 localhost {socket.gethostname()}\n")
    bound = {"host": "127.0.0.1", "port": str(database.port), "database": DATABASE_OF_IDENTITY}
    bound |= {"username": DATABASE_OF_IDENTITY, "password": PASSWORD, "ca.crt": database.authority}
    place = image.root / "bindings/db"
    place.mkdir(parents=True, exist_ok=True)
    for name, text in bound.items():
        (place / name).write_text(text)
    env = {item["name"]: item.get("value", ADMIN) for item in served.container("identity")["env"]}
    management = free_port()
    (image.root / DATA.lstrip("/")).mkdir(exist_ok=True)
    env |= {
        "KC_BOOTSTRAP_ADMIN_USERNAME": "admin",
        "KC_HTTP_HOST": "127.0.0.1",
        "KC_HTTPS_PORT": str(served.port),
        "KC_HTTP_MANAGEMENT_PORT": str(management),
        # The least that it takes.
        "KC_HTTPS_CERTIFICATES_RELOAD_PERIOD": "30s",
        # The pod's volume for what the server writes of the certificates that it trusts.
        "WRITABLE": DATA.lstrip("/"),
        # A server that lives for a minute gains nothing from Java's second compiler, which takes half of its time.
        "JAVA_OPTS_APPEND": "-XX:TieredStopAtLevel=1 -Djava.net.preferIPv4Stack=true",
    }
    path = served.container("identity")["readinessProbe"]["httpGet"]["path"]
    context = ssl.create_default_context(cadata=served.authority)

    def ready() -> bool:
        # Both: the server opens the port of its users a moment after it says that it is ready.
        urls = (f"https://127.0.0.1:{management}{path}", f"https://127.0.0.1:{served.port}/auth/realms/master")
        try:
            for url in urls:
                urllib.request.urlopen(url, timeout=10, context=context).close()
        except OSError:
            return False
        return True

    with served.running("identity", served.command("identity"), **env):
        try:
            wait_until(ready, 360, period=1)
            yield served
        except BaseException:
            print("\n".join(served.log[-40:]))
            raise


def wait_until(check: Callable[[], bool], seconds: float = 40, period: float = 0.1) -> None:
    """Wait until `check` is true, and ask every `period`; fail when it is not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(period)
