"""The running API keeps what its OpenAPI document promises."""

import base64
import subprocess
import sys
from pathlib import Path

import pytest
import requests
import schemathesis

from tests import pictures

TIMEOUT = 30
EXAMPLES = 40  # for each operation and phase


def test_schemathesis_finds_no_violation(service, tmp_path):
    """It sends a few hundred requests, right and wrong ones, and compares every answer with the document."""
    command = [str(Path(sys.executable).parent / "schemathesis"), "run", f"{service.gateway}/openapi.json"]
    options = [f"--max-examples={EXAMPLES}", "--seed=1", "--request-timeout=30", "--no-color"]
    # No schema can say which bytes are a picture, so that bytes which are none are refused is no violation.
    options.append("--exclude-checks=positive_data_acceptance")
    done = subprocess.run([*command, *options], cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-1000:]


@pytest.fixture(scope="module")
def document(service):
    return requests.get(f"{service.gateway}/openapi.json", timeout=TIMEOUT).json()


def test_real_answers_fit_their_schemas(document, service):
    schema = schemathesis.openapi.from_dict(document)
    photo = pictures.PHOTO_PATH.read_bytes()
    for path in ("/api/v1/classify", "/api/v1/explain"):
        response = requests.post(service.gateway + path, files={"image": photo}, timeout=TIMEOUT)
        assert response.status_code == 200
        schema[path]["POST"].validate_response(response)
    text = base64.b64encode(photo).decode()
    tensor = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [text]}
    kserve = {"/v2/models/{name}/infer": {"inputs": [tensor]}}
    kserve |= {f"/v1/models/{{name}}:{what}": {"instances": [{"b64": text}]} for what in ("predict", "explain")}
    for path, body in kserve.items():
        response = requests.post(service.gateway + path.format(name="cifar10"), json=body, timeout=TIMEOUT)
        assert response.status_code == 200
        schema[path]["POST"].validate_response(response)
    for path in ("/v1/models", "/v1/models/{name}", "/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/{name}"):
        response = requests.get(service.gateway + path.format(name="cifar10"), timeout=TIMEOUT)
        assert response.status_code == 200
        schema[path]["GET"].validate_response(response)
    for path in ("/api/v1/model", "/livez", "/readyz"):
        response = requests.get(service.gateway + path, timeout=TIMEOUT)
        schema[path]["GET"].validate_response(response)


def test_it_is_openapi_3_1_with_the_readers_own_host_and_limits(document, service):
    assert document["openapi"].startswith("3.1")
    assert document["servers"] == [{"url": service.gateway}]
    assert "20,000,000 bytes a picture" in document["info"]["description"]
