"""A partner's package written to a directory: one capability that uses PostgreSQL, in the shape of a built-in one."""

from __future__ import annotations

from pathlib import Path

TYPE = '''"""A made-up capability that keeps its rows in PostgreSQL."""

from wecityctl.model.catalogue import Binding, CapabilityType, CapabilityUse, Pods, Port, UseLimits

TYPE = CapabilityType(
    name="{name}",
    platform="{platform}",
    title="{name} 试验",
    engines=("{name}",),
    licence="Apache-2.0",
    program=f"{{__name__}}.program:{program}",
    ports=(Port("http", 8080, ui=True), Port("metrics", 9090, metrics=True)),
    images=("{name}",),
    pods=(Pods(cpu="50m", memory="64Mi", max_replicas=2), Pods("worker", cpu="20m", memory="32Mi")),
    binding=Binding("http"),
    uses=(CapabilityUse("postgresql", "db", UseLimits(connections=7)),),
    health="SELECT 1 over the binding",
)
'''
PROGRAM = '''"""Its objects: a Deployment whose pods wait for their database."""

from wecityctl.model.outputs import Endpoint
from stacks import pods
from stacks.platforms.component import CapabilityComponent, CapabilityScope


class {program}(CapabilityComponent):
    def build(self, context: CapabilityScope) -> Endpoint:
        name = context.capability.name
        server = pods.container(
            "server",
            self.scope.inputs.images["{name}"],
            command=["/bin/sh", "-c", {command!r}],
            ports=context.ports,
            mounts=context.binding_mounts,
            requests=context.resources(),
        )
        spec = pods.pod(
            [server],
            cluster=self.scope.inputs.cluster,
            volumes=context.binding_volumes,
            user=999,
            affinity=context.affinity,
        )
        template = pods.template({{**self.scope.labels, **context.selector}}, spec, context.binding_content)
        self.scope.add(
            {{
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {{"name": name, "namespace": context.namespace}},
                "spec": {{
                    "replicas": context.workload().replicas,
                    "selector": {{"matchLabels": context.selector}},
                    "template": template,
                }},
            }}
        )
        self.scope.add(context.service(name))
        return context.endpoint(service=name)
'''
IMAGE = """name: {name}
title: {name}
version: "1"
licence: Apache-2.0
base: debian
"""
COMMAND = "psql \"$(cat $SERVICE_BINDING_ROOT/db/uri)\" -c 'SELECT 1'; sleep infinity"


def write_partner(directory: Path, name: str, platform: str = "application") -> None:
    """Write the package of capability type `name` into `directory`, as an installation in site-packages has it."""
    package = f"wecity_{name}"
    values = {"name": name, "platform": platform, "program": name.title(), "command": COMMAND}
    files = {
        f"{package}/__init__.py": TYPE,
        f"{package}/program.py": PROGRAM,
        f"{package}/image/image.yaml": IMAGE,
        f"{package}-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: {name}\nVersion: 1\n",
        f"{package}-1.dist-info/entry_points.txt": f"[wecityctl.capabilities]\n{{name}} = {package}\n",
    }
    for path, text in files.items():
        file = directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.format(**values), encoding="utf-8")
