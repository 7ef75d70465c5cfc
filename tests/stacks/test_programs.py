"""What the programs register, read from the recorder's graph."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import replace
from decimal import Decimal

import pytest

from stacks.catalogue import load_catalogue
from stacks.clouds.openstack import OpenStackSettings
from stacks.platforms.application.gateway.limits import shared
from stacks.platforms.application.gateway.routes import render_routes
from stacks.tenants.quota import resource_quota
from tests.stacks.cities import CLUSTER, WEB, app, application, city, full_city, inputs_for, objects, one, record_city
from tests.support.some import some
from wecityctl.engine.sdk.recorder import record
from wecityctl.model.city import (
    Cloud,
    Compliance,
    Entry,
    EntryTLS,
    Images,
    KubernetesSettings,
    Platform,
    ProviderKind,
    Quota,
    Route,
    RouteLimits,
    Use,
)
from wecityctl.model.outputs import (
    EntryOutputs,
    LandingOutputs,
    LimitsTarget,
    RouteTarget,
    TenantOutputs,
    outputs_from_json,
    to_json,
)
from wecityctl.model.quantity import parse_quantity
from wecityctl.model.vendors import VendorSettings, vendors
from wecityctl.plan import make_plan
from wecityctl.policy.landing import keeps_volumes_encrypted
from wecityctl.resource_graph import SECRET, Recording

LANDED = LandingOutputs("main", "alicloud", "", "", "net-1", {}, "c-1", key="key-1")
LABELS = {"app.kubernetes.io/managed-by": "wecityctl", "wecity.dev/city": "xc"}


@pytest.fixture(scope="module")
def full() -> dict[str, Recording]:
    return record_city(full_city())


def test_every_object_carries_our_labels(full: dict[str, Recording]) -> None:
    for item in some(objects(full)):
        labels = item.inputs["metadata"]["labels"]
        assert LABELS.items() <= labels.items(), item.name


def test_every_object_has_a_name_and_no_two_are_the_same(full: dict[str, Recording]) -> None:
    names = [
        (item.type, item.inputs["metadata"].get("namespace"), item.inputs["metadata"]["name"]) for item in objects(full)
    ]
    assert len(names) == len(set(names)) > 100
    assert all(isinstance(name, str) and 0 < len(name) <= 63 for _, _, name in names), names


def test_no_secret_value_is_in_the_graph_in_clear(full: dict[str, Recording]) -> None:
    text = json.dumps([dict(item.inputs) for recording in full.values() for item in recording.resources])
    assert "value-of-" not in text
    assert SECRET in text


def test_every_pod_is_restricted(full: dict[str, Recording]) -> None:
    templates = [
        item.inputs["spec"]["template"]["spec"]
        for kind in ("Deployment", "StatefulSet", "Job")
        for item in objects(full, kind)
    ]
    assert len(templates) >= 9
    for spec in templates:
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys()


def test_every_namespace_is_closed_before_a_workload_starts(full: dict[str, Recording]) -> None:
    denies = {
        item.inputs["metadata"]["namespace"]: item.urn
        for item in objects(full, "NetworkPolicy")
        if item.inputs["metadata"]["name"] == "default-deny"
    }
    assert set(denies) == {item.inputs["metadata"]["name"] for item in objects(full, "Namespace")}
    for kind in ("Deployment", "StatefulSet"):
        for item in objects(full, kind):
            assert denies[item.inputs["metadata"]["namespace"]] in item.depends_on, item.name


def test_a_policy_with_parameters_is_bound_once_it_is_there(full: dict[str, Recording]) -> None:
    """Before that only those may bind it who may list every object."""
    policies = {item.inputs["metadata"]["name"]: item.urn for item in objects(full, "ValidatingAdmissionPolicy")}
    bindings = [
        item for item in objects(full, "ValidatingAdmissionPolicyBinding") if item.inputs["spec"].get("paramRef")
    ]
    assert bindings
    for item in bindings:
        assert policies[item.inputs["spec"]["policyName"]] in item.depends_on, item.name


def test_a_use_opens_one_flow_and_only_that(full: dict[str, Recording]) -> None:
    out = one(full, "NetworkPolicy", "health-internet/code-to-db").inputs["spec"]
    assert out["policyTypes"] == ["Egress"]
    (rule,) = out["egress"]
    assert rule["ports"] == [{"protocol": "TCP", "port": 5432}]
    assert rule["to"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/name"] == "postgresql"
    arrives = one(full, "NetworkPolicy", "platform-application/from-health-code-db").inputs["spec"]
    assert arrives["policyTypes"] == ["Ingress"]
    source = arrives["ingress"][0]["from"][0]
    assert source["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "health-internet"}
    names = {item.name for item in objects(full, "NetworkPolicy")}
    assert "transport-internet/bus-to-db" not in names


@pytest.mark.parametrize("uses", [(), (Use("cache", "store"),)])
def test_the_gateway_alone_is_let_in_whatever_the_app_uses(uses: tuple[Use, ...]) -> None:
    policy = one(record_city(city(app("code", uses=uses))), "NetworkPolicy", "health-internet/code-from-entry")
    (rule,) = policy.inputs["spec"]["ingress"]
    (peer,) = rule["from"]
    assert peer["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "platform-application"}
    assert peer["podSelector"]["matchLabels"]["app.kubernetes.io/name"] == "gateway"


def test_admin_credentials_never_enter_a_tenant(full: dict[str, Recording]) -> None:
    tenants = ("health-", "transport-")
    inside = [item for item in objects(full) if str(item.inputs["metadata"].get("namespace", "")).startswith(tenants)]
    # Administrators of the city are bound to roles that are called so; nothing else in a namespace names one.
    assert {"Secret", "ConfigMap", "Deployment"} <= {item.inputs["kind"] for item in inside}
    for item in inside:
        if item.inputs["kind"] not in ("Role", "RoleBinding"):
            assert "-admin" not in json.dumps(dict(item.inputs)), item.name


def test_workloads_wait_for_their_databases(full: dict[str, Recording]) -> None:
    workload = one(full, "Deployment", "health-internet/code-web")
    jobs = {item.urn for item in objects(full, "Job") if item.name.startswith("provision-health-code")}
    assert len(jobs) == 2
    assert jobs <= set(workload.depends_on)


def test_an_autoscaled_deployment_leaves_its_replicas_to_the_autoscaler(full: dict[str, Recording]) -> None:
    assert "replicas" not in one(full, "Deployment", "health-internet/code-web").inputs["spec"]
    scale = one(full, "HorizontalPodAutoscaler", "health-internet/code-web").inputs["spec"]
    assert (scale["minReplicas"], scale["maxReplicas"]) == (2, 4)


def test_servers_with_a_volume_start_anew_when_their_administrators_password_changes(
    full: dict[str, Recording],
) -> None:
    plan = make_plan(full_city(), load_catalogue())
    inputs = inputs_for(plan, "xc.platform.application.main", {"xc.base.main": full["xc.base.main"].outputs})
    other = record(replace(inputs, secrets=dict.fromkeys(inputs.secrets, "another")))
    for name in ("postgresql", "cache"):
        before = one(full, "StatefulSet", f"platform-application/{name}").inputs["spec"]["template"]["metadata"]
        after = one({"x": other}, "StatefulSet", f"platform-application/{name}").inputs["spec"]["template"]["metadata"]
        assert before["annotations"] != after["annotations"]


def test_the_shares_of_a_quota_add_up(full: dict[str, Recording]) -> None:
    quotas = [item.inputs["spec"]["hard"] for item in objects(full, "ResourceQuota") if "health" in item.name]
    assert len(quotas) == 2
    assert sum(parse_quantity(item["requests.cpu"]) for item in quotas) == Decimal(8)
    assert sum(parse_quantity(item["requests.memory"]) for item in quotas) == parse_quantity("16Gi")


def test_a_quota_bounds_what_is_used_and_how_many_objects_there_are(full: dict[str, Recording]) -> None:
    for item in some(objects(full, "ResourceQuota")):
        hard = item.inputs["spec"]["hard"]
        assert hard["limits.memory"] == hard["requests.memory"]
        assert hard["services.loadbalancers"] == hard["services.nodeports"] == "0"
        assert {"pods", "secrets", "configmaps", "persistentvolumeclaims", "limits.ephemeral-storage"} <= hard.keys()
        space = item.inputs["metadata"]["namespace"]
        for kind in ("Service", "Secret", "ConfigMap", "Deployment", "NetworkPolicy"):
            names = {"Deployment": "count/deployments.apps", "NetworkPolicy": "count/networkpolicies.networking.k8s.io"}
            there = [found for found in objects(full, kind) if found.inputs["metadata"].get("namespace") == space]
            assert int(hard[names.get(kind, f"{kind.lower()}s")]) >= 2 * len(there)
    for item in some(objects(full, "LimitRange")):
        (defaults,) = item.inputs["spec"]["limits"]
        assert {"memory", "ephemeral-storage"} <= defaults["default"].keys()


@pytest.mark.parametrize(("apps", "services"), [(1, "40"), (10, "40"), (11, "80"), (41, "320")])
def test_the_number_of_objects_of_a_quota_grows_by_doubling(apps: int, services: str) -> None:
    """So a tenant's deployers, who may not write quotas, can add apps."""
    named = [app(f"app-{number}") for number in range(apps)]
    quota = resource_quota("health-internet", Quota("8", "16Gi", "50Gi"), named, flows=(), several_clouds=False)
    assert quota["spec"]["hard"]["services"] == services


def test_declared_flows_open_both_ends(full: dict[str, Recording]) -> None:
    (flow,) = [
        item for item in objects(full, "NetworkPolicy") if "flow-internet-ex" in item.name and "health" in item.name
    ]
    (rule,) = flow.inputs["spec"]["egress"]
    zone = {"wecity.dev/city": "xc", "wecity.dev/zone": "ex"}
    # Not the zone's platforms, where its entry point is.
    tenants = [{"key": "wecity.dev/tenant", "operator": "Exists"}]
    assert rule["to"] == [{"namespaceSelector": {"matchLabels": zone, "matchExpressions": tenants}}]
    assert rule["ports"] == [{"protocol": "TCP", "port": 443}]


def test_each_zones_routes_are_served_by_its_own_entry_point(full: dict[str, Recording]) -> None:
    main = one(full, "ConfigMap", "routes").inputs["data"]["routes.conf"]
    own = one(full, "ConfigMap", "platform-application-extranet/gateway-extranet-routes").inputs["data"]["routes.conf"]
    for host, here, there in (("code", main, own), ("bus", main, own), ("vaccination", own, main)):
        assert f"server_name {host}.xc.example;" in here
        # Nor on the index page.
        assert f"{host}.xc.example" not in there
    assert "proxy_pass http://$upstream_" in own
    outputs = full["xc.entry"].outputs
    assert isinstance(outputs, EntryOutputs)
    assert outputs.hosts == ("bus.xc.example", "code.xc.example")
    assert [(item.zone, item.hosts) for item in outputs.others] == [("extranet", ("vaccination.xc.example",))]


def test_a_routes_limits_and_a_zones_proxies_reach_its_own_entry_point() -> None:
    limits = {
        "code": RouteLimits(20, None, "1Mi"),
        "slow": RouteLimits(5, 0),
        "open": RouteLimits(),
    }
    apps = [app(name, route=Route(name, limits=stated)) for name, stated in limits.items()]
    proxies = {"internet": ("10.8.4.0/24",), "extranet": ("10.9.0.0/16", "10.10.0.0/16")}
    whole = city(*apps, app("desk", zone="extranet"), entry=Entry(trusted_proxies=proxies))
    recorded = record_city(whole)
    main = one(recorded, "ConfigMap", "routes").inputs["data"]["routes.conf"]
    own = one(recorded, "ConfigMap", "platform-application-extranet/gateway-extranet-routes")
    trusted = "real_ip_header X-Forwarded-For;\nreal_ip_recursive on;\n"
    assert main.startswith(f"{trusted}set_real_ip_from 10.8.4.0/24;\nmap ")
    assert own.inputs["data"]["routes.conf"].startswith(
        f"{trusted}set_real_ip_from 10.9.0.0/16;\nset_real_ip_from 10.10.0.0/16;\nmap "
    )
    assert "limit_req_zone $limited_client zone=health/code:1024k rate=20r/s;" in main
    # On the path itself and below it. By default a burst is what comes in a second.
    assert main.count("limit_req zone=health/code burst=20 nodelay;\n") == 1
    assert main.count("limit_req zone=health/slow;\n") == 1
    assert main.count("client_max_body_size") == main.count("client_max_body_size 1048576;") == 1
    outputs = recorded["xc.tenant.health.main"].outputs
    assert isinstance(outputs, TenantOutputs)
    told = to_json(outputs)
    # Outputs without limits stay as they were.
    assert [route["app"] for route in told["routes"] if "limits" in route] == ["code", "slow"]
    assert outputs_from_json("tenant", told) == outputs


def test_the_memory_for_counting_clients_is_bounded() -> None:
    def sizes(count: int) -> list[int]:
        routes = [
            RouteTarget("health", f"app-{number}", "x", "/", "x", "web", 1, limits=LimitsTarget(1))
            for number in range(count)
        ]
        return [int(size) for size in re.findall(r"limit_req_zone .*:([0-9]+)k ", shared(routes))]

    assert sizes(0) == []
    assert sizes(1) == [1024]
    assert sum(sizes(100)) <= 16 * 1024
    # nginx takes no less.
    assert set(sizes(1000)) == {32}


def test_an_entry_point_reaches_and_is_let_in_by_its_own_zone_alone(full: dict[str, Recording]) -> None:
    for policy, gateway, zone in (
        ("platform-application/gateway-to-health-code", "gateway", "health-internet/code"),
        ("platform-application-extranet/gateway-extranet", "gateway-extranet", "health-extranet/vaccination"),
    ):
        namespace = policy.partition("/")[0]
        leaves = one(full, "NetworkPolicy", policy).inputs["spec"]
        (target,) = leaves["egress"][0]["to"]
        assert target["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": zone.partition("/")[0]}
        assert leaves["podSelector"]["matchLabels"]["app.kubernetes.io/name"] == gateway
        (peer,) = one(full, "NetworkPolicy", f"{zone}-from-entry").inputs["spec"]["ingress"][0]["from"]
        assert peer["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": namespace}
        assert peer["podSelector"]["matchLabels"]["app.kubernetes.io/name"] == gateway
    names = {item.name for item in objects(full, "NetworkPolicy")}
    assert "platform-application/gateway-to-health-vaccination" not in names
    labels = one(full, "Namespace", "platform-application-extranet").inputs["metadata"]["labels"]
    assert labels["wecity.dev/zone"] == "extranet"


def test_a_city_whose_routes_are_all_in_the_internet_has_the_one_entry_point_it_had() -> None:
    recorded = record_city(city(app("code"), app("inner", zone="extranet", route=None)))
    assert [item.name for item in objects(recorded, "Deployment") if "gateway" in item.name] == [
        "platform-application/gateway"
    ]
    (service,) = [item for item in objects(recorded, "Service") if item.inputs["spec"].get("type") == "NodePort"]
    assert service.name == "platform-application/entry"
    assert service.inputs["spec"]["externalTrafficPolicy"] == "Local"


@pytest.mark.parametrize("provider", vendors())
def test_on_a_vendors_cloud_entry_points_are_at_the_landing_zones_balancers(provider: ProviderKind) -> None:
    zones = {"internet": "lb-1", "extranet": "lb-2"}
    provisioned = LandingOutputs("main", provider, "", "", "net-1", {}, "c-1", balancers=zones)
    cloud = Cloud("main", provider, ("internet", "extranet", "ex"))
    whole = city(app("code"), app("desk", zone="extranet"), app("hub", zone="ex"), clouds=(cloud,))
    recorded = record_city(replace(whole, entry=Entry(tls=EntryTLS(enabled=True))), provisioned=provisioned)
    spaces = {"internet": "platform-application", "extranet": "platform-application-extranet"}
    for zone, space in spaces.items():
        service = one(recorded, "Service", f"{space}/entry").inputs
        assert service["metadata"]["annotations"][vendors()[provider].balancers.annotation] == zones[zone]
        assert service["spec"]["type"] == "LoadBalancer"
        assert [port["port"] for port in service["spec"]["ports"]] == [80, 443]
    # Nobody asked for one at the exchange: its apps are reached by declared flows.
    assert one(recorded, "Service", "platform-application-ex/entry").inputs["spec"]["type"] == "NodePort"
    outputs = recorded["xc.entry"].outputs
    assert isinstance(outputs, EntryOutputs)
    assert (outputs.node_port, outputs.others[0].node_port) == (0, 0)


@pytest.mark.parametrize("provider", vendors())
def test_claims_on_a_landing_zones_cluster_name_a_class_that_is_made_and_encrypted(provider: ProviderKind) -> None:
    provisioned = LandingOutputs("main", provider, "", "", "net-1", {}, "c-1", key="key-1")
    settings = OpenStackSettings(volume_type="luks") if provider == "openstack" else VendorSettings()
    cloud = Cloud("main", provider, ("internet", "extranet", "ex"), settings=settings)
    whole = city(app("code"), clouds=(cloud,))
    recorded = record_city(whole, provisioned=provisioned)
    (made,) = objects(recorded, "StorageClass")
    assert keeps_volumes_encrypted(made)
    assert made.inputs["volumeBindingMode"] == "WaitForFirstConsumer"
    parameters = made.inputs["parameters"]
    assert {"alicloud": "kmsKeyId", "huaweicloud": "everest.io/crypt-key-id"}.get(provider, "") in {*parameters, ""}
    assert {parameters[name] for name in parameters if "key" in name.lower()} <= {"key-1"}
    claims = some(objects(recorded, "PersistentVolumeClaim"))
    assert {item.inputs["spec"]["storageClassName"] for item in claims} == {made.inputs["metadata"]["name"]}
    # What the file names is taken as it is.
    named = replace(cloud, kubernetes=KubernetesSettings(storage_class="gold"))
    other = record_city(replace(whole, clouds=(named,)), replace(CLUSTER, storage_class="gold"), provisioned)
    assert not objects(other, "StorageClass")
    assert {item.inputs["spec"]["storageClassName"] for item in objects(other, "PersistentVolumeClaim")} == {"gold"}


def test_volumes_that_cannot_be_encrypted_are_not_said_to_be() -> None:
    plain = record_city(
        city(app("code"), clouds=(Cloud("main", "openstack", ("internet", "extranet", "ex")),)), provisioned=LANDED
    )
    assert not keeps_volumes_encrypted(*objects(plain, "StorageClass"))
    clouds = (Cloud("main", "alicloud", ("internet", "extranet", "ex")),)
    sm = record_city(city(app("code"), clouds=clouds, compliance=Compliance(sm=True)), provisioned=LANDED)
    assert not keeps_volumes_encrypted(*objects(sm, "StorageClass"))


def test_a_gateway_tied_to_a_zone_serves_that_one_and_others_have_their_own() -> None:
    whole = city(app("code"), app("desk", zone="extranet"), app("hub", zone="ex"))
    tied = replace(whole.platforms[0].capabilities[0], zone="extranet")
    platform = replace(whole.platforms[0], capabilities=(tied, *whole.platforms[0].capabilities[1:]))
    outputs = record_city(replace(whole, platforms=(platform,)))["xc.entry"].outputs
    assert isinstance(outputs, EntryOutputs)
    assert outputs.hosts == ("desk.xc.example",)
    assert {item.zone: item.hosts for item in outputs.others} == {
        "internet": ("code.xc.example",),
        "ex": ("hub.xc.example",),
    }


def test_an_app_that_serves_tls_has_a_certificate_which_the_gateway_asks_for() -> None:
    parts = (replace(WEB, health_path="/healthz"), replace(WEB, name="worker", ports={"http": 9090}))
    secure = app("code", route=Route("code", tls=True), components=parts)
    whole = city(secure, app("plain"))
    recorded = record_city(whole)
    web = one(recorded, "Deployment", "health-internet/code-web").inputs["spec"]["template"]["spec"]
    (container,) = web["containers"]
    mount = next(item for item in container["volumeMounts"] if item["mountPath"] == "/tls")
    volume = next(item for item in web["volumes"] if item["name"] == mount["name"])
    assert one(recorded, "Secret", f"health-internet/{volume['secret']['secretName']}")
    assert {"name": "TLS_DIRECTORY", "value": "/tls"} in container["env"]
    for probe in ("readinessProbe", "livenessProbe", "startupProbe"):
        assert container[probe]["httpGet"]["scheme"] == "HTTPS"
    for other in ("code-worker", "plain-web"):
        spec = one(recorded, "Deployment", f"health-internet/{other}").inputs["spec"]["template"]["spec"]
        assert "/tls" not in {item["mountPath"] for item in spec["containers"][0]["volumeMounts"]}
    data = one(recorded, "ConfigMap", "routes").inputs["data"]
    assert data["routes.conf"].count("proxy_pass https://") == 1
    assert data["routes.conf"].count("proxy_pass http://") == 1
    assert "proxy_ssl_name code-web.health-internet.svc;" in data["routes.conf"]
    assert data["apps-authority.crt"] == "value-of-service/authority"
    plan = make_plan(whole, load_catalogue())
    holders = [stack.name for stack in plan.stacks if "service/health/code/tls" in stack.secrets]
    assert holders == ["xc.tenant.health.main"]
    # Nobody else's routes change by it.
    assert "apps-authority.crt" not in one(record_city(city(app("plain"))), "ConfigMap", "routes").inputs["data"]


def test_entry_points_have_keys_of_their_own_and_no_stack_is_given_the_authoritys() -> None:
    plan = make_plan(full_city(), load_catalogue())
    assert plan.stack("xc.entry").secrets == ("entry/gateway/tls", "entry/gateway-extranet/tls", "entry/authority")
    keys = {key for stack in plan.stacks if stack.name != "xc.entry" for key in stack.secrets}
    assert not [key for key in keys if key.startswith(("entry/", "city/entry"))]
    given = replace(full_city(), entry=Entry(tls=EntryTLS(certificates={"internet": "health/entry-tls"})))
    assert make_plan(given, load_catalogue()).stack("xc.entry").secrets[0] == "tenant/health/entry-tls"
    off = replace(full_city(), entry=Entry(tls=EntryTLS(enabled=False)))
    assert make_plan(off, load_catalogue()).stack("xc.entry").secrets == ()
    recorded = record_city(off)
    assert "ssl" not in one(recorded, "ConfigMap", "routes").inputs["data"]["routes.conf"]
    adopted = replace(full_city(), clouds=(replace(full_city().clouds[0], provider="kubernetes"),))
    assert make_plan(adopted, load_catalogue()).stack("xc.entry").secrets == ()


def test_no_text_of_the_routes_is_longer_than_nginx_reads() -> None:
    routes = [
        RouteTarget("health", f"app-{number}", f"app-{number}.xc.example", "/", "health-internet", "web", 8080)
        for number in range(200)
    ]
    text = render_routes("xc.example", "xc", routes)
    texts = re.findall(r"'([^']*)'", text)
    assert max(map(len, texts)) <= 4000
    assert "".join(texts).count("<li>") == 200
    assert "return 200 '<!doctype html>" in render_routes("xc.example", "xc", routes[:20])


def test_labels_of_the_files_are_on_namespaces_and_apps() -> None:
    whole = city(app("code", labels={"tier": "gold"}, uses=(Use("postgresql", "db"),)))
    whole = replace(whole, tenants=(replace(whole.tenants[0], labels={"level": "city"}),))
    recorded = record_city(whole)
    assert one(recorded, "Namespace", "health-internet").inputs["metadata"]["labels"]["level"] == "city"
    deployment = one(recorded, "Deployment", "health-internet/code-web").inputs
    assert deployment["metadata"]["labels"]["tier"] == "gold"
    assert deployment["spec"]["template"]["metadata"]["labels"]["tier"] == "gold"
    assert "tier" not in deployment["spec"]["selector"]["matchLabels"]
    # A Job's template cannot change, and the labels may.
    assert all("tier" not in json.dumps(dict(job.inputs)) for job in objects(recorded, "Job"))


def test_texts_and_files_of_a_component_arrive_as_they_are_written() -> None:
    part = replace(
        WEB, command=("/bin/sh", "-c", "echo $(APP_NAME) $$"), env={"A": "$(APP_NAME)", "B": "$x"}, secrets=("sms-key",)
    )
    files = {"/etc/应用 配置.conf": "a", "/etc/plain.conf": "b"}
    recorded = record_city(city(app("code", components=(replace(part, files=files),))))
    (container,) = one(recorded, "Deployment", "health-internet/code-web").inputs["spec"]["template"]["spec"][
        "containers"
    ]
    assert container["command"] == ["/bin/sh", "-c", "echo $$(APP_NAME) $$$"]
    values = {item["name"]: item.get("value") for item in container["env"]}
    assert (values["A"], values["B"], values["SMS_KEY"]) == ("$$(APP_NAME)", "$x", None)
    mounts = {item["mountPath"]: item["subPath"] for item in container["volumeMounts"] if "subPath" in item}
    assert mounts["/etc/plain.conf"].endswith("-plain.conf")
    data = one(recorded, "ConfigMap", "health-internet/code-web-files").inputs["data"]
    assert {path: data[key] for path, key in mounts.items()} == files
    assert all(re.fullmatch("[A-Za-z0-9._-]{1,253}", key) for key in data)


def test_the_entry_keeps_the_routes_of_a_tenant_whose_removal_is_not_confirmed(full: dict[str, Recording]) -> None:
    plan = make_plan(city(app("code")), load_catalogue())
    upstream = {name: recording.outputs for name, recording in record_city(plan.city).items()}
    inputs = inputs_for(plan, "xc.entry", upstream)
    left = full["xc.tenant.transport.main"].outputs
    recording = record(replace(inputs, upstream={**inputs.upstream, "xc.tenant.transport.main": left}))
    routes = one({"xc.entry": recording}, "ConfigMap", "routes").inputs["data"]["routes.conf"]
    assert "server_name code.xc.example;" in routes
    assert "server_name bus.xc.example;" in routes


def test_a_suspended_app_has_no_pods_and_a_page_that_says_so() -> None:
    recorded = record_city(city(app("code", stage="suspended"), app("other")))
    assert one(recorded, "Deployment", "health-internet/code-web").inputs["spec"]["replicas"] == 0
    routes = one(recorded, "ConfigMap", "routes").inputs["data"]["routes.conf"]
    assert "server_name code.xc.example;" in routes
    assert "code-web.health-internet" not in routes
    assert routes.count("return 503 ") == 1
    # Nothing may go from the gateway to it.
    names = {item.name.rpartition("/")[2] for item in objects(recorded, "NetworkPolicy")}
    assert "gateway-to-health-other" in names
    assert names.isdisjoint({"gateway-to-health-code", "code-from-entry"})


@pytest.mark.parametrize("stage", ["draft", "retired"])
def test_an_app_that_does_not_run_has_no_objects(stage: str) -> None:
    recorded = record_city(city(app("code", stage=stage), app("other")))
    assert not [item for item in objects(recorded) if "code" in item.name]


def test_on_a_cluster_with_an_ingress_class_routes_are_ingresses() -> None:
    settings = KubernetesSettings(ingress_class="nginx", zone_ingress_classes={"extranet": "inner"})
    whole = city(app("code"), app("desk", zone="extranet"), app("hub", zone="ex"))
    whole = replace(whole, clouds=(replace(whole.clouds[0], provider="kubernetes", kubernetes=settings),))
    recorded = record_city(whole, replace(CLUSTER, ingress_class="nginx"))
    found = {item.inputs["spec"]["rules"][0]["host"]: item.inputs["spec"] for item in objects(recorded, "Ingress")}
    # Of the zone without a class nothing is served; `validate` refuses such files.
    assert {host: spec["ingressClassName"] for host, spec in found.items()} == {
        "code.xc.example": "nginx",
        "desk.xc.example": "inner",
    }
    assert not [item for item in objects(recorded, "Service") if item.inputs["spec"].get("type") == "NodePort"]


def test_pods_tolerate_simulated_nodes_only_where_nodes_are_simulated(full: dict[str, Recording]) -> None:
    simulated = record_city(full_city(), replace(CLUSTER, simulated=True))
    spec = one(simulated, "Deployment", "transport-internet/bus-web").inputs["spec"]["template"]["spec"]
    assert spec["tolerations"][0]["key"] == "wecity.dev/simulated"
    assert "tolerations" not in one(full, "Deployment", "transport-internet/bus-web").inputs["spec"]["template"]["spec"]


def test_a_private_registry_takes_the_place_of_public_hosts() -> None:
    components = (replace(app("x").components[0], image="docker.io/acme/portal:2"),)
    whole = city(app("code", components=components), images=Images(registry="registry.xc.example/mirror"))
    spec = one(record_city(whole), "Deployment", "health-internet/code-web").inputs["spec"]["template"]["spec"]
    assert spec["containers"][0]["image"] == "registry.xc.example/mirror/acme/portal:2"


def test_renaming_nothing_else_a_second_use_adds_only_its_own_objects() -> None:
    before = {item.urn for item in objects(record_city(city(app("code", uses=(Use("postgresql", "db"),)))))}
    after = {
        item.urn
        for item in objects(record_city(city(app("code", uses=(Use("postgresql", "db"), Use("cache", "cache"))))))
    }
    assert before <= after
    assert all("cache" in urn for urn in some(after - before))


def test_outputs_travel_as_json(full: dict[str, Recording]) -> None:
    outputs = full["xc.tenant.health.main"].outputs
    assert isinstance(outputs, TenantOutputs)
    assert outputs_from_json("tenant", json.loads(json.dumps(to_json(outputs)))) == outputs
    with pytest.raises(ValueError, match="expects"):
        outputs_from_json("tenant", {"tenant": "x"})


def test_recording_twice_gives_the_same_graph(full: dict[str, Recording]) -> None:
    again = record_city(full_city())
    for name, recording in full.items():
        assert {item.urn: dict(item.inputs) for item in recording.resources} == {
            item.urn: dict(item.inputs) for item in again[name].resources
        }


def test_the_recorder_leaves_no_event_loop_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """An open one may print a traceback when the interpreter ends."""
    made: list[asyncio.AbstractEventLoop] = []
    new = asyncio.new_event_loop

    def keep() -> asyncio.AbstractEventLoop:
        made.append(new())
        return made[-1]

    monkeypatch.setattr(asyncio, "new_event_loop", keep)
    record_city(city(app("health-code")))
    assert made
    assert all(loop.is_closed() for loop in made)


def test_a_changed_limit_is_a_new_job_under_the_same_name_in_the_state() -> None:
    def jobs(**limits: int) -> dict[str, tuple[str, str]]:
        uses = (Use("postgresql", "db", **limits), Use("cache", "cache"))
        found = objects(record_city(city(app("code", uses=uses))), "Job")
        return {item.name: (item.urn, item.inputs["metadata"]["name"]) for item in found}

    before, after = jobs(), jobs(connections=7)
    changed = {name for name in before if before[name][1] != after[name][1]}
    assert changed == {"provision-health-code-db"}
    assert {name: urn for name, (urn, _) in before.items()} == {name: urn for name, (urn, _) in after.items()}


def test_a_guard_takes_its_part_of_what_the_capability_asks_for(full: dict[str, Recording]) -> None:
    for name in ("postgresql", "cache"):
        kind = load_catalogue()[name]
        containers = one(full, "StatefulSet", f"platform-application/{name}").inputs["spec"]["template"]["spec"]
        requests = [item["resources"]["requests"] for item in containers["containers"]]
        for resource, whole in (("cpu", kind.pods[0].cpu), ("memory", kind.pods[0].memory)):
            assert sum(parse_quantity(item[resource]) for item in requests) == parse_quantity(whole)


def test_a_capability_has_its_own_certificate_and_an_app_the_authority_alone(full: dict[str, Recording]) -> None:
    plan = make_plan(full_city(), load_catalogue())
    services = {stack.name: {key for key in stack.secrets if key.startswith("service/")} for stack in plan.stacks}
    own = {"service/postgresql/tls", "service/cache/tls", "service/authority"}
    assert {name: keys for name, keys in services.items() if keys} == {
        "xc.platform.application.main": own,
        "xc.tenant.health.main": {"service/authority"},
        "xc.tenant.transport.main": {"service/authority"},
    }
    assert not [key for stack in plan.stacks for key in stack.secrets if key.startswith("city/service")]
    for name in ("postgresql", "cache"):
        secret = one(full, "Secret", f"platform-application/{name}-tls")
        assert secret.urn in one(full, "StatefulSet", f"platform-application/{name}").depends_on
    pods = [item.inputs["spec"]["template"]["spec"] for item in objects(full, "Job")]
    (volumes,) = {json.dumps(volume) for pod in pods for volume in pod["volumes"] if "postgresql" in json.dumps(volume)}
    # A Job that knows the administrator's password has no use for the server's key.
    assert json.loads(volumes)["secret"]["items"] == [{"key": "ca.crt", "path": "ca.crt"}]


def test_a_renewed_certificate_restarts_no_server(full: dict[str, Recording]) -> None:
    plan = make_plan(full_city(), load_catalogue())
    inputs = inputs_for(plan, "xc.platform.application.main", {"xc.base.main": full["xc.base.main"].outputs})
    other = {key: "another" if key.startswith("service/") else value for key, value in inputs.secrets.items()}
    after = {"x": record(replace(inputs, secrets=other))}
    for name in ("postgresql", "cache"):
        where = f"platform-application/{name}"
        assert one(full, "StatefulSet", where).inputs == one(after, "StatefulSet", where).inputs


def test_tls_can_be_turned_off_for_one_capability() -> None:
    def recorded(tls: bool | None) -> dict[str, Recording]:
        items = tuple(replace(item, tls=None if item.type == "gateway" else tls) for item in application().capabilities)
        uses = (Use("postgresql", "db"), Use("cache", "cache"))
        return record_city(city(app("code", uses=uses), platforms=(Platform("application", items),)))

    on, off = recorded(None), recorded(False)
    assert {item.name for item in objects(on)} - {item.name for item in objects(off)} == {
        "platform-application/postgresql-tls",
        "platform-application/cache-tls",
    }
    for found, access, port in ((on, "hostssl all all all", "tls-port 6379"), (off, "host all all all", "port 6379")):
        pod = one(found, "StatefulSet", "platform-application/postgresql").inputs["spec"]["template"]["spec"]
        lines = pod["initContainers"][0]["command"][-1].splitlines()
        assert [line for line in lines if "all all all" in line] == [f"{access} scram-sha-256"]
        settings = one(found, "ConfigMap", "platform-application/cache-configuration").inputs["data"]["cache.conf"]
        assert port in settings.splitlines()
        assert ("port 0" in settings.splitlines()) == ("ssl=on" in pod["containers"][0]["command"][-1])
    # The Job is another: what it has made is made again over the other kind of connection.
    names = [{item.inputs["metadata"]["name"] for item in objects(found, "Job")} for found in (on, off)]
    assert [len(names[0] - names[1]), len(names[1] - names[0])] == [4, 4]
