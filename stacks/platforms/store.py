"""The base of capabilities that are one server with a volume and an administrator: all but the server itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pulumi

from stacks import pods
from stacks.objects import Manifest, secret_value
from stacks.platforms import tls
from stacks.platforms.component import CapabilityComponent, CapabilityScope
from stacks.platforms.stateful import provisioning_policies
from stacks.stack_references import base_outputs
from wecityctl.model.outputs import Endpoint


class StoreComponent(CapabilityComponent):
    """A server that keeps its users' data. Subclasses define `admin_values` and `workload`.

    The server starts after the administrator's Secret, `configuration`, the volume claim and the certificate. Its image
    is the first of the capability type's `images`.
    """

    def build(self, context: CapabilityScope) -> Endpoint:
        inputs = self.scope.inputs
        name, namespace = context.capability.name, context.namespace
        image = inputs.images[context.type.images[0]]
        admin = f"{name}-admin"
        values = self.admin_values(secret_value(inputs, context.admin_key))
        credentials = self.scope.add(pods.secret(namespace, admin, values))
        configuration = self.scope.add_all(self.configuration(context))
        base = base_outputs(inputs)
        claim = self.scope.add(
            pods.volume_claim(namespace, f"{name}-data", context.storage, base.storage_class if base else ""),
            protect=True,
            retain=True,
        )
        self.scope.add_all(provisioning_policies(context))
        certificate = self.scope.add_all([tls.secret(context)] if context.tls else [])
        ready = self.scope.after(credentials, *configuration, claim, *certificate)
        ready.add(self.workload(context, image, admin))
        self.scope.add(context.service(name))
        return context.endpoint(service=name, admin_secret=admin, image=image)

    def admin_values(self, password: pulumi.Output[str]) -> Mapping[str, pulumi.Input[str]]:
        """The entries of the administrator's Secret, made from the generated password."""
        raise TypeError(f"{type(self).__name__} defines no admin_values()")

    def configuration(self, context: CapabilityScope) -> Sequence[Manifest]:
        """Further objects that the server needs before it starts; none by default."""
        return ()

    def workload(self, context: CapabilityScope, image: str, admin: str) -> Manifest:
        """The server's StatefulSet; `admin` is the name of the administrator's Secret."""
        raise TypeError(f"{type(self).__name__} defines no workload()")
