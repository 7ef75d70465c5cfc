"""Formats the plan as text: Mermaid for documents, JSON for programs. `graph_svg` draws the picture."""

from __future__ import annotations

import json
from dataclasses import dataclass

from wecityctl.model import naming
from wecityctl.model.city import App
from wecityctl.model.provided import calls
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


@dataclass(frozen=True, slots=True)
class Call:
    """An app's use of another app: the stacks of both and, as `tenant/app` and `tenant/app/name`, the two ends."""

    source: str
    target: str
    user: str
    used: str

    @property
    def text(self) -> str:
        """The use in words, without the tenants, which the stacks' names have."""
        return f"{self.user.split('/', 1)[1]} uses {self.used.split('/', 1)[1]}"


def calls_of(plan: Plan) -> list[Call]:
    """Return the uses of apps by apps, in the order of the files. No stack waits for another one because of them."""
    places = plan.placement.apps

    def stack(app: App) -> str:
        return naming.stack_name(plan.city.name, "tenant", app.tenant, places[(app.tenant, app.name)])

    return [
        Call(stack(app), stack(target.app), f"{app.tenant}/{app.name}", target.subject)
        for app, _, target in calls(plan.city)
    ]


def calls_between(plan: Plan) -> dict[tuple[str, str], str]:
    """Return the uses of apps by apps in words, by the stacks of both; those within one stack are left out."""
    names = {stack.name for stack in plan.stacks}
    found: dict[tuple[str, str], list[str]] = {}
    for call in calls_of(plan):
        if call.source != call.target and {call.source, call.target} <= names:
            found.setdefault((call.source, call.target), []).append(call.text)
    return {pair: ", ".join(texts) for pair, texts in found.items()}


def to_mermaid(plan: Plan) -> str:
    """Return a Mermaid flowchart with an arrow for each pair of `edges_of`, and a dotted one where apps call others."""
    ids = {stack.name: f"s{number}" for number, stack in enumerate(plan.stacks)}
    lines = ["flowchart LR"]
    for layer in LAYERS:
        here = [stack for stack in plan.stacks if stack.layer == layer]
        if here:
            lines.append(f"  subgraph {layer}")
            lines += [f'    {ids[stack.name]}["{stack.name}"]' for stack in here]
            lines.append("  end")
    lines += [f"  {ids[needed]} --> {ids[name]}" for needed, name in edges_of(plan)]
    lines += [
        f'  {ids[source]} -. "{text}" .-> {ids[target]}' for (source, target), text in calls_between(plan).items()
    ]
    return "\n".join(lines) + "\n"


def to_json(plan: Plan) -> str:
    """Return the stacks with their layers, clouds and dependencies as JSON, and which app uses which."""
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
    flows = [
        {"app": call.user, "uses": call.used, "from_stack": call.source, "to_stack": call.target}
        for call in calls_of(plan)
    ]
    document = {"format_version": FORMAT_VERSION, "city": plan.city.name, "stacks": stacks, "flows": flows}
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
