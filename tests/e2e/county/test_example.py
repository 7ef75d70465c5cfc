"""The county of the examples on a real node: what its files say of jobs, volumes, calls and TLS is so."""

from __future__ import annotations

import pytest

from tests.e2e.files import CityFiles
from tests.e2e.machine import Cluster, Machine, eventually

pytestmark = pytest.mark.node

PARKS, LIBRARY, LANTERN = "parks-bureau-internet", "library-internet", "lantern-internet"
SHELVES = f"https://shelves-api.{LIBRARY}.svc.cluster.local:8080"

# Verifies the server by the authority in the binding, as an app does, or by what the image trusts.
CALL = """
import ssl, sys, urllib.request
address, authority = sys.argv[1:]
context = ssl.create_default_context(cafile=authority or None)
print(urllib.request.urlopen(address + "/healthz", timeout=5, context=context).status)
"""
ADD = "INSERT INTO trees (name) VALUES ('ginkgo') RETURNING name"


def call(cluster: Cluster, workload: str, namespace: str, address: str, authority: str = "") -> str:
    command = ("python3", "-c", CALL, address, authority)
    return cluster.kubectl("exec", "-n", namespace, f"deploy/{workload}", "--", *command).strip()


def test_it_comes_up_and_the_migration_ran_first(home: Machine, county: CityFiles, cluster: Cluster) -> None:
    # In the clusters the app has the name that it was made with; people say the new one.
    query = ("-m", "sample_app.check", "postgresql", ADD)
    assert "ginkgo" in home.run("exec", county, "parks-bureau/trees/web", "--", "python3", *query).out
    assert cluster.get("deployment", "oaks-web", "-n", PARKS)["status"]["readyReplicas"] == 2
    assert cluster.get("deployment", "tours-guide", "-n", LANTERN)["status"]["readyReplicas"] == 1
    home.run("preview", county, "--detailed-exitcode")


def test_the_report_runs_when_it_is_asked_for(home: Machine, county: CityFiles) -> None:
    run = home.run("run", county, "trees/report", "-o", "json").json()["run"]
    assert (run["result"], run["exit_codes"]) == ("succeeded", [0])


def test_a_call_is_verified_with_the_countys_authority_and_a_foreign_one_refused(cluster: Cluster) -> None:
    assert call(cluster, "oaks-web", PARKS, SHELVES, "/bindings/shelves/ca.crt") == "200"
    with pytest.raises(AssertionError, match="CERTIFICATE_VERIFY_FAILED"):
        call(cluster, "oaks-web", PARKS, SHELVES)
    with pytest.raises(AssertionError, match="timed out"):
        call(cluster, "tours-web", LANTERN, SHELVES)


def test_an_upload_outlives_its_pod(cluster: Cluster) -> None:
    def uploads(statement: str) -> str:
        return cluster.kubectl("exec", "-n", PARKS, "oaks-files-0", "--", "python3", "-c", statement).strip()

    uploads("open('/data/oak', 'w').write('an oak')")
    cluster.kubectl("delete", "pod", "oaks-files-0", "-n", PARKS)
    assert eventually(lambda: uploads("print(open('/data/oak').read())")) == "an oak"


def test_test_and_production_differ_as_the_overlay_says(home: Machine, county: CityFiles) -> None:
    def variables(*flags: str) -> str:
        return home.run("render", county, *flags, "--only", "parks-bureau").out

    production, test = variables(), variables("--env", "test")
    assert ("value: production" in production, "value: test" in production) == (True, False)
    assert ("value: production" in test, "value: test" in test) == (False, True)
    assert ("kind: CronJob" in production, "kind: CronJob" in test) == (True, False)
    assert "qinghe-test" in test
