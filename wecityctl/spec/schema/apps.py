"""The shapes of Platform, Tenant and App documents."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, ConfigDict

from wecityctl.model import city as model
from wecityctl.model.lifecycle import Stage
from wecityctl.model.vendors import Architecture
from wecityctl.spec.schema import amounts, names, schedules, watching
from wecityctl.spec.schema.base import Schema, options


class PlacementRules(Schema):
    """What the placement must obey beside zone and pin."""

    domestic: bool = options("Whether only pools of domestic hardware 信创 will do.", default=False)
    affinity: list[names.Subject] = options(
        "Apps and capabilities to share a cloud with: tenant/app, an app of the same tenant, or a capability by name.",
        ["postgresql"],
        default_factory=list,
    )
    anti_affinity: list[names.Subject] = options(
        "Apps and capabilities to share no cloud with, named as under affinity.",
        ["transport/backup"],
        default_factory=list,
    )
    spread: names.Word | None = options(
        "A group whose members are dealt out over the clouds evenly.", "portals", default=None
    )


class Dedicated(Schema):
    """Whose alone the instance is."""

    tenant: names.TenantName = options("The tenant whose apps alone may use it.", "health-commission")
    app: names.AppName | None = options(
        "The one app of the tenant that may use it; by default all.", "health-code", default=None
    )


class Use(Schema):
    """A capability that the app, or another capability, calls: one binding and one network flow."""

    # `uses: [cache]` is the usual way to write it; the schema and `explain` say so from here.
    model_config = ConfigDict(json_schema_extra={"x-short-form": "capability"})

    capability: names.CapabilityName = options("The capability's name.", "postgresql")
    as_: names.AliasName | None = options(
        "The binding's name; by default the capability's.", "db", alias="as", default=None
    )
    storage: amounts.BytesQuantity | None = options(
        "The most storage the app may fill in it; by default the type's limit.", "10Gi", default=None
    )
    connections: amounts.Connections | None = options(
        "The most connections it may hold at a time; by default the type's limit.", 20, default=None
    )
    memory: amounts.MemoryQuantity | None = options(
        "Its share where memory is short; by default the type's limit.", "64Mi", default=None
    )
    statement_seconds: amounts.StatementSeconds | None = options(
        "The longest that one statement may run, in seconds; by default the type's limit.", 600, default=None
    )


class AppUse(Use):
    """A capability or another app that the app calls: one binding and one network flow."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-short-form": "capability",
            "oneOf": [{"required": ["capability"]}, {"required": ["app"]}],
        }
    )

    capability: names.CapabilityName | None = options("The capability's name.", "postgresql", default=None)
    app: names.ProvidedReference | None = options(
        "Instead of a capability, what another app provides: tenant/app, tenant/app/name, or an app of the same "
        "tenant. The name may be left out if it provides one thing.",
        "transport-bureau/timetable",
        default=None,
    )
    as_: names.AliasName | None = options(
        "The binding's name; by default the capability's or the app's.", "db", alias="as", default=None
    )


def _use_in_short(value: object) -> object:
    return {"capability": value} if isinstance(value, str) else value


class Capability(Schema):
    """An instance of a capability type on this platform."""

    name: names.CapabilityName = options(
        "The instance's name, unique in the city; apps use it by this name.", "archive"
    )
    type: names.CapabilityName | None = options("The capability type; by default the name.", "postgresql", default=None)
    engine: names.Word | None = options("One of the type's engines; by default its first.", "valkey", default=None)
    size: model.Size = options("How large.", default="small")
    cpu: amounts.CpuQuantity | None = options(
        "CPU that each of its pods asks for, where that is not what its size says: less on a small machine. What else "
        "it runs, such as collectors and sidecars, asks for what the type says.",
        "50m",
        default=None,
    )
    replicas: amounts.Replicas | None = options("How many; by default the type's.", 2, default=None)
    storage: amounts.BytesQuantity | None = options("Storage; by default the type's.", "50Gi", default=None)
    zone: names.ZoneName | None = options(
        "The zone it is tied to; by default none: a store then counts as in those of all its apps.",
        "extranet",
        default=None,
    )
    cloud: names.CloudName | None = options("A cloud to pin it to.", "main", default=None)
    placement: PlacementRules = options("What its placement must obey.", default_factory=PlacementRules)
    dedicated: Dedicated | None = options("Whose alone it is; by default all apps may share it.", default=None)
    tls: bool | None = options(
        "Whether its server speaks TLS and refuses plain connections; by default where its type can.", default=None
    )
    uses: list[Use] = options(
        "Which capabilities it uses for what its type needs, by binding, and with which limits; by default the only "
        "one of each type, or the one in its zone.",
        default_factory=list,
    )


class PlatformSpec(Schema):
    """What a middle platform 中台 offers."""

    capabilities: list[Capability] = options("Its capabilities 能力.", min_length=1)
    manifests: list[names.ManifestPath] = options(
        "Files with Kubernetes manifests of its own, relative to this file, for what no capability is.",
        ["manifests/nightly.yaml"],
        default_factory=list,
    )


class Quota(Schema):
    """The most that all of a tenant's apps together may ask for."""

    cpu: amounts.CpuQuantity = options("CPUs.", "40")
    memory: amounts.BytesQuantity = options("Memory.", "160Gi")
    storage: amounts.BytesQuantity = options("Storage.", "2Ti")


class Budget(Schema):
    """What a tenant may spend."""

    monthly: amounts.Price = options("Per month, in the currency of the clouds' prices.", "20000")


class Moved(Schema):
    """An app that was renamed. It keeps its data, and in the clusters its old name."""

    from_: names.MovedApp = options("The app under its old name.", "app/health-card", alias="from")
    to: names.MovedApp = options("The app under its name now.", "app/health-code")


class TenantSpec(Schema):
    """A department 委办局 or partner with apps of its own."""

    title: names.Title = options("Its name for people.", "卫生健康委")
    area: model.Area = options("Which of the four business areas it works in.", "digital-government")
    quota: Quota = options("The most that its apps together may ask for.")
    admins: list[names.Email] = options("Who administers it.", ["alice@xingcheng.gov.example"], default_factory=list)
    deployers: list[names.ClusterUser] = options(
        "Users of the clusters who may run `up --only` for this tenant, and change nothing else.",
        ["ci@health.xingcheng.gov.example"],
        default_factory=list,
    )
    budget: Budget | None = options("What it may spend.", default=None)
    type: model.TenantType = options("A government department 委办局 or a partner.", default="department")
    alerts: watching.Alerts | None = options("Where alerts about its apps are sent; by default nowhere.", default=None)
    moved: list[Moved] = options(
        "Apps that were renamed, oldest first; without it, an app of a new name begins without data.",
        [{"from": "app/health-card", "to": "app/health-code"}],
        default_factory=list,
    )


class Resources(Schema):
    """What one replica asks for and is limited to."""

    cpu: amounts.CpuQuantity = options("CPUs.", "500m", default="100m")
    memory: amounts.MemoryQuantity = options("Memory.", "512Mi", default="128Mi")
    accelerators: dict[names.AcceleratorName, amounts.DeviceCount] = options(
        "Extended resources.", {"nvidia.com/gpu": 1}, default_factory=dict
    )


class Health(Schema):
    """How to find out that a replica works."""

    path: names.HealthPath = options("A path that answers 200 on the component's port.", "/healthz")


class Probe(Schema):
    """A check of the container: an HTTP request, or only a connection if it has no path."""

    path: names.HealthPath | None = options("A path that answers with 200 to 399.", "/ready", default=None)
    port: names.PortName | None = options("The port's name; by default the first.", "http", default=None)
    every: amounts.Seconds | None = options("Seconds between two checks.", 10, default=None)
    timeout: amounts.Seconds | None = options("Seconds within which it answers.", 3, default=None)
    failures: amounts.Replicas | None = options("How many failures in a row count.", 3, default=None)


class Probes(Schema):
    """How to find out that a replica works, check by check, where `health` is too coarse."""

    ready: Probe | None = options("Whether it gets requests; by default a connection to its port.", default=None)
    live: Probe | None = options("Whether it is left running; by default it is as long as it runs.", default=None)
    start_seconds: amounts.StatementSeconds | None = options(
        "How long it may take to start before it is stopped.", 120, default=None
    )


class Limits(Schema):
    """What one replica is limited to beside memory, whose limit is what it asks for."""

    cpu: amounts.CpuQuantity = options("CPUs.", "2")


class Volume(Schema):
    """Storage of a component that outlives its pods, for one pod at a time."""

    name: names.VolumeName = options("The volume's name, unique in the component.", "uploads")
    path: names.VolumePath = options("Where the container has it.", "/data")
    size: amounts.BytesQuantity = options("How much it holds. It may grow, and never shrinks.", "20Gi")


class Autoscale(Schema):
    """Bounds of the number of replicas; it then replaces `replicas`."""

    min: amounts.Replicas = options("At least.", 2)
    max: amounts.Replicas = options("At most.", 20)
    cpu: amounts.Percent = options("Target CPU utilisation in percent.", 70)


class AbortAbove(Schema):
    """When a canary is taken back because of its answers, in a city with metrics."""

    error_rate: amounts.Percent = options(
        "The share of its requests, in percent, that may be answered with a status of 500 or more in a step; 100 for "
        "any.",
        5,
        default=5,
    )
    requests: amounts.Requests = options("Of fewer requests in a step nothing is concluded.", 20, default=20)


class Strategy(Schema):
    """How the pods of a new version take the place of those of the old one."""

    type: model.StrategyType = options(
        "`rolling`: a few at a time. `recreate`: the old ones end before the new ones start, for what must not run "
        "twice. `canary`: the new version gets a share of the requests first, step by step, and is taken back by "
        "itself if its pods do not stay ready.",
        "rolling",
        default="rolling",
    )
    surge: amounts.Pods | None = options(
        "How many pods there may be more than `replicas` meanwhile; by default 1.", 2, default=None
    )
    unavailable: amounts.Pods | None = options(
        "How many pods may be missing meanwhile; by default 1, or 0 with one replica.", 0, default=None
    )
    steps: list[amounts.Share] = options(
        "The shares of the requests that a canary gets one after the other, in percent; then it takes the old "
        "version's place.",
        [10, 50],
        default_factory=list,
    )
    pause: schedules.Duration | None = options(
        "How long a canary stays at each step; by default 1m.", "2m", default=None
    )
    abort_above: AbortAbove | None = options(
        "When a canary is taken back because requests fail; by default above 5 % of 20 requests or more, if the city "
        "has metrics.",
        default=None,
    )


class Component(Schema):
    """A container that the app runs: always, at set times (`schedule`), or before each new version (`run`)."""

    name: names.ComponentName = options("The component's name, unique in the app.", "web")
    image: names.ImageReference = options(
        "An image reference, or catalogue:<name> for an image of our own recipes.", "registry.example/health/web:1.4.2"
    )
    replicas: amounts.Replicas = options("How many replicas.", 2, default=1)
    port: amounts.Port | None = options(
        "The TCP port it serves, named http; by default none. Several are under `ports`.", 8080, default=None
    )
    ports: dict[names.PortName, amounts.Port] = options(
        "The TCP ports it serves, by name; the first is the main one.",
        {"http": 8080, "grpc": 9090},
        default_factory=dict,
    )
    resources: Resources = options("What one replica may use.", default_factory=Resources)
    limits: Limits | None = options("Limits beside that of memory; by default none.", default=None)
    health: Health | None = options("How to find out that a replica works.", default=None)
    probes: Probes | None = options("The same in place of `health`, check by check.", default=None)
    metrics: watching.Metrics | None = options("Where it serves metrics; by default nowhere.", default=None)
    autoscale: Autoscale | None = options("Bounds of automatic scaling.", default=None)
    env: dict[names.EnvName, names.EnvValue] = options(
        "Environment variables. ${ALIAS.KEY} is an entry of a binding, ${environment} the environment's name; nothing "
        "else is replaced. $${ is ${.",
        {"TZ": "Asia/Shanghai", "DATABASE_URL": "${db.uri}", "MODE": "${environment}"},
        default_factory=dict,
    )
    secrets: list[names.SecretName] = options(
        "Entries of the city's secret store, never values.", ["sms-key"], default_factory=list
    )
    files: dict[names.FilePath, str] = options(
        "Files by absolute path.", {"/etc/app.conf": "level=info"}, default_factory=dict
    )
    strategy: Strategy | None = options(
        "How a new version replaces the old one; by default one pod at a time.", default=None
    )
    volumes: list[Volume] = options(
        "Volumes, which stay when the app goes; with one, there is one replica.", default_factory=list
    )
    command: list[names.CommandWord] = options(
        "Replaces the image's command; as it is written, without a shell.", ["/app/web"], default_factory=list
    )
    args: list[names.CommandWord] = options(
        "Replaces the arguments of the image's command, or follows `command`.", ["--verbose"], default_factory=list
    )
    architectures: list[Architecture] = options(
        "CPU architectures the image exists for.", ["amd64"], default_factory=lambda: ["amd64"], min_length=1
    )
    user: amounts.UserId | None = options(
        "The numeric user of its processes; by default the image's, which must not be root.", 10001, default=None
    )
    read_only_root: bool = options(
        "Whether the image's files cannot be changed while it runs; /tmp can always.", default=True
    )
    schedule: schedules.Schedule | None = options(
        "When it runs, as minute, hour, day, month and weekday; it then ends by itself.", "0 3 * * *", default=None
    )
    time_zone: schedules.TimeZone | None = options("The time zone of `schedule`.", "Asia/Shanghai", default=None)
    concurrency: model.Concurrency | None = options(
        "What happens when it is due while the last run goes on: both run, the new one is skipped (`forbid`), or it "
        "replaces the other.",
        "forbid",
        default=None,
    )
    run: model.JobRun | None = options(
        "`before-release`: it runs once for each new version of the app, whose other components wait until it has "
        "succeeded.",
        default=None,
    )
    timeout: schedules.Duration | None = options("The longest that a run may take.", "30m", default=None)


class RouteLimits(Schema):
    """What the entry point takes from callers of the route."""

    requests_per_second: amounts.RequestRate | None = options(
        "Requests in a second of each client, counted by address; further ones get 429. By default there is no limit.",
        20,
        default=None,
    )
    burst: amounts.Burst | None = options(
        "How many requests beyond that a client may send at once; by default as many as in a second.",
        40,
        default=None,
    )
    request_bytes: amounts.BytesQuantity = options(
        "The longest body of a request; longer ones get 413.", "1Mi", default="32Mi"
    )


class Route(Schema):
    """Where the single entry point serves the app: `<host>.<city domain><path>`."""

    host: names.RouteHost = options("The part of the host name before the city's domain.", "health-code")
    path: names.RoutePath = options("The path's beginning.", "/", default="/")
    tls: bool = options(
        "Whether the component serves HTTPS with the certificate that it finds in TLS_DIRECTORY. The entry point then "
        "connects to nothing that does not show it.",
        default=False,
    )
    component: names.ComponentName | None = options(
        "The component it leads to; by default the only one with a port.", "web", default=None
    )
    port: names.PortName | None = options("The name of its port; by default the first.", "http", default=None)
    service: names.ServiceName | None = options(
        "Instead of a component, a Service in the app's `manifests`; `port` is then by default its only one.",
        "queue",
        default=None,
    )
    sign_in: model.SignIn = options(
        "Whether people sign in at the entry point: before each request, or if they like (`optional`). The app finds "
        "who they are in headers that nobody else can set.",
        "required",
        default="none",
    )
    limits: RouteLimits = options(
        "What the entry point takes from its callers.",
        {"requestsPerSecond": 20, "requestBytes": "1Mi"},
        default_factory=RouteLimits,
    )


class Provided(Schema):
    """A port of the app that other apps may use."""

    name: names.PortName = options("Its name, unique in the app.", "api")
    component: names.ComponentName | None = options(
        "The component; by default the only one with a port.", "api", default=None
    )
    port: names.PortName | None = options(
        "The name of the component's port; by default its only one.", "http", default=None
    )
    service: names.ServiceName | None = options(
        "Instead of a component, a Service in the app's `manifests`.", "queue", default=None
    )
    to: list[names.AppsPattern] = options(
        "Apps of other tenants that may use it: tenant/app, or tenant/* for all of a tenant. Those of the own tenant "
        "always may.",
        ["health-commission/*"],
        default_factory=list,
    )
    data_class: model.DataClass | None = options(
        "Class of the data that it gives; by default the app's.", "L1", default=None
    )


class AppSpec(Schema):
    """An app and what it needs."""

    stage: Stage = options("draft → reviewed → published → suspended → retired; drafts are not deployed.", "draft")
    zone: names.ZoneName = options("The zone it runs in.", "internet")
    data_class: model.DataClass = options("Class of the data it handles, from L1 (public) to L4.", "L3")
    channels: list[names.Word] = options("Where citizens meet it.", ["web", "mini-program"], default_factory=list)
    components: list[Component] = options("Its containers.", min_length=1)
    uses: list[Annotated[AppUse, BeforeValidator(_use_in_short)]] = options(
        "Capabilities and apps it calls, by name or with settings; nothing else can be reached.",
        ["cache"],
        default_factory=list,
    )
    provides: list[Provided] = options("Its ports that other apps may use.", default_factory=list)
    route: Route | None = options("Where the entry point serves it; by default it is not reachable.", default=None)
    manifests: list[names.ManifestPath] = options(
        "Files with Kubernetes manifests of its own, relative to this file, for what components cannot say.",
        ["manifests/queue.yaml"],
        default_factory=list,
    )
    cloud: names.CloudName | None = options("A cloud to pin it to.", "main", default=None)
    placement: PlacementRules = options("What its placement must obey.", default_factory=PlacementRules)
