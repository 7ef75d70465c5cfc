"""People sign in at the entry point: what an app is told of them comes from the realm and from nobody else, a session
is one app's, and whoever signs out is out everywhere at once."""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Iterator

import pytest

from stacks.platforms.application.sign_in.health import PROBE
from stacks.platforms.sign_in_interface import CLAIM_HEADERS, COOKIES, own_path
from tests.attack.conftest import Unpacked
from tests.attack.identity.browser import Browser, Page, query_of
from tests.attack.identity.chain import DOMAIN, Chain, chain
from tests.attack.identity.keycloak import Keycloak
from tests.attack.served import wait_until
from tests.images.rootfs import needs_root

pytestmark = [pytest.mark.build, pytest.mark.by_digest, needs_root, pytest.mark.timeout(400)]

ALICE, PASSWORD = "alice", "a-long-pass-phrase"
# Those of the tenant health are told to its apps; the last but one has a name that pretends to be one of them.
GROUPS = ("/health/医生", "/health/a,b", "/transport/x,/health/admin", "/transport")
SESSION = f"{COOKIES}code"


@pytest.fixture(scope="module")
def way(keycloak: Keycloak, unpacked: Unpacked) -> Iterator[Chain]:
    with chain(keycloak, unpacked) as made:
        keycloak.add_person("city", ALICE, PASSWORD, GROUPS)
        yield made


@pytest.fixture
def browser(way: Chain) -> Browser:
    return way.browser()


@pytest.fixture
def alice(way: Chain, browser: Browser) -> Browser:
    """A browser in which Alice has signed in at the app `code`."""
    assert browser.sign_in(way.url("code"), ALICE, PASSWORD).status == 200
    return browser


def claims_of(page: Page) -> dict[str, str]:
    return {key: urllib.parse.unquote(value) for key, value in page.claims.items() if key != "groups"}


@pytest.mark.proves("sign-in", "built", "used")
def test_who_signs_in_is_told_to_the_app_with_the_groups_of_its_tenant_alone(way: Chain, browser: Browser) -> None:
    page = browser.sign_in(way.url("code", "/form?step=2&x=%2F"), ALICE, PASSWORD)
    # Back at the place where the way began.
    assert page.url == way.url("code", "/form?step=2&x=%2F")
    assert '"path": "/form?step=2&x=%2F"' in page.text
    assert claims_of(page)["user"] == ALICE
    assert re.fullmatch(r"[0-9a-f-]{36}", page.claims["subject"])
    groups = [urllib.parse.unquote(group) for group in page.claims["groups"].split(",")]
    assert sorted(groups) == sorted(["/health/医生", "/health/a,b"])
    # Another app of the tenant and one of another, without a second form; each has a session of its own.
    assert browser.go(way.url("code", "/forms/x")).claims == page.claims
    bus = browser.go(way.url("bus"))
    assert bus.claims["subject"] == page.claims["subject"]
    assert {urllib.parse.unquote(group) for group in bus.claims["groups"].split(",")} == set(GROUPS[2:])
    assert {name for own in browser.cookies.values() for name in own if name.startswith(COOKIES)} >= {
        f"{COOKIES}{app}" for app in ("code", "forms", "bus")
    }


def test_nobody_reaches_the_app_without_a_session(way: Chain, browser: Browser) -> None:
    assert urllib.parse.urlsplit(browser.go(way.url("code")).url).hostname == f"id.{DOMAIN}"
    # Who does not go to a page gets no redirect, and sends no body twice.
    for headers in ({"Sec_Fetch_Mode": "cors"}, {"Upgrade": "websocket", "Connection": "Upgrade"}):
        assert browser.ask(way.url("code", "/api"), **headers).status == 401
    assert browser.ask(way.url("code"), {"a": "b"}).status == 401
    assert browser.ask(way.url("code", "/forms/")).status == 302
    # Where nobody has to sign in, everybody gets in, and the app is told nothing.
    for host in ("maps", "open"):
        assert browser.ask(way.url(host)).claims == {}


def test_signing_in_is_optional_where_the_route_says_so(way: Chain, alice: Browser) -> None:
    assert alice.ask(way.url("maps")).claims == {}
    page = alice.go(way.url("maps", f"{own_path('maps', 'login')}?/here?a=1"))
    assert (page.url, claims_of(page)["user"]) == (way.url("maps", "/here?a=1"), ALICE)
    assert alice.ask(way.url("maps")).claims == page.claims
    # An app that nobody signs in at is not told.
    assert alice.ask(way.url("open")).claims == {}


@pytest.mark.proves("sign-in", "refused")
def test_nobody_says_of_himself_who_he_is(way: Chain, browser: Browser, alice: Browser) -> None:
    true = alice.ask(way.url("code")).claims
    for spelling in (
        *CLAIM_HEADERS,
        *(name.upper() for name in CLAIM_HEADERS),
        *(name.lower() for name in CLAIM_HEADERS),
    ):
        assert alice.ask(way.url("code"), **{spelling: "mallory"}).claims == true, spelling
    for spelling in (
        "X_WeCity_User",
        "X-WeCity_User",
        "X-WeCity-User ",
        "X-WeCity-Uѕer",
        "X.WeCity.User",
        "X-WeCity-User\t",
    ):
        for page in (raw(way, "code", spelling, cookie(alice)), raw(way, "open", spelling), raw(way, "maps", spelling)):
            assert "mallory" not in page, spelling
    twice = "X-WeCity-User: mallory\r\nx-wecity-user: mallory\r\nConnection: close, X-WeCity-User"
    for host in ("code", "maps", "open"):
        answer = raw(way, host, "X-WeCity-Groups: mallory\r\n" + twice, cookie(alice) if host == "code" else "")
        assert "mallory" not in answer
        assert answer.startswith(("HTTP/1.1 200", "HTTP/1.1 400"))
    assert "wecity" not in browser.ask(way.url("maps"), X_WeCity_Subject="mallory").text


def test_bodies_reach_the_app_and_do_not_get_to_the_service(way: Chain, alice: Browser) -> None:
    for size in (10, 2_000_000):
        page = alice.ask(way.url("code", "/send"), method="POST", body=b"x" * size)
        assert page.status == 200, page.text
        assert json.loads(page.text)["body"] == "x" * size
    page = alice.ask(way.url("code", own_path("code", "login")), method="POST", body=b"GET /x HTTP/1.1\r\n\r\n")
    assert (page.status, page.location) == (302, way.url("code"))
    host = f"code.{DOMAIN}"
    first = f"POST / HTTP/1.1\r\nHost: {host}\r\n{cookie(alice)}Connection: close\r\n"
    for unclear in ("Transfer-Encoding: chunked\r\nContent-Length: 5", "Content-Length: 5\r\nContent-Length: 6"):
        assert alice.send(host, f"{first}{unclear}\r\n\r\n0\r\n\r\n".encode()).startswith("HTTP/1.1 400"), unclear


def test_apps_do_not_get_the_cookies_of_the_sign_in(way: Chain, alice: Browser) -> None:
    alice.go(way.url("code", "/forms/"))
    for path in ("/", "/forms/x"):
        seen = alice.ask(way.url("code", path), Cookie="own=1; other=2").seen
        assert seen["cookie"] == "own=1; other=2"
    many = "; ".join(f"{COOKIES}x{number}=1" for number in range(40))
    assert COOKIES not in alice.ask(way.url("open"), Cookie=f"own=1; {many}").text
    assert alice.ask(way.url("open"), Cookie=f"a=1;{COOKIES}y=2;b=3").seen["cookie"] == "a=1;b=3"


def test_a_session_is_one_apps_and_one_browsers(way: Chain, alice: Browser) -> None:
    """A cookie under another app's name, a changed one, and one that an attacker has set before the sign-in."""
    alice.go(way.url("bus"))
    (value, _), host = alice.cookies[f"bus.{DOMAIN}"][f"{COOKIES}bus"], f"code.{DOMAIN}"
    own, _ = alice.cookies[host][SESSION]
    for wrong in (value, own[:-1] + ("0" if own[-1] != "0" else "1"), "", "x" * 3000, f"{own}x", "../" + own):
        thief = way.browser()
        thief.cookies[host] = {SESSION: (wrong, "/")}
        assert thief.ask(way.url("code"), Sec_Fetch_Mode="cors").status == 401, wrong
    # Fixation: what was there before somebody signs in is worth nothing afterwards.
    fixed = way.browser()
    fixed.cookies[host] = {SESSION: ("a-value-of-the-attackers", "/")}
    fixed.sign_in(way.url("code"), ALICE, PASSWORD)
    assert fixed.cookies[host][SESSION][0] != "a-value-of-the-attackers"
    late = way.browser()
    late.cookies[host] = {SESSION: ("a-value-of-the-attackers", "/")}
    assert late.ask(way.url("code"), Sec_Fetch_Mode="cors").status == 401


def test_an_answer_of_the_realm_is_taken_once_and_by_the_browser_that_asked(way: Chain, browser: Browser) -> None:
    callback = way.url("code", own_path("code", "callback"))
    # Nobody asked.
    for query in ("", "?code=x&state=y", "?error=x", "?logout=https%3A%2F%2Fevil.example", "?jwks=1", "?info=json"):
        _is_refused(way, browser, callback + query)
    # Mallory's own answer in another's browser signs nobody in.
    mallory = way.browser()
    answer = _answer(way, mallory)
    victim = way.browser()
    victim.ask(way.url("code", own_path("code", "login")))
    _is_refused(way, victim, answer)
    # A changed state, a changed code, another app's address; then the true one, once.
    state, code = query_of(answer)["state"], query_of(answer)["code"]
    for changed in (answer.replace(state, state[::-1]), answer.replace("/code/", "/forms/")):
        _is_refused(way, mallory.copy(), changed)
    first, again = mallory.copy(), mallory.copy()
    assert first.go(answer).status == 200
    _is_refused(way, again, answer)
    renewed = way.browser()
    answer = _answer(way, renewed)
    code = query_of(answer)["code"]
    _is_refused(way, renewed, answer.replace(code, code[::-1]))


def _is_refused(way: Chain, browser: Browser, answer: str) -> None:
    """Nobody is signed in by this answer: it is an error, or leads to the beginning of the app, which asks again."""
    page = browser.ask(answer)
    assert page.headers["Location"] in (None, way.url(*_STARTS[urllib.parse.urlsplit(answer).path]))
    assert "evil" not in str(page.headers)
    assert not {SESSION, f"{COOKIES}forms"} & browser.cookies.get(f"code.{DOMAIN}", {}).keys()


_STARTS = {own_path("code", "callback"): ("code", "/"), own_path("forms", "callback"): ("code", "/forms")}


def _answer(way: Chain, browser: Browser) -> str:
    """The address with the realm's answer, which the browser has not asked for yet."""
    page = browser.go(way.url("code"))
    action = re.search(r'<form[^>]* action="([^"]+)"', page.text)
    assert action is not None
    form = {"username": ALICE, "password": PASSWORD, "credentialId": ""}
    return browser.ask(action[1].replace("&amp;", "&"), form).location


def test_the_way_back_leads_to_the_apps_own_host_alone(way: Chain, alice: Browser) -> None:
    login = way.url("code", own_path("code", "login"))
    for place in (
        "//evil.example/",
        "/\\evil.example",
        "https://evil.example/",
        "@evil.example",
        ".evil.example",
        "/%0d%0aX:1",
    ):
        page = alice.ask(f"{login}?{place}")
        assert page.status in (302, 400), place
        if page.status == 302:
            found = urllib.parse.urlsplit(page.location)
            assert (found.hostname, found.port) == (f"code.{DOMAIN}", way.port), place
        assert page.headers["X"] is None
    # A client's answers go to its own address only.
    asked = way.browser().ask(login).location
    query = query_of(asked)
    assert query["redirect_uri"] == way.url("code", own_path("code", "callback"))
    for wrong in (
        "https://evil.example/",
        query["redirect_uri"] + "/../x",
        way.url("maps", own_path("maps", "callback")),
    ):
        changed = asked.replace(urllib.parse.quote(query["redirect_uri"], safe=""), urllib.parse.quote(wrong, safe=""))
        assert changed != asked
        assert way.browser().ask(changed).status == 400, wrong


def test_who_signs_out_is_out_at_every_app_at_once(way: Chain, alice: Browser) -> None:
    for url in (way.url("bus"), way.url("code", "/forms/"), way.url("maps", own_path("maps", "login"))):
        assert claims_of(alice.go(url))["user"] == ALICE
    kept = alice.copy()
    # A page of another site signs nobody out.
    assert alice.ask(way.url("code", own_path("code", "logout")), Sec_Fetch_Site="cross-site").status == 403
    assert alice.ask(way.url("bus")).status == 200
    page = alice.go(way.url("code", own_path("code", "logout")))
    assert page.url == way.url("code", own_path("code", "signed-out"))
    for url in (way.url("code"), way.url("code", "/forms/"), way.url("bus")):
        wait_until(lambda url=url: kept.ask(url, Sec_Fetch_Mode="cors").status == 401, 10)  # type: ignore[misc]
    wait_until(lambda: kept.ask(way.url("maps")).claims == {}, 10)
    # The realm knows nobody any more either.
    assert "<form" in alice.go(way.url("bus")).text


def test_a_session_that_an_administrator_ends_is_no_session_of_any_app(way: Chain, alice: Browser) -> None:
    assert alice.ask(way.url("code")).status == 200
    way.keycloak.end_sessions("city", ALICE)
    wait_until(lambda: alice.ask(way.url("code"), Sec_Fetch_Mode="cors").status == 401, 10)


def test_of_the_identity_server_people_reach_the_citys_realm_alone(way: Chain, browser: Browser) -> None:
    for path in (
        "/",
        "/auth/",
        "/auth/admin/",
        "/auth/admin/realms",
        "/auth/realms/master",
        "/auth/realms/tenant-health",
    ):
        assert browser.ask(way.url("id", path)).status == 404, path
    for path in (
        "/auth/realms/city/../master",
        "/auth/realms/city/%2e%2e/master",
        "/auth/resources/..%2f..%2fauth/realms/master",
    ):
        assert browser.ask(way.url("id", path)).status in (400, 404), path
    found = browser.ask(way.url("id", "/auth/realms/city/.well-known/openid-configuration"), Accept="*/*")
    assert f'"issuer":"{way.url("id", "/auth/realms/city")}"' in found.text


def test_paths_of_the_service_are_no_paths_of_callers(way: Chain, alice: Browser) -> None:
    for path in ("/-/sign-in/check", "/-/sign-in/claims", "/-/sign-in/digest", "/-/sign-in/back-channel/health.code"):
        page = alice.ask(way.url("code", path))
        # The app's own path, as any other.
        assert '"path": "' in page.text, path
    assert alice.ask(way.url("code", own_path("code", "asked"))).status == 404


def test_the_probe_passes_and_fails_where_another_answers(way: Chain) -> None:
    def probe(port: int) -> tuple[int, str]:
        done = way.service.run("/bin/sh", "-c", PROBE, HOST="127.0.0.1", PORT=str(port))
        return done.returncode, done.stdout + done.stderr

    assert probe(way.service_port) == (0, "the service answers, and knows nobody without a client\n")
    assert probe(way.keycloak.served.port)[0] == 1
    assert probe(way.app)[0] == 1


def test_a_route_that_is_taken_away_takes_its_client_with_it(way: Chain, alice: Browser) -> None:
    routes = way.routes
    assert way.keycloak.clients("city") >= {"health.code", "health.forms", "health.maps", "transport.bus"}
    try:
        way.configure(tuple(route for route in routes if route.app != "bus"))
        assert "transport.bus" not in way.keycloak.clients("city")
        # The others' sessions have outlived it.
        assert claims_of(alice.ask(way.url("code")))["user"] == ALICE
    finally:
        way.configure(routes)
    assert "transport.bus" in way.keycloak.clients("city")


def cookie(browser: Browser) -> str:
    """The header with a browser's session at `code`."""
    return f"Cookie: {SESSION}={browser.cookies[f'code.{DOMAIN}'][SESSION][0]}\r\n"


def raw(way: Chain, host: str, header: str, more: str = "") -> str:
    """The answer to a request with these bytes of a header, which no client would send."""
    value = header if ":" in header else f"{header}: mallory"
    first = f"GET / HTTP/1.1\r\nHost: {host}.{DOMAIN}:{way.port}\r\n"
    text = f"{first}{more}{value}\r\nSec-Fetch-Mode: cors\r\nConnection: close\r\n\r\n"
    return way.browser().send(f"{host}.{DOMAIN}", text.encode())
