"""What goes with the weights: which network they belong to, how they are calibrated, what was measured with them."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from model.calibration import Calibration
from model.scope import Scope

WEIGHTS_PATH: Final = Path(__file__).parent / "weights.safetensors"
MANIFEST_PATH: Final = Path(__file__).parent / "manifest.json"
INT8_PATH: Final = Path(__file__).parent / "int8.onnx"


class WeightsError(Exception):
    """Weights or manifest are missing, damaged or do not belong together."""


@dataclass(frozen=True)
class Manifest:
    """The parts of `manifest.json` that answering needs; `document` is the whole of it."""

    version: str
    sha256: str
    detail: int
    calibration: Calibration
    scope: Scope
    document: dict[str, Any]

    @classmethod
    def read(cls, path: Path = MANIFEST_PATH) -> "Manifest":
        """Read a manifest.

        Raises:
            WeightsError: the file is missing, no JSON or lacks something.
        """
        try:
            document = json.loads(path.read_text())
        except OSError as error:
            raise WeightsError(f"there is no readable manifest at {path}") from error
        except ValueError as error:
            raise WeightsError(f"{path} is not JSON: {error}") from error
        return cls.of(document, str(path))

    @classmethod
    def of(cls, document: dict[str, Any], name: str) -> "Manifest":
        """Take the parts out of a manifest's document, which errors call `name`.

        Raises:
            WeightsError: it lacks something.
        """
        try:
            return cls(
                version=document["version"],
                sha256=document["sha256"],
                detail=document["input"]["detail"],
                calibration=Calibration.of(document["calibration"]),
                scope=Scope.of(document["scope"]),
                document=document,
            )
        except (KeyError, ValueError, TypeError) as error:
            raise WeightsError(f"{name} is not a manifest of this project: {error!r}") from error


def sha256_of(path: Path) -> str:
    """Hash a file.

    Raises:
        WeightsError: the file cannot be read.
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise WeightsError(f"there are no readable weights at {path}") from error
