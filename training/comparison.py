"""The comparison's table for people and for the gateway, from the manifests of its runs. Same manifests, same bytes."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from training.data import DataError
from training.lineup import words

BEGIN: Final = "<!-- make compare writes from here -->"
END: Final = "<!-- to here -->"
COLUMNS: Final = (
    *("network", "accuracy", "macro F1", "parameters", "million multiply-accumulates"),
    *("ms a picture", "minutes of training"),
)


@dataclass(frozen=True)
class Row:
    """One network's figures; accuracy and F1 are shares of the test pictures."""

    name: str
    title: str
    variant: str
    sha256: str
    accuracy: float
    macro_f1: float
    quantized: bool  # accuracy and F1 are of an 8-bit form
    parameters: int
    running_statistics: int | None  # of batch norm; older manifests do not say
    multiply_accumulates: int
    milliseconds: float
    measured_on: str
    minutes: int
    trained_on: str

    @classmethod
    def of(cls, name: str, document: dict[str, Any]) -> "Row":
        """Take a row out of a manifest of the comparison."""
        test, network, training = document["metrics"]["test"], document["network"], document["training"]
        return cls(
            name=name,
            title=document["compared"]["title"],
            variant=document["compared"]["variant"],
            sha256=document["sha256"],
            accuracy=test["accuracy"],
            macro_f1=test["macro_f1"],
            quantized="int8" in document,
            parameters=network["parameters"],
            running_statistics=network.get("running_statistics"),
            multiply_accumulates=network["multiply_accumulates"],
            milliseconds=document["speed"]["milliseconds"],
            measured_on=document["speed"]["hardware"],
            minutes=max(1, round(training["seconds"] / 60)),
            trained_on=training["made_by"]["hardware"],
        )

    @property
    def words(self) -> str:
        """Network and variant in words."""
        return words(self.title, self.variant)


def read(folder: Path) -> dict[str, dict[str, Any]]:
    """Read the manifests in a folder, by name.

    Raises:
        DataError: one of them is not a manifest of the comparison.
    """
    documents = {}
    for path in sorted(folder.glob("*.json")):
        try:
            documents[path.stem] = json.loads(path.read_text())
            Row.of(path.stem, documents[path.stem])
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path} is not a manifest of the comparison: {error!r}") from error
    return documents


def rows_of(documents: dict[str, dict[str, Any]]) -> list[Row]:
    """Give the rows, the most accurate first."""
    return sorted((Row.of(name, each) for name, each in documents.items()), key=lambda row: (-row.accuracy, row.name))


def section(rows: Sequence[Row], served: dict[str, Any]) -> str:
    """Write the README's table and the plot's address, in Markdown; `served` is the manifest of what is served."""
    if not rows:
        return "No network has been trained for the comparison yet; `make compare ARGS=--train` does."
    lines = [f"| {' | '.join(COLUMNS)} |", f"|{' --- |' * len(COLUMNS)}"]
    trained_on = sorted({row.trained_on for row in rows})
    for row in rows:
        mark = " (served)" if row.sha256 == served["sha256"] else ""
        statistics = f" + {row.running_statistics:,}" if row.running_statistics else ""
        cells = (
            f"[{row.words}](plots/{row.name}){mark}",
            f"{100 * row.accuracy:.2f} %",
            f"{100 * row.macro_f1:.2f} %",
            f"{row.parameters:,}{statistics}",
            f"{row.multiply_accumulates / 1e6:.0f}",
            f"{row.milliseconds:.2f}",
            f"{row.minutes:,}" + (f", {row.trained_on}" if len(trained_on) > 1 else ""),
        )
        lines.append(f"| {' | '.join(cells)} |")
    places = " or ".join(sorted({row.measured_on for row in rows}))
    quantized = "; ".join(row.words for row in rows if row.quantized)
    lines += [
        "",
        "Accuracy and F1 are of CIFAR-10's test pictures, one pass each; after + the running statistics of batch norm, "
        "which Keras counts too.",
        "Milliseconds are processor time of the network alone, the median of pictures one at a time, the "
        f"networks taking turns, on {places}.",
        *([f"Accuracy and F1 in 8 bits, milliseconds in float32: {quantized}."] if quantized else []),
        f"Minutes are the whole run's, on {' or '.join(trained_on)}, with whatever else the machine did meanwhile, so "
        "they compare roughly.",
        "",
        "![Accuracy against milliseconds](plots/comparison.png)",
    ]
    return "\n".join(lines)


def rewritten(readme: str, text: str) -> str:
    """Put `text` between the README's two marks.

    Raises:
        DataError: the marks are not there.
    """
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise DataError(f"README.md lacks the lines {BEGIN} and {END}, between which the table is written")
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"


def for_gateway(rows: Sequence[Row]) -> dict[str, Any]:
    """Give what the gateway's Model page shows."""
    return {"networks": [asdict(row) for row in rows]}
