"""Parses Pulumi's `s3://` URL and the usual AWS variables and files into settings for the S3 library.

The URL's parameters are those of gocloud.dev, which Pulumi uses, and the older ones that Pulumi translates.
"""

from __future__ import annotations

import configparser
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit, urlunsplit

from wecityctl.errors import AuthenticationError, ConfigurationError
from wecityctl.objects.model import check_prefix

# Checksum and rate limit settings do not affect where objects are stored.
_IGNORED: Final = frozenset(
    {"awssdk", "request_checksum_calculation", "response_checksum_validation", "rate_limiter_capacity"}
)
_UNSUPPORTED: Final = ("role", "accelerate", "dualstack", "fips")
_PATH_STYLE: Final = ("s3ForcePathStyle", "use_path_style", "hostname_immutable")
_NO_TLS: Final = ("disableSSL", "disable_https")
_KNOWN: Final = _IGNORED | {
    *_UNSUPPORTED, *_PATH_STYLE, *_NO_TLS, "region", "endpoint", "anonymous", "profile", "ssetype", "kmskeyid"
}  # fmt: skip
# The values of Go's strconv.ParseBool.
_BOOLEANS: Final = {
    **dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True),
    **dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False),
}
_DYNAMIC: Final = ("role_arn", "credential_process", "sso_session", "sso_start_url", "web_identity_token_file")
_OWN_SOURCES: Final = (
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)


@dataclass(frozen=True, slots=True)
class Keys:
    """Static credentials."""

    access: str
    secret: str = field(repr=False)
    token: str = field(default="", repr=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        """The values that no message may contain."""
        return (self.secret, self.token, self.access)


@dataclass(frozen=True, slots=True)
class S3Settings:
    """The location and connection settings of a state in S3.

    `endpoint` is empty for AWS itself. `keys` is `None` if requests are not signed (`anonymous`), or if the library
    gets credentials from the machine or container that it runs on.
    """

    bucket: str
    prefix: str
    url: str
    region: str
    endpoint: str
    path_style: bool
    anonymous: bool
    keys: Keys | None
    encryption: str
    encryption_key: str
    authorities: Path | None

    @classmethod
    def read(cls, url: str, environment: Mapping[str, str]) -> S3Settings:
        """Parse a URL such as `s3://bucket/prefix?region=r&endpoint=host:9000&s3ForcePathStyle=true&disableSSL=true`.

        Raises `ConfigurationError` for an unusable URL, and `AuthenticationError` if there are no credentials.
        """
        split, query = _split(url)
        profile = _profile(query.get("profile", ""), environment)
        region = query.get("region") or environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION")
        region = region or profile.get("region") or "us-east-1"
        endpoint = _endpoint(query, environment, profile, region)
        path_style = any(_is_set(query, name) for name in _PATH_STYLE)
        anonymous = _is_set(query, "anonymous")
        bundle = environment.get("AWS_CA_BUNDLE") or profile.get("ca_bundle", "")
        return cls(
            bucket=split.netloc,
            prefix=check_prefix(split.path.strip("/")),
            url=urlunsplit(split._replace(query=urlencode({k: query[k] for k in sorted(query)}, safe=":/"))),
            region=region,
            endpoint=endpoint,
            path_style=path_style or _is_address(endpoint),
            anonymous=anonymous,
            keys=None if anonymous else _keys(bool(query.get("profile")), profile, environment),
            encryption=query.get("ssetype", ""),
            encryption_key=query.get("kmskeyid", ""),
            authorities=Path(bundle) if bundle else None,
        )


def _split(url: str) -> tuple[SplitResult, dict[str, str]]:
    """Return the URL's parts and its parameters; unknown parameters are errors."""
    try:
        split = urlsplit(url)
        query = dict(parse_qsl(split.query, keep_blank_values=True, strict_parsing=bool(split.query)))
        is_plain = not (split.port or split.username or split.password or split.fragment)
    except ValueError:
        is_plain, query = False, {}
    # The URL is not shown, because the invalid part may be a password.
    if not is_plain or not split.netloc or "@" in split.netloc:
        raise ConfigurationError(
            "the s3:// URL of the state is not s3://bucket/prefix?parameters",
            resolution="name the bucket after s3://; give credentials by AWS_ACCESS_KEY_ID or in a profile",
        )
    for name in query:
        if name not in _KNOWN:
            raise ConfigurationError(
                f"the s3:// URL of the state has the unknown parameter {name!r}",
                details=f"known: {', '.join(sorted(_KNOWN, key=str.lower))}",
            )
    for name in _UNSUPPORTED:
        if query.get(name, "") not in ("", *(text for text, value in _BOOLEANS.items() if not value)):
            raise ConfigurationError(
                f"the parameter {name!r} of an s3:// URL is not supported",
                resolution="name the place with endpoint=, and give credentials by variables or a profile",
            )
    return split, query


def _is_set(query: Mapping[str, str], name: str) -> bool:
    value = query.get(name, "")
    if value and value not in _BOOLEANS:
        raise ConfigurationError(
            f"{name}={value} in the s3:// URL of the state says neither yes nor no", resolution="write true or false"
        )
    return bool(value) and _BOOLEANS[value]


def _endpoint(query: Mapping[str, str], environment: Mapping[str, str], profile: Mapping[str, str], region: str) -> str:
    """Return the server's URL without a trailing path; empty for AWS itself."""
    found = query.get("endpoint") or environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL")
    found = found or profile.get("endpoint_url", "")
    if not found:
        # AWS in China has a domain that the library does not know.
        return f"https://s3.{region}.amazonaws.com.cn" if region.startswith("cn-") else ""
    if "://" not in found:
        found = f"{'http' if any(_is_set(query, name) for name in _NO_TLS) else 'https'}://{found}"
    try:
        split = urlsplit(found)
        is_server = split.scheme in ("http", "https") and bool(split.hostname) and not split.query
        is_server = is_server and not split.username and split.port != 0
    except ValueError:
        is_server = False
    if not is_server:
        raise ConfigurationError(
            "the endpoint of the s3:// URL is not the URL of a server", resolution="write endpoint=https://host:port"
        )
    return found.rstrip("/")


def _is_address(endpoint: str) -> bool:
    """Whether the server is an IP address or localhost, to which a bucket's name cannot be prepended."""
    host = urlsplit(endpoint).hostname or ""
    try:
        return host == "localhost" or bool(ipaddress.ip_address(host))
    except ValueError:
        return False


def _profile(named: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the settings of the chosen profile from the credentials and configuration files.

    Raises `ConfigurationError` for an unreadable file, or for a profile that was named and does not exist.
    """
    name = named or environment.get("AWS_PROFILE") or "default"
    home = Path(environment.get("HOME") or Path.home()) / ".aws"
    config = Path(environment.get("AWS_CONFIG_FILE") or home / "config")
    credentials = Path(environment.get("AWS_SHARED_CREDENTIALS_FILE") or home / "credentials")
    sections = (config, "default" if name == "default" else f"profile {name}"), (credentials, name)
    found: dict[str, str] = {}
    is_there = False
    for path, section in sections:
        parser = configparser.RawConfigParser(default_section="", strict=False)
        try:
            parser.read(path.expanduser(), encoding="utf-8")
        except (OSError, UnicodeError, configparser.Error) as error:
            raise ConfigurationError(
                f"the AWS file {path} cannot be read", details=type(error).__name__, resolution="correct it"
            ) from None
        if parser.has_section(section):
            is_there = True
            found.update(parser.items(section))
    if not is_there and name != "default":
        raise ConfigurationError(f"there is no AWS profile {name!r}", details=f"looked in {config} and {credentials}")
    return found


def _keys(is_named: bool, profile: Mapping[str, str], environment: Mapping[str, str]) -> Keys | None:
    """Return the credentials. A profile named in the URL takes precedence over variables, and these over any other
    profile.
    """
    variables = Keys(
        environment.get("AWS_ACCESS_KEY_ID", ""),
        environment.get("AWS_SECRET_ACCESS_KEY", ""),
        environment.get("AWS_SESSION_TOKEN", ""),
    )
    stored = Keys(
        profile.get("aws_access_key_id", ""),
        profile.get("aws_secret_access_key", ""),
        profile.get("aws_session_token", ""),
    )
    for keys in (stored, variables) if is_named else (variables, stored):
        if keys.access and keys.secret:
            return keys
        if keys is stored and (source := next((name for name in _DYNAMIC if profile.get(name)), "")):
            raise ConfigurationError(
                f"credentials by {source} of an AWS profile are not supported",
                resolution="set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, for example by "
                "`aws configure export-credentials`",
            )
    is_off = environment.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true"
    if is_off and not any(environment.get(name) for name in _OWN_SOURCES):
        raise AuthenticationError(
            "there are no credentials for the S3 state",
            resolution="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write them to ~/.aws/credentials",
        )
    return None
