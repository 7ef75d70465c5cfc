"""An app that takes all it can of a shared object store, and its neighbour in the same one."""

from __future__ import annotations

import http.client
import io
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.attack.conftest import Unpacked
from tests.attack.served import ADMIN, PASSWORD, Served, attacked, object_store, wait_until
from tests.images.rootfs import needs_root
from wecityctl.model.city import Capability, Platform, Use

pytestmark = [pytest.mark.build, pytest.mark.by_digest, needs_root, pytest.mark.timeout(300)]

EVE, BOB = "health.code.files", "transport.bus.files"
DATA = Platform("data", (Capability("data", "object-storage", "object-storage"),))
MEGABYTE = bytes(1024**2)

Connect = Callable[..., Any]


@pytest.fixture(scope="module")
def served(unpacked: Unpacked) -> Iterator[Served]:
    city = attacked(
        ("health", "code", Use("object-storage", "files", storage="4Mi")),
        ("transport", "bus", Use("object-storage", "files")),
        platform=DATA,
    )
    with object_store(city, unpacked("object-storage")) as found:
        yield found


@pytest.fixture(scope="module")
def connect(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Connect:
    """A client with a user's keys, or with none, after both have been provisioned: twice, which changes nothing."""
    authority = tmp_path_factory.mktemp("authority") / "ca.crt"
    authority.write_text(served.authority)

    def client(user: str, secret: str = PASSWORD) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=f"https://127.0.0.1:{served.port}",
            verify=str(authority),
            aws_access_key_id=user,
            aws_secret_access_key=secret,
            region_name="us-east-1",
            config=Config(
                s3={"addressing_style": "path"},
                retries={"max_attempts": 1},
                # Small bodies go with their headers, so that who is refused sees why, see `program.start`.
                request_checksum_calculation="when_required",
                **({} if user else {"signature_version": UNSIGNED}),
            ),
        )

    served.provision()
    client(EVE).put_object(Bucket=EVE, Key="first", Body=b"1")
    before = client("admin", ADMIN).get_bucket_policy(Bucket=EVE)["Policy"]
    served.provision()
    assert client("admin", ADMIN).get_bucket_policy(Bucket=EVE)["Policy"] == before
    assert client(EVE).get_object(Bucket=EVE, Key="first")["Body"].read() == b"1"
    return client


def code(call: Callable[..., Any], **values: Any) -> str:
    """The error that a call ends with; empty for none."""
    try:
        call(**values)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return ""


@pytest.mark.proves("object-storage", "built", "used")
def test_an_app_does_what_apps_do(connect: Connect) -> None:
    eve = connect(EVE)
    eve.put_object(Bucket=EVE, Key="a/b", Body="健康".encode(), Metadata={"kind": "note"}, Tagging="a=1")
    found = eve.get_object(Bucket=EVE, Key="a/b")
    assert (found["Body"].read().decode(), found["Metadata"]) == ("健康", {"kind": "note"})
    assert eve.get_object_tagging(Bucket=EVE, Key="a/b")["TagSet"] == [{"Key": "a", "Value": "1"}]
    eve.copy_object(Bucket=EVE, Key="a/c", CopySource={"Bucket": EVE, "Key": "a/b"})
    assert [item["Key"] for item in eve.list_objects_v2(Bucket=EVE, Prefix="a/")["Contents"]] == ["a/b", "a/c"]
    upload = eve.create_multipart_upload(Bucket=EVE, Key="parts")["UploadId"]
    part = eve.upload_part(Bucket=EVE, Key="parts", UploadId=upload, PartNumber=1, Body=b"p")
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    eve.complete_multipart_upload(Bucket=EVE, Key="parts", UploadId=upload, MultipartUpload=parts)
    keys = {"Objects": [{"Key": key} for key in ("a/b", "a/c", "parts")]}
    assert len(eve.delete_objects(Bucket=EVE, Delete=keys)["Deleted"]) == 3
    url = eve.generate_presigned_url("get_object", Params={"Bucket": EVE, "Key": "first"})
    assert f"/{EVE}/first?" in url


@pytest.mark.proves("object-storage", "refused")
def test_nobody_gets_at_anothers_bucket_or_widens_his_own(connect: Connect) -> None:
    eve, bob, nobody = connect(EVE), connect(BOB), connect("")
    bob.put_object(Bucket=BOB, Key="secret", Body=b"of bob")
    policy = (
        '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:*",'
        f'"Resource":["arn:aws:s3:::{EVE}","arn:aws:s3:::{EVE}/*"]}}]}}'
    )
    refused = {
        "list": code(eve.list_objects_v2, Bucket=BOB),
        "read": code(eve.get_object, Bucket=BOB, Key="secret"),
        "write": code(eve.put_object, Bucket=BOB, Key="x", Body=b""),
        "delete": code(eve.delete_object, Bucket=BOB, Key="secret"),
        "copy": code(eve.copy_object, Bucket=EVE, Key="x", CopySource={"Bucket": BOB, "Key": "secret"}),
        "delete some": code(eve.delete_objects, Bucket=BOB, Delete={"Objects": [{"Key": "secret"}]}),
        "policy": code(eve.put_bucket_policy, Bucket=EVE, Policy=policy),
        "no policy": code(eve.delete_bucket_policy, Bucket=EVE),
        "access list": code(eve.put_bucket_acl, Bucket=EVE, ACL="public-read"),
        "bucket": code(eve.create_bucket, Bucket="one.more.bucket"),
        "no bucket": code(eve.delete_bucket, Bucket=EVE),
        "versions": code(eve.put_bucket_versioning, Bucket=EVE, VersioningConfiguration={"Status": "Enabled"}),
        "limits": code(eve.put_object, Bucket="wecity-limits", Key=EVE, Body=b"1000000000000"),
        "limit": code(eve.get_object, Bucket="wecity-limits", Key=BOB),
        "nobody": code(nobody.list_objects_v2, Bucket=EVE),
    }
    assert refused.pop("delete some") in ("", "AccessDenied")
    assert refused == dict.fromkeys(refused, "AccessDenied")
    eve.put_object(Bucket=EVE, Key="open", Body=b"", ACL="public-read")
    assert code(nobody.get_object, Bucket=EVE, Key="open") == "AccessDenied"
    assert code(eve.put_object, Bucket=EVE, Key=f"../{BOB}/climbed", Body=b"") != ""
    assert eve.list_buckets()["Buckets"] == []
    assert [item["Key"] for item in bob.list_objects_v2(Bucket=BOB)["Contents"]] == ["secret"]
    assert bob.get_object(Bucket=BOB, Key="secret")["Body"].read() == b"of bob"


def test_the_administrators_interface_is_not_on_the_port_of_uses(served: Served, connect: Connect) -> None:
    tls = ssl.create_default_context(cadata=served.authority)
    for name in ("/create-user", "/list-users", "/list-buckets"):
        connection = http.client.HTTPSConnection("127.0.0.1", served.port, timeout=10, context=tls)
        connection.request("PATCH", name)
        assert connection.getresponse().status >= 400
    plain = http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)
    with pytest.raises((http.client.HTTPException, OSError)):
        plain.request("GET", "/health")
        answer = plain.getresponse()
        raise OSError(answer.status) if answer.status >= 400 else AssertionError(answer.status)


def test_users_are_in_a_file_of_the_servers_alone(served: Served, connect: Connect) -> None:
    data = Path(served.replacing[-1][1].removeprefix("/tmp"))
    assert {path.name: oct(path.stat().st_mode)[-3:] for path in (data / "users").glob("users.json*")} == {
        "users.json": "600",
        "users.json.backup": "600",
    }
    assert [oct(path.stat().st_mode)[-3:] for path in (data / "users", data / "buckets")] == ["700", "700"]


@pytest.mark.proves("object-storage", "limited")
def test_a_bucket_beyond_its_limit_is_read_only_until_there_is_room(served: Served, connect: Connect) -> None:
    eve, bob = connect(EVE), connect(BOB)
    upload = eve.create_multipart_upload(Bucket=EVE, Key="parts")["UploadId"]
    # Parts of an upload that is not finished take room, too.
    for number in (1, 2):
        eve.upload_part(Bucket=EVE, Key="parts", UploadId=upload, PartNumber=number, Body=io.BytesIO(MEGABYTE))
    eve.put_object(Bucket=EVE, Key="large", Body=MEGABYTE * 3)

    def write(client: Any = eve, bucket: str = EVE) -> str:
        return code(client.put_object, Bucket=bucket, Key="more", Body=b"m")

    wait_until(lambda: write() == "AccessDenied")
    wait_until(lambda: served.logged(f"guard: bucket {EVE} is read-only with "))
    assert code(eve.upload_part, Bucket=EVE, Key="parts", UploadId=upload, PartNumber=3, Body=b"p") == "AccessDenied"
    assert eve.get_object(Bucket=EVE, Key="large")["ContentLength"] == len(MEGABYTE) * 3
    assert write(bob, BOB) == ""
    # Provisioning, for whatever reason, does not lift it for good.
    served.provision()
    wait_until(lambda: write() == "AccessDenied")
    eve.abort_multipart_upload(Bucket=EVE, Key="parts", UploadId=upload)
    eve.delete_object(Bucket=EVE, Key="large")
    wait_until(lambda: write() == "")
    wait_until(lambda: served.logged(f"guard: bucket {EVE} is open with "))


def test_a_larger_limit_opens_the_bucket(served: Served, connect: Connect) -> None:
    bob = connect(BOB)

    def limited(storage: str) -> None:
        use = Use("object-storage", "files", storage=storage)
        served.provision(attacked(("transport", "bus", use), platform=DATA))

    bob.put_object(Bucket=BOB, Key="large", Body=MEGABYTE * 3)
    limited("2Mi")
    wait_until(lambda: code(bob.put_object, Bucket=BOB, Key="more", Body=b"") == "AccessDenied")
    limited("8Mi")
    wait_until(lambda: code(bob.put_object, Bucket=BOB, Key="more", Body=b"") == "")


def test_a_renewed_certificate_is_taken_over(served: Served, connect: Connect) -> None:
    before = served.certificate()
    served.certify()
    wait_until(lambda: served.certificate() != before)
    assert connect(EVE).get_object(Bucket=EVE, Key="first")["Body"].read() == b"1"
    wait_until(lambda: served.logged("the server takes over its renewed certificate"))


def test_jobs_refuse_a_server_of_another_authority(served: Served, connect: Connect) -> None:
    with served.certified_by_others():
        assert "certificate" in served.provision(code=1, tries=1)


def test_a_changed_secret_holds_at_once(served: Served, connect: Connect) -> None:
    served.provision(password="another-secret-key")
    assert code(connect(EVE).list_objects_v2, Bucket=EVE) == "SignatureDoesNotMatch"
    assert connect(EVE, "another-secret-key").list_objects_v2(Bucket=EVE)["KeyCount"] >= 1
