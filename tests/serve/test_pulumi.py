"""Plain `pulumi` against the state server: every command that a team uses, and what is there when the server is not."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from tests.serve.conftest import Pulumi, Server, ended

pytestmark = [pytest.mark.engine]

STACK = "city.base.main"


def settings(pulumi: Pulumi, stack: str, **values: object) -> None:
    """Give a stack's settings file these values beside the salt that is there."""
    path = pulumi.directory / "project" / f"Pulumi.{stack}.yaml"
    salt = next((line for line in path.read_text().splitlines() if line.startswith("encryptionsalt")), "")
    lines = [f"  wecity:{key}: {json.dumps(str(value))}" for key, value in values.items()]
    path.write_text("\n".join([salt, "config:", *lines, ""]))


def test_a_stack_lives_through_the_server(server: Server, pulumi: Pulumi) -> None:
    assert "as uma" in pulumi.run(server, "uma", "login", server.url)
    assert pulumi.run(server, "uma", "whoami").strip().endswith("uma")
    pulumi.run(server, "uma", "stack", "init", STACK, "--secrets-provider", "passphrase")
    pulumi.run(server, "uma", "config", "set", "wecity:parts", "3", "--stack", STACK)
    at = ("--stack", STACK)
    # A preview changes nothing, and whoever may only preview can do no more.
    assert "5 to create" in pulumi.run(server, "pia", "preview", *at)
    refused = pulumi.run(server, "pia", "up", "--yes", "--skip-preview", *at, code=None)
    assert "pia has the role preview" in refused
    pulumi.run(server, "uma", "up", "--yes", "--message", "first one", *at)
    assert pulumi.run(server, "pia", "stack", "output", "count", *at).strip().endswith("3")
    assert pulumi.run(server, "pia", "stack", "output", "hidden", "--show-secrets", *at).strip().endswith("geheim")
    pulumi.run(server, "uma", "refresh", "--yes", *at)
    listed = json.loads(pulumi.run(server, "pia", "stack", "ls", "--json"))
    assert [(item["name"], item["resourceCount"]) for item in listed] == [(STACK, 5)]
    history = json.loads(pulumi.run(server, "pia", "stack", "history", "--json", *at))
    kinds = [(item["kind"], item["environment"]["wecity.who"], item["result"]) for item in history]
    assert kinds[:2] == [("refresh", "uma", "succeeded"), ("update", "uma", "succeeded")]
    assert (history[1]["message"], history[1]["resourceChanges"]) == ("first one", {"create": 5})
    assert [item["version"] for item in history] == list(range(len(history), 0, -1))
    assert "wecity.who: uma" in pulumi.run(server, "pia", "stack", "history", *at)
    pulumi.run(server, "uma", "stack", "tag", "set", "environment", "production", *at)
    assert pulumi.run(server, "pia", "stack", "tag", "get", "environment", *at).strip() == "production"
    assert "production" in ended(pulumi.beside(server, "stack", "tag", "ls", *at))
    # Export and import: the latter is the administrator's.
    exported = pulumi.directory / "export.json"
    pulumi.run(server, "pia", "stack", "export", "--file", str(exported), *at)
    assert "geheim" not in exported.read_text()
    assert "needs admin" in pulumi.run(server, "uma", "stack", "import", "--file", str(exported), *at, code=None)
    pulumi.run(server, "ada", "stack", "import", "--file", str(exported), *at)
    pulumi.run(server, "uma", "destroy", "--yes", *at)
    assert "needs admin" in pulumi.run(server, "uma", "stack", "rm", "--yes", *at, code=None)
    pulumi.run(server, "ada", "stack", "rm", "--yes", "--preserve-config", *at)
    assert json.loads(pulumi.run(server, "ada", "stack", "ls", "--json")) == []
    log = server.file("log.jsonl").read_text()
    assert not any(token in log for token in server.tokens.values())
    assert "geheim" not in log


def test_a_stack_whose_secrets_the_server_would_keep_is_refused(server: Server, pulumi: Pulumi) -> None:
    said = pulumi.run(server, "uma", "stack", "init", "city.base.plain", code=None)
    assert "secrets provider of its own" in said
    assert json.loads(pulumi.run(server, "ada", "stack", "ls", "--json")) == []


def test_any_project_is_served_and_each_has_its_own_stacks(server: Server, pulumi: Pulumi) -> None:
    stack, project = "city.base.twice", pulumi.directory / "project" / "Pulumi.yaml"
    at = ("--stack", stack)
    pulumi.run(server, "uma", "stack", "init", stack, "--secrets-provider", "passphrase")
    (pulumi.directory / "project" / f"Pulumi.{stack}.yaml").unlink()
    project.write_text(project.read_text().replace("name: wecity", "name: shop"))
    pulumi.run(server, "uma", "stack", "init", stack, "--secrets-provider", "passphrase")
    pulumi.run(server, "uma", "config", "set", "wecity:parts", "2", *at)
    # A token for some stacks of ours is for none of another project.
    assert "may not see shop/" in pulumi.run(server, "tom", "preview", *at, code=None)
    pulumi.run(server, "uma", "up", "--yes", "--skip-preview", *at)
    pulumi.run(server, "uma", "stack", "tag", "set", "environment", "trial", *at)
    listed = json.loads(pulumi.run(server, "pia", "stack", "ls", "--all", "--json"))
    assert sorted(item.get("resourceCount", 0) for item in listed) == [0, 4]
    assert json.loads(pulumi.run(server, "pia", "stack", "history", "--json", *at))[0]["kind"] == "update"
    # At rest it is where plain pulumi looks for it.
    assert "trial" in ended(pulumi.beside(server, "stack", "tag", "ls", *at))
    assert json.loads(ended(pulumi.beside(server, "stack", "ls", "--json")))[0]["resourceCount"] == 4
    pulumi.run(server, "uma", "destroy", "--yes", *at)
    pulumi.run(server, "ada", "stack", "rm", "--yes", *at)
    project.write_text(project.read_text().replace("name: shop", "name: wecity"))
    assert [item["name"] for item in json.loads(pulumi.run(server, "ada", "stack", "ls", "--json"))] == [stack]
    pulumi.run(server, "ada", "stack", "rm", "--yes", *at)


def test_one_update_at_a_time_and_nothing_is_lost_when_the_server_is_killed(server: Server, pulumi: Pulumi) -> None:
    stack, gate = "city.base.kept", pulumi.directory / "gate"
    at = ("--stack", stack)
    pulumi.run(server, "uma", "stack", "init", stack, "--secrets-provider", "passphrase")
    settings(pulumi, stack, parts=2, wait=gate)
    running = pulumi.at(server, "uma", "up", "--yes", "--skip-preview", *at)
    _wait_for(Path(f"{gate}.there"))
    # A second one is refused, with who has the stack; plain pulumi on the directory too.
    refused = pulumi.run(server, "ada", "up", "--yes", "--skip-preview", *at, code=None)
    assert "being changed by uma" in refused
    directly = ended(pulumi.beside(server, "up", "--yes", "--skip-preview", *at), None)
    assert "locked" in directly
    assert "may not do this" in pulumi.run(server, "pia", "cancel", "--yes", stack, code=None)
    # An administrator ends it: its engine is told, and what it has made is in the state.
    pulumi.run(server, "ada", "cancel", "--yes", stack)
    gate.touch()
    assert "ada has cancelled it" in ended(running, None)
    assert "first" in pulumi.run(server, "pia", "stack", "export", *at)
    # The server is killed while an update runs.
    gate.unlink()
    Path(f"{gate}.there").unlink()
    settings(pulumi, stack, parts=5, wait=gate)
    running = pulumi.at(server, "uma", "up", "--yes", "--skip-preview", *at)
    _wait_for(Path(f"{gate}.there"))
    server.end(signal.SIGKILL)
    server.start()
    # Its engine goes on with the next server, once it asks again.
    gate.touch()
    ended(running)
    assert json.loads(pulumi.run(server, "pia", "stack", "history", "--json", *at))[0]["result"] == "succeeded"
    # The engine is killed, and then the server too.
    gate.unlink()
    Path(f"{gate}.there").unlink()
    settings(pulumi, stack, parts=4, wait=gate)
    running = pulumi.at(server, "uma", "up", "--yes", "--skip-preview", *at)
    _wait_for(Path(f"{gate}.there"))
    running.kill()
    ended(running, None)
    server.end(signal.SIGINT)
    server.start()
    assert json.loads(pulumi.run(server, "pia", "stack", "history", "--json", *at))[0]["result"] == "failed"
    gate.touch()
    settings(pulumi, stack, parts=5, wait=gate)
    pulumi.run(server, "uma", "up", "--yes", "--skip-preview", *at)
    # Without the server, plain pulumi on the directory sees it all.
    server.end()
    listed = json.loads(ended(pulumi.beside(server, "stack", "ls", "--json")))
    assert [(item["name"], item["resourceCount"]) for item in listed] == [(stack, 7)]
    ended(pulumi.beside(server, "destroy", "--yes", *at))
    assert "update" in ended(pulumi.beside(server, "stack", "history", *at))
    server.start()
    assert json.loads(pulumi.run(server, "pia", "stack", "ls", "--json"))[0]["resourceCount"] == 0


def _wait_for(path: Path) -> None:
    until = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < until, path
        time.sleep(0.05)
