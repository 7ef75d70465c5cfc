"""Maps failures below HTTP (exceptions of aiohttp and ssl) to `Unreachable`, with distinct causes.

The only module that reads their messages. The original exception stays the cause.
"""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass

import aiohttp

from wecityctl.kube.config import Access
from wecityctl.kube.credentials import Login
from wecityctl.kube.errors import Unreachable, UnreachableKind
from wecityctl.kube.tls import expired_on

# X509_V_ERR_* of OpenSSL (x509_vfy.h)
_EXPIRED, _NOT_YET_VALID, _HOSTNAME, _ADDRESS = 10, 9, 62, 64
# 7: signed by another authority of the same name, as when a cluster was recreated
_UNKNOWN_AUTHORITY = {2, 7, 18, 19, 20, 21, 24, 30}
# Alerts that are not about the client certificate.
_OTHER_ALERTS = (
    "HANDSHAKE_FAILURE",
    "PROTOCOL_VERSION",
    "UNRECOGNIZED_NAME",
    "INTERNAL_ERROR",
    "NO_APPLICATION_PROTOCOL",
)


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed attempt: the error to raise, whether the request may have reached the server, and whether to retry."""

    error: Unreachable
    sent: bool
    passing: bool


def classify(error: BaseException, access: Access, login: Login) -> Failure:
    """Determine the cause of a failed connection to the API server of `access`."""
    sent = not isinstance(error, aiohttp.ClientConnectorError | aiohttp.ServerTimeoutError)
    chain = list(_chain(error))
    # aiohttp's own exceptions derive from ssl's but lack its attributes. Only the inner ones have them.
    tls = [link for link in chain if isinstance(link, ssl.SSLError) and not isinstance(link, aiohttp.ClientError)]
    # An interrupted handshake is no TLS problem: the server went away, for instance because it restarts.
    tls = [
        link for link in tls if not isinstance(link, ssl.SSLWantReadError | ssl.SSLEOFError | ssl.SSLZeroReturnError)
    ]
    for link in tls:
        if isinstance(link, ssl.SSLCertVerificationError):
            return Failure(_server_certificate(link, access), False, False)
    if tls:
        return Failure(_tls(tls[0], access, login), False, False)
    why, message, resolution, passing = _network(error, chain, access)
    if isinstance(error, aiohttp.ServerTimeoutError) and not isinstance(error, aiohttp.ConnectionTimeoutError):
        sent = True
    return Failure(Unreachable(access.server, why, message, details=str(error), resolution=resolution), sent, passing)


def client_certificate_expired(error: BaseException, access: Access, login: Login) -> Unreachable | None:
    """The likely cause of a dropped connection or a TLS alert if the client certificate has expired."""
    expired = expired_on(login.cert)
    return _expired(error, access, f" on {expired:%Y-%m-%d %H:%M} UTC") if expired is not None else None


def _expired(error: BaseException, access: Access, when: str) -> Unreachable:
    return Unreachable(
        access.server,
        "client-certificate-expired",
        f"the client certificate expired{when}",
        details=str(error),
        resolution="fetch the cluster's kubeconfig again, or renew its client certificate",
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    queue: list[BaseException] = [error]
    while queue:
        link = queue.pop(0)
        if id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        inner = (
            getattr(link, "os_error", None),
            getattr(link, "certificate_error", None),
            link.__cause__,
            link.__context__,
        )
        queue += [i for i in inner if isinstance(i, BaseException)]


def _server_certificate(error: ssl.SSLCertVerificationError, access: Access) -> Unreachable:
    server, code = access.server, error.verify_code
    if code == _EXPIRED:
        return Unreachable(
            server,
            "server-certificate-expired",
            f"the certificate of {server} has expired",
            details=error.verify_message,
            resolution="renew the API server's certificate; if it is valid, check this machine's clock",
        )
    if code == _NOT_YET_VALID:
        return Unreachable(
            server,
            "server-certificate-not-yet-valid",
            f"the certificate of {server} is not valid yet",
            details=error.verify_message,
            resolution="check this machine's clock",
        )
    if code in (_HOSTNAME, _ADDRESS):
        return Unreachable(
            server,
            "hostname",
            f"the certificate of {server} is for another name",
            details=error.verify_message,
            resolution="use the name the certificate is for, or set tls-server-name in the kubeconfig's cluster",
        )
    if code in _UNKNOWN_AUTHORITY:
        return Unreachable(
            server,
            "unknown-authority",
            f"the certificate of {server} is signed by an unknown authority",
            details=error.verify_message,
            resolution="set certificate-authority-data of the kubeconfig's cluster to the cluster's CA; "
            "if the cluster was made anew, fetch its kubeconfig again",
        )
    return Unreachable(server, "tls", f"the certificate of {server} is not trusted", details=error.verify_message)


def _tls(error: ssl.SSLError, access: Access, login: Login) -> Unreachable:
    reason = str(error.reason or error)
    expired = client_certificate_expired(error, access, login)
    if expired is not None:
        return expired
    if "CERTIFICATE_EXPIRED" in reason:
        return _expired(error, access, "")
    about_us = login.cert is not None and not any(word in reason for word in _OTHER_ALERTS)
    if "CERTIFICATE_REQUIRED" in reason or ("ALERT" in reason and about_us):
        return Unreachable(
            access.server,
            "client-certificate-refused",
            f"{access.server} refuses the client certificate",
            details=str(error),
            resolution="fetch the cluster's kubeconfig again: its certificate is signed by an authority "
            "that the server does not know",
        )
    if "WRONG_VERSION_NUMBER" in reason or "HTTP_REQUEST" in reason or "RECORD_LAYER" in reason:
        return Unreachable(
            access.server,
            "not-tls",
            f"{access.server} does not speak TLS",
            details=str(error),
            resolution="check the port, and whether the server's URL should begin with http://",
        )
    return Unreachable(access.server, "tls", f"TLS with {access.server} failed", details=str(error))


def _network(
    error: BaseException, chain: list[BaseException], access: Access
) -> tuple[UnreachableKind, str, str, bool]:
    server = access.server
    if isinstance(error, aiohttp.ClientProxyConnectionError | aiohttp.ClientHttpProxyError):
        return "proxy", f"the proxy for {server} cannot be used", "check proxy-url or HTTPS_PROXY, and NO_PROXY", False
    if isinstance(error, aiohttp.ClientConnectorDNSError) or any(isinstance(e, socket.gaierror) for e in chain):
        return "dns", f"the name of {server} cannot be resolved", "check the server's URL and this machine's DNS", True
    if isinstance(error, TimeoutError):
        return "timeout", f"{server} gives no answer", "check that the address can be reached from here", True
    numbers = {e.errno for e in chain if isinstance(e, OSError) and e.errno}
    if errno.ECONNREFUSED in numbers:
        return "refused", f"{server} refuses connections", "check that the API server is running", True
    if numbers & {errno.ENETUNREACH, errno.EHOSTUNREACH}:
        return "other", f"there is no way to {server}", "check the network, or set a proxy", True
    if isinstance(
        error, aiohttp.ServerDisconnectedError | aiohttp.ClientPayloadError | aiohttp.ClientOSError | OSError
    ):
        return "reset", f"the connection to {server} broke", "the API server may be restarting", True
    return "other", f"{server} cannot be reached", "", False
