"""Whether an object is ready, by the kstatus conventions, and waiting until it is.

`assess` is pure and has one small rule per kind. `wait_ready` and `wait_deleted` watch. `annotations` reads the user's
annotations on the object (`pulumi.com/skipAwait`, `waitFor`, `timeoutSeconds`).
"""

from wecityctl.kube.readiness.annotations import WaitPlan, wait_plan
from wecityctl.kube.readiness.assess import assess
from wecityctl.kube.readiness.model import NotReady, Readiness, Related
from wecityctl.kube.readiness.wait import gone_at_once, wait_deleted, wait_ready

__all__ = [
    "NotReady",
    "Readiness",
    "Related",
    "WaitPlan",
    "assess",
    "gone_at_once",
    "wait_deleted",
    "wait_plan",
    "wait_ready",
]
