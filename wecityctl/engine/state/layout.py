"""Where everything of a stack lies in a back end: keys of objects, the same in a directory, in S3 and in PostgreSQL.

What is below `.pulumi` is the layout of Pulumi's self-managed back ends, version 1, stacks by project (pulumi/pkg
backend/diy). What is below `.wecity` is ours.
"""

from __future__ import annotations

from collections.abc import Iterable

from wecityctl.model.naming import PROJECT

META_KEY = ".pulumi/meta.yaml"
META = b"version: 1\n"
STACKS = f".pulumi/stacks/{PROJECT}"
HISTORY = f".pulumi/history/{PROJECT}"
BACKUPS = f".pulumi/backups/{PROJECT}"
LOCKS = f".pulumi/locks/organization/{PROJECT}"
# States and journals that made room for others, each with the time in its name.
ASIDE = ".wecity/aside"
# Locks of runs that are objects.
RUN_LOCKS = ".wecity/locks/runs"
RECORDS = ".wecity/records"
LEASES = ".wecity/leases"
ACTIVITY = ".wecity/history"
LEAVING = ".wecity/leaving"
# A state as the engine writes it, and compressed.
ENDS = (".json", ".json.gz")


def state(stack: str, end: str = ".json") -> str:
    """The key of the stack's state, with one of the `ENDS`."""
    return f"{STACKS}/{stack}{end}"


def lease(stack: str) -> str:
    """The key of the update that a state server has under way on the stack."""
    return f"{LEASES}/{stack}.json"


def tags(stack: str) -> str:
    """The key of the stack's tags."""
    return f"{STACKS}/{stack}.pulumi-tags"


def lock_note(stack: str) -> str:
    """The key of the note that says who has taken the engine's lock on the stack."""
    return f".wecity/locks/{stack}.json"


def record(stack: str) -> str:
    """The key of our record of the stack."""
    return f"{RECORDS}/{stack}.json"


def leaving(stack: str) -> str:
    """The key of what a run of the stack was about to take away from its apps in capabilities, and has to lock."""
    return f"{LEAVING}/{stack}.json"


def activity(city: str) -> str:
    """The key of what runs have done to a city that is in no history of the engine."""
    return f"{ACTIVITY}/{city}.jsonl"


def journal(stack: str) -> str:
    """The key below which the journal of the engine's run on the stack lies, while there is one."""
    return f".wecity/journals/{stack}"


def run_lock(name: str) -> str:
    """The key of the lock that a run holds on a city, or on a stack of it."""
    return f".wecity/locks/{name}.run"


def states_in(keys: Iterable[str]) -> dict[str, str]:
    """The key of each stack's state, among the keys of a place; what lies beside the states is left out."""
    found: dict[str, str] = {}
    for key in keys:
        directory, _, name = key.rpartition("/")
        for end in ENDS if directory == STACKS else ():
            # Of two for one stack the first is what is read.
            if name.endswith(end) and not name.startswith("."):
                found.setdefault(name.removesuffix(end), key)
    return found
