"""Journals by chance: consistent in what they name, and with every kind of entry in every order."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from random import Random
from typing import Any

from wecityctl.journal.replay import ENTRY_VERSION, Kind, Replayer

PREFIX = "urn:pulumi:city.base.main::wecity"
TYPES = ("kubernetes:core/v1:ConfigMap", "wecity:tenant:App", "kubernetes:apps/v1:Deployment")
PROVIDER = f"{PREFIX}::pulumi:providers:kubernetes::cluster"
ROOT = f"{PREFIX}::pulumi:pulumi:Stack::wecity-city.base.main"


class Journal:
    """One run over a base, made up from `seed`: `base` and `entries`."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._names = 0
        self._urns: list[str] = []
        self._operation = 0
        self.base = self._deployment() if self._random.random() < 0.9 else None
        self.entries: list[dict[str, Any]] = []
        self._replayer = Replayer(self.base, engine="v0")
        # How many resources entries can name by their place: those of the last whole state.
        self._places = len((self.base or {}).get("resources") or ())
        self._made: list[int] = []
        # A journal that cannot be replayed ends there: two resources have the same alias.
        with suppress(ValueError):
            for _ in range(self._random.randint(0, 14)):
                for entry in self._step():
                    self._add(entry)
            # The engine says so only before its run has made anything, and at its end.
            if self._chance(0.1):
                self._add({"kind": Kind.REBUILT_BASE_STATE})

    def _chance(self, part: float) -> bool:
        return self._random.random() < part

    def _add(self, entry: dict[str, Any]) -> None:
        self.entries.append(
            {
                "version": ENTRY_VERSION,
                "sequenceID": len(self.entries) + 1,
                "removeOld": None,
                "removeNew": None,
                **entry,
            }
        )
        self._replayer.add(self.entries[-1])
        if entry["kind"] in (Kind.WRITE, Kind.REBUILT_BASE_STATE):
            self._places = len(self._replayer.state(time="").deployment.get("resources") or ())

    def _deployment(self) -> dict[str, Any]:
        """A whole state: the stack, sometimes a provider, and what depends on them."""
        resources = [{"urn": ROOT, "custom": False, "type": "pulumi:pulumi:Stack"}]
        if self._chance(0.7):
            resources.append(
                {"urn": PROVIDER, "custom": True, "id": "p-1", "type": "pulumi:providers:kubernetes", "parent": ROOT}
            )
        self._urns = [item["urn"] for item in resources if isinstance(item["urn"], str)]
        resources += [self._resource() for _ in range(self._random.randint(0, 5))]
        found: dict[str, Any] = {
            "manifest": {"time": "2026-01-01T00:00:00Z", "magic": "m", "version": "v3.1.0"},
            "resources": resources,
            "metadata": {},
        }
        if self._chance(0.5):
            found["secrets_providers"] = {"type": "passphrase", "state": {"salt": "v1:abc"}}
        if self._chance(0.3):
            kinds = ("creating", "updating", "deleting")
            found["pending_operations"] = [
                {"resource": self._resource(), "type": self._random.choice(kinds)} for _ in range(2)
            ]
        if self._chance(0.1):
            found["extensions"] = {"e1": {"name": "x", "version": "1.0.0", "value": "eA=="}}
        return found

    def _resource(self, urn: str = "") -> dict[str, Any]:
        """A state of a resource: of `urn`, or of a new one."""
        kind = self._random.choice(TYPES)
        parents = [other for other in self._urns if other != urn]
        parent = self._random.choice(parents) if parents and self._chance(0.7) else ""
        if not urn:
            self._names += 1
            types = kind
            if parent and parent != ROOT:
                types = f"{parent.split('::')[2]}${kind}"
            urn = f"{PREFIX}::{types}::n{self._names}"
        found: dict[str, Any] = {"urn": urn, "custom": True, "id": f"id-{self._names}", "type": kind}
        others = [other for other in self._urns if other != urn]
        if parent:
            found["parent"] = parent
        if others and self._chance(0.5):
            found["dependencies"] = self._some(others)
        if others and self._chance(0.4):
            found["propertyDependencies"] = {"spec": self._some(others), "data": self._some(others)}
        for name in ("replaceWith",):
            if others and self._chance(0.1):
                found[name] = self._some(others)
        for name in ("deletedWith", "viewOf"):
            if others and self._chance(0.1):
                found[name] = self._random.choice(others)
        if PROVIDER in others and self._chance(0.6):
            found["provider"] = f"{PROVIDER}::p-1"
        apart = [other for other in others if other not in (PROVIDER, ROOT)]
        if self._chance(0.15):
            found["aliases"] = [
                f"{PREFIX}::{kind}::old-{self._names}",
                *(self._some(apart) if apart and self._chance(0.1) else ()),
            ]
        for name, value in (("protect", True), ("taint", True), ("delete", True), ("refreshBeforeUpdate", True)):
            if self._chance(0.06):
                found[name] = value
        found["inputs"] = {
            "size": self._random.randint(1, 9),
            "text": {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "ciphertext": "x"},
        }
        if self._chance(0.7):
            found["outputs"] = {"size": self._random.randint(1, 9)}
        self._urns.append(urn)
        return found

    def _some(self, urns: list[str]) -> list[str]:
        return self._random.sample(urns, self._random.randint(1, min(3, len(urns))))

    def _old(self) -> int | None:
        return self._random.randrange(self._places) if self._places else None

    def _step(self) -> Iterator[dict[str, Any]]:
        self._operation += 1
        number, kind = self._operation, self._random.random()
        old = self._old()
        if kind < 0.06:
            yield self._of_all()
            return
        what = self._random.choice(("creating", "updating", "deleting", "reading", "importing"))
        if self._chance(0.85):
            begun: dict[str, Any] = {"kind": Kind.BEGIN, "operationID": number}
            if self._chance(0.9):
                begun["operation"] = {"resource": self._resource(), "type": what}
            yield begun
        if self._chance(0.12):
            return
        if self._chance(0.08):
            yield {"kind": Kind.FAILURE, "operationID": number}
            return
        yield self._ended(number, old)

    def _ended(self, number: int, old: int | None) -> dict[str, Any]:
        entry: dict[str, Any] = {"operationID": number}
        choice = self._random.random()
        state = self._resource(self._random.choice(self._urns) if self._urns and self._chance(0.5) else "")
        made = self._random.choice(self._made) if self._made and self._chance(0.4) else None
        target = {"removeNew": made} if made is not None else {"removeOld": old} if old is not None else {}
        if choice < 0.2:
            entry |= {"kind": Kind.REFRESH_SUCCESS, **target}
            if self._chance(0.7):
                entry["state"] = state
            return entry
        if choice < 0.3:
            return entry | {"kind": Kind.OUTPUTS, "state": state, **target}
        entry["kind"] = Kind.SUCCESS
        if choice < 0.8:
            entry["state"] = state
            self._made.append(number)
        for name, one in (("remove", 0.5), ("delete", 0.2), ("pendingReplacement", 0.15)):
            if self._chance(one) and target:
                (where, value), *_ = target.items()
                entry[where.replace("remove", name)] = value
        if self._chance(0.1):
            entry["isRefresh"] = True
        if self._chance(0.05):
            entry["requiresByteString"] = True
        return entry

    def _of_all(self) -> dict[str, Any]:
        """An entry that is about no resource."""
        kind = self._random.choice(
            (Kind.SECRETS_MANAGER, Kind.REBUILT_BASE_STATE, Kind.EXTENSION_PARAMETERIZE, Kind.WRITE, Kind.SNIPPETS)
        )
        match kind:
            case Kind.SECRETS_MANAGER:
                return {"kind": kind, "secretsProvider": {"type": "passphrase", "state": {"salt": "v1:new"}}}
            case Kind.EXTENSION_PARAMETERIZE:
                return {
                    "kind": kind,
                    "extensionRef": "e2",
                    "extension": {"name": "y", "version": "2.0.0", "value": "eQ=="},
                }
            case Kind.WRITE if not self._made and not self.entries:
                return {"kind": kind, "newSnapshot": self._deployment()}
            case Kind.SNIPPETS:
                names = {"uuid": "u", "name": "n", "type": "t", "code": "c", "descriptor": {"name": "d"}}
                return {
                    "kind": kind,
                    "snippets": [{**names, "references": {"x": self._random.choice([*self._urns, ROOT])}}],
                }
            case Kind.REBUILT_BASE_STATE if not self._made:
                return {"kind": kind}
            case _:
                return {"kind": Kind.SECRETS_MANAGER, "secretsProvider": {"type": "default"}}
