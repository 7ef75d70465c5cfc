"""The capability type `workflow`: processes with tasks for people; each use has processes that no other one sees."""

from wecityctl.model.catalogue import AlertRule, Binding, CapabilityType, CapabilityUse, Panel, Pods, Port, UsageCounter, UseLimits

TYPE = CapabilityType(
    name="workflow",
    platform="application",
    title="workflow and approvals 流程审批",
    engines=("flowable",),
    licence="Apache-2.0",
    program=f"{__name__}.program:Workflow",
    # Accounts are made on a port of their own, which no use opens; it also serves the metrics.
    ports=(Port("workflow", 8080, "http"), Port("admin", 8081, "http", metrics=True)),
    images=("workflow",),
    pods=(Pods(cpu="250m", memory="640Mi"),),
    binding=Binding(
        "workflow",
        keys=("uri", "username", "password"),
        credentials=("password",),
        provisioner=f"{__name__}.provision:PROVISIONER",
        stores_data=True,
    ),
    uses=(CapabilityUse("postgresql", "db", UseLimits(connections=20)),),
    versions=("7.2.0",),
    architectures=("amd64",),
    health="a process of the administrator's own is deployed, started, completed and deleted",
    probe=f"{__name__}.health:PROBE",
    tls=True,
    # Requests at a time, and what definitions, instances and their history may take.
    limits=UseLimits(connections=8, storage="256Mi"),
)
