"""What the model card states is what the manifest holds."""

from model.manifest import MANIFEST_PATH, Manifest

CARD = (MANIFEST_PATH.parent / "README.md").read_text()
VARIED = "test pictures "


def test_its_figures_of_cifar10_are_the_manifests():
    metrics = Manifest.read().document["metrics"]
    for words, name in (
        ("accuracy", "accuracy"),
        ("macro F1", "macro_f1"),
        ("expected calibration error, 15 bins of equal mass", "calibration_error"),
        ("refused as out of scope", "refused"),
    ):
        figures = " | ".join(f"{100 * metrics[split][name]:.2f} %" for split in ("validation", "test"))
        assert f"| {words} | {figures} |" in CARD


def test_its_figures_of_other_pictures_are_the_manifests():
    for name, figures in Manifest.read().document["other_pictures"].items():
        if name.startswith(VARIED):
            continue
        file, at, size = name.partition(" at ")
        [row] = [line for line in CARD.splitlines() if line.startswith((f"| `{file}`{at}{size} |", f"| {name}, drawn"))]
        aurocs = " | ".join(f"{figures[kind]:.4f}" if kind in figures else "" for kind in ("auroc", "auroc_of_test"))
        assert f"| {aurocs} |".replace("|  |", "| |") in row
        assert f"{figures['others_refused']:.1%}".replace("%", " %") in row
        for label, share in figures.get("by_class", {}).items():
            assert f"{label} {100 * share:.1f} %" in row


def test_its_figures_of_varied_pictures_are_the_manifests():
    others = Manifest.read().document["other_pictures"]
    varied = {name.removeprefix(VARIED): figures for name, figures in others.items() if name.startswith(VARIED)}
    assert len(varied) > 1
    for name, figures in varied.items():
        shares = " | ".join(f"{100 * figures[share]:.2f} %" for share in ("accuracy", "refused"))
        assert f"| {name} | {shares} |" in CARD


def test_its_figures_of_corrupted_pictures_are_the_manifests():
    robustness = Manifest.read().document["robustness"]
    assert f"Of those 75 times {robustness['pictures']:,} pictures **{100 * robustness['accuracy']:.2f} %**" in CARD
    for name, shares in robustness["by_corruption"].items():
        cells = " | ".join(f"{100 * share:.1f}" for share in [*shares, sum(shares) / len(shares)])
        assert f"| {name.replace('_', ' ')} | {cells} |" in CARD


def test_its_figures_of_the_classes_are_the_manifests():
    metrics = Manifest.read().document["metrics"]["test"]
    for label, row in zip(metrics["f1"], metrics["confusion"], strict=True):
        right = row[list(metrics["f1"]).index(label)] / sum(row)
        assert f"| {label} | {100 * right:.2f} % |" in CARD


def test_it_says_which_runs_had_changes_that_were_not_committed():
    training = Manifest.read().document["training"]
    commits = [run["made_by"]["commit"] for run in [*training["before"], training]]
    assert [place - len(commits) for place, commit in enumerate(commits) if commit.endswith("-dirty")] == [-4, -3]
    words = "(with `-dirty` for two runs, the third and fourth last: they had changes that were not committed yet)"
    assert words in " ".join(CARD.split())
