"""Measure the served weights anew: `make evaluate`.

Every picture is written as PNG and goes through the functions that the handler calls, so these are the figures of the
service. Calibration and scope threshold come from validation data; the test set is only measured. Corrupted pictures
take long and are measured by themselves, with `--corruptions`.
"""

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from rich.console import Console
from rich.progress import track
from torch import Tensor

from handler.engine import open_engine
from model.classifier import Classifier, class_logits
from model.labels import LABELS
from model.manifest import MANIFEST_PATH, WEIGHTS_PATH, Manifest, WeightsError
from model.scope import Scope
from training import plots
from training.data import Cifar10, DataError, Split, load
from training.machine import use_machine
from training.metrics import auroc, fit_calibration, measure, scope_scores
from training.pictures import DRAWN, NONE, VARIED, Picture, drawn, photographs, png, shrunk
from training.robustness import measure_robustness
from training.run import tensors, write_json
from training.through_service import accuracy_through_service

SCOPE_THRESHOLD: Final = 0.07
"""Share of the pictures it is fitted on that `in_scope` refuses.

Chosen so that 95 % of the validation photographs of other things are refused.
"""
SCOPE_SIDES: Final = (8, 16, 24, 32, 48, 64)
"""Sides, in pixels, that pictures are shrunk to for a row of scores each; photographs in the last stay as they are."""
PHOTOGRAPHS_ALONE: Final = 128
"""Photographs' weight in a row is its side over this: half in the last, less the more a picture is like CIFAR-10's."""
SCOPE_LEVELS: Final = 101
"""Scores in a row, from the least to the highest."""
SHRUNK_PICTURES: Final = 1_000
"""How many validation pictures are shrunk below their own side."""
SMALL: Final = 32
"""Side, in pixels, that photographs are measured at once more."""
DRAWN_PICTURES: Final = 200
"""How many of each kind are drawn."""
PLOTS_FOLDER: Final = Path("plots")
NO_TEST_PICTURES: Final = "this source has no labelled test pictures; use the .npz or torchvision's download"


def classifier_of(manifest: Manifest, weights: Path) -> Classifier:
    """Build the classifier that the handler would on this machine, but for its threads.

    Raises:
        WeightsError: the weights are not those that the manifest describes.
    """
    engine, _ = open_engine(weights, manifest, torch.get_num_threads())
    return Classifier(engine, manifest)


def calibrated_outputs(classifier: Classifier, split: Split, console: Console, name: str) -> Tensor:
    """Classify a split as the service does, PNG bytes in: calibrated outputs, shape (N, 10) or (N, 11)."""
    return outputs_of_files(classifier, [png(image) for image in split.images], console, name)[0]


def sides_seen(split: Split) -> list[int]:
    """Give the side seen of each of a split's pictures, in pixels."""
    return [split.images.shape[1]] * len(split)


def outputs_of_files(
    classifier: Classifier, files: list[bytes], console: Console, name: str
) -> tuple[Tensor, list[int]]:
    """Classify pictures' files: calibrated outputs, shape (N, 10) or (N, 11), and the side seen of each, in pixels."""
    parts, seen = [], []
    batches = np.array_split(np.arange(len(files)), max(1, len(files) // 100))
    for batch in track(batches, f"classifying {name} pictures", console=console, transient=True):
        pictures = [classifier.read(files[index]) for index in batch]
        parts.append(classifier.outputs(pictures))
        seen += [picture.seen for picture in pictures]
    return torch.from_numpy(np.concatenate(parts)), seen


def of_the_ten(path: Path) -> list[Picture]:
    """Read the photographs in a folder or zip file that show one of the ten.

    Raises:
        DataError: there are none.
    """
    pictures = [picture for picture in photographs(path) if picture.label != NONE]
    if not pictures:
        raise DataError(f"{path} shows none of the ten, and a scope threshold is fitted on photographs of these")
    return pictures


def photographs_by_name(paths: list[Path]) -> dict[str, list[Picture]]:
    """Read the photographs in folders or zip files, by the names that the manifest gives them.

    Raises:
        DataError: there are none at one of the paths, or two would have the same name.
    """
    found: dict[str, list[Picture]] = {}
    for path in paths:
        name = f"{path.parent.name}/{path.name}"
        if name in found:
            raise DataError(f"two of the photographs' places would be called {name} in the manifest; rename one")
        found[name] = photographs(path)
    return found


def measured(
    document: dict[str, Any],
    weights: Path,
    data: Cifar10,
    console: Console,
    scope_photographs: list[Picture] | None = None,
) -> tuple[dict[str, Any], Tensor | None]:
    """Give `document` with calibration, scope and metrics made anew for the network at `weights`.

    Beside it the calibrated outputs for the test set, shape (N, 10) or (N, 11), if the data has one.

    What is in scope is judged by the scores of the validation set and of `scope_photographs`, which show one of the
    ten. Without any, what the document has of such photographs stays; where it was fitted under other conditions, that
    is said.

    Raises:
        WeightsError: the weights are not those that the document describes.
    """
    plain = document | {
        "calibration": {"temperature": 1.0},
        "scope": {"threshold": SCOPE_THRESHOLD, "sides": SCOPE_SIDES[-1:], "quantiles": [[0.0, 1.0]]},
    }
    manifest = Manifest.of(plain, "the manifest")
    classifier = classifier_of(manifest, weights)

    _, labels = tensors(data.validation)
    raw = calibrated_outputs(classifier, data.validation, console, "validation")
    made = {"calibration": fit_calibration(class_logits(raw), labels), "measured_with": classifier.engine.name}
    calibrated = Manifest.of(plain | made, "the manifest")
    classifier = Classifier(classifier.engine, calibrated)
    validation = torch.from_numpy(calibrated.calibration.applied(raw.numpy(), sides_seen(data.validation)))
    if not scope_photographs and document.get("scope", {}).get("photographs"):
        scope = _kept_scope(document, conditions(plain | made), console)
    else:
        files = [picture.data for picture in scope_photographs or []]
        scope = _fitted_scope(classifier, data.validation, validation, files, console)

    def figures_of(outputs: Tensor, split: Split) -> dict[str, Any]:
        refused = Scope.of(scope).refuses(outputs.numpy(), sides_seen(split))
        return measure(outputs, tensors(split)[1], refused=refused).as_json()

    metrics: dict[str, Any] = {"validation": figures_of(validation, data.validation)}
    test = None
    if len(data.test):
        test = calibrated_outputs(classifier, data.test, console, "test")
        metrics["test"] = figures_of(test, data.test)
    return plain | made | {"scope": scope, "metrics": metrics}, test


def conditions(document: dict[str, Any]) -> dict[str, Any]:
    """Name what the scores depend on that a manifest's figures are made of."""
    return {
        "engine": document.get("measured_with"),
        "int8": document.get("int8", {}).get("sha256"),
        "calibration": document["calibration"],
    }


def fitted_under(document: dict[str, Any]) -> dict[str, Any]:
    """Name the conditions under which the scope threshold was fitted: unless it says so, those of the other figures."""
    under: dict[str, Any] = document["scope"].get("fitted_under") or conditions(document)
    return under


def _kept_scope(document: dict[str, Any], now: dict[str, Any], console: Console) -> dict[str, Any]:
    """Give the scope that photographs had a part in, with the conditions of its fit where they are not those of now."""
    before = fitted_under(document)
    scope = {name: value for name, value in document["scope"].items() if name != "fitted_under"}
    if before == now:
        return scope
    console.print(
        f"the scope threshold stays as it was fitted with {before['engine']}, though {now['engine']} answers now or is "
        "calibrated otherwise; --scope-photographs fits it anew",
        highlight=False,
        soft_wrap=True,
    )
    return scope | {"fitted_under": before}


def drop_stale(document: dict[str, Any], before: dict[str, Any], console: Console) -> None:
    """Take the figures of other pictures out of a document if what was measured `before` is not what answers now."""
    if "other_pictures" not in document:
        return
    if (conditions(document), document["scope"]) != (conditions(before), before["scope"]):
        del document["other_pictures"]
        console.print(
            "the figures of other pictures go: they were measured with another engine, calibration or scope "
            "threshold; --photographs measures them anew",
            highlight=False,
            soft_wrap=True,
        )


def _fitted_scope(
    classifier: Classifier, validation: Split, outputs: Tensor, photographed: list[bytes], console: Console
) -> dict[str, Any]:
    """Describe the scores that pictures of the ten have at `SCOPE_SIDES`: validation pictures and photographs' files.

    `outputs` holds the calibrated outputs for the validation pictures.
    """
    own_side = validation.images.shape[1]

    def scores(files: list[bytes], side: int) -> npt.NDArray[Any]:
        smaller = [shrunk(data, side) for data in files] if side < SCOPE_SIDES[-1] else files
        return scope_scores(outputs_of_files(classifier, smaller, console, f"{side}-pixel")[0]).numpy()

    rows = {}
    for side in SCOPE_SIDES:
        if side >= own_side:
            values = scope_scores(outputs).numpy()
        else:
            values = scores([png(image) for image in validation.images[:SHRUNK_PICTURES]], side)
        weights = np.full(len(values), 1 / len(values))
        if photographed:
            share = side / PHOTOGRAPHS_ALONE
            values = np.concatenate([values, scores(photographed, side)])
            weights = np.concatenate([(1 - share) * weights, np.full(len(photographed), share / len(photographed))])
        elif side > own_side:
            break  # there is nothing larger to fit on
        rows[side] = np.quantile(values, np.linspace(0, 1, SCOPE_LEVELS), weights=weights, method="inverted_cdf")
    described: dict[str, Any] = {
        "threshold": SCOPE_THRESHOLD,
        "sides": list(rows),
        "quantiles": [[round(value, 4) for value in row.tolist()] for row in rows.values()],
    }
    return described | ({"photographs": len(photographed)} if photographed else {})


def _asked(
    classifier: Classifier, console: Console, files: list[bytes], name: str
) -> tuple[Tensor, npt.NDArray[np.bool_]]:
    """Classify pictures' files: calibrated outputs, shape (N, 10) or (N, 11), and which are refused, (N,)."""
    outputs, seen = outputs_of_files(classifier, files, console, name)
    return outputs, classifier.manifest.scope.refuses(outputs.numpy(), seen)


def measured_varied(document: dict[str, Any], weights: Path, split: Split, console: Console) -> dict[str, Any]:
    """Measure on a split's pictures in each way of `VARIED`.

    Raises:
        WeightsError: the weights are not those that the document describes.
    """
    classifier = classifier_of(Manifest.of(document, "the manifest"), weights)
    _, labels = tensors(split)
    figures = {}
    for name, vary in VARIED.items():
        files = [png(np.asarray(vary(Image.fromarray(image)))) for image in split.images]
        outputs, refused = _asked(classifier, console, files, name)
        every = measure(outputs, labels, refused=refused).as_json()
        figures[f"test pictures {name}"] = {kind: every[kind] for kind in ("pictures", "accuracy", "refused")}
    return figures


def measured_on_others(
    document: dict[str, Any], weights: Path, test: Tensor, others: dict[str, list[Picture]], console: Console
) -> dict[str, Any]:
    """Measure on pictures beside CIFAR-10: photographs, by name, and drawn pictures.

    `test` holds the calibrated outputs for the test set.

    Of photographs, accuracy on those of the ten classes, and how well the scope score tells these from the others, and
    the same with all of them shrunk to `SMALL` pixels; of these and of drawn pictures, how well it tells the test set
    from them.

    Raises:
        WeightsError: the weights are not those that the document describes.
    """
    classifier = classifier_of(Manifest.of(document, "the manifest"), weights)
    inside = scope_scores(test)
    asked = partial(_asked, classifier, console)
    figures: dict[str, Any] = {}
    for name, pictures in others.items():
        labels = [picture.label for picture in pictures]
        figures[name] = photograph_figures(*asked([picture.data for picture in pictures], name), labels)
        small = f"{name} at {SMALL} pixels"
        outputs, refused = asked([shrunk(picture.data, SMALL) for picture in pictures], small)
        figures[small] = photograph_figures(outputs, refused, labels)
        if outside := [index for index, label in enumerate(labels) if label == NONE]:
            figures[small]["auroc_of_test"] = round(auroc(inside, scope_scores(outputs[outside])), 4)
    for kind in DRAWN:
        outputs, refused = asked([picture.data for picture in drawn(kind, DRAWN_PICTURES)], kind)
        figures[kind] = {
            "others": len(outputs),
            "auroc_of_test": round(auroc(inside, scope_scores(outputs)), 4),
            "others_refused": round(float(refused.mean()), 4),
        }
    return figures


def photograph_figures(outputs: Tensor, refused: npt.NDArray[np.bool_], labels: list[str]) -> dict[str, Any]:
    """Give the figures of labelled photographs; `refused` says which were taken for none of the ten."""
    inside = torch.tensor([label != NONE for label in labels])
    right = class_logits(outputs).argmax(1) == torch.tensor([LABELS.index(x) if x != NONE else -1 for x in labels])
    by_class = {
        label: round(right[torch.tensor([each == label for each in labels])].double().mean().item(), 4)
        for label in LABELS
        if label in labels
    }
    scores = scope_scores(outputs)
    figures: dict[str, Any] = {"pictures": int(inside.sum()), "others": int((~inside).sum())}
    if by_class:
        figures["accuracy"] = round(right[inside].double().mean().item(), 4)
        figures["balanced_accuracy"] = round(sum(by_class.values()) / len(by_class), 4)
        figures["by_class"] = by_class
        figures["refused"] = round(float(refused[inside.numpy()].mean()), 4)
    if not inside.all():
        figures["others_refused"] = round(float(refused[~inside.numpy()].mean()), 4)
    if by_class and not inside.all():
        figures["auroc"] = round(auroc(scores[inside], scores[~inside]), 4)
    return figures


def report_others(figures: dict[str, Any], console: Console) -> None:
    """Print the figures of the pictures beside CIFAR-10."""
    for name, each in figures.items():
        parts = []
        if "accuracy" in each:
            classes = ", ".join(f"{label} {share:.1%}" for label, share in each.get("by_class", {}).items())
            named = f"{each['pictures']:,} of the ten, {each['accuracy']:.1%} named right"
            parts.append(f"{named} ({classes})" if classes else named)
            parts.append(f"{each['refused']:.1%} of them refused")
        if "auroc" in each:
            parts.append(f"AUROC against {each['others']:,} others {each['auroc']:.4f}")
        if "auroc_of_test" in each:
            parts.append(f"AUROC of test pictures against {each['others']:,} others {each['auroc_of_test']:.4f}")
        if "others_refused" in each:
            parts.append(f"{each['others_refused']:.1%} of the others refused")
        console.print(f"{name}: {', '.join(parts)}", highlight=False, soft_wrap=True)


def report(document: dict[str, Any], console: Console) -> None:
    """Print the figures."""
    for name, figures in document["metrics"].items():
        console.print(
            f"{name}: {figures['pictures']:,} pictures, accuracy {figures['accuracy']:.2%}, "
            f"macro F1 {figures['macro_f1']:.2%}, loss {figures['loss']:.4f}, "
            f"calibration error {figures['calibration_error']:.2%}, refused as out of scope {figures['refused']:.2%}",
            highlight=False,
            soft_wrap=True,
        )


def evaluate_corruptions(test: Split, limit: int, console: Console) -> None:
    """Measure the served weights on corrupted pictures; write the figures into the manifest, and draw them.

    With a `limit` that many pictures are measured, and the figures only printed.

    Raises:
        WeightsError: the weights are not those that the manifest describes.
    """
    served = Manifest.read()
    pictures = test.take(np.arange(min(limit or len(test), len(test))))
    figures = measure_robustness(served, WEIGHTS_PATH, pictures, console, kept=not limit)
    console.print(
        f"corrupted: mean accuracy {figures['accuracy']:.2%} over {len(figures['by_corruption'])} corruptions at "
        f"5 severities, {figures['pictures']:,} test pictures each",
        highlight=False,
        soft_wrap=True,
    )
    if not limit:
        document = served.document | {"robustness": figures}
        write_json(MANIFEST_PATH, document)
        console.print(f"drawn {plots.draw_robustness(document, PLOTS_FOLDER)}", highlight=False)


def main() -> None:
    """Evaluate the served weights; write their figures into the manifest and draw the plots."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--data", type=Path, default=Path("data"), help="as for training (default: data)")
    parser.add_argument(
        "--photographs",
        type=Path,
        nargs="*",
        default=[],
        help="folders or zip files of photographs lying as CLASS/NAME, CLASS being one of the ten or none",
    )
    parser.add_argument(
        "--scope-photographs",
        type=Path,
        help="a folder or zip file of such photographs: fit the scope threshold anew on those of the ten and on "
        "validation pictures; without it the threshold stays as photographs made it",
    )
    parser.add_argument("--version", help="the model's version from now on (default: it stays)")
    parser.add_argument(
        "--service",
        metavar="URL",
        help="send every test picture to a running service instead, as in http://127.0.0.1:8000",
    )
    parser.add_argument(
        "--corruptions",
        action="store_true",
        help="measure instead how accurate it is on corrupted test pictures (as CIFAR-10-C has them)",
    )
    parser.add_argument(
        "--limit", type=int, default=0, metavar="N", help="with --corruptions: N test pictures only, writing nothing"
    )
    options = parser.parse_args()
    if options.limit < 0 or (options.limit and not options.corruptions):
        parser.error(f"--limit {options.limit}: give a number of pictures, together with --corruptions")
    use_machine(threads=0)
    console = Console()
    try:
        data = load(options.data)
        if not len(data.test):
            raise DataError(NO_TEST_PICTURES)
        if options.corruptions:
            evaluate_corruptions(data.test, options.limit, console)
            return
        if options.service:
            accuracy, sha256 = accuracy_through_service(options.service, data.test, console)
            said = f"test: accuracy {accuracy:.2%} through {options.service}, weights {sha256}"
            console.print(said, highlight=False, soft_wrap=True)
            return
        # Read before anything is measured, so that what is wrong with them is said at once.
        scope_photographs = of_the_ten(options.scope_photographs) if options.scope_photographs else None
        others = photographs_by_name(options.photographs)
        before = Manifest.read().document
        versioned = {"version": options.version} if options.version else {}
        document, test = measured(before | versioned, WEIGHTS_PATH, data, console, scope_photographs)
        assert test is not None
        if others:
            document["other_pictures"] = measured_on_others(document, WEIGHTS_PATH, test, others, console)
            document["other_pictures"] |= measured_varied(document, WEIGHTS_PATH, data.test, console)
        else:
            drop_stale(document, before, console)
    except WeightsError as error:
        sys.exit(f"{'!' * 80}\ntraining.evaluate: {error}\nNothing was written.\n{'!' * 80}")
    except DataError as error:
        sys.exit(f"training.evaluate: {error}")
    report(document, console)
    if others:
        report_others(document["other_pictures"], console)
    write_json(MANIFEST_PATH, document)
    for path in [*plots.draw_all(document, PLOTS_FOLDER), plots.draw_mistakes(data.test, test, PLOTS_FOLDER)]:
        console.print(f"drawn {path}", highlight=False)


if __name__ == "__main__":
    main()
