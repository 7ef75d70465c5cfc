"""Identifies a cluster within a time limit: the UID of its namespace kube-system, and its version.

A timeout is an error of its own. Besides, the addresses of its API servers.
"""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass

from wecityctl import cancellation
from wecityctl.errors import ConfigurationError
from wecityctl.event_loops import run_async
from wecityctl.kube.client import KubeClient
from wecityctl.kube.config import Access
from wecityctl.kube.errors import ApiError, KindNotFound, Unreachable, no_api_server
from wecityctl.kube.resource import meta
from wecityctl.kube.transport import HttpPool

VARIABLE = "WECITYCTL_CLUSTER_TIMEOUT"
SECONDS = 10.0
_PAUSE = 2.0
# The API servers keep it themselves. Only its name and label are fixed.
_SLICES = (
    "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices?labelSelector=kubernetes.io/service-name%3Dkubernetes"
)


@dataclass(frozen=True, slots=True)
class Identity:
    """`uid` is the UID of the namespace kube-system, which is unique to the cluster.

    `api_servers` are the addresses behind the Service `kubernetes`, as `host:port`; empty for who may not read them.
    """

    uid: str
    version: str
    api_servers: tuple[str, ...] = ()


def patience() -> float:
    """Seconds that a cluster may take to answer. Raises `ConfigurationError` if the setting is no such number."""
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        return SECONDS
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 600:
        raise ConfigurationError(f"{VARIABLE} is {text!r}", resolution="give seconds, above 0 and at most 600")
    return seconds


def identify(access: Access, seconds: float) -> Identity:
    """Ask the cluster of `access`. Raises the client's errors, including `Unreachable` after `seconds`."""
    try:
        return run_async(_ask(access, seconds))
    except TimeoutError as error:
        raise silent(access.server, seconds, spent_on(error)) from error


def spent_on(error: TimeoutError) -> str:
    """What an `asyncio.timeout` spent its time on, from a note of the interrupted code; empty if there is none."""
    return "; ".join(getattr(error.__cause__, "__notes__", ()))


def identify_new(access: Access, seconds: float, total: float) -> Identity:
    """Like `identify`, repeated for `total` seconds: the address of a new cluster may not lead to it yet."""
    deadline = time.monotonic() + total
    while True:
        try:
            return identify(access, seconds)
        except Unreachable:
            if time.monotonic() + _PAUSE >= deadline:
                raise
            cancellation.check()
            time.sleep(_PAUSE)


def silent(server: str, seconds: float, why: str = "") -> Unreachable:
    """The error for a server that does not answer. `why`: what the time was spent on, if not on the server."""
    return Unreachable(
        server,
        "timeout",
        f"{server} gave no answer within {seconds:g} s" + (f": {why}" if why else ""),
        resolution=(f"run the plug-in by hand; {VARIABLE}" if why else f"check the way to it; {VARIABLE}")
        + " allows it more seconds",
    )


async def _ask(access: Access, seconds: float) -> Identity:
    retry = min(5.0, seconds / 2)
    async with asyncio.timeout(seconds), HttpPool() as pool:
        client = KubeClient(access, pool)
        version = await client.request("GET", "/version", retry_seconds=retry)
        system = await client.request("GET", "/api/v1/namespaces/kube-system", retry_seconds=retry)
        uid = meta(system).get("uid")
        if not uid:
            raise no_api_server(access.server, "namespace kube-system has no UID")
        return Identity(str(uid), str(version.get("gitVersion", "")), await _api_servers(client, retry))


async def _api_servers(client: KubeClient, retry: float) -> tuple[str, ...]:
    """The addresses behind the Service `kubernetes`, which are those that network policies see."""
    try:
        found = await client.request("GET", _SLICES, retry_seconds=retry)
    except (ApiError, KindNotFound):
        return ()
    return tuple(
        sorted(
            f"{address}:{port['port']}"
            for item in found.get("items") or ()
            for port in item.get("ports") or ()
            for endpoint in item.get("endpoints") or ()
            for address in endpoint.get("addresses") or ()
        )
    )
