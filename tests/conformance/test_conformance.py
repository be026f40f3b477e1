"""TorchServe's own cases before our model; each is a row of docs/conformance.md."""

import pytest

from model.manifest import Manifest
from tests.conformance.cases import CASES, run, table
from tests.service import ROOT, Service

DOCUMENT = ROOT / "docs" / "conformance.md"


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    with Service(tmp_path_factory.mktemp("conformance") / "log", TS_ENABLE_MODEL_API="true") as service:
        return run(service, Manifest.read().version)


@pytest.mark.parametrize("index", range(len(CASES)), ids=[f"{case.collection}: {case.name}" for case in CASES])
def test_case(outcomes, index):
    case, outcome = outcomes[index]
    assert not outcome.of(case).startswith("FAILS"), case


def test_the_table_is_current(outcomes):
    assert DOCUMENT.read_text() == table(outcomes), "run python -m tests.conformance"


def test_every_difference_has_its_reason():
    assert all(bool(case.why) == (case.ours is not None) for case in CASES)
