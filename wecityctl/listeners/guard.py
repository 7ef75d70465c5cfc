"""Checks every TCP connection that a process, and whatever it starts, is about to accept: peers of our own user pass.

The processes need not know of it, so it holds for Pulumi's engine and for any plug-in. It needs no rights, changes
nothing on the machine, and leaves nothing behind: without the guard no connection is accepted at all.
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
    """Fork: the child returns and is guarded, with all that it starts; this process becomes its guard and ends with it.

    For a process with one thread, before it opens anything. The child gets SIGTERM when this process's parent dies.
    Returns why there is no guard; empty where there is one.
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
    """Try it, in processes that end at once: why there can be no guard on this machine; empty where there can be."""
    reader, writer = os.pipe()
    trial = os.fork()
    if not trial:
        # In a process of its own, as `divide` leaves one behind.
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
    """Answers the `accept` calls that come over a seccomp listener, -1 for none."""

    def __init__(self, listener: int) -> None:
        self._listener = listener
        self._uid = os.getuid()
        self._poll = select.poll()
        # Calls on blocking sockets that nobody has connected to yet, by our copy of the socket.
        self._blocked: dict[int, tuple[Call, socket.socket]] = {}
        # Connections whose call was interrupted by a signal: the call comes again. By the listening socket's inode.
        self._kept: dict[int, list[socket.socket]] = {}
        if listener >= 0:
            self._poll.register(listener, select.POLLIN)

    def watch(self, descriptor: int) -> None:
        """Have `turn` return when `descriptor` becomes readable."""
        self._poll.register(descriptor, select.POLLIN)

    def forget(self, descriptor: int) -> None:
        """Watch `descriptor` no more."""
        self._poll.unregister(descriptor)

    def turn(self) -> set[int]:
        """Wait, and answer what has come; the watched descriptors that are readable, and the listener at its end."""
        told = set()
        for descriptor, event in self._poll.poll(_LOOK_MILLISECONDS if self._blocked else None):
            # A call that was interrupted, or whose process has died, cannot be answered.
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
        """Whether any guarded process is left."""
        if self._listener < 0:
            return False
        poll = select.poll()
        poll.register(self._listener, 0)
        return not poll.poll(0)

    def _answer(self, call: Call) -> None:
        try:
            sock = socket.socket(fileno=self._copy(call))
        except PermissionError:
            # A process that hides from its own user, as agents that hold keys do: no part of the run, and on its guard.
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
        """Answer a call on a listening socket, of which `sock` is a copy; it is closed unless the call has to wait."""
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
        """The next connection from a process of our user; those of others are reset. Raises `OSError`."""
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
        # Others wait for this process too; servers ask again at once.
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
        """Write the peer's address where the call wants it."""
        address = _raw_address(connection)
        with Path(f"/proc/{call.thread}/mem").open("r+b", buffering=0) as memory:
            if not seccomp.is_waiting(self._listener, call):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            room = int.from_bytes(os.pread(memory.fileno(), 4, call.length), sys.byteorder)
            os.pwrite(memory.fileno(), address[:room], call.address)
            os.pwrite(memory.fileno(), struct.pack("=I", len(address)), call.length)

    def _forget_blocked(self) -> None:
        """Close our copies of sockets whose call is over: they would keep its port open."""
        for descriptor, (call, sock) in tuple(self._blocked.items()):
            if not seccomp.is_waiting(self._listener, call):
                self._poll.unregister(descriptor)
                del self._blocked[descriptor]
                sock.close()


def is_from(connection: socket.socket, uid: int) -> bool:
    """Whether the peer of an accepted connection is an open socket of that user on this machine."""
    try:
        owner = peers.owner_of_peer(
            Address.of(*connection.getsockname()[:2]), Address.of(*connection.getpeername()[:2])
        )
        # As long as our end stands no other connection can have these addresses: the answer was about this one.
        state = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    except (OSError, ValueError):
        return False
    return owner == uid and state == peers.ESTABLISHED


def _watch_over(child: int, control: socket.socket, above: int) -> NoReturn:
    """The life of the guard. It ends as the child ends; it stays behind for what the child has left running."""
    process = os.pidfd_open(child)
    # Ctrl-C in a terminal reaches the child by itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, _: _signal(process, number))
    listener = _take_listener(process, control)
    _close_all_but(listener, process, above)
    # What loses its parent comes to this process: it may look only at what is below it where Yama says so.
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
    """Agree with the child on a guard; the seccomp listener, or -1 where there can be none."""
    with control:
        try:
            os.close(seccomp.copy_descriptor(process, 2))
        except PermissionError:
            control.send(_NO)
            return -1
        except OSError:
            # It has no such descriptor, but it may be looked at.
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
    """Close the child's descriptors here: the other ends of its sockets and pipes wait for the last copy to go."""
    begin = 3
    for number in sorted(each for each in kept if each >= begin):
        os.closerange(begin, number)
        begin = number + 1
    os.closerange(begin, os.sysconf("SC_OPEN_MAX"))


def _signal(process: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(process, number)


def _process_of(thread: int) -> int:
    """The process that a thread belongs to. Raises `OSError` when it is gone."""
    for line in Path(f"/proc/{thread}/status").read_text().splitlines():
        if line.startswith("Tgid:"):
            return int(line.split()[1])
    raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))


def _is_alive(thread: int) -> bool:
    return Path(f"/proc/{thread}").exists()


def _raw_address(connection: socket.socket) -> bytes:
    """The peer's `sockaddr_in` or `sockaddr_in6`."""
    host, port, *rest = connection.getpeername()
    packed = socket.inet_pton(connection.family, host.partition("%")[0])
    if connection.family == socket.AF_INET:
        return struct.pack("=H", connection.family) + struct.pack("!H", port) + packed + bytes(8)
    flow, scope = rest
    return struct.pack("=H", connection.family) + struct.pack("!HI", port, flow) + packed + struct.pack("=I", scope)
