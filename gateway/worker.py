"""The gunicorn worker that serves the gateway: threads get whole requests, and only as many as can be answered.

gunicorn's threaded worker gives every connection that has sent something a thread, which then waits for the rest: as
many slow senders as there are threads stop the service for everyone, and a crowd waits in a queue without an end. Here
the loop that watches all connections receives the requests as well. A sender who falls behind gets a 408 and has cost
no thread; what would wait too long for one gets a 503 at once, for a small part of what an answer costs.
"""

import contextlib
import selectors
import socket
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import structlog
from gunicorn import util
from gunicorn.http import wsgi
from gunicorn.http.errors import (
    ConfigurationProblem,
    InvalidResponseHeader,
    InvalidResponseHeaderName,
    LimitRequestHeaders,
    LimitRequestLine,
    ParseException,
)
from gunicorn.http.unreader import SocketUnreader
from gunicorn.workers.gthread import TConn, ThreadWorker

from gateway.deadline import RECEIVED
from gateway.heads import Head, read_head, without_expect
from gateway.problems import Problem
from gateway.refusals import Refusals
from gateway.settings import Settings

CHUNK_BYTES: Final = 1 << 16
READS_AT_ONCE: Final = 16
"""Chunks that are taken from one connection before the others have their turn."""
LARGEST_HEAD_BYTES: Final = 1 << 16
NO_HEAD: Final = read_head(b"")
UNFINISHED_HEAD: Final = read_head(b"POST / HTTP/1.1\r\n")
"""What a request counts as whose head has not come."""
SLOWEST_BYTES_PER_SECOND: Final = 16_384
"""A sender who goes on at least so fast is not cut off, however large the request."""

REQUESTS_HELD: Final = 2
"""So many of the largest requests may be in memory at once, or many more of the usual size."""

_PROBE_PATHS: Final = ("/livez", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready")
PROBES: Final = tuple(f"GET {path} ".encode() for path in _PROBE_PATHS)
"""Whoever runs the gateway would end it if these waited for pages, as those may for a model that hangs."""
PROBE_THREADS: Final = 4

BURST_SECONDS: Final = 3.0
BURST: Final = 6
"""For `BURST_SECONDS` after all threads were taken, so many times more requests may wait: a burst, or a worker that is
being replaced, passes; in a crowd that stays, everyone would wait long."""
REST_SECONDS: Final = 1.0
"""For so long a thread must have been free before a burst is taken for a new one: a crowd has gaps."""

_READ: Final = selectors.EVENT_READ
_LINGER_SECONDS: Final = 2.0
_SWEEP_SECONDS: Final = 0.1


@dataclass
class Incoming:
    """What has come of a request."""

    most_bytes: int
    most_seconds: float  # without anything coming
    deadline: float
    data: bytearray = field(default_factory=bytearray)
    head: Head | None = None
    whole_bytes: int = 0
    is_for_the_thread: bool = False
    """Its body is not received here: its length is not told, or too large to be read at all."""

    @property
    def is_ready(self) -> bool:
        """Whether a thread can take it."""
        return self.is_for_the_thread or 0 < self.whole_bytes <= len(self.data)

    def add(self, data: bytes) -> bool:
        """Take a piece; say whether the sender waits to be told to go on with the body."""
        self.data += data
        self.deadline = later(self.deadline, len(data), self.most_seconds)
        if self.whole_bytes or self.is_for_the_thread:
            return False
        if self.data.startswith(b"\r\n"):
            del self.data[:2]  # an empty line before a request is none of it (RFC 9112, section 2.2)
        end = self.data.find(b"\r\n\r\n")
        if end < 0:
            self.is_for_the_thread = len(self.data) > LARGEST_HEAD_BYTES  # which refuses it
            return False
        lines = bytes(self.data[: end + 2])
        self.head = read_head(lines)
        if self.head.body_bytes is None or self.head.body_bytes > self.most_bytes:
            self.is_for_the_thread = True
            return False
        self.whole_bytes = end + 4 + self.head.body_bytes
        if not self.head.expects:
            return False
        shorter = without_expect(lines)  # or gunicorn would say it once more
        self.data[: len(lines)] = shorter
        self.whole_bytes -= len(lines) - len(shorter)
        return len(self.data) < self.whole_bytes


def later(deadline: float, count: int, most_seconds: float) -> float:
    """Give the deadline after so many more bytes have come; who stops is not waited for because of what came fast."""
    return min(deadline + count / SLOWEST_BYTES_PER_SECOND, time.monotonic() + most_seconds)


class ReceivedUnreader(SocketUnreader):  # type: ignore[misc]
    """Gives gunicorn's parser what was received, in pieces, and then what the socket has; `told` is told how much."""

    def __init__(self, sock: socket.socket, told: Callable[[int], None]) -> None:
        super().__init__(sock)
        self.received = memoryview(b"")
        self.told = told

    def chunk(self, size_hint: int | None = None) -> bytes:
        """Give the next piece.

        Raises:
            Problem: the sender's time is over.
        """
        if not self.received:
            try:
                data = bytes(super().chunk(size_hint))
            except TimeoutError as error:
                raise Problem("request-timeout") from error
            self.told(len(data))
            return data
        size = min(size_hint or self.mxchunk, CHUNK_BYTES)
        piece, self.received = bytes(self.received[:size]), self.received[size:]
        return piece


class WholeResponse(wsgi.Response):  # type: ignore[misc]
    """Sends head and body together: a process that is killed between the two would have answered by half.

    Nobody could then ask another gateway instead; and it saves a system call.
    """

    held = b""
    headers_sent: bool

    def send_headers(self) -> None:
        """Hold the head back until there is a body or the end."""
        if self.headers_sent:
            return
        # Not what serves it, which would tell an attacker what to try.
        lines = [line for line in self.default_headers() if not line.startswith("Server:")]
        lines += [*(f"{name}: {value}\r\n" for name, value in self.headers), "\r\n"]
        self.held = util.to_bytestring("".join(lines), "latin-1")
        self.headers_sent = True

    def should_close(self) -> bool:
        """Say whether nothing can follow, as after a body that could not be read to its end."""
        return bool(getattr(self.req.body, "failed", False) or super().should_close())

    def _emit_body(self, data: bytes) -> None:
        if self.chunked:
            self._send()
            super()._emit_body(data)
        else:
            self._send(data)

    def close(self) -> None:
        """End the response."""
        self.send_headers()
        self._send()
        super().close()

    def _send(self, data: bytes = b"") -> None:
        """Send what is held and then data, together."""
        data, self.held = self.held + data, b""
        if data:
            util.write(self.sock, data)


class Worker(ThreadWorker):  # type: ignore[misc]
    """Receives in the main loop, answers in threads; POSTs, which the model answers, and probes have their own.

    What is known of gunicorn here: it calls `enqueue_req` for a connection that is new or has something to read,
    `finish_request` when a thread is done with it, and `murder_pending` once every turn of its loop.
    """

    def init_process(self) -> None:
        """Begin, in the worker's process."""
        settings = Settings()
        self.threads: int = settings.threads
        self.most_waiting: int = settings.most_waiting
        self.receive_seconds: float = settings.receive_timeout_seconds
        self.most_bytes: int = settings.max_request_bytes
        self.receiving: dict[TConn, Incoming] = {}
        self.answering: dict[TConn, tuple[int, float]] = {}  # their requests' bytes, and when they were received
        self.read_by_threads: dict[TConn, float] = {}  # their requests' deadlines
        self.lingering: dict[TConn, float] = {}  # until when
        self.surplus: dict[TConn, bytes] = {}  # what came after a request: the next one
        self.held_bytes = 0
        self.posts = 0  # that threads have, or that wait for one
        self.full_since = float("-inf")  # when all threads came to be taken, after a rest
        self.free_since = float("-inf")  # when one of them was free again
        self.swept = 0.0
        self.others = ThreadPoolExecutor(self.threads)
        self.probes = ThreadPoolExecutor(PROBE_THREADS)
        wsgi.Response = WholeResponse
        super().init_process()

    def load_wsgi(self) -> None:
        """Load the application."""
        super().load_wsgi()
        self.refusals = Refusals(self.wsgi)
        self.wsgi.extensions["metrics"].in_progress.set_function(lambda: self.posts)

    def accept(self, listener: Any) -> None:
        """Take a connection; of as many as there may be, one that is idle or has sent no whole request makes room."""
        if self.nr_conns >= self.worker_connections - 1:
            if self.keepalived_conns:
                self._end_keepalive()
            elif self.receiving:
                self._close(next(iter(self.receiving)))
        super().accept(listener)

    def murder_keepalived(self, force: bool = False) -> None:
        """End what has been idle for long, but not where the next request has just come."""
        if force:
            super().murder_keepalived(force)
        while self.keepalived_conns and self.keepalived_conns[0].timeout <= time.monotonic():
            self._end_keepalive()

    def _end_keepalive(self) -> None:
        """End the connection that was idle first, or receive what it sends."""
        conn = self.keepalived_conns[0]
        try:
            conn.sock.recv(1, socket.MSG_PEEK)
        except OSError:  # there is nothing, or no connection any more
            self.keepalived_conns.popleft()
            self._close(conn)
        else:
            self.on_client_socket_readable(conn, conn.sock)

    def enqueue_req(self, conn: TConn) -> None:
        """Begin to receive a request."""
        if not conn.initialized:
            conn.init()
            conn.parser.unreader = ReceivedUnreader(conn.sock, partial(self._extend, conn))
            conn.data_ready = True
        conn.sock.setblocking(False)
        incoming = self._incoming()
        self.receiving[conn] = incoming
        if early := conn.parser.unreader.take_buffered():
            self._add(conn, incoming, early)
        if incoming.is_ready or self._read(conn, incoming):
            self._admit(conn, incoming)
        elif conn in self.receiving:
            self.poller.register(conn.sock, _READ, partial(self._go_on, conn))

    def _incoming(self) -> Incoming:
        return Incoming(self.most_bytes, self.receive_seconds, time.monotonic() + self.receive_seconds)

    def _go_on(self, conn: TConn, sock: socket.socket) -> None:
        """Receive more."""
        incoming = self.receiving.get(conn)
        if incoming and self._read(conn, incoming):  # it may just have been closed, to make room for another
            self.poller.unregister(sock)
            self._admit(conn, incoming)

    def on_client_socket_readable(self, conn: TConn, client: socket.socket) -> None:
        """Receive the next request of a kept connection, or refuse it without more ado."""
        try:
            self.keepalived_conns.remove(conn)
        except ValueError:  # seen to already, when room was made for another
            return
        if not (self._is_crowded() and self._refuse_in_place(conn, client)):
            self.poller.unregister(client)
            self.enqueue_req(conn)

    def _refuse_in_place(self, conn: TConn, sock: socket.socket) -> bool:
        """Refuse a POST that has come in one piece, its connection watched as it is; say whether it was one.

        A crowd mostly comes over kept connections, and this is the least that a refusal costs.
        """
        try:
            data = sock.recv(CHUNK_BYTES)
        except OSError:
            return False
        end = data.find(b"\r\n\r\n")
        head = read_head(data[: end + 2])
        is_whole = end > 0 and head.body_bytes == len(data) - end - 4
        if not (is_whole and head.method == "POST" and not head.closes and self.alive):
            conn.parser.unreader.unread(data)
            return False
        if self._send(conn, "overloaded", head, keep=True):
            conn.set_timeout()
            self.keepalived_conns.append(conn)
        else:
            self._close(conn)
        return True

    def _read(self, conn: TConn, incoming: Incoming) -> bool:
        """Take what there is; say whether a thread can have the request now."""
        try:
            for _ in range(READS_AT_ONCE):
                data = conn.sock.recv(CHUNK_BYTES)
                if not data:
                    self._close(conn)
                    return False
                self._add(conn, incoming, data)
                if incoming.is_ready:
                    return True
        except BlockingIOError:
            pass
        except OSError:
            self._close(conn)
            return False
        if self.held_bytes > REQUESTS_HELD * self.most_bytes:
            self._turn_away(conn, "overloaded", incoming)
        return False

    def _add(self, conn: TConn, incoming: Incoming, data: bytes) -> None:
        before = len(incoming.data)
        is_waiting = incoming.add(data)
        self.held_bytes += len(incoming.data) - before
        if is_waiting:
            with contextlib.suppress(OSError):  # reading finds out what has become of the connection
                conn.sock.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _admit(self, conn: TConn, incoming: Incoming) -> None:
        """Give the request to a thread, or turn it away."""
        is_post = incoming.data.startswith(b"POST ")
        many_are_read = incoming.is_for_the_thread and len(self.read_by_threads) >= max(1, self.threads // 2)
        if many_are_read or (is_post and self._is_crowded()):
            self._refuse(conn, incoming)
            return
        if not is_post:
            self.refusals.count()  # it may ask for the counts
        del self.receiving[conn]
        self.answering[conn] = len(incoming.data), time.monotonic()
        unreader = conn.parser.unreader
        if incoming.is_for_the_thread:
            unreader.received = memoryview(bytes(incoming.data))
            self.read_by_threads[conn] = incoming.deadline
        else:
            unreader.received = memoryview(incoming.data)[: incoming.whole_bytes]
            if len(incoming.data) > incoming.whole_bytes:
                self.surplus[conn] = bytes(incoming.data[incoming.whole_bytes :])
        if is_post:
            self._count_posts(1)
        done = self._done_post if is_post else self._done
        pool = self.tpool if is_post else self.probes if incoming.data.startswith(PROBES) else self.others
        pool.submit(self.handle, conn).add_done_callback(partial(done, conn))

    def _extend(self, conn: TConn, count: int) -> None:
        """Give a sender whose request this thread reads more time for what has come.

        Raises:
            Problem: the sender's time is over, so that nothing came.
        """
        deadline = self.read_by_threads.get(conn)  # the loop may take it away at any time
        if deadline is not None:
            self.read_by_threads[conn] = later(deadline, count, self.receive_seconds)
            RECEIVED.set(time.monotonic())
        elif not count:
            raise Problem("request-timeout")

    def _done_post(self, conn: TConn, answered: "Future[Any]") -> None:
        self.method_queue.defer(self._finish_post, conn, answered)

    def _done(self, conn: TConn, answered: "Future[Any]") -> None:
        self.method_queue.defer(self.finish_request, conn, answered)

    def _finish_post(self, conn: TConn, answered: "Future[Any]") -> None:
        self._count_posts(-1)
        self.finish_request(conn, answered)

    def _count_posts(self, change: int) -> None:
        self.posts += change
        now = time.monotonic()
        if change > 0 and self.posts == self.threads and now - self.free_since >= REST_SECONDS:
            self.full_since = now
        elif change < 0 and self.posts == self.threads - 1:
            self.free_since = now

    def _is_crowded(self) -> bool:
        """Whether one more would wait too long."""
        is_burst = time.monotonic() - self.full_since < BURST_SECONDS
        return self.posts >= self.threads + self.most_waiting * (BURST if is_burst else 1)

    def handle_request(self, req: Any, conn: TConn) -> Any:
        """Answer, in a thread; whoever does not take the answer is not waited for without end."""
        RECEIVED.set(self.answering[conn][1])
        conn.sock.settimeout(self.receive_seconds)
        return super().handle_request(req, conn)

    def handle_error(self, _req: Any, client: socket.socket, _addr: Any, error: Exception) -> None:
        """Answer what cannot be read, or what nobody foresaw, as every other error."""
        ours = (ConfigurationProblem, InvalidResponseHeader, InvalidResponseHeaderName)
        is_the_senders = isinstance(error, ParseException | Problem) and not isinstance(error, ours)
        if not is_the_senders:
            structlog.get_logger().error("unforeseen", exc_info=error)
        is_long = isinstance(error, (LimitRequestLine, LimitRequestHeaders))
        kind = "head-too-large" if is_long else "bad-request" if is_the_senders else "unforeseen"
        if isinstance(error, Problem):
            kind = error.kind
        with contextlib.suppress(OSError):
            client.sendall(self.refusals.answer(kind, NO_HEAD, keep=False))

    def finish_request(self, conn: TConn, answered: "Future[Any]") -> None:
        """Take a connection back from a thread."""
        self.read_by_threads.pop(conn, None)
        self.held_bytes -= self.answering.pop(conn)[0]
        unreader = conn.parser.unreader
        unreader.received = memoryview(b"")
        surplus = self.surplus.pop(conn, b"")
        if answered.exception() or not answered.result():
            self._linger(conn)
            return
        if surplus:
            unreader.unread(surplus)
        super().finish_request(conn, answered)

    def _refuse(self, conn: TConn, incoming: Incoming) -> None:
        """Answer that there are too many; the connection stays where the request is whole."""
        head = incoming.head
        if head is None or head.closes or incoming.is_for_the_thread or not self.alive:
            self._turn_away(conn, "overloaded", incoming)
            return
        self._forget(conn)
        surplus = bytes(incoming.data[incoming.whole_bytes :])
        if not self._send(conn, "overloaded", head, keep=True):
            self._close(conn)
        elif surplus:
            conn.parser.unreader.unread(surplus)
            self.method_queue.defer(self.enqueue_req, conn)
        else:
            conn.set_timeout()
            self.keepalived_conns.append(conn)
            self.poller.register(conn.sock, _READ, partial(self.on_client_socket_readable, conn))

    def _turn_away(self, conn: TConn, kind: str, incoming: Incoming) -> None:
        """Answer with a problem and end the connection."""
        self._forget(conn)
        if self._send(conn, kind, incoming.head or UNFINISHED_HEAD, keep=False):
            self._linger(conn)
        else:
            self._close(conn)

    def _send(self, conn: TConn, kind: str, head: Head, *, keep: bool) -> bool:
        answer = self.refusals.answer(kind, head, keep=keep)
        try:
            return bool(conn.sock.send(answer) == len(answer))
        except OSError:
            return False

    def _forget(self, conn: TConn) -> None:
        """Have nothing to do with a connection that was being received or lingers."""
        if incoming := self.receiving.pop(conn, None):
            self.held_bytes -= len(incoming.data)
        self.lingering.pop(conn, None)
        with contextlib.suppress(KeyError, ValueError):  # not watched, or closed already
            self.poller.unregister(conn.sock)

    def _linger(self, conn: TConn) -> None:
        """End a connection so that its last answer arrives: not before its sender has, or after a while."""
        try:
            conn.sock.setblocking(False)
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._close(conn)
            return
        self.lingering[conn] = time.monotonic() + _LINGER_SECONDS
        self.poller.register(conn.sock, _READ, partial(self._discard, conn))

    def _discard(self, conn: TConn, sock: socket.socket) -> None:
        try:
            if sock.recv(CHUNK_BYTES):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self._close(conn)

    def _close(self, conn: TConn) -> None:
        self._forget(conn)
        self.nr_conns -= 1
        conn.close()

    def murder_pending(self) -> None:
        """See to those whose time is over, now and then: the loop turns thousands of times a second."""
        now = time.monotonic()
        if now - self.swept < _SWEEP_SECONDS:
            return
        self.swept = now
        for conn, incoming in [each for each in self.receiving.items() if each[1].deadline < now]:
            if incoming.data:
                self._turn_away(conn, "request-timeout", incoming)
            else:
                self._close(conn)
        for conn in [conn for conn, until in self.lingering.items() if until < now]:
            self._close(conn)
        for conn in [conn for conn, deadline in self.read_by_threads.items() if deadline < now]:
            del self.read_by_threads[conn]
            with contextlib.suppress(OSError):
                conn.sock.shutdown(socket.SHUT_RD)  # its thread reads an end, and may still answer
        self.refusals.count()
        self.refusals.report()

    def _cap_keepalive(self, deadline: float) -> None:
        """Stop: take what has connected already, nobody else, and wait for none that has sent nothing for long."""
        for listener in self.sockets:
            waiting = -1
            while waiting != self.nr_conns:
                waiting = self.nr_conns
                self.accept(listener)  # does nothing where nobody waits
            listener.close()  # or others would go on to connect, and be cut off at the end
        super()._cap_keepalive(deadline)
        for incoming in self.receiving.values():
            if not incoming.data:
                incoming.deadline = min(incoming.deadline, deadline)
