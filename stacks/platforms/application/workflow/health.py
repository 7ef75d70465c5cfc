"""The end-to-end probe of the workflow engine: a process is deployed, started, completed and deleted.

Its environment has HOST, PORT, ADMIN_PASSWORD and what the provisioner's `connecting` gives. What it makes is the
administrator's own, which no app sees. All of it goes through the database.
"""

from __future__ import annotations

from stacks.platforms.application.workflow.access import CONNECT, PATH
from stacks.platforms.probes import ABANDONED, NAMED

# What a killed probe has left is removed by one that comes ten minutes later: deployments have the time in their names.
PROBE = f"""set -euf
{NAMED}
{CONNECT}api=$server{PATH}
first() {{ grep -o '"id":"[^"]*"' answer | head -n 1 | cut -d '"' -f 4; }}
left() {{ grep -o '"id":"[^"]*","name":"probe-[0-9]*-' answer || :; }}
remove() {{ [ -z "$deployment" ] || call DELETE "$api/repository/deployments/$deployment" 204 404 < /dev/null || :; }}
deployment=''
trap remove EXIT
trap 'exit 1' TERM INT
call GET "$api/repository/deployments?size=100" 200 < /dev/null
left | sed 's/"id":"\\([^"]*\\)","name":"probe-\\([0-9]*\\)-/\\1 \\2/' | while read -r old at; do
  [ "$((now - at))" -lt {ABANDONED} ] || call DELETE "$api/repository/deployments/$old" 204 404 < /dev/null
done
kind='multipart/form-data; boundary=part'
call POST "$api/repository/deployments" 201 <<EOF
--part
Content-Disposition: form-data; name="file"; filename="probe-$now-$id.bpmn20.xml"

<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL">
<process id="probe-$id"><startEvent id="begin"/><sequenceFlow id="one" sourceRef="begin" targetRef="task"/>
<userTask id="task" name="probe"/><sequenceFlow id="two" sourceRef="task" targetRef="end"/>
<endEvent id="end"/></process>
</definitions>
--part--
EOF
deployment=$(first)
kind=application/json
call POST "$api/runtime/process-instances" 201 <<EOF
{{"processDefinitionKey":"probe-$id","variables":[{{"name":"mark","value":"$id"}}]}}
EOF
instance=$(first)
call GET "$api/runtime/tasks?processInstanceId=$instance" 200 < /dev/null
task=$(first)
call GET "$api/runtime/tasks/$task/variables" 200 < /dev/null
grep -q -F "\\"value\\":\\"$id\\"" answer || {{
   echo "a variable that was set is read as $(head -c 300 answer)" >&2
  exit 1
}}
call POST "$api/runtime/tasks/$task" 200 204 <<EOF
{{"action":"complete"}}
EOF
call GET "$api/history/historic-process-instances/$instance" 200 < /dev/null
grep -q '"endTime":"[0-9]' answer || {{ echo "an instance whose task was completed has not ended" >&2; exit 1; }}
call GET "$admin/accounts" 200 < /dev/null
echo "a process was deployed, started, completed and deleted, and accounts were listed"
"""
