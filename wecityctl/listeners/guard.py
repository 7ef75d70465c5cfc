"""Accepts TCP connections on behalf of a process and its children, and rejects peers that belong to other users.

It uses seccomp user notification. The guarded programs need not support it, so it works for Pulumi's engine and any
plug-in. It needs no privileges and changes nothing on the machine. Without the guard process, `accept` fails.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import select
import signal
import socket
import struct
import sys
from pathlib import Path
from typing import Final, NoReturn

from wecityctl.deathsignal import die_with_parent
from wecityctl.listeners import peers, seccomp
from wecityctl.listeners.peers import Address
from wecityctl.listeners.seccomp import Call

_PR_SET_CHILD_SUBREAPER: Final = 36
_YES: Final = b"\1"
_NO: Final = b"\0"
_LOOK_MILLISECONDS: Final = 1000
_MOST_RESETS: Final = 256
_NO_LINGER: Final = struct.pack("ii", 1, 0)


def divide() -> str:
    """Fork. The child returns and is guarded, with all that it starts; this process becomes the guard and never
    returns.

    Call it in a process with one thread, before it opens anything. The child gets SIGTERM when the parent of this
    process dies. Returns the reason if no guard is possible, otherwise an empty string.
    """
    lacking = seccomp.lacking() or ("" if peers.can_tell() else "the kernel does not tell whose a connection is")
    if lacking:
        return lacking
    ours, theirs = socket.socketpair()
    parent, above = os.getpid(), os.pidfd_open(os.getppid())
    child = os.fork()
    if child:
        theirs.close()
        _watch_over(child, ours, above)
    ours.close()
    os.close(above)
    die_with_parent(parent)
    with theirs:
        if theirs.recv(1) != _YES:
            return "this machine forbids a process to look at its children's descriptors"
        try:
            listener = seccomp.install()
        except OSError as error:
            return f"the kernel refuses the filter: {error.strerror}"
        socket.send_fds(theirs, [_YES], [listener])
        os.close(listener)
    return ""


def lacking() -> str:
    """Test in short-lived processes whether a guard is possible here; returns the reason if not, otherwise empty."""
    reader, writer = os.pipe()
    trial = os.fork()
    if not trial:
        # In a process of its own, because `divide` leaves a guard process behind.
        os.close(reader)
        with contextlib.suppress(BaseException):
            os.write(writer, divide().encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        said = stream.read().decode()
    os.waitpid(trial, 0)
    return said


class Guard:
    """Answers the `accept` calls that arrive on a seccomp listener (a file descriptor; -1 for none)."""

    def __init__(self, listener: int) -> None:
        self._listener = listener
        self._uid = os.getuid()
        self._poll = select.poll()
        # Calls on blocking sockets without a pending connection, by the descriptor of our copy of the socket.
        self._blocked: dict[int, tuple[Call, socket.socket]] = {}
        # Accepted connections whose call was interrupted by a signal and will be repeated, by the listening socket's
        # inode.
        self._kept: dict[int, list[socket.socket]] = {}
        if listener >= 0:
            self._poll.register(listener, select.POLLIN)

    def watch(self, descriptor: int) -> None:
        """Make `turn` return when `descriptor` becomes readable."""
        self._poll.register(descriptor, select.POLLIN)

    def forget(self, descriptor: int) -> None:
        """Stop watching `descriptor`."""
        self._poll.unregister(descriptor)

    def turn(self) -> set[int]:
        """Wait for calls and answer them.

        Returns the watched descriptors that are readable, or the listener at its end.
        """
        told = set()
        for descriptor, event in self._poll.poll(_LOOK_MILLISECONDS if self._blocked else None):
            # A call that was interrupted, or whose process died, cannot be answered.
            with contextlib.suppress(OSError):
                if descriptor in self._blocked:
                    self._poll.unregister(descriptor)
                    self._serve(*self._blocked.pop(descriptor))
                elif descriptor == self._listener and event & select.POLLIN:
                    self._answer(seccomp.receive(self._listener))
                else:
                    told.add(descriptor)
        self._forget_blocked()
        return told

    def is_used(self) -> bool:
        """Whether any guarded process still runs."""
        if self._listener < 0:
            return False
        poll = select.poll()
        poll.register(self._listener, 0)
        return not poll.poll(0)

    def _answer(self, call: Call) -> None:
        try:
            sock = socket.socket(fileno=self._copy(call))
        except PermissionError:
            # A process that cannot be inspected even by its own user, such as a key agent. It protects itself.
            seccomp.let(self._listener, call)
        except OSError as error:
            seccomp.fail(self._listener, call, error.errno or errno.EBADF)
        else:
            if sock.family in (socket.AF_INET, socket.AF_INET6) and sock.type == socket.SOCK_STREAM:
                self._serve(call, sock)
            else:
                sock.close()
                seccomp.let(self._listener, call)

    def _copy(self, call: Call) -> int:
        process = os.pidfd_open(_process_of(call.thread))
        try:
            if not seccomp.is_waiting(self._listener, call):
                raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
            return seccomp.copy_descriptor(process, call.descriptor)
        finally:
            os.close(process)

    def _serve(self, call: Call, sock: socket.socket) -> None:
        """Answer a call on a listening socket. `sock` is a copy of it and is closed unless the call has to wait."""
        try:
            inode = os.fstat(sock.fileno()).st_ino
            self._hand_over(call, inode, self._next(sock, inode))
        except BlockingIOError as error:
            if os.get_blocking(sock.fileno()):
                self._blocked[sock.fileno()] = (call, sock)
                self._poll.register(sock.fileno(), select.POLLIN)
                return
            seccomp.fail(self._listener, call, error.errno or errno.EAGAIN)
        except OSError as error:
            with contextlib.suppress(OSError):
                seccomp.fail(self._listener, call, error.errno or errno.ECONNABORTED)
        sock.close()

    def _next(self, sock: socket.socket, inode: int) -> socket.socket:
        """The next connection from a process of our user; others are reset. Raises `OSError`."""
        if kept := self._kept.pop(inode, []):
            if kept[1:]:
                self._kept[inode] = kept[1:]
            return kept[0]
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        for _ in range(_MOST_RESETS):
            if not poll.poll(0):
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            connection, _ = sock.accept()
            if is_from(connection, self._uid):
                return connection
            with contextlib.suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            connection.close()
        # Let the guard serve other processes in between; servers retry at once on this error.
        raise ConnectionAbortedError(errno.ECONNABORTED, os.strerror(errno.ECONNABORTED))

    def _hand_over(self, call: Call, inode: int, connection: socket.socket) -> None:
        try:
            connection.setblocking(not call.flags & os.O_NONBLOCK)
            if call.address:
                self._tell_peer(call, connection)
            seccomp.hand_over(self._listener, call, connection.fileno())
        except OSError as error:
            if error.errno == errno.ENOENT and _is_alive(call.thread):
                self._kept.setdefault(inode, []).append(connection)
                return
            connection.close()
            raise
        connection.close()

    def _tell_peer(self, call: Call, connection: socket.socket) -> None:
        """Write the peer's address into the caller's memory."""
        address = _raw_address(connection)
        with Path(f"/proc/{call.thread}/mem").open("r+b", buffering=0) as memory:
            if not seccomp.is_waiting(self._listener, call):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            room = int.from_bytes(os.pread(memory.fileno(), 4, call.length), sys.byteorder)
            os.pwrite(memory.fileno(), address[:room], call.address)
            os.pwrite(memory.fileno(), struct.pack("=I", len(address)), call.length)

    def _forget_blocked(self) -> None:
        """Close our copies of sockets whose call is over; they would keep the port open."""
        for descriptor, (call, sock) in tuple(self._blocked.items()):
            if not seccomp.is_waiting(self._listener, call):
                self._poll.unregister(descriptor)
                del self._blocked[descriptor]
                sock.close()


def is_from(connection: socket.socket, uid: int) -> bool:
    """Whether the peer of an accepted connection is an open socket of user `uid` on this machine."""
    try:
        owner = peers.owner_of_peer(
            Address.of(*connection.getsockname()[:2]), Address.of(*connection.getpeername()[:2])
        )
        # While our end is open no other connection can have these addresses, so the answer was about this connection.
        state = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    except (OSError, ValueError):
        return False
    return owner == uid and state == peers.ESTABLISHED


def _watch_over(child: int, control: socket.socket, above: int) -> NoReturn:
    """Run the guard process. It exits like the child, or stays in the background while descendants of the child run."""
    process = os.pidfd_open(child)
    # On Ctrl-C the terminal signals the child directly.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, _: _signal(process, number))
    listener = _take_listener(process, control)
    _close_all_but(listener, process, above)
    # Adopt orphaned descendants: with Yama, a process may inspect only its own descendants.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    guard = Guard(listener)
    guard.watch(process)
    guard.watch(above)
    while process not in (told := guard.turn()):
        if above in told:
            _signal(process, signal.SIGTERM)
            guard.forget(above)
    _, status = os.waitpid(child, 0)
    if guard.is_used() and not os.fork():
        _stay_behind(guard)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        with contextlib.suppress(OSError):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code if code >= 0 else 128 - code)


def _take_listener(process: int, control: socket.socket) -> int:
    """Receive the seccomp listener from the child; returns its descriptor, or -1 if there can be none."""
    with control:
        try:
            os.close(seccomp.copy_descriptor(process, 2))
        except PermissionError:
            control.send(_NO)
            return -1
        except OSError:
            # The child has no such descriptor, but copying descriptors is permitted.
            pass
        with contextlib.suppress(OSError):
            control.send(_YES)
            _, received, _, _ = socket.recv_fds(control, 1, 1)
            if received:
                return received[0]
    return -1


def _stay_behind(guard: Guard) -> NoReturn:
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)
    while guard.is_used():
        guard.turn()
    os._exit(0)


def _close_all_but(*kept: int) -> None:
    """Close inherited descriptors: peers of the child's sockets and pipes see the end only after the last copy is
    closed.
    """
    begin = 3
    for number in sorted(each for each in kept if each >= begin):
        os.closerange(begin, number)
        begin = number + 1
    os.closerange(begin, os.sysconf("SC_OPEN_MAX"))


def _signal(process: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(process, number)


def _process_of(thread: int) -> int:
    """The process ID of a thread. Raises `OSError` if it no longer exists."""
    for line in Path(f"/proc/{thread}/status").read_text().splitlines():
        if line.startswith("Tgid:"):
            return int(line.split()[1])
    raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))


def _is_alive(thread: int) -> bool:
    return Path(f"/proc/{thread}").exists()


def _raw_address(connection: socket.socket) -> bytes:
    """The peer's `sockaddr_in` or `sockaddr_in6` structure."""
    host, port, *rest = connection.getpeername()
    packed = socket.inet_pton(connection.family, host.partition("%")[0])
    if connection.family == socket.AF_INET:
        return struct.pack("=H", connection.family) + struct.pack("!H", port) + packed + bytes(8)
    flow, scope = rest
    return struct.pack("=H", connection.family) + struct.pack("!HI", port, flow) + packed + struct.pack("=I", scope)
