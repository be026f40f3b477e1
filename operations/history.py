"""Which versions have been the default.

By it a later command can take the last promotion back, and TorchServe starts again with what was promoted. It lies in
the model store, beside the archives it speaks of.
"""

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from launcher.settings import ARCHIVE
from operations.archive import Archive
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
        record = {"packed": self._packed_sha256(), "defaults": [asdict(default) for default in defaults]}
        try:
            new.write_text(json.dumps(record, indent=2) + "\n")
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

    def to_start_with(self, say: Callable[[str], None]) -> list[str]:
        """Give the archives to load at a start, the default one first: what was promoted last, and the one before.

        It is the packed one alone where nothing was promoted, where the archive is gone, or where the packed one has
        become another since the last promotion: whoever did that wants to see it. What is on trial comes last. An
        archive that does not hold its version, or one that is loaded already, is left out, and that is said: TorchServe
        would not start.
        """
        loaded: dict[float, str] = {}  # the archives by their versions, which are numbers to TorchServe
        for default in self._promoted():
            self._load(default, loaded, say)
            if not loaded:
                break
        if not loaded:
            loaded[self._packed_version()] = ARCHIVE
        with contextlib.suppress(Refused):
            if trial := TrialFile.of(self.model_store).read():
                self._load(Default(trial.candidate, trial.archive), loaded, say)
        return list(loaded.values())

    def _load(self, default: Default, loaded: dict[float, str], say: Callable[[str], None]) -> None:
        path = self.model_store / default.archive
        if not path.is_file() or default.archive in loaded.values():
            return
        try:
            version = Archive.read(path).version
        except Refused as error:
            say(f"version {default.version} is left out: {error}")
            return
        if version != default.version:
            say(f"version {default.version} is left out: {path} holds version {version}")
        elif float(version) in loaded:
            say(f"{path} is left out: version {version} is loaded from {loaded[float(version)]}")
        else:
            loaded[float(version)] = default.archive

    def _promoted(self) -> list[Default]:
        """Give the last promotion and the one before; nothing where the packed archive takes their place."""
        try:
            recorded = self._read()
            return [] if self._is_packed_anew() else recorded[:-3:-1]
        except (Refused, OSError):
            return []

    def _is_packed_anew(self) -> bool:
        """Say whether the packed archive has become another one since the last promotion."""
        packed = json.loads(self.path.read_text()).get("packed")
        if packed:
            return bool(packed != self._packed_sha256())
        return (self.model_store / ARCHIVE).stat().st_mtime > self.path.stat().st_mtime  # a record of a former release

    def _packed_sha256(self) -> str:
        """Give the packed archive's SHA-256; nothing where there is none."""
        try:
            with (self.model_store / ARCHIVE).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            return ""

    def _packed_version(self) -> float:
        """Give the packed archive's version; 0, which no version has, where it does not say."""
        try:
            return float(Archive.read(self.model_store / ARCHIVE).version)
        except Refused:
            return 0.0

    def _read(self) -> list[Default]:
        try:
            recorded = json.loads(self.path.read_text())["defaults"]
            return [Default(**entry) for entry in recorded]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Refused(f"{self.path} cannot be read ({error}): mend or delete it") from error
