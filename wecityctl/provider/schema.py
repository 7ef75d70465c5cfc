"""The package's schema: name, version and configuration, without resources.

Those are in the official plug-in's schema.
"""

from __future__ import annotations

import json
from typing import Final

from wecityctl.provider.kinds import OFFICIAL, PACKAGE

# The SDK's version: programs request exactly this plug-in version, and states record it.
VERSION: Final = "4.34.2"

_TEXTS: Final = ("kubeconfig", "context", "cluster", "namespace", "clusterIdentifier")
_FLAGS: Final = (
    "deleteUnreachable",
    "skipUpdateUnreachable",
    "enableServerSideApply",
    "enableConfigMapMutable",
    "enableSecretMutable",
    "enablePatchForce",
    "suppressDeprecationWarnings",
)


def schema() -> str:
    """The package schema without resources: code is generated from the official plug-in's schema, which has them."""
    variables = {
        **{name: {"type": "string"} for name in _TEXTS},
        **{name: {"type": "boolean"} for name in _FLAGS},
    }
    return json.dumps(
        {
            "name": PACKAGE,
            "version": VERSION,
            "description": "wecityctl's built-in Kubernetes provider. It serves every kind by its "
            f"type token, as the cluster does; for the schema of the resources see {OFFICIAL}.",
            "config": {"variables": variables},
            "provider": {"inputProperties": variables},
        }
    )
