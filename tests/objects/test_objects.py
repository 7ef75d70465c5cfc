"""What every place of objects does, on real servers: one suite for all of them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.objects.conftest import QUICK, SERVERS, Place
from tests.objects.proxy import proxy
from tests.support.control_plane import free_ports
from wecityctl.errors import AuthenticationError, ConfigurationError, DeploymentError, WecityError
from wecityctl.objects import Entry, Limits, Objects, open_objects

# The S3 server is built with Go where the cache has none.
pytestmark = pytest.mark.build

KEY = ".pulumi/stacks/wecity/xingcheng.base.main.json"
ROUNDS = 200
RACER = """
import sys
from wecityctl.objects import open_objects
objects = open_objects(sys.argv[1])
for line in sys.stdin:
    print(objects.create(line.strip(), sys.argv[2].encode()), flush=True)
"""
FORKED = """
import os, sys
from wecityctl.objects import open_objects
before = open_objects(sys.argv[1])
before.put("before", b"1")
child = os.fork()
if child == 0:
    try:
        {child}
    except BaseException as error:
        print(type(error).__name__, error, flush=True)
    os._exit(0)
os.waitpid(child, 0)
"""


def test_an_object_is_written_read_replaced_and_deleted(objects: Objects) -> None:
    assert objects.get(KEY) is None
    assert not objects.exists(KEY)
    objects.put(KEY, b"one")
    assert objects.get(KEY) == b"one"
    assert objects.exists(KEY) and not objects.exists(KEY.rpartition("/")[0])
    objects.put(KEY, b"")
    assert objects.get(KEY) == b""
    every_byte = bytes(range(256))
    objects.put(KEY, every_byte)
    assert objects.get(KEY) == every_byte
    objects.delete(KEY)
    objects.delete(KEY)
    objects.delete("never/was")
    assert objects.get(KEY) is None
    assert objects.list() == []


def test_an_object_is_created_once(objects: Objects) -> None:
    assert objects.create(KEY, b"first")
    assert not objects.create(KEY, b"second")
    assert not objects.create(KEY, b"first")
    assert objects.get(KEY) == b"first"
    objects.put(KEY, b"replaced")
    assert not objects.create(KEY, b"third")
    objects.delete(KEY)
    assert objects.create(KEY, b"fourth")
    assert objects.get(KEY) == b"fourth"


def test_a_list_has_what_is_below_a_directory(objects: Objects) -> None:
    sizes = {"a/b/c": 1, "a/b-c": 2, "a/bc/d": 3, "a/b/d/e": 4, "z": 5, "a_b/c": 6, "aXb/c": 7}
    for key, size in sizes.items():
        objects.put(key, b"x" * size)
    found = objects.list()
    assert [(entry.key, entry.size) for entry in found] == sorted(sizes.items())
    assert [entry.key for entry in objects.list("a/b")] == ["a/b/c", "a/b/d/e"]
    assert objects.list("a/b/") == objects.list("a/b")
    assert [entry.key for entry in objects.list("a_b")] == ["a_b/c"], "no wildcard of LIKE"
    assert objects.list("a/b/c") == [], "an object is not below itself"
    assert objects.list("nothing") == []
    assert all(abs(datetime.now(UTC) - entry.modified) < timedelta(minutes=5) for entry in found)


@pytest.mark.parametrize(
    "key", ["with blank/and +&=?#%41", "中文/状态.json", "a'b\"c;d", "tilde~/{x}[y]^`|<>", "a*b", "100%", "…/é"]
)
def test_unusual_keys_are_kept_as_they_are(objects: Objects, key: str) -> None:
    objects.put(key, b"data")
    assert objects.get(key) == b"data"
    assert not objects.create(key, b"other")
    assert [entry.key for entry in objects.list()] == [key]
    objects.delete(key)
    assert objects.list() == []


@pytest.mark.parametrize(
    "key",
    ["", "/absolute", "a//b", "a/", "../up", "a/../../b", "a/./b", ".", "a\nb", "a\0b", "a\x7fb", "a\\b", "\udc80",
     "x" * 256, "x/" * 600 + "y"],
)  # fmt: skip
def test_hostile_keys_are_refused(objects: Objects, key: str) -> None:
    for act in (
        lambda: objects.get(key),
        lambda: objects.put(key, b""),
        lambda: objects.create(key, b""),
        lambda: objects.delete(key),
        lambda: objects.list(key) if key and not key.endswith("/") else objects.get(key),
    ):
        with pytest.raises(WecityError, match="cannot be the key"):
            act()


def test_many_and_large_objects(objects: Objects) -> None:
    large = os.urandom(5_000_000)
    objects.put("large", large)
    assert objects.get("large") == large
    assert objects.create("large-too", large)
    keys = [f"many/{number // 100}/{number:04}" for number in range(1500)]

    def write(part: list[str]) -> None:
        for key in part:
            objects.put(key, key.encode())

    threads = [threading.Thread(target=write, args=(keys[start::4],)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [(entry.key, entry.size) for entry in objects.list("many")] == [(key, len(key)) for key in sorted(keys)]
    assert objects.list()[0] == Entry("large", len(large), objects.list()[0].modified)


def test_one_of_two_processes_creates_an_object(place: Place) -> None:
    command = [sys.executable, "-c", RACER, place.url]
    pipe = subprocess.PIPE
    racers = [subprocess.Popen([*command, name], stdin=pipe, stdout=pipe, text=True, bufsize=1) for name in ("a", "b")]
    opened = open_objects(place.url)
    try:
        for number in range(ROUNDS):
            for racer in racers:
                assert racer.stdin is not None
                racer.stdin.write(f"race/{number}\n")
                racer.stdin.flush()
            answers = [racer.stdout.readline().strip() for racer in racers if racer.stdout is not None]
            assert sorted(answers) == ["False", "True"], number
            assert opened.get(f"race/{number}") == (b"a" if answers[0] == "True" else b"b")
    finally:
        for racer in racers:
            racer.communicate(timeout=30)
        opened.close()


@pytest.mark.parametrize("place", SERVERS, indirect=True)
def test_a_lost_answer_is_no_false_answer(place: Place) -> None:
    with proxy(place.port) as between:
        objects = open_objects(place.through(between.port), Limits(seconds=5.0, attempts=3, pause=0.02))
        # Statements are prepared now, so that the answer that is lost below is the one after the write.
        assert objects.create("warm", b"") and not objects.create("warm", b"")
        objects.put("warm", b"")
        for fault in ("lose", "fail") if place.kind == "s3" else ("lose",):
            between.next(fault)
            assert objects.create(f"own-{fault}", b"same"), "its own write"
            assert between.met == 1
            between.next(fault)
            assert not objects.create(f"own-{fault}", b"same"), "somebody else's, though the data is the same"
            assert between.met == 1
            between.next(fault)
            objects.put("put", fault.encode())
            assert (between.met, objects.get("put")) == (1, fault.encode())
            between.next(fault)
            assert (objects.get("put"), between.met) == (fault.encode(), 1)
            between.next(fault)
            objects.delete("put")
            assert (between.met, objects.get("put")) == (1, None)
        objects.close()


@pytest.mark.parametrize("place", SERVERS, indirect=True)
def test_slow_answers_are_waited_for_in_bounds(place: Place) -> None:
    with proxy(place.port) as between:
        objects = open_objects(place.through(between.port), QUICK)
        objects.put("a", b"1")
        between.next("delay", 1, seconds=0.3)
        assert objects.get("a") == b"1"
        between.next("delay", 1, seconds=1.5)
        assert objects.get("a") == b"1", "a second attempt answers in time"
        between.next("delay", 1, seconds=1.5)
        assert objects.create("slow", b"1")
        between.next("delay", 10_000, seconds=4.0)
        began = time.monotonic()
        with pytest.raises(DeploymentError, match="no usable answer after 3 attempts of at most 1 s"):
            objects.get("a")
        assert time.monotonic() - began < 10
        objects.close()


@pytest.mark.parametrize("place", SERVERS, indirect=True)
def test_a_server_that_only_fails_is_given_up(place: Place) -> None:
    with proxy(place.port) as between:
        objects = open_objects(place.through(between.port), QUICK)
        # PostgreSQL has its table from now on.
        objects.put("first", b"1")
        between.next("lose", 10_000)
        with pytest.raises(DeploymentError, match=r"cannot write a in .*: no usable answer") as refused:
            objects.put("a", b"1")
        assert refused.value.resolution and place.secret not in str(vars(refused.value))
        with pytest.raises(DeploymentError) as refused:
            objects.create("b", b"1")
        assert "it is not known whether the object was created" in refused.value.details
        between.next("", 0)
        objects.put("a", b"2")
        assert objects.get("a") == b"2", "it is used again once it answers"
        objects.close()


@pytest.mark.parametrize("place", SERVERS, indirect=True)
def test_a_server_that_is_not_there_is_told(place: Place) -> None:
    with pytest.raises(DeploymentError, match="no usable answer after 3 attempts") as refused:
        open_objects(place.through(free_ports(1)[0]), QUICK)
    assert place.secret not in str(vars(refused.value))


@pytest.mark.parametrize("place", SERVERS, indirect=True)
def test_refused_credentials_are_told_without_a_secret(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = "the-wrong-secret-of-somebody"
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", wrong)
    with pytest.raises(AuthenticationError, match="the credentials were refused") as refused:
        open_objects(place.url.replace(place.secret, wrong) if place.kind == "postgres" else place.url)
    told = f"{refused.value} {vars(refused.value)} {refused.value.__cause__!r}"
    assert wrong not in told and place.secret not in told
    assert ("SignatureDoesNotMatch" if place.kind == "s3" else "password authentication failed") in told
    assert refused.value.resolution


@pytest.mark.parametrize("place", SERVERS, indirect=True)
def test_a_bucket_or_database_that_does_not_exist_is_told(place: Place) -> None:
    url = place.url.replace("s3://states/", "s3://nowhere/").replace("/postgres?", "/nowhere?")
    with pytest.raises(ConfigurationError, match=r"there is no (bucket nowhere|such database)"):
        open_objects(url)


def test_the_url_shows_no_credentials(place: Place, objects: Objects) -> None:
    assert objects.url.startswith({"directory": "file://", "s3": "s3://", "postgres": "postgres://"}[place.kind])
    assert not place.secret or place.secret not in objects.url


@pytest.mark.parametrize("child", ["before.get('before')", "print(open_objects(sys.argv[1]).get('before'))"])
def test_after_a_fork_places_are_opened_anew(place: Place, child: str) -> None:
    """Never a process that hangs. S3's library serves one process and none that is forked from it."""
    command = [sys.executable, "-c", FORKED.replace("{child}", child), place.url]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60).stdout.strip()
    if place.kind == "directory":
        assert said in ("", "b'1'")
    elif child.startswith("before"):
        assert "was opened before this process was forked" in said
    elif place.kind == "s3":
        assert "forked from one that had used S3" in said
    else:
        assert said == "b'1'"


def test_nothing_is_loaded_before_it_is_needed(tmp_path: Path) -> None:
    code = (
        "import sys; from wecityctl.objects import open_objects;"
        f"open_objects('file://{tmp_path}/x').put('a', b'');"
        "print([name for name in ('obstore', 'asyncpg', 'asyncio') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("url", ["gs://bucket", "https://host/x", "s4://b", "nonsense", "", "FILE:///x"])
def test_other_schemes_are_refused_by_name(url: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        open_objects(url)
    assert refused.value.details == "supported: file://, postgres://, postgresql://, s3://"
