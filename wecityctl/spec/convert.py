"""From a document's shape to the model: the one place where the two meet.

Mappings become plain dicts and not proxies: a city is sent to worker processes, and proxies cannot be pickled.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wecityctl.model import city as model
from wecityctl.model import vendors
from wecityctl.model.catalogue import Catalogue
from wecityctl.model.kinds import groups_of
from wecityctl.spec.shapes import apps, city, documents
from wecityctl.spec.shapes.base import Shape


def cloud_of(document: documents.CloudDocument, directory: Path) -> model.Cloud:
    """The cloud of a document in `directory`, to which paths in it are relative."""
    spec = document.spec
    kubernetes = dict(spec.kubernetes or city.KubernetesSettings())
    kubernetes["kubeconfig"] = _path_from(directory, kubernetes["kubeconfig"])
    return model.Cloud(
        name=document.metadata.name,
        provider=spec.provider,
        zones=tuple(spec.zones),
        pools=tuple(_pool(pool) for pool in spec.pools),
        prices=model.Prices(**dict(spec.prices)) if spec.prices is not None else None,
        local=model.LocalSettings(**dict(spec.local)) if spec.local is not None else model.LocalSettings(),
        kubernetes=model.KubernetesSettings(**kubernetes, named_in=str(directory.absolute())),
        labels=dict(document.metadata.labels),
        region=spec.region,
        network=_network(spec.network) if spec.network is not None else model.Network(),
        existing=_existing(spec.existing) if spec.existing is not None else model.Existing(),
        crossing=_crossing(spec.crossing) if spec.crossing is not None else model.Crossing(),
        public_api=model.PublicApi(tuple(spec.public_api.allow_from) if spec.public_api is not None else ()),
        balancers=tuple(spec.balancers) if spec.balancers is not None else None,
        expected=tuple(map(_expected, spec.expected)),
        openstack=vendors.OpenStackSettings(**_frozen(spec.openstack)),
        alicloud=vendors.AlicloudSettings(**_frozen(spec.alicloud)),
        tencentcloud=vendors.TencentCloudSettings(**_frozen(spec.tencentcloud)),
        huaweicloud=vendors.HuaweiCloudSettings(**_frozen(spec.huaweicloud)),
    )


def _path_from(directory: Path, path: str) -> str:
    """An absolute path; empty stays empty, and what begins with ~ is the home's of whoever runs the command."""
    return path if not path or path.startswith("~") else str(directory.absolute() / path)


def waiver_of(document: documents.WaiverDocument) -> model.Waiver:
    spec = document.spec
    return model.Waiver(document.metadata.name, spec.rule, tuple(spec.subjects), spec.owner, spec.reason, spec.expires)


def _frozen(settings: Shape | None) -> dict[str, Any]:
    """A vendor's settings, with tuples for lists; nothing where nothing is written."""
    values = dict(settings) if settings is not None else {}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def platform_of(document: documents.PlatformDocument, catalogue: Catalogue) -> model.Platform:
    name = document.metadata.name
    return model.Platform(name, tuple(_capability(name, item, catalogue) for item in document.spec.capabilities))


def tenant_of(document: documents.TenantDocument) -> model.Tenant:
    spec = document.spec
    return model.Tenant(
        name=document.metadata.name,
        title=spec.title,
        domain=spec.domain,
        quota=model.Quota(spec.quota.cpu, spec.quota.memory, spec.quota.storage),
        admins=tuple(spec.admins),
        deployers=tuple(spec.deployers),
        budget_monthly=spec.budget.monthly if spec.budget is not None else "",
        type=spec.type,
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
        uses=tuple(_use(use) for use in spec.uses),
        channels=tuple(spec.channels),
        route=model.Route(spec.route.host, spec.route.path, spec.route.tls) if spec.route is not None else None,
        cloud=spec.cloud or "",
        placement=_placement(spec.placement),
        labels=dict(document.metadata.labels),
    )


def city_of(
    document: documents.CityDocument,
    clouds: tuple[model.Cloud, ...] = (),
    platforms: tuple[model.Platform, ...] = (),
    tenants: tuple[model.Tenant, ...] = (),
    apps: tuple[model.App, ...] = (),
    waivers: tuple[model.Waiver, ...] = (),
) -> model.City:
    """The city with the parts that other documents declare, in file order."""
    spec = document.spec
    return model.City(
        name=document.metadata.name,
        domain=spec.domain,
        zones=tuple(model.Zone(zone.name, zone.kind, zone.egress) for zone in spec.zones),
        clouds=clouds,
        platforms=platforms,
        tenants=tenants,
        apps=apps,
        compliance=_compliance(spec.compliance),
        flows=tuple(
            model.Flow(flow.from_, flow.to, tuple(flow.ports), flow.approved_by, flow.reason) for flow in spec.flows
        ),
        images=model.Images(
            spec.images.source,
            spec.images.registry,
            tuple(spec.images.architectures),
            dict(spec.images.digests),
        ),
        state=model.State(spec.state.backend, spec.state.secrets_provider, spec.state.keep_updates),
        kubernetes_provider=spec.engine.kubernetes_provider,
        take_over=spec.engine.take_over,
        waivers=waivers,
        labels=dict(document.metadata.labels),
        entry=_entry(spec.entry),
    )


def _entry(item: city.Entry) -> model.Entry:
    shared = {host: tuple(tenants) for host, tenants in item.shared_hosts.items()}
    return model.Entry(shared, model.EntryTLS(item.tls.enabled, dict(item.tls.certificates)))


def _compliance(item: city.Compliance) -> model.Compliance:
    three = item.administrators
    return model.Compliance(
        mlps=item.mlps,
        sm=item.sm,
        regions=tuple(item.residency.regions),
        log_retention_days=item.log_retention_days,
        registries=tuple(item.registries),
        image_digests=item.image_digests,
        data_classes={
            name: model.DataRule(tuple(rule.zones), tuple(rule.regions), rule.partners, rule.dedicated)
            for name, rule in item.data_classes.items()
        },
        backup=model.Backup(item.backup.target, item.backup.region) if item.backup is not None else model.Backup(),
        administrators=model.Administrators(tuple(three.system), tuple(three.security), tuple(three.audit)),
    )


def _network(item: city.Network) -> model.Network:
    return model.Network(item.cidr, item.pods, item.services, dict(item.subnets))


def _existing(item: city.Existing) -> model.Existing:
    return model.Existing(item.network, dict(item.subnets), item.cluster)


def _expected(item: city.Expected) -> model.Expected:
    known = groups_of(item.kind)
    return model.Expected(item.kind, item.group if item.group is not None else next(iter(known), ""), item.name)


def _crossing(item: city.Crossing) -> model.Crossing:
    return model.Crossing(item.address, tuple(item.sources), dict(item.ports), item.encrypted)


def _placement(item: apps.PlacementRules) -> model.PlacementRules:
    return model.PlacementRules(item.domestic, tuple(item.affinity), tuple(item.anti_affinity), item.spread or "")


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
        zones=tuple(pool.zones),
        domestic=pool.domestic,
        instance_types=tuple(pool.instance_types),
    )


def _capability(platform: model.PlatformName, item: apps.Capability, catalogue: Catalogue) -> model.Capability:
    kind = catalogue.get(item.type or item.name)
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
        placement=_placement(item.placement),
        dedicated=model.Dedicated(item.dedicated.tenant, item.dedicated.app or "") if item.dedicated else None,
        tls=item.tls,
        uses=tuple(map(_use, item.uses)),
        is_entry=kind is not None and kind.entry,
    )


def _use(item: apps.Use) -> model.Use:
    return model.Use(
        capability=item.capability,
        alias=item.as_ or item.capability,
        storage=item.storage or "",
        connections=item.connections or 0,
        memory=item.memory or "",
        statement_seconds=item.statement_seconds or 0,
    )


def _component(part: apps.Component) -> model.Component:
    scale = part.autoscale
    return model.Component(
        name=part.name,
        image=part.image,
        replicas=part.replicas,
        port=part.port,
        resources=model.Resources(part.resources.cpu, part.resources.memory, dict(part.resources.accelerators)),
        health_path=part.health.path if part.health is not None else "",
        autoscale=model.Autoscale(scale.min, scale.max, scale.cpu) if scale is not None else None,
        env=dict(part.env),
        secrets=tuple(part.secrets),
        files=dict(part.files),
        command=tuple(part.command),
        architectures=tuple(part.architectures),
    )
