"""A rollout while people ask without a pause, written down: `python -m tests.operations.demonstration`.

It makes docs/rollout.md, and fails if a request was lost or answered by another version than the one that it names.
"""

import tempfile
import time
from collections import Counter
from pathlib import Path

import requests

from tests.operations.conftest import BETTER, SERVED, command_on, cooler, copy_archive, pack_version
from tests.operations.traffic import PHOTO, Traffic
from tests.service import ROOT, Service, eventually

DOCUMENT = ROOT / "docs" / "rollout.md"
COMPARED = 60  # requests, before the trial is judged

STEPS = (
    ("list",),
    ("add", "FILE"),
    ("canary", BETTER, "--share", "0.25"),
    ("compare",),
    # The version has another temperature on purpose, and both share two cores with three senders.
    ("decide", "--least-pictures", str(COMPARED), "--most-shift", "0.2", "--most-times-slower", "5"),
    ("list",),
    ("rollback",),
    ("remove", BETTER),
    ("list",),
)


def status(service):
    return requests.get(f"{service.gateway}/status.json", timeout=30).json()


def wait_for_what_is_next(service, traffic, arguments):
    """Let people ask for a while before a step that needs that."""
    match arguments[0]:
        case "compare":
            eventually(lambda: ((status(service)["trial"] or {}).get("requests") or 0) >= COMPARED, 240)
        case "rollback":
            traffic.wait_for(BETTER)
        case "remove":
            traffic.wait_for(SERVED)


def transcript(service, traffic, file, truth):
    """Run the steps; gives lines of what was typed and what came."""
    lines = []
    for arguments in STEPS:
        wait_for_what_is_next(service, traffic, arguments)
        typed = " ".join(arguments).replace("FILE", f"cifar10-{BETTER}.mar")
        before = len(traffic.answers)
        done = command_on(service, *(str(file) if each == "FILE" else each for each in arguments))
        assert done.code == 0, done.out + done.err
        if arguments[0] == "add":
            truth[BETTER] = ask(service, BETTER)
        during = Counter(answer.version for answer in traffic.answers[before:])
        lines += [f'$ make models ARGS="{typed}"', *done.out.rstrip().splitlines()]
        lines += [f"# answered meanwhile: {counts(during)}", ""]
    return lines


def counts(versions):
    return ", ".join(f"{count:,} by {version}" for version, count in sorted(versions.items())) or "nothing"


def check(traffic, truth):
    """See that nothing was lost and that each answer has the score of the version that it names."""
    assert traffic.failures == []
    for answer in traffic.answers:
        assert answer.status == 200
        sha256, score = truth[answer.version]
        assert answer.sha256 == sha256
        assert all(abs(each - score) < 1e-4 for each in answer.scores)


def ask(service, version):
    """What a version itself says of the picture that everybody sends."""
    url = f"{service.inference}/predictions/cifar10/{version}"
    response = requests.post(url, data=PHOTO, headers=service.key("inference"), timeout=60)
    return response.headers["X-Model-SHA256"], response.json()["score"]


def run(folder):
    store = folder / "store"
    store.mkdir()
    served = pack_version(folder / "served.mar", SERVED)
    copy_archive(served, store / "cifar10.mar")
    better = pack_version(folder / f"cifar10-{BETTER}.mar", BETTER, change=cooler)
    began = time.monotonic()
    truth = {}
    with Service(
        folder / "log", TS_MODEL_STORE=str(store), TS_ENABLE_MODEL_API="true", GATEWAY_ANSWER_TIMEOUT_SECONDS="60"
    ) as service:
        truth[SERVED] = ask(service, SERVED)
        with Traffic(service) as traffic:
            traffic.wait_for(SERVED)
            lines = transcript(service, traffic, better, truth)
        check(traffic, truth)
    seconds = time.monotonic() - began
    return lines, traffic, seconds


def document(lines, versions, lost, seconds):
    """The page: the transcript and what was counted."""
    return "\n".join(
        [
            "# A rollout under load",
            "",
            f"While three senders asked without a pause, one TorchServe itself, two the gateway, version {BETTER}",
            "came, was tried on a quarter of the gateway's requests, became the default, and went again. It has the",
            f"weights of {SERVED} and another temperature, so that each answer tells by its scores which version gave",
            "it. Both are packed with their number in the file of the weights, so that each has a SHA-256 of its own,",
            "neither of them the manifest's. `python -m tests.operations.demonstration` writes this.",
            "",
            "```console",
            *lines[:-1],
            "```",
            "",
            f"{versions.total():,} requests were answered in {seconds:.0f} seconds, {counts(versions)}; each had the",
            f"scores and the hash of the version that it named. {lost} were lost.",
            "",
        ]
    )


def main():
    with tempfile.TemporaryDirectory() as folder:
        lines, traffic, seconds = run(Path(folder))
    versions = Counter(answer.version for answer in traffic.answers)
    DOCUMENT.write_text(document(lines, versions, len(traffic.failures), seconds))
    print(DOCUMENT)


if __name__ == "__main__":
    main()
