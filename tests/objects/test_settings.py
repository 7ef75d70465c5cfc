"""What the URLs of states in S3 and PostgreSQL, the variables and the files say, without a server."""

from __future__ import annotations

from pathlib import Path

import pytest

from wecityctl.errors import AuthenticationError, ConfigurationError
from wecityctl.objects.postgres_settings import PostgresSettings
from wecityctl.objects.s3_settings import Keys, S3Settings

KEYS = {"AWS_ACCESS_KEY_ID": "AK", "AWS_SECRET_ACCESS_KEY": "hidden"}


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """An environment whose home has AWS files."""
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/credentials").write_text(
        "[default]\naws_access_key_id = DA\naws_secret_access_key = da%secret\n"
        "[city]\naws_access_key_id=CA\naws_secret_access_key=ca\naws_session_token=tok\n"
    )
    (tmp_path / ".aws/config").write_text(
        "[default]\nregion = eu-west-1\n[profile city]\nregion = cn-north-1\nendpoint_url = https://store.city\n"
        "[profile sso]\nsso_session = s\n[profile role]\nrole_arn = arn:aws:iam::1:role/x\n"
    )
    return {"HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true"}


def read(url: str, **environment: str) -> S3Settings:
    return S3Settings.read(url, {"HOME": "/nonexistent", **KEYS, **environment})


def test_a_bucket_of_aws() -> None:
    found = read("s3://bucket/some/prefix/?region=eu-central-1")
    assert (found.bucket, found.prefix, found.region, found.endpoint) == ("bucket", "some/prefix", "eu-central-1", "")
    assert (found.path_style, found.anonymous, found.keys) == (False, False, Keys("AK", "hidden"))
    assert read("s3://bucket", AWS_DEFAULT_REGION="r2", AWS_REGION="r1").region == "r1"
    assert read("s3://bucket").region == "us-east-1"
    assert read("s3://bucket?region=cn-north-1").endpoint == "https://s3.cn-north-1.amazonaws.com.cn"


@pytest.mark.parametrize(
    ("query", "endpoint", "path_style"),
    [
        ("endpoint=minio:9000&disableSSL=true&s3ForcePathStyle=true", "http://minio:9000", True),
        ("endpoint=minio:9000&s3ForcePathStyle=true&awssdk=v2", "https://minio:9000", True),
        ("endpoint=minio:9000&disable_https=true", "http://minio:9000", False),
        ("endpoint=https://oss-cn-beijing.aliyuncs.com/", "https://oss-cn-beijing.aliyuncs.com", False),
        ("endpoint=http://127.0.0.1:9000&use_path_style=false", "http://127.0.0.1:9000", True),
        ("endpoint=http://host&hostname_immutable=true", "http://host", True),
    ],
)
def test_servers_of_others(query: str, endpoint: str, path_style: bool) -> None:
    found = read(f"s3://bucket?{query}")
    assert (found.endpoint, found.path_style) == (endpoint, path_style)


def test_the_url_goes_before_the_variables() -> None:
    assert read("s3://b?endpoint=https://one", AWS_ENDPOINT_URL_S3="https://two").endpoint == "https://one"
    assert read("s3://b", AWS_ENDPOINT_URL_S3="https://two", AWS_ENDPOINT_URL="https://three").endpoint == "https://two"


@pytest.mark.parametrize(
    "url",
    [
        "s3://", "s3:///prefix", "s3://user:hidden@bucket", "s3://bucket:80", "s3://bucket/../x", "s3://bucket//x/a//b",
        "s3://b?role=arn:aws:iam::1:role/x", "s3://b?accelerate=true", "s3://b?hidden=1", "s3://b?s3ForcePathStyle=maybe",
        "s3://b?endpoint=ftp://x", "s3://b?endpoint=http://u:hidden@x", "s3://b?endpoint=http://x:99999", "s3://b#x",
    ],
)  # fmt: skip
def test_urls_that_cannot_be_used(url: str) -> None:
    with pytest.raises(Exception, match=r"s3://|key of an object") as refused:
        read(url)
    assert isinstance(refused.value, ConfigurationError) or "key of an object" in str(refused.value)
    assert "hidden@" not in str(vars(refused.value))


def test_credentials_of_files(home: dict[str, str]) -> None:
    assert S3Settings.read("s3://b", home).keys == Keys("DA", "da%secret")
    assert S3Settings.read("s3://b", home).region == "eu-west-1"
    city = S3Settings.read("s3://b", {**home, "AWS_PROFILE": "city"})
    assert (city.keys, city.region, city.endpoint) == (Keys("CA", "ca", "tok"), "cn-north-1", "https://store.city")
    assert S3Settings.read("s3://b", {**home, **KEYS, "AWS_PROFILE": "city"}).keys == Keys("AK", "hidden")
    assert S3Settings.read("s3://b?profile=city", {**home, **KEYS}).keys == Keys("CA", "ca", "tok"), "the URL names it"
    assert S3Settings.read("s3://b?anonymous=true", home).keys is None


@pytest.mark.parametrize(("profile", "message"), [("sso", "by sso_session"), ("role", "by role_arn"), ("x", "no AWS")])
def test_credentials_that_cannot_be_had(home: dict[str, str], profile: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        S3Settings.read(f"s3://b?profile={profile}", home)


def test_no_credentials() -> None:
    with pytest.raises(AuthenticationError, match="no credentials"):
        S3Settings.read("s3://b", {"HOME": "/nonexistent", "AWS_EC2_METADATA_DISABLED": "true"})


def test_secrets_are_not_shown(home: dict[str, str]) -> None:
    assert "hidden" not in repr(read("s3://b")) and "tok" not in repr(S3Settings.read("s3://b?profile=city", home))


def test_a_database() -> None:
    url = "postgresql://me:p%40ss@db.city:5433/states?table=city&connect_timeout=5"
    found = PostgresSettings.read(url, {})
    assert found.dsn == "postgresql://me:p%40ss@db.city:5433/states?sslmode=require&application_name=wecityctl"
    assert (found.table, found.prefix, found.secrets) == ("city", "states/", ("p@ss", "p%40ss"))
    assert found.url == "postgres://db.city:5433/states?table=city"
    assert "p@ss" not in repr(found) and "p%40ss" not in repr(found)
    assert "sslmode" not in PostgresSettings.read("postgres://db/x", {"PGSSLMODE": "disable"}).dsn
    assert "sslmode=verify-full" in PostgresSettings.read("postgres://db/x?sslmode=verify-full", {}).dsn
    found = PostgresSettings.read("postgres:///?host=/run/pg&dbname=x&password=hidden&sslpassword=hidden2", {})
    assert found.url == "postgres:///?host=/run/pg&dbname=x&table=pulumi_state"
    assert (found.prefix, found.secrets) == ("", ("hidden", "hidden2"))


@pytest.mark.parametrize(
    "url",
    ["postgres://u:hidden@[::1/x", "postgres://u@h/x?table=a;drop", "postgres://u@h/x?table=a.b", "postgres://h:x/"],
)
def test_databases_that_cannot_be_used(url: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        PostgresSettings.read(url, {})
    assert "hidden" not in str(vars(refused.value))
