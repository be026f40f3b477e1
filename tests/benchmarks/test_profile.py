"""Which library a sample counts for, a short profile of the real service, and the tables."""

import json
from collections import Counter

import pytest

from benchmarks import profile
from benchmarks.profile import RESULTS, WORDS, owner, shares

SITE = "/v/lib/python3.11/site-packages"


@pytest.mark.parametrize(
    ("frames", "name"),
    [
        (["run (/x/main/gateway/worker.py:5)", f"read ({SITE}/gunicorn/http/body.py:7)"], "gunicorn's loop and HTTP"),
        ([f"dispatch ({SITE}/flask/app.py:5)", "ask (/x/main/gateway/batching.py)"], "the gateway itself"),
        (["ask (/x/main/gateway/batching.py:9)", "wait (/p/lib/python3.11/threading.py:3)"], "the gateway itself"),
        ([f"go ({SITE}/structlog/_base.py:1)", f"unknown ({SITE}/more/x.py:1)"], "logging"),
        (["handle (/t/models/1/handler/engine.py:3)", f"run ({SITE}/onnxruntime/capi/x.py:1)"], "the engine"),
        (["handle (/t/models/1/classifier_handler.py:3)"], "the handler itself"),
        (["open (/t/models/1/model/images.py:3)", f"load ({SITE}/PIL/ImageFile.py:1)"], "decoding"),
        ([f"start ({SITE}/ts/model_service_worker.py:1)"], "TorchServe's worker"),
        ([f"validate ({SITE}/typing_extensions.py:1)"], "the rest"),
        (["<module> (<string>)", "no file"], "the rest"),
    ],
)
def test_a_sample_counts_for_the_innermost_library_that_is_known(frames, name):
    assert owner(";".join(frames)) == name


def test_samples_are_added_up():
    decoding, logging = f"a ({SITE}/PIL/Image.py:1)", f"b ({SITE}/structlog/x.py:2)"
    raw = f"{decoding} 3\n{decoding};{logging} 4\n{decoding};{decoding} 1\n"
    assert shares(raw) == {"decoding": 4, "logging": 4}


def test_a_part_is_shared_out_whole_and_without_samples_too():
    assert profile.shared_out(2.0, Counter(decoding=1, logging=3, metrics=0)) == {"logging": 1.5, "decoding": 0.5}
    assert profile.shared_out(0.02, Counter()) == {"the rest": 0.02}


def test_a_short_profile_of_the_service(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["profile", "--seconds", "3", "--output", str(tmp_path / "profile.json")])
    monkeypatch.setattr(profile, "WARM_UP_SECONDS", 0.5)
    monkeypatch.setattr(profile, "MANY", 8)  # of 64, a busy machine might not answer one request in three seconds
    try:
        profile.main()
    except SystemExit as error:
        if "py-spy cannot look" not in str(error):
            raise
        pytest.skip(str(error))  # not root
    document = json.loads((tmp_path / "profile.json").read_text())
    decoding, engine, torchserve, _ = document["alone"].values()  # what the gateway adds is a difference of two runs
    assert min(decoding, engine, torchserve) > 0
    systems = document["systems"]
    assert list(systems) == ["TorchServe", "gateway", profile.TOGETHER]
    for values in systems.values():
        assert list(values["milliseconds"]) == list(WORDS)
        workers = values["purposes"]["workers"]
        assert workers["the engine"] > workers.get("the handler itself", 0)  # a hundredth of the time: may be missed
        for part, purposes in values["purposes"].items():
            assert sum(purposes.values()) == pytest.approx(values["milliseconds"][part], abs=0.01)
    assert set(systems["gateway"]["purposes"]["gateway"]) - {profile.OTHER}  # some ten samples, of any library
    assert systems["gateway"]["milliseconds"]["gateway"] > systems["TorchServe"]["milliseconds"]["gateway"]
    assert "## gateway:" in (tmp_path / "profile.md").read_text()


def test_the_committed_tables_are_those_of_the_committed_results(tmp_path):
    copy = tmp_path / RESULTS.name
    copy.write_bytes(RESULTS.read_bytes())
    assert profile.write(copy).read_text() == RESULTS.with_suffix(".md").read_text()


def test_the_readme_states_the_committed_results():
    document = json.loads(RESULTS.read_text())
    systems = document["systems"]
    decode, engine_alone, torchserve, own = document["alone"].values()
    readme = (RESULTS.parent.parent / "README.md").read_text()
    workers = [values["purposes"]["workers"] for values in systems.values()]
    gateways = [values["purposes"]["gateway"] for values in list(systems.values())[1:]]
    java = [values["milliseconds"]["TorchServe"] for values in systems.values()]
    engine, decoding = ([each[what] for each in workers] for what in ("the engine", "decoding"))
    others = [sum(each.values()) - each["the engine"] - each["decoding"] for each in workers]
    lone = (
        f"takes {sum(document['alone'].values()):.1f} ms there: {decode + engine_alone:.1f} for decoding and engine, "
        f"{torchserve:.1f} in TorchServe, one of them to wait for others to join its batch, and {own:.1f} in the "
        "gateway"
    )
    assert lone in " ".join(readme.split())
    rows = {
        "the engine": engine,
        "decoding": decoding,
        "the rest of TorchServe's workers: sockets, the handler": others,
        "TorchServe's JVM": java,
    }
    for words, figures in rows.items():
        assert f"| {words} | {columns(figures)} |" in readme
    said = {
        "gunicorn's loop and HTTP": "gunicorn's loop and HTTP",
        "Flask and its extensions": "Flask and its extensions",
        "the gateway itself": "the gateway's own code",
    }
    for name, words in said.items():
        assert f"| {words} | | {columns(each[name] for each in gateways)} |" in readme
    rest = (sum(value for name, value in each.items() if name not in said) for each in gateways)
    assert f"| its HTTP client, logging, metrics | | {columns(rest)} |" in readme


def columns(figures):
    return " | ".join(f"{figure:.2f}" for figure in figures)
