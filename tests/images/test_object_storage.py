"""The object store's image: started as its user over a read-only root, with a bucket and a user for each app."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from botocore.httpsession import URLLib3Session

from stacks.platforms.data import object_storage
from tests.images.rootfs import RootFilesystem, free_port, needs_root, wait_for
from tests.images.test_running import fetch

Unpacked = Callable[[str], RootFilesystem]
pytestmark = [pytest.mark.build, pytest.mark.by_digest, needs_root, pytest.mark.timeout(500)]

ADMIN = {"access": "administrator", "secret": "administratorsecret"}
ACTIONS = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:ListBucket"]


def client(port: int, access: str, secret: str) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{port}",
        aws_access_key_id=access,
        aws_secret_access_key=secret,
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}),
    )


def code(call: Callable[[], Any]) -> str:
    """The error that a call ends with; empty for none."""
    try:
        call()
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return ""


def test_every_method_of_the_backend_checks_what_ends_in_a_path() -> None:
    """The Go package's own tests, which go through the interface as the module's version has it."""
    done = subprocess.run(
        ["go", "test", "-trimpath", "-buildvcs=false", "-mod=readonly", "-vet=off", "./confined"],
        cwd=Path(object_storage.__file__).parent / "image/go",
        env={**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_app_has_its_bucket_alone(unpacked: Unpacked, tmp_path_factory: pytest.TempPathFactory) -> None:
    image = unpacked("object-storage")
    place = tmp_path_factory.mktemp("object-storage")
    for parent in (place, *place.parents[:3]):
        parent.chmod(parent.stat().st_mode | 0o055)
    for name in ("data", "users"):
        (place / name).mkdir()
        os.chown(place / name, 65532, 65532)
    port, admin_port = free_port(), free_port()
    inside = f"/tmp{place}"
    arguments = ["--port", f"127.0.0.1:{port}", "--admin-port", f"127.0.0.1:{admin_port}"]
    arguments += ["--iam-dir", f"{inside}/users", f"{inside}/data"]
    keys = {"ROOT_ACCESS_KEY": ADMIN["access"], "ROOT_SECRET_KEY": ADMIN["secret"]}

    def administrate(path: str, root: str, **values: str) -> tuple[int, str]:
        body = "".join(f"<{name}>{value}</{name}>" for name, value in values.items())
        url = f"http://127.0.0.1:{admin_port}/{path}"
        request = AWSRequest("PATCH", url, data=f"<{root}>{body}</{root}>" if root else "")
        S3SigV4Auth(Credentials(ADMIN["access"], ADMIN["secret"]), "s3", "us-east-1").add_auth(request)
        answer = URLLib3Session().send(request.prepare())
        return answer.status_code, answer.text

    with image.running("/usr/local/bin/object-storage", *arguments, shared=[place], **keys) as server:
        wait_for("the object store", lambda: fetch(f"http://127.0.0.1:{port}/health")[0] == 200 or None, server)
        root = client(port, **ADMIN)
        for app in ("one", "two"):
            made = administrate("create-user", "Account", Access=app, Secret=f"secret-of-{app}", Role="user")
            assert made[0] == 201, made
            root.create_bucket(Bucket=f"bucket-{app}")
            resources = [f"arn:aws:s3:::bucket-{app}", f"arn:aws:s3:::bucket-{app}/*"]
            statement = {"Effect": "Allow", "Principal": {"AWS": [app]}, "Action": ACTIONS, "Resource": resources}
            policy = {"Version": "2012-10-17", "Statement": [statement]}
            root.put_bucket_policy(Bucket=f"bucket-{app}", Policy=json.dumps(policy))
        again = administrate("create-user", "Account", Access="one", Secret="secret-of-one", Role="user")
        assert (again[0], "XAdminUserExists" in again[1]) == (409, True)
        one = client(port, "one", "secret-of-one")
        one.put_object(Bucket="bucket-one", Key="a/b", Body="健康".encode())
        assert one.get_object(Bucket="bucket-one", Key="a/b")["Body"].read().decode() == "健康"
        assert one.list_objects_v2(Bucket="bucket-one")["KeyCount"] == 1
        refused = {
            "another's bucket": code(lambda: one.list_objects_v2(Bucket="bucket-two")),
            "another's object": code(lambda: one.put_object(Bucket="bucket-two", Key="x", Body=b"x")),
            "a bucket more": code(lambda: one.create_bucket(Bucket="bucket-three")),
            # An app that could write policies could open its bucket to everybody.
            "its policy": code(lambda: one.delete_bucket_policy(Bucket="bucket-one")),
            "its bucket": code(lambda: one.delete_bucket(Bucket="bucket-one")),
            "nobody": code(lambda: client(port, "nobody", "secret").list_buckets()),
        }
        assert refused == {**dict.fromkeys(refused, "AccessDenied"), "nobody": "InvalidAccessKeyId"}
        assert administrate("update-user?access=one", "MutableProps", Secret="another-secret")[0] == 200
        assert code(lambda: one.list_objects_v2(Bucket="bucket-one")) == "SignatureDoesNotMatch"
        renewed = client(port, "one", "another-secret")
        assert renewed.list_objects_v2(Bucket="bucket-one")["KeyCount"] == 1
        assert administrate("delete-user?access=one", "")[0] == 200
        assert code(lambda: renewed.list_objects_v2(Bucket="bucket-one")) == "InvalidAccessKeyId"
        assert root.list_objects_v2(Bucket="bucket-one")["KeyCount"] == 1
