"""Load over HTTP: requests made beforehand, sent over kept connections by one thread that serves all.

It shares the cores with what it measures, so it does as little as it can.
"""

import random
import select
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

CHUNK: Final = 1 << 18
TIMEOUT_SECONDS: Final = 30.0
LAST_CHUNK: Final = b"0\r\n\r\n"
"""Ends an answer of unknown length (RFC 9112, section 7.1)."""


@dataclass(frozen=True)
class Request:
    """A POST, ready to be sent."""

    host: str
    port: int
    message: bytes

    @classmethod
    def post(cls, url: str, body: bytes, headers: dict[str, str]) -> "Request":
        """Write a request with its body."""
        parts = urlsplit(url)
        lines = [f"POST {parts.path} HTTP/1.1", f"Host: {parts.netloc}", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        head = "\r\n".join([*lines, "", ""]).encode()
        return cls(parts.hostname or "", parts.port or 80, head + body)


@dataclass
class Measured:
    """What a load met: `latencies` are seconds, of the requests answered 200 only."""

    seconds: float
    latencies: list[float] = field(default_factory=list)
    errors: int = 0

    @property
    def rate(self) -> float:
        """Requests answered a second."""
        return len(self.latencies) / self.seconds

    def percentile(self, share: float) -> float:
        """Give the latency, in milliseconds, within which that share was answered."""
        ordered = sorted(self.latencies)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


@dataclass(frozen=True)
class Outcome:
    """What became of a request: `sent` on the performance counter, `seconds` until its answer was whole.

    `status` is 0 where the connection broke before, -1 where there was none to be had; then there is no `message`.
    """

    sent: float
    seconds: float
    status: int
    message: bytes


Note = Callable[[Outcome], None]


class _Connection:
    """One connection with at most one request under way."""

    def __init__(self, request: Request, selector: selectors.BaseSelector) -> None:
        self.request = request
        self.selector = selector
        self.began = 0.0
        self.is_busy = False
        self.socket: socket.socket | None = None

    def send(self, began: float) -> None:
        """Send the request; `began` is when its sender wanted to."""
        self.began = began
        if self.socket is None:
            self.socket = socket.create_connection((self.request.host, self.request.port), TIMEOUT_SECONDS)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.selector.register(self.socket, selectors.EVENT_READ, self)
        self.is_busy = True
        self.received = bytearray()
        self.wanted: int | None = None
        self.socket.sendall(self.request.message)

    def receive(self) -> int | None:
        """Take what has come; give the status once the answer is whole, 0 where the connection broke before."""
        assert self.socket is not None
        if not self.is_busy:  # the other side ends what was idle for long
            self.close()
            return None
        try:
            chunk = self.socket.recv(CHUNK)
        except OSError:
            chunk = b""
        if not chunk:
            self.is_busy = False
            self.close()
            return 0
        self.received += chunk
        if self.wanted is None:
            head = self.received.find(b"\r\n\r\n")
            if head < 0:
                return None
            lower = bytes(self.received[:head]).lower()
            self.closes = b"connection: close" in lower
            self.is_chunked = b"transfer-encoding: chunked" in lower
            _, _, length = lower.partition(b"content-length:")
            self.wanted = head + 4 + (len(LAST_CHUNK) if self.is_chunked else int(length.split(b"\r\n", 1)[0]))
        if len(self.received) < self.wanted or (self.is_chunked and not self.received.endswith(LAST_CHUNK)):
            return None
        status = int(self.received[9:12])
        self.is_busy = False
        if self.closes:
            self.close()
        return status

    def close_if_stale(self) -> None:
        """End a connection that the other side has ended; what was sent over it would be lost."""
        if self.socket is not None:
            poll = select.poll()
            poll.register(self.socket, select.POLLIN)
            if poll.poll(0):
                self.close()

    def close(self) -> None:
        if self.socket is not None:
            self.selector.unregister(self.socket)
            self.socket.close()
            self.socket = None


def closed_loop(
    request: Request, connections: int, seconds: float, note: Note | None = None, *, wait: bool = False
) -> Measured:
    """Keep so many connections busy: each sends again as soon as it is answered; `note` is told each outcome.

    What is under way at the end is given up, or with `wait` answered first, and counts for nothing either way.
    """
    with selectors.DefaultSelector() as selector:
        everyone = [_Connection(request, selector) for _ in range(connections)]
        measured = Measured(seconds)
        start = time.perf_counter()
        end = start + seconds
        for connection in everyone:
            connection.send(time.perf_counter())
        while (now := time.perf_counter()) < end:
            for key, _ in selector.select(end - now):
                connection = key.data
                status = connection.receive()
                if status is not None:
                    _note(measured, connection, status, note)
                    connection.send(time.perf_counter())
        measured.seconds = time.perf_counter() - start
        deadline = time.perf_counter() + TIMEOUT_SECONDS
        while wait and any(connection.is_busy for connection in everyone) and time.perf_counter() < deadline:
            for key, _ in selector.select(1.0):
                key.data.receive()
        for connection in everyone:
            connection.close()
    return measured


def open_loop(
    request: Request,
    rate: float,
    seconds: float,
    seed: int = 1,
    note: Note | None = None,
    *,
    stop: Callable[[], bool] | None = None,
) -> Measured:
    """Send as many requests a second, at random moments, however long the answers take; latencies count from then.

    `note` is told each outcome, also of requests that nobody took; without it such a one is an error. `stop` is asked
    while none is under way whether it may end before its time.
    """
    with selectors.DefaultSelector() as selector:
        measured = Measured(seconds)
        everyone: set[_Connection] = set()
        idle: list[_Connection] = []
        start = time.perf_counter()
        moments = _arrivals(start, rate, seconds, seed)
        deadline = start + seconds + TIMEOUT_SECONDS
        while (moments or len(idle) < len(everyone)) and time.perf_counter() < deadline:
            now = time.perf_counter()
            while moments and moments[0] <= now:
                if not idle:
                    idle.append(_Connection(request, selector))
                    everyone.add(idle[-1])
                connection = idle.pop()
                connection.close_if_stale()
                try:
                    connection.send(moments.popleft())
                except OSError:
                    connection.is_busy = False
                    _note(measured, connection, -1 if connection.socket is None else 0, note)
                    connection.close()
                    idle.append(connection)
            wait = max(0.0, moments[0] - time.perf_counter()) if moments else 1.0
            for key, _ in selector.select(wait):
                connection = key.data
                status = connection.receive()
                if status is not None:
                    _note(measured, connection, status, note)
                    idle.append(connection)
            if stop and len(idle) == len(everyone) and stop():
                moments.clear()
        for connection in everyone:
            if connection.is_busy:
                _note(measured, connection, 0, note)
            connection.close()
        measured.seconds = time.perf_counter() - start
    return measured


def _arrivals(start: float, rate: float, seconds: float, seed: int) -> deque[float]:
    """Draw the moments at which requests come."""
    rng = random.Random(seed)  # noqa: S311  # arrivals, no secrets
    moments: deque[float] = deque()
    moment = rng.expovariate(rate)
    while moment < seconds:
        moments.append(start + moment)
        moment += rng.expovariate(rate)
    return moments


def _note(measured: Measured, connection: _Connection, status: int, note: Note | None) -> None:
    seconds = time.perf_counter() - connection.began
    if status == 200:
        measured.latencies.append(seconds)
    else:
        measured.errors += 1
    if note:
        note(Outcome(connection.began, seconds, status, bytes(connection.received) if status > 0 else b""))
