"""An app that takes all it can of a shared cache, and its neighbour in the same one."""

from __future__ import annotations

import contextlib
import itertools
import signal
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stacks.platforms.application.cache.access import CHANNELS, CONNECTION, LIMITS_KEY, TLS_OPTIONS, permissions
from stacks.platforms.application.cache.guard import PRESSURE
from stacks.platforms.application.cache.program import probe_password
from tests.attack.conftest import Unpacked
from tests.attack.served import ADMIN, PASSWORD, Served, attacked, cache_server, wait_until
from tests.images.rootfs import needs_root
from wecityctl.model.city import Dedicated, Use
from wecityctl.model.quantity import parse_quantity

pytestmark = [pytest.mark.build, pytest.mark.by_digest, needs_root, pytest.mark.timeout(300)]

EVE, BOB = "health.code.cache", "transport.bus.cache"
# What an earlier version's provisioning left in the access list.
OLD = f"user {EVE} on #{'0' * 64} ~{EVE}:* resetchannels &{EVE}:* +@all -@admin -@dangerous\n"

Connect = Callable[..., Any]


@pytest.fixture(scope="module")
def served(unpacked: Unpacked) -> Iterator[Served]:
    city = attacked(
        ("health", "code", Use("cache", "cache", connections=20, memory="16Mi")),
        ("transport", "bus", Use("cache", "cache")),
    )
    with cache_server(city, unpacked("cache"), OLD) as found:
        yield found


@pytest.fixture(scope="module")
def connect(served: Served, drivers: Path) -> Connect:
    """A client of a user; the first waits for the server, finds the old user bounded, and provisions both."""
    redis = pytest.importorskip("redis")

    def client(user: str, password: str = PASSWORD, **options: Any) -> Any:
        where = {"host": "127.0.0.1", "port": served.port, "ssl": True, "ssl_ca_data": served.authority}
        who = {"username": user, "password": password}
        return redis.Redis(**{**where, **who, "socket_timeout": 20, "decode_responses": True, **options})

    admin = client("admin", ADMIN)
    wait_until(lambda: _answers(admin))
    assert admin.execute_command("ACL", "DRYRUN", EVE, "GET", f"{EVE}:a") == "OK"
    assert "no permissions" in str(admin.execute_command("ACL", "DRYRUN", EVE, "SCAN", "0"))
    assert "no permissions" in str(admin.execute_command("ACL", "DRYRUN", EVE, "EVAL", "return 1", "0"))
    admin.execute_command("FUNCTION", "LOAD", "#!lua name=left\nredis.register_function('f', function() return 1 end)")
    served.provision()
    return client


def _answers(client: Any) -> bool:
    try:
        return bool(client.ping())
    except Exception:
        return False


def test_every_command_of_an_app_has_keys_or_channels_or_is_its_connections_own(connect: Connect) -> None:
    """Held against the server's own table of commands, so that another version's is judged too."""
    table = connect("admin", ADMIN).execute_command("COMMAND")
    unbound = set(CHANNELS) | {name.partition("|")[0] for name in CONNECTION}
    allowed = {word[1:] for word in permissions(scripting=False).split()[1:]}
    # These carry their keys in subcommands.
    with_subcommands = {"xgroup", "xinfo"}
    for name in allowed - with_subcommands:
        entry = table[name.partition("|")[0]]
        has_keys = entry["first_key_pos"] or "movablekeys" in entry["flags"]
        assert has_keys or name.partition("|")[0] in unbound, name


@pytest.mark.parametrize(
    "command",
    [
        "SCAN 0", "KEYS *", "RANDOMKEY", "DBSIZE", "FLUSHALL", "FLUSHDB", "SWAPDB 0 1", "INFO", "LASTSAVE", "MONITOR",
        "CLIENT LIST", "CLIENT INFO", "CLIENT KILL TYPE normal", "CLIENT PAUSE 9", "CLIENT NO-EVICT on",
        "CLIENT TRACKING on BCAST", "CONFIG GET *", "DEBUG SLEEP 0", "PUBSUB CHANNELS", "WAIT 1 1", "ACL WHOAMI",
        "ACL LIST", "COMMAND", "MEMORY STATS", "SLOWLOG GET", "LATENCY RESET", "SAVE", "SHUTDOWN NOSAVE", "ROLE",
        "REPLICAOF NO ONE", "CLUSTER INFO", "MODULE LIST", "SCRIPT FLUSH", "SCRIPT KILL", "FUNCTION LIST",
        "FUNCTION FLUSH", "FCALL f 0", "EVAL return(1) 0", "EVAL_RO return(1) 0", "EVALSHA abc 0",
        "OBJECT ENCODING {own}", "COPY {own} {own}2", "DUMP {own}", "RESTORE {own}3 0 x", "SORT {own}", "MOVE {own} 1",
        "LCS {own} {own}", "MIGRATE h 1 k 0 1", "PFDEBUG ENCODING {own}", "READONLY", "ASKING",
        "GET {other}", "SET {other} 1", "RENAME {own} {other}", "SUBSCRIBE {other}", "PSUBSCRIBE *",
        "PUBLISH {other} 1", "SUBSCRIBE __keyevent@0__:set", "XREAD STREAMS {other} 0",
        "SUNIONSTORE {own} {other}", "SET wecity.limits:20 1",
    ],
)  # fmt: skip
@pytest.mark.proves("cache", "refused")
def test_what_reaches_beyond_an_apps_own_keys_is_refused(connect: Connect, command: str) -> None:
    words = command.format(own=f"{EVE}:a", other=f"{BOB}:a").split(" ")
    with pytest.raises(Exception, match=r"permission|not allowed"):
        connect(EVE).execute_command(*words)


@pytest.mark.proves("cache", "built", "used")
def test_an_app_does_what_apps_do(connect: Connect) -> None:
    eve = connect(EVE)
    assert eve.set(f"{EVE}:a", "1", ex=100)
    with eve.pipeline() as pipe:
        assert pipe.incr(f"{EVE}:n").hset(f"{EVE}:h", "f", "v").expire(f"{EVE}:h", 60).execute()[1:] == [1, True]
    assert eve.zadd(f"{EVE}:z", {"m": 1}) == 1
    assert eve.xadd(f"{EVE}:x", {"f": "v"})
    listener = eve.pubsub()
    listener.subscribe(f"{EVE}:news")
    assert listener.get_message(timeout=5)["type"] == "subscribe"
    assert eve.publish(f"{EVE}:news", "hello") == 1
    assert listener.get_message(timeout=5)["data"] == "hello"
    listener.close()


def test_the_probe_may_ask_for_a_sign_of_life_and_nothing_else(connect: Connect) -> None:
    probe = connect("probe", probe_password(ADMIN))
    assert probe.ping()
    for command in ("GET a", "ECHO a", "INFO", "SUBSCRIBE a", "ACL WHOAMI", "MULTI"):
        with pytest.raises(Exception, match="no permissions"):
            probe.execute_command(*command.split())


def test_liveness_is_an_answer_to_the_probe(connect: Connect, served: Served) -> None:
    (command,) = {
        tuple(served.container("cache")[f"{kind}Probe"]["exec"]["command"]) for kind in ("liveness", "readiness")
    }
    where = {"PORT": str(served.port), "TLS": TLS_OPTIONS}
    for password, code in ((probe_password(ADMIN), 0), (PASSWORD, 1)):
        assert served.image.run(*command, PROBE_PASSWORD=password, **where).returncode == code


def test_a_guard_waits_for_its_server_and_ends_when_it_is_told_to(served: Served) -> None:
    guard = {item["name"]: item.get("value", "") for item in served.container("guard")["env"]}
    with served.image.running(*served.command("guard"), **{**guard, "ADMIN_PASSWORD": ADMIN, "PORT": "1"}) as process:
        time.sleep(2)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_who_does_not_speak_tls_gets_no_answer(connect: Connect, served: Served) -> None:
    with pytest.raises(Exception, match=r"closed|reset|refused"):
        connect(EVE, ssl=False).ping()
    with socket.create_connection(("127.0.0.1", served.port), 10) as plain:
        plain.sendall(f"AUTH {EVE} {PASSWORD}\r\nPING\r\n".encode())
        with contextlib.suppress(ConnectionError):
            assert b"PONG" not in plain.recv(100)
    assert connect("admin", ADMIN).config_get("tls-protocols") == {"tls-protocols": "TLSv1.2 TLSv1.3"}


def test_a_renewed_certificate_is_served_without_a_restart(connect: Connect, served: Served) -> None:
    held, admin = connect(EVE, single_connection_client=True), connect("admin", ADMIN)
    assert held.set(f"{EVE}:a", "1")
    process, before = admin.info("server")["process_id"], served.certificate()
    served.certify()
    wait_until(lambda: served.certificate() != before)
    assert connect(BOB).ping()
    assert held.get(f"{EVE}:a") == "1"
    assert admin.info("server")["process_id"] == process
    wait_until(lambda: served.logged("takes over its renewed certificate"))


def test_a_server_of_another_authority_is_refused(connect: Connect, served: Served) -> None:
    with served.certified_by_others():
        with pytest.raises(Exception, match="certificate verify failed"):
            connect(EVE).ping()
        assert "certificate verify failed" in served.provision(code=1, tries=1)


def test_functions_that_were_loaded_when_anybody_could_are_gone(connect: Connect) -> None:
    assert connect("admin", ADMIN).execute_command("FUNCTION", "LIST") == []


def test_rights_survive_a_save_and_a_load(connect: Connect) -> None:
    admin = connect("admin", ADMIN)
    # The server sums the rights up in words of its own, and in no certain order.
    before = sorted(str(admin.execute_command("ACL", "GETUSER", EVE)).split())
    admin.execute_command("ACL", "LOAD")
    assert sorted(str(admin.execute_command("ACL", "GETUSER", EVE)).split()) == before
    assert "no permissions" in str(admin.execute_command("ACL", "DRYRUN", EVE, "PUBSUB", "CHANNELS"))


def test_one_value_cannot_take_the_servers_memory(connect: Connect) -> None:
    eve = connect(EVE)
    for command in (("SETRANGE", f"{EVE}:big", "500000000", "x"), ("SETBIT", f"{EVE}:big", "4000000000", "1")):
        with pytest.raises(Exception, match=r"maximum allowed size|out of range"):
            eve.execute_command(*command)


def test_what_an_app_sends_in_part_and_leaves_unread_stays_within_the_servers_memory(
    connect: Connect, served: Served
) -> None:
    eve, admin = connect(EVE), connect("admin", ADMIN)
    limit = parse_quantity(served.container("cache")["resources"]["limits"]["memory"])
    eve.set(f"{EVE}:wide", "x" * 10_000_000)
    login = f"AUTH {EVE} {PASSWORD}\r\n".encode()
    unread = login + f"GET {EVE}:wide\r\n".encode() * 20
    half = login + b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$10000000\r\n" + b"x" * 9_900_000
    context = ssl.create_default_context(cadata=served.authority)
    with contextlib.ExitStack() as stack:
        for message in [unread] * 15 + [half] * 20:
            plain = stack.enter_context(socket.create_connection(("127.0.0.1", served.port), 5))
            client = stack.enter_context(context.wrap_socket(plain, server_hostname="127.0.0.1"))
            with contextlib.suppress(OSError):
                client.sendall(message)
        with contextlib.suppress(Exception):
            eve.execute_command("MGET", *[f"{EVE}:wide"] * 1000)
    status = Path(f"/proc/{admin.info('server')['process_id']}/status").read_text()
    (peak,) = (int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))
    assert peak < limit
    assert connect(BOB).set(f"{BOB}:a", "1")
    connect(EVE).unlink(f"{EVE}:wide")


@pytest.mark.proves("cache", "limited")
def test_an_app_cannot_hold_more_connections_than_its_limit(connect: Connect, served: Served) -> None:
    eves = [connect(EVE, single_connection_client=True, retry=None) for _ in range(120)]
    quiet = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(260)]
    admin = connect("admin", ADMIN)

    def held(user: str) -> int:
        return sum(client["user"] == user for client in admin.client_list())

    try:
        assert held("default") > 200 or held(EVE) > 20
        wait_until(lambda: held(EVE) <= 20)
        # Who never says who he is goes altogether.
        wait_until(lambda: held("default") == 0)
        assert connect(BOB).set(f"{BOB}:a", "1")
        assert connect(EVE).set(f"{EVE}:a", "1")
    finally:
        for client in eves:
            client.close()
        for plain in quiet:
            plain.close()


@pytest.mark.proves("cache", "limited")
def test_a_flood_of_one_app_leaves_its_neighbours_values(connect: Connect) -> None:
    """As long as it takes the guard no longer to look than the app to write a quarter of the memory."""
    bob, eve, admin = connect(BOB), connect(EVE), connect("admin", ADMIN)
    kept = {f"{BOB}:{number}": "v" * 1000 for number in range(2000)}
    bob.mset(kept)
    whole = int(admin.config_get("maxmemory")["maxmemory"])
    names = (f"{EVE}:flood:{number}" for number in itertools.count())

    def is_pressed() -> bool:
        return bool(admin.info("memory")["used_memory"] >= whole * PRESSURE // 100)

    def flood(size: int) -> None:
        for _ in range(size // 1_000_000):
            eve.mset(dict.fromkeys(itertools.islice(names, 100), "x" * 10_000))

    def has_its_share() -> bool:
        return sum(1 for _ in admin.scan_iter(f"{EVE}:flood:*", count=5000)) * 10_000 < 17 * 1024**2

    for _ in range(20):
        flood(whole // 10)
        wait_until(lambda: not is_pressed(), 60)
    assert sum(value is not None for value in bob.mget(list(kept))) == len(kept)
    # Under pressure it goes back to its own share. What a look in the middle of the flood has left may be enough for
    # everybody: then it is pressed again.
    for _ in range(5):
        while not is_pressed():
            flood(5_000_000)
        with contextlib.suppress(AssertionError):
            wait_until(has_its_share, 20)
            break
    assert has_its_share()
    assert sum(value is not None for value in bob.mget(list(kept))) == len(kept)
    eve.unlink(*admin.scan_iter(f"{EVE}:flood:*", count=5000))


def test_what_a_locked_user_has_left_is_no_more_than_its_share(connect: Connect) -> None:
    """It is locked from the start here, so that no guard knows it otherwise."""
    admin, left, share = connect("admin", ADMIN), "health.gone.cache", 16 * 1024**2
    admin.execute_command("ACL", "SETUSER", left, "off", f"%R~{LIMITS_KEY}:20:{share}", f"~{left}:*")
    whole = int(admin.config_get("maxmemory")["maxmemory"])
    names = (f"{left}:{number}" for number in itertools.count())
    while admin.info("memory")["used_memory"] < whole * (PRESSURE + 1) // 100:
        admin.mset(dict.fromkeys(itertools.islice(names, 100), "x" * 10_000))
    try:
        wait_until(lambda: sum(1 for _ in admin.scan_iter(f"{left}:*", count=5000)) * 10_000 <= share, 40)
    finally:
        admin.execute_command("ACL", "DELUSER", left)
        for name in list(admin.scan_iter(f"{left}:*", count=5000)):
            admin.unlink(name)


def test_the_app_that_has_a_cache_alone_runs_scripts_in_it(connect: Connect, served: Served) -> None:
    alone = attacked(("health", "code", Use("cache", "cache")), dedicated=Dedicated("health", "code"))
    served.provision(alone)
    eve = connect(EVE)
    assert eve.eval("return redis.call('SET', KEYS[1], ARGV[1])", 1, f"{EVE}:s", "1") == "OK"
    with pytest.raises(Exception, match=r"permission|can't access"):
        eve.eval("return redis.call('GET', KEYS[1])", 1, f"{BOB}:a")
    # A tenant's apps are each other's neighbours: having it together they share it.
    together = attacked(("health", "code", Use("cache", "cache")), dedicated=Dedicated("health"))
    served.provision(together)
    with pytest.raises(Exception, match="permission"):
        eve.eval("return 1", 0)
    served.provision()
