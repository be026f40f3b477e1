"""What is going on, for the operator: /status for a person, /status.json for a program.

It is open to this machine and to who has the token. The gateway knows what answers, how, and how fast; which other
versions TorchServe holds is told by its management API, which the gateway does not reach (`make models`).
"""

import hmac
import ipaddress
import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final, cast
from urllib.parse import urlsplit

from flask import Blueprint, Flask, Response, current_app, jsonify, render_template, request

from gateway.evidence import Evidence
from gateway.health import probe
from gateway.metrics import Metrics
from gateway.problems import KINDS, Problem
from gateway.recent import QUANTILES, SLOT_SECONDS, SLOTS, Slot, drift, total
from gateway.replicas import Replica
from gateway.settings import Settings
from gateway.timelines import Timeline, timeline
from gateway.torchserve import TorchServe
from gateway.trial import Trials

blueprint = Blueprint("status", __name__)

FORWARDED: Final = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP", "Via")
"""Headers of requests that somebody else passed on: their sender is not the machine that the connection comes from."""


def init_app(app: Flask) -> None:
    """Serve the page, and tell the other pages whether to link to it."""
    app.register_blueprint(blueprint)
    app.context_processor(lambda: {"status_is_open": _is_open()})


@blueprint.before_request
def check_access() -> None:
    """Let this machine in, and who has the token.

    Raises:
        Problem: 401 or 403.
    """
    if not _is_open():
        raise Problem("token-needed" if _settings().status_token else "not-from-here")


def _is_open() -> bool:
    return _has_token() or _is_from_this_machine()


def _has_token() -> bool:
    """Say whether the request has the token: as Bearer, or as the password that a browser asks a person for."""
    token, given = _settings().status_token, request.authorization
    if not token or given is None:
        return False
    offered = (given.token if given.type == "bearer" else given.password if given.type == "basic" else None) or ""
    return hmac.compare_digest(offered.encode(), token.encode())


def _is_from_this_machine() -> bool:
    """Say whether the connection itself comes from the loopback, to a name of the loopback, passed on by nobody.

    A proxy on this machine connects from the loopback for everybody. The name is looked at because a page of another
    site may have its own name stand for 127.0.0.1 (DNS rebinding), and because a proxy usually passes its own on.
    """
    environ = request.environ.get("werkzeug.proxy_fix.orig", request.environ)  # as it was before proxies were believed
    if any(name in request.headers for name in FORWARDED):
        return False
    try:
        host = urlsplit(f"//{request.headers.get('Host', '')}").hostname or ""
    except ValueError:
        return False
    return _is_loopback(environ.get("REMOTE_ADDR") or "") and (host == "localhost" or _is_loopback(host))


def _is_loopback(address: str) -> bool:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return (mapped or ip).is_loopback


@blueprint.get("/status")
def page() -> str:
    """Show what is going on."""
    slots = _metrics().recent.slots()
    return render_template(
        "status.html",
        status=state(slots),
        plots=plots(slots),
        titles={name: kind.title for name, kind in KINDS.items()},
    )


@blueprint.get("/status.json")
def document() -> Response:
    """Give the figures that the page shows."""
    return jsonify(state(_metrics().recent.slots()))


def state(slots: list[Slot]) -> dict[str, Any]:
    """Gather what is going on; times are in seconds, shares from 0 to 1, and what was not measured is null."""
    whole = total(slots)
    torchserve = cast(TorchServe, current_app.extensions["torchserve"])
    model = _model()  # has asked a replica, whose state is thereby known
    expectation = _metrics().expectation
    drifted = drift(whole, expectation) if expectation else None
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "window_seconds": SLOTS * SLOT_SECONDS,
        "model": model,
        "replicas": [_replica(each) for each in torchserve.replicas.known()],
        "requests": {
            "count": whole.requests,
            "failed": whole.failures,
            "seconds": {name: whole.seconds(quantile) for name, quantile in QUANTILES.items()},
        },
        "problems": dict(whole.problems.most_common()),
        "answers": {
            "pictures": whole.pictures,
            "labels": {label: whole.labels[label] for label in sorted(whole.labels)},
            "score": whole.score,
            "out_of_scope": whole.out_of_scope_share,
        },
        "validation": {
            "labels": expectation.label_shares,
            "score": expectation.score,
            "out_of_scope": expectation.out_of_scope_share,
        }
        if expectation
        else None,
        "drift": asdict(drifted) if drifted else None,
        "trial": _trial(),
    }


def plots(slots: list[Slot]) -> dict[str, Timeline]:
    """Draw the quarter of an hour; the last slot is left out, since it is not over."""
    over = slots[:-1]
    minute = 60 / SLOT_SECONDS
    return {
        "requests": timeline(
            {
                "all": [slot.requests * minute for slot in over],
                "failed": [slot.failures * minute for slot in over],
            },
            least_top=10,
        ),
        "seconds": timeline(
            {name: [_milliseconds(slot.seconds(share)) for slot in over] for name, share in QUANTILES.items()},
            least_top=10,
        ),
        "answers": timeline(
            {
                "score": [_percent(slot.score) for slot in over],
                "out-of-scope": [_percent(slot.out_of_scope_share) for slot in over],
            },
            least_top=100,
        ),
    }


def _model() -> dict[str, Any]:
    """Say which version answers now and what computes it, or why nothing does."""
    name = _settings().model_name
    outcome = probe()
    if isinstance(outcome, Problem):
        return {"name": name, "ready": False, "problem": outcome.as_dict()}
    _metrics().learn_of(outcome)
    return {
        "name": name,
        "ready": True,
        "version": outcome.version,
        "sha256": outcome.sha256,
        "engine": _metrics().engine,
    }


def _replica(replica: Replica) -> dict[str, Any]:
    out = max(0.0, replica.out_until - time.monotonic())
    return {
        "url": replica.url,
        "failures": replica.failures,  # in a row
        "left_out_seconds": round(out, 1),
        "waiting": replica.waiting,
    }


def _trial() -> dict[str, Any] | None:
    trials = cast(Trials, current_app.extensions["trials"])
    return cast(Evidence, current_app.extensions["evidence"]).document(trials.current())


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else 1000 * seconds


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _metrics() -> Metrics:
    return cast(Metrics, current_app.extensions["metrics"])


def _settings() -> Settings:
    return cast(Settings, current_app.extensions["settings"])
