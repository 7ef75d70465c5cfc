"""Whatever `validate` passes, the API server takes, and takes it as it was written.

Generated cities go through the same path as people's files; every manifest of those that are valid is sent to a real
API server, with strict field validation, as a dry run, and so is a pod of every template.
"""

from __future__ import annotations

import asyncio
import multiprocessing
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from tests.support.control_plane import ControlPlane
from tests.validate.differences import altered
from tests.validate.recorded import (
    NAMESPACE,
    Manifest,
    RecordedCity,
    identity,
    pod_of,
    record_city,
    record_files,
    sendable,
)
from wecityctl.kube.client import KubeClient
from wecityctl.kube.config import load_access
from wecityctl.kube.errors import ApiError
from wecityctl.kube.transport import HttpPool

SEEDS = 530
CITIES = 300
MANIFESTS = 2000
AT_ONCE = 32
# Files at the edge of what is valid, which stay valid.
EDGES = tuple(Path(__file__).parents[1] / "spec/valid" / name for name in ("edges.yaml", "adopted-cluster.yaml"))

# What a tenant's namespace has, and a pod is judged by.
SURROUNDINGS: tuple[Manifest, ...] = (
    {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
    },
    {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": NAMESPACE}},
)


class Sender:
    """Sends manifests as dry runs, many at once, and keeps what the server says against them."""

    def __init__(self, client: KubeClient) -> None:
        self.client = client
        self.free = asyncio.Semaphore(AT_ONCE)
        self.sent: Counter[str] = Counter()
        self.complaints: list[str] = []

    async def take(self, city: RecordedCity) -> None:
        """Send everything of one city."""
        self.complaints += [f"{city.name}: {text}" for text in city.wrong]
        manifests = [sendable(manifest) for manifest in city.manifests]
        pods = [pod for pod in map(pod_of, manifests) if pod is not None]
        await asyncio.gather(
            *(self._send(city.name, manifest) for manifest in manifests),
            *(self._send(city.name, pod) for pod in pods),
        )

    async def _send(self, city: str, manifest: Manifest) -> None:
        what = f"{city}: {' '.join(identity(manifest))}"
        warnings: list[str] = []
        async with self.free:
            try:
                answer = await self.client.apply(
                    manifest,
                    field_manager="validate-test",
                    dry_run=True,
                    field_validation="Strict",
                    force=True,
                    on_warning=warnings.append,
                )
            except ApiError as error:
                self.complaints.append(f"{what}: refused: {error.message}")
                return
        self.sent["pods" if manifest["kind"] == "Pod" else "manifests"] += 1
        manifest.pop("stringData", None)
        found = [*warnings, *altered(manifest, answer)]
        self.complaints += [f"{what}: {text}" for text in found]


def recorded(pool: ProcessPoolExecutor) -> Iterator[asyncio.Future[RecordedCity]]:
    loop = asyncio.get_running_loop()
    for path in EDGES:
        yield loop.run_in_executor(pool, record_files, path, path.name)
    for seed in range(SEEDS):
        yield loop.run_in_executor(pool, record_city, seed)


@pytest.mark.cluster
async def test_the_api_server_takes_what_validate_passes(api_server: ControlPlane) -> None:
    passed = refused = 0
    # Two processes record while this one sends: the SDK takes most of the time, and holds the interpreter.
    with ProcessPoolExecutor(2, multiprocessing.get_context("forkserver")) as workers:
        async with HttpPool() as pool, KubeClient(load_access(api_server.kubeconfig_text), pool) as client:
            for manifest in SURROUNDINGS:
                await client.apply(manifest, field_manager="validate-test")
            sender = Sender(client)
            for future in asyncio.as_completed(list(recorded(workers))):
                city = await future
                assert not (city.refused and city.name in {path.name for path in EDGES}), city
                refused += bool(city.refused)
                passed += not city.refused
                await sender.take(city)
    print(f"{passed} cities passed, {refused} refused; sent {dict(sender.sent)}")
    complaints = sorted(sender.complaints)
    assert not complaints, f"{len(complaints)} complaints:\n" + "\n".join(complaints[:60])
    assert passed >= CITIES
    assert sender.sent["manifests"] >= MANIFESTS
