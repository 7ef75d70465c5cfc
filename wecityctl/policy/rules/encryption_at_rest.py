"""What a landing zone keeps is encrypted with a key of the city's own."""

from __future__ import annotations

from collections.abc import Iterator

from wecityctl.model import naming
from wecityctl.model.city import Cloud
from wecityctl.model.words import some
from wecityctl.policy.landing import (
    is_bucket,
    is_cluster,
    keeps_objects_encrypted,
    keeps_secrets_encrypted,
    keeps_volumes_encrypted,
    landing_zones,
)
from wecityctl.policy.model import Finding, PolicyInput, Rule
from wecityctl.policy.objects import cloud_of, name_of
from wecityctl.resource_graph import RecordedResource

WHY = """\
Disks are replaced, snapshots are copied, buckets are opened by mistake: data that lies encrypted with a key of the
city's own is then of no use to anybody else, and is gone for good once the key is. From level 3 on GB/T 22239 asks that
important data stays confidential where it is stored. The rule reads what a landing zone would create: the cluster's
store, in which Kubernetes keeps Secrets, and the bucket must each name a key. The volumes that hold the databases are
their storage class's: where no class that the stacks register says that it encrypts, the rule advises to look, for
nothing shows that they are encrypted. Clouds that are only adopted, or are embedded, are encrypted by whoever runs
their machines; that cannot be seen from here and is for the assessor to ask."""


def check(policy_input: PolicyInput) -> Iterator[Finding]:
    """Clusters and buckets of landing zones without a key, and volumes there of which nobody knows."""
    for cloud, recording in landing_zones(policy_input):
        for item in recording.resources:
            what = ""
            if is_cluster(item) and not keeps_secrets_encrypted(recording, item):
                what = "the cluster keeps Secrets"
            elif is_bucket(item) and not keeps_objects_encrypted(recording, item):
                what = "the bucket keeps objects"
            if what:
                yield Finding(
                    subject=f"cloud {cloud.name}",
                    message=f"{what} without a key of the city's own ({item.type} {item.name})",
                    resolution="use a cloud whose landing zone has key management, or waive it with a reason",
                    stack=recording.stack,
                    document=("Cloud", cloud.name),
                    path=("spec", "provider"),
                )
        for item, is_encrypted in _classes(policy_input, cloud):
            if not is_encrypted:
                yield Finding(
                    subject=f"cloud {cloud.name}",
                    message=f"volumes are kept without encryption (StorageClass {item.name})",
                    resolution="name an encrypted type of volumes where the vendor has such a setting, or waive it",
                    stack=naming.stack_name(policy_input.city.name, "base", cloud.name),
                    document=("Cloud", cloud.name),
                    path=("spec", "provider"),
                )
        unknown = [name for name, is_encrypted in _volumes(policy_input, cloud) if is_encrypted is None]
        if unknown:
            yield Finding(
                subject=f"cloud {cloud.name}",
                message=f"nothing says that its volumes are encrypted: {some(unknown)}",
                resolution="see to it that their storage class encrypts with a key of the city's own, and show it",
                document=("Cloud", cloud.name),
                path=("spec", "provider"),
                unsaid=True,
            )


def _volumes(policy_input: PolicyInput, cloud: Cloud) -> Iterator[tuple[str, bool | None]]:
    """The volume claims on a cloud, each with whether its storage class encrypts; `None` for one that no stack
    registers."""
    classes = {name_of(item): is_encrypted for item, is_encrypted in _classes(policy_input, cloud)}
    for recording, item in policy_input.objects("PersistentVolumeClaim"):
        if cloud_of(policy_input, recording) == cloud.name:
            yield item.name, classes.get(str((item.inputs.get("spec") or {}).get("storageClassName")))


def _classes(policy_input: PolicyInput, cloud: Cloud) -> Iterator[tuple[RecordedResource, bool]]:
    """The storage classes that the stacks register on a cloud, each with whether it encrypts."""
    for recording, item in policy_input.objects("StorageClass"):
        if cloud_of(policy_input, recording) == cloud.name:
            yield item, keeps_volumes_encrypted(item)


def evidence(policy_input: PolicyInput) -> Iterator[str]:
    """The landing zones whose stores name a key, and the volumes whose class encrypts."""
    for cloud, recording in landing_zones(policy_input):
        kept = [item for item in recording.resources if is_cluster(item) or is_bucket(item)]
        if kept and not any(finding.stack == recording.stack for finding in check(policy_input)):
            yield f"landing zone {cloud.name}: {', '.join(item.name for item in kept)} encrypted with the city's key"
        volumes = [name for name, is_encrypted in _volumes(policy_input, cloud) if is_encrypted]
        if volumes:
            yield f"cloud {cloud.name}: volumes of a storage class that encrypts: {', '.join(volumes)}"


RULE = Rule(
    name="encryption-at-rest",
    title="What is stored is encrypted 存储加密",
    why=WHY,
    check=check,
    mlps=3,
    controls=("8.1.4.8 数据保密性",),
    evidence=evidence,
    applies=lambda city: any(cloud.has_landing_zone for cloud in city.clouds),
    enforced="elsewhere",
)
