"""What all shapes share: strict, closed to unknown fields, written in camelCase; and the documents' metadata."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from wecityctl.model.city import PlatformName
from wecityctl.spec.schema import names


class Schema(BaseModel):
    """A mapping in a document."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, alias_generator=to_camel, use_enum_values=True)


def options(description: str, *examples: Any, **settings: Any) -> Any:
    """A field's settings with the description and examples that `schema` and `explain` show."""
    return Field(description=description, examples=list(examples) or None, **settings)


Labels = dict[names.LabelKey, names.LabelValue]
# Labels that objects in the clusters get.
OwnLabels = dict[names.OwnLabelKey, names.LabelValue]


class CityMetadata(Schema):
    """What identifies the city."""

    name: names.CityName = options("The city's name; it begins every stack's name.", "xingcheng")
    labels: Labels = options("Labels for selecting cities in a fleet.", {"province": "hunan"}, default_factory=dict)


class CloudMetadata(Schema):
    """What identifies an underlying cloud."""

    name: names.CloudName = options("The cloud's name; it ends the name of every stack on it.", "main")
    labels: Labels = options("Labels of the cloud.", {"vendor": "a"}, default_factory=dict)


class WaiverMetadata(Schema):
    """What identifies a waiver."""

    name: names.Word = options("The waiver's name.", "legacy-images")


class PlatformMetadata(Schema):
    """Which middle platform this is."""

    name: PlatformName = options("The middle platform 中台.", "application")


class TenantMetadata(Schema):
    """What identifies a tenant."""

    name: names.TenantName = options("The department's or partner's name; its namespaces begin with it.", "transport")
    labels: OwnLabels = options("Labels on the tenant's namespaces.", {"level": "city"}, default_factory=dict)


class LifecycleMetadata(Schema):
    """Whose life it is."""

    name: names.AppName = options("The app's name.", "health-code")
    tenant: names.TenantName = options("The tenant that owns the app.", "health-commission")


class AppMetadata(Schema):
    """What identifies an app."""

    name: names.AppName = options("The app's name, unique within its tenant.", "health-code")
    tenant: names.TenantName = options("The tenant that owns the app.", "health-commission")
    labels: OwnLabels = options("Labels on the app's objects and pods.", {"tier": "gold"}, default_factory=dict)
