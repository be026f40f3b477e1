"""One running service for all tests here."""

import pytest

from tests.service import Service


@pytest.fixture(scope="session")
def service(tmp_path_factory):
    with Service(tmp_path_factory.mktemp("service") / "log") as service:
        yield service
