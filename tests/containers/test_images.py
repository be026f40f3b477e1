"""What the images weigh, and that the documentation says it."""

import re

import pytest

from tests.containers.conftest import TAG, add_to_report, inspect, run
from tests.service import ROOT

SITE = "/opt/venv/lib/python3.11/site-packages"
PARTS = 6  # named in the report; the largest
MB = 1_000_000


def added(image: str) -> int:
    """Bytes of the layers that our own Dockerfile adds to its base."""
    lines = run("docker", "history", "--human=false", "--no-trunc", "--format", "{{.Size}} {{.CreatedBy}}", image)
    layers = [line.split(" ", 1) for line in lines.splitlines()]
    first = max(index for index, (_, by) in enumerate(layers) if "groupadd" in by)  # the newest layer comes first
    return sum(int(size) for size, _ in layers[: first + 1])


def largest(image: str) -> str:
    """Name what takes the most place."""
    script = f"du -sk {SITE}/* /opt/java 2>/dev/null | sort -rn | head -{PARTS}"
    lines = run("docker", "run", "--rm", "--entrypoint", "sh", image, "-c", script).splitlines()
    sizes = [line.split("\t") for line in lines]
    return ", ".join(f"{path.rpartition('/')[2]} {int(size) * 1024 / MB:.0f}" for size, path in sizes)


@pytest.mark.parametrize("name", ["cifar10-torchserve", "cifar10-gateway", "cifar10"])
def test_an_image_weighs_what_is_stated(images, name):
    image = f"{name}:{TAG}"
    if inspect(image)["Architecture"] != "amd64":
        pytest.skip("the stated sizes are those on amd64")
    size = added(image) / MB
    add_to_report("images.md", f"| `{name}` | {size:,.0f} MB | {largest(image)} |")
    table = (ROOT / "deploy" / "README.md").read_text()
    stated = re.search(rf"^\| `{name}` \| ([0-9,]+) MB", table, re.MULTILINE)
    assert stated
    assert size == pytest.approx(int(stated[1].replace(",", "")), rel=0.1)
