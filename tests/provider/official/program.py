"""What the official plug-in was given: 45 objects with spellings that normalise. Kept as it was run."""

# ruff: noqa
# mypy: ignore-errors
import pulumi, pulumi_kubernetes as k
from pulumi_kubernetes.apiextensions import CustomResource

V = 1


def v(a, b):
    return a if V == 1 else b


L = lambda n: {"app": n}


def pod(n, **x):
    c = {"name": "c", "image": "nginx", **x.pop("c", {})}
    return {"metadata": {"labels": L(n)}, "spec": {"containers": [c], **x}}


def dep(n, spec=None, meta=None, opts=None, **x):
    return k.apps.v1.Deployment(
        n,
        metadata={"name": n, **(meta or {})},
        spec={"selector": {"matchLabels": L(n)}, "template": pod(n, **x), **(spec or {})},
        opts=opts,
    )


dep("d-emptyenv", c={"env": [{"name": "X", "value": ""}, {"name": "Y", "value": v("1", "2")}]})
dep(
    "d-emptylists",
    tolerations=[],
    nodeSelector={},
    volumes=[],
    imagePullSecrets=[],
    c={"args": [], "ports": []},
    spec={"replicas": v(1, 2)},
)
dep(
    "d-false",
    hostNetwork=False,
    hostPID=False,
    c={
        "stdin": False,
        "tty": False,
        "volumeMounts": [{"name": "v", "mountPath": "/v", "readOnly": False}],
        "securityContext": {"privileged": False, "readOnlyRootFilesystem": v(False, True)},
    },
    volumes=[{"name": "v", "emptyDir": {}}],
)
dep("d-zero", spec={"minReadySeconds": 0, "paused": False, "revisionHistoryLimit": v(0, 2), "replicas": 0})
dep(
    "d-quant",
    c={
        "resources": {
            "requests": {"cpu": v("0.1", "100m"), "memory": "64Mi"},
            "limits": {"cpu": "1000m", "memory": v("1024Mi", "1Gi")},
        }
    },
)
dep(
    "d-envorder",
    c={
        "env": v(
            [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
            [{"name": "B", "value": "2"}, {"name": "A", "value": "1"}],
        )
    },
)
dep("d-secretenv", c={"env": [{"name": "P", "value": pulumi.Output.secret(v("p1", "p2"))}]})
dep("d-labels", meta={"labels": v({"a": "1", "b": "2"}, {"a": "1"}), "annotations": {}})
dep(
    "d-strategy",
    spec={
        "strategy": v(
            {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0}}, {"type": "Recreate"}
        )
    },
)
k.networking.v1.NetworkPolicy(
    "np-deny",
    metadata={"name": "np-deny"},
    spec={"podSelector": {}, "policyTypes": ["Ingress", "Egress"], "ingress": [], "egress": v([], [{}])},
)
k.networking.v1.NetworkPolicy(
    "np",
    metadata={"name": "np"},
    spec={
        "podSelector": {"matchLabels": {}},
        "ingress": [{"from": [{"podSelector": {}}], "ports": [{"port": v(80, 81)}]}],
    },
)
k.core.v1.ConfigMap("cm-empty", metadata={"name": "cm-empty", "labels": {}}, data={})
k.core.v1.ConfigMap("cm", metadata={"name": "cm"}, data={"a": v("1", "2"), "long": "x\ny\n", "e": ""})
k.core.v1.ConfigMap("cm-auto", data={"a": v("1", "2")})
k.core.v1.ConfigMap("cm-secret", metadata={"name": "cm-secret"}, data={"a": pulumi.Output.secret(v("s1", "s2"))})
k.core.v1.Secret("s-string", metadata={"name": "s-string"}, string_data={"p": v("geheim", "anders"), "u": "健康"})
k.core.v1.Secret(
    "s-both", metadata={"name": "s-both"}, string_data={"p": "x"}, data={"p": "eQ==", "q": v("eg==", "eHg=")}
)
k.core.v1.Secret(
    "s-data", metadata={"name": "s-data", "annotations": {"n": v("1", "2")}}, data={"q": "eg=="}, type="Opaque"
)
k.core.v1.Secret("s-none", metadata={"name": "s-none"})
k.core.v1.Service(
    "svc",
    metadata={"name": "svc"},
    spec={"selector": L("d-labels"), "ports": [{"port": 80, "targetPort": v(80, 81), "name": "a"}], "externalIPs": []},
)
k.core.v1.Service(
    "svc-hl",
    metadata={"name": "svc-hl"},
    spec={"clusterIP": "None", "selector": L("d-labels"), "ports": [{"port": v(80, 81)}]},
)
k.core.v1.Service(
    "svc-type",
    metadata={"name": "svc-type"},
    spec={"type": v("ClusterIP", "NodePort"), "selector": L("d-labels"), "ports": [{"port": 80}]},
)
k.core.v1.Service(
    "svc-ext", metadata={"name": "svc-ext"}, spec={"type": "ExternalName", "externalName": v("a.example", "b.example")}
)
k.networking.v1.Ingress(
    "ing",
    metadata={"name": "ing", "annotations": {"pulumi.com/skipAwait": "true"}},
    spec={
        "rules": [
            {
                "host": v("a.example", "b.example"),
                "http": {
                    "paths": [
                        {
                            "path": "/",
                            "pathType": "Prefix",
                            "backend": {"service": {"name": "svc", "port": {"number": 80}}},
                        }
                    ]
                },
            }
        ]
    },
)
k.autoscaling.v2.HorizontalPodAutoscaler(
    "hpa",
    metadata={"name": "hpa"},
    spec={
        "minReplicas": 1,
        "maxReplicas": v(3, 4),
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d-labels"},
        "metrics": [
            {
                "type": "Resource",
                "resource": {"name": "memory", "target": {"type": "Utilization", "averageUtilization": 70}},
            },
            {
                "type": "Resource",
                "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}},
            },
        ],
    },
)
k.rbac.v1.Role(
    "role",
    metadata={"name": "role"},
    rules=[{"apiGroups": [""], "resources": ["pods"], "verbs": v(["get"], ["get", "list"]), "resourceNames": []}],
)
k.rbac.v1.RoleBinding(
    "rb",
    metadata={"name": "rb"},
    role_ref={"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": v("role", "role2")},
    subjects=[{"kind": "ServiceAccount", "name": "sa"}],
)
k.core.v1.ServiceAccount("sa", metadata={"name": "sa"}, automount_service_account_token=v(False, True))
k.batch.v1.CronJob(
    "cj",
    metadata={"name": "cj"},
    spec={
        "schedule": v("0 0 1 1 *", "0 0 2 1 *"),
        "suspend": False,
        "jobTemplate": {
            "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "x"}]}}}
        },
    },
)
k.batch.v1.Job(
    "job",
    metadata={"name": "job", "annotations": {"pulumi.com/skipAwait": "true"}},
    spec={
        "parallelism": v(1, 2),
        "backoffLimit": 0,
        "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "x"}]}},
    },
)
k.policy.v1.PodDisruptionBudget(
    "pdb", metadata={"name": "pdb"}, spec={"minAvailable": v("50%", 1), "selector": {"matchLabels": L("d-labels")}}
)
k.apps.v1.StatefulSet(
    "sts",
    metadata={"name": "sts"},
    spec={
        "serviceName": "svc-hl",
        "revisionHistoryLimit": v(3, 4),
        "replicas": 1,
        "selector": {"matchLabels": L("sts")},
        "template": pod("sts"),
    },
)
k.apps.v1.StatefulSet(
    "sts-vct",
    metadata={"name": "sts-vct"},
    spec={
        "serviceName": "svc-hl",
        "replicas": 1,
        "selector": {"matchLabels": L("sts-vct")},
        "template": pod(
            "sts-vct", c={"image": v("nginx:1", "nginx:2"), "volumeMounts": [{"name": "data", "mountPath": "/d"}]}
        ),
        "volumeClaimTemplates": [
            {
                "metadata": {"name": "data"},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1024Mi"}}},
            }
        ],
    },
)
k.apps.v1.DaemonSet(
    "ds",
    metadata={"name": "ds"},
    spec={"selector": {"matchLabels": L("ds")}, "template": pod("ds", c={"image": v("nginx:1", "nginx:2")})},
)
k.core.v1.PersistentVolumeClaim(
    "pvc",
    metadata={"name": "pvc"},
    spec={"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": v("1024Mi", "2Gi")}}},
)
k.core.v1.ResourceQuota(
    "rq", metadata={"name": "rq"}, spec={"hard": {"requests.cpu": v("50000m", "51"), "pods": "100"}}
)
k.core.v1.LimitRange(
    "lr",
    metadata={"name": "lr"},
    spec={
        "limits": [
            {
                "type": "Container",
                "default": {"cpu": v("0.5", "0.6"), "memory": "256Mi"},
                "defaultRequest": {"cpu": "0.01"},
            }
        ]
    },
)
k.core.v1.Namespace("ns", metadata={"labels": {"a": v("1", "2")}})
k.scheduling.v1.PriorityClass(
    "pc", metadata={"name": "pc-" + pulumi.get_stack()}, value=v(100, 200), global_default=False, description=""
)
k.storage.v1.StorageClass(
    "sc",
    metadata={"name": "sc-" + pulumi.get_stack()},
    provisioner="x/y",
    parameters={"a": v("1", "2")},
    reclaim_policy="Delete",
)
k.core.v1.Pod(
    "pod",
    metadata={"name": "pod", "labels": {"x": v("1", "2")}},
    spec={"containers": [{"name": "c", "image": v("nginx:1", "nginx:2")}]},
)
crd = k.apiextensions.v1.CustomResourceDefinition(
    "crd",
    metadata={"name": "things.t.example"},
    spec={
        "group": "t.example",
        "scope": "Namespaced",
        "names": {"plural": "things", "singular": "thing", "kind": "Thing"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "properties": {
                                    "n": {"type": "integer"},
                                    "size": {"type": "string", "default": "big"},
                                    "list": {"type": "array", "items": {"type": "string"}},
                                    "any": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                                    "q": {"x-kubernetes-int-or-string": True},
                                },
                            }
                        },
                    }
                },
            }
        ],
    },
)
CustomResource(
    "thing",
    api_version="t.example/v1",
    kind="Thing",
    metadata={"name": "thing"},
    spec={"n": v(1, 2), "list": [], "any": {"cpu": "1000m", "e": {}}, "q": "1000m"},
    opts=pulumi.ResourceOptions(depends_on=[crd]),
)
CustomResource(
    "thing2",
    api_version="t.example/v1",
    kind="Thing",
    metadata={"name": "thing2"},
    spec={"any": {"cpu": v("1000m", "1"), "list": v(["a", "b"], ["b"])}},
    opts=pulumi.ResourceOptions(depends_on=[crd]),
)
dep("d-ignore", spec={"replicas": v(1, 2)}, opts=pulumi.ResourceOptions(ignore_changes=["spec.replicas"]))
