"""The capability type `workflow`: processes with tasks for people; each use has processes that no other one sees."""

from wecityctl.model.catalogue import (
    AlertRule,
    Binding,
    CapabilityType,
    CapabilityUse,
    Panel,
    Pods,
    Port,
    UsageCounter,
    UseLimits,
)

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
    # Requests at a time, and what definitions, instances, tasks and their history may take.
    limits=UseLimits(connections=8, storage="256Mi"),
    alerts=(
        AlertRule(
            "WorkflowNearFull",
            # An app whose accounts are all locked has no limit, and starts nothing.
            'wecity_workflow_stored_bytes{capability="$capability"}'
            ' / (wecity_workflow_limit_bytes{capability="$capability"} > 0) > 0.9',
            "what {{ $labels.tenant }}/{{ $labels.app }} has in the workflow engine takes"
            " {{ $value | humanizePercentage }} of what it may",
        ),
    ),
    usage=(UsageCounter("requests", 'wecity_workflow_requests_total{capability="$capability"}'),),
    dashboard=(
        Panel("Requests", "sum by (tenant) (rate(wecity_workflow_requests_total[1m]))", "per second", by=("tenant",)),
        Panel(
            "Instances started",
            "sum by (tenant) (increase(wecity_workflow_instances_started_total[1h]))",
            by=("tenant",),
        ),
        Panel(
            "Tasks completed",
            "sum by (tenant) (increase(wecity_workflow_tasks_completed_total[1h]))",
            by=("tenant",),
        ),
        Panel(
            "Size of what apps have",
            "sum by (tenant) (wecity_workflow_stored_bytes)",
            "bytes",
            by=("tenant",),
            limit="sum by (tenant) (wecity_workflow_limit_bytes)",
        ),
        Panel(
            "Heap of Java",
            'sum(jvm_memory_used_bytes{area="heap"})',
            "bytes",
            limit='sum(jvm_memory_max_bytes{area="heap"} > 0)',
        ),
    ),
)
