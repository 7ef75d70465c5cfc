"""The Jobs that made a capability's accounts go before it is restored as a whole, and no others."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from stacks.catalogue import load_catalogue
from stacks.platforms.account_jobs import account_job
from stacks.platforms.backups import job
from stacks.platforms.stateful import provisioning_labels
from tests.engine.drive import make_city
from tests.support.control_plane import ControlPlane
from wecityctl.inputs import Cluster
from wecityctl.model.outputs import Endpoint
from wecityctl.operations.provisioning_again import provision_again

pytestmark = pytest.mark.cluster

NAMESPACE = "platform-again"
ENDPOINT = Endpoint(
    capability="vault", type="vault", engine="openbao", namespace=NAMESPACE, service="vault", port=8200, pod_labels={},
    admin_secret="admin", image="image",
)  # fmt: skip


@pytest.fixture(autouse=True)
def namespace(cluster: ControlPlane) -> Iterator[None]:
    cluster.kubectl("create", "namespace", NAMESPACE)
    yield
    cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def provisioning(name: str, capability: str) -> dict[str, object]:
    """What a provisioning Job is known by, as `stacks.provisioning` makes it."""
    container = {"name": "provision", "image": "image", "env": [{"name": "OWNER", "value": "parks/trees/keys"}]}
    template = {
        "metadata": {"labels": provisioning_labels(capability)},
        "spec": {"containers": [container], "restartPolicy": "OnFailure"},
    }
    labels = {"app.kubernetes.io/name": "trees"}
    meta = {"name": name, "namespace": NAMESPACE, "labels": labels}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": {"template": template}}


def test_only_what_made_accounts_of_the_capability_goes(cluster: ControlPlane) -> None:
    city, kind = make_city("again"), load_catalogue()["vault"]
    reached = Cluster("main", cluster.kubeconfig_text, "", "uid")
    accounts = [("parks.trees.keys", "parks/trees/keys")]
    others = [
        account_job(city, kind, reached, ENDPOINT, "deprovision", accounts, is_tls=False),
        job(city, kind, reached, ENDPOINT, "backup", "backup", {}, is_tls=False),
        job(city, kind, reached, ENDPOINT, "backup", "restore", {"OWNER": "-"}, is_tls=False),
        provisioning("of-another", "archive"),
    ]
    items = [provisioning("one", "vault"), provisioning("two", "vault"), *others]
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    for _ in range(2):
        provision_again(reached, ENDPOINT)
        left = cluster.kubectl("get", "jobs", "-n", NAMESPACE, "-o", "name").split()
        names = ("of-another", "vault-accounts", "vault-backup-now", "vault-restore-now")
        assert sorted(left) == [f"job.batch/{name}" for name in names]
