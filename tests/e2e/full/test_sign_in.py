"""People sign in at the city's entry point in a real cluster: what apps are told, whose a session is, where it ends."""

from __future__ import annotations

import json
import urllib.parse

import pytest

from stacks.platforms.sign_in_interface import COOKIES, own_path
from tests.attack.identity.browser import Page
from tests.e2e.full.conftest import Entry, Person
from tests.e2e.machine import Cluster, eventually

pytestmark = pytest.mark.node

HEALTH, ROADS, ONE_STOP = "health-code", "roads", "one-stop"
SESSION = f"{COOKIES}{HEALTH}"

# What an app does with its client: it gets a token for itself, by the binding alone.
TOKEN = """
import json, os, ssl, sys, urllib.parse, urllib.request
root = os.environ["SERVICE_BINDING_ROOT"] + "/companies/"
b = {name: open(root + name).read() for name in os.listdir(root) if not name.startswith(".")}
context = ssl.create_default_context(cadata=b["ca.crt"])
def ask(url, form=None):
    data = urllib.parse.urlencode(form).encode() if form else None
    with urllib.request.urlopen(url, data, timeout=20, context=context) as answer:
        return json.loads(answer.read())
found = ask(b["issuer"] + "/.well-known/openid-configuration")
form = {"grant_type": "client_credentials", "client_id": b["client-id"], "client_secret": b["client-secret"]}
print(found["issuer"] == b["issuer"], ask(found["token_endpoint"], form)["token_type"])
"""


def person_of(page: Page) -> dict[str, object] | None:
    """Who the app takes somebody for."""
    assert page.status == 200, (page.url, page.status, page.text)
    found: dict[str, object] | None = json.loads(page.text)["person"]
    return found


@pytest.mark.proves("sign-in", "ran", "used", "refused")
def test_who_signs_in_is_told_to_the_app_and_gets_in_nowhere_else(entry: Entry, alice: Person) -> None:
    browser = entry.browser()
    state = entry.url(HEALTH, "/api/state")
    # Without a session a page leads to where people sign in, and a program is refused.
    assert urllib.parse.urlsplit(browser.go(state).url).hostname == f"id.{entry.domain}"
    assert browser.ask(state, Sec_Fetch_Mode="cors").status == 401
    assert person_of(browser.ask(entry.url(ONE_STOP, "/api/state"), X_WeCity_Subject="mallory")) is None

    page = browser.sign_in(state, alice.name, alice.password)
    person = person_of(page)
    assert page.url == state
    assert person is not None
    assert (person["user"], person["groups"]) == (alice.name, ["/health-commission"])
    # The app of another tenant: no second form, and its own groups.
    there = person_of(browser.go(entry.url(ROADS, "/api/state")))
    assert there == {**person, "groups": ["/transport-bureau"]}

    # The cookie of one app is none of another's, under either name.
    host, other = (f"{name}.{entry.domain}" for name in (HEALTH, ROADS))
    session = browser.cookies[host][SESSION]
    for name in (SESSION, f"{COOKIES}{ROADS}"):
        thief = entry.browser()
        thief.cookies[other] = {name: session}
        assert thief.ask(entry.url(ROADS, "/api/state"), Sec_Fetch_Mode="cors").status == 401, name

    # The identity server tells the service, which ends the sessions of all apps.
    kept = browser.copy()
    assert browser.go(entry.url(HEALTH, own_path(HEALTH, "logout"))).url == entry.url(
        HEALTH, own_path(HEALTH, "signed-out")
    )
    for name in (HEALTH, ROADS):
        url = entry.url(name, "/api/state")
        eventually(lambda url=url: kept.ask(url, Sec_Fetch_Mode="cors").status == 401, 10)  # type: ignore[misc]


@pytest.mark.proves("identity", "ran", "used")
def test_an_app_signs_its_own_clients_in(cluster: Cluster) -> None:
    command = ("exec", "-n", "government-services-internet", "deploy/one-stop-web", "--", "python3", "-c", TOKEN)
    assert cluster.kubectl(*command).strip() == "True Bearer"
