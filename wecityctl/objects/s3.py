"""Objects in a bucket of S3 or an S3-compatible server, accessed with the library obstore.

The library's own retries are disabled: after a lost response it would repeat a conditional write and report that the
object exists. Its threads belong to the process that used it first and do not survive a fork.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from datetime import UTC, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

from wecityctl.errors import AuthenticationError, ConfigurationError, DeploymentError, WecityError
from wecityctl.objects.idempotent_writes import (
    LostAnswerError,
    create_once,
    new_token,
    repeat,
    replace_once,
    require_own,
)
from wecityctl.objects.model import Entries, Entry, Limits, check_key, check_prefix, hidden, shown
from wecityctl.objects.s3_settings import S3Settings

if TYPE_CHECKING:
    from obstore.store import S3Store

T = TypeVar("T")

SCHEMES: Final = ("s3",)
# Object metadata that identifies the call of `create` that wrote it.
_TOKEN: Final = "wecity-writer"  # noqa: S105 - a name
_CONNECT_SECONDS: Final = 5.0
# The key prefix for testing whether a server supports conditions, and an ETag that no object has.
_PROBE: Final = ".wecity/partial"
_NO_ETAG: Final = f'"{0:032x}"'
# The server's answer in the library's text, which has no other form for it: for display, and for how long to wait.
_REASON: Final = {name: re.compile(f"<{name}>([^<]{{1,300}})</{name}>") for name in ("Code", "Message")}

_BUSY: Final = re.compile(
    r"<Code>(?:SlowDown|ServiceUnavailable|Throttling\w*|TooManyRequests\w*)</Code>|: (?:429|503) "
)


def open_url(url: str, limits: Limits) -> S3:
    """Open the bucket of an `s3://` URL, after checking that it exists.

    Raises `ConfigurationError` for an unusable URL and a missing bucket, `AuthenticationError` for missing or rejected
    credentials, and `DeploymentError` if the server does not answer.
    """
    return open_settings(S3Settings.read(url, os.environ), limits)


def open_settings(settings: S3Settings, limits: Limits) -> S3:
    """Open the bucket of these settings, after checking that it exists. Raises as `open_url` does."""
    if _first_process() != os.getpid():
        raise WecityError(
            "this process was forked from one that had used S3, whose threads it lacks",
            resolution="fork before the first S3 state is opened, or start a new program",
        )
    found = S3(settings, _store(settings, limits), _store(replace(settings, prefix=""), limits), limits)
    found.look()
    return found


@cache
def _first_process() -> int:
    """Return the PID of the process that used the library first; the cached value survives a fork."""
    return os.getpid()


class S3:
    """The objects of a bucket below a prefix."""

    def __init__(self, settings: S3Settings, store: S3Store, bucket: S3Store, limits: Limits) -> None:
        self._settings, self._store, self._limits = settings, store, limits
        self._bucket = bucket
        self._process = os.getpid()
        self._is_safe: bool | None = None
        self.url = settings.url

    def look(self) -> None:
        """Check that the bucket can be listed. Raises `ConfigurationError` if it does not exist."""

        def first() -> None:
            with self._listing(self._begin("list", "")):
                self._call(lambda: next(iter(self._store.list(chunk_size=1)), None))

        repeat(self._limits, first, f"list {self.url}")

    def get(self, key: str) -> bytes | None:
        """See `Objects.get`."""
        what = self._begin("read", key)

        found = repeat(self._limits, lambda: self._read(key, what), what)
        return found[0] if found is not None else None

    def exists(self, key: str) -> bool:
        """See `Objects.exists`."""
        what = self._begin("read", key)

        def look() -> bool:
            with self._mapped(what, absent=True), contextlib.suppress(FileNotFoundError):
                self._call(self._store.head, key)
                return True
            return False

        return repeat(self._limits, look, what)

    def put(self, key: str, data: bytes) -> None:
        """See `Objects.put`."""
        what = self._begin("write", key)

        def write() -> None:
            with self._mapped(what):
                self._call(self._store.put, key, data, use_multipart=False)

        repeat(self._limits, write, what)

    def create(self, key: str, data: bytes) -> bool:
        """See `Objects.create`. The object's metadata has the token of the call."""
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        what, token = self._begin("create", key), new_token()

        def write() -> bool:
            try:
                with self._mapped(what):
                    self._call(
                        self._store.put, key, data, mode="create", use_multipart=False, attributes={_TOKEN: token}
                    )
            except (AlreadyExistsError, PreconditionError):
                return False
            return True

        def stored_token() -> str | None:
            with self._mapped(what, absent=True), contextlib.suppress(FileNotFoundError):
                found = self._call(self._store.get, key, options={"head": True})
                return str(found.attributes.get(_TOKEN, ""))
            return None

        return create_once(self._limits, write, stored_token, token, what)

    def replace(self, key: str, data: bytes, before: bytes) -> bool:
        """See `Objects.replace`. Uses If-Match with the ETag of the data that was read."""
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        what, token = self._begin("replace", key), new_token()
        is_safe = self.replaces_safely()

        def write() -> bool:
            found = self._read(key, what)
            if found is None or found[0] != before:
                return False
            mode: Any = {"e_tag": found[1]} if is_safe else "overwrite"
            try:
                with self._mapped(what):
                    self._call(self._store.put, key, data, mode=mode, use_multipart=False, attributes={_TOKEN: token})
            except (AlreadyExistsError, PreconditionError):
                return False
            return True

        def is_own() -> bool:
            with self._mapped(what, absent=True), contextlib.suppress(FileNotFoundError):
                return bool(self._call(self._store.get, key, options={"head": True}).attributes.get(_TOKEN) == token)
            return False

        return replace_once(self._limits, write, is_own, what)

    def replaces_safely(self) -> bool:
        """See `Objects.replaces_safely`. Asks the server to replace a missing object, which it must reject."""
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        if self._is_safe is None:
            key = f"{_PROBE}/{new_token()}"
            what = self._begin("replace", key)

            def is_refused() -> bool:
                try:
                    with self._mapped(what):
                        condition: Any = {"e_tag": _NO_ETAG}
                        self._call(self._store.put, key, b"", mode=condition, use_multipart=False)
                except (AlreadyExistsError, PreconditionError):
                    return True
                return False

            try:
                self._is_safe = repeat(self._limits, is_refused, what)
            except AuthenticationError:
                # Credentials that may write single stacks only cannot ask. The condition is sent all the same: a server
                # that knows it keeps to it.
                self._is_safe = True
                return True
            except DeploymentError:
                # A server that answers everything else does not support the condition.
                self.look()
                self._is_safe = False
            if not self._is_safe:
                self.delete(key)
        return self._is_safe

    def _read(self, key: str, what: str) -> tuple[bytes, str] | None:
        """Return an object's data and its ETag; `None` if it does not exist. Makes one attempt."""

        def read() -> tuple[bytes, str]:
            found = self._store.get(key)
            return bytes(found.bytes()), found.meta["e_tag"] or ""

        with self._mapped(what, absent=True), contextlib.suppress(FileNotFoundError):
            return self._call(read)
        return None

    def delete(self, key: str) -> None:
        """See `Objects.delete`."""
        what = self._begin("delete", key)

        def drop() -> None:
            with self._mapped(what, absent=True), contextlib.suppress(FileNotFoundError):
                self._call(self._store.delete, key)

        repeat(self._limits, drop, what)

    def list(self, prefix: str = "") -> Entries:
        """See `Objects.list`."""
        start = check_prefix(prefix)
        what = self._begin("list", start)

        def read() -> Entries:
            with self._listing(what):
                pages = self._call(lambda: [found for page in self._store.list(start or None) for found in page])
            return [Entry(each["path"], each["size"], each["last_modified"].astimezone(UTC)) for each in pages]

        return sorted(repeat(self._limits, read, what), key=lambda entry: entry.key)

    def close(self) -> None:
        """Do nothing: the library closes idle connections."""

    def _call(self, act: Callable[..., T], *arguments: Any, **named: Any) -> T:
        """Call the library's `act`; return its result or raise its error.

        The library ignores signals until it has a response. In the main thread it is therefore called in another
        thread, so that Ctrl-C ends the call at once; a late response is dropped.
        """
        if threading.current_thread() is not threading.main_thread():
            return act(*arguments, **named)
        answer: Future[T] = Future()

        def run() -> None:
            try:
                answer.set_result(act(*arguments, **named))
            except BaseException as error:
                answer.set_exception(error)

        # Not from a pool: Python waits for a pool's threads at exit.
        threading.Thread(target=run, name="s3", daemon=True).start()
        return answer.result()

    def _begin(self, verb: str, key: str) -> str:
        """Return the operation as text for errors. Raises `WecityError` for an invalid key and in a forked process."""
        require_own(self._process, self.url)
        if key or verb != "list":
            check_key(key)
        return f"{verb} {key} in {self.url}" if key else f"{verb} {self.url}"

    @contextlib.contextmanager
    def _listing(self, what: str) -> Iterator[None]:
        """Do the same as `_mapped` for lists. The library does not say why a list failed, so the bucket is queried as
        well.
        """
        try:
            with self._mapped(what):
                yield
        except LostAnswerError as unknown:
            try:
                with self._mapped(what, absent=True):
                    self._call(self._bucket.head, "")
            except FileNotFoundError:
                raise ConfigurationError(
                    f"there is no bucket {self._settings.bucket}",
                    details=unknown.details,
                    resolution="create the bucket, or correct the URL of the state",
                ) from None
            except AuthenticationError as refused:
                # The response to this request has no text; the one to the list gives the reason.
                refused.details = unknown.details
                raise
            except LostAnswerError:
                # Also raised for an existing bucket, whose response lacks headers that the library expects of an
                # object.
                pass
            raise

    def _shown(self, error: BaseException) -> str:
        """Return the error for `details`, with code and message from the server's XML."""
        secrets = self._settings.keys.secrets if self._settings.keys else ()
        reason = " ".join(found[1] for name in ("Code", "Message") if (found := _REASON[name].search(str(error))))
        return shown(error, secrets) + (f"\n{hidden(reason, secrets)}" if reason else "")

    @contextlib.contextmanager
    def _mapped(self, what: str, *, absent: bool = False) -> Iterator[None]:
        """Map the library's errors to the project's own.

        Errors that say that an object exists are passed on; with `absent`, so are those that say that it does not.
        """
        from obstore import exceptions

        try:
            yield
        except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
            raise
        except FileNotFoundError as error:
            if absent:
                raise
            raise DeploymentError(
                f"cannot {what}: the bucket is not there", details=self._shown(error), resolution="create the bucket"
            ) from error
        except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
            raise AuthenticationError(
                f"cannot {what}: the credentials were refused",
                details=self._shown(error),
                resolution="check the AWS variables or the profile, what they may do, and the clock of this machine",
            ) from None
        except exceptions.BaseError as error:
            details = self._shown(error)
            if self._settings.keys is None and not self._settings.anonymous:
                details += "\nno credentials in AWS variables or files: the machine's metadata service was asked"
            raise LostAnswerError(details, is_busy=bool(_BUSY.search(str(error)))) from None


def _store(settings: S3Settings, limits: Limits) -> S3Store:
    """Create the library's client; sends no request."""
    from obstore.exceptions import BaseError
    from obstore.store import S3Store

    client: Any = {
        "timeout": timedelta(seconds=limits.seconds),
        "connect_timeout": timedelta(seconds=min(limits.seconds, _CONNECT_SECONDS)),
        "allow_http": settings.endpoint.startswith("http://"),
    }
    config: Any = {
        "region": settings.region,
        "virtual_hosted_style_request": not settings.path_style,
        "skip_signature": settings.anonymous,
        # One request per object: not all servers support bulk deletion.
        "disable_bulk_delete": True,
    }
    if settings.endpoint:
        split = urlsplit(settings.endpoint)
        server = settings.endpoint if settings.path_style else f"{split.scheme}://{settings.bucket}.{split.netloc}"
        # Set both: an environment variable may set the second, which takes precedence.
        config |= {"endpoint": server, "aws_endpoint_url_s3": server}
    if settings.encryption:
        config["server_side_encryption"] = settings.encryption
    if settings.encryption_key:
        config["sse_kms_key_id"] = settings.encryption_key
    keys = settings.keys
    try:
        if settings.authorities is not None:
            client["root_certificate"] = settings.authorities.read_bytes()
        return S3Store(
            settings.bucket,
            prefix=settings.prefix or None,
            config=config,
            client_options=client,
            retry_config={"max_retries": 0, "retry_timeout": timedelta(seconds=limits.seconds)},
            credential_provider=_provider(settings) if keys else None,
        )
    except (BaseError, ValueError, OSError) as error:
        raise ConfigurationError(
            f"the settings of {settings.url} cannot be used",
            details=shown(error, keys.secrets if keys else ()),
            resolution="check the parameters of the URL and the AWS variables",
        ) from None


def _provider(settings: S3Settings) -> Any:
    """Return the library's credential provider."""
    keys = settings.keys
    assert keys is not None

    def provide() -> dict[str, Any]:
        return {
            "access_key_id": keys.access,
            "secret_access_key": keys.secret,
            "token": keys.token or None,
            "expires_at": None,
        }

    return provide
