"""The gateway: nginx that serves the routes which the entry stack renders.

The pods run without any route until the entry stack's ConfigMap appears. A loader beside nginx tests each new
configuration and has nginx take it over without dropping a connection; one that does not pass is never loaded.
"""

from __future__ import annotations

from wecityctl.model.outputs import Endpoint
from wecityctl.stacks import network, pods
from wecityctl.stacks.base.kubernetes import priority_class
from wecityctl.stacks.objects import Manifest
from wecityctl.stacks.platforms.platform import CapabilityComponent, CapabilityScope

# The numeric user of the upstream image.
USER = 101
CONFIGURATION = "/etc/gateway"
ROUTES = "/etc/gateway-routes"

# The resolver's address is known in the pod only. Workers are few: the gateway is replicated, not widened.
NGINX_CONF = """worker_processes 2;
pid /tmp/nginx.pid;
error_log stderr warn;
events { worker_connections 4096; }
http {
  include /tmp/resolver.conf;
  include /etc/nginx/mime.types;
  default_type application/octet-stream;
  access_log /dev/stdout;
  server_tokens off;
  client_body_temp_path /tmp/client;
  proxy_temp_path /tmp/proxy;
  fastcgi_temp_path /tmp/fastcgi;
  uwsgi_temp_path /tmp/uwsgi;
  scgi_temp_path /tmp/scgi;
  client_max_body_size 32m;
  server_names_hash_bucket_size 256;
  map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
  server {
    listen 8080 default_server;
    location = /-/health { access_log off; return 200 "ok\\n"; }
    location = /-/routes { access_log off; alias /tmp/routes.digest; default_type text/plain; }
    location / { return 404 "no such service here\\n"; }
  }
  include /tmp/routes.conf;
}
"""

RUN = f"""set -eu
server=$(sed -n 's/^nameserver[[:space:]]*//p' /etc/resolv.conf | head -n 1)
case "$server" in *:*) server="[$server]" ;; esac
echo "resolver $server valid=5s ipv6=off;" > /tmp/resolver.conf
: > /tmp/routes.conf
: > /tmp/routes.digest
if [ -f {ROUTES}/routes.conf ]; then
  cp {ROUTES}/routes.conf /tmp/routes.conf
  if nginx -e stderr -t -q -c {CONFIGURATION}/nginx.conf; then
    cat {ROUTES}/digest > /tmp/routes.digest
  else
    : > /tmp/routes.conf
  fi
fi
exec nginx -e stderr -c {CONFIGURATION}/nginx.conf -g 'daemon off;'
"""

# Two containers share /tmp and the process namespace: the loader can signal nginx and nothing else.
LOAD = f"""set -u
touch /tmp/routes.refused
while sleep 1; do
  [ -f {ROUTES}/digest ] && [ -f /tmp/nginx.pid ] || continue
  digest=$(cat {ROUTES}/digest)
  [ "$digest" != "$(cat /tmp/routes.digest)" ] || continue
  [ "$digest" != "$(cat /tmp/routes.refused)" ] || continue
  cp /tmp/routes.conf /tmp/routes.last
  cp {ROUTES}/routes.conf /tmp/routes.new && mv /tmp/routes.new /tmp/routes.conf
  if nginx -e stderr -t -q -c {CONFIGURATION}/nginx.conf; then
    kill -HUP "$(cat /tmp/nginx.pid)"
    echo "$digest" > /tmp/routes.digest.new && mv /tmp/routes.digest.new /tmp/routes.digest
    echo "loaded routes $digest"
  else
    mv /tmp/routes.last /tmp/routes.conf
    echo "$digest" > /tmp/routes.refused
    echo "refused routes $digest: they do not pass nginx's own test" >&2
  fi
done
"""


class Gateway(CapabilityComponent):
    """The single entry point's servers."""

    def build(self, context: CapabilityScope) -> Endpoint:
        namespace, name = context.namespace, context.capability.name
        self.scope.add(
            network.policy(
                namespace, f"{name}-entry", context.selector, ingress=[network.from_anywhere([context.type.port])]
            )
        )
        files = {"nginx.conf": NGINX_CONF, "run.sh": RUN, "load.sh": LOAD}
        configuration = self.scope.add(pods.config_map(namespace, f"{name}-configuration", files))
        ready = self.scope.after(configuration)
        ready.add(self._workload(context, pods.content_digest(files)))
        self.scope.add(pods.service(namespace, name, context.selector, {"http": context.type.port}))
        if (context.capability.replicas or 1) > 1:
            self.scope.add(pods.disruption_budget(namespace, name, context.selector))
        return context.endpoint(service=name, image=self.scope.inputs.images["gateway"])

    def _workload(self, context: CapabilityScope, content: str) -> Manifest:
        image = self.scope.inputs.images["gateway"]
        requests = context.resources()
        mounts = [
            {"name": "configuration", "mountPath": CONFIGURATION, "readOnly": True},
            {"name": "routes", "mountPath": ROUTES, "readOnly": True},
        ]
        healthy: Manifest = {"httpGet": {"path": "/-/health", "port": "http"}, "periodSeconds": 2}
        nginx = pods.container(
            "nginx",
            image,
            command=["/bin/sh", f"{CONFIGURATION}/run.sh"],
            ports={"http": context.type.port},
            mounts=mounts,
            requests=requests,
            readiness=healthy,
            liveness={**healthy, "periodSeconds": 10},
        )
        loader = pods.container(
            "loader",
            image,
            command=["/bin/sh", f"{CONFIGURATION}/load.sh"],
            mounts=mounts,
            requests={"cpu": "10m", "memory": "32Mi"},
        )
        name = context.capability.name
        spec = pods.pod(
            [nginx, loader],
            cluster=self.scope.inputs.cluster,
            volumes=[
                {"name": "configuration", "configMap": {"name": f"{name}-configuration"}},
                {"name": "routes", "configMap": {"name": routes_config_map(name), "optional": True}},
            ],
            user=USER,
            priority_class=priority_class(self.scope.inputs.city.name, "platform"),
            architectures=self.scope.inputs.city.images.architectures,
            grace_seconds=30,
        )
        spec["shareProcessNamespace"] = True
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": context.namespace},
            "spec": {
                "replicas": context.capability.replicas or 1,
                "selector": {"matchLabels": context.selector},
                "strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
                "template": pods.template({**self.scope.labels, **context.selector}, spec, content),
            },
        }


def routes_config_map(gateway: str) -> str:
    """The ConfigMap in which the entry stack puts a gateway's routes."""
    return f"{gateway}-routes"
