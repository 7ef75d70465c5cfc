"""What the fields of a component become: ports, probes, entries of bindings, CronJobs and Jobs before a release."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tests.stacks.cities import WEB, app, city, objects, one, record_city, services_of_jobs
from wecityctl.model.city import City, Component, Probe, Probes, Route, Strategy, Use, Volume
from wecityctl.model.quantity import parse_quantity
from wecityctl.model.rollouts import Share, declared, with_shares
from wecityctl.model.shares import demand_of, surge_of

IMAGE = "catalogue:sample-app"
DB = Use("postgresql", "db")
MIGRATE = Component("migrate", IMAGE, run="before-release", timeout="10m", env={"URL": "${db.uri}"})


def container(item: Any) -> Mapping[str, Any]:
    (found,) = item.inputs["spec"]["template"]["spec"]["containers"]
    return dict(found)


def test_a_component_has_all_its_ports_and_the_route_leads_to_one() -> None:
    part = replace(WEB, ports={"grpc": 9090, "http": 8080})
    recorded = record_city(city(app("code", components=(part,), route=Route("code", port="http"))))
    service = one(recorded, "Service", "health-internet/code-web").inputs["spec"]
    assert [(item["name"], item["port"], item["targetPort"]) for item in service["ports"]] == [
        ("grpc", 9090, "grpc"),
        ("http", 8080, "http"),
    ]
    runner = container(one(recorded, "Deployment", "health-internet/code-web"))
    assert [(item["name"], item["containerPort"]) for item in runner["ports"]] == [("grpc", 9090), ("http", 8080)]
    variables = {item["name"]: item.get("value") for item in runner["env"]}
    assert (variables["PORT"], variables["PORT_GRPC"], variables["PORT_HTTP"]) == ("9090", "9090", "8080")
    (rule,) = one(recorded, "NetworkPolicy", "health-internet/code-from-entry").inputs["spec"]["ingress"]
    assert rule["ports"] == [{"protocol": "TCP", "port": 8080}]


def test_a_route_leads_to_the_component_that_it_names() -> None:
    other = replace(WEB, name="other")
    recorded = record_city(city(app("code", components=(other, WEB), route=Route("code", component="web"))))
    policy = one(recorded, "NetworkPolicy", "health-internet/code-from-entry").inputs["spec"]
    assert policy["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "web"


def test_entries_of_bindings_are_read_from_their_secret() -> None:
    env = {"URL": "${db.uri}", "DSN": "host=${db.host} $${db.host} $(X)", "PLAIN": "${HOME}"}
    recorded = record_city(city(app("code", components=(replace(WEB, env=env),), uses=(DB,))))
    entries = container(one(recorded, "Deployment", "health-internet/code-web"))["env"]
    found = {item["name"]: item for item in entries}
    key = {"secretKeyRef": {"name": "code-binding-db", "key": "uri"}}
    assert found["URL"] == {"name": "URL", "valueFrom": key}
    assert found["BINDING_DB_HOST"]["valueFrom"]["secretKeyRef"]["key"] == "host"
    assert found["DSN"]["value"] == "host=$(BINDING_DB_HOST) ${db.host} $$(X)"
    assert found["PLAIN"]["value"] == "${HOME}"
    names = [item["name"] for item in entries]
    assert names.index("BINDING_DB_HOST") < names.index("DSN")


def test_a_new_version_replaces_the_old_one_as_stated() -> None:
    def strategy(stated: Strategy | None, replicas: int = 2) -> tuple[object, int]:
        found = app("code", components=(replace(WEB, replicas=replicas, strategy=stated),))
        made = one(record_city(city(found)), "Deployment", "health-internet/code-web").inputs["spec"]["strategy"]
        return made, int(surge_of(found).memory / parse_quantity(WEB.resources.memory))

    def rolling(surge: int, unavailable: int) -> object:
        return {"rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}

    assert strategy(None) == (rolling(1, 1), 0)
    assert strategy(None, 1) == (rolling(1, 0), 1)
    assert strategy(Strategy(unavailable=0)) == (rolling(1, 0), 1)
    assert strategy(Strategy(surge=2, unavailable=0)) == (rolling(2, 0), 2)
    assert strategy(Strategy(surge=0)) == (rolling(0, 1), 0)
    assert strategy(Strategy("recreate")) == ({"type": "Recreate"}, 0)


def with_canary(weight: int, part: Component = WEB) -> City:
    new = replace(part, image="registry.example/web:2", ports={"http": 9090})
    stable = replace(part, strategy=Strategy("canary", steps=(10, 50)))
    parts = (stable, replace(MIGRATE, env={}))
    files = city(app("code", components=(replace(new, strategy=stable.strategy), *parts[1:])))
    return with_shares(files, {("health", "code"): (Share("web", stable, new, weight),)})


def test_a_canary_has_objects_of_its_own_and_its_share_at_the_gateway() -> None:
    whole = with_canary(10)
    recorded = record_city(whole)
    canary = one(recorded, "Deployment", "health-internet/code-web-canary")
    assert container(canary)["image"] == "registry.example/web:2"
    assert (canary.inputs["spec"]["replicas"], canary.inputs["spec"]["progressDeadlineSeconds"]) == (1, 130)
    assert "annotations" not in canary.inputs["metadata"]
    stable = one(recorded, "Deployment", "health-internet/code-web")
    assert container(stable)["image"] == "registry.example/sample-app:1"
    assert "progressDeadlineSeconds" not in stable.inputs["spec"]
    service = one(recorded, "Service", "health-internet/code-web-canary").inputs
    labels = {**service["spec"]["selector"]}
    assert labels["app.kubernetes.io/component"] == "web-canary"
    policy = one(recorded, "NetworkPolicy", "health-internet/code-canary-from-entry").inputs["spec"]
    assert policy["podSelector"]["matchLabels"] == labels
    assert policy["ingress"][0]["ports"] == [{"protocol": "TCP", "port": 9090}]
    leaves = one(recorded, "NetworkPolicy", "platform-application/gateway-to-health-code").inputs["spec"]["egress"]
    assert [item["port"] for item in leaves[0]["ports"]] == [8080, 9090]
    routes = one(recorded, "ConfigMap", "routes").inputs["data"]["routes.conf"]
    inside = "health-internet.svc.cluster.local"
    assert f"  10% code-web-canary.{inside}:9090;\n  * code-web.{inside}:8080;\n" in routes
    assert "proxy_pass http://$backend_0;" in routes


def test_a_canary_that_ends_gets_no_requests_and_is_not_waited_for() -> None:
    recorded = record_city(with_canary(0))
    canary = one(recorded, "Deployment", "health-internet/code-web-canary")
    assert canary.inputs["metadata"]["annotations"] == {"pulumi.com/skipAwait": "true"}
    assert "split_clients" not in one(recorded, "ConfigMap", "routes").inputs["data"]["routes.conf"]


def test_the_quota_and_the_migration_are_those_of_the_files_all_the_time() -> None:
    running = with_canary(10)
    files = replace(running, apps=tuple(map(declared, running.apps)))

    def found(whole: City) -> list[object]:
        recorded = record_city(whole)
        jobs = [item.inputs["metadata"]["name"] for item in objects(recorded, "Job") if "migrate" in item.name]
        return [*jobs, one(recorded, "ResourceQuota", "health-internet/quota").inputs]

    assert found(running) == found(files)


def test_probes_are_as_stated() -> None:
    probes = Probes(Probe("/ready", every=5, timeout=3), Probe(failures=6), start_seconds=300)
    part = replace(WEB, health_path="", probes=probes)
    runner = container(
        one(record_city(city(app("code", components=(part,)))), "Deployment", "health-internet/code-web")
    )
    assert runner["readinessProbe"] == {
        "httpGet": {"path": "/ready", "port": "http"},
        "periodSeconds": 5,
        "timeoutSeconds": 3,
        "failureThreshold": 3,
    }
    assert runner["livenessProbe"]["tcpSocket"] == {"port": "http"}
    assert runner["livenessProbe"]["failureThreshold"] == 6
    assert (runner["startupProbe"]["periodSeconds"], runner["startupProbe"]["failureThreshold"]) == (1, 300)


def test_a_container_is_limited_and_run_as_stated() -> None:
    part = replace(WEB, cpu_limit="2", user=10001, read_only_root=False, command=("/app",), args=("--at", "$(X)"))
    deployment = one(record_city(city(app("code", components=(part,)))), "Deployment", "health-internet/code-web")
    runner = container(deployment)
    assert runner["resources"]["limits"] == {"cpu": "2", "memory": part.resources.memory}
    assert runner["securityContext"]["readOnlyRootFilesystem"] is False
    assert (runner["command"], runner["args"]) == (["/app"], ["--at", "$$(X)"])
    security = deployment.inputs["spec"]["template"]["spec"]["securityContext"]
    assert (security["runAsUser"], security["runAsGroup"], security["runAsNonRoot"]) == (10001, 10001, True)


def test_a_schedule_is_a_cron_job() -> None:
    part = Component("report", IMAGE, schedule="0 3 * * *", concurrency="replace", timeout="30m")
    for stage, suspended in (("published", False), ("suspended", True)):
        recorded = record_city(city(app("code", components=(WEB, part), stage=stage)))
        spec = one(recorded, "CronJob", "health-internet/code-report").inputs["spec"]
        assert (spec["schedule"], spec["timeZone"], spec["suspend"]) == ("0 3 * * *", "Asia/Shanghai", suspended)
        assert spec["concurrencyPolicy"] == "Replace"
        job = spec["jobTemplate"]["spec"]
        assert job["activeDeadlineSeconds"] == 1800
        assert job["template"]["spec"]["restartPolicy"] == "Never"
        assert {item.inputs["metadata"]["name"] for item in objects(recorded, "Deployment")} >= {"code-web"}
        assert not [item for item in objects(recorded, "Service") if "report" in item.name]
        assert services_of_jobs(recorded) == []


def test_a_release_waits_for_its_job_and_each_version_has_another() -> None:
    names = set()
    for image in (IMAGE, "registry.example/health/web:2"):
        web = replace(WEB, image=image)
        recorded = record_city(city(app("code", components=(web, MIGRATE), uses=(DB,), route=None)))
        (job,) = [item for item in objects(recorded, "Job") if "migrate" in item.name]
        assert job.urn in one(recorded, "Deployment", "health-internet/code-web").depends_on
        assert job.inputs["spec"]["activeDeadlineSeconds"] == 600
        assert services_of_jobs(recorded) == []
        names.add(job.inputs["metadata"]["name"])
    assert len(names) == 2
    scaled = replace(WEB, replicas=5)
    recorded = record_city(city(app("code", components=(scaled, MIGRATE), uses=(DB,), route=None)))
    (job,) = [item for item in objects(recorded, "Job") if "migrate" in item.name]
    assert job.inputs["metadata"]["name"] in names, "another number of replicas is no other version"


def test_a_volume_is_a_claim_of_its_own_that_stays() -> None:
    part = replace(WEB, replicas=1, volumes=(Volume("uploads", "/data", "5Gi"),))
    recorded = record_city(city(app("code", components=(part,))))
    claim = one(recorded, "PersistentVolumeClaim", "health-internet/code-web-uploads")
    assert claim.inputs["spec"]["resources"]["requests"] == {"storage": "5Gi"}
    assert claim.protect
    workload = one(recorded, "StatefulSet", "health-internet/code-web")
    assert claim.urn in workload.depends_on
    assert workload.inputs["spec"]["replicas"] == 1
    assert {"name": "volume-uploads", "mountPath": "/data"} in container(workload)["volumeMounts"]
    assert not [item for item in objects(recorded, "Deployment") if "code-web" in item.name]
    assert demand_of(app("code", components=(part,))).storage == 5 * 1024**3


def test_a_suspended_app_runs_no_job_before_a_release() -> None:
    recorded = record_city(city(app("code", components=(WEB, MIGRATE), uses=(DB,), stage="suspended")))
    assert not [item for item in objects(recorded, "Job") if "migrate" in item.name]
