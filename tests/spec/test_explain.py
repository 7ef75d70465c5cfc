"""`explain`: every field can be explained; a wrong name gets the nearest."""

import pytest

from wecityctl.errors import ConfigurationError
from wecityctl.spec.explain import find_topic, topic_json, topic_text, topics


@pytest.mark.parametrize("name", topics())
def test_every_field_has_words(name: str) -> None:
    topic = find_topic(name)
    assert topic.name == name
    text = topic_text(topic)
    assert "DESCRIPTION:\n    " in text
    assert topic_json(topic)["description"]


def test_a_list_of_objects() -> None:
    text = topic_text(find_topic("app.spec.uses"))
    assert "FIELD:    spec.uses <list of objects>" in text
    assert "capability  <text>" in text
    assert "app  <text>" in text
    assert "EXAMPLE:  uses: [cache]" in text


def test_choices_and_default() -> None:
    text = topic_text(find_topic("city.spec.engine.kubernetesProvider"))
    assert "ONE OF:\n    auto\n    builtin\n    official\n" in text
    assert "DEFAULT:  auto" in text


@pytest.mark.parametrize(
    ("asked", "message", "hint"),
    [
        ("app.spec.use", "'use' is not a field of app.spec", "did you mean 'app.spec.uses'?"),
        (
            "cloud.spec." + "crossing",
            "'crossing' is not a field of cloud.spec: it was renamed to 'interconnect'",
            "wecityctl explain cloud.spec.interconnect; `wecityctl migrate` renames it in the files",
        ),
        ("ap", "'ap' is not a kind of document", "did you mean 'app'?"),
        ("app.spec.stage.x", "app.spec.stage has no fields", "wecityctl explain app.spec.stage"),
        (
            "tenant.spec.zzz",
            "'zzz' is not a field of tenant.spec",
            "one of: title, area, quota, admins, deployers, budget, type, alerts, moved",
        ),
    ],
)
def test_wrong_names(asked: str, message: str, hint: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        find_topic(asked)
    assert (caught.value.message, caught.value.resolution) == (message, hint)


def test_kinds_in_any_case_and_number() -> None:
    assert find_topic("Cities").kind == "City"
    assert find_topic("apps.spec.components[].env").path == ("spec", "components", "env")
