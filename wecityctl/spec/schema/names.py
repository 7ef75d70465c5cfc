"""Names, addresses and other texts with a syntax: one annotated type each, its check and its JSON Schema together."""

from __future__ import annotations

import datetime
import ipaddress
import posixpath
import re
import unicodedata
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from wecityctl.model.environments import ENVIRONMENT_NAME_TEXT, is_environment_name
from wecityctl.model.naming import LABEL_PREFIX
from wecityctl.model.variables import BINDING_ROOT
from wecityctl.spec.nodes import shorten
from wecityctl.spec.schema.places import check_backend, check_mail_server, check_secrets_provider, check_webhook
from wecityctl.spec.schema.refuse import checked, refuse

_LABEL = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_SERVICE = r"[a-z](?:[-a-z0-9]*[a-z0-9])?"
_LABEL_RE = re.compile(_LABEL)
_HOST_CHARACTERS = re.compile(r"[a-z0-9.-]+")
_ENV = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_QUALIFIED = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?")
_ROUTE_SEGMENT = re.compile(r"[A-Za-z0-9._~-]+")
_HEALTH_PATH = re.compile(r"/[!-~]*")
_EMAIL = re.compile(r"[^@\s\x00-\x1f]+@[^@\s\x00-\x1f]+")
_SERVICE_ACCOUNT = "system:serviceaccount:"
_CATALOGUE_IMAGE = re.compile(rf"catalogue:{_LABEL}")
_HOST_PART = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_REGISTRY_HOST = rf"{_HOST_PART}(?:\.{_HOST_PART})*(?::[0-9]{{1,5}})?"
_REPOSITORY_PART = r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*"
_IMAGE = re.compile(
    rf"(?P<name>(?:{_REGISTRY_HOST}/)?{_REPOSITORY_PART}(?:/{_REPOSITORY_PART})*)"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@sha256:[0-9a-f]{64})?"
)
_KERNEL = ("proc", "sys", "dev")
# Source: the Filesystem Hierarchy Standard; /tmp is a volume of every container of ours.
_DIRECTORIES = frozenset("bin boot etc home lib lib64 media mnt opt root run sbin srv tmp usr var".split())  # noqa: SIM905
_VENDOR_WORD = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._:/-]*[A-Za-z0-9])?")
_REGISTRY = re.compile(rf"{_REGISTRY_HOST}(?:/{_REPOSITORY_PART})*")


def _name_type(limit: int, *, letter_first: bool = False) -> Any:
    pattern = re.compile(_SERVICE if letter_first else _LABEL)
    first = "a letter first" if letter_first else "no hyphen at either end"
    expected = f"at most {limit} lower-case letters, digits and hyphens, {first}"

    def check(text: str) -> str:
        if len(text) <= limit and pattern.fullmatch(text):
            return text
        guess = re.sub(r"-+", "-", re.sub(r"[^a-z0-9]", "-", text.lower()))[:limit].strip("-")
        guess = guess.lstrip("0123456789-") if letter_first else guess
        fits = len(text) <= limit and guess and pattern.fullmatch(guess)
        raise refuse(f"{shorten(text)!r} is not a valid name", expected, guess if fits else "")

    return Annotated[
        str,
        AfterValidator(check),
        WithJsonSchema({"type": "string", "pattern": f"^{pattern.pattern}$", "maxLength": limit}),
    ]


MAX_ARGUMENT = 130_000
MAX_NOTE = 1000
# With the longest host of a route (60) and a dot, what the gateway's table of names takes: 238 characters.
MAX_DOMAIN = 177
# Short enough that a stack's name, `<city>.tenant.<tenant>.<cloud>`, stays below the engine's 100 characters.
CityName = _name_type(24)
CloudName = _name_type(24)
TenantName = _name_type(40)
ZoneName = _name_type(20)
PoolName = _name_type(40)
# These become names of Services and databases' roles, which begin with a letter.
AppName = _name_type(40, letter_first=True)
ComponentName = _name_type(40)
CapabilityName = _name_type(40, letter_first=True)
AliasName = _name_type(40)


_SECRET_LIMIT = 63


def _secret_name(text: str) -> str:
    """A value in place of the name is not told: it may be the secret."""
    expected = f"the name of a secret, of at most {_SECRET_LIMIT} lower-case letters, digits and hyphens"
    if len(text) <= _SECRET_LIMIT and _LABEL_RE.fullmatch(text):
        return text
    guess = re.sub(r"[_. ]", "-", text.lower())
    if len(text) <= _SECRET_LIMIT and re.fullmatch(r"[A-Z]+(?:[_. -][A-Z]+)*|[a-z]+(?:[_. ][a-z]+)*", text):
        raise refuse(f"{shorten(text)!r} is not a valid name", expected, guess)
    raise refuse("what is given is not the name of a secret", f"{expected}; {_SET}", hides=True)


def _credential(text: str) -> str:
    """As `_secret_name`, for what is a password wherever it is no name."""
    if len(text) <= _SECRET_LIMIT and _LABEL_RE.fullmatch(text):
        return text
    expected = f"the name of a secret, such as harbor; {_SET}"
    raise refuse("what is given is not the name of a secret", expected, hides=True)


_SET = "its value never stands in a file, and is given to `wecityctl secrets set`"
SecretName = checked(_secret_name, pattern=f"^{_LABEL}$", maxLength=_SECRET_LIMIT)
CredentialName = checked(_credential, pattern=f"^{_LABEL}$", maxLength=_SECRET_LIMIT)
# Ports of containers. Source: the Service names of RFC 6335.
PortName = _name_type(15, letter_first=True)
ServiceName = _name_type(63)
VolumeName = _name_type(20)
Word = _name_type(63)


# Names of roles and bindings may have nearly any characters.
_NAME_PATTERN = r"[A-Za-z0-9*](?:[A-Za-z0-9._:@*-]{0,251}[A-Za-z0-9*])?"


def _name_pattern(text: str) -> str:
    if re.fullmatch(_NAME_PATTERN, text):
        return text
    expected = "letters, digits and . _ : @ - as in names of objects, and * for any of them"
    raise refuse(f"{shorten(text)!r} is no pattern of names", expected)


NamePattern = checked(_name_pattern, pattern=f"^{_NAME_PATTERN}$")


def _domain(text: str) -> str:
    expected = "a domain name such as xingcheng.gov.example (letters a–z, digits, hyphens and dots)"
    labels = text.split(".")
    if len(text) > MAX_DOMAIN:
        raise refuse(f"{shorten(text)!r} has {len(text)} characters", f"a domain name of at most {MAX_DOMAIN}")
    if all(_LABEL_RE.fullmatch(part) and len(part) <= 63 for part in labels):
        if labels[-1].isdigit():
            raise refuse(f"{shorten(text)!r} is an address, not a domain name", expected)
        return text
    raise refuse(f"{shorten(text)!r} is not a domain name", expected, _domain_guess(text))


def _domain_guess(text: str) -> str:
    guess = text.strip().lower().split("://")[-1].strip("/.")
    try:
        guess = guess.encode("idna").decode()
    except UnicodeError:
        return ""
    return guess if _HOST_CHARACTERS.fullmatch(guess) and all(map(_LABEL_RE.fullmatch, guess.split("."))) else ""


def _route_host(text: str) -> str:
    if len(text) <= 60 and all(_LABEL_RE.fullmatch(part) for part in text.split(".")):
        return text
    expected = "the part before the city's domain: lower-case letters, digits, hyphens, dots between labels"
    raise refuse(f"{shorten(text)!r} is not a host name", expected, _domain_guess(text)[:60])


def _route_path(text: str) -> str:
    expected = "a path such as / or /services, of letters, digits and . _ ~ -"
    segments = text.removeprefix("/").removesuffix("/").split("/")
    if not text.startswith("/"):
        raise refuse(f"{shorten(text)!r} is not a path", expected, f"/{text}" if _ROUTE_SEGMENT.fullmatch(text) else "")
    if len(text) > 200 or (text != "/" and not all(_ROUTE_SEGMENT.fullmatch(part) for part in segments)):
        raise refuse(f"{shorten(text)!r} is not a path that can be routed", expected)
    if "." in segments or ".." in segments or segments[0] == "-":
        raise refuse(f"{shorten(text)!r} cannot be routed", "no '.' or '..' in it, and not /-/, which is the gateway's")
    return text


def _health_path(text: str) -> str:
    if len(text) <= 200 and _HEALTH_PATH.fullmatch(text):
        return text
    raise refuse(f"{shorten(text)!r} is not a path", "a path such as /healthz, of printable ASCII without spaces")


def _image(text: str) -> str:
    if _CATALOGUE_IMAGE.fullmatch(text) or _is_image(text):
        return text
    expected = "an image such as registry.example/team/web:1.4.2, or catalogue:<name> for one of our own"
    guess = re.sub(r"^https?://", "", text.strip())
    name, _, tag = guess.rpartition(":")
    guess = f"{name.lower()}:{tag}" if name and "/" not in tag else guess.lower()
    valid = guess != text and _is_image(guess)
    raise refuse(f"{shorten(text)!r} is not an image reference", expected, guess if valid else "")


def image_fault(text: str) -> tuple[str, str] | None:
    """What is wrong with an image reference outside a schema, and what is expected; `None` if nothing is."""
    return _fault(_image, text)


def label_fault(key: str) -> tuple[str, str] | None:
    """What is wrong with the key of a label that people set; `None` if nothing is."""
    return _fault(_own_label_key, key)


def _fault(check: Callable[[str], str], text: str) -> tuple[str, str] | None:
    try:
        check(text)
    except PydanticCustomError as error:
        context = error.context or {}
        return str(context["message"]), str(context["expected"])
    return None


def _is_image(text: str) -> bool:
    """Whether nodes can read the reference. What is before the first slash is a host only if it looks like one.

    Source: github.com/distribution/reference.
    """
    match = _IMAGE.fullmatch(text) if len(text) <= 512 else None
    if match is None or len(match["name"]) > 255:
        return False
    host, slash, _ = match["name"].partition("/")
    return not slash or "." in host or ":" in host or host == host.lower()


def _registry(text: str) -> str:
    if not text or (len(text) <= 255 and _REGISTRY.fullmatch(text)):
        return text
    guess = re.sub(r"^[a-z]+://", "", text).rstrip("/")
    expected = "a registry such as registry.example:5000/base, without https://"
    raise refuse(f"{shorten(text)!r} is not a registry", expected, guess if _REGISTRY.fullmatch(guess) else "")


def _registry_host(text: str) -> str:
    expected = "a host with a dot or a port, such as registry.example or registry.example:5000"
    found = re.fullmatch(_REGISTRY_HOST, text) if len(text) <= 200 else None
    if found and text == text.lower() and ("." in text or ":" in text):
        if text not in ("index.docker.io", "registry-1.docker.io"):
            return text
        raise refuse(f"{shorten(text)!r} is another name of Docker Hub", expected, "docker.io")
    guess = re.sub(r"^[a-z]+://", "", text).partition("/")[0].lower()
    valid = "." in guess and re.fullmatch(_REGISTRY_HOST, guess)
    raise refuse(f"{shorten(text)!r} is not a registry's host", expected, guess if valid else "")


def _manifest_path(text: str) -> str:
    expected = "a path to a .yaml file, relative to this file"
    if text.startswith(("/", "~")) or "\\" in text or not _is_one_line(text) or len(text) > 1024:
        raise refuse(f"{shorten(text)!r} is not a relative path", expected)
    if not text.endswith((".yaml", ".yml")):
        raise refuse(f"{shorten(text)!r} is not a YAML file", expected)
    if posixpath.normpath(text) != text:
        raise refuse(f"{shorten(text)!r} is not in its shortest form", expected, posixpath.normpath(text))
    return text


def _env_name(text: str) -> str:
    if len(text) <= 255 and _ENV.fullmatch(text):
        return text
    guess = re.sub(r"[^A-Za-z0-9_]", "_", text)
    expected = "letters, digits and underscores, no digit first"
    valid = _ENV.fullmatch(guess)
    raise refuse(f"{shorten(text)!r} is not a name of an environment variable", expected, guess if valid else "")


def _file_path(text: str) -> str:
    return _container_path(text, "file")


def _container_path(text: str, what: str) -> str:
    """A path in the container of `what`, a file or a directory, that is no mount or directory of every image."""
    expected = f"an absolute path to a {what}, without '..', '//', ':' or a slash at the end"
    # Two slashes at the beginning are a path of their own to POSIX, and one to Linux.
    normal = re.sub("^//", "/", posixpath.normpath(text))
    if not text.startswith("/") or normal == "/" or ":" in text or not _is_one_line(text):
        raise refuse(f"{shorten(text)!r} is not a path of a {what} in the container", expected)
    if normal != text:
        raise refuse(f"{shorten(text)!r} is not in its shortest form", expected, normal)
    if len(text.encode()) > 1024 or any(len(part.encode()) > 255 for part in text.split("/")):
        raise refuse(f"{shorten(text)!r} is too long", "at most 255 bytes between two slashes, 1024 in all")
    first, _, rest = text[1:].partition("/")
    if first in _KERNEL:
        raise refuse(f"{shorten(text)!r} lies in a directory of the kernel", expected)
    if f"/{first}" == BINDING_ROOT:
        raise refuse(f"{shorten(text)!r} lies where bindings are mounted", f"a path outside {BINDING_ROOT}")
    if not rest and first in _DIRECTORIES:
        example = "app.conf" if what == "file" else "app"
        raise refuse(f"{shorten(text)!r} is a directory of every image", f"a {what} in it, such as {text}/{example}")
    return text


def _volume_path(text: str) -> str:
    expected = "a directory of its own, such as /data or /var/lib/app"
    if text.rstrip("/") in ("", "/tmp", "/tls"):  # noqa: S108 - a path in the container
        raise refuse(f"{shorten(text)!r} is taken in every container", expected)
    if text.startswith("/tmp/"):  # noqa: S108 - as above
        raise refuse(f"{shorten(text)!r} lies in /tmp, which is a volume itself", expected)
    return _container_path(text, "directory")


def _email(text: str) -> str:
    if len(text) <= 254 and _EMAIL.fullmatch(text):
        return text
    raise refuse(f"{shorten(text)!r} is not an e-mail address", "an address such as alice@xingcheng.gov.example")


def _cluster_user(text: str) -> str:
    """A person's e-mail address, or the user name that Kubernetes gives a service account."""
    account = text.removeprefix(_SERVICE_ACCOUNT).split(":") if text.startswith(_SERVICE_ACCOUNT) else []
    is_account = len(account) == 2 and all(map(_LABEL_RE.fullmatch, [account[0], *account[1].split(".")]))
    if len(text) <= 254 and (is_account or (":" not in text and _EMAIL.fullmatch(text))):
        return text
    raise refuse(
        f"{shorten(text)!r} is neither an e-mail address nor a service account",
        f"an address such as ci@parks.example, or {_SERVICE_ACCOUNT}NAMESPACE:NAME",
    )


def _label_key(text: str) -> str:
    prefix, slash, name = text.rpartition("/")
    host = not slash or (len(prefix) <= 253 and all(_LABEL_RE.fullmatch(part) for part in prefix.split(".")))
    if not host or not _QUALIFIED.fullmatch(name):
        expected = "at most 63 letters, digits, '.', '_' and '-', with an optional prefix such as example.org/"
        raise refuse(f"{shorten(text)!r} is not a label's name", expected)
    if prefix == LABEL_PREFIX:
        raise refuse(f"labels under {LABEL_PREFIX}/ are set by wecityctl itself", "another prefix")
    return text


def _own_label_key(text: str) -> str:
    prefix = _label_key(text).rpartition("/")[0]
    if prefix.endswith(("kubernetes.io", "k8s.io")):
        expected = "another prefix, or none"
        raise refuse(f"labels under {shorten(prefix)}/ are Kubernetes' own: they say what objects are", expected)
    return text


def _label_value(text: str) -> str:
    if _LABEL_VALUE.fullmatch(text):
        return text
    expected = "at most 63 letters, digits, '.', '_' and '-', a letter or digit at both ends"
    raise refuse(f"{shorten(text)!r} is not a label's value", expected)


def _accelerator(text: str) -> str:
    prefix, slash, _ = text.rpartition("/")
    # Quotas count `requests.<resource>`, which must be a name too.
    if not slash or prefix.endswith("kubernetes.io") or prefix.startswith("requests.") or len(prefix) > 244:
        raise refuse(f"{shorten(text)!r} is not an extended resource", "a name such as nvidia.com/gpu")
    return _label_key(text)


def _class_name(text: str) -> str:
    """The name of an object of the cluster, or nothing. Source: DNS subdomains of RFC 1123."""
    if not text or (len(text) <= 253 and all(_LABEL_RE.fullmatch(part) for part in text.split("."))):
        return text
    raise refuse(f"{shorten(text)!r} is no name of a class", "lower-case letters, digits, hyphens and dots")


def _command_word(text: str) -> str:
    return _argument(text, "an argument of the command")


def _env_value(text: str) -> str:
    return _argument(text, "the value of a variable")


def _argument(text: str, what: str) -> str:
    """What Linux takes as one argument or variable. Source: MAX_ARG_STRLEN, less the longest name of a variable."""
    size = len(text.encode(errors="replace"))
    if size <= MAX_ARGUMENT:
        return text
    raise refuse(f"is {size:,} bytes long, too much for {what}", f"at most {MAX_ARGUMENT:,}; put it under `files`")


def _digest(text: str) -> str:
    if re.fullmatch(r"sha256:[0-9a-f]{64}", text):
        return text
    raise refuse(f"{shorten(text)!r} is not a digest", "sha256: and 64 hexadecimal digits in lower case")


def _vendor_word(text: str) -> str:
    if not text or (len(text) <= 128 and _VENDOR_WORD.fullmatch(text)):
        return text
    raise refuse(f"{shorten(text)!r} is not a vendor's name", "letters, digits and . _ : / - without blanks")


def _subject(text: str) -> str:
    if len(text) <= 81 and all(_LABEL_RE.fullmatch(part) for part in text.split("/", 1)):
        return text
    raise refuse(f"{shorten(text)!r} names no app or capability", "<tenant>/<app>, <app> or a capability's name")


def _provided(text: str) -> str:
    parts = text.split("/")
    if len(parts) <= 3 and all(len(part) <= 40 and _LABEL_RE.fullmatch(part) for part in parts):
        return text
    expected = "<tenant>/<app>, <tenant>/<app>/<what it provides>, or <app> of the same tenant"
    raise refuse(f"{shorten(text)!r} names nothing that an app provides", expected)


def _port_owner(text: str) -> str:
    if len(text) <= 97 and text.count("/") <= 2 and all(_LABEL_RE.fullmatch(part) for part in text.split("/")):
        return text
    expected = "a capability's name, <tenant>/<app> or <tenant>/<app>/<what it provides>"
    raise refuse(f"{shorten(text)!r} names no capability or app", expected)


def _apps(text: str) -> str:
    tenant, _, name = text.partition("/")
    if _LABEL_RE.fullmatch(tenant) and (name == "*" or _LABEL_RE.fullmatch(name)) and len(text) <= 81:
        return text
    guess = f"{text}/*" if _LABEL_RE.fullmatch(text) else ""
    raise refuse(f"{shorten(text)!r} names no apps", "<tenant>/<app>, or <tenant>/* for all of a tenant", guess)


def _cidr(text: str) -> str:
    expected = "an IPv4 range such as 10.8.0.0/16"
    try:
        network = ipaddress.IPv4Network(text, strict=False)
    except ValueError:
        raise refuse(f"{shorten(text)!r} is not a range of addresses", expected) from None
    if str(network) != text:
        raise refuse(f"{shorten(text)!r} is not the range's own writing", expected, str(network))
    return text


def _source(text: str) -> str:
    if ipaddress.IPv4Network(_cidr(text)).prefixlen < 8:
        raise refuse(f"{text} is wider than any one cloud", "the ranges of the cloud alone")
    return text


def _caller(text: str) -> str:
    if ipaddress.IPv4Network(_cidr(text)).prefixlen < 16:
        raise refuse(f"{text} lets in more than one organisation", "ranges of /16 and longer")
    return text


def _endpoint(text: str) -> str:
    expected = "http:// or https://, a host and perhaps a port, such as https://s3.hunan.example"
    match = re.fullmatch(
        rf"https?://(?P<host>{_HOST_PART}(?:\.{_HOST_PART})*)(?::(?P<port>[0-9]{{1,5}}))?(?P<rest>/?.*)", text
    )
    if match is None or len(text) > 255 or match["rest"] or not 0 < int(match["port"] or 1) < 65536:
        guess = text.removesuffix(match["rest"]) if match is not None and match["rest"].startswith("/") else ""
        raise refuse(f"{shorten(text)!r} is not the URL of a server", expected, guess)
    return text


def _address(text: str) -> str:
    expected = "an IPv4 address such as 10.8.0.9"
    try:
        address = ipaddress.IPv4Address(text)
    except ValueError:
        if not text:
            return text
        raise refuse(f"{shorten(text)!r} is not an address", expected) from None
    if address.is_unspecified or address.is_loopback or address.is_multicast:
        raise refuse(f"{text} is nobody's address for another cloud", expected)
    return text


def _date(text: str) -> str:
    try:
        if datetime.date.fromisoformat(text).isoformat() == text:
            return text
    except ValueError:
        pass
    raise refuse(f"{shorten(text)!r} is not a date", "a date such as 2027-03-31")


def _timestamp(text: str) -> str:
    try:
        if "T" in text and datetime.datetime.fromisoformat(text).tzinfo is not None:
            return text
    except ValueError:
        pass
    raise refuse(f"{shorten(text)!r} is not a time", "a time with its zone such as 2026-11-27T09:30:00+08:00")


def _note(text: str) -> str:
    if text.strip() and len(text) <= MAX_NOTE and "\n" not in text and text == text.strip():
        return text
    raise refuse(f"{shorten(text)!r} is no note", f"a text of at most {MAX_NOTE} characters on one line")


def _moved_app(text: str) -> str:
    kind, _, name = text.partition("/")
    if kind == "app" and len(name) <= 40 and re.fullmatch(_SERVICE, name):
        return text
    raise refuse(f"{shorten(text)!r} is no app", "app/ and the app's name, such as app/health-code")


def _title(text: str) -> str:
    expected = "a title of at most 200 characters on one line"
    if not text.strip():
        raise refuse("is empty", expected)
    if len(text) > 200:
        raise refuse(f"has {len(text)} characters", expected)
    if not _is_one_line(text):
        odd = next(character for character in text if not _is_one_line(character))
        raise refuse(f"has the character U+{ord(odd):04X}, which cannot be printed on a line", expected)
    return text


def _is_one_line(text: str) -> bool:
    """Whether the text can be printed as it is. Blanks of every width are; only ASCII's is to `str.isprintable`."""
    return all(c.isprintable() or unicodedata.category(c) == "Zs" for c in text)


def _currency(text: str) -> str:
    if re.fullmatch(r"[A-Z]{3}", text):
        return text
    guess = text.upper() if re.fullmatch(r"[A-Za-z]{3}", text) else ""
    raise refuse(f"{shorten(text)!r} is not a currency", "an ISO 4217 code such as CNY", guess)


def _environment(text: str) -> str:
    if is_environment_name(text):
        return text
    raise refuse(f"{shorten(text)!r} is no name of an environment", ENVIRONMENT_NAME_TEXT)


EnvironmentName = checked(_environment, pattern="^[a-z](?:[-a-z0-9]{0,28}[a-z0-9])?$")
Subject = checked(_subject, pattern=rf"^(?:{_LABEL}/)?{_LABEL}$")
ProvidedReference = checked(_provided, pattern=rf"^(?:{_LABEL}/){{0,2}}{_LABEL}$")
PortOwner = checked(_port_owner, pattern=rf"^(?:{_LABEL}/){{0,2}}{_LABEL}$")
AppsPattern = checked(_apps, pattern=rf"^{_LABEL}/(?:\*|{_LABEL})$")
VendorWord = checked(_vendor_word, pattern=rf"^(?:{_VENDOR_WORD.pattern})?$")
Cidr = checked(_cidr, pattern=r"^[0-9.]+/[0-9]+$")
Source = checked(_source, pattern=r"^[0-9.]+/[0-9]+$")
Caller = checked(_caller, pattern=r"^[0-9.]+/[0-9]+$")
Address = checked(_address, pattern=r"^([0-9.]+)?$")
Endpoint = checked(_endpoint, pattern=r"^https?://[A-Za-z0-9.-]+(?::[0-9]{1,5})?$", maxLength=255)
Digest = checked(_digest, pattern="^sha256:[0-9a-f]{64}$")
Date = checked(_date, format="date")
Timestamp = checked(_timestamp, format="date-time")
Note = checked(_note, minLength=1, maxLength=MAX_NOTE)
MovedApp = checked(_moved_app, pattern=f"^app/{_SERVICE}$")
Domain = checked(_domain, format="hostname")
RouteHost = checked(_route_host, pattern=rf"^{_LABEL}(?:\.{_LABEL})*$")
RoutePath = checked(_route_path, pattern="^/")
HealthPath = checked(_health_path, pattern="^/[!-~]*$")
ImageReference = checked(_image)
Registry = checked(_registry)
RegistryHost = checked(_registry_host)
ManifestPath = checked(_manifest_path, pattern="\\.ya?ml$")
EnvName = checked(_env_name, pattern=f"^{_ENV.pattern}$")
FilePath = checked(_file_path, pattern="^/")
VolumePath = checked(_volume_path, pattern="^/")
Email = checked(_email, pattern="^[^@ ]+@[^@ ]+$")
ClusterUser = checked(_cluster_user, pattern="^([^@ :]+@[^@ :]+|system:serviceaccount:[^: ]+:[^: ]+)$")
LabelKey = checked(_label_key)
OwnLabelKey = checked(_own_label_key)
LabelValue = checked(_label_value, pattern=f"^{_LABEL_VALUE.pattern}$")
AcceleratorName = checked(_accelerator, pattern="/")
ClassName = checked(_class_name, maxLength=253)
CommandWord = checked(_command_word)
EnvValue = checked(_env_value)
WebhookUrl = checked(check_webhook, pattern="^https?://")
MailServer = checked(check_mail_server, pattern="^[A-Za-z0-9._-]+(?::[0-9]{1,5})?$")
Backend = checked(check_backend)
SecretsProvider = checked(check_secrets_provider)
Title = checked(_title, minLength=1, maxLength=200)
Currency = checked(_currency, pattern="^[A-Z]{3}$")
