"""What the Jobs of backups print: their own lines among what others say, lists in pages, and failures in words."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Iterable

from wecityctl.engine.cluster.account_jobs import JobFailedError
from wecityctl.engine.state.engine_lock import LockedError
from wecityctl.errors import AuthenticationError, DeploymentError, WecityError

_OWN = "wecity "
# Pages of one list, and lists that are begun anew because a backup was taken meanwhile.
_MOST_PAGES, _TRIES = 64, 3
_REFUSED = re.compile(
    r"access ?denied|access key id|invalidaccesskeyid|signature we calculated|signaturedoesnotmatch|forbidden",
    re.IGNORECASE,
)
_UNREACHABLE = re.compile(
    r"dial tcp|no such host|connection (?:refused|reset)|i/o timeout|deadline exceeded|has not answered", re.IGNORECASE
)
# The words of restic, which takes a lock of somebody who was killed for stale after half an hour.
_LOCKED = re.compile(r"repository is already locked", re.IGNORECASE)
# restic says after each try how long it waits for the next one, and erases lines of a terminal that it does not have.
_RETRYING = re.compile(r"returned error, retrying after [0-9.a-zµ]+(?=:)")
_ERASED = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
# What a script says of any failure of a program that reads backups.
_DAMAGED = re.compile(r"the backups? (?:is|are) damaged, or w(?:as|ere) tampered with")


# What the backup's script says while the capability is restored, and of a repository that was left between two writes.
_RESTORING = "a restore is under way: job "
_HALF_MADE = "the repository has a key and no configuration"


def own_lines(text: str, mark: str) -> str:
    """What a Job has printed, with the secret word `mark` taken out of its own lines.

    Lines of others that begin as its own do are indented, so that only its own begin with `wecity `.
    """
    own = f"{_OWN}{mark} "
    lines = (line for line in text.splitlines() if line.strip())
    return "\n".join(
        _OWN + line.removeprefix(own) if line.startswith(own) else f"  {line}" if line.startswith("wecity") else line
        for line in lines
    )


def read_list(page: Callable[[int], str]) -> str:
    """The list of snapshots, of which `page` returns what a Job prints that begins at a byte.

    The pages are of one list: it is read anew if it has changed meanwhile. Raises `DeploymentError` if it cannot be
    read, and what `page` raises.
    """
    for _ in range(_TRIES):
        found, first = b"", None
        for _ in range(_MOST_PAGES):
            total, digest, part = _page(page(len(found)))
            first = first or (total, digest)
            if (total, digest) != first:
                break
            found += part
            if len(found) >= total:
                if hashlib.sha256(found).hexdigest() == digest:
                    return found.decode(errors="replace")
                break
            if not part:
                break
        else:
            raise DeploymentError(
                f"there are more than {len(found) // 2**20} MiB of snapshots, and nothing lists so many",
                resolution="lower `keep` under compliance.backup of the City, or remove snapshots from the target",
            )
    raise DeploymentError(
        "the list of backups has changed while it was read", resolution="run it again when no backups are taken"
    )


def _page(printed: str) -> tuple[int, str, bytes]:
    """Total bytes and SHA-256 of a list, and the part of it in this page."""
    for line in printed.splitlines():
        match line.split():
            case ["wecity", "snapshots", total, digest, *part] if total.isdecimal():
                try:
                    return int(total), digest, base64.b64decode("".join(part), validate=True)
                except binascii.Error as error:
                    raise DeploymentError("the list of backups cannot be read", details=str(error)) from error
    raise DeploymentError("the list of backups cannot be read", details=printed[-300:])


def _details(lines: Iterable[str]) -> str:
    """What others have printed, each try of the same once, and what came last of what is too long."""
    plain = (_RETRYING.sub("returned error", _ERASED.sub("", line)) for line in lines)
    return "\n".join(dict.fromkeys(plain))[-1500:]


def failure(
    capability: str, error: JobFailedError, where: str = "its place in the target", *, restoring: bool = False
) -> WecityError:
    """The error of a backup's or restore's Job in words for people, by what its pod has printed as `own_lines` has it.

    `where` is the repository's address.
    """
    lines = [line for line in error.printed.splitlines() if line.strip()]
    problem = next((line.removeprefix("wecity problem ") for line in lines if line.startswith("wecity problem ")), "")
    failed = [words[2] for line in lines if (words := line.split())[:2] == ["wecity", "failed"] and len(words) == 4]
    details = _details(line for line in lines if not line.startswith("wecity "))
    if problem == "the password does not open the backups":
        return AuthenticationError(
            f"{capability}: {problem}",
            details="the repository in the target was made with another password, or is another city's",
            resolution="set the password that it was made with: `wecityctl secrets set`, and then `wecityctl up`",
        )
    if _REFUSED.search(details) and problem:
        return AuthenticationError(
            f"{capability}: the target refuses the credentials",
            details=details,
            resolution="give keys that may read and write the bucket: `wecityctl secrets set`, and then `wecityctl up`",
        )
    if problem.startswith(_RESTORING):
        return LockedError(
            f"{capability}: {problem}",
            details="what is half restored is not backed up",
            resolution="run it again when that job is gone, which is ten minutes after its end at the latest",
        )
    if (problem or failed) and _LOCKED.search(details):
        missing = f", not backed up: {', '.join(failed)}" if failed else ""
        return LockedError(
            f"{capability}: its backups are in use{missing}",
            details=details,
            resolution="another one is under way, or was killed within the last half an hour: run it again after that. "
            "A lock by a clock that was ahead lasts until that time: once nothing works on these backups, remove it "
            "with `restic unlock --remove-all`",
        )
    if (found := _DAMAGED.match(problem)) and _UNREACHABLE.search(details):
        problem = f"the target stopped answering while backups were read{problem[found.end() :]}"
    if problem == _HALF_MADE:
        return DeploymentError(
            f"{capability}: {problem}",
            details=f"{details}\nwhat made it was ended before it had written `config`, or that was removed",
            resolution=f"look at what is in {where}: with nothing but `keys/`, no backup was ever taken, so remove "
            "that and run it again; with anything in `snapshots/`, bring `config` back from the target's own versions",
        )
    if problem:
        hint = ""
        if _UNREACHABLE.search(f"{problem}\n{details}"):
            hint = (
                "look whether the target is up, and whether `endpoint` and `addresses` under compliance.backup are its"
            )
        return DeploymentError(f"{capability}: {problem}", details=details, resolution=hint)
    if failed:
        return DeploymentError(
            f"{capability}: not backed up: {', '.join(failed)}",
            details=details,
            resolution="what was backed up of the others is complete; mend the cause and run it again",
        )
    return DeploymentError(
        f"{capability}: {error.message}",
        details=details or "its pod was ended before it could say why",
        resolution="the account may have part of the backup; run it again"
        if restoring
        else "nothing of it counts as a backup; run it again",
    )
