"""The red lines as commands meet them: a session's stacks recorded, the rules asked, the verdict told."""

from __future__ import annotations

from datetime import date

from wecityctl.policy.check import Verdict
from wecityctl.session import Session


def today() -> date:
    """This machine's day: waivers end with a day where the city is."""
    return date.today()


def check_now(session: Session) -> Verdict:
    """The verdict on a city as its files are now; everything is recorded anew."""
    from wecityctl.policy.check import judge
    from wecityctl.policy.model import Posture
    from wecityctl.policy.rules import RULES
    from wecityctl.recordings import record_session

    posture = Posture(session.city, session.catalogue, session.plan.placement, session.images, record_session(session))
    return judge(posture, today(), RULES)
