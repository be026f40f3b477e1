"""Table and plot from the committed results, and the ratios from figures that are known."""

import json
from typing import Any

import pytest

from benchmarks import report
from benchmarks.__main__ import CONNECTIONS, MANY, RESULTS
from benchmarks.pictures import KINDS
from training.run import write_json


def document():
    figures: dict[str, Any] = {
        "rate": 100.0,
        "p50": 5.0,
        "p95": 6.0,
        "p99": 7.0,
        "errors": 0,
        "cpu_seconds_per_1000": 2.0,
    }
    figures["peak_megabytes"] = 500.0
    rates = {"TorchServe": 90.0, "gateway": 70.0, "TorchServe as it comes": 10.0}
    values: list[dict[str, Any]] = [
        {"key": ["limit", "(2, 1, 8)"], "rate": 100.0},
        {"key": ["engine"], "milliseconds": 1.5},
    ]
    for connections in CONNECTIONS:
        values += [
            {"key": ["closed", name, str(connections)]} | figures | {"rate": rate} for name, rate in rates.items()
        ]
    values += [{"key": ["kind", kind]} | figures | {"rate": 60.0 / index} for index, kind in enumerate(KINDS, 1)]
    values += [{"key": ["many", str(count)]} | figures | {"rate": 85.0} for count in MANY]
    values += [{"key": ["open", name]} | figures for name in ("TorchServe", "gateway")]
    values += [{"key": ["cores", name, "1"]} | figures for name in ("TorchServe", "gateway")]
    return {
        "made_by": {"commit": "0123456789abcdef"},
        "cores": 2,
        "processor": "a processor",
        "engine": "an engine",
        "rounds": 3,
        "seconds": 4,
        "start_seconds": {"gateway": 3.0},
        "values": values,
    }


def test_the_ratios_are_of_the_best_of_each():
    results = report.Results(document())
    assert [value for _, value in results.ratios()] == pytest.approx([0.9, 0.7, 7.0, 0.85, 1.5])
    assert results.overhead() == pytest.approx(3.5)


def test_table_and_plot_are_made_of_the_results(tmp_path):
    path = tmp_path / "results.json"
    write_json(path, document())
    table, plot = report.write(path)
    assert "| TorchServe's throughput, of the limit | 0.90 |" in table.read_text()
    assert "with all, it shares them" in table.read_text()
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_the_committed_table_is_that_of_the_committed_results(tmp_path):
    copy = tmp_path / RESULTS.name
    copy.write_bytes(RESULTS.read_bytes())
    table, _ = report.write(copy)
    assert table.read_text() == RESULTS.with_suffix(".md").read_text()


def test_the_readme_states_the_committed_results():
    results = report.Results(json.loads(RESULTS.read_text()))
    readme = (RESULTS.parent.parent / "README.md").read_text()
    for words, figure in (
        ("TorchServe with this project's configuration, requests/s", results.best("closed", "TorchServe")),
        ("through the gateway, requests/s", results.best("closed", "gateway")),
        ("the limit: the same decoding and engine in bare loops, pictures/s", results.best("limit")),
        (
            "TorchServe as it comes with its own image classifier, same weights, requests/s",
            results.best("closed", "TorchServe as it comes"),
        ),
        ("64 pictures in one request through the gateway, pictures/s", results["many", "64"]["rate"]),
    ):
        assert f"| {words} | {figure:,.0f} |" in readme
    alone = results["closed", "gateway", "1"]["p50"]
    assert f"| one request alone through the gateway, median | {alone:.1f} ms |" in readme
    eight, one = (f"{results['many', count]['rate']:,.0f}" for count in ("8", "1"))
    assert f"two connections had {eight} pictures a second answered, singly {one}." in " ".join(readme.split())
