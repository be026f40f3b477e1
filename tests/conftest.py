"""What every test may use."""

import os
import resource

import pytest

from tests.service import Service

os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")

# Some tests and their gateways have more than a thousand connections.
FILES = 4096
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(
    resource.RLIMIT_NOFILE, (max(soft, FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)), hard)
)


def pytest_addoption(parser):
    parser.addoption("--fail-on-skip", action="store_true", help="count a skipped test as a failure (CI)")
    parser.addoption("--allow-skip", metavar="WORDS", help="but not one whose reason has these words")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session, exitstatus):
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    allowed = session.config.getoption("--allow-skip")
    skipped = reporter.stats.get("skipped", ()) if reporter else ()
    failures = [each for each in skipped if not (allowed and allowed in str(each.longrepr))]
    if session.config.getoption("--fail-on-skip") and failures:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def service(tmp_path_factory):
    """One running service for all tests that change nothing in it."""
    with Service(tmp_path_factory.mktemp("service") / "log") as service:
        yield service
