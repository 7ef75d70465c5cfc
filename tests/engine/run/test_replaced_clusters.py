"""What is forgotten of a cluster that was deleted and made anew, and what is not."""

from typing import Any

from wecityctl.engine.run.replaced_clusters import without_other_clusters

PROVIDER = "urn:pulumi:a.base.main::wecity::pulumi:providers:kubernetes::cluster"


def provider(identifier: str, number: int, **fields: Any) -> dict[str, Any]:
    inputs = {"clusterIdentifier": identifier}
    return {"urn": PROVIDER, "id": f"id-{number}", "type": "pulumi:providers:kubernetes", "inputs": inputs, **fields}


def thing(name: str, number: int, **fields: Any) -> dict[str, Any]:
    return {"urn": f"urn:{name}", "type": "kubernetes:core/v1:Secret", "provider": f"{PROVIDER}::id-{number}", **fields}


def test_what_was_on_another_cluster_goes_and_nothing_else() -> None:
    root = {"urn": "urn:root", "type": "pulumi:pulumi:Stack", "dependencies": ["urn:old"]}
    old = [provider("old", 1, delete=True), thing("a", 1, delete=True), thing("old", 1)]
    new = [provider("new", 2), thing("a", 2, dependencies=["urn:old"], propertyDependencies={"data": ["urn:old"]})]
    pending = [{"type": "deleting", "resource": thing("old", 1)}, {"type": "creating", "resource": thing("b", 2)}]
    given = {"resources": [root, *old, *new], "pending_operations": pending, "metadata": {"integrity_error": {}}}
    done, count = without_other_clusters(given, {"new"})
    assert count == 3
    assert done["resources"] == [
        {**root, "dependencies": []},
        new[0],
        {**new[1], "dependencies": [], "propertyDependencies": {"data": []}},
    ]
    assert done["pending_operations"] == pending[1:]
    assert done["metadata"] == {}
    assert given["resources"][1] == old[0]


def test_objects_that_a_failed_destroy_left_without_provider_go() -> None:
    done, count = without_other_clusters({"resources": [thing("a", 1)]}, {"new"})
    assert (done["resources"], count) == ([], 1)


def test_the_same_cluster_is_left_alone() -> None:
    given = {"resources": [provider("new", 1), thing("a", 1, dependencies=["urn:unknown"])], "pending_operations": []}
    assert without_other_clusters(given, {"new"}) == (given, 0)


def test_what_is_on_another_cloud_of_the_city_is_kept() -> None:
    given = {"resources": [provider("old", 1), thing("a", 1), provider("gone", 2), thing("b", 2)]}
    done, count = without_other_clusters(given, {"new", "old"})
    assert (done["resources"], count) == (given["resources"][:2], 2)
