"""What was packed and measured is what is served, or nothing is."""

import zipfile
from contextlib import ExitStack

import pytest
import requests

from handler.archive import DEFAULT_ARCHIVE, hash_file
from model.manifest import INT8_PATH, WEIGHTS_PATH, sha256_of
from tests import pictures
from tests.service import Service, eventually

NETWORKS = (WEIGHTS_PATH.name, INT8_PATH.name)


def repacked(folder, *, change):
    """Put the packed archive into a folder, with one byte of its networks changed and its hash made to fit."""
    archive = folder / "cifar10.mar"
    with zipfile.ZipFile(DEFAULT_ARCHIVE) as packed, zipfile.ZipFile(archive, "w") as bundle:
        for name in packed.namelist():
            data = bytearray(packed.read(name))
            if change and name in NETWORKS:
                data[len(data) // 2] ^= 1
            bundle.writestr(name, bytes(data))
    hash_file(archive).write_text(f"{sha256_of(archive)}  {archive.name}\n")
    return archive


@pytest.fixture
def start(tmp_path):
    """Starts TorchServe with the test's own folder as its model store, and does not wait for it."""
    with ExitStack() as stack:

        def start(**settings):
            service = Service(tmp_path / "log", None, "torchserve", TS_MODEL_STORE=str(tmp_path), **settings)
            stack.push(service)  # stops it if it still runs
            return service

        yield start


def test_an_archive_with_one_byte_changed_does_not_start(tmp_path, start):
    archive = repacked(tmp_path, change=False)
    with archive.open("r+b") as file:
        file.seek(1_000_000)
        byte = file.read(1)
        file.seek(1_000_000)
        file.write(bytes((byte[0] ^ 1,)))
    service = start()
    assert service.process.wait(60) == 1
    assert "by its SHA-256" in service.output()


def test_weights_with_one_byte_changed_answer_nothing_though_the_archives_hash_fits(tmp_path, start):
    repacked(tmp_path, change=True)
    service = start()
    eventually(lambda: "has SHA-256" in service.output() or service.process.poll() is not None, 100)
    headers = service.key("inference") | {"Content-Type": "application/octet-stream"}
    with pytest.raises(requests.Timeout):  # TorchServe holds requests while it tries to start its workers
        requests.post(
            f"{service.inference}/predictions/cifar10",
            data=pictures.PHOTO_PATH.read_bytes(),
            headers=headers,
            timeout=2,
        )
    assert "describes" in service.output()
    assert "ready" not in service.output()


def test_a_service_that_answers_nothing_in_time_is_given_up(tmp_path, start):
    repacked(tmp_path, change=True)  # so that it never answers
    service = start(START_TIMEOUT_SECONDS="1")
    assert service.process.wait(60) == 1
    assert "no prediction was answered within 1 seconds" in service.output()
    assert "ready" not in service.output()
