"""What operations say: tables and sentences for a person, one JSON object for a program."""

import json
from typing import Any

from rich.console import Console
from rich.table import Table

from operations.checks import Check
from operations.errors import OperationError
from operations.torchserve import Version
from operations.trial import Trial


class Report:
    """Gathers what an operation found and did; with `as_json` nothing is printed before the end."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.console = Console(soft_wrap=True, highlight=False)
        self.document: dict[str, Any] = {}

    def versions(self, rows: list[tuple[Version, dict[str, Any]]]) -> None:
        """Show versions, each with what its weights say of themselves, a row a version."""
        self.document["versions"] = [facts_of(version, weights) for version, weights in rows]
        table = Table("version", "", "workers", "waiting", "archive", "SHA-256 of weights", "accuracy")
        for version, weights in rows:
            accuracy = weights["accuracy"]
            table.add_row(
                version.name,
                "[bold green]default[/]" if version.is_default else "",
                f"{version.ready} of {version.workers}" if version.ready < version.workers else str(version.ready),
                str(version.pending),
                version.archive,
                (weights["sha256"] or "")[:12],
                f"{accuracy:.2%}" if accuracy is not None else "",
            )
        self._print(table)

    def version(self, version: Version, weights: dict[str, Any]) -> None:
        """Show one version in full."""
        self.document |= facts_of(version, weights) | {"torchserve": version.description}
        table = Table("", "value", show_header=False)
        for name, value in facts_of(version, weights).items():
            table.add_row(name.replace("_", " "), "" if value is None else str(value))
        for name in ("batchSize", "maxBatchDelay", "responseTimeout", "startupTimeout"):
            table.add_row(name, str(version.description[name]))
        for worker in version.description["workers"]:
            table.add_row(f"worker {worker['id']}", f"{worker['status']}, process {worker['pid']}")
        self._print(table)

    def checks(self, checks: list[Check]) -> None:
        """Show what the checks found."""
        self.document["checks"] = self.document.get("checks", []) + [
            {"name": check.name, "passed": check.passed, "finding": check.finding} for check in checks
        ]
        for check in checks:
            self._print(f"  {'[green]passed[/]' if check.passed else '[red]failed[/]'}  {check.name}: {check.finding}")

    def trial(self, trial: Trial | None, *, done: bool) -> None:
        """Say what is on trial now, or would be."""
        shares = {"canary_share": trial.canary_share, "shadow_share": trial.shadow_share} if trial else {}
        is_or_would = "is" if done else "would be"
        if trial is None:
            self.say(f"nothing {is_or_would} on trial", version=None, done=done)
            return
        parts = [f"answers {trial.canary_share:.0%} of the requests"] if trial.canary_share else []
        parts += [f"gets copies of {trial.shadow_share:.0%}"] if trial.shadow_share else []
        sentence = f"version {trial.candidate} {is_or_would} on trial: {' and '.join(parts)}; compare shows how it does"
        self.say(sentence, version=trial.candidate, done=done, **shares)

    def evidence(self, figures: dict[str, Any], verdict: str, checks: list[Check]) -> None:
        """Show what a trial has shown, and what the rules make of it."""
        self.document |= {"trial": figures, "verdict": verdict}
        table = Table("", f"version {figures['default'] or '?'}", f"on trial: {figures['candidate']}")
        seconds = figures["seconds"]
        for name in ("p50", "p95"):
            times = [seconds[role][name] for role in ("default", "candidate")]
            table.add_row(
                f"{name} of its answers", *("" if each is None else f"{1000 * each:.0f} ms" for each in times)
            )
        self._print(table)
        self._print(
            f"since {figures['since']}: asked {figures['asked']} requests, whose senders got its answer to "
            f"{figures['answered']}; {figures['failed']} failed; {figures['requests']} compared, no room for "
            f"{figures['dropped']}"
        )
        self.checks(checks)
        words = {
            "promote": "it may be promoted",
            "wait": "it has not shown enough yet",
            "end": "it should not be promoted",
        }
        self._print(f"{words[verdict]} (decide does what the rules say)")

    def say(self, sentence: str, **facts: Any) -> None:
        """Say what was done, and to programs the facts of it."""
        self.document |= facts
        self._print(sentence)

    def refuse(self, error: OperationError) -> None:
        """Say why it was not done: a person reads it among the errors, a program in the answer."""
        self.document |= {"done": False, "error": str(error)}
        if not self.as_json:
            Console(stderr=True, soft_wrap=True, highlight=False).print(f"operations: {error}", markup=False)

    def end(self) -> None:
        """Print the JSON object."""
        if self.as_json:
            print(json.dumps(self.document, indent=2))

    def _print(self, what: Any) -> None:
        if not self.as_json:
            self.console.print(what)


def facts_of(version: Version, weights: dict[str, Any]) -> dict[str, Any]:
    """Give what programs read about a version."""
    return {
        "version": version.name,
        "default": version.is_default,
        "workers": version.workers,
        "ready": version.ready,
        "pending": version.pending,
        "archive": version.archive,
    } | weights
