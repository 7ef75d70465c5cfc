"""Apps of two tenants in one workflow engine over PostgreSQL: each has its own processes, an approval goes from one to
the other as a task and nothing more, and a definition runs no code."""

from __future__ import annotations

import re
import socket
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from secrets import token_hex
from typing import Any

import pytest

from stacks.platforms.application.workflow import TYPE
from stacks.platforms.application.workflow.health import PROBE
from stacks.platforms.application.workflow.provision import PROVISIONER
from tests.attack.conftest import Unpacked
from tests.attack.databases import is_provisioned
from tests.attack.served import attacked, database_server, wait_until
from tests.attack.workflow import (
    DATABASE,
    DOUBTFUL,
    LISTS,
    PAGES,
    PASSWORD,
    SAMPLE,
    WHOLE_ENGINE,
    Flowable,
    answers,
    line,
    multipart,
    process,
    workflow_server,
)
from tests.images.rootfs import needs_root
from tests.stacks.cities import application
from wecityctl.model.city import Capability, Use

pytestmark = [pytest.mark.build, pytest.mark.by_digest, needs_root, pytest.mark.timeout(400)]

# The health commission asks the transport bureau for a permit.
EVE, BOB, SISTER = "health.code.flow", "transport.bus.flow", "health.maps.flow"
ACCOUNTS = (EVE, SISTER, BOB)
ADDRESSEE = "transport-bureau/roads"


@pytest.fixture(scope="module")
def flowable(unpacked: Unpacked) -> Iterator[Flowable]:
    platform = application(Capability("application", "workflow", "workflow"))
    city = attacked(
        ("health", "code", Use("workflow", "flow", connections=3)),
        ("health", "maps", Use("workflow", "flow", storage="1Mi")),
        ("transport", "bus", Use("workflow", "flow")),
        platform=platform,
    )
    city = replace(city, roles={**city.roles, "provision-capability-workflow-db": DATABASE})
    with database_server(city, unpacked("postgresql")) as database:
        wait_until(lambda: is_provisioned(database), 120, period=1)
        with workflow_server(city, unpacked("workflow"), database) as found:
            found.served.provision(password=PASSWORD)
            yield found


def permit() -> str:
    """The sample process of the page, addressed to the app that is here."""
    assert ADDRESSEE in SAMPLE
    return SAMPLE.replace(ADDRESSEE, "transport/bus")


@pytest.mark.proves("workflow", "built", "used")
def test_an_app_runs_a_process_of_its_own(flowable: Flowable) -> None:
    text = process(
        '<userTask id="task" flowable:candidateGroups="clerks" flowable:candidateUsers="alice"/>'
        '<exclusiveGateway id="ask" default="no"/>'
        '<sequenceFlow id="a" sourceRef="task" targetRef="ask"/><endEvent id="end"/>'
        '<sequenceFlow id="no" sourceRef="ask" targetRef="task"/>'
        '<sequenceFlow id="yes" sourceRef="ask" targetRef="end">'
        "<conditionExpression>${amount &lt; 100 or sign == 'chief'}</conditionExpression></sequenceFlow>",
        "purchase",
    )
    status, deployed = flowable.deploy(EVE, text, "purchase.bpmn")
    assert (status, deployed["tenantId"]) == (201, EVE), deployed
    assert deployed["url"].startswith(f"https://127.0.0.1:{flowable.port}/process-api/")
    instance = flowable.begin(EVE, "purchase", amount=500, sign="clerk")
    (task,) = flowable.tasks(EVE, instance)
    for query in ("candidateGroup=clerks", "candidateUser=alice"):
        assert flowable.api(EVE, f"runtime/tasks?{query}")[1]["total"] == 1, query
    assert flowable.api(EVE, f"runtime/tasks/{task['id']}", {"action": "claim", "assignee": "alice"})[0] == 200
    assert flowable.api(EVE, f"runtime/tasks/{task['id']}", {"action": "complete"})[0] == 200
    # It was too much, and comes back.
    (again,) = flowable.tasks(EVE, instance)
    assert again["id"] != task["id"]
    signed = {"action": "complete", "variables": [{"name": "sign", "type": "string", "value": "chief"}]}
    assert flowable.api(EVE, f"runtime/tasks/{again['id']}", signed)[0] == 200
    assert flowable.tasks(EVE, instance) == []
    status, past = flowable.api(EVE, f"history/historic-process-instances/{instance}")
    assert past["endActivityId"] == "end", past
    assert flowable.variables(EVE, instance) == {"amount": 500, "sign": "chief"}
    past_tasks = flowable.api(EVE, f"history/historic-task-instances?processInstanceId={instance}")[1]["data"]
    assert sorted(str(item["assignee"]) for item in past_tasks) == ["None", "alice"]


@pytest.mark.proves("workflow", "used")
def test_an_approval_goes_to_another_tenant_as_a_task_and_nothing_more(flowable: Flowable) -> None:
    assert flowable.deploy(EVE, permit())[0] == 201
    instance = flowable.begin(EVE, "permit", street="Main Street", patient="nobody's business")
    (task,) = flowable.shared(BOB)
    assert (task["from"], task["name"]) == ("health/code", "Approve the closing of the street")
    assert task.keys() == {"id", "name", "createTime", "from"}
    place = f"/shared/tasks/{task['id']}"
    whole = flowable.send(BOB, place)[1]
    fields = {item["id"]: (item["value"], item["writable"]) for item in whole["formProperties"]}
    assert fields == {"street": ("Main Street", False), "approved": (None, True), "reason": (None, True)}
    assert "business" not in str(whole)
    # By any other way it is not there, and for nobody else.
    assert flowable.shared(SISTER) == flowable.shared(EVE) == []
    assert flowable.send(SISTER, place)[0] == flowable.send(EVE, place)[0] == 404
    assert flowable.send(SISTER, place, {"by": "eve", "properties": answers({"approved": True})})[0] == 404
    for path in (f"runtime/tasks/{task['id']}", f"runtime/tasks/{task['id']}/variables"):
        assert flowable.api(BOB, path)[0] == 404
    assert flowable.api(BOB, f"runtime/process-instances/{instance}")[0] == 404

    def fill(by: str = "bob", **properties: Any) -> tuple[int, Any]:
        return flowable.send(BOB, place, {"by": by, "properties": answers(properties)})

    # What the form does not ask for, does not let be changed, or cannot be.
    for given in ({}, {"approved": "perhaps"}, {"approved": True, "patient": "x"}, {"approved": True, "street": "x"}):
        assert fill(**given)[0] == 400, given
    assert fill("health/code/eve", approved=True)[0] == 400
    assert flowable.variables(EVE, instance) == {"street": "Main Street", "patient": "nobody's business"}
    assert fill(approved=True, reason="none")[0] == 204
    assert fill(approved=True)[0] == 404
    assert flowable.shared(BOB) == []
    # Who asked sees who has answered, in a form that no app can give itself.
    (done,) = flowable.api(EVE, f"history/historic-task-instances?processInstanceId={instance}&finished=true")[1][
        "data"
    ]
    assert done["assignee"] == "transport/bus/bob"
    assert flowable.variables(EVE, instance)["approved"] is True
    (task,) = flowable.tasks(EVE, instance)
    forged = {"action": "claim", "assignee": "transport/bus/bob"}
    assert flowable.api(EVE, f"runtime/tasks/{task['id']}", forged)[0] == 400
    # A process that fails says so, and nothing of what it consists of.
    broken = process(
        '<userTask id="task" flowable:candidateGroups="transport/bus"/><exclusiveGateway id="ask"/><endEvent id="end"/>'
        '<sequenceFlow id="a" sourceRef="task" targetRef="ask"/>'
        + "".join(
            f'<sequenceFlow id="{name}" sourceRef="ask" targetRef="end">'
            f"<conditionExpression>${{patient == '{name}'}}</conditionExpression></sequenceFlow>"
            for name in ("alice", "bob")
        ),
        "broken",
    )
    assert flowable.deploy(EVE, broken)[0] == 201
    failing = flowable.begin(EVE, "broken")
    (task,) = flowable.shared(BOB)
    status, answer = flowable.send(BOB, f"/shared/tasks/{task['id']}", {"by": "bob", "properties": []})
    assert (status, answer) == (422, {"message": "the process of health/code does not take the answer"})
    assert len(flowable.shared(BOB)) == 1
    assert flowable.api(EVE, f"runtime/process-instances/{failing}", method="DELETE")[0] == 204
    # What is claimed by who asks is no longer offered.
    other = flowable.begin(EVE, "permit", street="Side Street")
    (own,) = flowable.tasks(EVE, other)
    assert len(flowable.shared(BOB)) == 1
    flowable.api(EVE, f"runtime/tasks/{own['id']}", {"action": "claim", "assignee": "eve"})
    assert flowable.shared(BOB) == []


@pytest.mark.proves("workflow", "refused")
def test_nobody_sees_or_changes_what_is_anothers(flowable: Flowable) -> None:
    definition = flowable.deploy(EVE, process('<userTask id="task"/>', "secret"))[1]
    instance = flowable.begin(EVE, "secret", word="sesame")
    (task,) = flowable.tasks(EVE, instance)
    found = flowable.api(EVE, "repository/process-definitions?key=secret")[1]["data"][0]
    for other in (SISTER, BOB):
        for path in LISTS:
            assert flowable.api(other, path)[1]["total"] == 0, path
            for query in (f"tenantId={EVE}", "withoutTenantId=true", "tenantIdLike=%25", *PAGES):
                assert flowable.api(other, f"{path}?{query}")[0] == 400, (path, query)
        things = {
            f"repository/deployments/{definition['id']}": ("GET", "DELETE"),
            f"repository/process-definitions/{found['id']}": ("GET",),
            f"runtime/process-instances/{instance}": ("GET", "DELETE"),
            f"runtime/process-instances/{instance}/variables": ("GET",),
            f"runtime/tasks/{task['id']}": ("GET",),
            f"runtime/tasks/{task['id']}/variables": ("GET",),
            f"form/form-data?taskId={task['id']}": ("GET",),
            f"history/historic-process-instances/{instance}": ("GET", "DELETE"),
            f"history/historic-variable-instances?processInstanceId={instance}": ("GET",),
        }
        for path, methods in things.items():
            for method in methods:
                assert flowable.api(other, path, method=method)[0] == 404, (method, path)
        for body in ({"action": "complete"}, {"action": "claim", "assignee": "bob"}):
            assert flowable.api(other, f"runtime/tasks/{task['id']}", body)[0] == 404
        assert flowable.api(other, "form/form-data", {"taskId": task["id"], "properties": []})[0] == 404
        starts = {
            404: ({"processDefinitionId": found["id"]},),
            400: ({"processDefinitionKey": "secret"}, {"processDefinitionKey": "secret", "unknown": 1}),
            403: ({"processDefinitionKey": "secret", "tenantId": EVE},),
        }
        for status, bodies in starts.items():
            for start in bodies:
                assert flowable.api(other, "runtime/process-instances", start)[0] == status, start
    path = f"/process-api/runtime/tasks/{task['id']}"
    assert flowable.send(EVE, path, password="another-password")[0] == 401
    assert flowable.send("", path)[0] == flowable.send("admin", path, password=PASSWORD)[0] == 401
    assert flowable.tasks(EVE, instance)[0]["id"] == task["id"]


def test_what_is_the_whole_engines_is_nobodys(flowable: Flowable) -> None:
    for path in WHOLE_ENGINE:
        assert flowable.send(EVE, path)[0] == 403, path
    for path in ("query/tasks", "query/process-instances", "query/historic-task-instances", "runtime/tasks"):
        assert flowable.api(EVE, path, {"tenantId": BOB})[0] in (403, 405), path
    for path in DOUBTFUL:
        status, answer = flowable.api(EVE, path)
        assert status in (301, 307, 400, 403, 404), (path, status, answer)
    # Accounts are the administrator's, on a port of their own.
    for account in ("", EVE):
        assert flowable.send(account, "/accounts", port=flowable.admin)[0] == 401
        assert flowable.send(account, f"/accounts/{EVE}", {}, "PUT", port=flowable.admin)[0] == 401
    assert flowable.send("admin", "/accounts")[0] == 403


def test_a_definition_runs_no_code(flowable: Flowable) -> None:
    java = "${''.getClass().forName('java.lang.Runtime')}"
    hostile = {
        '<scriptTask id="task" scriptFormat="groovy"><script>1</script></scriptTask>': "2:1: <scriptTask> is not",
        '<serviceTask id="task" flowable:class="java.lang.Object"/>': "2:1: <serviceTask> is not allowed",
        f'<serviceTask id="task" flowable:expression="{java}"/>': "<serviceTask> is not allowed",
        '<serviceTask id="task" flowable:type="http"/>': "<serviceTask> is not allowed",
        '<sendTask id="task" flowable:type="mail"/>': "<sendTask> is not allowed",
        '<callActivity id="task" calledElement="secret"/>': "<callActivity> is not allowed",
        f'<userTask id="task" name="{java}"/>': "the name may not have an expression",
        f'<userTask id="task" flowable:assignee="{java}"/>': "the assignee is a name, or ${VARIABLE}",
        '<exclusiveGateway id="task"/><sequenceFlow id="x" sourceRef="task" targetRef="task"/>': "leads back to itself",
    }
    for steps, message in hostile.items():
        status, answer = flowable.deploy(EVE, process(steps))
        assert status == 400, steps
        assert answer["message"].startswith("permit.bpmn20.xml:2:") and message in answer["message"], answer
    outside = '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>' + process('<userTask id="task" name="&e;"/>')
    assert "a document type is not allowed" in flowable.deploy(EVE, outside)[1]["message"]
    for name in ("x.bar", "x.zip", "x.form", "x.bpmn20.xml.groovy"):
        assert flowable.deploy(EVE, process('<userTask id="task"/>'), name)[0] == 400, name
    two = multipart(process('<userTask id="task"/>'), "a.bpmn").replace(b"--part--", b"") + multipart("x", "b.bpmn")
    assert flowable.api(EVE, "repository/deployments", two)[0] == 400
    assert flowable.api(EVE, "repository/process-definitions?key=hostile")[1]["total"] == 0
    # Values are plain ones.
    for variable in ({"name": "execution", "value": 1}, {"name": "a", "type": "serializable", "value": "rO0AB"}):
        body = {"processDefinitionKey": "hostile", "variables": [variable]}
        status, answer = flowable.api(EVE, "runtime/process-instances", body)
        assert status == 400 and "variable" in answer["message"], answer


def test_the_engine_by_itself_has_nothing_to_run_either(flowable: Flowable) -> None:
    """A definition that came past the program before it: no beans of the application, and no language of scripts."""

    def begin(steps: str, key: str) -> str:
        body = multipart(process(steps, key), f"{key}.bpmn20.xml")
        path = "/process-api/repository/deployments?tenantId=admin"
        status, deployed = flowable.send("", path, body, port=flowable.engine)
        assert status == 201, deployed
        started = {"processDefinitionKey": key, "tenantId": "admin"}
        said = flowable.send("", "/process-api/runtime/process-instances", started, port=flowable.engine)
        flowable.api("admin", f"repository/deployments/{deployed['id']}", method="DELETE")
        return str(said)

    end = '<endEvent id="end"/><sequenceFlow id="x" sourceRef="task" targetRef="end"/>'
    for bean in ("dataSource", "springProcessEngineConfiguration", "runtimeService"):
        steps = f'<serviceTask id="task" flowable:expression="${{{bean}.toString()}}"/>{end}'
        assert "Unknown property used in expression" in begin(steps, "beans"), bean
    for language in ("groovy", "javascript"):
        steps = f'<scriptTask id="task" scriptFormat="{language}"><script>1</script></scriptTask>{end}'
        assert "scripting engine" in begin(steps, "scripts"), language


@pytest.mark.proves("workflow", "limited")
def test_limits_hold_and_leave_the_neighbours_alone(flowable: Flowable) -> None:
    # Three requests at a time, whose bodies do not come.
    with ExitStack() as stack:
        for _ in range(3):
            plain = stack.enter_context(socket.create_connection(("127.0.0.1", flowable.port), 10))
            waiting = stack.enter_context(flowable.context.wrap_socket(plain, server_hostname="127.0.0.1"))
            signed = b64encode(f"{EVE}:{PASSWORD}".encode()).decode()
            head = "POST /process-api/runtime/process-instances HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n"
            waiting.sendall(f"{head}Authorization: Basic {signed}\r\n\r\n".encode())
        wait_until(lambda: flowable.api(EVE, "runtime/tasks")[0] == 429)
        assert "3 requests are running" in flowable.api(EVE, "runtime/tasks")[1]["message"]
        assert flowable.api(BOB, "runtime/tasks")[0] == 200
    wait_until(lambda: flowable.api(EVE, "runtime/tasks")[0] == 200)

    # A mebibyte, which two instances with their history nearly take.
    assert flowable.deploy(SISTER, process('<userTask id="task"/>', "large"))[0] == 201
    large = [{"name": f"v{number}", "value": token_hex(1950)} for number in range(60)]
    body = {"processDefinitionKey": "large", "variables": large}
    started = [flowable.api(SISTER, "runtime/process-instances", body)[1]["id"] for _ in range(2)]
    for _ in range(2):
        status, answer = flowable.api(SISTER, "runtime/process-instances", body)
        assert status == 507 and re.search(r"takes \d+ bytes of 1048576", answer["message"]), answer
        assert 800_000 < int(flowable.inventory()[SISTER][1]) < 1_100_000
    assert flowable.deploy(BOB, process('<userTask id="task"/>', "small"))[0] == 201
    assert flowable.begin(BOB, "small")
    # One request has so many variables and bytes, and so has an instance.
    many = [{"name": f"v{number}", "value": 1} for number in range(101)]
    assert flowable.api(BOB, "runtime/process-instances", {**body, "variables": many})[0] == 400
    assert flowable.api(BOB, "runtime/process-instances", {**body, "variables": large * 2})[0] == 413
    # What is deleted makes room.
    for instance in started:
        assert flowable.api(SISTER, f"runtime/process-instances/{instance}", method="DELETE")[0] == 204
        assert flowable.api(SISTER, f"history/historic-process-instances/{instance}", method="DELETE")[0] == 204
    assert int(flowable.inventory()[SISTER][1]) < 100_000
    assert flowable.api(SISTER, "runtime/process-instances", body)[0] == 201


def test_the_probe_runs_a_process_and_leaves_nothing(flowable: Flowable) -> None:
    assert "a process was deployed, started, completed and deleted" in flowable.run(PROBE)
    assert flowable.api("admin", "repository/deployments")[1]["total"] == 0
    assert flowable.api("admin", "history/historic-process-instances")[1]["total"] == 0
    assert "is answered by 401" in flowable.run(PROBE, code=1, ADMIN_PASSWORD="wrong")


def test_metrics_name_who_asks_and_have_what_charts_show(flowable: Flowable) -> None:
    said = flowable.metrics()
    asked = " ".join(f"{panel.query} {panel.limit}" for panel in TYPE.dashboard)
    names = set(re.findall(r"^(\w+)[ {]", said, re.MULTILINE))
    assert set(re.findall(r"(?:jvm|wecity)_\w+", asked)) <= names
    assert re.search(
        r'^wecity_workflow_instances_started_total\{tenant="health",app="code"\} [1-9]', said, re.MULTILINE
    )
    assert re.search(r'^wecity_workflow_limit_bytes\{tenant="health",app="maps"\} 1048576$', said, re.MULTILINE)
    assert 'tenant="city"' not in said


def test_provisioning_again_changes_nothing(flowable: Flowable) -> None:
    before = {account: words[0] + words[2] for account, words in flowable.inventory().items()}
    flowable.served.provision(password=PASSWORD)
    assert {account: words[0] + words[2] for account, words in flowable.inventory().items()} == before
    assert set(before) == set(ACCOUNTS)


def test_who_leaves_is_out_at_once_and_its_neighbours_go_on(flowable: Flowable) -> None:
    flowable.deploy(EVE, permit())
    flowable.begin(EVE, "permit", street="Last Street")
    assert [task["from"] for task in flowable.shared(BOB)] == ["health/code"]
    for _ in range(2):
        flowable.run(PROVISIONER.deprovision, line(EVE), "nobody.x.y nobody/x/y", f"{BOB} somebody/else/auth")
    assert flowable.api(EVE, "runtime/tasks")[0] == 401
    assert flowable.api(SISTER, "runtime/tasks")[0] == flowable.api(BOB, "runtime/tasks")[0] == 200
    assert flowable.shared(BOB) == []
    state, since = flowable.inventory()[EVE][2:]
    assert state == "locked" and abs(int(since) - time.time()) < 60
    flowable.served.provision(password=PASSWORD)
    assert flowable.inventory()[EVE][2:] == ["open", "-"]
    assert [task["from"] for task in flowable.shared(BOB)] == ["health/code"]


def test_a_changed_password_holds_at_once(flowable: Flowable) -> None:
    flowable.served.provision(password="another-password-of-an-app")
    assert flowable.api(EVE, "runtime/tasks")[0] == 401
    assert flowable.send(EVE, "/shared/tasks", password="another-password-of-an-app")[0] == 200
    flowable.served.provision(password=PASSWORD)


def test_a_name_that_is_anothers_is_not_handed_over(flowable: Flowable) -> None:
    values = {"APP_ROLE": EVE, "APP_PASSWORD": PASSWORD, "OWNER": "other/app/flow", "REQUESTS": "8", "STORAGE": "1000"}
    said = flowable.run(PROVISIONER.script, code=1, **values)
    assert "is answered by 409" in said and "the account is another owner's" in said


def test_the_next_server_goes_on_with_what_is_in_the_database(flowable: Flowable) -> None:
    assert flowable.deploy(BOB, process('<userTask id="task"/>', "kept"))[0] == 201
    instance = flowable.begin(BOB, "kept", word="kept")
    with flowable.another() as following:
        (task,) = following.tasks(BOB, instance)
        assert following.api(BOB, f"runtime/tasks/{task['id']}/variables")[1][0]["value"] == "kept"
        assert following.api(BOB, f"runtime/tasks/{task['id']}", {"action": "complete"})[0] == 200
    assert flowable.tasks(BOB, instance) == []


def test_what_is_deleted_takes_everything_with_it(flowable: Flowable) -> None:
    flowable.run(PROVISIONER.delete, f"{EVE} other/app/flow")
    assert set(flowable.inventory()) == set(ACCOUNTS)
    for _ in range(2):
        flowable.run(PROVISIONER.delete, line(EVE))
    assert set(flowable.inventory()) == {SISTER, BOB}
    path = f"/process-api/history/historic-process-instances?tenantId={EVE}"
    assert flowable.send("", path, port=flowable.engine)[1]["total"] == 0
    flowable.served.provision(password=PASSWORD)
    assert flowable.api(EVE, "repository/deployments")[1]["total"] == 0
    assert int(flowable.inventory()[EVE][1]) == 0


def test_a_renewed_certificate_is_taken_over(flowable: Flowable) -> None:
    before = flowable.served.certificate()
    flowable.served.certify()
    wait_until(lambda: flowable.served.certificate() != before)
    assert flowable.api(BOB, "runtime/tasks")[0] == 200
