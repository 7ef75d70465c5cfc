"""A real node for the tests of a session: images made here, a cloud of its own in a state directory of its own.

A pytest plug-in, so that the tests of the node, of its network policies and of attacks share images and cloud.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.node.archive import write_archive
from tests.support.real_node import require_real_node
from wecityctl.local import cloud
from wecityctl.local.spec import CloudSpec, ImageRef, LocalEvent, RunningCloud
from wecityctl.toolchain import locate

PROBE = "wecity.test/probe:1"


@dataclass(slots=True)
class NodeCloud:
    """One real cloud under test, with kubectl for it."""

    spec: CloudSpec
    events: list[LocalEvent] = field(default_factory=list)
    running: RunningCloud | None = None

    def start(self) -> RunningCloud:
        self.running = cloud.start(self.spec, self.events.append)
        return self.running

    def stop(self) -> None:
        cloud.stop(self.spec.name, self.events.append)

    @property
    def address(self) -> str:
        assert self.running is not None
        return self.running.gateway_address

    def kubectl(self, *arguments: str, stdin: str = "", check: bool = True) -> str:
        assert self.running is not None
        command = [str(locate("kubectl")), "--kubeconfig", str(self.running.kubeconfig_path), *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=90, check=False)
        if check and done.returncode:
            raise AssertionError(f"{' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout if check else done.stdout + done.stderr

    def get(self, *arguments: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.kubectl("get", *arguments, "-o", "json"))
        return found

    def apply(self, *objects: dict[str, Any]) -> None:
        self.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))

    def ready(self, *pods: str, namespace: str = "default") -> None:
        names = [f"pod/{name}" for name in pods]
        self.kubectl("wait", "--for=condition=Ready", "--timeout=60s", "-n", namespace, *names)

    def execute(self, pod: str, *command: str, check: bool = True) -> str:
        return self.kubectl("exec", pod, "--", "/bin/probe", *command, check=check)


def pod(name: str, *command: str, **spec: Any) -> dict[str, Any]:
    """A pod of one container of the probe image; `container` and pod-level fields may be given."""
    container = {"name": "main", "image": PROBE, "command": ["/bin/probe", *command], **spec.pop("container", {})}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 2, "containers": [container], **spec},
    }


def eventually(check: Callable[[], Any], seconds: float = 30.0) -> Any:
    """The first true answer of `check`; the last exception or answer is told when none comes."""
    deadline = time.monotonic() + seconds
    last: object = None
    while time.monotonic() < deadline:
        try:
            last = check()
            if last:
                return last
        except (AssertionError, OSError) as error:
            last = error
        time.sleep(0.2)
    raise AssertionError(f"not in {seconds} s: {last!r}")


@pytest.fixture(scope="session")
def able() -> None:
    """Skip with what the machine lacks."""
    require_real_node()


@pytest.fixture(scope="session")
def images(able: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[ImageRef, ...]:
    """Pause, DNS and the tests' own program, each around one static binary."""
    place = tmp_path_factory.mktemp("images")
    program = place / "probe"
    source = Path(__file__).parent.with_name("node") / "probe"
    subprocess.run(
        ["go", "build", "-ldflags", "-s -w", "-o", str(program), "."],
        cwd=source,
        env={**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=mod"},
        check=True,
        timeout=300,
    )
    return (
        ImageRef(
            "wecity.test/pause:1",
            write_archive(place / "pause.tar", "wecity.test/pause:1", program, ["/bin/probe", "pause"]),
        ),
        ImageRef(
            "wecity.test/coredns:1",
            write_archive(place / "coredns.tar", "wecity.test/coredns:1", locate("coredns"), ["/bin/coredns"]),
        ),
        ImageRef(PROBE, write_archive(place / "app.tar", PROBE, program, ["/bin/probe"])),
    )


@pytest.fixture(scope="session")
def state(until_last_node: contextlib.ExitStack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state directory of the tests' own, and no cloud left in it after the last test on a real node."""
    return until_last_node.enter_context(_state(tmp_path_factory.mktemp("state")))


@contextlib.contextmanager
def _state(place: Path) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(place))
        yield place
        for name in cloud.names():
            cloud.reset(name, lambda event: print(f"{event.seconds:6.2f} {event.message}"))
    shutil.rmtree(place, ignore_errors=True)


@pytest.fixture(scope="session")
def make(state: Path, images: tuple[ImageRef, ...]) -> Callable[[str], NodeCloud]:
    """A real cloud by name, not started yet."""

    def build(name: str) -> NodeCloud:
        return NodeCloud(CloudSpec(name, "real", zones=("internet", "extranet"), images=images))

    return build


@pytest.fixture(scope="session")
def node(make: Callable[[str], NodeCloud]) -> NodeCloud:
    """The cloud that most tests share, running."""
    made = make("node-test")
    made.start()
    return made
