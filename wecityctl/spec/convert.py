"""From a document's shape to the model: the one place where the two meet.

Mappings become plain dicts and not proxies: a city is sent to worker processes, and proxies cannot be pickled.
"""

from __future__ import annotations

from wecityctl.model import city as model
from wecityctl.spec.shapes import apps, city, documents


def cloud_of(document: documents.CloudDocument) -> model.Cloud:
    spec = document.spec
    return model.Cloud(
        name=document.metadata.name,
        provider=spec.provider,
        zones=tuple(spec.zones),
        pools=tuple(_pool(pool) for pool in spec.pools),
        prices=model.Prices(**dict(spec.prices)) if spec.prices is not None else None,
        local=model.LocalSettings(**dict(spec.local)) if spec.local is not None else model.LocalSettings(),
        kubernetes=model.KubernetesSettings(**dict(spec.kubernetes or city.KubernetesSettings())),
        labels=dict(document.metadata.labels),
    )


def platform_of(document: documents.PlatformDocument) -> model.Platform:
    name = document.metadata.name
    return model.Platform(name, tuple(_capability(name, item) for item in document.spec.capabilities))


def tenant_of(document: documents.TenantDocument) -> model.Tenant:
    spec = document.spec
    return model.Tenant(
        name=document.metadata.name,
        title=spec.title,
        domain=spec.domain,
        quota=model.Quota(spec.quota.cpu, spec.quota.memory, spec.quota.storage),
        admins=tuple(spec.admins),
        budget_monthly=spec.budget.monthly if spec.budget is not None else "",
        labels=dict(document.metadata.labels),
    )


def app_of(document: documents.AppDocument) -> model.App:
    spec = document.spec
    return model.App(
        name=document.metadata.name,
        tenant=document.metadata.tenant,
        stage=spec.stage,
        zone=spec.zone,
        data_class=spec.data_class,
        components=tuple(_component(part) for part in spec.components),
        uses=tuple(model.Use(use.capability, use.as_ or use.capability, use.storage or "") for use in spec.uses),
        channels=tuple(spec.channels),
        route=model.Route(spec.route.host, spec.route.path) if spec.route is not None else None,
        cloud=spec.cloud or "",
        labels=dict(document.metadata.labels),
    )


def city_of(
    document: documents.CityDocument,
    clouds: tuple[model.Cloud, ...] = (),
    platforms: tuple[model.Platform, ...] = (),
    tenants: tuple[model.Tenant, ...] = (),
    apps: tuple[model.App, ...] = (),
) -> model.City:
    """The city with the parts that other documents declare, in file order."""
    spec = document.spec
    return model.City(
        name=document.metadata.name,
        domain=spec.domain,
        zones=tuple(model.Zone(zone.name, zone.kind) for zone in spec.zones),
        clouds=clouds,
        platforms=platforms,
        tenants=tenants,
        apps=apps,
        compliance=model.Compliance(
            mlps=spec.compliance.mlps,
            sm=spec.compliance.sm,
            regions=tuple(spec.compliance.residency.regions),
            log_retention_days=spec.compliance.log_retention_days,
        ),
        flows=tuple(
            model.Flow(flow.from_, flow.to, tuple(flow.ports), flow.approved_by, flow.reason) for flow in spec.flows
        ),
        images=model.Images(spec.images.source, spec.images.registry, tuple(spec.images.architectures)),
        state=model.State(spec.state.backend, spec.state.secrets_provider),
        kubernetes_provider=spec.engine.kubernetes_provider,
        labels=dict(document.metadata.labels),
    )


def _pool(pool: city.Pool) -> model.Pool:
    return model.Pool(
        name=pool.name,
        architecture=pool.architecture,
        nodes=pool.nodes,
        cpu=pool.cpu,
        memory=pool.memory,
        storage=pool.storage,
        labels=dict(pool.labels),
        accelerators=dict(pool.accelerators),
    )


def _capability(platform: model.PlatformName, item: apps.Capability) -> model.Capability:
    return model.Capability(
        platform=platform,
        name=item.name,
        type=item.type or item.name,
        engine=item.engine or "",
        size=item.size,
        replicas=item.replicas,
        storage=item.storage or "",
        zone=item.zone or "",
        cloud=item.cloud or "",
    )


def _component(part: apps.Component) -> model.Component:
    scale = part.autoscale
    return model.Component(
        name=part.name,
        image=part.image,
        replicas=part.replicas,
        port=part.port,
        resources=model.Resources(part.resources.cpu, part.resources.memory),
        health_path=part.health.path if part.health is not None else "",
        autoscale=model.Autoscale(scale.min, scale.max, scale.cpu) if scale is not None else None,
        env=dict(part.env),
        secrets=tuple(part.secrets),
        files=dict(part.files),
        command=tuple(part.command),
        architectures=tuple(part.architectures),
    )
