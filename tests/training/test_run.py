"""The whole recipe on small data: train, stop, resume, publish, evaluate."""

import io
import json
from dataclasses import replace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from torch.nn import functional

from handler.engine import Float32Engine
from model.classifier import Classifier
from model.efficientnet_lite import EfficientNetLite
from model.manifest import Manifest, sha256_of
from model.networks import load_network
from training import evaluate, finetune, photographs, plots, publish, run
from training.__main__ import main, prepare
from training.augment import generator_for
from training.compact import CompactSettings, CompactTraining
from training.data import DataError
from training.finetune import EARLIER, IMAGENET, NO_PHOTOGRAPHS, NO_TEACHERS, FinetuneSettings, FinetuneTraining
from training.pictures import png
from training.reference import ReferenceSettings, ReferenceTraining


@pytest.fixture
def console():
    return Console(file=io.StringIO())


@pytest.fixture
def compact(tmp_path):
    return CompactSettings(
        run=tmp_path / "run",
        epochs=3,
        batch_size=20,
        widths=(8, 16, 16),
        shift=2,
        hard_epochs=(2, 2),
        threads=1,
        install="never",
    )


@pytest.fixture
def served(tmp_path, photographs_zip):
    return FinetuneSettings(
        run=tmp_path / "run",
        photographs=photographs_zip,
        start=IMAGENET,
        teachers=NO_TEACHERS,
        variant=0,
        sides=(32, 64),
        epochs=2,
        side_epochs=(1, 1),
        served_side=96,
        batch_size=20,
        photograph_batch=4,
        unmixed_epochs=1,
        average=0.8,
        of_earlier=0.0,
        logit_offsets=(0.0,) * 10,
        hard_epochs=(2, 2),
        still_epochs=0,
        threads=1,
        install="never",
    )


@pytest.fixture
def reference(tmp_path):
    return ReferenceSettings(run=tmp_path / "run", epochs=3, batch_size=20, threads=1, install="never")


@pytest.fixture(params=["compact", "served", "reference"])
def settings(request):
    return request.getfixturevalue(request.param)


def start(settings, data, console):
    if isinstance(settings, FinetuneSettings):
        return FinetuneTraining(settings, data, console)
    if isinstance(settings, ReferenceSettings):
        return ReferenceTraining(settings, data, console)
    return CompactTraining(settings, data)


def weights(folder, epoch):
    return load_file(folder / "epochs" / f"{epoch:03}.safetensors")


def test_it_learns_what_is_easy(settings, tiny, console):
    more: dict[str, Any] = {"epochs": 6}
    if isinstance(settings, ReferenceSettings):
        more = {"epochs": 8}
    if isinstance(settings, FinetuneSettings):
        more = {"epochs": 4, "side_epochs": (1, 3), "lr": 2e-3}
    assert run.train(start(replace(settings, **more), tiny, console), console)
    rows = json.loads((settings.run / "progress.json").read_text())
    assert [row["epoch"] for row in rows] == list(range(1, more["epochs"] + 1))
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]
    assert rows[-1]["validation_accuracy"] > 0.5


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(settings, tiny, console, tmp_path, stop_after_steps):
    assert run.train(start(settings, tiny, console), console)

    stopped = replace(settings, run=tmp_path / "stopped")
    stop_after_steps(14)  # in the middle of the second epoch, which has ten steps
    assert not run.train(start(stopped, tiny, console), console)
    assert json.loads((stopped.run / "progress.json").read_text())[-1]["epoch"] == 1
    torch.rand(7)  # nothing may depend on the state of the global generator
    assert run.train(start(stopped, tiny, console), console)

    for name, value in weights(settings.run, settings.epochs).items():
        assert torch.equal(value, weights(stopped.run, settings.epochs)[name]), name
    assert (settings.run / "progress.json").read_text() == (stopped.run / "progress.json").read_text()


def test_a_run_can_start_from_the_weights_of_another(served, tiny, console, tmp_path):
    assert run.train(start(served, tiny, console), console)
    first = served.run / "epochs" / "002.safetensors"
    further = start(replace(served, run=tmp_path / "further", start=first), tiny, console)
    for name, value in load_file(first).items():
        assert torch.equal(further.network.state_dict()[name], value), name
    assert further.settings.as_json()["start"] == sha256_of(first)
    assert further.settings.as_json()["teachers"] == []
    assert further.notes() == {}
    (first.parent / "manifest.json").write_text(json.dumps({"sha256": sha256_of(first), "training": {"seconds": 60}}))
    behind = [{"sha256": sha256_of(first), "seconds": 60}]
    assert further.notes() == {"before": behind, "seconds": 60}
    (first.parent / "manifest.json").write_text(json.dumps({"sha256": "of others", "training": {"seconds": 60}}))
    assert further.notes() == {}
    assert run.train(further, console)

    (first.parent / "manifest.json").write_text(json.dumps({"sha256": sha256_of(first), "training": {"seconds": 60}}))
    first.write_bytes((tmp_path / "further" / "epochs" / "001.safetensors").read_bytes())
    assert further.notes()["before"] == behind  # by what it read, whatever lies there now
    with pytest.raises(run.ResumeError, match="start"):  # not the file that the run started from
        start(replace(further.settings), tiny, console).resume()


def test_weights_of_another_network_are_no_start(served, compact, tiny, console):
    run.train(start(replace(compact, epochs=1), tiny, console), console)
    other = compact.run / "epochs" / "001.safetensors"
    for wrong in ({"start": other}, {"teachers": (other,)}):
        with pytest.raises(DataError, match="has no weights of EfficientNet-Lite"):
            start(replace(served, **wrong), tiny, console)
    for missing in ({"start": other.with_name("none")}, {"teachers": (other, other.with_name("none"))}):
        with pytest.raises(ValueError, match="there is no file"):
            replace(served, **missing)


def test_weights_of_another_variant_are_no_start(served, tiny, console):
    assert run.train(start(served, tiny, console), console)
    with pytest.raises(DataError, match="weights of variant 0, not of 2"):
        start(replace(served, start=served.run / "epochs" / "002.safetensors", variant=2), tiny, console)


def test_teachers_are_learned_from(served, tiny, console, tmp_path):
    """With nothing but a teacher's answers as targets, one that has every label wrong is followed."""
    teacher = EfficientNetLite(0, 32)
    with torch.no_grad():
        teacher.classifier.weight.zero_()
        teacher.classifier.bias.copy_(torch.eye(11)[3] * 20)  # cats, whatever it sees
    path = tmp_path / "teacher.safetensors"
    run.save_weights(teacher, path)
    path.with_name("manifest.json").write_text(json.dumps({"sha256": sha256_of(path), "training": {"seconds": 9}}))
    settings = replace(served, teachers=(path,), taught=1.0, photographs=NO_PHOTOGRAPHS, lr=2e-3, mixed=0.0)
    training = start(settings, tiny, console)
    assert training.settings.as_json()["teachers"] == [sha256_of(path)]
    behind = {"before": [{"sha256": sha256_of(path), "seconds": 9}], "seconds": 9}
    assert training.notes() == behind
    both = start(replace(settings, start=path), tiny, console)
    assert both.notes() == behind  # once
    assert run.train(training, console)
    images, _ = run.tensors(tiny.validation)
    answers = run.outputs_of(training.kept(), images, 64).argmax(1)
    assert (answers == 3).float().mean() > 0.9


@pytest.mark.parametrize("share", [0.0, 0.75])
def test_teachers_are_asked_of_photographs_for_their_share(served, tiny, console, tmp_path, monkeypatch, share):
    """The rest stays the opinion of the network trained on ImageNet."""
    torch.manual_seed(1)
    path = tmp_path / "teacher.safetensors"
    run.save_weights(EfficientNetLite(0, 32), path)
    training = start(replace(served, teachers=(path,), taught_photographs=share), tiny, console)
    targets, answers = [], []
    teachers, cross_entropy = training.teachers, functional.cross_entropy

    def answer(pixels):
        answers.append(teachers(pixels))
        return answers[-1]

    def note_targets(outputs, wanted, **options):
        targets.append(wanted)
        return cross_entropy(outputs, wanted, **options)

    monkeypatch.setattr(training, "teachers", answer)
    monkeypatch.setattr(functional, "cross_entropy", note_targets)
    training.learn(torch.arange(20))
    of_photographs = targets[0][20:]
    assert of_photographs.shape == (4, 11)
    assert [len(each) for each in answers] == ([20, 4] if share else [20])  # what has no share takes no time
    rest = (of_photographs - share * answers[1]) / (1 - share) if share else of_photographs
    for row in rest:
        assert torch.isclose(row, training.photographs.targets, atol=1e-5).all(1).any()


def test_a_share_of_the_earlier_weights_stays_in_the_end(served, tiny, console, tmp_path):
    """Of the start and of teachers that are the same network, if no others are named; another's cannot be mixed."""
    for seed, (name, variant) in enumerate({"start": 0, "taught": 0, "other": 2}.items()):
        torch.manual_seed(seed)
        run.save_weights(EfficientNetLite(variant, 32), tmp_path / name)
    before = [load_file(tmp_path / name) for name in ("start", "taught")]
    knobs = {"start": tmp_path / "start", "teachers": (tmp_path / "other", tmp_path / "taught")}
    offsets = (0.0, 0.5, *[0.0] * 7, -1.0)
    shares: dict[str, dict[str, Any]] = {
        "none": {"of_earlier": 0.0},
        "some": {"of_earlier": 0.25, "logit_offsets": offsets},
        "named": {"of_earlier": 0.25, "earlier_weights": (tmp_path / "other", tmp_path / "taught")},
    }
    runs = [replace(served, run=tmp_path / f"{name}-run", **knobs, **share) for name, share in shares.items()]
    for settings in runs:
        assert run.train(start(settings, tiny, console), console)
    for epoch in (1, 2):
        without, mixed, named = (weights(settings.run, epoch) for settings in runs)
        for name, value in without.items():
            expected = [value, value]
            if epoch == 2 and value.is_floating_point():
                earlier = ((before[0][name] + before[1][name]) / 2, before[1][name])
                expected = [value.lerp(each, 0.25) for each in earlier]
                if name == "classifier.bias":
                    expected[0] += torch.tensor([*offsets, 0.0])
            assert torch.allclose(mixed[name], expected[0], atol=1e-6), name
            assert torch.allclose(named[name], expected[1], atol=1e-6), name


def test_the_runs_that_it_goes_on_with_come_first(monkeypatch, npz, tmp_path, console, stop_after_steps, capsys):
    """One command trains all there is from nothing, and goes on where it was stopped, in whichever run that was."""
    knobs = {"start": IMAGENET, "teachers": NO_TEACHERS, "install": "never"}
    taught = {"start": EARLIER, "teachers": (EARLIER,), "install": "never"}
    earlier = {"first": knobs | {"variant": 2}, "second": knobs | {"variant": 0}, "third": taught | {"variant": 0}}
    monkeypatch.setattr(finetune, "EARLIER_RUNS", earlier)
    arguments = "--epochs 1 --side-epochs 1 --sides 32 --served-side 32 --variant 0 --batch-size 50 --hard-epochs 2 1"
    arguments += " --still-epochs 0 --unmixed-epochs 0 --threads 1 --install never"
    command = ["training", "served", "--data", str(npz), "--run", str(tmp_path), *arguments.split()]
    monkeypatch.setattr("sys.argv", command)
    stop_after_steps(5)  # the first run has three steps
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 130
    assert f"the same command resumes {tmp_path / 'second'}" in capsys.readouterr().out.replace("\n", "")
    main()
    hashes = [sha256_of(tmp_path / name / "weights.safetensors") for name in earlier]
    third, last = (json.loads((folder / "manifest.json").read_text()) for folder in (tmp_path / "third", tmp_path))
    for document, before in ((third, hashes[:2]), (last, hashes)):
        settings = document["training"]["settings"]
        assert settings["start"] == before[-1]
        assert settings["teachers"] == settings["earlier_weights"] == before
        assert {each["sha256"] for each in document["training"]["before"]} == set(before)
    behind = {each["sha256"]: each for each in last["training"]["before"]}
    assert [behind[sha256]["settings"]["variant"] for sha256 in hashes] == [2, 0, 0]
    own = torch.load(tmp_path / "state.pt", weights_only=True)["progressed"]["seconds"]
    assert last["training"]["seconds"] == pytest.approx(third["training"]["seconds"] + own, abs=1)  # none twice
    assert [(row["run"], row["epoch"]) for row in last["history"]] == [(1, 1), (2, 2), (3, 3)]  # from the second on
    assert last["history"][:2] == third["history"]
    done = {name: (tmp_path / name / "manifest.json").stat().st_mtime_ns for name in earlier}
    main()  # what has been trained is left as it is
    assert done == {name: (tmp_path / name / "manifest.json").stat().st_mtime_ns for name in earlier}


@pytest.mark.parametrize(("side", "reduced"), [(64, 1.3), (128, 2.0), (160, 2.5)])
def test_photographs_are_shown_down_to_their_own_sharpness(served, tiny, console, side, reduced):
    """One of 64 pixels that fills the view is enlarged; reduced as far, each pixel of it is one of the view's."""
    training = start(replace(served, photographs=NO_PHOTOGRAPHS), tiny, console)
    assert training._photograph_views(side).reduced == reduced


def test_what_comes_first_must_be_there(served):
    assert not served.earlier()
    wanting = replace(served, start=EARLIER, variant=2)
    assert [each.run.name for each in wanting.earlier()] == [
        "lite0",
        "lite2",
        "taught-128",
        "taught-160",
        "taught-160-again",
        "taught-192",
        "taught-192-again",
        "corrected",
    ]
    assert len({each.seed for each in (wanting, *wanting.earlier())}) == 9
    with pytest.raises(ValueError, match="there is no file"):
        wanting.after([each.run / "weights.safetensors" for each in wanting.earlier()])


def test_a_variant_that_the_run_before_has_not_is_said_before_any_run(served):
    with pytest.raises(ValueError, match="variant must be 2, that of the run before, not 0"):
        replace(served, start=EARLIER)
    assert replace(served, teachers=(EARLIER,)).variant == 0  # teachers may be of any


def test_a_run_learns_from_those_trained_apart_and_from_the_latest(served, tmp_path):
    wanting = replace(served, start=EARLIER, teachers=(EARLIER,), variant=2)
    weights = [tmp_path / f"{each.run.name}.safetensors" for each in wanting.earlier()]
    for path in weights:
        path.touch()
    for done in range(2, len(weights) + 1):
        after = wanting.after(weights[:done])
        assert after.start == weights[done - 1]
        assert after.teachers == tuple(dict.fromkeys([*weights[:2], weights[done - 1]]))
        assert after.mixed_in == tuple(dict.fromkeys([*weights[:2], *weights[:done][-3:]]))
    named = replace(wanting, earlier_weights=(weights[0],))  # of the last run; it changes none before
    assert [each.as_json() for each in named.earlier()[:2]] == [each.as_json() for each in wanting.earlier()[:2]]
    assert named.after(weights).mixed_in == (weights[0],)
    for each in named.earlier()[2:]:
        assert each.earlier_weights == (EARLIER,)


def test_the_recipe_has_the_settings_of_the_served_weights():
    """The seed may be another; photographs and files of weights are named by what they hold."""
    served = Manifest.read().document["training"]["settings"]
    recipe = FinetuneSettings(start=IMAGENET, teachers=NO_TEACHERS).as_json()
    chosen = served.keys() - {"seed", "start", "teachers", "earlier_weights", "photographs"}
    assert {name: recipe[name] for name in chosen} == {name: served[name] for name in chosen}


@pytest.mark.parametrize("recipe", ["compact", "served"])
def test_hard_pictures_have_two_turns_in_the_hard_epochs(recipe, request, tiny, console):
    def finish_epoch():
        while training.progressed.step < training.steps_per_epoch:
            training.step()
        training.finish_epoch()

    training = start(request.getfixturevalue(recipe), tiny, console)
    everyone = list(range(len(tiny.train.labels)))
    half = len(everyone) // 2
    assert sorted(training.order().tolist()) == everyone

    finish_epoch()
    hard = sorted(training.hard.losses.topk(half).indices.tolist())
    order = training.order().tolist()
    assert sorted(order[:half]) == sorted(order[half:]) == hard
    training.step()
    assert training.order().tolist() == order  # though there are newer losses

    finish_epoch()
    assert sorted(training.order().tolist()) == everyone


def test_half_of_the_pictures_are_warped(compact, tiny, console):
    indices = torch.arange(20)
    still, warped = (
        start(replace(compact, warped=share), tiny, console).augmented(indices).flatten(1) for share in (0.0, 0.5)
    )
    assert torch.equal(still[10:], warped[10:])
    assert (still[:10] != warped[:10]).any(1).all()
    assert warped.min() >= 0
    assert warped.max() <= 255


def test_a_finished_run_is_left_as_it_is(compact, tiny, console):
    run.train(start(compact, tiny, console), console)
    before = (compact.run / "epochs" / "003.safetensors").stat().st_mtime_ns
    assert run.train(start(compact, tiny, console), console)
    assert (compact.run / "epochs" / "003.safetensors").stat().st_mtime_ns == before


def test_other_settings_do_not_continue_a_run(compact, tiny, console):
    run.train(start(replace(compact, epochs=1), tiny, console), console)
    with pytest.raises(run.ResumeError, match="epochs"):
        run.train(start(compact, tiny, console), console)


def test_other_photographs_do_not_continue_a_run(served, tiny, console, monkeypatch):
    def load(path, *_):
        pixels, targets = torch.zeros(2, 3, 64, 64, dtype=torch.uint8), torch.full((2, 11), 1 / 11)
        return photographs.Photographs(pixels, targets, torch.full((2,), photographs.UNNAMED), sha256=path.name)

    monkeypatch.setattr(photographs, "load", load)
    training = start(served, tiny, console)
    served.run.mkdir()
    training.save()
    assert training.decided_by()["photographs"] == served.photographs.name
    assert start(served, tiny, console).resume()
    for other in (served.photographs.with_name("others.zip"), NO_PHOTOGRAPHS):
        with pytest.raises(run.ResumeError, match=r"other settings \(photographs\)"):
            start(replace(served, photographs=other), tiny, console).resume()


def test_another_recipe_does_not_continue_a_run(compact, served, tiny, console):
    run.train(start(replace(compact, epochs=1), tiny, console), console)
    with pytest.raises(run.ResumeError):
        run.train(start(served, tiny, console), console)


def test_too_few_pictures_for_a_batch_are_said(settings, tiny, console):
    with pytest.raises(DataError, match="201"):
        start(replace(settings, batch_size=201), tiny, console)


def test_settings_are_saved_beside_the_results(compact, tiny, console):
    run.train(start(replace(compact, epochs=1), tiny, console), console)
    saved = json.loads((compact.run / "settings.json").read_text())
    assert saved["recipe"] == "compact"
    assert saved["settings"]["widths"] == [8, 16, 16]
    assert {"commit", "python", "libraries", "hardware"} == set(saved["made_by"])


def test_the_first_blocks_stand_still_in_the_last_epochs(served, tiny, console):
    training = start(replace(served, still_epochs=1, still_blocks=2), tiny, console)

    def moved_by_a_step():
        before = {name: value.clone() for name, value in training.network.state_dict().items()}
        training.step()
        after = training.network.state_dict()
        return {name for name, value in before.items() if not torch.equal(value, after[name])}

    assert moved_by_a_step() == set(training.network.state_dict())
    while training.progressed.step < training.steps_per_epoch:
        training.step()
    training.finish_epoch()
    still = ("stem.", "blocks.0.", "blocks.1.")
    assert moved_by_a_step() == {name for name in training.network.state_dict() if not name.startswith(still)}


def test_pictures_are_mixed_until_the_last_epochs(served, tiny, console):
    training = start(replace(served, mixed=1.0), tiny, console)
    pixels = torch.arange(20.0).view(20, 1, 1, 1).expand(20, 3, 32, 32)
    targets = torch.eye(20)
    mixed, mixed_targets = training._mix(pixels, targets, generator_for(1))
    shares = mixed_targets.diagonal()
    assert shares.min() >= 0.5
    assert shares.min() < 0.6
    torch.testing.assert_close(mixed_targets.sum(1), torch.ones(20))
    torch.testing.assert_close(mixed[:, 0, 0, 0], mixed_targets @ pixels[:, 0, 0, 0])

    training.progressed.epoch = 1
    for before, after in zip((pixels, targets), training._mix(pixels, targets, generator_for(1)), strict=True):
        assert torch.equal(before, after)


def test_the_kept_weights_are_an_average(served, tiny, console):
    training = start(replace(served, average=0.9), tiny, console)
    before = training.network.classifier.weight.detach().clone()
    run.train(training, console)
    kept, last = (each.classifier.weight.detach() for each in (training.kept(), training.network))
    assert not torch.equal(kept, last)
    assert (kept - before).norm() < (last - before).norm()


def test_validation_shows_whole_numbers_as_serving_does(served, tiny, console):
    training = start(served, tiny, console)
    images, _ = run.tensors(tiny.validation)
    shown = []
    with training.network.register_forward_pre_hook(lambda _, given: shown.append(given[0])):
        run.outputs_of(training.network, images, 64)
    pixels = torch.cat(shown)
    assert not torch.equal(run.resized(images, 64), pixels)
    assert torch.equal(run.resized(images, 64).round(), pixels)


@pytest.mark.parametrize(
    "arguments",
    [
        ["compact", "--epochs", "3x"],
        ["compact", "--no-such", "1"],
        ["compact", "--epochs", "0"],
        ["compact", "--widths", "1", "2"],
        ["compact", "--install", "maybe"],
        ["compact", "--limit", "-5"],
        ["compact", "--threads", "-1"],
        ["compact", "--shift", "32"],
        ["compact", "--cutout", "40"],
        ["compact", "--warped", "1.5"],
        ["compact", "--bias-lr", "0"],
        ["compact", "--head-lr", "0"],
        ["compact", "--momentum", "0"],
        ["compact", "--conv-lr", "-1"],
        ["compact", "--weight-decay", "-1"],
        ["compact", "--label-smoothing", "3"],
        ["compact", "--hard-epochs", "1", "5"],
        ["compact", "--hard-epochs", "3"],
        ["served", "--hard-epochs", "1", "5"],
        ["served", "--still-epochs", "20"],
        ["served", "--unmixed-epochs", "20"],
        ["served", "--still-blocks", "-1"],
        ["served", "--side-epochs", "1", "1"],
        ["served", "--sides", "64", "96", "100"],
        ["served", "--served-side", "100"],
        ["served", "--mixed", "-1"],
        ["served", "--taught", "1.1"],
        ["served", "--taught-photographs", "1.1"],
        ["served", "--corrected-photographs", "1.1"],
        ["served", "--of-earlier", "-0.1"],
        ["served", "--logit-offsets", "0.3"],
        ["served", "--teachers", "earlier", "none"],
        ["served", "--teachers", "imagenet"],
        ["served", "--variant", "1"],
        ["served", "--variant", "0"],
        ["served", "--photograph-batch", "0"],
        ["served", "--photographs-of-ten", "2"],
        ["served", "--average", "2"],
        ["served", "--lr", "-1"],
        ["served", "--lr", "nan"],
        ["served", "--weight-decay", "-1"],
        ["served", "--label-smoothing", "3"],
        ["served", "--detail", "0"],
        ["served", "--taught-side", "100"],
        ["reference", "--network", "AlexNet"],
        ["reference", "--network", "ResNet", "--no-dropout"],
        ["reference", "--network", "ResNet", "--pretrained"],
        ["reference", "--patience", "0"],
        ["reference", "--reduction", "-1"],
    ],
)
def test_a_wrong_setting_ends_with_a_sentence(arguments, console, capsys):
    with pytest.raises(SystemExit) as end:
        prepare(arguments[0], arguments[1:], console)
    assert end.value.code == 2
    assert "error:" in capsys.readouterr().err


@pytest.fixture
def published(compact, tiny, console, tmp_path, monkeypatch):
    """A run that is installed into folders of its own."""
    served = {"WEIGHTS_PATH": tmp_path / "weights.safetensors", "MANIFEST_PATH": tmp_path / "manifest.json"}
    for module in (publish, evaluate):
        for name, path in served.items():
            monkeypatch.setattr(module, name, path)
        monkeypatch.setattr(module, "PLOTS_FOLDER", tmp_path / "plots")
    read = Manifest.read
    monkeypatch.setattr(Manifest, "read", lambda path=served["MANIFEST_PATH"]: read(path))
    training = start(replace(compact, install="better"), tiny, console)
    run.train(training, console)
    publish.publish(training, console)
    return training, served


@pytest.mark.parametrize("what", ["loss", "accuracy"])
def test_curves_go_through_all_runs(what):
    places = ((1, 1), (1, 2), (2, 3), (3, 7))  # what an earlier run had before its last is not kept always
    shares = (0.5, 0.8, 0.9, 0.97)
    history = [
        {"run": run, "epoch": epoch, "validation_loss": 1 - share, "validation_accuracy": share}
        for (run, epoch), share in zip(places, shares, strict=True)
    ]
    manifest = {"version": "1.0", "sha256": "0" * 64, "history": history, "training": {"settings": {}, "epoch": 1}}
    figure = plots.curves(manifest, what)
    [axes] = figure.axes
    epochs = [np.asarray(line.get_xdata()).tolist() for line in axes.lines]
    assert epochs == [[1, 2], [3], [7], [2.5, 2.5], [6.5, 6.5]]  # the last two are where other runs begin
    drawn = [value for line in axes.lines[:3] for value in np.asarray(line.get_ydata())]
    assert drawn == pytest.approx([(100 if what == "accuracy" else 1) * (1 - share) for share in shares])
    assert axes.yaxis_inverted() == (what == "accuracy")  # the better is above, and has its accuracy for a tick
    assert axes.yaxis.get_major_formatter()(20, None) == ("80" if what == "accuracy" else "20")
    legend = axes.get_legend()
    assert legend
    [last, _] = [text.get_text() for text in legend.get_texts()]
    assert last == "validation, last " + ("97.00 %" if what == "accuracy" else "0.030")
    plt.close(figure)


def test_publishing_leaves_manifest_weights_and_plots(published, tmp_path):
    _, served = published
    document = json.loads(served["MANIFEST_PATH"].read_text())
    assert document["sha256"] == sha256_of(served["WEIGHTS_PATH"])
    assert document["metrics"]["test"]["pictures"] == 100
    assert document["training"]["settings"]["epochs"] == 3
    assert document["training"]["seconds"] >= 0
    assert document["network"]["multiply_accumulates"] > 0
    assert {"train_loss", "validation_accuracy", "test_loss", "test_accuracy"} < set(document["history"][-1])
    assert document["scope"]["sides"] == [8, 16, 24, 32]
    assert {len(row) for row in document["scope"]["quantiles"]} == {evaluate.SCOPE_LEVELS}
    assert document["metrics"]["validation"]["refused"] == pytest.approx(evaluate.SCOPE_THRESHOLD, abs=0.02)
    plots = {path.name for path in (tmp_path / "plots").iterdir()}
    names = ("loss", "accuracy", "confusion-matrix", "f1-by-class", "calibration", "mistakes")
    assert plots == {f"{name}.png" for name in names}


def test_the_manifest_says_how_many_pictures_were_trained_on(compact, tiny, console):
    training = start(replace(compact, epochs=1, limit=40), tiny, console)
    run.train(training, console)
    publish.publish(training, console)
    document = json.loads((compact.run / "manifest.json").read_text())
    assert document["data"] == {"train": 40, "validation": 100, "test": 100}


def change_served(served, **changes):
    """Write other things into the served manifest; gives it as it lies there then."""
    document = json.loads(served["MANIFEST_PATH"].read_text()) | changes
    served["MANIFEST_PATH"].write_text(json.dumps(document))
    return served["MANIFEST_PATH"].read_text()


def test_a_worse_run_does_not_replace_the_served_weights(published, console):
    training, served = published
    before = change_served(served, sha256="of others", metrics={"validation": {"accuracy": 1.01}})
    publish.publish(training, console)
    assert served["MANIFEST_PATH"].read_text() == before
    training.settings = replace(training.settings, install="always")
    publish.publish(training, console)
    assert served["MANIFEST_PATH"].read_text() != before


@pytest.mark.parametrize(("float32", "int8", "is_installed"), [(1.01, 0.0, False), (0.0, 1.01, True)])
def test_runs_are_compared_in_float32(published, console, float32, int8, is_installed):
    """Of served weights that were quantised the other figures are the 8-bit network's, which no run has yet."""
    training, served = published
    of_int8 = {"validation": {"float32_accuracy": float32, "accuracy": int8}}
    before = change_served(served, sha256="of others", int8=of_int8, metrics={"validation": {"accuracy": int8}})
    publish.publish(training, console)
    assert (served["MANIFEST_PATH"].read_text() != before) == is_installed


@pytest.mark.parametrize("install", ["better", "always"])
def test_publishing_what_is_served_already_changes_nothing(published, console, tmp_path, install):
    """What was made and measured of the weights since they were installed is still theirs."""
    training, served = published
    change_served(served, int8={"validation": {"float32_accuracy": 0.0}}, robustness={}, other_pictures={})
    for path in (tmp_path / "int8.onnx", tmp_path / "plots" / "robustness.png"):
        path.write_text("made of these weights")
    folders = (tmp_path, tmp_path / "plots")
    before = {path: path.read_bytes() for folder in folders for path in folder.iterdir() if path.is_file()}
    training.settings = replace(training.settings, install=install)
    publish.publish(training, console)
    assert {path: path.read_bytes() for folder in folders for path in folder.iterdir() if path.is_file()} == before
    assert "these weights are served already" in console.file.getvalue()


def test_evaluating_again_gives_the_same_bytes(published, tiny, tmp_path, monkeypatch):
    _, served = published
    files = [served["MANIFEST_PATH"], *(tmp_path / "plots").iterdir()]
    before = [path.read_bytes() for path in files]
    monkeypatch.setattr(evaluate, "load", lambda _: tiny)
    monkeypatch.setattr("sys.argv", ["evaluate"])
    evaluate.main()
    assert [path.read_bytes() for path in files] == before


def test_photographs_have_their_part_in_the_scope_threshold_and_keep_it(published, tiny, tmp_path, monkeypatch, capsys):
    _, served = published
    before = json.loads(served["MANIFEST_PATH"].read_text())["scope"]
    folder = tmp_path / "photographs"
    for index, label in enumerate(["cat", "dog", "none"] * 4):
        (folder / label).mkdir(parents=True, exist_ok=True)
        (folder / label / f"{index}.png").write_bytes(png(tiny.test.images[index] // 3))
    monkeypatch.setattr(evaluate, "load", lambda _: tiny)
    monkeypatch.setattr("sys.argv", ["evaluate", "--scope-photographs", str(folder)])
    evaluate.main()
    scope = json.loads(served["MANIFEST_PATH"].read_text())["scope"]
    assert scope["photographs"] == 8
    assert scope["sides"] == [*before["sides"], 48, 64]
    assert scope["quantiles"] != before["quantiles"]
    monkeypatch.setattr("sys.argv", ["evaluate"])  # on a machine that has no such photographs
    evaluate.main()
    assert json.loads(served["MANIFEST_PATH"].read_text())["scope"] == scope


def test_weights_that_are_not_the_manifests_are_said_loudly_and_nothing_is_written(published, tiny, monkeypatch):
    _, served = published
    served["WEIGHTS_PATH"].write_bytes(served["WEIGHTS_PATH"].read_bytes() + b"\x00")
    before = served["MANIFEST_PATH"].read_text()
    monkeypatch.setattr(evaluate, "load", lambda _: tiny)
    monkeypatch.setattr("sys.argv", ["evaluate"])
    with pytest.raises(SystemExit, match=r"(?s)!!!!.*SHA-256.*Nothing was written"):
        evaluate.main()
    assert served["MANIFEST_PATH"].read_text() == before


def test_the_served_recipe_leaves_a_manifest_that_serves(served, tiny, console, tmp_path):
    training = start(replace(served, epochs=1, sides=(64,), side_epochs=(1,)), tiny, console)
    run.train(training, console)
    publish.publish(training, console)
    manifest = Manifest.read(served.run / "manifest.json")
    network = load_network(manifest, served.run / "weights.safetensors")
    assert network.describe() == {"variant": 0, "side": 96}
    [answer] = Classifier(Float32Engine(network), manifest).answers(np.zeros((1, 11), np.float32), [32])
    assert len(answer["scores"]) == 10
