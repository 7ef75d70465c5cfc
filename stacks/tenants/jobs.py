"""The components of an app that end by themselves: CronJobs, and Jobs that run before a release. Pure functions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pulumi

from stacks import pods
from stacks.objects import Manifest
from wecityctl.model.city import Component
from wecityctl.model.quantity import parse_duration

_POLICIES = {"allow": "Allow", "forbid": "Forbid", "replace": "Replace"}
# How many runs that ended are kept, and how often a failed one is tried again.
KEPT, RETRIES = 3, 2


def cron_job(namespace: str, workload: str, component: Component, template: Manifest, *, suspended: bool) -> Manifest:
    """The CronJob of a component with a schedule. What it missed for longer than its time limit is not made up for."""
    seconds = parse_duration(component.timeout)
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": workload, "namespace": namespace},
        "spec": {
            "schedule": component.schedule,
            "timeZone": component.time_zone,
            "concurrencyPolicy": _POLICIES[component.concurrency],
            "startingDeadlineSeconds": max(seconds, 60),
            "successfulJobsHistoryLimit": KEPT,
            "failedJobsHistoryLimit": KEPT,
            "suspend": suspended,
            "jobTemplate": {"spec": _job_spec(component, template)},
        },
    }


def release_job(namespace: str, name: pulumi.Input[str], component: Component, template: Manifest) -> Manifest:
    """The Job of a component that runs before a release."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"completions": 1, "parallelism": 1, **_job_spec(component, template)},
    }


def release_name(workload: str, version: Sequence[str], template: Manifest) -> pulumi.Output[str]:
    """The name of a release's Job: another one for each version of the app, so that each runs it once.

    `version` has the images of the app's components; the Job's own template is part of the version, too. The name has
    63 characters at most, as workloads' names leave room for a digest.
    """
    digest = pulumi.Output.all(template=template, version=list(version)).apply(_digest)
    return pulumi.Output.unsecret(pulumi.Output.concat(workload, "-", digest))


def _digest(values: Mapping[str, Any]) -> str:
    return pods.content_digest({"version": json.dumps(dict(values), sort_keys=True)})[:10]


def _job_spec(component: Component, template: Manifest) -> Manifest:
    return {
        "backoffLimit": RETRIES,
        "activeDeadlineSeconds": parse_duration(component.timeout),
        "template": template,
    }
