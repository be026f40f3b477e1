"""Plots of manifests: curves by epoch, confusion, F1, calibration, networks compared. Same manifests, same bytes."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl

mpl.use("agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from matplotlib.transforms import Bbox
from torch import Tensor

from model.classifier import class_logits
from model.labels import LABELS
from training.data import Split
from training.lineup import words

# Okabe and Ito's colours: told apart by colour-blind readers too.
COLOURS: Final = {"train": "#0072b2", "validation": "#e69f00", "test": "#009e73"}
ROBUSTNESS_PLOT: Final = "robustness.png"
NAMES: Final = {"train": "training (augmented)", "validation": "validation", "test": "test"}


def draw_all(manifest: dict[str, Any], folder: Path) -> list[Path]:
    """Draw every plot of a manifest's document into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    split = "test" if manifest["metrics"].get("test") else "validation"
    figures = {
        "loss.png": curves(manifest, "loss"),
        "accuracy.png": curves(manifest, "accuracy"),
        "confusion-matrix.png": confusion_matrix(manifest, split),
        "f1-by-class.png": f1_by_class(manifest, split),
        "calibration.png": calibration(manifest, split),
    }
    paths = []
    for name, figure in figures.items():
        figure.savefig(folder / name, dpi=110, metadata={"Software": None})
        plt.close(figure)
        paths.append(folder / name)
    return paths


def draw_robustness(manifest: dict[str, Any], folder: Path) -> Path:
    """Draw into `folder` how accurate the network of a manifest's document is on corrupted pictures."""
    figure = robustness(manifest)
    path = folder / ROBUSTNESS_PLOT
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)
    return path


def draw_mistakes(split: Split, outputs: Tensor, folder: Path, count: int = 40) -> Path:
    """Draw the pictures of a split misnamed most surely, by its calibrated outputs, shape (N, 10) or (N, 11)."""
    probabilities = class_logits(outputs).softmax(1)
    scores, answers = probabilities.max(1)
    scores[answers == torch.from_numpy(split.labels)] = 0
    figure, grid = plt.subplots(5, 8, figsize=(11, 8.2), layout="constrained")
    for axes, index in zip(grid.flat, scores.argsort(descending=True, stable=True)[:count].tolist(), strict=False):
        axes.set_axis_off()
        if scores[index]:
            axes.imshow(split.images[index], interpolation="nearest")
            said = f"{LABELS[int(answers[index])]}, {100 * float(scores[index]):.0f} %"
            axes.set_title(f"{said}\n(labelled {LABELS[split.labels[index]]})", fontsize=7)
    path = folder / "mistakes.png"
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)
    return path


def _caption(manifest: dict[str, Any]) -> str:
    name = words(**manifest["compared"]) if "compared" in manifest else f"cifar10 {manifest['version']}"
    return f"{name}, weights {manifest['sha256'][:12]}"


def curves(manifest: dict[str, Any], what: str) -> Figure:
    """Draw `loss` or `accuracy` by epoch, through all runs that the weights were trained in.

    Of several runs the later ones change little: mistakes and loss are drawn on a logarithmic scale then.
    """
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    history = manifest["history"]
    runs = [list(rows) for _, rows in groupby(history, lambda row: row.get("run", 1))]
    several = len(runs) > 1
    names = NAMES if manifest["training"]["settings"].get("augment", True) else NAMES | {"train": "training"}
    for split, colour in COLOURS.items():
        if any(f"{split}_{what}" not in row for row in history):
            continue
        for rows in runs:
            values = [row[f"{split}_{what}"] for row in rows]
            if what == "accuracy":
                values = [100 * (1 - value if several else value) for value in values]
            (line,) = axes.plot([row["epoch"] for row in rows], values, color=colour, marker=".")
        final = history[-1][f"{split}_{what}"]
        line.set_label(f"{names[split]}, last " + (f"{100 * final:.2f} %" if what == "accuracy" else f"{final:.3f}"))
    taken = manifest["training"].get("epoch", len(history))
    if not several and taken < len(history):
        axes.axvline(taken, color="black", linewidth=0.8, linestyle="--", label=f"weights taken, epoch {taken}")
    for rows in runs[1:]:
        label = "another run goes on" if rows is runs[-1] else None
        axes.axvline(rows[0]["epoch"] - 0.5, color="black", linewidth=0.8, linestyle=":", label=label)
    if several:
        axes.set_yscale("log")
        axes.margins(y=0.1)
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 - value if what == 'accuracy' else value:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
        if what == "accuracy":
            axes.invert_yaxis()
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")
    axes.set_ylabel("accuracy, %" if what == "accuracy" else "cross-entropy before calibration, nats")
    axes.set_title(f"{what.capitalize()} by epoch ({_caption(manifest)})", fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def confusion_matrix(manifest: dict[str, Any], split: str) -> Figure:
    """Draw how often each class was answered for each."""
    matrix = np.array(manifest["metrics"][split]["confusion"])
    errors = matrix * (1 - np.eye(len(LABELS), dtype=int))
    figure, axes = plt.subplots(figsize=(7, 6.2), layout="constrained")
    axes.imshow(errors, cmap="Oranges")  # the diagonal would drown the mistakes, which are what one looks for
    for row in range(len(LABELS)):
        for column in range(len(LABELS)):
            is_right = row == column
            dark = errors[row, column] > errors.max() * 0.6
            axes.text(
                column,
                row,
                matrix[row, column],
                ha="center",
                va="center",
                fontsize=9,
                fontweight="bold" if is_right else "normal",
                color="white" if dark else "black",
            )
    axes.set_xticks(range(len(LABELS)), LABELS, rotation=40, ha="right")
    axes.set_yticks(range(len(LABELS)), LABELS)
    axes.set_xlabel("answer")
    axes.set_ylabel("true class")
    axes.set_title(f"Confusion on {matrix.sum():,} {split} pictures ({_caption(manifest)})", fontsize=10)
    return figure


def f1_by_class(manifest: dict[str, Any], split: str) -> Figure:
    """Draw F1 by class, from zero so that lengths are true."""
    metrics = manifest["metrics"][split]
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    values = [100 * metrics["f1"][label] for label in LABELS]
    bars = axes.barh(LABELS, values, color=COLOURS["train"])
    axes.bar_label(bars, fmt="%.1f", padding=3)
    axes.invert_yaxis()
    axes.set_xlim(0, 110)
    axes.set_xlabel(f"F1 in %, macro average {100 * metrics['macro_f1']:.2f}")
    axes.set_title(f"F1 by class on {metrics['pictures']:,} {split} pictures ({_caption(manifest)})", fontsize=10)
    return figure


def calibration(manifest: dict[str, Any], split: str) -> Figure:
    """Draw how often answers of each confidence are right; on the diagonal they are as sure as they should be."""
    metrics = manifest["metrics"][split]
    confidence, right = (100 * np.array(each) for each in zip(*metrics["reliability"], strict=True))
    figure, axes = plt.subplots(figsize=(5.2, 5), layout="constrained")
    low = min(confidence.min(), right.min()) // 10 * 10
    axes.plot([low, 100], [low, 100], color="black", linewidth=0.8, label="as sure as right")
    axes.plot(confidence, right, color=COLOURS["train"], marker="o", label="bins of equal size")
    axes.set_xlabel("mean confidence in %")
    axes.set_ylabel("answered right in %")
    error = 100 * metrics["calibration_error"]
    axes.set_title(
        f"Calibration on {metrics['pictures']:,} {split} pictures, error {error:.2f} %\n({_caption(manifest)})",
        fontsize=10,
    )
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def robustness(manifest: dict[str, Any]) -> Figure:
    """Draw the accuracy on corrupted pictures, by corruption and severity, beside each corruption's mean."""
    figures = manifest["robustness"]
    names = list(figures["by_corruption"])
    shares = 100 * np.array([figures["by_corruption"][name] for name in names])
    cells = np.column_stack([shares, shares.mean(axis=1)])
    figure, axes = plt.subplots(figsize=(7, 7), layout="constrained")
    low = min(50, cells.min())
    axes.imshow(cells, cmap="Oranges_r", vmin=low, vmax=100, aspect="auto")
    for (row, column), share in np.ndenumerate(cells):
        axes.text(
            column,
            row,
            f"{share:.1f}",
            ha="center",
            va="center",
            fontsize=9,
            fontweight="bold" if column == cells.shape[1] - 1 else "normal",
            color="white" if share < low + 0.3 * (100 - low) else "black",
        )
    axes.axvline(shares.shape[1] - 0.5, color="black", linewidth=0.8)
    axes.set_xticks(range(cells.shape[1]), [*(f"severity {each + 1}" for each in range(shares.shape[1])), "mean"])
    axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    axes.set_title(
        f"Accuracy in % on corrupted test pictures, {100 * figures['accuracy']:.2f} on average\n({_caption(manifest)})",
        fontsize=10,
    )
    return figure


LABEL_HEIGHTS: Final = (4, -10, 16, -22, 28, -34, 40)
"""Points above a network at which its name is tried, until it covers no other's."""


def accuracy_against_time(points: Sequence[tuple[str, float, float]]) -> Figure:
    """Draw networks, as (name, milliseconds a picture, share answered right), by what they cost and what they give."""
    figure, axes = plt.subplots(figsize=(9, 5.5), layout="constrained")
    times = [milliseconds for _, milliseconds, _ in points]
    middle = (min(times) * max(times)) ** 0.5
    for _, milliseconds, accuracy in points:
        axes.scatter(milliseconds, 100 * accuracy, color=COLOURS["train"])
    axes.set_xscale("log")
    axes.margins(x=0.1)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("milliseconds a picture on one core (log scale)")
    axes.set_ylabel("accuracy on the test pictures, %")
    axes.set_title("Accuracy against time", fontsize=10)
    axes.grid(alpha=0.3, which="both")
    figure.draw_without_rendering()  # only now is known where everything lies
    taken: list[Bbox] = []
    for name, milliseconds, accuracy in points:
        side, gap = ("right", -6) if milliseconds > middle else ("left", 6)  # names stay inside
        place = (milliseconds, 100 * accuracy)
        label = axes.annotate(name, place, xytext=(gap, 0), textcoords="offset points", ha=side, fontsize=8)
        for height in LABEL_HEIGHTS:
            label.xyann = (gap, height)
            box = label.get_window_extent()
            if not any(box.overlaps(other) for other in taken):
                break
        taken.append(box)
    return figure
