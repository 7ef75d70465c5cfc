"""Formats the plan as text: Mermaid for documents, JSON for programs. `graph_svg` draws the picture."""

from __future__ import annotations

import json

from wecityctl.model.stacknames import LAYERS
from wecityctl.plan import Plan
from wecityctl.report.record import FORMAT_VERSION


def edges_of(plan: Plan) -> list[tuple[str, str]]:
    """Return pairs (dependency, dependant), without those that follow from a longer path."""
    names = {stack.name for stack in plan.stacks}
    needs = {stack.name: [need for need in stack.depends_on if need in names] for stack in plan.stacks}
    above: dict[str, set[str]] = {}
    # Each stack comes after its dependencies.
    for name, direct in needs.items():
        above[name] = set(direct).union(*(above[need] for need in direct))
    return [
        (need, name)
        for name, direct in needs.items()
        for need in direct
        if not any(need in above[other] for other in direct)
    ]


def to_mermaid(plan: Plan) -> str:
    """Return a Mermaid flowchart with an arrow for each pair of `edges_of`."""
    ids = {stack.name: f"s{number}" for number, stack in enumerate(plan.stacks)}
    lines = ["flowchart LR"]
    for layer in LAYERS:
        here = [stack for stack in plan.stacks if stack.layer == layer]
        if here:
            lines.append(f"  subgraph {layer}")
            lines += [f'    {ids[stack.name]}["{stack.name}"]' for stack in here]
            lines.append("  end")
    lines += [f"  {ids[needed]} --> {ids[name]}" for needed, name in edges_of(plan)]
    return "\n".join(lines) + "\n"


def to_json(plan: Plan) -> str:
    """Return the stacks with their layers, clouds and dependencies as JSON."""
    stacks = [
        {
            "name": stack.name,
            "layer": stack.layer,
            "subject": stack.subject,
            "cloud": stack.cloud,
            "depends_on": list(stack.depends_on),
        }
        for stack in plan.stacks
    ]
    document = {"format_version": FORMAT_VERSION, "city": plan.city.name, "stacks": stacks}
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
