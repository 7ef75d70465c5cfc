"""An app that names others' files in its own signed requests to a shared object store.

Whatever it says where a name, an upload or a version is expected: nothing outside its bucket is changed or told.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import random
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.attack.conftest import Unpacked
from tests.attack.served import PASSWORD, Served, attacked, object_store
from tests.images.rootfs import needs_root
from wecityctl.model.city import Capability, Platform, Use

pytestmark = [pytest.mark.build, pytest.mark.by_digest, needs_root, pytest.mark.timeout(300)]

EVE, BOB = "health.code.files", "transport.bus.files"
DATA = Platform("data", (Capability("data", "object-storage", "object-storage"),))
SECRET = b"of bob"
# From the directory of an upload's object to that of all buckets.
UP = "../../../.."
NOWHERE = "00000000-0000-4000-8000-000000000000"
UPLOADS = (
    f"{UP}/{BOB}",
    f"{UP}/wecity-limits",
    f"{UP}/../users",
    f"{UP}/{EVE}",
    "../../..",
    "..",
    ".",
    "",
    "/",
    f"/{NOWHERE}",
    f"{NOWHERE}/../{UP}/{BOB}",
    f"{NOWHERE}/",
    f"{NOWHERE}\0",
    NOWHERE,
)
KEYS = (
    f"../{BOB}/secret",
    f"../{BOB}",
    f"../wecity-limits/{EVE}",
    "../../users/users.json",
    f"a/../../{BOB}/secret",
    f"./../{BOB}/secret",
    f"/../{BOB}/secret",
    "..",
    ".",
    "/",
    "a//b",
    "a/./b",
    ".sgwtmp/multipart/x",
    "a\0b",
)


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes

    @property
    def code(self) -> str:
        """The code of the first error in the answer; empty for none."""
        return self.body.partition(b"<Code>")[2].partition(b"</Code>")[0].decode()


@dataclass(frozen=True)
class App:
    """An app's requests as it writes them: nothing between it and the server cleans them."""

    served: Served
    name: str

    def ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: bytes = b"",
        *,
        presigned: bool = False,
        **headers: str,
    ) -> Answer:
        url = f"https://127.0.0.1:{self.served.port}{path}"
        if query is not None:
            url += "?" + "&".join(f"{quote(name, safe='')}={quote(query[name], safe='')}" for name in sorted(query))
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        request = AWSRequest(method, url, data=body, headers=names)
        keys = Credentials(self.name, PASSWORD)
        (S3SigV4QueryAuth if presigned else S3SigV4Auth)(keys, "s3", "us-east-1").add_auth(request)
        parts = urlsplit(request.url)
        return self.send(method, f"{parts.path}?{parts.query}" if parts.query else parts.path, body, request.headers)

    def send(self, method: str, address: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        tls = ssl.create_default_context(cadata=self.served.authority)
        connection = http.client.HTTPSConnection("127.0.0.1", self.served.port, timeout=20, context=tls)
        try:
            connection.request(method, address, body, dict(headers))
            answer = connection.getresponse()
            return Answer(answer.status, answer.read())
        except OSError:
            # A refused request may end before its answer has arrived, see `program.start`.
            return Answer(0, b"")
        finally:
            connection.close()


@pytest.fixture(scope="module")
def served(unpacked: Unpacked) -> Iterator[Served]:
    city = attacked(
        ("health", "code", Use("object-storage", "files", storage="64Mi")),
        ("transport", "bus", Use("object-storage", "files")),
        platform=DATA,
    )
    with object_store(city, unpacked("object-storage")) as found:
        found.provision()
        bob = App(found, BOB)
        assert bob.ask("PUT", f"/{BOB}/secret", body=SECRET).status == 200
        # Looks like a part of an upload to who is let in here.
        assert bob.ask("PUT", f"/{BOB}/1", body=SECRET).status == 200
        yield found


@pytest.fixture
def eve(served: Served) -> Iterator[App]:
    """The app, with an object; afterwards everything outside its bucket is as before."""
    found = App(served, EVE)
    assert found.ask("PUT", f"/{EVE}/own", body=b"of eve").status == 200
    before = contents(served)
    assert f"buckets/{BOB}/secret" in before and f"buckets/wecity-limits/{EVE}" in before
    yield found
    assert contents(served) == before


def contents(served: Served) -> dict[str, str]:
    """The files of the volume with their digests, but for Eve's objects and the locks of objects."""
    assert served.data is not None
    bucket = served.data / "buckets" / EVE
    # Nor does she get into what the server keeps in her bucket.
    assert {path.name for path in (bucket / ".sgwtmp").iterdir()} <= {"multipart"}
    return {
        str(path.relative_to(served.data)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in sorted(served.data.rglob("*"))
        if not path.is_relative_to(bucket) and ".vgwlocks" not in path.parts
    }


def completed(part: str = "x") -> bytes:
    return (
        f"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{part}</ETag></Part></CompleteMultipartUpload>"
    ).encode()


@pytest.mark.parametrize("upload", UPLOADS)
def test_an_upload_is_one_that_the_server_has_begun(eve: App, upload: str) -> None:
    place, query = f"/{EVE}/mp", {"uploadId": upload}
    source = f"/{EVE}/own"
    answers = [
        eve.ask("GET", place, query),
        eve.ask("PUT", place, {**query, "partNumber": "2"}, b"p"),
        eve.ask("PUT", place, {**query, "partNumber": "1"}, x_amz_copy_source=source),
        eve.ask("POST", place, query, completed(hashlib.md5(SECRET).hexdigest())),
        eve.ask("DELETE", place, query),
        eve.ask("DELETE", place, query, presigned=True),
    ]
    # Without an id, some of these are other requests.
    assert {answer.code for answer in answers if answer.status} <= {"NoSuchUpload"} | (
        {"", "InvalidArgument", "InvalidRequest", "MethodNotAllowed", "MalformedXML"} if not upload else set()
    )


def deleted(key: str) -> bytes:
    text = key.replace("&", "&amp;").replace("<", "&lt;").replace("\0", "&#1;")
    return f"<Delete><Object><Key>{text}</Key></Object></Delete>".encode()


@pytest.mark.parametrize("key", [key for key in KEYS if "\0" not in key])
def test_keys_in_bodies_are_of_the_bucket(eve: App, key: str) -> None:
    body = deleted(key).replace(b"<Delete>", b"<Delete><Object><Key>gone</Key></Object>")
    digest = base64.b64encode(hashlib.md5(body).digest()).decode()
    answer = eve.ask("POST", f"/{EVE}", {"delete": ""}, body, content_md5=digest)
    assert (answer.status, answer.code) == (200, "InvalidArgument")
    assert b"<Deleted><Key>gone</Key>" in answer.body


@pytest.mark.parametrize("key", KEYS)
def test_keys_in_addresses_are_of_the_bucket(eve: App, key: str) -> None:
    for name in {quote(key, safe=""), quote(key), quote(quote(key, safe=""))}:
        place = f"/{EVE}/{name}"
        tags = b"<Tagging><TagSet><Tag><Key>a</Key><Value>1</Value></Tag></TagSet></Tagging>"
        for answer in (
            eve.ask("GET", place),
            eve.ask("GET", place, presigned=True),
            eve.ask("GET", place, {"partNumber": "1"}),
            eve.ask("HEAD", place),
            eve.ask("GET", place, {"attributes": ""}, x_amz_object_attributes="ETag,ObjectSize,Checksum"),
            eve.ask("GET", place, {"tagging": ""}),
            eve.ask("PUT", place, {"tagging": ""}, tags),
            eve.ask("GET", place, {"versionId": f"../{BOB}/secret"}),
            eve.ask("DELETE", place, {"versionId": "../" * 7 + "users"}),
        ):
            assert answer.status >= 400 or answer.status == 0, (place, answer)
            assert SECRET not in answer.body and hashlib.md5(SECRET).hexdigest().encode() not in answer.body
        # Encoded twice it is an odd name of an object of her own.
        for method in ("PUT", "DELETE"):
            eve.ask(method, place, body=b"x" if method == "PUT" else b"")


@pytest.mark.parametrize("key", [key for key in KEYS if "\0" not in key])
def test_what_is_copied_is_of_the_bucket(eve: App, key: str) -> None:
    upload = eve.ask("POST", f"/{EVE}/mp", {"uploads": ""}).body
    query = {"partNumber": "1", "uploadId": upload.partition(b"<UploadId>")[2].partition(b"</UploadId>")[0].decode()}
    once = quote(key, safe="")
    sources = [key, once, quote(once, safe=""), once.replace(".", "%2e"), once.replace(".", "%252e")]
    for source in (
        *(f"{EVE}/{name}" for name in sources),
        f"{BOB}/secret",
        f"/{BOB}%2fsecret",
        f"{EVE}/own?versionId=../../{BOB}/secret",
        f"{EVE}/own%3fversionId=../../{BOB}/secret",
        f"{EVE}%2f..%2f{BOB}/secret",
        f"../{BOB}/secret",
    ):
        assert eve.ask("PUT", f"/{EVE}/copy", x_amz_copy_source=source).status in (400, 403, 404), source
        assert eve.ask("PUT", f"/{EVE}/mp", query, x_amz_copy_source=source).status in (400, 403, 404), source
    assert eve.ask("DELETE", f"/{EVE}/mp", {"uploadId": query["uploadId"]}).status == 204


def form(app: App, key: str) -> Answer:
    """A form as a browser sends it, signed by the app."""
    now = datetime.now(UTC)
    scope = f"{now:%Y%m%d}/us-east-1/s3/aws4_request"
    fields = {
        "key": key,
        "x-amz-algorithm": "AWS4-HMAC-SHA256",
        "x-amz-credential": f"{app.name}/{scope}",
        "x-amz-date": f"{now:%Y%m%dT%H%M%SZ}",
    }
    policy = {
        "expiration": f"{now + timedelta(minutes=5):%Y-%m-%dT%H:%M:%SZ}",
        "conditions": [{"bucket": EVE}, *({name: value} for name, value in fields.items())],
    }
    fields["policy"] = base64.b64encode(json.dumps(policy).encode()).decode()
    signer = f"AWS4{PASSWORD}".encode()
    for part in scope.split("/"):
        signer = hmac.digest(signer, part.encode(), "sha256")
    fields["x-amz-signature"] = hmac.new(signer, fields["policy"].encode(), "sha256").hexdigest()
    head = "--b\r\nContent-Disposition: form-data; name="
    lines = [f'{head}"{name}"\r\n\r\n{value}\r\n' for name, value in fields.items()]
    lines.append(f'{head}"file"; filename="../f"\r\n\r\nfile\r\n--b--\r\n')
    return app.send("POST", f"/{EVE}", "".join(lines).encode(), {"Content-Type": "multipart/form-data; boundary=b"})


def test_forms_write_into_the_bucket(eve: App) -> None:
    assert form(eve, "form").status in (200, 201, 204)
    for key in (*KEYS[:-1], f"../{BOB}/${{filename}}"):
        assert form(eve, key).status in (0, 400), key


def test_buckets_are_named_by_path_and_have_names(eve: App) -> None:
    for bucket in (
        "..",
        ".",
        "%2e%2e",
        ".vgwlocks",
        "users",
        "wecity-limits",
        BOB,
        f"{EVE}%2f..%2f{BOB}",
        f"x/../{BOB}",
    ):
        for method, query in (("GET", {}), ("GET", {"list-type": "2"}), ("DELETE", {}), ("PUT", {})):
            assert eve.ask(method, f"/{bucket}", query).status in (0, 400, 403, 404), (method, bucket)
        assert eve.ask("GET", f"/{bucket}/secret").status in (0, 400, 403, 404)
    # A name in `Host` is none of a bucket.
    assert eve.ask("GET", "/secret", host=f"{BOB}.127.0.0.1").status in (400, 403, 404)
    for prefix in (f"../{BOB}/", "../", ".sgwtmp/multipart/", "a/../../"):
        for query in ({"list-type": "2"}, {}, {"uploads": ""}):
            answer = eve.ask("GET", f"/{EVE}", {**query, "prefix": prefix})
            assert (answer.status, answer.code) == (400, "InvalidArgument"), (prefix, query)
    for name in ("marker", "start-after", "continuation-token", "delimiter"):
        answer = eve.ask("GET", f"/{EVE}", {"list-type": "2", name: f"../{BOB}/"})
        assert answer.status in (200, 400) and b"secret" not in answer.body


def test_odd_names_change_nothing_of_others(eve: App) -> None:
    """A few hundred requests, the same at each run."""
    dice = random.Random(78)
    parts = [
        "..",
        ".",
        "",
        "/",
        BOB,
        EVE,
        "users",
        "users.json",
        "secret",
        "wecity-limits",
        ".sgwtmp",
        "multipart",
        "a",
    ]
    parts += [NOWHERE, "\0", "%2e%2e", "..%2f", "\\..\\", "…", "..;", " ..", "~", "1", "x" * 300]
    for _ in range(300):
        name, upload = ("/".join(dice.choices(parts, k=dice.randint(1, 7))) for _ in range(2))
        place = f"/{EVE}/{quote(name, safe=dice.choice(('', '/')))}"
        form_ = dice.randrange(8)
        query = {"uploadId": upload}
        if form_ == 0:
            answer = eve.ask("GET", place, query)
        elif form_ == 1:
            answer = eve.ask("PUT", place, {**query, "partNumber": str(dice.randint(1, 3))}, b"p")
        elif form_ == 2:
            answer = eve.ask("DELETE", place, query)
        elif form_ == 3:
            answer = eve.ask("POST", place, query, completed())
        elif form_ == 4:
            body = deleted(name)
            digest = base64.b64encode(hashlib.md5(body).digest()).decode()
            answer = eve.ask("POST", f"/{EVE}", {"delete": ""}, body, content_md5=digest)
        elif form_ == 5:
            answer = eve.ask("PUT", f"/{EVE}/copy", x_amz_copy_source=f"{EVE}/{quote(name)}?versionId={quote(upload)}")
        else:
            answer = eve.ask(("PUT", "DELETE")[form_ - 6], place, body=b"x" if form_ == 6 else b"")
        assert SECRET not in answer.body
        assert answer.status < 500 or len(max(name.split("/"), key=len)) > 255, (form_, name, upload, answer)


def test_without_the_users_file_requests_fail_at_once(eve: App) -> None:
    assert eve.served.data is not None
    users = eve.served.data / "users" / "users.json"
    aside = users.rename(Path(f"{users}.aside"))
    try:
        began = time.monotonic()
        assert eve.ask("GET", f"/{EVE}/own").status == 500
        assert time.monotonic() - began < 10
    finally:
        aside.rename(users)
    assert eve.ask("GET", f"/{EVE}/own").status == 200
