"""The trials: faults one by one, workers killed again and again, overload, a stop, long use."""

import contextlib
import os
import resource
import signal
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import cycle
from typing import Any, Final

import psutil

from benchmarks.load import Request, closed_loop, open_loop
from benchmarks.systems import Processes, load_apart
from gateway.settings import Settings
from resilience.stage import Readiness, Stage
from resilience.traffic import ANSWERED, PICTURE, REFUSED, Tally, Traffic, now

BEFORE_SECONDS: Final = 3.0
"""Undisturbed traffic before a fault."""
LEAST_SECONDS: Final = 5.0
CALM_SECONDS: Final = 3.0
"""A trial that may end early goes on so long after its fault at least, and until so long everything was answered."""
BUSY: Final = Settings().threads
"""Connections that keep everything busy: each of the gateway's threads has a request."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong, for `hold_seconds` or by itself, and the time that is watched afterwards."""

    name: str
    begin: Callable[[Stage], None]
    end: Callable[[Stage], None] = lambda _: None
    hold_seconds: float = 0.0
    watch_seconds: float = 12.0
    is_in_the_network: bool = False


def _kill_worker(stage: Stage) -> None:
    stage.workers()[0].kill()


def _suspend_worker(stage: Stage) -> None:
    stage.workers()[0].suspend()


def _kill_torchserve(stage: Stage) -> None:
    stage.all("ModelServer")[0].kill()


def _suspend_torchserve(stage: Stage) -> None:
    stage.all("ModelServer")[0].suspend()


def _kill_gateway(stage: Stage) -> None:
    stage.gateway_worker().kill()


def _limit_files(stage: Stage, size: int) -> None:
    for process in stage.processes.all():
        with contextlib.suppress(psutil.NoSuchProcess):
            _, most = process.rlimit(psutil.RLIMIT_FSIZE)
            process.rlimit(psutil.RLIMIT_FSIZE, (size, most))


def _fill_disk(stage: Stage) -> None:
    """Let no process write another byte to any file, as on a full disk; files are the logs here as well."""
    _limit_files(stage, 0)


def _empty_disk(stage: Stage) -> None:
    _limit_files(stage, resource.RLIM_INFINITY)


def _half_a_key_file(stage: Stage) -> None:
    """Leave half of the key file, and make the gateway need it: TorchServe writes a whole one when it is back."""
    stage.key_file.write_text(stage.key_file.read_text()[:40])
    _kill_torchserve(stage)


def _cut(stage: Stage) -> None:
    assert stage.proxy
    stage.proxy.cut()


def _delay(stage: Stage) -> None:
    assert stage.proxy
    stage.proxy.delay_seconds = 0.2


def _silence(stage: Stage) -> None:
    assert stage.proxy
    stage.proxy.is_silent = True


def _mend(stage: Stage) -> None:
    assert stage.proxy
    stage.proxy.mend()


FAULTS: Final = (
    Fault("a worker of TorchServe is killed", _kill_worker),
    Fault("a worker of TorchServe hangs", _suspend_worker, watch_seconds=25),
    Fault("TorchServe is killed", _kill_torchserve, watch_seconds=25),
    Fault("TorchServe is killed, half a key file is left", _half_a_key_file, watch_seconds=25),
    Fault("TorchServe hangs", _suspend_torchserve, watch_seconds=45),
    Fault("the gateway's worker is killed", _kill_gateway),
    Fault("the disk is full", _fill_disk, _empty_disk, hold_seconds=5),
    Fault("the network is cut", _cut, _mend, hold_seconds=4, is_in_the_network=True),
    Fault("the network is slow, 0.2 s a way", _delay, _mend, hold_seconds=5, is_in_the_network=True),
    Fault("the network swallows everything", _silence, _mend, hold_seconds=5, is_in_the_network=True),
)


def fault(stage: Stage, trouble: Fault, rate: float, *, ends_early: bool = False) -> Row:
    """Try one fault under steady traffic; `back_seconds` count from its end, or from its beginning if it has none.

    With `ends_early` it is watched until all is well again, `watch_seconds` at most. `calm_seconds` are those at the
    end of the traffic in which every request was answered.
    """
    stage.wait_until_ready()
    seconds = BEFORE_SECONDS + trouble.hold_seconds + trouble.watch_seconds
    traffic = Traffic(stage.url, rate, seconds)
    with Readiness(stage.gateway) as readiness, traffic as tally:
        time.sleep(BEFORE_SECONDS)
        began = now()
        trouble.begin(stage)
        time.sleep(trouble.hold_seconds)
        ended = now()
        trouble.end(stage)
        if ends_early:
            time.sleep(LEAST_SECONDS)
            traffic.end(CALM_SECONDS)
        else:
            time.sleep(trouble.watch_seconds)
    row: Row = {"name": trouble.name} | _counts(tally)
    row["longest_seconds"] = round(tally.longest, 2)
    row["back_seconds"] = round(tally.trouble_after(ended), 2)
    row["calm_seconds"] = round(tally.calm_seconds, 2)
    return row | _readiness(readiness, tally, began)


def _readiness(readiness: Readiness, tally: Tally, began: float) -> Row:
    """Compare `/readyz` with what became of requests: the seconds by which it was late to say no, and then yes."""
    failing = sorted(sent + took for sent, took, kind in tally.outcomes if sent >= began and kind != ANSWERED)
    said_no = readiness.first(False, began)
    if not failing or said_no is None:
        return {"unready_after_seconds": None, "ready_after_seconds": None}
    answered_again = [sent + took for sent, took, kind in tally.outcomes if kind == ANSWERED and sent > failing[-1]]
    said_yes = readiness.first(True, said_no)
    late = said_yes - min(answered_again) if said_yes and answered_again else None
    return {
        "unready_after_seconds": round(max(0.0, said_no - failing[0]), 2),
        "ready_after_seconds": None if late is None else round(max(0.0, late), 2),
    }


def _counts(tally: Tally) -> Row:
    return {"requests": len(tally), "outcomes": dict(tally.counts.most_common())}


def capacity(stage: Stage, seconds: float) -> Row:
    """Measure what the gateway answers at most, and its CPU time for each answer."""
    request = Request.post(stage.url, PICTURE, {"Content-Type": "application/octet-stream"})
    closed_loop(request, BUSY, 2.0)  # warms up
    gateway = Processes(stage.gateway_worker())
    before = gateway.cpu_seconds()
    measured = closed_loop(request, BUSY, seconds)
    spent = gateway.cpu_seconds() - before
    return {
        "connections": BUSY,
        "rate": round(measured.rate, 1),
        "p99_ms": round(measured.percentile(0.99), 1),
        "gateway_cpu_ms": round(1000 * spent / len(measured.latencies), 3),
    }


def kills(stage: Stage, rate: float, seconds: float, every: float, patience: float = 0.0) -> Row:
    """Kill a worker of TorchServe every so often, or later where the last one's successor is not ready yet.

    `patience` is by how many seconds it may be later, all in all.
    """
    stage.wait_until_ready()
    moments = []
    traffic = Traffic(stage.url, rate, seconds + patience)
    with traffic as tally:
        end = now() + seconds
        turns = cycle((0, -1))
        while now() + every < end:
            time.sleep(every)
            waited = stage.wait_until_whole(patience)
            patience, end = patience - waited, end + waited
            if workers := stage.workers():
                moments.append(now())
                with contextlib.suppress(psutil.NoSuchProcess):
                    workers[next(turns)].kill()
        time.sleep(max(0.0, end - now()))
        traffic.end()
    back = [tally.trouble_after(moment, moment + every) for moment in moments]
    return _counts(tally) | {
        "rate": round(rate, 1),
        "seconds": seconds,
        "kills": len(moments),
        "answered_share": round(tally.counts[ANSWERED] / len(tally), 5),
        "back_seconds": round(max(back, default=0.0), 2),
        "longest_seconds": round(tally.longest, 2),
    }


def overload(stage: Stage, times: float, seconds: float) -> Row:
    """Send several times what the service can answer, from a core of the load's own.

    It is compared with the mean of what was measured before and after, since machines do not stay equally fast.
    """
    stage.wait_until_ready()
    gateway = stage.gateway_worker()
    processes = Processes(gateway)
    tally = Tally()
    request = Request.post(stage.url, PICTURE, {"Content-Type": "application/octet-stream"})
    with load_apart(stage.processes):
        calm = capacity(stage, min(10.0, seconds))
        before, sender_before = processes.cpu_seconds(), time.thread_time()
        measured = open_loop(request, times * calm["rate"], seconds, note=tally.note)
        spent, sender_spent = processes.cpu_seconds() - before, time.thread_time() - sender_before
        after = capacity(stage, min(10.0, seconds))
    mean = {name: (calm[name] + after[name]) / 2 for name in ("rate", "p99_ms", "gateway_cpu_ms")}
    answered, refused = tally.counts[ANSWERED], tally.counts[REFUSED]
    for_refusals = spent - answered * mean["gateway_cpu_ms"] / 1000
    return _counts(tally) | {
        "calm": calm,
        "calm_after": after,
        "times": times,
        "seconds": seconds,
        "sent_rate": round(len(tally) / measured.seconds, 1),
        "sender_busy_share": round(sender_spent / measured.seconds, 3),
        "goodput_share": round(answered / measured.seconds / mean["rate"], 3),
        "p99_ms": round(1000 * tally.percentile(0.99), 1),
        "p99_times_calm": round(1000 * tally.percentile(0.99) / mean["p99_ms"], 2),
        "refusal_cpu_ms": round(1000 * max(0.0, for_refusals) / max(refused, 1), 3),
        "gateway_memory_mb": round(gateway.memory_info().rss / 1e6, 1),
    }


def stop(stage: Stage, rate: float) -> Row:
    """Ask the service to end while it is asked for answers; what it took in must be answered."""
    stage.wait_until_ready()
    traffic = Traffic(stage.url, rate, 12.0)
    with traffic as tally:
        time.sleep(4.0)
        began = now()
        os.kill(stage.processes.root.pid, signal.SIGTERM)
        psutil.wait_procs([stage.processes.root], timeout=40)
        took = now() - began
        traffic.end()
    return _counts(tally) | {"rate": round(rate, 1), "stop_seconds": round(took, 2)}


@dataclass(frozen=True)
class Use:
    """What the service's processes hold at one moment."""

    requests: int
    seconds: float
    memory_mb: dict[str, float]
    """By the part of the service."""
    threads: int
    descriptors: int
    sockets: int
    files: int


def soak(stage: Stage, requests: int, steps: int, say: Callable[[str], None]) -> Row:
    """Answer very many requests and look after each step what the processes hold."""
    stage.wait_until_ready()
    request = Request.post(stage.url, PICTURE, {"Content-Type": "application/octet-stream"})
    tally: dict[str, int] = {}
    uses = []
    began = now()
    done = 0
    closed_loop(request, BUSY, 5.0)  # warms up
    uses.append(_use(stage, 0, 0.0))
    while done < requests:
        goal = done + requests / steps
        while done < goal:
            measured = closed_loop(request, BUSY, 2.0)
            done += len(measured.latencies)
            tally["errors"] = tally.get("errors", 0) + measured.errors
        stage.processes.wait_until_idle()
        uses.append(_use(stage, done, now() - began))
        say(f"{done:,} of {requests:,} requests: {uses[-1]}")
    return {"requests": done, "connections": BUSY, "errors": tally["errors"], "uses": [asdict(use) for use in uses]}


def _use(stage: Stage, requests: int, seconds: float) -> Use:
    threads, descriptors, sockets = 0, 0, 0
    folders = set()
    for process in stage.processes.all():
        with contextlib.suppress(psutil.NoSuchProcess):
            threads += process.num_threads()
            descriptors += process.num_fds()
            sockets += len(process.net_connections("inet"))
            if folder := process.environ().get("TMPDIR"):
                folders.add(folder)
    # Each once: one part's folder is in another's.
    files = {f"{place}/{name}" for each in folders for place, _, names in os.walk(each) for name in names}
    memory = {part: round(held / 1e6, 1) for part, held in stage.processes.memory_by_part().items()}
    return Use(requests, round(seconds, 1), memory, threads, descriptors, sockets, len(files))
