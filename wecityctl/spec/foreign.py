"""Hints for field names of Kubernetes, Docker Compose and Score: what to write here instead.

Each text continues a sentence after "expected". Where there is no equivalent, the text says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_FILES = "`volumes: [{name: uploads, path: /data, size: 20Gi}]` of a component, or `files` for texts"
_IDENTITY = "nothing: every app has an account without rights of its own, and tenants' roles are made from `admins`"
_NODES = "`zone`, `cloud`, `placement` or `architectures`; which node it is, the scheduler decides"
_PULL = "`images.credentials` of the City, such as {registry.example: harbor}; every pod that needs one then has it"
_PULLING = "nothing: an image that a node has is not pulled again; name it by digest where it may change"
_RESTRICTED = (
    "`user` and `readOnlyRoot` of a component; for the rest, every pod is held to the restricted Pod Security Standard"
)
_PROBES = "`health: {path: /healthz}`, from which all probes are made, or `probes` with `ready` and `live`"
_SCHEDULE = '`schedule: "0 3 * * *"` of a component, or `run: before-release`'
_SIDECAR = "another entry under `components`; each is a pod of its own"
_BEFORE = "another component with `run: before-release`, or a Deployment in a file under `manifests` of the App"
_SERVICE = "`port` of a component, or `ports` by name: each component with one has a Service"
_OWN = "`manifests: [file.yaml]` of the App"
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
        **dict.fromkeys(("imagePullSecrets", "imagePullSecret", "pullSecrets", "imageCredentials"), _PULL),
        **dict.fromkeys(("imagePullPolicy", "pullPolicy", "pull_policy"), _PULLING),
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
        **dict.fromkeys(("initContainers", "init"), _BEFORE),
        **dict.fromkeys(("sidecars", "extraContainers"), _SIDECAR),
        **dict.fromkeys(("containers", "services", "pods", "workloads"), "`components` of an app"),
        **dict.fromkeys(("service", "servicePort", "nodePort", "clusterIP"), _SERVICE),
        **dict.fromkeys(("extraManifests", "extraObjects", "extraResources", "patches", "kustomize"), _OWN),
        **dict.fromkeys(("lifecycle", "terminationGracePeriodSeconds", "stop_grace_period", "hooks"), _OWN),
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
        **dict.fromkeys(
            ("rollingUpdate", "updateStrategy", "maxSurge", "maxUnavailable"),
            "`strategy` of a component, with `surge` and `unavailable`",
        ),
        **dict.fromkeys(("canary", "setWeight", "weight", "weights"), "`strategy: {type: canary, steps: [10, 50]}`"),
        **dict.fromkeys(("restart", "restartPolicy"), "nothing: pods are always started again"),
        **dict.fromkeys(("build", "dockerfile"), "`image`, built and pushed beforehand"),
        **dict.fromkeys(("container_name", "containerName"), "`name`"),
        **dict.fromkeys(("deploy",), "`replicas` and `resources`"),
        **dict.fromkeys(("storageClassName",), "`storageClass` under `kubernetes` of a Cloud"),
        **dict.fromkeys(("stringData", "secretRef", "secretKeyRef", "valueFrom"), "`secrets`, a list of names"),
        **dict.fromkeys(("replicaCount",), "`replicas` of a component"),
    }
)

# Names that are fields here too, with the value that is written for them elsewhere: by field and type of the value.
SHAPES: Mapping[tuple[str, str], str] = MappingProxyType(
    {
        ("ports", "list"): "a mapping such as `ports: {http: 8080, grpc: 9090}`; one port alone is `port: 8080`",
        ("env", "list"): "a mapping such as `env: {MODE: fast}`; secret values are named under `secrets`",
        ("command", "text"): "a list of words, such as `command: [/app/web, --verbose]`; no shell reads it",
        ("args", "text"): "a list of words, such as `args: [--verbose]`; no shell reads it",
        ("volumes", "text"): "`{name: uploads, path: /data, size: 20Gi}`; texts are under `files`",
        ("secrets", "mapping"): "the name alone, as the city's secret store has it; the variable is named after it",
        ("health", "text"): "a mapping such as `health: {path: /healthz}`",
        ("route", "text"): "a mapping such as `route: {host: health-code, path: /}`",
        ("image", "mapping"): "one text, such as registry.example/health/web:1.4.2",
        ("files", "list"): "a mapping of paths to texts, such as `files: {/etc/app.conf: level=info}`",
        ("schedule", "mapping"): 'one text, such as `schedule: "0 3 * * *"`',
        ("replicas", "mapping"): "a number; bounds are `autoscale: {min: 2, max: 20, cpu: 70}`",
        ("manifests", "mapping"): "a path to a file with manifests, relative to this file",
        ("manifests", "text"): "a list of paths, such as `manifests: [manifests/queue.yaml]`",
        ("credentials", "mapping"): "the name of a secret, whose value `wecityctl secrets set` takes",
        ("credentials", "list"): "a mapping such as `credentials: {registry.example: harbor}`",
    }
)

# Names that are fields elsewhere in an App.
_OF_COMPONENTS = "`{name}` of an entry under `components`, such as `components: [{{name: web, {name}: …}}]`"
_OF_APPS = "`{name}` of the App, beside `components`"


def misplaced(name: str, *, in_component: bool) -> str:
    """What is expected where a field of an App stands in a component (`in_component`), or the reverse."""
    return (_OF_APPS if in_component else _OF_COMPONENTS).format(name=name)


_APP = "App: its components, routes and what it uses"
_MANIFEST = "; or name the file under `manifests` of an App"
KINDS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("DaemonSet", "Pod", "ReplicaSet", "Workload"), _APP),
        **dict.fromkeys(("Deployment", "StatefulSet"), _APP + _MANIFEST),
        **dict.fromkeys(("Ingress", "HTTPRoute", "Gateway"), "App: `port` or `ports` of a component, and its `route`"),
        "Service": "App: `port` or `ports` of a component, and its `route`" + _MANIFEST,
        **dict.fromkeys(("Job", "CronJob"), "App: `schedule` or `run` of a component" + _MANIFEST),
        **dict.fromkeys(("ConfigMap",), "App: `files` and `env` of a component" + _MANIFEST),
        **dict.fromkeys(("Secret",), "App: `secrets` of a component names them; `wecityctl secrets set` gives values"),
        **dict.fromkeys(("Namespace", "ResourceQuota", "LimitRange"), "Tenant: its namespaces, and its `quota`"),
        **dict.fromkeys(("Role", "RoleBinding", "ServiceAccount"), "Tenant: `admins` of it"),
        **dict.fromkeys(("NetworkPolicy",), "App: `uses` and `provides` of it, or City: `flows` of it"),
        **dict.fromkeys(("HorizontalPodAutoscaler",), "App: `autoscale` of a component" + _MANIFEST),
        **dict.fromkeys(("PodDisruptionBudget",), "nothing: components with several replicas have one" + _MANIFEST),
        **dict.fromkeys(
            ("PersistentVolumeClaim", "PersistentVolume"),
            "App: `volumes` of a component; Platform: capabilities with storage",
        ),
        **dict.fromkeys(("Node", "Cluster"), "Cloud: its pools"),
    }
)
