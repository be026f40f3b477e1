"""Pack model-store/cifar10.mar: `make archive`.

torch-model-archiver assembles the archive's folder; it is zipped here because its own zip carries the time of day.
Same inputs, same bytes.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Final

from model.manifest import INT8_PATH, MANIFEST_PATH, WEIGHTS_PATH, Manifest, WeightsError, sha256_of

MODEL_NAME: Final = "cifar10"
ROOT: Final = Path(__file__).parent.parent
DEFAULT_ARCHIVE: Final = ROOT / "model-store" / f"{MODEL_NAME}.mar"
HANDLER_PACKAGE: Final = ("__init__.py", "engine.py", "kserve.py", "limits.py")
"""What the handler's own file imports from its folder."""
ZIP_EPOCH: Final = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip can state


def pack(archive: Path, weights: Path = WEIGHTS_PATH, manifest_path: Path = MANIFEST_PATH) -> None:
    """Write the `.mar` of weights and their manifest to `archive`, and its hash beside it, each whole or not at all.

    Who dies between the two leaves an archive and a hash that do not agree: it is not served, and packing again mends
    it. Where the manifest describes an 8-bit network, it lies beside the weights and is packed as well.

    Raises:
        WeightsError: the weights, or the 8-bit network, are not those of their manifest.
    """
    manifest = Manifest.read(manifest_path)
    if sha256_of(weights) != manifest.sha256:
        raise WeightsError(f"{weights} are not the weights that {manifest_path} describes; run make evaluate")
    int8 = weights.parent / INT8_PATH.name
    described = manifest.document.get("int8")
    if described and sha256_of(int8) != described["sha256"]:
        raise WeightsError(f"{int8} is not the network that {manifest_path} describes; run make quantize")
    with tempfile.TemporaryDirectory() as scratch:
        # The handler looks for them by these names.
        shutil.copyfile(weights, Path(scratch) / WEIGHTS_PATH.name)
        shutil.copyfile(manifest_path, Path(scratch) / MANIFEST_PATH.name)
        if described:
            shutil.copyfile(int8, Path(scratch) / INT8_PATH.name)
        folder = _assemble(Path(scratch), manifest)
        archive.parent.mkdir(parents=True, exist_ok=True)
        _zip(folder, archive)


def _assemble(scratch: Path, manifest: Manifest) -> Path:
    """Lay out the archive's folder; weights and manifest lie in `scratch`."""
    code = scratch / "code"
    for source in (*(ROOT / "model").glob("*.py"), *(ROOT / "handler" / name for name in HANDLER_PACKAGE)):
        packed = code / source.relative_to(ROOT)
        packed.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, packed)
    extra = [code, *(path for name in (MANIFEST_PATH.name, INT8_PATH.name) if (path := scratch / name).exists())]
    command = [
        *(sys.executable, "-c", "from model_archiver.model_packaging import generate_model_archive as main; main()"),
        *("--model-name", MODEL_NAME, "--version", manifest.version),
        *("--handler", str(ROOT / "handler" / "classifier_handler.py")),
        *("--serialized-file", str(scratch / WEIGHTS_PATH.name)),
        *("--config-file", str(ROOT / "handler" / "model-config.yaml")),
        *("--extra-files", ",".join(map(str, extra))),
        *("--archive-format", "no-archive", "--export-path", str(scratch)),
    ]
    # The archiver works in a folder named after the model below the temporary folder: give it one of its own.
    work = scratch / "work"
    work.mkdir()
    subprocess.run(command, check=True, env={"TMPDIR": str(work), "PATH": ""}, cwd=scratch)
    folder = scratch / MODEL_NAME
    mar_manifest = folder / "MAR-INF" / "MANIFEST.json"
    described = json.loads(mar_manifest.read_text())
    described["createdOn"] = "01/01/1980 00:00:00"  # TorchServe warns where it is missing; the time of day is no input
    mar_manifest.write_text(json.dumps(described, indent=2, sort_keys=True))
    return folder


def _zip(folder: Path, archive: Path) -> None:
    new = archive.with_suffix(".new")
    with zipfile.ZipFile(new, "w") as bundle:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), ZIP_EPOCH)
            entry.external_attr = 0o644 << 16
            bundle.writestr(entry, path.read_bytes())  # stored: weights do not compress, and starting is faster
    new_hash = hash_file(archive).with_suffix(".new")
    new_hash.write_text(f"{sha256_of(new)}  {archive.name}\n")
    new_hash.replace(hash_file(archive))
    new.replace(archive)  # last: make goes by its date


def hash_file(archive: Path) -> Path:
    """Name the file that holds an archive's SHA-256, in the form that sha256sum reads."""
    return archive.with_suffix(".mar.sha256")


def main() -> None:
    """Pack the archive."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--output", type=Path, default=DEFAULT_ARCHIVE)
    parser.add_argument("--weights", type=Path, default=WEIGHTS_PATH, help="other weights, such as those of a run")
    parser.add_argument("--manifest", type=Path, default=MANIFEST_PATH, help="their manifest")
    options = parser.parse_args()
    try:
        pack(options.output, options.weights, options.manifest)
    except WeightsError as error:
        sys.exit(f"handler.archive: {error}")
    print(f"{options.output}  {options.output.stat().st_size:,} bytes  SHA-256 {sha256_of(options.output)}")


if __name__ == "__main__":
    main()
