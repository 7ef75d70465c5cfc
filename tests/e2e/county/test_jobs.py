"""Jobs of an app before a release, at set times and by hand; their logs and events."""

from __future__ import annotations

import json
from datetime import datetime

import pytest

from tests.e2e.county.apps import SPACE, has_succeeded, jobs
from tests.e2e.files import CityFiles
from tests.e2e.machine import Cluster, Machine, eventually

pytestmark = pytest.mark.node

BOTH = ("--only", "parks", "--only", "parks-bureau")


def version(cluster: Cluster) -> str:
    """The version that the running pods have, by their environment."""
    read = "import os; print(os.environ['VERSION'], os.environ['DATABASE_URL'][:13])"
    return cluster.kubectl("exec", "-n", SPACE, "deploy/gardens-web", "--", "python3", "-c", read).strip()


def release(city: CityFiles, number: str, code: str = "0") -> None:
    web, migrate = city.one("App", "gardens")["spec"]["components"][:2]
    web["env"]["VERSION"] = number
    migrate["env"] |= {"VERSION": number, "CODE": code}
    city.save()


def release_trees(city: CityFiles, title: str, statement: str) -> None:
    """A version of the county's own app that was renamed: what its page is called, and its migration."""
    components = {each["name"]: each for each in city.one("App", "trees")["spec"]["components"]}
    components["web"]["env"]["APP_TITLE"] = title
    components["migrate"]["args"] = [statement]
    city.save()


def title(cluster: Cluster) -> str:
    command = ("exec", "-n", "parks-bureau-internet", "deploy/oaks-web", "--", "sh", "-c", "echo $APP_TITLE")
    return cluster.kubectl(*command).strip()


def test_the_migration_runs_before_the_first_version(home: Machine, city: CityFiles, cluster: Cluster) -> None:
    assert version(cluster) == "1 postgresql://"
    (job,) = jobs(cluster, "gardens-migrate")
    assert job["status"]["succeeded"] == 1
    told = cluster.kubectl("logs", "-n", SPACE, f"job/{job['metadata']['name']}")
    assert told.strip() == "migrating to 1 in /parks_gardens_db"
    home.run("preview", city, "--detailed-exitcode")


def test_failing_migrations_leave_the_versions_serving(home: Machine, city: CityFiles, cluster: Cluster) -> None:
    """Two apps at once, since both are tried again for as long."""
    release(city, "2", code="3")
    release_trees(city, "百年古树", "CREATE TABLE (id serial PRIMARY KEY, name text)")
    done = home.run("up", city, "--yes", *BOTH, code=4)
    assert "gardens-migrate" in done.text, done
    assert "oaks-migrate" in done.text, done
    assert (version(cluster), title(cluster)) == ("1 postgresql://", "古树名木")
    assert cluster.get("deployment", "gardens-web", "-n", SPACE)["status"]["readyReplicas"] == 1
    (run,) = home.run("events", city, "gardens/migrate", "-o", "json").json()["runs"]
    assert (run["result"], set(run["exit_codes"])) == ("failed", {3})
    assert home.run("logs", city, "gardens/migrate").out.count("| migrating to 2 in /parks_gardens_db") >= 2


def test_mended_migrations_release(home: Machine, city: CityFiles, cluster: Cluster) -> None:
    release(city, "2")
    release_trees(city, "百年古树", "CREATE TABLE IF NOT EXISTS trees (id serial PRIMARY KEY, name text)")
    home.run("up", city, "--yes", *BOTH)
    eventually(lambda: (version(cluster), title(cluster)) == ("2 postgresql://", "百年古树"))


def test_the_report_ran_at_its_time(cluster: Cluster) -> None:
    found = eventually(lambda: [item for item in jobs(cluster, "gardens-report") if has_succeeded(item)], 90)
    told = cluster.kubectl("logs", "-n", SPACE, f"job/{found[0]['metadata']['name']}")
    assert told.startswith("reported in "), json.dumps(found[0])


def test_logs_of_components_jobs_and_earlier_runs(home: Machine, city: CityFiles) -> None:
    done = home.run("logs", city, "gardens/migrate")
    assert "| migrating to 2 in /parks_gardens_db" in done.out
    both = home.run("logs", city, "parks/gardens", "-c", "migrate", "-c", "report", "--since", "1h")
    assert {line.partition("-")[2].partition("-")[0] for line in both.out.splitlines()} == {"migrate", "report"}
    assert "has not run yet" in home.run("logs", city, "gardens/tidy", code=6).err
    assert (
        "no container of parks/gardens/files has ended"
        in home.run("logs", city, "gardens/files", "--previous", code=6).err
    )
    assert "no lines in that time" in home.run("logs", city, "gardens/migrate", "--since", "1s").err


def test_a_job_runs_by_hand(home: Machine, city: CityFiles, cluster: Cluster) -> None:
    started = home.run("run", city, "gardens/tidy", "--no-wait")
    name = started.out.strip()
    refused = home.run("run", city, "parks/gardens/tidy", code=1)
    assert f"parks/gardens/tidy runs already, as {name}" in refused.err
    eventually(lambda: has_succeeded(cluster.get("job", name, "-n", SPACE)))
    done = home.run("run", city, "gardens/tidy", "-o", "json")
    ran = done.json()["run"]
    assert (ran["result"], ran["exit_code"], ran["component"]) == ("succeeded", 0, "tidy")
    assert "| tidying\n" in done.err and "| tidied\n" in done.err
    owner = cluster.get("job", ran["name"], "-n", SPACE)["metadata"]["ownerReferences"][0]
    # Not as its controller, which would warn of a Job that it did not make.
    assert (owner["kind"], owner["name"], owner.get("controller", False)) == ("CronJob", "gardens-tidy", False)
    assert "goes on after 1 s" in home.run("run", city, "gardens/tidy", "--timeout", "1s", code=9).err
    late = home.run("run", city, "gardens/slow", code=4)
    assert "timed out" in late.err
    shown = home.run("logs", city, "gardens/tidy", "--previous").out
    assert shown.startswith(f"{ran['name']}-")
    assert "| tidied\n" in shown
    # Nothing of it is undeclared or in the way of a run.
    home.run("preview", city, "--detailed-exitcode")
    home.run("status", city)
    assert "is no job" in home.run("run", city, "gardens/web", code=2).err


def test_events_tell_what_happened_and_how_jobs_ended(home: Machine, city: CityFiles) -> None:
    found = home.run("events", city, "gardens", "-o", "json").json()
    assert {"migrate", "report", "tidy", "slow"} <= {item["component"] for item in found["runs"]}
    (late,) = (item for item in found["runs"] if item["component"] == "slow")
    assert (late["result"], " on " in late["started_by"]) == ("timed-out", True)
    times = [datetime.fromisoformat(item["last"]) for item in found["events"]]
    assert times == sorted(times)
    assert any(item["reason"] == "Started" and item["component"] == "web" for item in found["events"])
    warned = home.run("events", city, "gardens/migrate", "--warnings", "-o", "json").json()["events"]
    assert warned and {item["type"] for item in warned} == {"Warning"}
    assert {item["component"] for item in warned} == {"migrate"}
    shown = home.run("events", city, "gardens/migrate", "--since", "1h").out
    assert "EXIT CODE" in shown and "BackoffLimitExceeded" in shown
    with home.running("events", city, "gardens/web", "--follow", "-o", "json") as following:
        assert following.stdout is not None
        assert json.loads(following.stdout.readline())["component"] == "web"
