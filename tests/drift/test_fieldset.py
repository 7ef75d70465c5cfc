"""Sets of fields: what belongs to whom, by the API server's own account of lists."""

from __future__ import annotations

from wecityctl.drift import classify, fieldset
from wecityctl.drift.recorded_object import RecordedObject

OURS = {
    "f:metadata": {"f:labels": {"f:app.kubernetes.io/name": {}}},
    "f:spec": {
        "f:replicas": {},
        "f:template": {
            "f:spec": {
                "f:containers": {
                    'k:{"name":"web"}': {
                        ".": {},
                        "f:image": {},
                        "f:name": {},
                        "f:ports": {'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}}},
                    }
                },
                "f:tolerations": {},
            }
        },
    },
}
STATED = {
    "metadata": {"labels": {"app.kubernetes.io/name": "web"}},
    "spec": {
        "replicas": 2,
        "paused": False,
        "template": {
            "spec": {
                "containers": [{"name": "web", "image": "a", "ports": [{"containerPort": 80}], "env": []}],
                "tolerations": [{"key": "a"}],
            }
        },
    },
}


def texts(fields: fieldset.Fields) -> list[str]:
    return [fieldset.text(path) for path in fieldset.paths(fields)]


def test_paths_are_told_as_people_write_them() -> None:
    assert texts(OURS) == [
        "metadata.labels[app.kubernetes.io/name]",
        "spec.replicas",
        "spec.template.spec.containers[name=web].image",
        "spec.template.spec.containers[name=web].name",
        "spec.template.spec.containers[name=web].ports[containerPort=80,protocol=TCP].containerPort",
        "spec.template.spec.tolerations",
    ]


def test_union_and_difference_undo_each_other() -> None:
    other = {"f:spec": {"f:paused": {}, "f:template": {"f:spec": {"f:containers": {'k:{"name":"side"}': {".": {}}}}}}}
    both = fieldset.union(OURS, other)
    assert fieldset.minus(both, other) == OURS
    assert fieldset.minus(both, OURS) == other
    assert fieldset.minus(OURS, OURS) == {}
    assert fieldset.union({}, OURS) == fieldset.union(OURS, OURS) == OURS


def test_a_node_is_kept_apart_from_what_is_below_it() -> None:
    deeper = {"f:emptyDir": {"f:medium": {}}}
    assert fieldset.minus(deeper, {"f:emptyDir": {}}) == deeper
    assert fieldset.below_of(deeper, {"f:emptyDir": {}}) == deeper
    assert fieldset.union(deeper, {"f:emptyDir": {}}) == {"f:emptyDir": {".": {}, "f:medium": {}}}


def test_what_is_stated_and_not_owned() -> None:
    assert list(fieldset.unowned(STATED, OURS)) == []
    taken = fieldset.minus(OURS, {"f:spec": {"f:replicas": {}}})
    assert [fieldset.text(path) for path in fieldset.unowned(STATED, taken)] == ["spec.replicas"]
    gone = fieldset.minus(OURS, {"f:spec": {"f:template": {"f:spec": {"f:containers": OURS["f:spec"]}}}})
    assert list(fieldset.unowned(STATED, gone)) == []
    second = {"spec": {"template": {"spec": {"containers": [{"name": "web"}, {"name": "side"}]}}}}
    assert [fieldset.text(path) for path in fieldset.unowned(second, OURS)] == ["spec.template.spec.containers[1]"]


def test_values_are_found_by_the_keys_of_lists() -> None:
    path = next(path for path in fieldset.paths(OURS) if path[-1] == "f:image")
    assert fieldset.value_at(STATED, path) == "a"
    assert fieldset.value_at({"spec": {}}, path) is None
    assert fieldset.contains(OURS, path)
    assert fieldset.contains(OURS, ("f:spec", "f:template", "f:spec", "f:tolerations", "i:0"))
    assert not fieldset.contains(OURS, ("f:spec", "f:paused"))


def test_what_is_stated_as_a_set_has_the_structure_of_another() -> None:
    assert fieldset.stated(STATED, OURS) == {
        "f:metadata": {"f:labels": {"f:app.kubernetes.io/name": {}}},
        "f:spec": {
            "f:replicas": {},
            "f:paused": {},
            "f:template": {
                "f:spec": {
                    "f:containers": {
                        'k:{"name":"web"}': {
                            "f:name": {},
                            "f:image": {},
                            "f:ports": {'k:{"containerPort":80,"protocol":"TCP"}': {"f:containerPort": {}}},
                            "f:env": {},
                        }
                    },
                    "f:tolerations": {},
                }
            },
        },
    }


def test_a_state_without_a_record_of_owners_means_all_that_it_states() -> None:
    def recorded(**metadata: object) -> RecordedObject:
        inputs = {"metadata": {"labels": {"a": "1"}}, "data": {"x": "1", "y": "2"}}
        outputs = {"metadata": {"name": "a", **metadata}}
        return RecordedObject("s", "urn", "v1", "ConfigMap", "n", "a", "us", inputs, outputs)

    fields = {"f:data": {"f:x": {}, "f:y": {}}, "f:metadata": {"f:labels": {"f:a": {}}}}
    short = [{"manager": "us", "operation": "Apply"}]
    assert classify.was_ours(recorded(managedFields=short), fields)
    assert not classify.was_ours(recorded(managedFields=short), {"f:data": {"f:z": {}}})
    assert not classify.was_ours(recorded(managedFields=[]), fields)
    less = [{"manager": "us", "operation": "Apply", "fieldsV1": {"f:data": {"f:x": {}}}}]
    assert not classify.was_ours(recorded(managedFields=less), fields), "what a state says is not guessed"
    assert classify.was_ours(recorded(managedFields=less), {"f:data": {"f:x": {}}})
