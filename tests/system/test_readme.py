"""What the README shows is run, and what it states is what was measured."""

import re
import shutil
import subprocess

import pytest
from PIL import Image

from gateway.problems import KINDS
from model.manifest import Manifest
from tests.service import ROOT

README = (ROOT / "README.md").read_text()
CURL_BLOCKS = [block for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL) if "curl" in block]


@pytest.mark.parametrize("block", CURL_BLOCKS, ids=range(len(CURL_BLOCKS)))
def test_its_curl_lines_work(service, tmp_path, block):
    shutil.copy(ROOT / "tests" / "photo.jpg", tmp_path / "photo.jpg")
    with Image.open(tmp_path / "photo.jpg") as image:
        image.save(tmp_path / "other.png")
    script = block.replace(".run/8000", str(service.run_folder))
    for default, variable in (
        ("8000", "GATEWAY_PORT"),
        ("8080", "TS_INFERENCE_PORT"),
        ("8081", "TS_MANAGEMENT_PORT"),
        ("8082", "TS_METRICS_PORT"),
    ):
        script = script.replace(f"127.0.0.1:{default}", f"127.0.0.1:{service.ports[variable]}")
    # --fail turns a status of 400 or more into an exit code, which ends the script.
    prelude = 'set -euo pipefail\ncurl() { command curl --silent --show-error --fail --max-time 30 "$@"; echo; }\n'
    done = subprocess.run(
        ["bash", "-c", prelude + script], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    pictures_sent = len(re.findall(r"@photo\.jpg|@other\.png", block))
    assert len(re.findall(r'"label": ?"cat", ?"score": ?[\d.]+, ?"in_scope"', done.stdout)) == pictures_sent


def test_its_table_has_every_status_of_the_api():
    listed = {int(status) for status in re.findall(r"^\| (4\d\d|5\d\d) \|", README, re.MULTILINE)}
    elsewhere = {401, 403, 404, 405, 416}  # of the status page, static files, and addresses and methods that are none
    assert listed == {kind.status for kind in KINDS.values()} - elsewhere


def test_make_help_lists_every_target():
    [targets] = re.findall(r"^\.PHONY: (.*?)\n\n", (ROOT / "Makefile").read_text(), re.DOTALL | re.MULTILINE)
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    listed = set(re.findall(r"make ([a-z-]+)", shown))
    assert set(targets.replace("\\\n", " ").split()) - {"help"} <= listed


def test_its_figures_are_the_manifests():
    document = Manifest.read().document
    metrics = document["metrics"]["test"]
    for name in ("accuracy", "macro_f1", "calibration_error", "refused"):
        assert f"{100 * metrics[name]:.2f} %" in README, name
    assert f"5 severities, mean | {100 * document['robustness']['accuracy']:.2f} % |" in README
    assert f"{document['network']['parameters']:,}" in README
    assert f"{document['network']['multiply_accumulates'] / 1e6:.0f} million" in README
    assert f"{document['training']['seconds'] / 60:.0f} minutes" in README
    hours = {11: "eleven", 12: "twelve", 13: "thirteen"}[round(document["training"]["seconds"] / 3600)]
    assert f"the served network, in some {hours} hours on two cores" in README
    photographs = document["other_pictures"]["outliers/validation.zip"]
    small = document["other_pictures"]["outliers/validation.zip at 32 pixels"]
    words = " ".join(README.split())
    assert (
        f"wrongly refuses {100 * document['metrics']['validation']['refused']:.1f} % of those pictures and "
        f"{100 * photographs['refused']:.1f} % of those photographs, and lets "
        f"{100 * (1 - photographs['others_refused']):.1f} % of the photographs of other things beside them through, "
        f"{100 * (1 - small['others_refused']):.1f} % where all are shrunk to 32 pixels"
    ) in words
