"""Whatever is in the files, loading them gives a city or an `InvalidCityError`, never another exception."""

import copy
import random
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.spec.cases import VALID
from tests.spec.catalogue import CATALOGUE
from wecityctl.errors import InvalidCityError, Problem
from wecityctl.model.city import City
from wecityctl.model.quantity import parse_quantity
from wecityctl.plan import make_plan
from wecityctl.spec import load_city

pytestmark = pytest.mark.slow

SOURCE = (VALID / "every-field.yaml").read_text(encoding="utf-8")
DOCUMENTS = list(yaml.safe_load_all(SOURCE))
relaxed = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.dates(),
    st.sampled_from(
        ["", "no", "0", "main", "internet", "cache", "4 GB", "10Gi", "1e999", "<x>", "/", "/..", "a" * 300]
    ),
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner))


def outcome(path: Path) -> City | tuple[Problem, ...]:
    try:
        city = load_city(path, CATALOGUE).city
    except InvalidCityError as error:
        assert error.problems
        for problem in error.problems:
            assert problem.message
            assert "\n" not in str(problem)
        return error.problems
    # What is called valid can be planned, and its quantities read.
    make_plan(city, CATALOGUE)
    for tenant in city.tenants:
        parse_quantity(tenant.quota.memory)
    return city


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """The documents with one to three changes: a value replaced, removed, moved, copied or renamed."""
    documents = copy.deepcopy(DOCUMENTS)
    for _ in range(draw(st.integers(1, 3))):
        chosen = random.Random(draw(st.integers(0, 2**32)))
        node: object = documents
        while True:
            keys = list(node) if isinstance(node, dict) else list(range(len(node))) if isinstance(node, list) else []
            if not keys:
                break
            key = chosen.choice(keys)
            child = node[key]  # type: ignore[index]
            if isinstance(child, dict | list) and child and chosen.random() < 0.7:
                node = child
                continue
            change = draw(st.sampled_from(["replace", "remove", "copy", "rename"]))
            if change == "replace":
                node[key] = draw(VALUES)  # type: ignore[index]
            elif change == "remove":
                del node[key]  # type: ignore[attr-defined]
            elif isinstance(node, list):
                node.append(child)
            elif isinstance(node, dict):
                node[draw(st.text(max_size=8)) if change == "rename" else f"{key}2"] = node.pop(key)
            break
    return yaml.dump_all(documents, Dumper=yaml.CSafeDumper, allow_unicode=True)


@relaxed
@given(text=mutated())
def test_mutated_documents(text: str, tmp_path: Path) -> None:
    path = tmp_path / "city.yaml"
    path.write_text(text, encoding="utf-8", errors="replace")
    outcome(path)


@relaxed
@given(data=st.data())
def test_mutated_text(data: st.DataObject, tmp_path: Path) -> None:
    start = data.draw(st.integers(0, len(SOURCE) - 1))
    length = data.draw(st.integers(0, 30))
    inserted = data.draw(
        st.text(max_size=12) | st.sampled_from(["\t", "&a ", "*a", "<<: ", "? ", "|", "---\n", "!!x "])
    )
    path = tmp_path / "city.yaml"
    text = SOURCE[:start] + inserted + SOURCE[start + length :]
    path.write_text(text, encoding="utf-8", errors="replace")
    outcome(path)


@relaxed
@given(data=st.binary(max_size=400))
def test_random_bytes(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "city.yaml"
    path.write_bytes(data)
    assert not isinstance(outcome(path), City)


@relaxed
@given(data=st.data())
def test_damaged_bytes(data: st.DataObject, tmp_path: Path) -> None:
    source = SOURCE.encode()
    start = data.draw(st.integers(0, len(source) - 1))
    path = tmp_path / "city.yaml"
    path.write_bytes(source[:start] + data.draw(st.binary(min_size=1, max_size=6)) + source[start + 1 :])
    outcome(path)
