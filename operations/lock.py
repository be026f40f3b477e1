"""One operator at a time: two rollouts of one TorchServe at once would undo each other."""

import contextlib
import fcntl
import getpass
import json
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TextIO

from operations.errors import Refused

FILE_NAME: Final = "operations.lock"


@contextlib.contextmanager
def held(folder: Path, command: str) -> Iterator[None]:
    """Hold the lock in TorchServe's key folder; a process that dies gives it back.

    Raises:
        Refused: somebody else holds it, or there can be none.
    """
    path = folder / FILE_NAME
    try:
        file = _acquire(path)
    except OSError as error:
        raise Refused(
            f"{path} cannot be written ({error.strerror}): run this as the user that runs TorchServe"
        ) from error
    with file:
        since = datetime.now().astimezone().isoformat(timespec="seconds")
        json.dump({"by": _user(), "process": os.getpid(), "command": command, "since": since}, file)
        file.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)  # while it is locked: who waits for it sees that it is another one


def _acquire(path: Path) -> TextIO:
    while True:
        file = path.open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(file, path):
                file.truncate(0)
                return file
        except BlockingIOError as error:
            raise Refused(f"{_holder(file)}: wait until that is done") from error
        except BaseException:
            file.close()
            raise
        file.close()  # its holder took it away just now


def _is_at(file: TextIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _holder(file: TextIO) -> str:
    """Say who holds the lock."""
    with file:
        file.seek(0)
        try:
            holder: dict[str, Any] = json.loads(file.read())
            return f"{holder['by']} is at {holder['command']} since {holder['since']} (process {holder['process']})"
        except (ValueError, KeyError, TypeError):  # it has the lock and has not written yet
            return "another operator is at it just now"


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user has no name
        return f"user {os.getuid()}"
