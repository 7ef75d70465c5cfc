"""The replay of journals, held against the engine's own replayer."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.journal.journals import Journal
from tests.journal.record import RECORDED
from wecityctl.engine.state.integrity import flaw
from wecityctl.journal.replay import JournalError, Kind, Rebuilt, Replayer, replay

JOURNALS = 2000
Line = dict[str, Any]


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Iterable[Line]], list[Line]]:
    """The engine's replayer, built from the sources of the pinned engine with its pinned dependencies."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("the engine's replayer is Go, and there is no go here")
    place = tmp_path_factory.mktemp("replayer")
    root = Path(__file__).parents[2]
    shutil.copytree(root / "wecityctl" / "toolchain" / "modules" / "pulumi", place, dirs_exist_ok=True)
    shutil.copy(Path(__file__).with_name("replayer.go"), place / "main.go")
    # The flags of the engine's own build, so that what it has compiled is not compiled again.
    build = [go, "build", "-trimpath", "-buildvcs=false", "-mod=readonly", "-ldflags", "-s -w", "-o", "replayer", "."]
    env = {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off", "GOFLAGS": ""}
    subprocess.run(build, cwd=place, env=env, check=True, timeout=600)

    def ask(journals: Iterable[Line]) -> list[Line]:
        text = "".join(f"{json.dumps(item)}\n" for item in journals)
        done = subprocess.run([place / "replayer"], input=text, capture_output=True, text=True, timeout=300, check=True)
        return [json.loads(line) for line in done.stdout.splitlines()]

    return ask


def ours(line: Line) -> Line:
    try:
        found = replay(line["base"], line["entries"], engine="v0", time="")
    except (JournalError, ValueError) as error:
        return {"error": str(error)}
    return as_line(found)


def as_line(found: Rebuilt) -> Line:
    return {"version": found.version, "features": list(found.features), "deployment": found.deployment}


def compared(line: Line) -> Any:
    """What has to be equal: all but the manifest, which names who wrote it, and the order of what was under way, which
    the engine takes from a map."""
    if "error" in line:
        return "error"
    deployment = {key: value for key, value in line["deployment"].items() if key != "manifest"}
    under_way = sorted(deployment.pop("pending_operations", ()), key=json.dumps)
    text = json.dumps([line["version"], line["features"] or [], deployment, under_way], sort_keys=True)
    return json.loads(text)


@pytest.mark.build
def test_every_journal_gives_the_state_that_the_engine_makes_of_it(
    engines: Callable[[Iterable[Line]], list[Line]],
) -> None:
    journals = [Journal(seed) for seed in range(JOURNALS)]
    lines = [{"base": item.base, "entries": item.entries} for item in journals]
    seen = {entry["kind"] for line in lines for entry in line["entries"]}
    assert seen == set(Kind)
    answers = engines(lines)
    assert len(answers) == len(lines)
    assert [answer for answer in answers if "panic" in answer.get("error", "")] == []
    assert sum("error" not in answer for answer in answers) > JOURNALS * 9 // 10
    for seed, (line, theirs) in enumerate(zip(lines, answers, strict=True)):
        assert compared(ours(line)) == compared(theirs), f"seed {seed}: {json.dumps(line)}"


URN = "urn:pulumi:s::p::kubernetes:core/v1:ConfigMap::one"
ONE = {"urn": URN, "custom": True, "id": "1", "type": "kubernetes:core/v1:ConfigMap"}
BASE = {
    "resources": [ONE],
    "pending_operations": [{"resource": ONE, "type": "creating"}, {"resource": ONE, "type": "reading"}],
}


def recorded() -> list[Line]:
    """What the engine journaled in real runs: each with its title, the state it began with, and its entries."""
    found: list[Line] = json.loads(gzip.decompress(RECORDED.read_bytes()))
    return found


@pytest.mark.build
def test_recorded_runs_give_the_engine_s_state_wherever_they_are_cut_off(
    engines: Callable[[Iterable[Line]], list[Line]],
) -> None:
    """Twenty-two updates of every kind, killed after each of their entries: the engine makes the same of it, and takes
    the state."""
    cuts = [
        (item["title"], {"base": item["base"], "entries": item["entries"][:length]})
        for item in recorded()
        for length in range(len(item["entries"]) + 1)
    ]
    assert len(cuts) > 400
    for (title, line), theirs in zip(cuts, engines(line for _, line in cuts), strict=True):
        assert theirs.get("flaw") == "", (title, len(line["entries"]), theirs)
        mine = ours(line)
        assert compared(mine) == compared(theirs), (title, len(line["entries"]))
        assert flaw(mine["deployment"]) == "", (title, len(line["entries"]))


def test_recorded_runs_are_of_every_kind_and_name_no_machine() -> None:
    titles = {item["title"] for item in recorded()}
    assert {"replace in both orders", "refresh of what is gone", "import", "alias", "many go, some stay"} <= titles
    text = gzip.decompress(RECORDED.read_bytes()).decode()
    assert not re.search(r"/(?:home|root|tmp|usr|work)/", text)


NUMBERS = count(1)


def entry(kind: int, **more: Any) -> Line:
    return {"version": 1, "kind": kind, "sequenceID": next(NUMBERS), "operationID": 1, **more}


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({**entry(Kind.SUCCESS), "version": 2}, "version 2"),
        (entry(77), "unknown kind 77"),
        (entry(Kind.SUCCESS, removeOld=1), "resource 1 of a state that has 1"),
        (entry(Kind.SUCCESS, deleteOld=-1), "resource -1"),
        (entry(Kind.OUTPUTS, state=ONE, removeNew=9), "operation 9"),
        (entry(Kind.SUCCESS, pendingReplacementNew="x"), "no number: 'x'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_entry_that_means_nothing_is_told(bad: Line, words: str) -> None:
    with pytest.raises(JournalError, match=words):
        replay(BASE, [bad], engine="v0", time="")


def test_what_was_begun_and_has_not_ended_is_under_way() -> None:
    operation = {"resource": {**ONE, "urn": f"{URN}-two"}, "type": "creating"}
    begun = [entry(Kind.BEGIN, operation=operation), entry(Kind.BEGIN, operationID=2, operation=operation)]
    state = replay(BASE, [*begun, entry(Kind.FAILURE, operationID=2)], engine="v0", time="T")
    # Of the base, what was being created stays as well: nobody has seen to it.
    assert state.deployment["pending_operations"] == [operation, BASE["pending_operations"][0]]
    assert state.deployment["resources"] == [ONE]
    assert state.deployment["manifest"]["time"] == "T"


def test_batches_that_came_in_another_order_are_put_right() -> None:
    journal = next(
        item for item in map(Journal, range(100)) if len(item.entries) > 8 and "error" not in ours(vars(item))
    )
    line = {"base": journal.base, "entries": journal.entries}
    assert ours({**line, "entries": journal.entries[::-1]}) == ours(line)
    # A batch is sent again when its answer was lost.
    assert ours({**line, "entries": [*journal.entries, *journal.entries[2:5]]}) == ours(line)


def test_neither_the_base_nor_the_entries_are_changed() -> None:
    for seed in range(100):
        journal = Journal(seed)
        before = json.dumps([journal.base, journal.entries])
        replayer = Replayer(journal.base, engine="v0")
        try:
            for item in journal.entries:
                replayer.add(item)
                assert json.dumps(replayer.state(time="").deployment) == json.dumps(replayer.state(time="").deployment)
        except ValueError:
            continue
        assert json.dumps([journal.base, journal.entries]) == before
