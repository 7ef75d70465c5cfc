"""`python -m wecityctl.local.node.provisioner.controller`: reconciles volume claims with volumes and directories.

Level-triggered: each object is handled when it changes and when a watch starts, so that a restart misses nothing.
`volumes` decides what to do with an object; `directories` accesses the file system.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime
import logging
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from wecityctl.errors import WecityError
from wecityctl.kube.client import KubeClient
from wecityctl.kube.config import load_access
from wecityctl.kube.errors import AlreadyExists, Conflict, Gone, NotFound
from wecityctl.kube.resource import Object, ResourceType
from wecityctl.kube.transport import HttpPool
from wecityctl.local.node.provisioner import volumes
from wecityctl.local.node.provisioner.directories import Directories

_MANAGER = "wecity-provisioner"
_LOG = logging.getLogger(_MANAGER)


@dataclass(frozen=True, slots=True)
class Types:
    """The resource types that the controller uses, as the API server serves them."""

    claims: ResourceType
    volumes: ResourceType
    nodes: ResourceType
    classes: ResourceType
    events: ResourceType

    @classmethod
    async def of(cls, client: KubeClient) -> Types:
        """Discover the types in the cluster."""
        core = ("PersistentVolumeClaim", "PersistentVolume", "Node")
        claims, persistent, nodes = [await client.resource("v1", kind) for kind in core]
        classes = await client.resource("storage.k8s.io/v1", "StorageClass")
        return cls(claims, persistent, nodes, classes, await client.resource("v1", "Event"))


class Controller:
    """The controller of one cluster. `directories` is `None` if there are simulated nodes only."""

    def __init__(self, client: KubeClient, types: Types, directories: Directories | None, inside: str) -> None:
        self._client = client
        self._types = types
        self._directories = directories
        self._inside = inside
        self._retries: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Watch until cancelled."""
        await self._sweep()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(self._types.claims, self.claim_changed))
            group.create_task(self._follow(self._types.volumes, self.volume_changed))

    async def claim_changed(self, claim: Object) -> None:
        """Provision a volume for a claim, or apply a larger size."""
        if volumes.wants_volume(claim):
            await self._provide(claim)
        elif size := volumes.growth(claim):
            await self._grow(claim, size)

    async def volume_changed(self, volume: Object) -> None:
        """Delete a volume whose claim was deleted, according to its reclaim policy."""
        name = volume["metadata"]["name"]
        if volumes.wants_deletion(volume):
            await self._client.delete(self._types.volumes, name, uid=volume["metadata"]["uid"])
        elif volumes.made_by_us(volume) and volumes.wants_release(volume):
            if self._directories and not volumes.keeps_data(volume):
                await asyncio.to_thread(self._directories.remove, name)
                _LOG.info("removed %s", name)
            patch = {"metadata": {"finalizers": [], "resourceVersion": volume["metadata"]["resourceVersion"]}}
            await self._client.patch(self._types.volumes, name, None, patch, field_manager=_MANAGER)

    async def _provide(self, claim: Object) -> None:
        metadata = claim["metadata"]
        storage_class = await self._client.get(self._types.classes, claim["spec"]["storageClassName"])
        if reason := volumes.refusal(claim):
            await self._tell(claim, "ProvisioningFailed", reason)
            return
        node = await self._node(claim, storage_class)
        if node is None:
            return
        if not volumes.is_simulated(node):
            if self._directories is None:
                await self._tell(claim, "ProvisioningFailed", "this cloud has simulated nodes only")
                return
            await asyncio.to_thread(self._directories.make, volumes.volume_name(claim))
        volume = volumes.build(claim, storage_class, node, self._inside)
        with contextlib.suppress(AlreadyExists):
            await self._client.create(self._types.volumes, None, volume, field_manager=_MANAGER)
            _LOG.info("made %s for %s/%s", volume["metadata"]["name"], metadata["namespace"], metadata["name"])

    async def _node(self, claim: Object, storage_class: Object) -> Object | None:
        """The node of the claim's first pod; for a class with immediate binding, any node that can hold the volume."""
        name = volumes.selected_node(claim)
        if name:
            try:
                return await self._client.get(self._types.nodes, name)
            except NotFound:
                # The protocol between scheduler and provisioner: removing the annotation makes the scheduler choose
                # again.
                patch = {"metadata": {"annotations": {volumes.SELECTED_NODE: None}}}
                await self._patch_claim(claim, patch)
                return None
        if storage_class.get("volumeBindingMode") == "WaitForFirstConsumer":
            return None
        nodes = await self._client.list(self._types.nodes)
        return min(nodes, key=volumes.is_simulated, default=None)

    async def _grow(self, claim: Object, size: str) -> None:
        """Set the new size on claim and volume; a directory needs no resizing."""
        patch = {"spec": {"capacity": {"storage": size}}}
        name = claim["spec"]["volumeName"]
        await self._client.patch(self._types.volumes, name, None, patch, field_manager=_MANAGER)
        status: Object = {
            "status": {"capacity": {"storage": size}, "conditions": [], "allocatedResourceStatuses": None}
        }
        await self._patch_claim(claim, status, subresource="status")

    async def _patch_claim(self, claim: Object, patch: Object, *, subresource: str = "") -> None:
        metadata = claim["metadata"]
        await self._client.patch(
            self._types.claims,
            metadata["name"],
            metadata["namespace"],
            patch,
            field_manager=_MANAGER,
            subresource=subresource,
        )

    async def _tell(self, claim: Object, reason: str, message: str) -> None:
        """Emit an event on the claim, which `kubectl describe` and wecityctl's own waiting show."""
        metadata = claim["metadata"]
        now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": f"{metadata['name']}.", "namespace": metadata["namespace"]},
            "involvedObject": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
            },
            "type": "Warning",
            "reason": reason,
            "message": message,
            "source": {"component": volumes.PROVISIONER},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        await self._client.create(self._types.events, metadata["namespace"], event, field_manager=_MANAGER)

    async def _sweep(self) -> None:
        if self._directories is None:
            return
        claims = await self._client.list(self._types.claims)
        persistent = await self._client.list(self._types.volumes, metadata_only=True)
        known = {volumes.volume_name(claim) for claim in claims} | {each["metadata"]["name"] for each in persistent}
        await asyncio.to_thread(self._directories.sweep, known)

    async def _follow(self, kind: ResourceType, handle: Callable[[Object], Awaitable[None]]) -> None:
        """Handle every existing object of `kind` and then each change, forever."""
        version = ""
        while True:
            try:
                async for event in self._client.watch(kind, resource_version=version):
                    version = event.object["metadata"]["resourceVersion"]
                    if event.type in ("ADDED", "MODIFIED"):
                        await self._handle(kind, handle, event.object)
            except Gone:
                version = ""
            except WecityError as error:
                # The API server restarts, or the role does not exist yet: list again and continue.
                _LOG.warning("watching %s: %s", kind.plural, error.message)
                version = ""
                await asyncio.sleep(1)

    async def _handle(self, kind: ResourceType, handle: Callable[[Object], Awaitable[None]], obj: Object) -> None:
        """Handle an object. A failure is retried later with the object's current state, and does not block others."""
        try:
            await handle(obj)
        except (NotFound, Conflict):
            return  # it has changed meanwhile, so another event follows
        except (WecityError, OSError) as error:
            metadata = obj["metadata"]
            _LOG.warning("%s %s: %s", kind.kind, metadata["name"], getattr(error, "message", error))
            task = asyncio.get_running_loop().create_task(self._again(kind, handle, metadata))
            self._retries.add(task)
            task.add_done_callback(self._retries.discard)

    async def _again(self, kind: ResourceType, handle: Callable[[Object], Awaitable[None]], metadata: Object) -> None:
        await asyncio.sleep(2)
        with contextlib.suppress(WecityError):
            await self._handle(kind, handle, await self._client.get(kind, metadata["name"], metadata.get("namespace")))


async def serve(kubeconfig: str, directory: Path | None, inside: str) -> None:
    """Run the controller until SIGTERM."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with HttpPool() as pool, KubeClient(load_access(kubeconfig), pool, user_agent=_MANAGER) as client:
        running = asyncio.create_task(_run(client, Directories(directory) if directory else None, inside))
        waiting = asyncio.create_task(stop.wait())
        await asyncio.wait((running, waiting), return_when=asyncio.FIRST_COMPLETED)
        for task in (running, waiting):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def _run(client: KubeClient, directories: Directories | None, inside: str) -> None:
    while True:
        try:
            await Controller(client, await Types.of(client), directories, inside).run()
        except* WecityError as group:
            for error in group.exceptions:
                _LOG.warning("starting: %s", error)
        await asyncio.sleep(1)


def main(arguments: list[str]) -> int:
    """Run the controller; returns 0 after SIGTERM."""
    parser = argparse.ArgumentParser(description="Volumes of an embedded cloud.")
    parser.add_argument("--kubeconfig", required=True)
    parser.add_argument("--volumes", type=Path, help="where the volumes' directories are; none on simulated nodes")
    parser.add_argument("--inside", default="", help="the same directory as the node sees it")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    asyncio.run(serve(options.kubeconfig, options.volumes, options.inside))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
