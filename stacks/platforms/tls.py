"""The Secret with a capability's certificate, and the volumes with which pods mount it.

The kubelet updates the files in running pods when a certificate is renewed; servers have to reload them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pulumi

from stacks import pods
from stacks.objects import Manifest, secret_value
from stacks.pem import certificates_of, end_of, key_of
from wecityctl.inputs import StackInputs
from wecityctl.model import naming
from wecityctl.model.service_tls import SERVICE_AUTHORITY_KEY, certificate_key

if TYPE_CHECKING:
    from stacks.platforms.component import CapabilityScope

# The directory with the certificate chain, the private key and the CA certificates.
DIRECTORY = "/etc/tls"
CERTIFICATE, KEY, AUTHORITY = (f"{DIRECTORY}/{name}" for name in ("tls.crt", "tls.key", "ca.crt"))
MOUNT: Manifest = {"name": "tls", "mountPath": DIRECTORY, "readOnly": True}

# Shell commands before the `exec` of a server that reads its certificate again on SIGHUP. The shell becomes the server.
RELOAD = f"""(
  loaded=$(cksum < {CERTIFICATE})
  while sleep 10 && kill -0 $$; do
    found=$(cksum < {CERTIFICATE}) || continue
    [ "$found" != "$loaded" ] || continue
    echo "the server takes over its renewed certificate" >&2
    kill -HUP $$
    loaded=$found
  done
) &
"""


def secret_name(capability: str) -> str:
    """The name of the Secret with a capability's certificate, in the capability's namespace."""
    return f"{capability}-tls"


def secret(context: CapabilityScope) -> Manifest:
    """The Secret with the certificate and private key of a capability that speaks TLS."""
    name = context.capability.name
    return pods.secret(context.namespace, secret_name(name), files(context.scope.inputs, certificate_key(name)))


def files(inputs: StackInputs, key: str) -> dict[str, pulumi.Output[str]]:
    """The files for a server certificate, `key` in the secret store: chain, private key and CA certificates."""
    value = secret_value(inputs, key)
    return {
        "tls.crt": value.apply(certificates_of),
        "tls.key": value.apply(key_of),
        "ca.crt": secret_value(inputs, SERVICE_AUTHORITY_KEY),
    }


def ends(inputs: StackInputs, key: str) -> dict[str, pulumi.Output[str]]:
    """The annotation of a server's Service that says when its certificate, `key` in the secret store, ends."""
    return {naming.CERTIFICATE_ENDS: pulumi.Output.unsecret(secret_value(inputs, key).apply(end_of))}


def connecting(is_tls: bool) -> dict[str, str]:
    """The variables by which scripts of Jobs verify the server: AUTHORITY, or nothing for a plain connection."""
    return {"AUTHORITY": AUTHORITY} if is_tls else {}


def volume(context: CapabilityScope) -> Manifest:
    """The volume for a server's pod, to be mounted as `MOUNT`."""
    return volume_of(secret_name(context.capability.name))


def volume_of(secret: str) -> Manifest:
    """A volume with a certificate's Secret, readable by the pod's group only."""
    return {"name": "tls", "secret": {"secretName": secret, "defaultMode": 0o440}}


def authority_volume(capability: str) -> Manifest:
    """A volume with the CA certificates only, for pods that connect to the capability."""
    items = [{"key": "ca.crt", "path": "ca.crt"}]
    return {"name": "tls", "secret": {"secretName": secret_name(capability), "items": items}}
