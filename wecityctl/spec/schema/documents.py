"""The kinds of documents, each with its envelope."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias

from wecityctl.spec.schema.apps import AppSpec, PlatformSpec, TenantSpec
from wecityctl.spec.schema.base import (
    AppMetadata,
    CityMetadata,
    CloudMetadata,
    LifecycleMetadata,
    PlatformMetadata,
    Schema,
    TenantMetadata,
    WaiverMetadata,
    options,
)
from wecityctl.spec.schema.city import CitySpec, CloudSpec
from wecityctl.spec.schema.lifecycles import LifecycleSpec
from wecityctl.spec.schema.waivers import WaiverSpec

API_VERSION = "wecity.dev/v1alpha1"
# Kinds whose documents belong to a tenant: two tenants may have documents of the same name.
OF_TENANTS = ("App", "Lifecycle")
ApiVersion = Literal["wecity.dev/v1alpha1"]
_VERSION_TEXT = "The version of this format."


class CityDocument(Schema):
    """The city as a whole: its domain, zones, approved flows and settings. Exactly one."""

    api_version: ApiVersion = options(_VERSION_TEXT)
    kind: Literal["City"] = options("The kind of document.")
    metadata: CityMetadata = options("What identifies it.")
    spec: CitySpec = options("What it asks for.")


class CloudDocument(Schema):
    """An underlying cloud that carries the city: the embedded one, a cluster, a vendor's."""

    api_version: ApiVersion = options(_VERSION_TEXT)
    kind: Literal["Cloud"] = options("The kind of document.")
    metadata: CloudMetadata = options("What identifies it.")
    spec: CloudSpec = options("What it asks for.")


class PlatformDocument(Schema):
    """A middle platform: capabilities that apps share."""

    api_version: ApiVersion = options(_VERSION_TEXT)
    kind: Literal["Platform"] = options("The kind of document.")
    metadata: PlatformMetadata = options("What identifies it.")
    spec: PlatformSpec = options("What it asks for.")


class TenantDocument(Schema):
    """A department or partner, its quota and administrators."""

    api_version: ApiVersion = options(_VERSION_TEXT)
    kind: Literal["Tenant"] = options("The kind of document.")
    metadata: TenantMetadata = options("What identifies it.")
    spec: TenantSpec = options("What it asks for.")


class AppDocument(Schema):
    """An app of a tenant: its containers, the capabilities it uses, its route."""

    api_version: ApiVersion = options(_VERSION_TEXT)
    kind: Literal["App"] = options("The kind of document.")
    metadata: AppMetadata = options("What identifies it.")
    spec: AppSpec = options("What it asks for.")


class WaiverDocument(Schema):
    """An exemption from a policy rule for a time: who answers for it, and why."""

    api_version: ApiVersion = options(_VERSION_TEXT)
    kind: Literal["Waiver"] = options("The kind of document.")
    metadata: WaiverMetadata = options("What identifies it.")
    spec: WaiverSpec = options("What it asks for.")


class LifecycleDocument(Schema):
    """What was done with an app and by whom: submitted, reviewed, published, suspended, retired."""

    api_version: ApiVersion = options(_VERSION_TEXT)
    kind: Literal["Lifecycle"] = options("The kind of document.")
    metadata: LifecycleMetadata = options("What identifies it.")
    spec: LifecycleSpec = options("What was done.")


DocumentSchema: TypeAlias = (
    CityDocument | CloudDocument | PlatformDocument | TenantDocument | AppDocument | WaiverDocument | LifecycleDocument
)
KINDS: Mapping[str, type[DocumentSchema]] = MappingProxyType(
    {
        "City": CityDocument,
        "Cloud": CloudDocument,
        "Platform": PlatformDocument,
        "Tenant": TenantDocument,
        "App": AppDocument,
        "Waiver": WaiverDocument,
        "Lifecycle": LifecycleDocument,
    }
)
