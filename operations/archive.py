"""What a `.mar` says of itself, checked before TorchServe sees it.

TorchServe registers a file that is no archive without complaint, keeps versions as floating-point numbers (1.1 and 1.10
are the same to it), and notices wrong weights only when a worker has been started.
"""

import hashlib
import json
import re
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from operations.errors import Refused
from operations.torchserve import MODEL_NAME

VERSION: Final = re.compile(r"(0|[1-9]\d{0,4})(\.\d{1,4})?")

WRONG_FORM: Final = (ValueError, KeyError, TypeError, AttributeError)
"""What looking into a JSON document of another form ends with."""


@dataclass(frozen=True)
class Archive:
    """An archive whose parts belong together."""

    path: Path
    version: str
    sha256: str  # of the weights
    accuracy: float | None  # on CIFAR-10's 5,000 validation pictures, as its manifest states it

    @classmethod
    def read(cls, path: Path) -> "Archive":
        """Read an archive and see that it is whole, of this model, and holds the weights that its manifest describes.

        Raises:
            Refused: it is not.
        """
        if not path.is_file():
            raise Refused(f"there is no file {path}; make archive packs one")
        try:
            with zipfile.ZipFile(path) as bundle:
                if damaged := bundle.testzip():
                    raise Refused(f"{path} is damaged at {damaged}: pack or copy it again")
                _check_names(path, bundle.namelist())
                described = json.loads(bundle.read("MAR-INF/MANIFEST.json"))["model"]
                manifest = json.loads(bundle.read("manifest.json"))
                sha256 = hashlib.sha256(bundle.read(described["serializedFile"])).hexdigest()
                if int8 := manifest.get("int8"):
                    _check_hash(
                        path, int8["file"], hashlib.sha256(bundle.read(int8["file"])).hexdigest(), int8["sha256"]
                    )
                return cls._of(path, described, manifest, sha256)
        except (OSError, zipfile.BadZipFile, zlib.error, RuntimeError, *WRONG_FORM) as error:
            raise Refused(
                f"{path} is not an archive that this project packed ({error}): python -m handler.archive makes one"
            ) from error

    @classmethod
    def _of(cls, path: Path, described: dict[str, Any], manifest: dict[str, Any], sha256: str) -> "Archive":
        if described["modelName"] != MODEL_NAME:
            raise Refused(f"{path} holds the model {described['modelName']}, not {MODEL_NAME}")
        version = described["modelVersion"]
        if not VERSION.fullmatch(version) or float(version) == 0:
            raise Refused(
                f"{path} holds version {version!r}, which TorchServe cannot tell from others: use a number such as 1.1"
            )
        if version != manifest["version"]:
            raise Refused(f"{path} calls itself {version}, but its manifest says {manifest['version']}: pack it anew")
        _check_hash(path, described["serializedFile"], sha256, manifest["sha256"])
        accuracy = manifest.get("metrics", {}).get("validation", {}).get("accuracy")
        return cls(path, version, sha256, accuracy)


def _check_hash(path: Path, file: str, found: str, described: str) -> None:
    if found != described:
        raise Refused(
            f"{file} in {path} has SHA-256 {found}, but its manifest describes {described}: do not use this archive; "
            "pack it anew from the run that made the weights"
        )


def _check_names(path: Path, names: list[str]) -> None:
    """See that nothing would be unpacked outside the archive's own folder."""
    for name in names:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise Refused(f"{path} would write outside its folder ({name}): do not use this file")
