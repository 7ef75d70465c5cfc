"""Creates a finding about one recorded object: its subject, and the place in the files that it comes from."""

from __future__ import annotations

from wecityctl.policy.model import Finding, PolicyInput
from wecityctl.policy.objects import name_of, namespace_of, source_of
from wecityctl.resource_graph import RecordedResource


def about(policy_input: PolicyInput, stack: str, item: RecordedResource, message: str, resolution: str) -> Finding:
    """A finding about `item`; the message begins with its kind and name."""
    source = source_of(policy_input, item)
    text = f"{item.inputs.get('kind')} {full_name(item)}: {message}"
    return Finding(source.subject, text, resolution, stack, source.document, source.path)


def full_name(item: RecordedResource) -> str:
    """`<namespace>/<name>`, or the name alone of a cluster-scoped object."""
    namespace = namespace_of(item)
    return f"{namespace}/{name_of(item)}" if namespace else name_of(item)
