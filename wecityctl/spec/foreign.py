"""Hints for field names of Kubernetes, Docker Compose and Score: what to write here instead.

Each text continues a sentence after "expected". Where there is no equivalent, the text says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_FILES = "`volumes: [{name: uploads, path: /data, size: 20Gi}]` of a component, or `files` for texts"
_IDENTITY = "nothing: every app has an account without rights of its own, and tenants' roles are made from `admins`"
_NODES = "`zone`, `cloud`, `placement` or `architectures`; which node it is, the scheduler decides"
_PULL = "nothing: nodes pull with their own credentials; `images.registry` of the City names a mirror"
_RESTRICTED = (
    "`user` and `readOnlyRoot` of a component; for the rest, every pod is held to the restricted Pod Security Standard"
)
_PROBES = "`health: {path: /healthz}`, from which all probes are made, or `probes` with `ready` and `live`"
_SCHEDULE = '`schedule: "0 3 * * *"` of a component, or `run: before-release`'
_SIDECAR = "another entry under `components`; each is a pod of its own"
_VARIABLES = "`env`, a mapping of names to values, and `secrets`, a list of names"
_RESOURCES = (
    "`resources: {cpu: 500m, memory: 512Mi}`: both are requested, and memory is limited too; `limits: {cpu: 2}`"
)
_ROUTE = "`route: {host: ..., path: /}` of the app; the city's entry point serves it"
_NETWORK = (
    "`uses` of an app for capabilities and for what other apps `provides`, and `flows` of the City for zones; "
    "everything else is closed"
)
_COMMAND = "`command` and `args`"
_SCALE = "`autoscale: {min: 2, max: 20, cpu: 70}` of a component"

FIELDS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("volumes", "volumeMounts", "volumeClaimTemplates", "persistence", "tmpfs"), _FILES),
        **dict.fromkeys(("configMap", "configMaps", "configs", "configMapRef"), "`files` or `env` of a component"),
        **dict.fromkeys(("serviceAccount", "serviceAccountName", "rbac", "automountServiceAccountToken"), _IDENTITY),
        **dict.fromkeys(("nodeSelector", "nodeName", "tolerations", "topologySpreadConstraints"), _NODES),
        **dict.fromkeys(("imagePullSecrets", "imagePullPolicy", "pullPolicy", "pull_policy"), _PULL),
        **dict.fromkeys(
            (
                "securityContext",
                "privileged",
                "hostNetwork",
                "hostPID",
                "capAdd",
                "cap_add",
                "security_opt",
                "user",
                "runAsUser",
            ),
            _RESTRICTED,
        ),
        **dict.fromkeys(("livenessProbe", "readinessProbe", "startupProbe", "healthcheck", "probes"), _PROBES),
        **dict.fromkeys(
            ("schedule", "cron", "cronJob", "cronjob", "jobTemplate", "job", "jobs", "activeDeadlineSeconds"), _SCHEDULE
        ),
        **dict.fromkeys(("initContainers", "sidecars", "extraContainers"), _SIDECAR),
        **dict.fromkeys(("containers", "services"), "`components` of an app"),
        **dict.fromkeys(("environment", "envFrom", "env_file", "variables"), _VARIABLES),
        **dict.fromkeys(("requests", "limits", "mem_limit", "cpus"), _RESOURCES),
        **dict.fromkeys(("ingress", "hosts", "hostname", "tls", "virtualHost"), _ROUTE),
        **dict.fromkeys(("networkPolicy", "networks", "egressRules", "links"), _NETWORK),
        **dict.fromkeys(("args", "entrypoint"), _COMMAND),
        **dict.fromkeys(("hpa", "autoscaling", "horizontalPodAutoscaler", "minReplicas", "maxReplicas"), _SCALE),
        **dict.fromkeys(
            ("ports", "containerPort", "targetPort", "expose"), "`port` of a component, or `ports` by name"
        ),
        **dict.fromkeys(("depends_on", "dependsOn", "dependencies"), "`uses`, for which an app waits"),
        **dict.fromkeys(("namespace", "namespaces"), "nothing: a tenant has one for each zone of its apps"),
        **dict.fromkeys(("annotations",), "`labels` under metadata; there are no annotations"),
        **dict.fromkeys(("selector", "matchLabels", "template"), "nothing: it is made from names"),
        **dict.fromkeys(("strategy", "rollingUpdate", "updateStrategy"), "nothing: pods are replaced one at a time"),
        **dict.fromkeys(("restart", "restartPolicy"), "nothing: pods are always started again"),
        **dict.fromkeys(("build", "dockerfile"), "`image`, built and pushed beforehand"),
        **dict.fromkeys(("container_name", "containerName"), "`name`"),
        **dict.fromkeys(("deploy",), "`replicas` and `resources`"),
        **dict.fromkeys(("storageClassName",), "`storageClass` under `kubernetes` of a Cloud"),
        **dict.fromkeys(("stringData", "secretRef", "secretKeyRef", "valueFrom"), "`secrets`, a list of names"),
        **dict.fromkeys(("replicaCount",), "`replicas` of a component"),
    }
)

_APP = "App: its components, routes and what it uses"
KINDS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("Deployment", "StatefulSet", "DaemonSet", "Pod", "ReplicaSet", "Workload"), _APP),
        **dict.fromkeys(
            ("Service", "Ingress", "HTTPRoute", "Gateway"), "App: `port` or `ports` of a component, and its `route`"
        ),
        **dict.fromkeys(("Job", "CronJob"), "App: `schedule` or `run` of a component"),
        **dict.fromkeys(("ConfigMap",), "App: `files` and `env` of a component"),
        **dict.fromkeys(("Secret",), "App: `secrets` of a component names them; `wecityctl secrets set` gives values"),
        **dict.fromkeys(("Namespace", "ResourceQuota", "LimitRange"), "Tenant: its namespaces, and its `quota`"),
        **dict.fromkeys(("Role", "RoleBinding", "ServiceAccount"), "Tenant: `admins` of it"),
        **dict.fromkeys(("NetworkPolicy",), "App: `uses` and `provides` of it, or City: `flows` of it"),
        **dict.fromkeys(("HorizontalPodAutoscaler",), "App: `autoscale` of a component"),
        **dict.fromkeys(
            ("PersistentVolumeClaim", "PersistentVolume"),
            "App: `volumes` of a component; Platform: capabilities with storage",
        ),
        **dict.fromkeys(("Node", "Cluster"), "Cloud: its pools"),
    }
)
