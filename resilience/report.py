"""The trials' figures as Markdown."""

from typing import Any, Final

_NONE: Final = "none"


def markdown(results: dict[str, Any]) -> str:
    """Write the report of every kind of trial that there are figures of."""
    parts = ["# What became of requests when things went wrong", ""]
    parts += [
        "Made by `make chaos` and `make soak`; each request is a 32x32 PNG sent to the gateway, and an answer counts",
        "as such where it names the right class. 503 is a refusal with `Retry-After`.",
        "",
    ]
    for name, write in (
        ("faults", _faults),
        ("kills", _kills),
        ("overload", _overload),
        ("stop", _stop),
        ("soak", _soak),
    ):
        if name in results:
            made_by = f"At commit {results[name]['made_by']['commit'][:12]} on {results[name]['processor']}."
            parts += [*write(results[name]), made_by, ""]
    return "\n".join(parts)


def _outcomes(row: dict[str, Any]) -> str:
    return ", ".join(f"{count:,} {kind}" for kind, count in row["outcomes"].items())


def _seconds(value: float | None) -> str:
    return _NONE if value is None else f"{value:.1f} s"


def _faults(part: dict[str, Any]) -> list[str]:
    lines = [
        f"## One fault at a time, {part['rate']:g} requests a second",
        "",
        "The last failure is the last request without an answer that was sent after the fault was over, or after it",
        "began where it is over at once. `/readyz`: how much later than the first failure it said no, and how much",
        "later than the first answer after the last failure it said yes.",
        "",
        "| what | requests | longest | last failure | unready | ready |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in part["rows"]:
        figures = (
            row["longest_seconds"],
            row["back_seconds"],
            row["unready_after_seconds"],
            row["ready_after_seconds"],
        )
        lines.append(f"| {row['name']} | {_outcomes(row)} | {' | '.join(map(_seconds, figures))} |")
    return [*lines, ""]


def _kills(part: dict[str, Any]) -> list[str]:
    return [
        "## A worker of TorchServe killed again and again",
        "",
        f"{part['rate']:g} requests a second, half of what can be answered, for {part['seconds']:g} s; {part['kills']}",
        f"kills: {_outcomes(part)}: {100 * part['answered_share']:.3f} % answered. The last failure after a kill came",
        f"{part['back_seconds']:.1f} s after it at most; the longest answer took {part['longest_seconds']:.1f} s.",
        "",
    ]


def _overload(part: dict[str, Any]) -> list[str]:
    before, after = part["calm"], part["calm_after"]
    return [
        "## More than can be answered",
        "",
        f"At most {before['rate']:g} requests a second are answered before it, at {before['connections']} connections, "
        f"with p99 {before['p99_ms']:g} ms;",
        f"{after['rate']:g} after it, with {after['p99_ms']:g} ms. What follows is compared with their means.",
        f"{part['times']:g} times as many as before for {part['seconds']:g} s, {part['sent_rate']:g} a second:",
        f"{_outcomes(part)}. Answered: {100 * part['goodput_share']:.1f} % of the most; p99 {part['p99_ms']:g} ms,",
        f"{part['p99_times_calm']:g} times the calm one; a refusal cost {part['refusal_cpu_ms']:g} ms of the gateway's",
        f"CPU; the gateway held {part['gateway_memory_mb']:g} MB.",
        f"The load comes from a core of its own, of which it took {100 * part['sender_busy_share']:.0f} %; the service "
        "has the others.",
        "",
    ]


def _stop(part: dict[str, Any]) -> list[str]:
    return [
        "## A stop (SIGTERM) under load",
        "",
        f"{part['rate']:g} requests a second: {_outcomes(part)}; what was not accepted came after the stop, which took",
        f"{part['stop_seconds']:.1f} s.",
        "",
    ]


def _soak(part: dict[str, Any]) -> list[str]:
    counts = ("threads", "descriptors", "sockets", "files")
    parts = list(part["uses"][0]["memory_mb"])
    names = ["requests", "memory", *(f"of it {each}" for each in parts), *counts]
    lines = [
        "## Very many requests",
        "",
        f"{part['requests']:,} requests over {part['connections']} connections, {part['errors']} errors. What all",
        "processes of the service hold together (memory: proportional set size, MB; files: in their temporary folder):",
        "",
        f"| {' | '.join(names)} |",
        "|" + " --- |" * len(names),
    ]
    for use in part["uses"]:
        memory = [use["memory_mb"][each] for each in parts]
        values = [f"{use['requests']:,}", *(f"{each:.0f}" for each in (sum(memory), *memory))]
        lines.append(f"| {' | '.join(values + [str(use[each]) for each in counts])} |")
    return [*lines, ""]
