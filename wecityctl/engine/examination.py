"""Compares whole stacks with their clusters: from states to findings, for runs, `status` and the evidence."""

from __future__ import annotations

from collections.abc import Sequence

from wecityctl.engine.backend import Backend
from wecityctl.engine.state import StackState
from wecityctl.inputs import Cluster
from wecityctl.model.findings import Finding


def examine(cluster: Cluster, backend: Backend, states: Sequence[StackState]) -> tuple[Finding, ...]:
    """Everything on the cluster that is not as the states of these stacks have it; changes nothing.

    Raises the Kubernetes client's errors, and `AuthenticationError` when the passphrase does not open the states.
    """
    raise NotImplementedError
