"""What is deployed of an app is what was reviewed and published."""

from __future__ import annotations

from collections.abc import Iterator

from wecityctl.model.city import App, City
from wecityctl.model.lifecycle import Lifecycle, content_digest
from wecityctl.model.rollouts import declared
from wecityctl.policy.model import Finding, PolicyInput, Rule

WHY = """\
Whoever reviews an app answers for what citizens get: its data class, its images, what it may reach. That holds only if
nothing else is deployed than what was looked at. So the records that `wecityctl app` writes beside an app name the
digest of what was submitted, reviewed and published, and who did it; a change afterwards, of the files or of the stage,
is a violation until that version has been reviewed too. Apps without records are checked only where the City demands
reviews (compliance.reviewedApps). In an emergency a waiver names who answers for it."""

_REVIEW = "`wecityctl app submit`, `review` by another person, and `publish`; or bring back what was published"


def check(policy_input: PolicyInput) -> Iterator[Finding]:
    """Apps whose stage or content differs from their records, and those without any where reviews are demanded."""
    records = {(item.tenant, item.name): item for item in policy_input.city.lifecycles}
    for app in policy_input.city.apps:
        lifecycle = records.get((app.tenant, app.name))
        city = policy_input.city
        found = _violation(app, lifecycle, city.images.registry, demanded=city.compliance.reviewed_apps)
        if found:
            name = f"{app.tenant}/{app.name}"
            yield Finding(name, *found, document=("App", name), path=("spec", "stage"))


def _violation(app: App, lifecycle: Lifecycle | None, registry: str, *, demanded: bool) -> tuple[str, str] | None:
    """The message and its resolution; `None` without a violation. `registry` is the city's for public images."""
    if lifecycle is None:
        return ("is deployed without a recorded review", _REVIEW) if demanded and app.runs else None
    stage = lifecycle.records[-1].stage
    if stage != app.stage:
        return (
            f"its stage is {app.stage!r}, but its records leave it {stage!r}",
            f"let `wecityctl app` change the stage, or set it to {stage}",
        )
    if not app.runs or not (demanded or lifecycle.last("review")):
        # Records have only begun: it was deployed before them, as it is.
        return None
    allowed = lifecycle.last("review") if app.stage == "reviewed" else lifecycle.last("publish", "resume")
    digest = content_digest(declared(app), registry)
    if allowed is None or allowed.digest != digest:
        what = "reviewed" if app.stage == "reviewed" else "published"
        if allowed is None:
            return f"was never {what} with a record", _REVIEW
        return f"differs from what was {what} on {allowed.at[:10]} by {allowed.by}", _REVIEW
    if not any(item.action == "review" and item.digest == digest for item in lifecycle.records):
        return "what is published was never reviewed", _REVIEW
    return None


def evidence(policy_input: PolicyInput) -> Iterator[str]:
    """Who reviewed and published what is deployed."""
    apps = {(app.tenant, app.name): app for app in policy_input.city.apps}
    for item in policy_input.city.lifecycles:
        app = apps.get((item.tenant, item.name))
        reviewed, published = item.last("review"), item.last("publish", "resume")
        if (
            app is not None
            and app.runs
            and reviewed is not None
            and (_violation(app, item, policy_input.city.images.registry, demanded=True) is None)
        ):
            text = f"{item.tenant}/{item.name} is deployed as {reviewed.by} reviewed it on {reviewed.at[:10]}"
            yield text + (f" and {published.by} published it on {published.at[:10]}" if published is not None else "")


def _applies(city: City) -> bool:
    return bool(city.lifecycles) or city.compliance.reviewed_apps


RULE = Rule(
    name="reviewed-apps",
    title="Apps are deployed as they were reviewed 应用先审核后发布",
    why=WHY,
    check=check,
    evidence=evidence,
    applies=_applies,
    of_files=True,
)
