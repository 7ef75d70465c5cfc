"""The pod of a Job that works on a capability: its provisioning, account and probe Jobs differ in script and values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import pulumi

from stacks import pods
from stacks.objects import Manifest
from stacks.platforms import tls
from wecityctl.inputs import Cluster

USER = 999
REQUESTS: Mapping[str, str] = MappingProxyType({"cpu": "20m", "memory": "64Mi"})


def job_pod(
    name: str,
    image: pulumi.Input[str],
    command: Sequence[str],
    environment: Sequence[Manifest],
    *,
    capability: str,
    is_tls: bool,
    cluster: Cluster | None,
    architectures: Sequence[str],
    restart: str,
    terminates_with: str = "",
    grace_seconds: int | None = None,
    requests: Mapping[str, str] = REQUESTS,
    limits: Mapping[str, str] | None = None,
    init: Sequence[Manifest] = (),
    mounts: Sequence[Manifest] = (),
    volumes: Sequence[Manifest] = (),
) -> Manifest:
    """Return the pod's spec: one container `name` that runs `command` in the capability's `image`.

    It finds the city's authority where the capability speaks TLS. `terminates_with` is the container's
    `terminationMessagePolicy`, empty for the default. `mounts` are of the pod's own `volumes`.
    """
    runner = pods.container(
        name,
        image,
        command=list(command),
        env=list(environment),
        mounts=[*([tls.MOUNT] if is_tls else []), *mounts],
        requests=requests,
        limits=limits,
    )
    if terminates_with:
        runner["terminationMessagePolicy"] = terminates_with
    return pods.pod(
        [runner],
        cluster=cluster,
        init=init,
        volumes=[*([tls.authority_volume(capability)] if is_tls else []), *volumes],
        user=USER,
        architectures=architectures,
        restart=restart,
        grace_seconds=grace_seconds,
    )
