"""A stretch of network that can be cut, slowed down and silenced, between the gateway and TorchServe."""

import contextlib
import socket
import threading
import time
from typing import Any, Final

PIECE: Final = 65536


class Proxy:
    """Passes bytes between whoever connects to `port` and another port of this machine.

    `delay_seconds` holds every piece back; while `is_silent`, what comes is swallowed; `cut` breaks all that is open.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.delay_seconds = 0.0
        self.is_silent = False
        self.is_open = True
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port: int = self._listener.getsockname()[1]
        self._pairs: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                inner, _ = self._listener.accept()
                if not self.is_open:
                    inner.close()
                    continue
                try:
                    outer = socket.create_connection(("127.0.0.1", self.target), timeout=5)
                except OSError:
                    inner.close()
                    continue
                outer.settimeout(None)
                self._pairs += [inner, outer]
                for source, sink in ((inner, outer), (outer, inner)):
                    threading.Thread(target=self._pass, args=(source, sink), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(PIECE):
                time.sleep(self.delay_seconds)
                if not self.is_silent:
                    sink.sendall(data)
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def cut(self) -> None:
        """Break every connection and take no new one until `mend`."""
        self.is_open = False
        for each in self._pairs:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._pairs = []

    def mend(self) -> None:
        """Pass bytes at once again."""
        self.is_open = True
        self.is_silent = False
        self.delay_seconds = 0.0

    def __enter__(self) -> "Proxy":
        return self

    def __exit__(self, *_: Any) -> None:
        self.cut()
        self._listener.close()
