"""A thousand files of every kind, through the API and through the page: each is accounted for."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from playwright.sync_api import expect

from tests import pictures

COUNT = 1000
A_REQUEST = 25
LARGE = ("40 megapixels", "too many bytes")
RARE = 50  # every so many-th file is a large one: they cost as much as all others together


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A thousand files, and for each the status that it must get."""
    kinds = {}
    for kind, make in (pictures.LOSSLESS | pictures.CLOSE).items():
        kinds[kind] = (make(), 200)
    for kind, (make, status, _, _) in pictures.REFUSED.items():
        kinds[kind] = (make(), status)
    kinds["too many bytes"] = (bytes(20_000_001), 413)
    kinds["empty"] = (b"", 400)
    common = [kind for kind in kinds if kind not in LARGE]
    folder = tmp_path_factory.mktemp("thousand")
    expected = {}
    for index in range(COUNT):
        kind = LARGE[index // RARE % 2] if index % RARE == 0 else common[index % len(common)]
        data, status = kinds[kind]
        name = f"{index:04} {kind}.jpg"
        (folder / name).write_bytes(data)
        expected[name] = status
    return folder, expected


def statuses(results):
    return {result["filename"]: result.get("error", {}).get("status", 200) for result in results}


def test_through_the_api(service, folder):
    folder, expected = folder
    names = sorted(expected)

    def send(part):
        files = [("image", (name, (folder / name).read_bytes())) for name in part]
        response = requests.post(f"{service.gateway}/api/v1/classify", files=files, timeout=120)
        assert response.status_code == 200
        return response.json()["results"]

    with ThreadPoolExecutor(4) as pool:
        parts = [names[start : start + A_REQUEST] for start in range(0, COUNT, A_REQUEST)]
        results = [result for part in pool.map(send, parts) for result in part]
    assert [result["filename"] for result in results] == names
    assert statuses(results) == expected


def test_through_the_page(open_page, folder):
    folder, expected = folder
    page = open_page()
    page.set_input_files("#image", [str(folder / name) for name in sorted(expected)])
    expect(page.locator("#cards .card")).to_have_count(COUNT)
    page.click("#view-table")
    page.click("#classify")
    good = sum(status == 200 for status in expected.values())
    sentence = f"{good} of {COUNT} answered. {COUNT - good} without an answer."
    # Not by get_by_role, which asks each of the page's tens of thousands of elements for its role, again and again.
    expect(page.locator("[role=status]:visible")).to_have_text(sentence, timeout=300_000)
    expect(page.locator("#table tbody tr")).to_have_count(COUNT)
    with page.expect_download() as download:
        page.click("#json")
    assert statuses(json.loads(Path(download.value.path()).read_text())) == expected
    page.complaints[:] = [each for each in page.complaints if not each.startswith("Failed to load resource")]
