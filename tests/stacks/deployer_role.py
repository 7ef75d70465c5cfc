"""docs/reference/deployer-role.yaml: what the stack of a tenant with a deployer makes for it."""

from __future__ import annotations

from dataclasses import replace

import yaml

from stacks.tenants.deployers import clusterwide, namespaced
from tests.stacks.cities import app, city

HEAD = """\
# The rights of a tenant's deployers, as the stacks make them: here of the tenant `library` of the city `donghu`, which
# has one namespace. Nothing of it has to be applied by hand. What the objects may contain is bounded by the admission
# policies of the rules `tenant-deployers` and `network-fences`.
"""


def role_page() -> str:
    """The file's text."""
    whole = city(app("catalogue", "library"), name="donghu")
    tenant = replace(whole.tenants[0], deployers=("ci@library.donghu.gov.example",))
    space = "library-internet"
    made = [*clusterwide(whole, tenant, [space]), *namespaced(tenant, space)]
    return HEAD + yaml.safe_dump_all(made, sort_keys=False, width=120)
