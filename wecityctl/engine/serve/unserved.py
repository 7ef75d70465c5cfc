"""Explains requests of Pulumi's clients that this server does not support: what they are, and what to use instead."""

from __future__ import annotations

import re
from typing import Final

# The first pattern that matches a path applies.
_UNSERVED: Final = tuple(
    (re.compile(pattern), what, instead)
    for pattern, what, instead in (
        (
            r"^/api/stacks/[^/]+/[^/]+/[^/]+/rename$",
            "renaming a stack",
            "export its state, make a stack of the new name and import it as an administrator; or stop the server and"
            " give `pulumi stack rename` where the states are",
        ),
        (
            r"^/api/stacks/[^/]+/[^/]+/[^/]+/(export/|updates/\d)",
            "an earlier version of a state",
            "earlier states are kept where the states are: wecityctl state restore, wecityctl state repair",
        ),
        (r"^/api/stacks/[^/]+/[^/]+/[^/]+/transfer$", "giving a stack to another organization", "there is only one"),
        (
            r"^/api/stacks/[^/]+/[^/]+/[^/]+/(config|annotations|notes|metadata)",
            "settings of a stack that a service keeps",
            "they belong in Pulumi.STACK.yaml beside the program",
        ),
        (
            r"^/api/(stacks/[^/]+/[^/]+/[^/]+/|orgs/[^/]+/)?.*(deployments?|schedules|drift)\b",
            "deployments that a service runs",
            "run `pulumi up` in a pipeline with a token of its own",
        ),
        (
            r"^/api/(orgs/[^/]+/)?(policypacks|policygroups|policies)|/policy",
            "policies of an organization",
            "give them to the engine: pulumi up --policy-pack DIRECTORY",
        ),
        (
            r"^/api/(esc|preview/environments|environments)\b",
            "environments (Pulumi ESC)",
            "give settings in Pulumi.STACK.yaml, and secrets encrypted by the stack's own provider",
        ),
        (
            r"^/api/(user/tokens|orgs/[^/]+/(tokens|members|teams|roles)|oauth)",
            "users and tokens of an organization",
            "give out and take back tokens on the server: wecityctl state token",
        ),
        (r"hooks\b", "notices to other services (webhooks)", "read the server's log: it has a line for each request"),
        (r"^/api/(ai|copilot|preview/agents|neo)\b", "Pulumi's assistants", "they are part of Pulumi Cloud alone"),
        (r"^/api/(preview/)?(registry|plugins|packages)\b", "a registry of packages", "use Pulumi's public registry"),
        (r"/search\b|/resources\b|/insights\b", "searching in resources", "read a state: pulumi stack export"),
    )
)


def unserved(path: str) -> str:
    """Return the error text for a request to `path`, which this server does not support."""
    for pattern, what, instead in _UNSERVED:
        if pattern.search(path):
            return f"this server does not have this: {what}. Instead: {instead}"
    return (
        "this server does not have what was asked for: it serves stacks, their states, updates, history and tags, and"
        " nothing else of Pulumi Cloud"
    )
