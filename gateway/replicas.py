"""The TorchServe replicas that the gateway spreads its requests over.

An address whose host name has several IP addresses counts as several replicas, and names are asked for again every few
seconds, so that replicas may come and go. One that fails is left out for a while, longer each time in a row.
"""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import structlog

RESOLVE_SECONDS: Final = 2.0
"""For so long what a host name stands for is taken as known."""

SHORTEST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 8.0
MOST_DOUBLINGS: Final = 30
"""In a long outage failures in a row go into the thousands, and 2 to that power into no float."""


class NoReplicaError(Exception):
    """No address stands for anything."""


class KeyFileError(Exception):
    """TorchServe's key file is not there, or not whole yet."""


@dataclass
class Replica:
    """One TorchServe; what is known of it changes under the lock of its `Replicas`."""

    url: str
    key_file: Path
    key: str = ""
    waiting: int = 0  # requests that it has not answered yet
    failures: int = 0  # in a row
    out_until: float = 0.0  # on the monotonic clock

    def read_key(self) -> str:
        """Read the inference key.

        Raises:
            KeyFileError: there is no whole key file; TorchServe writes it in place, so it may be there by half.
        """
        try:
            self.key = str(json.loads(self.key_file.read_text())["inference"]["key"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise KeyFileError(f"there is no whole key file at {self.key_file}") from error
        return self.key


@dataclass
class Replicas:
    """All that `addresses` stand for; `{address}` in the key file's path is the replica's IP address."""

    addresses: tuple[str, ...]
    key_file: Path
    _known: list[Replica] = field(default_factory=list)
    _found: dict[str, list[tuple[str, str]]] = field(default_factory=dict)  # what each address stood for last
    _resolved: float = -RESOLVE_SECONDS
    _turn: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _resolving: threading.Lock = field(default_factory=threading.Lock)

    def __len__(self) -> int:
        """Count those that are known."""
        with self._lock:
            return len(self._known)

    def known(self) -> list[Replica]:
        """Give copies of all replicas as they are now."""
        with self._lock:
            return [replace(each, key="") for each in self._known]

    def choose(self, other_than: Replica | None = None) -> Replica:
        """Give the replica with the fewest requests waiting of those that are not left out, or the next best.

        Raises:
            NoReplicaError: no name server knows any of the addresses.
        """
        self._resolve()
        now = time.monotonic()
        with self._lock:
            if not self._known:
                raise NoReplicaError(f"no replica at {', '.join(self.addresses)}")
            self._turn += 1  # equals have their turns
            turn = self._turn % len(self._known)
            replicas = self._known[turn:] + self._known[:turn]
            return min(
                replicas,
                key=lambda each: (each is other_than, max(each.out_until - now, 0), each.waiting),
            )

    @contextlib.contextmanager
    def waiting_for(self, replica: Replica) -> Iterator[None]:
        """Count a request while it waits."""
        with self._lock:
            replica.waiting += 1
        try:
            yield
        finally:
            with self._lock:
                replica.waiting -= 1

    def failed(self, replica: Replica, reason: str) -> None:
        """Leave a replica out for a while."""
        with self._lock:
            pause = pause_after(replica.failures, SHORTEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
            replica.failures += 1
            replica.out_until = time.monotonic() + pause
        structlog.get_logger().warning("replica_failed", url=replica.url, reason=reason, out_seconds=pause)

    def answered(self, replica: Replica) -> None:
        """Take a replica for well again."""
        with self._lock:
            replica.failures, replica.out_until = 0, 0.0

    def _resolve(self) -> None:
        if self._known and time.monotonic() - self._resolved < RESOLVE_SECONDS:
            return
        asked = time.monotonic()
        # One thread asks; the others go on with what is known, or wait for its answer where nothing is.
        if not self._resolving.acquire(blocking=not self._known):
            return
        try:
            if self._resolved >= asked:
                return
            for address in self.addresses:
                if found := _resolved(address):  # a name server that is away for a moment takes nobody's replicas away
                    self._found[address] = found
            ips = dict(pair for address in self.addresses for pair in self._found.get(address, []))
            with self._lock:
                known = {replica.url: replica for replica in self._known}
                for url, ip in ips.items():
                    if url not in known:
                        known[url] = Replica(url, Path(str(self.key_file).replace("{address}", ip)))
                self._known = [known[url] for url in ips]
                self._resolved = time.monotonic()
        finally:
            self._resolving.release()


def pause_after(failures: int, shortest: float, longest: float) -> float:
    """Give the seconds to leave out what fails after so many failures in a row: each time twice as many."""
    return min(shortest * 2.0 ** min(failures, MOST_DOUBLINGS), longest)


def _resolved(address: str) -> list[tuple[str, str]]:
    """Give URL and IP address of everything that an address stands for, in the order of the IP addresses."""
    parts = urlsplit(address)
    try:
        infos = socket.getaddrinfo(parts.hostname, parts.port or 80, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # nobody knows the name, or it can be none
        return []
    four = [info for info in infos if info[0] == socket.AF_INET]  # localhost has an address of each kind
    ips = sorted({str(info[4][0]) for info in four or infos})
    port = parts.port or 80
    return [(f"http://[{ip}]:{port}" if ":" in ip else f"http://{ip}:{port}", ip) for ip in ips]
