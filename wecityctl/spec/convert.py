"""Converts validated schemas into the model; the only module that knows both.

`from_shape` copies fields that have the same name on both sides, so that such a field is declared in its schema and its
model only. Fields that are named or nested differently are converted one by one here. Mappings become plain dicts and
not `MappingProxyType`, because a city is sent to worker processes and proxies cannot be pickled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from wecityctl.model import city as model
from wecityctl.model.catalogue import Catalogue
from wecityctl.model.environments import PRODUCTION, with_environment
from wecityctl.model.kinds import groups_of
from wecityctl.model.lifecycle import Lifecycle
from wecityctl.model.vendors import VendorSettings, vendors
from wecityctl.spec.schema import apps, city, documents
from wecityctl.spec.schema.base import Schema

Model = TypeVar("Model")


def from_shape(kind: type[Model], shape: Schema | None, **given: Any) -> Model:
    """Create a `kind` from the fields of `shape` with the same names; `given` takes precedence.

    Lists become tuples. Nested schemas become the class that the model's field is annotated with. Fields that the file
    does not set (`None`) take the model's default; with `shape=None`, all do.
    """
    written = {} if shape is None else dict(shape)
    for name, nested in _fields(kind).items():  # type: ignore[arg-type]  # mypy takes no class for hashable
        value = written.get(name)
        if value is not None and name not in given:
            given[name] = _frozen(nested, value)
    return kind(**given)


@cache
def _fields(kind: Any) -> dict[str, type[Any] | None]:
    """The fields of a model class, each with the dataclass that its annotation contains, or `None`."""
    hints = get_type_hints(kind)
    return {item.name: _class_in(hints[item.name]) for item in fields(kind)}


def _class_in(hint: Any) -> type[Any] | None:
    """The dataclass inside an annotation such as `tuple[Pool, ...]` or `Prices | None`; `None` if there is none."""
    if isinstance(hint, type) and is_dataclass(hint):
        return hint
    return next((found for each in get_args(hint) if (found := _class_in(each)) is not None), None)


def _frozen(kind: type[Any] | None, value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_frozen(kind, item) for item in value)
    if isinstance(value, Mapping):
        return {key: _frozen(kind, item) for key, item in value.items()}
    if isinstance(value, Schema):
        assert kind is not None, f"the model has no class for {type(value).__name__}"
        return from_shape(kind, value)
    return value


def cloud_of(document: documents.CloudDocument, directory: Path) -> model.Cloud:
    """Convert a Cloud document. The path of its kubeconfig is resolved against `directory`."""
    spec, vendor = document.spec, vendors().get(document.spec.provider)
    kubernetes = spec.kubernetes or city.KubernetesSettings()
    # The settings of other vendors are ignored here and reported by a check.
    block = getattr(spec, spec.provider) if vendor is not None else None
    return from_shape(
        model.Cloud,
        spec,
        name=document.metadata.name,
        labels=dict(document.metadata.labels),
        kubernetes=from_shape(
            model.KubernetesSettings,
            kubernetes,
            kubeconfig=_path_from(directory, kubernetes.kubeconfig),
            named_in=str(directory.absolute()),
        ),
        expected=tuple(map(_expected, spec.expected)),
        settings=from_shape(vendor.settings, block) if vendor is not None else VendorSettings(),
    )


def _path_from(directory: Path, path: str) -> str:
    """The absolute path; empty stays empty, and a path with `~` stays as it is, to be expanded for whoever runs it."""
    return path if not path or path.startswith("~") else str(directory.absolute() / path)


def waiver_of(document: documents.WaiverDocument) -> model.Waiver:
    return from_shape(model.Waiver, document.spec, name=document.metadata.name)


def lifecycle_of(document: documents.LifecycleDocument) -> Lifecycle:
    return from_shape(Lifecycle, document.spec, name=document.metadata.name, tenant=document.metadata.tenant)


def platform_of(document: documents.PlatformDocument, catalogue: Catalogue) -> model.Platform:
    name = document.metadata.name
    # The files of its manifests are read by the loader.
    return model.Platform(name, tuple(_capability(name, item, catalogue) for item in document.spec.capabilities))


def tenant_of(document: documents.TenantDocument) -> model.Tenant:
    spec = document.spec
    return from_shape(
        model.Tenant,
        spec,
        name=document.metadata.name,
        labels=dict(document.metadata.labels),
        budget_monthly=spec.budget.monthly if spec.budget is not None else "",
        moved=tuple(model.Moved(_moved(item.from_), _moved(item.to)) for item in spec.moved),
    )


def _moved(text: str) -> str:
    return text.removeprefix("app/")


def app_of(document: documents.AppDocument, environment: str = PRODUCTION) -> model.App:
    """Convert an App document; `environment` is what `${environment}` stands for."""
    spec = document.spec
    return from_shape(
        model.App,
        spec,
        name=document.metadata.name,
        tenant=document.metadata.tenant,
        labels=dict(document.metadata.labels),
        components=tuple(_component(part, environment) for part in spec.components),
        uses=tuple(_use(item) for item in spec.uses if item.app is None),
        app_uses=tuple(
            _app_use(document.metadata.tenant, item.app, item.as_, index)
            for index, item in enumerate(spec.uses)
            if item.app is not None
        ),
        # Their files are read by the loader.
        manifests=(),
    )


def city_of(
    document: documents.CityDocument,
    clouds: tuple[model.Cloud, ...] = (),
    platforms: tuple[model.Platform, ...] = (),
    tenants: tuple[model.Tenant, ...] = (),
    apps: tuple[model.App, ...] = (),
    waivers: tuple[model.Waiver, ...] = (),
    environment: str = "",
    lifecycles: tuple[Lifecycle, ...] = (),
) -> model.City:
    """Convert the City document and add the parts from the other documents, in file order.

    `environment` is the chosen environment; empty: the one that the document names.
    """
    spec = document.spec
    return from_shape(
        model.City,
        spec,
        name=document.metadata.name,
        labels=dict(document.metadata.labels),
        clouds=clouds,
        platforms=platforms,
        tenants=tenants,
        apps=apps,
        waivers=waivers,
        lifecycles=lifecycles,
        compliance=from_shape(model.Compliance, spec.compliance, regions=tuple(spec.compliance.residency.regions)),
        flows=tuple(from_shape(model.Flow, flow, source=flow.from_, target=flow.to) for flow in spec.flows),
        kubernetes_provider=spec.engine.kubernetes_provider,
        take_over=spec.engine.take_over,
        environment=environment or spec.environment,
    )


def _expected(item: city.Expected) -> model.Expected:
    group = item.group if item.group is not None else next(iter(groups_of(item.kind)), "")
    return from_shape(model.Expected, item, group=group)


def _capability(platform: model.PlatformName, item: apps.Capability, catalogue: Catalogue) -> model.Capability:
    kind = catalogue.get(item.type or item.name)
    return from_shape(
        model.Capability,
        item,
        platform=platform,
        type=item.type or item.name,
        uses=tuple(map(_use, item.uses)),
        is_entry=kind is not None and bool(kind.entry),
    )


def _use(item: apps.Use) -> model.Use:
    # A check reports a use that names neither a capability nor an app.
    return from_shape(model.Use, item, alias=item.as_ or item.capability or "", capability=item.capability or "")


def _app_use(own_tenant: str, reference: str, alias: str | None, index: int) -> model.AppUse:
    """Read `app`, `tenant/app` or `tenant/app/name`."""
    words = reference.split("/")
    tenant, app, provided = (own_tenant, words[0], "") if len(words) == 1 else (*words, "")[:3]
    return model.AppUse(tenant, app, alias or app, provided, index)


def _component(part: apps.Component, environment: str) -> model.Component:
    return from_shape(
        model.Component,
        part,
        env={name: with_environment(value, environment) for name, value in part.env.items()},
        ports=({"http": part.port} if part.port is not None else {}) | part.ports,
        health_path=part.health.path if part.health is not None else "",
        cpu_limit=part.limits.cpu if part.limits is not None else "",
    )
