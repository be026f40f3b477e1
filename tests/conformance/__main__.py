"""Write docs/conformance.md anew."""

import tempfile
from pathlib import Path

from model.manifest import Manifest
from tests.conformance.cases import run, table
from tests.conformance.test_conformance import DOCUMENT
from tests.service import Service

with tempfile.TemporaryDirectory() as folder, Service(Path(folder) / "log", TS_ENABLE_MODEL_API="true") as service:
    DOCUMENT.write_text(table(run(service, Manifest.read().version)))
print(DOCUMENT)
