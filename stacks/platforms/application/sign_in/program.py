"""The program of sign-in: Apache with mod_auth_openidc, whose clients the entry stack configures.

It starts without clients. A loop beside the server tests each new configuration, and lets the server take over what
passes, as it does a renewed certificate. Sessions are files in the pod's own /tmp: a pod that is replaced knows nobody
any more, and whoever still has a session in the realm is signed in again without being asked.
"""

from __future__ import annotations

from stacks import pods
from stacks.base.kubernetes import priority_class
from stacks.objects import Manifest
from stacks.platforms import tls
from stacks.platforms.application.sign_in.configuration import PORT, SESSIONS, clients_secret, render_without_clients
from stacks.platforms.component import CapabilityComponent, CapabilityScope
from wecityctl.model.outputs import Endpoint

# The numeric user of the image.
USER = 1000
CONFIGURATION, CLIENTS = "/etc/sign-in", "/etc/sign-in-clients"
MODULES = "/usr/lib/apache2/modules"
_LOADED = (
    *("mpm_event", "authn_core", "authz_core", "authz_user", "alias", "headers", "rewrite"),
    *("proxy", "proxy_http", "socache_shmcb", "ssl", "auth_openidc"),
)

# The log is a pipe, as a user other than root may not open the container's own output again. The gateway and the
# identity server are the only callers; the former sends no bodies. Ciphers are those of the gateway.
APACHE_CONF = (
    "".join(f"LoadModule {name}_module {MODULES}/mod_{name}.so\n" for name in _LOADED)
    + f"""ServerRoot /tmp
ServerName service
Listen {PORT}
PidFile /tmp/apache2.pid
Mutex file:/tmp default
DefaultRuntimeDir /tmp
ErrorLog "||/bin/cat"
ErrorLogFormat "[%{{cu}}t] [%-m:%l] %M"
LogLevel warn ssl:error
TraceEnable off
ServerTokens Prod
ServerSignature off
HttpProtocolOptions Strict
UseCanonicalName off
StartServers 1
ServerLimit 4
ThreadsPerChild 16
ThreadLimit 16
MinSpareThreads 8
MaxSpareThreads 32
MaxRequestWorkers 64
Timeout 20
KeepAlive on
LimitRequestBody 65536
LimitRequestFieldSize 16380
LimitRequestLine 8190
SSLCertificateFile {tls.CERTIFICATE}
SSLCertificateKeyFile {tls.KEY}
SSLProtocol -all +TLSv1.2 +TLSv1.3
SSLCipherSuite ECDHE+AESGCM:ECDHE+CHACHA20
SSLSessionCache shmcb:/tmp/tls(131072)
SSLSessionTickets off
<Directory "/">
  Require all denied
</Directory>
<Location "/">
  Require all denied
</Location>
Include /tmp/clients.conf
"""
)

# Apache ends when the configuration that it reloads is wrong, so each one is tested before it takes its place.
RUN = f"""set -u
umask 077
mkdir -p {SESSIONS}
apache() {{ apache2 -f {CONFIGURATION}/apache.conf "$@"; }}
content() {{ cat {CLIENTS}/clients.conf {tls.CERTIFICATE} 2> /dev/null | cksum; }}
take() {{
  [ ! -f /tmp/clients.conf ] || cp /tmp/clients.conf /tmp/clients.last
  if [ -f {CLIENTS}/clients.conf ]; then
    cp {CLIENTS}/clients.conf /tmp/clients.conf
    cp {CLIENTS}/digest /tmp/digest.new
  else
    cp {CONFIGURATION}/none.conf /tmp/clients.conf
    : > /tmp/digest.new
  fi
  apache -t > /tmp/tested 2>&1 && mv /tmp/digest.new /tmp/digest && return
  echo "refused clients that do not pass Apache's own test: $(cat /tmp/tested)" >&2
  [ ! -f /tmp/clients.last ] || cp /tmp/clients.last /tmp/clients.conf
  return 1
}}
loaded=$(content)
take || {{ cp {CONFIGURATION}/none.conf /tmp/clients.conf; : > /tmp/digest; }}
(
  while sleep 2 && kill -0 $$; do
    found=$(content)
    [ "$found" != "$loaded" ] || continue
    loaded=$found
    take && kill -USR1 $$ && echo "loaded clients $(cat /tmp/digest)" >&2
  done
) &
exec apache2 -f {CONFIGURATION}/apache.conf -D FOREGROUND
"""


class SignIn(CapabilityComponent):
    """The sign-in service as a component resource."""

    def build(self, context: CapabilityScope) -> Endpoint:
        name, namespace = context.capability.name, context.namespace
        files = {"apache.conf": APACHE_CONF, "none.conf": render_without_clients(), "run.sh": RUN}
        before = [
            self.scope.add(pods.config_map(namespace, f"{name}-configuration", files)),
            self.scope.add(tls.secret(context)),
        ]
        self.scope.after(*before).add(self._workload(context, files))
        self.scope.add(context.service(name))
        return context.endpoint(service=name, image=self.scope.inputs.images[context.type.images[0]])

    def _workload(self, context: CapabilityScope, files: dict[str, str]) -> Manifest:
        name = context.capability.name
        alive: Manifest = {"tcpSocket": {"port": "https"}, "periodSeconds": 5}
        server = pods.container(
            "sign-in",
            self.scope.inputs.images[context.type.images[0]],
            command=["/bin/bash", f"{CONFIGURATION}/run.sh"],
            ports=context.ports,
            mounts=[
                {"name": "configuration", "mountPath": CONFIGURATION, "readOnly": True},
                {"name": "clients", "mountPath": CLIENTS, "readOnly": True},
                tls.MOUNT,
                *context.binding_mounts,
            ],
            requests=context.resources(),
            readiness=alive,
            liveness={**alive, "periodSeconds": 10, "failureThreshold": 6},
        )
        clients: Manifest = {"secretName": clients_secret(name), "optional": True, "defaultMode": 0o440}
        spec = pods.pod(
            [server],
            cluster=self.scope.inputs.cluster,
            volumes=[
                {"name": "configuration", "configMap": {"name": f"{name}-configuration"}},
                {"name": "clients", "secret": clients},
                tls.volume(context),
                *context.binding_volumes,
            ],
            user=USER,
            priority_class=priority_class(self.scope.inputs.city.name, "platform"),
            affinity=context.affinity,
            grace_seconds=30,
        )
        labels = {**self.scope.labels, **context.selector}
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": context.namespace},
            "spec": {
                "replicas": 1,
                # Two would not know each other's sessions.
                "strategy": {"type": "Recreate"},
                "revisionHistoryLimit": 1,
                "selector": {"matchLabels": context.selector},
                "template": pods.template(labels, spec, pods.content_digest(files)),
            },
        }
