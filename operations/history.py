"""Which versions have been the default.

By it a later command can take the last promotion back, and TorchServe starts again with what was promoted. It lies in
the model store, beside the archives it speaks of.
"""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from operations.errors import Refused
from operations.trial import TrialFile

FILE_NAME: Final = "versions.json"


@dataclass(frozen=True)
class Default:
    """A version that is or was the default, and the file in the model store that it came from."""

    version: str
    archive: str


class History:
    """The defaults of the past, the present one last."""

    def __init__(self, model_store: Path) -> None:
        self.model_store = model_store
        self.path = model_store / FILE_NAME

    def defaults(self, current: Default) -> list[Default]:
        """Give the defaults that led to `current`; only itself where the record knows another default."""
        recorded = self._read()
        return recorded if recorded and recorded[-1] == current else [current]

    def previous(self, current: Default) -> str:
        """Give the version that was the default before `current`.

        Raises:
            Refused: there is none.
        """
        defaults = self.defaults(current)
        if len(defaults) < 2:
            raise Refused(
                f"no promotion led to version {current.version}, so there is nothing to go back to; promote names a "
                "version"
            )
        return defaults[-2].version

    @contextlib.contextmanager
    def recording(self, defaults: list[Default]) -> Iterator[None]:
        """Record the defaults as soon as what is done meanwhile has succeeded: whole or not at all.

        Raises:
            Refused: nothing can be written there, which is found out before anything is done.
        """
        new = self.path.with_suffix(".new")
        try:
            new.write_text(json.dumps({"defaults": [asdict(default) for default in defaults]}, indent=2) + "\n")
        except OSError as error:
            with contextlib.suppress(OSError):
                new.unlink(missing_ok=True)
            raise Refused(
                f"{new} cannot be written ({error.strerror}), so the next start would not know of it: make room, or "
                "run this as the user that runs TorchServe"
            ) from error
        try:
            yield
        except BaseException:
            new.unlink(missing_ok=True)
            raise
        new.replace(self.path)

    def to_start_with(self, packed: str) -> list[str]:
        """Give the archives to load at a start, the default one first: what was promoted last, and the one before.

        It is `packed` alone where nothing was promoted, where the archive is gone, or where `packed` was packed after
        the last promotion: whoever did that wants to see it. What is on trial comes last.
        """
        archives = self._defaults_to_start_with(packed)
        with contextlib.suppress(Refused):
            trial = TrialFile.of(self.model_store).read()
            if trial and trial.archive not in archives and (self.model_store / trial.archive).is_file():
                archives.append(trial.archive)
        return archives

    def _defaults_to_start_with(self, packed: str) -> list[str]:
        try:
            recorded = self._read()
            if not recorded or (self.model_store / packed).stat().st_mtime > self.path.stat().st_mtime:
                return [packed]
        except (Refused, OSError):
            return [packed]
        there = [each.archive for each in reversed(recorded[-2:]) if (self.model_store / each.archive).is_file()]
        return there if recorded[-1].archive in there else [packed]

    def _read(self) -> list[Default]:
        try:
            recorded = json.loads(self.path.read_text())["defaults"]
            return [Default(**entry) for entry in recorded]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Refused(f"{self.path} cannot be read ({error}): mend or delete it") from error
