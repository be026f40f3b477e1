"""What goes with the weights: which network they belong to, how they are calibrated, what was measured with them."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError
from safetensors.torch import load_file

from model.network import Network, channels_last
from model.networks import build

WEIGHTS_PATH: Final = Path(__file__).parent / "weights.safetensors"
MANIFEST_PATH: Final = Path(__file__).parent / "manifest.json"


class WeightsError(Exception):
    """Weights or manifest are missing, damaged or do not belong together."""


@dataclass(frozen=True)
class Manifest:
    """The parts of `manifest.json` that answering needs; `document` is the whole of it."""

    version: str
    sha256: str
    detail: int
    temperature: float
    scope_threshold: float
    scope_quantiles: tuple[float, ...]
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
                temperature=document["calibration"]["temperature"],
                scope_threshold=document["scope"]["threshold"],
                scope_quantiles=tuple(document["scope"]["quantiles"]),
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


def load_network(manifest: Manifest, path: Path = WEIGHTS_PATH) -> Network:
    """Build the manifest's network with the weights at `path`, in evaluation mode.

    Raises:
        WeightsError: the weights are missing, damaged or not those that the manifest describes, or it describes no
            network of this project.
    """
    found = sha256_of(path)
    if found != manifest.sha256:
        raise WeightsError(f"{path} has SHA-256 {found}, but its manifest describes {manifest.sha256}")
    try:
        network = build(manifest.document["network"])
    except (KeyError, ValueError, TypeError) as error:
        raise WeightsError(f"the manifest describes no network of this project: {error!r}") from error
    try:
        network.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError) as error:
        raise WeightsError(f"{path} does not hold this network's weights: {error}") from error
    channels_last(network)
    network.eval()
    return network
