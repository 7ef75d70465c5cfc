"""Metrics and alerts as objects: who scrapes what, whose series are whose, and who is told."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from stacks.catalogue import load_catalogue
from stacks.pem import end_of
from stacks.platforms.operations import metrics
from stacks.platforms.operations.alerts.rules import DEFAULT, backups_missing, groups, longest_pause
from stacks.platforms.operations.metrics.program import store_command
from tests.stacks.cities import CLUSTER, WEB, app, application, city, full_city, inputs_for, objects, one, record_city
from wecityctl.dashboards.panels import APP, CITY, TENANT
from wecityctl.engine.sdk.recorder import record
from wecityctl.engine.secrets.certificate_names import issued
from wecityctl.engine.secrets.certificates import renewed
from wecityctl.model.city import Alerts, Backup, Capability, City, Compliance, Metrics, Platform, Route, Use
from wecityctl.model.entries import AUTHORITY_KEY
from wecityctl.model.naming import NAME_LABEL
from wecityctl.model.outputs import Outputs
from wecityctl.model.quantity import parse_quantity
from wecityctl.model.service_tls import SERVICE_AUTHORITY_KEY
from wecityctl.plan import make_plan
from wecityctl.resource_graph import RecordedResource, Recording

PLACE = "platform-operations"
IMAGE = Path(metrics.__file__).parent / "image"
SERVING = replace(WEB, metrics=Metrics())
HEALTH = Alerts("https://oncall.example/health", ("10.8.4.0/24",))
OTHER = replace(WEB, name="api", ports={"http": 8080, "admin": 9100}, metrics=Metrics("admin", "/numbers"))


def watched(**changes: Any) -> City:
    """Two tenants, of which one is told alerts, and a capability that serves metrics."""
    found = city(
        app("code", components=(SERVING, OTHER), uses=(Use("metrics", "metrics"),)),
        app("bus", tenant="transport", components=(SERVING,)),
        app("quiet", tenant="transport"),
        app("off", tenant="transport", stage="suspended", components=(SERVING,)),
        platforms=(
            application(Capability("application", "identity", "identity")),
            Platform(
                "operations",
                (Capability("operations", "metrics", "metrics"), Capability("operations", "alerts", "alerts")),
            ),
        ),
        alerts=Alerts("https://192.0.2.8:8443/city"),
        **changes,
    )
    health, transport = found.tenants
    return replace(found, tenants=(replace(health, alerts=HEALTH), transport))


@pytest.fixture(scope="module")
def recorded() -> dict[str, Recording]:
    return record_city(watched())


def _scraped(recorded: dict[str, Recording]) -> dict[str, Any]:
    files = one(recorded, "ConfigMap", f"{PLACE}/metrics-scraping").inputs["data"]
    return {item["job_name"]: item for item in json.loads(files["scrape.yaml"])["scrape_configs"]}


def _policy(recorded: dict[str, Recording], name: str) -> dict[str, Any]:
    found: RecordedResource = one(recorded, "NetworkPolicy", name)
    return dict(found.inputs["spec"])


def test_what_is_scraped_follows_from_the_files(recorded: dict[str, Recording]) -> None:
    jobs = _scraped(recorded)
    assert set(jobs) == {
        "state",
        "usage",
        "operations/metrics/8429",
        "operations/alerts/8881",
        "application/gateway/8081",
        "application/identity/9000",
        "health/code/web/8080",
        "health/code/api/9100",
        "transport/bus/web/8080",
    }
    assert (jobs["usage"]["metrics_path"], jobs["usage"]["scrape_interval"]) == ("/usage", "60s")
    api = jobs["health/code/api/9100"]
    assert api["metrics_path"] == "/numbers"
    assert api["kubernetes_sd_configs"][0]["namespaces"] == {"names": ["health-internet"]}
    # What a pod says of itself does not count: these labels take the place of its own.
    assert "honor_labels" not in api
    labels = {
        item["target_label"]: item.get("replacement") for item in api["relabel_configs"] if "target_label" in item
    }
    assert labels.items() >= {"tenant": "health", "app": "code", "component": "api"}.items()
    assert min(api[key] for key in ("sample_limit", "series_limit", "label_limit")) > 0
    assert api["follow_redirects"] is False
    identity = jobs["application/identity/9000"]
    assert identity["metrics_path"] == "/auth/metrics"
    assert identity["tls_config"]["server_name"] == "identity.platform-application.svc"


def test_an_app_cannot_make_up_series_of_the_city(recorded: dict[str, Recording]) -> None:
    jobs = _scraped(recorded)
    *_, rename, copy, drop = jobs["health/code/web/8080"]["metric_relabel_configs"]
    assert rename["source_labels"] == ["__name__"] and rename["target_label"] == "__name__"
    assert rename["replacement"] == "exported_$1" and rename.get("action", "replace") == "replace"
    # Nor series of a capability.
    assert (copy["action"], copy["replacement"], drop["action"]) == ("labelmap", "exported_$1", "labeldrop")
    assert all(re.fullmatch(step["regex"], name) for step in (copy, drop) for name in ("platform", "capability"))
    # Alerts and charts of the whole city read these: a node that is down, or thousands of alerts by thousands of `up`.
    files = one(recorded, "Secret", f"{PLACE}/alerts-files").inputs["stringData"]
    expressions = [
        *(rule["expr"] for rule in json.loads(files["rules.yaml"])["groups"][0]["rules"]),
        *(query for panel in (*APP, *TENANT, *CITY) for query in (panel.query, panel.limit) if query),
    ]
    read = {name for text in expressions for name in re.findall(r"\b(?:kube_|wecity_)\w+|\bALERTS\w*|\bup\b", text)}
    assert {"up", "kube_node_status_condition", "ALERTS"} <= read
    assert all(re.fullmatch(rename["regex"], name) for name in (*read, "ALERTS_FOR_STATE", "scrape_samples_scraped"))
    assert not any(re.fullmatch(rename["regex"], name) for name in ("uptime", "http_up", "process_cpu_seconds_total"))
    assert "metric_relabel_configs" not in jobs["state"]
    assert "metric_relabel_configs" not in jobs["application/identity/9000"]


def test_values_are_kept_for_more_than_a_year_of_bills(recorded: dict[str, Recording]) -> None:
    (store, _) = one(recorded, "StatefulSet", f"{PLACE}/metrics").inputs["spec"]["template"]["spec"]["containers"]
    assert " -retentionPeriod=400d " in store["command"][-1]


@pytest.mark.parametrize(("storage", "free"), [("100Gi", 256_000_000), ("1Gi", 2**30 // 20)])
def test_a_volume_is_told_as_nearly_full_before_the_store_takes_nothing(storage: str, free: int) -> None:
    """`VolumeNearFull` fires above 90 % of any volume, by way of the store."""
    options = list(store_command(2**27, int(parse_quantity(storage))))
    assert f"-storage.minFreeDiskSpaceBytes={free}" in options
    assert free < parse_quantity(storage) / 10


def test_the_observer_knows_whose_each_namespace_is(recorded: dict[str, Recording]) -> None:
    files = one(recorded, "ConfigMap", f"{PLACE}/metrics-scraping").inputs["data"]
    assert json.loads(files["namespaces.json"]) == {
        "health-internet": {"tenant": "health"},
        "transport-internet": {"tenant": "transport"},
        "platform-application": {"platform": "application"},
        PLACE: {"platform": "operations"},
    }


def test_jobs_on_a_capability_have_the_label_by_which_they_count_for_it(recorded: dict[str, Recording]) -> None:
    """The name on the pods of those that make an app's account is the app's."""
    jobs = [item.inputs for item in objects(recorded, "Job") if item.inputs["metadata"]["namespace"] == PLACE]
    found = [item["spec"]["template"]["metadata"]["labels"] for item in jobs]
    (own,) = [labels for labels in found if labels[NAME_LABEL] == "code"]
    (label,) = re.findall(r'worksOnLabel = "(.+)"', (IMAGE / "go/state/render.go").read_text())
    assert own[label] == "metrics"
    assert all(label in labels for labels in found)


def test_both_ends_of_a_scrape_are_opened_and_nothing_else(recorded: dict[str, Recording]) -> None:
    observer = {
        "app.kubernetes.io/name": "metrics",
        "app.kubernetes.io/component": "observer",
        "app.kubernetes.io/part-of": "operations",
    }
    api = _policy(recorded, "health-internet/code-api-metrics")
    assert api["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "api"
    assert api["ingress"] == [
        {
            "from": [
                {
                    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": PLACE}},
                    "podSelector": {"matchLabels": observer},
                }
            ],
            "ports": [{"protocol": "TCP", "port": 9100}],
        }
    ]
    out = _policy(recorded, f"{PLACE}/metrics-observes")
    assert out["podSelector"]["matchLabels"] == observer
    to = {
        (
            rule["to"][0]
            .get("namespaceSelector", {"matchLabels": {}})["matchLabels"]
            .get("kubernetes.io/metadata.name"),
            rule["ports"][0]["port"],
        )
        for rule in out["egress"]
    }
    assert to == {
        (None, 8428),
        ("platform-application", 8081),
        (PLACE, 8429),
        (PLACE, 8881),
        ("platform-application", 9000),
        ("health-internet", 8080),
        ("health-internet", 9100),
        ("transport-internet", 8080),
    }
    assert _policy(recorded, "platform-application/identity-metrics")["ingress"][0]["ports"][0]["port"] == 9000
    names = [item.name for item in objects(recorded, "NetworkPolicy") if item.name.endswith("-metrics")]
    assert "transport-internet/quiet-web-metrics" not in names


def test_each_zones_gateway_is_scraped_where_it_is_and_nobody_else_is_let_in() -> None:
    plain = watched()
    recorded = record_city(replace(plain, apps=(*plain.apps, app("inside", zone="extranet"))))
    jobs = _scraped(recorded)
    own = jobs["application/gateway-extranet/8081"]
    assert own["kubernetes_sd_configs"][0]["namespaces"] == {"names": ["platform-application-extranet"]}
    for place in ("platform-application/gateway", "platform-application-extranet/gateway-extranet"):
        peers = [
            (rule["from"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/component"], port["port"])
            for item in objects(recorded, "NetworkPolicy")
            if item.name.startswith(f"{place}-")
            for rule in item.inputs["spec"].get("ingress", ())
            for port in rule["ports"]
            if port["port"] == 8081
        ]
        assert peers == [("observer", 8081)], place


def test_a_city_without_metrics_opens_nothing_for_them() -> None:
    found = record_city(replace(watched(), platforms=(application(),), apps=(app("code", components=(SERVING,)),)))
    assert not [item.name for item in objects(found) if "metrics" in item.name]


def test_only_the_observer_has_a_token(recorded: dict[str, Recording]) -> None:
    store = one(recorded, "StatefulSet", f"{PLACE}/metrics").inputs["spec"]["template"]["spec"]
    observer = one(recorded, "Deployment", f"{PLACE}/metrics-observer").inputs["spec"]["template"]["spec"]
    assert (store["automountServiceAccountToken"], "serviceAccountName" in store) == (False, False)
    assert (observer["automountServiceAccountToken"], observer["serviceAccountName"]) == (True, "metrics-observer")
    rules = one(recorded, "ClusterRole", "xc-metrics-cluster-observer").inputs["rules"]
    assert [(rule["resources"], rule["verbs"]) for rule in rules] == [(["nodes"], ["get", "list", "watch"])]


def test_each_tenant_is_told_its_own_alerts_and_the_city_all(recorded: dict[str, Recording]) -> None:
    files = one(recorded, "Secret", f"{PLACE}/alerts-files").inputs["stringData"]
    told = json.loads(files["alertmanager.yaml"])
    assert [(item["receiver"], item.get("matchers"), item["continue"]) for item in told["route"]["routes"]] == [
        ("tenant/health", ['tenant="health"'], True),
        ("city", None, True),
    ]
    urls = {item["name"]: item["webhook_configs"][0]["url"] for item in told["receivers"] if "webhook_configs" in item}
    assert urls == {"tenant/health": "https://oncall.example/health", "city": "https://192.0.2.8:8443/city"}
    out = _policy(recorded, f"{PLACE}/alerts-to-webhooks")["egress"]
    assert [([peer["ipBlock"]["cidr"] for peer in rule["to"]], rule["ports"][0]["port"]) for rule in out] == [
        (["192.0.2.8/32"], 8443),
        (["10.8.4.0/24", "0.0.0.0/0"], 443),
    ]
    # A name may lead anywhere, also to what is not on the internet.
    assert {"10.0.0.0/8", "169.254.0.0/16"} <= set(out[1]["to"][1]["ipBlock"]["except"])


def test_a_tenants_alerts_leave_the_citys_clusters() -> None:
    """What the cluster itself says, and no file: the City's own may go there."""
    whole = watched()
    wide = Alerts("https://oncall.example/transport", ("10.0.0.0/8", "10.244.3.0/24"))
    direct = Alerts("https://10.244.9.9:8443/hook")
    own = Alerts("https://ops.example/city", ("10.244.0.0/16",))
    health, transport = whole.tenants
    whole = replace(whole, alerts=own, tenants=(replace(health, alerts=direct), replace(transport, alerts=wide)))
    networks = ("10.244.0.0/16", "10.96.0.0/16")
    cluster = replace(CLUSTER, networks=networks, api_servers=("10.7.0.4:6443", "[fd00::4]:6443"))
    found = record_city(whole, cluster)
    out = [
        {peer["ipBlock"]["cidr"]: {*peer["ipBlock"].get("except", ())} for peer in rule["to"]}
        for rule in _policy(found, f"{PLACE}/alerts-to-webhooks")["egress"]
    ]
    # None for the address in the cluster; the ranges of the tenant without what is in it; all of the City's.
    of_tenant, of_city = out if "10.0.0.0/8" in out[0] else out[::-1]
    assert of_tenant.keys() == {"10.0.0.0/8", "0.0.0.0/0"} and of_city.keys() == {"10.244.0.0/16", "0.0.0.0/0"}
    assert of_tenant["10.0.0.0/8"] == {"10.244.0.0/16", "10.96.0.0/16", "10.7.0.4/32"}
    assert of_city["10.244.0.0/16"] == set()
    pod = one(found, "Deployment", f"{PLACE}/alerts").inputs["spec"]["template"]["spec"]
    (proxy,) = [item for item in pod["containers"] if item["name"] == "webhooks"]
    # The files of this city have an embedded cloud's range.
    (told,) = [item.removeprefix("-own=") for item in proxy["command"] if item.startswith("-own=")]
    assert {*told.split(",")} >= {*networks, "10.7.0.4/32", "fd00::4/128"}
    # Of a cluster of which nothing is known, what each pod knows.
    assert {item["name"] for item in proxy["env"]} >= {"NODE_ADDRESSES", "POD_ADDRESSES"}
    files = json.loads(one(found, "Secret", f"{PLACE}/alerts-files").inputs["stringData"]["webhooks.json"])
    assert {item["host"]: item["may_be_own"] for item in files} == {
        "ops.example": True, "oncall.example": False, "10.244.9.9": False
    }  # fmt: skip


def test_alertmanager_reaches_webhooks_through_the_proxy_alone(recorded: dict[str, Recording]) -> None:
    files = one(recorded, "Secret", f"{PLACE}/alerts-files").inputs["stringData"]
    told = json.loads(files["alertmanager.yaml"])["receivers"]
    settings = [item["webhook_configs"][0]["http_config"] for item in told if "webhook_configs" in item]
    assert [item["proxy_url"] for item in settings] == ["http://127.0.0.1:9094"] * 2
    assert json.loads(files["webhooks.json"]) == [
        {"scheme": "https", "host": "192.0.2.8", "port": 8443, "addresses": [], "may_be_own": True},
        {"scheme": "https", "host": "oncall.example", "port": 443, "addresses": ["10.8.4.0/24"], "may_be_own": False},
    ]
    pod = one(recorded, "Deployment", f"{PLACE}/alerts").inputs["spec"]["template"]["spec"]
    (proxy,) = [item for item in pod["containers"] if item["name"] == "webhooks"]
    assert "-listen=127.0.0.1:9094" in proxy["command"]
    # Whose messages are not taken is counted, and told with the pod's certificate.
    assert {"-figures=:8881", "-manager=http://127.0.0.1:9093", "-key=/etc/tls/tls.key"} <= {*proxy["command"]}
    # It also looks whether rules are evaluated, as their administrator.
    assert "-evaluator=https://127.0.0.1:8880" in proxy["command"]
    (admin,) = [item["mountPath"] for item in proxy["volumeMounts"] if item["name"] == "admin"]
    assert f"-password={admin}/password" in proxy["command"]
    (manager,) = [item for item in pod["containers"] if item["name"] == "alertmanager"]
    assert "--enable-feature=receiver-name-in-metrics" in manager["command"]


def test_rules_of_capability_types_are_about_the_instance(recorded: dict[str, Recording]) -> None:
    files = one(recorded, "Secret", f"{PLACE}/alerts-files").inputs["stringData"]
    general, own = json.loads(files["rules.yaml"])["groups"]
    assert {"Down", "Restarting", "QuotaNear", "JobFailed", "NotObserved", "VolumeNearFull"} <= {
        item["alert"] for item in general["rules"]
    }
    assert {item["alert"]: item["labels"]["capability"] for item in own["rules"]} == {
        "StoreReadOnly": "metrics",
        "StoreTakesNoSeries": "metrics",
        "NotTold": "alerts",
    }
    # Half a minute from the fault to the message is what the longest of these has to leave room for.
    down = next(item for item in general["rules"] if item["alert"] == "Down")
    assert down["for"] == "10s"
    assert general["interval"] == "5s"


def test_what_comes_and_goes_is_not_told_each_time(recorded: dict[str, Recording]) -> None:
    files = one(recorded, "Secret", f"{PLACE}/alerts-files").inputs["stringData"]
    found = {rule["alert"]: rule for rule in json.loads(files["rules.yaml"])["groups"][0]["rules"]}
    # Its pod runs between two waits of five minutes at the most.
    assert found["CannotStart"]["keep_firing_for"] == "300s"
    assert "keep_firing_for" not in found["Down"]
    pod = one(recorded, "Deployment", f"{PLACE}/alerts").inputs["spec"]["template"]["spec"]
    (evaluator,) = [item for item in pod["containers"] if item["name"] == "alerts"]
    # Alertmanager takes four times as long without news for the end of an alert: longer than a store takes to start.
    assert " -evaluationInterval=5s -rule.resendDelay=30s " in evaluator["command"][-1]


def test_the_page_explains_every_rule() -> None:
    page = (Path(__file__).parents[2] / "docs/how-to/watch-a-city.md").read_text(encoding="utf-8")
    names = {rule.name for rule in (*DEFAULT, *metrics.TYPE.alerts, backups_missing("@daily"))} | {"NotEvaluated"}
    assert [name for name in sorted(names) if f"`{name}`" not in page] == []


def test_every_certificate_has_its_end_beside_it() -> None:
    """The observer reads it of Services, and has no right to read Secrets."""
    whole = full_city()
    whole = replace(whole, apps=(*whole.apps, app("vault", route=Route("vault", tls=True))))
    plan = make_plan(whole, load_catalogue())
    values = renewed(plan, {}, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    outputs: dict[str, Outputs | None] = {}
    recorded: dict[str, Recording] = {}
    for stack in plan.stacks:
        if stack.layer != "secrets":
            inputs = inputs_for(plan, stack.name, outputs)
            inputs = replace(inputs, secrets={key: values.get(key, value) for key, value in inputs.secrets.items()})
            recorded[stack.name] = record(inputs)
            outputs[stack.name] = recorded[stack.name].outputs
    ends = {
        item.name: item.inputs["metadata"]["annotations"]["wecity.dev/certificate-ends"]
        for item in objects(recorded, "Service")
        if "wecity.dev/certificate-ends" in item.inputs["metadata"].get("annotations", {})
    }
    assert {"platform-application/postgresql", "platform-application/cache", "health-internet/vault-web"} < ends.keys()
    # 397 days less the hour by which clocks may differ.
    assert set(ends.values()) == {"2027-02-03T02:04:05Z"}
    assert len(ends) == len({*issued(plan)} - {AUTHORITY_KEY, SERVICE_AUTHORITY_KEY}) == 5
    assert (end_of("no certificate"), end_of(values["service/cache/tls"])) == ("", "2027-02-03T02:04:05Z")
    assert end_of("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n") == ""


def test_backups_are_expected_by_their_schedule() -> None:
    def expressions(whole: City) -> dict[str, str]:
        plan = make_plan(whole, load_catalogue())
        general = groups(inputs_for(plan, "xc.platform.operations.main", {}))["groups"][0]
        return {item["alert"]: item["expr"] for item in general["rules"]}

    assert "BackupsMissing" not in expressions(watched())
    backup = Backup("s3://backups/xc", endpoint="https://s3.example", schedule="0 3 * * 0")
    found = expressions(watched(compliance=Compliance(backup=backup)))
    assert f"> {7 * 86_400 + 7_200} " in found["BackupsMissing"]


@pytest.mark.parametrize(
    ("schedule", "hours"),
    [
        ("@hourly", 1),
        ("*/5 * * * *", 1),
        ("0 */6 * * *", 24),
        ("30 2 * * *", 24),
        ("@weekly", 7 * 24),
        ("30 2 * * 1-5", 7 * 24),
        ("30 2 1 * 5", 7 * 24),
        ("30 2 1,15 * *", 31 * 24),
        ("30 2 * 1 *", 366 * 24),
        ("@yearly", 366 * 24),
    ],
)
def test_how_long_a_schedule_may_pause(schedule: str, hours: int) -> None:
    assert longest_pause(schedule) == hours * 3600
