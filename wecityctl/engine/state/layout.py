"""The keys of a stack's objects in a back end. They are the same in a directory, in S3 and in PostgreSQL.

Keys below `.pulumi` follow the layout of Pulumi's self-managed back ends, version 1, with stacks by project (pulumi/pkg
backend/diy). Keys below `.wecity` are our own.
"""

from __future__ import annotations

from collections.abc import Iterable

from wecityctl.model.naming import PROJECT
from wecityctl.model.stacknames import StackName

META_KEY = ".pulumi/meta.yaml"
META = b"version: 1\n"
STACKS = f".pulumi/stacks/{PROJECT}"
HISTORY = f".pulumi/history/{PROJECT}"
BACKUPS = f".pulumi/backups/{PROJECT}"
LOCKS = f".pulumi/locks/organization/{PROJECT}"
# States and journals that were replaced, each with the time in its name.
ASIDE = ".wecity/aside"
# Run locks that are stored as objects.
RUN_LOCKS = ".wecity/locks/runs"
RECORDS = ".wecity/records"
LEASES = ".wecity/leases"
ACTIVITY = ".wecity/history"
LEAVING = ".wecity/leaving"
RELEASES = ".wecity/releases"
# The endings of a state file: plain and compressed.
ENDS = (".json", ".json.gz")


def state(stack: str, end: str = ".json") -> str:
    """Return the key of the stack's state, with one of the `ENDS`."""
    return f"{STACKS}/{stack}{end}"


def lease(stack: str) -> str:
    """Return the key of a state server's current update of the stack."""
    return f"{LEASES}/{stack}.json"


def tags(stack: str) -> str:
    """Return the key of the stack's tags."""
    return f"{STACKS}/{stack}.pulumi-tags"


def lock_note(stack: str) -> str:
    """Return the key of the note that names the owner of the engine's lock on the stack."""
    return f".wecity/locks/{stack}.json"


def record(stack: str) -> str:
    """Return the key of our record of the stack."""
    return f"{RECORDS}/{stack}.json"


def leaving(stack: str) -> str:
    """The key of what a run of the stack was about to take away from its apps in capabilities, and has to lock."""
    return f"{LEAVING}/{stack}.json"


def written_by(stack: str, city: str) -> tuple[str, ...]:
    """Patterns, with `*` for any text, of the keys that runs of this stack alone write and delete."""
    tenant = StackName.parse(stack).subject
    return (
        f"{STACKS}/{stack}.json*",
        f"{HISTORY}/{stack}/*",
        f"{BACKUPS}/{stack}/*",
        f"{LOCKS}/{stack}/*",
        f"{journal(stack)}/*",
        lock_note(stack),
        record(stack),
        leaving(stack),
        f"{RUN_LOCKS}/{city}*",
        *((releases(city, tenant),) if tenant else ()),
    )


def activity(city: str) -> str:
    """Return the key of the city's activities, which are in no history of the engine."""
    return f"{ACTIVITY}/{city}.jsonl"


def access_log(city: str) -> str:
    """Return the key of the log of people's access to the city's running apps."""
    return f"{ACTIVITY}/{city}.access.jsonl"


def releases(city: str, tenant: str = "") -> str:
    """Return the key of the releases of a tenant's apps; without a tenant, what the city's keys begin with."""
    return f"{RELEASES}/{city}/{f'{tenant}.json' if tenant else ''}"


def journal(stack: str) -> str:
    """Return the key prefix of the journal of the engine's run on the stack."""
    return f".wecity/journals/{stack}"


def run_lock(name: str) -> str:
    """Return the key of the run lock on a city or one of its stacks."""
    return f".wecity/locks/{name}.run"


def states_in(keys: Iterable[str]) -> dict[str, str]:
    """Return the key of each stack's state among `keys`; other objects are left out."""
    found: dict[str, str] = {}
    for key in keys:
        directory, _, name = key.rpartition("/")
        for end in ENDS if directory == STACKS else ():
            # If a stack has two files, the first one is read.
            if name.endswith(end) and not name.startswith("."):
                found.setdefault(name.removesuffix(end), key)
    return found
