"""The file by which gateways know what version is on trial (gateway/trial.py reads it)."""

import json
import os
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

from operations.errors import Refused

FILE_NAME: Final = "trial.json"
Kind = Literal["canary", "shadow"]
"""Whether the candidate answers requests, or is asked copies of them."""


@dataclass(frozen=True)
class Trial:
    """A version on trial, its file in the model store, and its shares of the traffic."""

    candidate: str
    archive: str
    canary_share: float = 0.0
    shadow_share: float = 0.0
    since: str = ""

    def with_share(self, kind: Kind, share: float) -> "Trial":
        """Give the same trial with another share."""
        return replace(self, canary_share=share) if kind == "canary" else replace(self, shadow_share=share)


class TrialFile:
    """The trial of now, if there is one."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of(cls, model_store: Path) -> "TrialFile":
        """Find the file where the gateway looks for it."""
        return cls(Path(os.environ.get("GATEWAY_TRIAL_FILE") or model_store / FILE_NAME))

    def read(self) -> Trial | None:
        """Give the trial of now.

        Raises:
            Refused: the file cannot be read.
        """
        try:
            return Trial(**json.loads(self.path.read_text()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            raise Refused(f"{self.path} cannot be read ({error}): mend or delete it") from error

    def begin(self, candidate: str, archive: str, kind: Kind, share: float, *, dry_run: bool = False) -> Trial:
        """Put a version on trial, or change a share of the one that is.

        Raises:
            Refused: another one is on trial, or the file cannot be written.
        """
        now = self.read()
        if now and now.candidate != candidate:
            raise Refused(
                f"version {now.candidate} is on trial since {now.since}: end that first (canary off, shadow off)"
            )
        since = datetime.now().astimezone().isoformat(timespec="seconds")
        trial = (now or Trial(candidate, archive, since=since)).with_share(kind, share)
        return trial if dry_run else self._write(trial)

    def end(self, kind: Kind | None = None, *, dry_run: bool = False) -> Trial | None:
        """Take one share from the version on trial, or both; give what is left of the trial.

        Raises:
            Refused: nothing is on trial, or the file cannot be written or deleted.
        """
        now = self.read()
        if now is None:
            raise Refused("nothing is on trial")
        left = now.with_share(kind, 0.0) if kind else None
        if left and (left.canary_share or left.shadow_share):
            return left if dry_run else self._write(left)
        if not dry_run:
            try:
                self.path.unlink(missing_ok=True)
            except OSError as error:
                raise Refused(f"{self.path} cannot be deleted ({error.strerror}): delete it yourself") from error
        return None

    def _write(self, trial: Trial) -> Trial:
        new = self.path.with_suffix(".new")
        try:
            new.write_text(json.dumps(asdict(trial), indent=2) + "\n")
            new.replace(self.path)  # whole or not at all: a gateway may read at any time
        except OSError as error:
            raise Refused(
                f"{self.path} cannot be written ({error.strerror}): name another place with GATEWAY_TRIAL_FILE, for "
                "this command and for the gateway"
            ) from error
        return trial
