"""A vendor's description of its resources for the policies: tokens and inputs of the vendor's SDK.

Each folder of `stacks/clouds` has an `AUDIT` in its module `audit`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module

from wecityctl.model.vendors import vendors
from wecityctl.resource_graph import RecordedResource, Recording

PUBLIC_ADDRESS = "a public address"
NAT_GATEWAY = "a NAT gateway"
PUBLIC_API = "a public API endpoint"
PUBLIC_BALANCER = "a public load balancer"
PUBLIC_NODES = "public addresses for nodes"


def _nothing(_item: RecordedResource) -> Iterator[str]:
    return iter(())


def _no_list(_recording: Recording, _endpoint: RecordedResource) -> tuple[str, ...]:
    return ()


def _never(_recording: Recording, _cluster: RecordedResource) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Audit:
    """How a vendor's resources are interpreted.

    `cluster`, `bucket` and `key` are tokens. `public_resources` maps tokens of resources that are always public to a
    description. `public_inputs` are token, input, and what a value there makes public. `balancer` is the token of a
    load balancer, the input with its network type, and the value that means the internet. `is_public` finds other ways
    in which a resource is reachable from the internet. `access_list` returns the external ranges that may reach a
    public API endpoint; empty if nothing restricts them. `encrypts_secrets` tells whether a cluster's etcd is encrypted
    with a key.
    """

    cluster: str
    bucket: str
    key: str
    public_resources: Mapping[str, str] = field(default_factory=dict)
    public_inputs: tuple[tuple[str, str, str], ...] = ()
    balancer: tuple[str, str, str] | None = None
    is_public: Callable[[RecordedResource], Iterator[str]] = _nothing
    access_list: Callable[[Recording, RecordedResource], tuple[str, ...]] = _no_list
    encrypts_secrets: Callable[[Recording, RecordedResource], bool] = _never


@cache
def audits() -> Mapping[str, Audit]:
    """The audits of all vendors by provider, which is also the package name in the tokens of its resources."""
    return {name: _audit(vendor.module("audit")) for name, vendor in vendors().items()}


def audit_of(item: RecordedResource) -> Audit | None:
    """The audit of the vendor whose resource it is; `None` if it is no vendor's."""
    return audits().get(item.type.partition(":")[0])


def _audit(module: str) -> Audit:
    found = import_module(module).AUDIT
    assert isinstance(found, Audit)
    return found
