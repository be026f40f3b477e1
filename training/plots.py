"""Plots of a manifest: loss and accuracy by epoch, confusion matrix, F1 by class. Same manifest, same bytes."""

from pathlib import Path
from typing import Any, Final

import matplotlib as mpl

mpl.use("agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from model.labels import LABELS

# Okabe and Ito's colours: told apart by colour-blind readers too.
COLOURS: Final = {"train": "#0072b2", "validation": "#e69f00", "test": "#009e73"}
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


def _caption(manifest: dict[str, Any]) -> str:
    return f"cifar10 {manifest['version']}, weights {manifest['sha256'][:12]}"


def curves(manifest: dict[str, Any], what: str) -> Figure:
    """Draw `loss` or `accuracy` by epoch."""
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    history = manifest["history"]
    epochs = [row["epoch"] for row in history]
    for split, colour in COLOURS.items():
        values = [row.get(f"{split}_{what}") for row in history]
        if None in values:
            continue
        scaled = [100 * value for value in values] if what == "accuracy" else values
        axes.plot(epochs, scaled, color=colour, label=f"{NAMES[split]}, last {scaled[-1]:.4g}", marker=".")
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
