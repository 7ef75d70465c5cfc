"""The environment variables that wecityctl sets in an app's containers, and escaping of texts for them.

Pure functions, shared by the checks of the files and by the stacks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from wecityctl.model.city import App, Component

# Bindings are mounted below this directory, by alias. Source: the Service Binding specification.
BINDING_ROOT = "/bindings"
# Where a component that serves TLS finds tls.crt, tls.key and ca.crt.
TLS_DIRECTORY = "/tls"

_EXPANDED = re.compile(r"\$(?=[$(])")


def own_variables(app: App, component: Component) -> Mapping[str, str]:
    """The variables that wecityctl sets in a component's container. An entry of the same name in `env` wins."""
    variables = {"APP_NAME": app.name, "APP_TENANT": app.tenant}
    if component.port is not None:
        variables["PORT"] = str(component.port)
    if len(component.ports) > 1:
        variables |= {f"PORT_{secret_variable(name)}": str(number) for name, number in component.ports.items()}
    if app.serves_tls and component is app.web_component:
        variables["TLS_DIRECTORY"] = TLS_DIRECTORY
    if app.uses or app.app_uses:
        variables["SERVICE_BINDING_ROOT"] = BINDING_ROOT
    return variables


def secret_variable(name: str) -> str:
    """The environment variable of a secret: `sms-key` becomes `SMS_KEY`."""
    return name.upper().replace("-", "_").replace(".", "_")


def literal(text: str) -> str:
    """Escape `text` so that a container receives it unchanged although Kubernetes expands `$(NAME)` and `$$`.

    Kubernetes does that in the values of `env` and in `command`. Only a `$` before `$` or `(` is special, and is
    doubled. Source: k8s.io/kubernetes/third_party/forked/golang/expansion.
    """
    return _EXPANDED.sub("$$", text)
