"""What an operator does with versions. Each operation checks everything it can before it changes anything."""

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from operations.archive import Archive
from operations.checks import Check, Track, check_golden, check_sample, check_weights
from operations.errors import Failed, Refused
from operations.history import Default, History
from operations.torchserve import MODEL_NAME, TorchServe, Version
from operations.trial import Kind, Trial, TrialFile

POLL_SECONDS: Final = 0.25
UNPACKING_SECONDS: Final = 5.0
"""More than TorchServe needs from a registration until it knows the version."""


class Versions:
    """The versions in one TorchServe and the archives in its model store."""

    def __init__(self, torchserve: TorchServe, model_store: Path, timeout_seconds: float, *, dry_run: bool) -> None:
        self.torchserve = torchserve
        self.model_store = model_store
        self.history = History(model_store)
        self.trial_file = TrialFile.of(model_store)
        self.timeout_seconds = timeout_seconds
        self.dry_run = dry_run

    def add(self, file: Path) -> Archive:
        """Copy an archive into the model store and load its version beside the others; the default stays.

        Raises:
            Refused: it is not a good archive, its version is there already, or TorchServe takes none.
            Failed: its workers did not start; nothing is left of it.
        """
        self.torchserve.check_model_api()
        archive = Archive.read(file)
        for version in self.torchserve.versions():
            if float(version.name) == float(archive.version):
                raise Refused(f"version {version.name} is loaded already: remove it first, or pack another number")
        copy = self.model_store / f"{MODEL_NAME}-{archive.version}.mar"
        if copy.exists() and not copy.samefile(file):
            raise Refused(f"{copy} is there already: add that file itself, or delete it")
        if self.dry_run:
            return archive
        with self._copied(file, copy):
            try:
                self.torchserve.register(copy.name)
                self._wait_for(
                    lambda: _all_ready(self.torchserve.version(archive.version)),
                    f"the workers of version {archive.version} did not start; see TorchServe's log",
                )
            except BaseException:
                # Whether they failed or the operator lost patience: no half of a version stays behind.
                self._take_back(archive.version)
                raise
        return archive

    def _take_back(self, name: str) -> None:
        """Unload a version, also one that TorchServe is still unpacking: it knows nothing of it until then."""
        deadline = time.monotonic() + UNPACKING_SECONDS
        while name not in [version.name for version in self.torchserve.versions()]:
            if time.monotonic() > deadline:
                return  # it was not taken at all
            time.sleep(POLL_SECONDS)
        self.torchserve.unregister(name)

    @contextlib.contextmanager
    def _copied(self, file: Path, copy: Path) -> Iterator[None]:
        """Have the archive in the model store; take the copy away again when what follows fails."""
        if copy.exists():
            yield
            return
        part = copy.with_suffix(".part")
        try:
            shutil.copyfile(file, part)
            part.replace(copy)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise Refused(f"{copy} cannot be written: {error.strerror}") from error
        try:
            yield
        except BaseException:
            copy.unlink(missing_ok=True)
            raise

    def check(self, name: str, track: Track) -> list[Check]:
        """Check a version against the one that serves now.

        Raises:
            Refused: it cannot even be checked.
        """
        new, old = self._candidate(name), self.torchserve.default()
        archive = Archive.read(self.model_store / new.archive)
        checks = [check_weights(self.torchserve, name, archive)]
        if checks[0].passed:
            checks.append(check_golden(self.torchserve, name))
            checks += check_sample(self.torchserve, old.name, name, track)
        return checks

    def promote(self, name: str) -> str:
        """Make a version the default one, record it, and give the one before; that stays loaded for `rollback`.

        Raises:
            Refused: it cannot be.
        """
        new, old = self._candidate(name), self.torchserve.default()
        if not self.dry_run:
            self._switch(name, [*self.history.defaults(_record(old)), _record(new)])
        return old.name

    def rollback(self) -> tuple[str, str]:
        """Make the default before the last promotion the default again; give the one left and the one now serving.

        Raises:
            Refused: there is none, or it cannot answer.
        """
        current = self.torchserve.default()
        name = self.history.previous(_record(current))
        self._candidate(name)
        golden = check_golden(self.torchserve, name)
        if not golden.passed:
            raise Refused(f"version {name} does not answer as it should ({golden.finding}); promote names another")
        if not self.dry_run:
            self._switch(name, self.history.defaults(_record(current))[:-1])
        return current.name, name

    def try_out(self, name: str, kind: Kind, share: float) -> Trial:
        """Put a version on trial in the gateways that read the trial's file, or change its shares.

        Raises:
            Refused: it cannot be, does not answer as it should, or another one is on trial.
        """
        version = self._candidate(name)
        archive = Archive.read(self.model_store / version.archive)
        for check in (check_weights(self.torchserve, name, archive), check_golden(self.torchserve, name)):
            if not check.passed:
                raise Refused(f"version {name} is not put on trial: {check.name}: {check.finding}")
        return self.trial_file.begin(name, version.archive, kind, share, dry_run=self.dry_run)

    def check_trial(self, candidate: str, since: str) -> None:
        """See that what was shown was shown in the trial of now.

        Raises:
            Refused: that is another one, or there is none.
        """
        now = self.trial_file.read()
        if now is None or (now.candidate, now.since) != (candidate, since):
            what = f"version {now.candidate} since {now.since}" if now else "nothing"
            raise Refused(
                f"the gateway's figures are of version {candidate} since {since}, but {self.trial_file.path} has "
                f"{what} on trial: ask a gateway that reads this file (--gateway, GATEWAY_TRIAL_FILE)"
            )

    def end_trial(self, kind: Kind | None = None) -> Trial | None:
        """Take one share from the version on trial, or both; give what is left of the trial.

        Raises:
            Refused: nothing is on trial.
        """
        return self.trial_file.end(kind, dry_run=self.dry_run)

    def remove(self, name: str) -> None:
        """Unload a version once nothing comes to it any more, and delete the copy of its archive that `add` made.

        Raises:
            Refused: it is the default, is on trial, is still asked, or TorchServe removes none.
        """
        version = self.torchserve.version(name)
        if version.is_default:
            raise Refused(f"version {name} answers now: promote another one first, or roll back")
        self._check_not_on_trial(name)
        self.torchserve.check_model_api()
        if self.dry_run:
            return
        self._drain(name)
        self.torchserve.unregister(name)
        if version.archive == f"{MODEL_NAME}-{name}.mar":
            (self.model_store / version.archive).unlink(missing_ok=True)

    def scale(self, name: str | None, workers: int) -> Version:
        """Give a version, or the default one, this many workers, and wait until they answer.

        Raises:
            Refused: the default version, or one on trial, would have none.
            Failed: they did not start.
        """
        version = self.torchserve.version(name) if name else self.torchserve.default()
        if workers == 0 and version.is_default:
            raise Refused(f"version {version.name} answers now and would answer nothing: give it 1 worker or more")
        if workers == 0:
            self._check_not_on_trial(version.name)
        if not self.dry_run:
            if workers == 0:
                self._drain(version.name)
            self.torchserve.scale(version.name, workers)
            self._wait_for(
                lambda: _has_workers(self.torchserve.version(version.name), workers),
                f"version {version.name} does not have {workers} workers that answer; see TorchServe's log",
            )
        return version

    def _check_not_on_trial(self, name: str) -> None:
        trial = self.trial_file.read()
        if trial and trial.candidate == name:
            raise Refused(f"version {name} is on trial since {trial.since}: end that first (canary off, shadow off)")

    def _candidate(self, name: str) -> Version:
        """Describe a version that could become the default one, once a worker of it answers.

        Raises:
            Refused: it is the default already, has no workers, or they do not come up.
        """
        version = self.torchserve.version(name)
        if version.is_default:
            raise Refused(f"version {name} is the default already")
        if not version.workers:
            raise Refused(f"version {name} has no workers: scale 2 --version {name} gives it two")
        # After a start of the service the default version may answer some seconds before the others do.
        self._wait_for(
            lambda: self.torchserve.version(name).ready > 0,
            f"version {name} has no worker that answers; see TorchServe's log",
            Refused,
        )
        return version

    def _switch(self, name: str, defaults: list[Default]) -> None:
        """Make a version the default one, record the defaults that led to it, and end its trial.

        Raises:
            Refused: the trial's file is damaged, or the record or TorchServe does not take it; nothing was changed.
            Failed: it is the default, or was told to be, but something is left to be done.
        """
        trial = self.trial_file.read()
        with self.history.recording(defaults):  # by TorchServe's word alone: what fails later takes no record along
            self.torchserve.set_default(name)
        if trial and trial.candidate == name:
            try:
                self.trial_file.end()
            except Refused as error:
                raise Failed(f"version {name} is the default now, but still on trial: {error}") from error
        default = self.torchserve.default().name
        if default != name:
            raise Failed(
                f"TorchServe was told to make {name} the default, but that is {default}: is somebody else at it?"
            )

    def _drain(self, name: str) -> None:
        """Wait until nothing waits for a version and nothing has come to it for as long as an answer may take.

        TorchServe drops what waits for a version when that is removed. What a worker has in hand it does not tell, but
        kills one that has had something for longer.
        """
        seen = -1.0
        quiet_since = time.monotonic()

        def is_quiet() -> bool:
            nonlocal seen, quiet_since
            count, version = self.torchserve.requests_to(name), self.torchserve.version(name)
            if count != seen or version.pending:
                seen, quiet_since = count, time.monotonic()
            return time.monotonic() - quiet_since >= _longest_answer_seconds(version)

        self._wait_for(is_quiet, f"version {name} is still being asked by its number; nothing was changed", Refused)

    def _wait_for(self, condition: Callable[[], bool], otherwise: str, kind: type[Exception] = Failed) -> None:
        deadline = time.monotonic() + self.timeout_seconds
        while not condition():
            if time.monotonic() > deadline:
                raise kind(f"{otherwise} (waited {self.timeout_seconds:g} seconds, --timeout)")
            time.sleep(POLL_SECONDS)


def _longest_answer_seconds(version: Version) -> float:
    """Give the time after which TorchServe kills a worker of this version that has not answered."""
    return float(version.description["responseTimeout"])


def _record(version: Version) -> Default:
    return Default(version.name, version.archive)


def _all_ready(version: Version) -> bool:
    return version.ready >= max(version.workers, 1)


def _has_workers(version: Version, count: int) -> bool:
    return version.ready == len(version.description["workers"]) == count
