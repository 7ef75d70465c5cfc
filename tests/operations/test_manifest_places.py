"""Where an object of an app's own manifests is in the files, when the cluster has refused it."""

from __future__ import annotations

from pathlib import Path

from tests.operations.test_rollout_commands import FILES
from wecityctl.model.events import ResourceChange, RunResult, StackResult
from wecityctl.operations.manifest_places import manifest_places
from wecityctl.session import open_session

RULES = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: rules}
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: more
"""


def test_a_failed_object_of_a_manifest_is_told_with_its_place(tmp_path: Path) -> None:
    city = FILES.format(version=1, strategy="").replace("  route:", "  manifests: [own/rules.yaml]\n  route:")
    (tmp_path / "city.yaml").write_text(city)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "rules.yaml").write_text(RULES)
    session = open_session(tmp_path / "city.yaml")
    failed = tuple(
        ResourceChange("urn", "kubernetes:core/v1:ConfigMap", f"health-internet/{name}", "create")
        for name in ("more", "code-web-files")
    )
    result = RunResult("up", "rolled", (StackResult("rolled.tenant.health.main", "failed", failed=failed),), 1.0, 4)
    (note,) = manifest_places(session, result)
    assert note.startswith("ConfigMap health-internet/more, which failed, is a manifest of health/code: ")
    assert note.endswith("rules.yaml:8:9")
