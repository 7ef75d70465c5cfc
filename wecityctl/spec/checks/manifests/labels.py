"""Labels, annotations and selectors in manifests."""

from __future__ import annotations

from typing import Any

from wecityctl.model import naming
from wecityctl.spec.checks.manifests.fields import Checker, Path, Table, choice, label_value, list_of, qualified, text
from wecityctl.spec.nodes import Map
from wecityctl.spec.schema.names import label_fault


def labels(checker: Checker, path: Path, value: Any) -> None:
    """Labels that people may set."""
    for key, item in checker.mapping(path, value).items():
        if fault := label_fault(key):
            checker.refuse((*path, key), fault[0], fault[1], on_key=True)
        if isinstance(item, str):
            label_value(checker, (*path, key), item)
        else:
            text(checker, (*path, key), item)


def notes(checker: Checker, path: Path, value: Any) -> None:
    """Annotations that people may set."""
    for key, item in checker.mapping(path, value).items():
        prefix = key.rpartition("/")[0]
        if prefix.endswith(("kubernetes.io", "k8s.io", "pulumi.com", naming.LABEL_PREFIX)):
            message = f"annotations under {prefix}/ change how the cluster treats objects"
            checker.refuse((*path, key), message, on_key=True)
        text(checker, (*path, key), item)


def _selects(checker: Checker, path: Path, found: Map) -> None:
    if not found.get("matchLabels"):
        checker.refuse(path, "selects nothing in particular", "matchLabels with labels of the pods", on_key=True)


def _values(checker: Checker, path: Path, found: Map) -> None:
    needs = found.get("operator") in ("In", "NotIn")
    if needs and not found.get("values"):
        checker.refuse(path, f"{found['operator']} is given without values", "`values` with at least one", on_key=True)
    elif found.get("operator") in ("Exists", "DoesNotExist") and found.get("values"):
        checker.refuse((*path, "values"), f"{found['operator']} takes no values", "no values", on_key=True)


# Which pods are whose: labels alone.
SELECTOR = Table({"matchLabels": labels}, rules=(_selects,))
_EXPRESSION = Table(
    {"key": qualified, "operator": choice("In", "NotIn", "Exists", "DoesNotExist"), "values": list_of(label_value)},
    ("key", "operator"),
    rules=(_values,),
)
LABEL_SELECTOR = Table({"matchLabels": labels, "matchExpressions": list_of(_EXPRESSION)})
