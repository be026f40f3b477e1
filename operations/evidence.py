"""What a trial showed, from the /status.json of each gateway, and the rules by which it is judged."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import requests

from launcher.settings import Settings
from operations.checks import Check
from operations.errors import Refused, Unreachable

TIMEOUT_SECONDS: Final = 30


@dataclass(frozen=True)
class Rules:
    """When a trial is over; each is an option of the command."""

    least_pictures: int = 200  # below, nothing is judged but failures
    least_agreement: float = 0.95  # share of pictures with the same class from both
    most_shift: float = 0.05  # of the mean score, up or down
    most_times_slower: float = 2.0  # by the times that 95 % of the requests did not exceed
    most_failures: float = 0.01  # share of the requests put before the candidate
    least_asked: int = 20  # requests, below which failures are not judged


Verdict = Literal["promote", "wait", "end"]


def figures_of(settings: Settings, urls: Sequence[str]) -> dict[str, Any]:
    """Ask gateways, ours if none is named, what their trial has shown, and add it up.

    Raises:
        Refused: nothing is on trial at one, it does not let us in, or they do not try the same.
        Unreachable: one does not answer.
    """
    return together([_ask(url.rstrip("/")) for url in urls or [f"http://{settings.gateway_address}"]])


def together(gateways: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Add up what several gateways' trials have shown, as if one had had all requests.

    Raises:
        Refused: they do not try the same version beside the same, in the same trial.
    """
    first, *more = gateways
    if not more:
        return first
    for name in ("candidate", "default", "since"):
        tried = {each[name] for each in gateways if each[name]}
        if len(tried) > 1:
            raise Refused(f"the gateways have not the same {name}: {', '.join(sorted(tried))}. Ask each by itself")
    counts = ("asked", "failed", "answered", "dropped", "requests", "pictures", "agreed", "scored")
    added: dict[str, Any] = {name: sum(each[name] for each in gateways) for name in counts}
    shift = sum(each["score_shift"] * each["scored"] for each in gateways if each["scored"])
    times: dict[str, Counter[float]] = {role: Counter() for role in first["times"]}
    for each in gateways:
        for role, counted in each["times"].items():
            times[role].update(dict(counted))
    return (
        first
        | added
        | {
            "default": next((each["default"] for each in gateways if each["default"]), None),
            "agreement": added["agreed"] / added["pictures"] if added["pictures"] else None,
            "score_shift": shift / added["scored"] if added["scored"] else None,
            "seconds": {
                role: {"p50": _quantile(each, 0.5), "p95": _quantile(each, 0.95)} for role, each in times.items()
            },
            "times": {role: sorted(each.items()) for role, each in times.items()},
        }
    )


def _quantile(times: Counter[float], share: float) -> float | None:
    """Give the seconds that this share of the times did not exceed; None where there are none."""
    left = share * times.total()
    for seconds in sorted(times):
        left -= times[seconds]
        if left <= 0:
            return seconds
    return None


def _ask(url: str) -> dict[str, Any]:
    """Ask one gateway."""
    token = os.environ.get("GATEWAY_STATUS_TOKEN", "")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with requests.Session() as session:
            session.trust_env = False  # no proxy from the environment, which would make us somebody else
            response = session.get(f"{url}/status.json", headers=headers, timeout=TIMEOUT_SECONDS)
        figures = response.json().get("trial")
    except (requests.RequestException, ValueError) as error:
        raise Unreachable(
            f"no gateway answers at {url}: start it (make serve), or name it with --gateway or GATEWAY_PORT"
        ) from error
    if response.status_code in {401, 403}:
        raise Refused(
            f"{url}/status.json does not open: set GATEWAY_STATUS_TOKEN to the gateway's, or ask from its machine"
        )
    if not figures:
        raise Refused(f"nothing is on trial at {url}: canary VERSION --share 0.1 or shadow VERSION --share 0.1 begins")
    return dict(figures)


def judge(figures: dict[str, Any], rules: Rules) -> tuple[Verdict, list[Check]]:
    """Judge a trial: by failures as soon as there are a few requests, by the rest once there are enough pictures."""
    asked, failed = figures["asked"], figures["failed"]
    failing = asked >= rules.least_asked and failed > rules.most_failures * asked
    checks = [Check("failures", not failing, f"{failed} of {asked} requests")]
    if failing:
        return "end", checks
    pictures, least = figures["pictures"], max(rules.least_pictures, 1)  # of none there is nothing to judge
    enough = pictures >= least and asked >= rules.least_asked
    if not enough:
        needed = f"{least} pictures and {rules.least_asked} requests are needed"
        return "wait", [*checks, Check("evidence", False, f"{pictures} pictures of {asked} requests; {needed}")]
    agreement, shift = figures["agreement"], figures["score_shift"]
    seconds = figures["seconds"]
    slow, usual = (1000 * seconds[role]["p95"] for role in ("candidate", "default"))
    checks += [
        Check(
            "agreement",
            agreement >= rules.least_agreement,
            f"{agreement:.1%} of {pictures} pictures, {rules.least_agreement:.1%} are needed",
        ),
        Check(
            "score",
            shift is not None and abs(shift) <= rules.most_shift,
            "no picture was answered by both"
            if shift is None
            else f"{shift:+.3f} on the mean, {rules.most_shift:g} is allowed",
        ),
        Check(
            "latency",
            slow <= rules.most_times_slower * usual,
            f"95 % within {slow:.0f} ms, the default version {usual:.0f} ms; "
            f"{rules.most_times_slower:g} times is allowed",
        ),
    ]
    return ("promote" if all(check.passed for check in checks) else "end"), checks
