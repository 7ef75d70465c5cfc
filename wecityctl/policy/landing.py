"""Reads the recorded resources of landing zones, by cloud, with each vendor's description of its SDK."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from wecityctl.model.addresses import is_no_access_list
from wecityctl.model.city import Cloud
from wecityctl.model.stacknames import StackName
from wecityctl.model.vendors import vendors
from wecityctl.policy.model import PolicyInput
from wecityctl.policy.vendors import PUBLIC_API, PUBLIC_BALANCER, Audit, audit_of
from wecityctl.resource_graph import RecordedResource, Recording

# The prefix of the names of load balancers; the zone follows.
BALANCER = "balancer-"


def is_cluster(item: RecordedResource) -> bool:
    """Whether the resource is a vendor's managed cluster."""
    return (audit := audit_of(item)) is not None and item.type == audit.cluster


def is_bucket(item: RecordedResource) -> bool:
    """Whether the resource is a vendor's object storage bucket."""
    return (audit := audit_of(item)) is not None and item.type == audit.bucket


def is_key(item: RecordedResource) -> bool:
    """Whether the resource is a key of a vendor's key management service."""
    return (audit := audit_of(item)) is not None and item.type == audit.key


def landing_zones(policy_input: PolicyInput) -> Iterator[tuple[Cloud, Recording]]:
    """The clouds with a landing zone, each with its recording."""
    clouds = {cloud.name: cloud for cloud in policy_input.city.clouds if cloud.has_landing_zone}
    for recording in policy_input.recordings:
        stack = StackName.parse(recording.stack)
        if stack.layer == "landing" and stack.cloud in clouds:
            yield clouds[stack.cloud], recording


def public_parts(recording: Recording) -> Iterator[tuple[RecordedResource, str]]:
    """The parts of a landing zone that the internet can reach or that reach it: the resource and a description."""
    for item in recording.resources:
        audit = audit_of(item)
        if audit is not None:
            yield from ((item, what) for what in _public_parts(audit, item))


def _public_parts(audit: Audit, item: RecordedResource) -> Iterator[str]:
    if item.type in audit.public_resources:
        yield audit.public_resources[item.type]
    for token, name, what in audit.public_inputs:
        if item.type == token and item.inputs.get(name):
            yield what
    if audit.balancer is not None:
        token, name, public = audit.balancer
        if item.type == token and item.inputs.get(name) == public:
            yield PUBLIC_BALANCER
    yield from audit.is_public(item)


def balanced_zone(item: RecordedResource) -> str:
    """The zone whose entry point a load balancer serves; empty for any other resource."""
    return item.name.removeprefix(BALANCER) if item.name.startswith(BALANCER) else ""


def is_public_endpoint(what: str) -> bool:
    return what == PUBLIC_API


def is_open_to_all(recording: Recording, endpoint: RecordedResource) -> bool:
    """Whether a public API endpoint has no access list, or one that is too wide."""
    audit = audit_of(endpoint)
    allowed = audit.access_list(recording, endpoint) if audit is not None else ()
    return not allowed or is_no_access_list(allowed)


def keeps_secrets_encrypted(recording: Recording, cluster: RecordedResource) -> bool:
    """Whether the Secrets in the cluster's etcd are encrypted with a key."""
    audit = audit_of(cluster)
    return audit is not None and audit.encrypts_secrets(recording, cluster)


def keeps_objects_encrypted(recording: Recording, bucket: RecordedResource) -> bool:
    """Whether the bucket's objects are encrypted with a key."""
    names = ("serverSideEncryptionRule", "encryptionAlgorithm", "kmsId", "kmsKeyId", "encryption")
    if any(_is_set(bucket.inputs, name) for name in names):
        return True
    return any("bucketServerSideEncryption" in item.type for item in recording.resources)


def keeps_volumes_encrypted(storage_class: RecordedResource) -> bool:
    """Whether a StorageClass encrypts its volumes, according to the parameters of its vendor's driver.

    For Cinder, only the name of the volume type can be seen.
    """
    parameters = storage_class.inputs.get("parameters") or {}
    driver = storage_class.inputs.get("provisioner")
    names = {vendor.volumes.encrypted_by for vendor in vendors().values() if vendor.volumes.driver == driver}
    return any(_is_set(parameters, name) for name in names) or any(
        ("crypt-key-id" in name and bool(value))
        or (name.lower() in ("encrypted", "encrypt") and str(value).lower() in ("true", "encrypt"))
        for name, value in parameters.items()
    )


def is_sm_key(item: RecordedResource) -> bool:
    """Whether the key has an SM algorithm."""
    values = (item.inputs.get(name) for name in ("keySpec", "keyUsage", "keyAlgorithm", "algorithm"))
    return any(isinstance(value, str) and ("SM2" in value or "SM4" in value) for value in values)


def _is_set(inputs: Mapping[str, Any], name: str) -> bool:
    return bool(inputs.get(name))
