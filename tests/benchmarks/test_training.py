"""The kinds of training steps: how they are measured, and the table."""

import json

from benchmarks import training
from training.compact import CompactSettings


def test_a_short_run_measures_every_kind(tmp_path, monkeypatch):
    results = tmp_path / "training.json"
    monkeypatch.setattr("sys.argv", ["training", "--rounds", "1", "--seconds", "0.01", "--output", str(results)])
    monkeypatch.setattr(training, "use_machine", lambda _: None)
    monkeypatch.setattr(training, "CompactSettings", lambda: CompactSettings(batch_size=2))
    training.main()
    assert [row["key"] for row in json.loads(results.read_text())["values"]] == [
        [training.DIRECT],
        [training.WINOGRAD],
        [training.BFLOAT16],
    ]


def test_a_mean_is_over_whole_steps():
    taken = []
    assert training.mean_time(lambda: taken.append(1), 0.0) >= 0
    assert taken == [1]


def test_the_committed_table_is_that_of_the_committed_results():
    document = json.loads(training.RESULTS.read_text())
    assert training.table(document) == training.RESULTS.with_suffix(".md").read_text()
    rows = {row["key"][0]: row["seconds"] for row in document["values"]}
    readme = " ".join((training.RESULTS.parent.parent / "README.md").read_text().split())
    assert f"{rows[training.WINOGRAD] / rows[training.DIRECT]:.2f} of the time" in readme
