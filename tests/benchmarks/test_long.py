"""Load for long, in seconds, on the real service; and the table."""

import json

import pytest

from benchmarks import long
from benchmarks.long import PARTS, RESULTS, growth, peaks


def test_a_short_run_measures_the_service(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["long", "--minutes", "0.1", "--output", str(tmp_path / "long.json")])
    long.main()
    document = json.loads((tmp_path / "long.json").read_text())
    assert document["errors"] == 0
    assert document["answered"] > 10
    assert len(document["peak_megabytes"]) == PARTS
    assert min(document["peak_megabytes"]) > 100
    assert f"{document['answered']:,} requests were answered and 0 were not" in (tmp_path / "long.md").read_text()


def test_peaks_are_of_tenths_of_the_time():
    samples = [(float(second), 1_000_000 * (100 + second)) for second in range(20) if second not in {4, 5}]
    found = peaks(samples, 20.0)
    assert found == [101, 103, 103, 107, 109, 111, 113, 115, 117, 119]
    assert growth({"peak_megabytes": found}) == pytest.approx(119 / 103)


def test_the_committed_table_is_that_of_the_committed_results(tmp_path):
    copy = tmp_path / RESULTS.name
    copy.write_bytes(RESULTS.read_bytes())
    assert long.write(copy).read_text() == RESULTS.with_suffix(".md").read_text()


def test_the_readme_states_the_committed_results():
    document = json.loads(RESULTS.read_text())
    readme = " ".join((RESULTS.parent.parent / "README.md").read_text().split())
    assert f"{document['answered']:,} requests were answered and {document['errors']} were not" in readme
    assert f"held {max(document['peak_megabytes']):,.0f} MB at most" in readme
    assert f"in the last minute {growth(document):.2f} times what they held in the third" in readme
