"""The push of the release workflow, to a registry on this machine."""

import shutil
import subprocess

import pytest
import requests

from tests.containers.conftest import run
from tests.service import answers, eventually, free_ports

CONFIG = """
version: 0.1
storage: {{filesystem: {{rootdirectory: {folder}}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""


@pytest.fixture
def registry(tmp_path):
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("no docker-registry here; Debian's package of that name has it")
    port = free_ports()["GATEWAY_PORT"]
    config = tmp_path / "config.yml"
    config.write_text(CONFIG.format(folder=tmp_path / "images", port=port))
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([program, "serve", str(config)], stdout=log, stderr=log)
    try:
        eventually(lambda: answers(f"http://127.0.0.1:{port}/v2/"), 30)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def test_all_images_are_pushed_with_their_labels(images, registry):
    run(
        *("docker", "buildx", "bake", "--push"),
        REGISTRY=f"{registry}/someone/",
        VERSION="1.2.3",
        REVISION="abc",
    )
    pushed = requests.get(f"http://{registry}/v2/_catalog", timeout=10).json()["repositories"]
    assert pushed == ["someone/cifar10", "someone/cifar10-gateway", "someone/cifar10-torchserve"]
    for name in pushed:
        image = f"{registry}/{name}:1.2.3"
        run("docker", "rmi", image)
        run("docker", "pull", "--quiet", image)
        labels = run("docker", "inspect", "--format", "{{json .Config.Labels}}", image)
        assert '"org.opencontainers.image.version":"1.2.3"' in labels
        assert '"org.opencontainers.image.revision":"abc"' in labels
        assert '"org.opencontainers.image.licenses":"MIT"' in labels
        bill = run("docker", "run", "--rm", "--entrypoint", "cat", image, "/srv/sbom.cdx.json")
        assert '"bomFormat": "CycloneDX"' in bill
        run("docker", "rmi", image)
