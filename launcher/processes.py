"""Child processes that never outlive the launcher."""

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Final

PR_SET_PDEATHSIG: Final = 1  # prctl(2)
_LIBC: Final = ctypes.CDLL(None) if sys.platform == "linux" else None
_OUTPUT: Final = threading.Lock()


def write_line(line: str | bytes) -> None:
    """Write a line to standard output in one piece, also while other threads do; on a full disk it is lost."""
    if isinstance(line, str):
        line = line.encode(sys.stdout.encoding, errors="replace")  # a console of Latin-1 has no dots as one character
    with _OUTPUT, contextlib.suppress(OSError):
        sys.stdout.buffer.write(line + b"\n")
        sys.stdout.buffer.flush()


class Child:
    """A process in a session of its own, so that Ctrl-C reaches the launcher alone and the stop has an order.

    With `json_lines` all else that it prints is made into JSON objects: the JVM and libraries have words of their own.
    """

    def __init__(
        self, name: str, command: list[str], environment: dict[str, str], folder: Path, *, json_lines: bool = False
    ) -> None:
        self.name = name
        self.process = subprocess.Popen(
            command,
            env=environment,
            cwd=folder,
            stdout=subprocess.PIPE if json_lines else None,
            stderr=subprocess.STDOUT if json_lines else None,
            start_new_session=True,
            preexec_fn=_die_with_parent,  # noqa: PLW1509  # safe beside threads: one system call, nothing allocated
        )
        self._relay: threading.Thread | None = None
        if self.process.stdout:
            self._relay = threading.Thread(target=_relay, args=(name, self.process.stdout), daemon=True)
            self._relay.start()

    @property
    def exit_code(self) -> int | None:
        """The exit code, or None while it runs."""
        return self.process.poll()

    def stop(self, timeout_seconds: float) -> None:
        """Ask it to end, and end it and whatever it started if it has not after `timeout_seconds`."""
        if self.exit_code is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout_seconds)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if self._relay:
            self._relay.join(timeout_seconds)


def _relay(name: str, lines: IO[bytes]) -> None:
    with lines:
        for line in lines:  # one unread would stop its writer
            write_line(line.rstrip(b"\n") if line.startswith(b"{") else _as_json(name, line))


def _as_json(name: str, line: bytes) -> str:
    return json.dumps({"event": "output", "part": name, "message": line.decode(errors="replace").rstrip()})


def _die_with_parent() -> None:
    """On Linux, have the kernel end this process when the launcher dies, be it by SIGKILL."""
    if _LIBC:
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
