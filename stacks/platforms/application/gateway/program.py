"""The program of the gateway: nginx, which serves the routes that the entry stack renders.

Pods start without routes and wait for the entry stack's ConfigMap. A loader container tests each new configuration and
reloads nginx without dropping connections. An invalid configuration is never loaded. It also counts requests
(`counting`).
"""

from __future__ import annotations

from stacks import network_policies, pods
from stacks.base.kubernetes import priority_class
from stacks.objects import Manifest
from stacks.platforms.application.gateway.claimed_headers import CLAIMED_HEADERS
from stacks.platforms.application.gateway.claims import CLAIMS, NO_CLAIMS, WITHOUT_OURS
from stacks.platforms.application.gateway.counting import COUNT, SERVER
from stacks.platforms.component import CapabilityComponent, CapabilityScope
from wecityctl.model.entries import ENTRY_SERVICE, gateway_of
from wecityctl.model.outputs import Endpoint

# The numeric user of the upstream image.
USER = 101
CONFIGURATION = "/etc/gateway"
ROUTES = "/etc/gateway-routes"
TLS = "/etc/gateway-tls"
# The file, beside the routes, with the CA certificates for verifying apps that serve TLS.
APPS_AUTHORITY = "apps-authority.crt"

_BLANK = "".join(f"  proxy_set_header {name} '';\n" for name in CLAIMED_HEADERS)

# There are few worker processes, because the gateway scales by replicas.
WORKERS, WORKER_CONNECTIONS = 2, 4096

# Responses of an app cannot control the gateway: cookies apply to the app's own host only, and unread responses are not
# buffered on the node's disk. Neither are requests: nine bodies of the longest length would be more than a pod's
# temporary volume holds, and the pod would be evicted. X-Accel-Buffering is respected, because event streams need it.
# The resolver's address is known only in the pod. `client` is who `limits` says that it is, `peer` who is connected.
NGINX_CONF = (
    f"""worker_processes {WORKERS};
pid /tmp/nginx.pid;
error_log stderr warn;
events {{ worker_connections {WORKER_CONNECTIONS}; }}
"""
    """http {
  include /tmp/resolver.conf;
  include /etc/nginx/mime.types;
  default_type application/octet-stream;
  log_format audit escape=json '{"time":"$time_iso8601","client":"$remote_addr","peer":"$realip_remote_addr",'
    '"host":"$host","method":"$request_method","uri":"$request_uri","protocol":"$server_protocol","tls":"$ssl_protocol",'
    '"status":$status,"bytes":$body_bytes_sent,"seconds":$request_time,"upstream":"$upstream_addr",'
    '"limit":"$limit_req_status","agent":"$http_user_agent","request":"$request_id"}';
  access_log /dev/stdout audit;
  server_tokens off;
  client_body_temp_path /tmp/client;
  proxy_temp_path /tmp/proxy;
  fastcgi_temp_path /tmp/fastcgi;
  uwsgi_temp_path /tmp/uwsgi;
  scgi_temp_path /tmp/scgi;
  client_max_body_size 32m;
  server_names_hash_bucket_size 256;
  proxy_headers_hash_max_size 4096;
  proxy_headers_hash_bucket_size 128;
  underscores_in_headers off;
  ignore_invalid_headers on;
"""
    + WITHOUT_OURS
    + """  map $http_upgrade $upgrade { default ''; ~*^websocket$ websocket; }
  map $upgrade $connection_upgrade { default upgrade; '' ''; }
  map "$https:$ssl_server_name:$host" $astray { default 1; ~^: 0; "~*^on:([^:]+):\\1$" 0; }
  proxy_ignore_headers X-Accel-Redirect X-Accel-Expires X-Accel-Limit-Rate X-Accel-Charset;
  proxy_cookie_domain ~.* $host;
  proxy_max_temp_file_size 0;
  proxy_request_buffering off;
  proxy_http_version 1.1;
  proxy_connect_timeout 5s;
  proxy_set_header Host $host;
  proxy_set_header Upgrade $upgrade;
  proxy_set_header Connection $connection_upgrade;
  proxy_set_header X-Real-IP $remote_addr;
  proxy_set_header X-Forwarded-For $remote_addr;
  proxy_set_header X-Forwarded-Host $host;
  proxy_set_header X-Forwarded-Proto $scheme;
  proxy_set_header X-Request-Id $request_id;
  proxy_set_header Cookie $apps_cookies;
  uninitialized_variable_warn off;
"""
    + _BLANK
    + CLAIMS
    + """  server {
    listen 8080 default_server;
"""
    + NO_CLAIMS
    + """    error_page 497 = @plain;
    location = /-/health { access_log off; return 200 "ok\\n"; }
    location = /-/routes { access_log off; default_type text/plain; include /tmp/digest.conf; }
    location / {
      if ($astray) { return 421; }
      return 404 "no such service here\\n";
    }
    location @plain {
      rewrite ^(/-/(health|routes))$ $1 last;
      return 404 "no such service here\\n";
    }
  }
"""
    + SERVER
    + """  include /tmp/routes.conf;
}
"""
)

# ConfigMap and certificate reach the pod independently, so a configuration is loaded only with the certificate that it
# was made for. The certificate's digest is part of the configuration and of nginx's answer once it is in use.
COMPLETE = f"""content() {{ [ ! -f "$1" ] || cat "$1"; }}
answer() {{ printf 'return 200 "%s\\\\n";' "$1" > /tmp/digest.conf; }}
complete() {{ [ "$(content {ROUTES}/certificate)" = "$(content {TLS}/digest)" ]; }}
"""

RUN = f"""set -eu
{COMPLETE}server=$(sed -n 's/^nameserver[[:space:]]*//p' /etc/resolv.conf | head -n 1)
case "$server" in *:*) server="[$server]" ;; esac
echo "resolver $server valid=5s ipv6=off;" > /tmp/resolver.conf
: > /tmp/routes.conf
: > /tmp/routes.digest
answer ""
if [ -f {ROUTES}/routes.conf ] && complete; then
  cp {ROUTES}/routes.conf /tmp/routes.conf
  answer "$(cat {ROUTES}/digest)"
  if nginx -e stderr -t -q -c {CONFIGURATION}/nginx.conf; then
    cat {ROUTES}/digest > /tmp/routes.digest
  else
    : > /tmp/routes.conf
    answer ""
  fi
fi
exec nginx -e stderr -c {CONFIGURATION}/nginx.conf -g 'daemon off;'
"""

# The two containers share /tmp and the process namespace, so that the loader can signal nginx. For bash.
LOAD = f"""set -u
{COUNT}{COMPLETE}touch /tmp/routes.refused
while sleep 1; do
  count
  [ -f {ROUTES}/digest ] && [ -f /tmp/nginx.pid ] && complete || continue
  digest=$(cat {ROUTES}/digest)
  last=$(cat /tmp/routes.digest)
  [ "$digest" != "$last" ] || continue
  [ "$digest" != "$(cat /tmp/routes.refused)" ] || continue
  cp /tmp/routes.conf /tmp/routes.last
  cp {ROUTES}/routes.conf /tmp/routes.new && mv /tmp/routes.new /tmp/routes.conf
  answer "$digest"
  if nginx -e stderr -t -q -c {CONFIGURATION}/nginx.conf; then
    kill -HUP "$(cat /tmp/nginx.pid)"
    echo "$digest" > /tmp/routes.digest.new && mv /tmp/routes.digest.new /tmp/routes.digest
    echo "loaded routes $digest"
  else
    mv /tmp/routes.last /tmp/routes.conf
    answer "$last"
    echo "$digest" > /tmp/routes.refused
    echo "refused routes $digest: they do not pass nginx's own test" >&2
  fi
done
"""


class Gateway(CapabilityComponent):
    """The servers of an entry point as a component resource."""

    def build(self, context: CapabilityScope) -> Endpoint:
        namespace, name = context.namespace, context.capability.name
        files = {"nginx.conf": NGINX_CONF, "run.sh": RUN, "load.sh": LOAD}
        is_main = gateway_of(self.scope.inputs.city) == context.capability
        if is_main:
            self.scope.add(
                network_policies.policy(
                    namespace,
                    f"{name}-entry",
                    context.selector,
                    ingress=[network_policies.from_anywhere([context.type.port])],
                )
            )
        configuration = self.scope.add(pods.config_map(namespace, f"{name}-configuration", files))
        ready = self.scope.after(configuration)
        ready.add(self._workload(context, pods.content_digest(files)))
        if is_main:
            self.scope.add(context.service(name))
        if context.workload().replicas > 1:
            self.scope.add(pods.disruption_budget(namespace, name, context.selector))
        # For a zone's own gateway, the entry stack defines the Service and the allowed clients.
        return context.endpoint(service=name if is_main else ENTRY_SERVICE, image=self.scope.inputs.images["gateway"])

    def _workload(self, context: CapabilityScope, content: str) -> Manifest:
        image = self.scope.inputs.images["gateway"]
        requests = context.resources()
        mounts = [
            {"name": "configuration", "mountPath": CONFIGURATION, "readOnly": True},
            {"name": "routes", "mountPath": ROUTES, "readOnly": True},
            {"name": "tls", "mountPath": TLS, "readOnly": True},
        ]
        healthy: Manifest = {"httpGet": {"path": "/-/health", "port": "http"}, "periodSeconds": 2}
        nginx = pods.container(
            "nginx",
            image,
            command=["/bin/sh", f"{CONFIGURATION}/run.sh"],
            ports=context.ports,
            mounts=mounts,
            requests=requests,
            readiness=healthy,
            liveness={**healthy, "periodSeconds": 10},
        )
        loader = pods.container(
            "loader",
            image,
            command=["/bin/bash", f"{CONFIGURATION}/load.sh"],
            mounts=mounts,
            requests=context.workload().sidecar("loader").requests,
        )
        name = context.capability.name
        spec = pods.pod(
            [nginx, loader],
            cluster=self.scope.inputs.cluster,
            volumes=[
                {"name": "configuration", "configMap": {"name": f"{name}-configuration"}},
                {"name": "routes", "configMap": {"name": routes_config_map(name), "optional": True}},
                {"name": "tls", "secret": {"secretName": tls_secret(name), "optional": True, "defaultMode": 0o440}},
            ],
            user=USER,
            priority_class=priority_class(self.scope.inputs.city.name, "platform"),
            affinity=context.affinity,
            grace_seconds=30,
        )
        spec["shareProcessNamespace"] = True
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": context.namespace},
            "spec": {
                "replicas": context.workload().replicas,
                "selector": {"matchLabels": context.selector},
                "strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
                "template": pods.template({**self.scope.labels, **context.selector}, spec, content),
            },
        }


def routes_config_map(gateway: str) -> str:
    """The name of the ConfigMap in which the entry stack puts a gateway's routes."""
    return f"{gateway}-routes"


def tls_secret(gateway: str) -> str:
    """The name of the Secret in which the entry stack puts a gateway's certificate and key."""
    return f"{gateway}-tls"
