"""Look after the versions of the model in a running TorchServe."""

import argparse
import sys
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rich.console import Console
from rich.progress import track

from launcher.settings import Settings
from operations.errors import OperationError, Refused, Unreachable
from operations.evidence import Rules, figures_of, judge
from operations.keys import Keys
from operations.lock import held
from operations.report import Report
from operations.torchserve import TorchServe, Version, management_url
from operations.trial import Kind
from operations.versions import Versions


def arguments() -> argparse.ArgumentParser:
    """Describe the command line."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="print one JSON object")
    common.add_argument("--key-file", type=Path, help="TorchServe's keys (default: those of make serve)")
    changing = argparse.ArgumentParser(add_help=False, parents=[common])
    changing.add_argument("--dry-run", action="store_true", help="check everything, change nothing")
    changing.add_argument("--timeout", type=float, default=120, metavar="SECONDS", help="to wait for TorchServe (120)")

    parser = argparse.ArgumentParser(
        prog="python -m operations",
        description=__doc__,
        epilog="TorchServe is found by the variables that make serve reads (GATEWAY_PORT, TS_…). Exit codes: 0 done, "
        "1 refused or failed, 2 wrong arguments, 3 TorchServe is not there.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("list", parents=[common], help="show all versions")
    describe = commands.add_parser("describe", parents=[common], help="show one version in full")
    describe.add_argument("version", nargs="?", help="the default one if left out")
    add = commands.add_parser("add", parents=[changing], help="load an archive as another version")
    add.add_argument("file", type=Path, metavar="FILE.mar")
    promote = commands.add_parser("promote", parents=[changing], help="check a version and make it the default")
    promote.add_argument("version")
    promote.add_argument("--force", action="store_true", help="promote it though a check failed (never wrong weights)")
    commands.add_parser("rollback", parents=[changing], help="take the last promotion back")
    remove = commands.add_parser("remove", parents=[changing], help="unload a version that nobody asks any more")
    remove.add_argument("version")
    scale = commands.add_parser("scale", parents=[changing], help="set a version's number of workers")
    scale.add_argument("workers", type=_count, metavar="N")
    scale.add_argument("--version", help="the default one if left out")
    for name, what in (
        ("canary", "have a version answer a share of the gateway's requests, or `off`"),
        ("shadow", "have a version asked copies of a share of the gateway's requests, or `off`"),
    ):
        trial = commands.add_parser(name, parents=[changing], help=what)
        trial.add_argument("version", metavar="VERSION|off")
        trial.add_argument("--share", type=_share, default=0.1, help="from 0 to 1 (0.1)")
    gateway = argparse.ArgumentParser(add_help=False)
    gateway.add_argument(
        "--gateway",
        metavar="URL",
        nargs="+",
        default=[],
        help="whose figures, of several the sum (default: make serve's; see GATEWAY_STATUS_TOKEN)",
    )
    for name, default in asdict(Rules()).items():
        words = f"--{name.replace('_', '-')}"
        gateway.add_argument(words, type=type(default), default=default, metavar="N", help=f"({default:g})")
    commands.add_parser("compare", parents=[common, gateway], help="show what the trial has shown so far")
    commands.add_parser(
        "decide",
        parents=[changing, gateway],
        help="promote the version on trial or end the trial, by what it has shown",
    )
    return parser


def _share(text: str) -> float:
    value = float(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError("a number above 0, at most 1")
    return value


def _count(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 64:
        raise argparse.ArgumentTypeError("a number from 0 to 64")
    return value


def weights_of(torchserve: TorchServe, version: Version) -> dict[str, Any]:
    """Ask a version for its weights' hash and validation accuracy; None for each where no worker answers."""
    unknown = {"sha256": None, "accuracy": None}
    if not version.ready:
        return unknown
    try:
        manifest = torchserve.manifest(version.name)
    except (Unreachable, Refused):  # it hangs, or its queue is full: the others are still to be shown
        return unknown
    accuracy = manifest.document.get("metrics", {}).get("validation", {}).get("accuracy")
    return {"sha256": manifest.sha256, "accuracy": accuracy}


def look(options: argparse.Namespace, torchserve: TorchServe, report: Report) -> None:
    """Do what changes nothing: `list` and `describe`."""
    if options.command == "list":
        report.versions([(version, weights_of(torchserve, version)) for version in torchserve.versions()])
    else:
        version = torchserve.version(options.version) if options.version else torchserve.default()
        report.version(version, weights_of(torchserve, version))


def change(options: argparse.Namespace, versions: Versions, report: Report) -> None:
    """Do what changes something, or with `--dry-run` say that it could be done."""
    would, facts = ("would be", {"done": False}) if options.dry_run else ("is", {"done": True})
    match options.command:
        case "add":
            archive = versions.add(options.file)
            sentence = f"version {archive.version} {would} loaded; promote {archive.version} makes it the default"
            report.say(sentence, version=archive.version, sha256=archive.sha256, **facts)
        case "promote":
            examine(options, versions, report)
            old = versions.promote(options.version)
            sentence = f"version {options.version} {would} the default; rollback goes back to {old}"
            report.say(sentence, version=options.version, before=old, **facts)
        case "rollback":
            left, now = versions.rollback()
            report.say(f"version {now} {would} the default again, after {left}", version=now, before=left, **facts)
        case "remove":
            versions.remove(options.version)
            report.say(f"version {options.version} {would} removed", version=options.version, **facts)
        case "canary" | "shadow":
            try_out(options, versions, report, facts)
        case "scale":
            version = versions.scale(options.version, options.workers)
            sentence = f"version {version.name} {would} served by {options.workers} (before: {version.workers})"
            report.say(sentence, version=version.name, workers=options.workers, before=version.workers, **facts)


def try_out(options: argparse.Namespace, versions: Versions, report: Report, facts: dict[str, Any]) -> None:
    """Begin, change or end a trial."""
    kind: Kind = options.command
    off = options.version == "off"
    trial = versions.end_trial(kind) if off else versions.try_out(options.version, kind, options.share)
    report.trial(trial, **facts)


def decide(options: argparse.Namespace, settings: Settings, versions: Versions, report: Report) -> None:
    """Promote the version on trial, or end the trial, by what it has shown.

    Raises:
        Refused: it has not shown enough yet, it is not the one that is on trial here, or a check before the promotion
            failed.
    """
    rules = _rules(options)
    figures = figures_of(settings, options.gateway)
    versions.check_trial(figures["candidate"], figures["since"])
    verdict, checks = judge(figures, rules)
    report.evidence(figures, verdict, checks)
    candidate = figures["candidate"]
    if verdict == "wait":
        raise Refused(f"version {candidate} has not shown enough yet: the trial goes on")
    done = not options.dry_run
    if verdict == "end":
        versions.end_trial()
        failed = ", ".join(check.name for check in checks if not check.passed)
        sentence = f"the trial of version {candidate} {'is' if done else 'would be'} over: {failed}. The default stays"
        report.say(sentence, version=candidate, done=done)
        return
    options.version, options.force = candidate, False
    examine(options, versions, report)
    old = versions.promote(candidate)
    sentence = f"version {candidate} {'is' if done else 'would be'} the default; rollback goes back to {old}"
    report.say(sentence, version=candidate, before=old, done=done)


def _rules(options: argparse.Namespace) -> Rules:
    return Rules(**{name: getattr(options, name) for name in asdict(Rules())})


def examine(options: argparse.Namespace, versions: Versions, report: Report) -> None:
    """Check a version before it is promoted.

    Raises:
        Refused: a check failed, and `--force` was not given or does not help.
    """

    def follow(pictures: Iterable[Any]) -> Iterable[Any]:
        console = Console(stderr=True)
        what = f"asking version {options.version}"
        return track(pictures, what, console=console, transient=True, disable=not console.is_terminal)

    checks = versions.check(options.version, follow)
    report.checks(checks)
    failed = [check for check in checks if not check.passed]
    if not all(check.may_be_forced for check in failed):
        raise Refused(
            f"version {options.version} does not answer with its archive's weights: remove it and add it anew"
        )
    if failed and not options.force:
        names = ", ".join(check.name for check in failed)
        raise Refused(
            f"version {options.version} is not promoted: {names}. The default stays; --force promotes it still"
        )


def run(options: argparse.Namespace, report: Report) -> None:
    """Do one operation.

    Raises:
        OperationError: it was not done.
    """
    try:
        settings = Settings()
    except ValidationError as error:
        wrong = error.errors()[0]
        raise Refused(f"{str(wrong['loc'][0]).upper()}: {wrong['msg']}") from error
    if options.command == "compare":
        figures = figures_of(settings, options.gateway)
        report.evidence(figures, *judge(figures, _rules(options)))
        return
    key_file = options.key_file or settings.key_file
    torchserve = TorchServe(settings, Keys(key_file, management_url(settings)))
    with torchserve.session:
        if options.command in {"list", "describe"}:
            look(options, torchserve, report)
            return
        versions = Versions(torchserve, settings.ts_model_store, options.timeout, dry_run=options.dry_run)
        torchserve.default()  # a service that is not there is said before a lock that cannot be had
        with nullcontext() if options.dry_run else held(key_file.parent, options.command):
            if options.command == "decide":
                decide(options, settings, versions, report)
            else:
                change(options, versions, report)


def main() -> int:
    """Do one operation and say what came of it; the exit codes are in `--help`."""
    options = arguments().parse_args()
    report = Report(as_json=options.json)
    try:
        run(options, report)
    except OperationError as error:
        report.refuse(error)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    finally:
        report.end()
    return 0


if __name__ == "__main__":
    sys.exit(main())
