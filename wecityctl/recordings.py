"""A session's stacks run through the recorder: the resource graph that `render` writes and policies judge."""

from __future__ import annotations

from collections.abc import Mapping

from wecityctl.engine.home import SDK_VERSION
from wecityctl.engine.recorder import record
from wecityctl.engine.render import render
from wecityctl.graph import Recording
from wecityctl.inputs import Cluster
from wecityctl.model.city import Cloud
from wecityctl.model.outputs import Outputs
from wecityctl.session import Session


def record_session(session: Session, only: tuple[str, ...] = ()) -> tuple[Recording, ...]:
    """Every stack, or those that match and what they need, in order; no cloud and no secret is involved."""
    plan = session.plan.only(only) if only else session.plan
    clusters = {cloud.name: _offline(cloud) for cloud in session.city.clouds}
    known: dict[str, Outputs | None] = {}
    recordings = []
    for stack in plan.stacks:
        if stack.layer == "secrets":
            continue
        secrets: Mapping[str, str] = dict.fromkeys(stack.secrets, "redacted")
        recording = record(session.inputs(stack.name, clusters, known, secrets, SDK_VERSION))
        known[stack.name] = recording.outputs
        recordings.append(recording)
    return tuple(recordings)


def render_city(session: Session, only: tuple[str, ...] = ()) -> dict[str, str]:
    """The city's manifests by file name; with `only`, just those of the stacks that match."""
    recordings = record_session(session, only)
    wanted = session.plan.matching(only) if only else {item.stack for item in recordings}
    return render(item for item in recordings if item.stack in wanted)


def _offline(cloud: Cloud) -> Cluster:
    return Cluster(
        cloud=cloud.name,
        kubeconfig="",
        context="",
        identifier="",
        simulated=cloud.provider == "local" and cloud.local.nodes == "simulated",
        storage_class=cloud.kubernetes.storage_class,
        ingress_class=cloud.kubernetes.ingress_class,
    )
