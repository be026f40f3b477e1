"""What is deployed, and the tools that check it."""

import shutil

import pytest

from tests.service import ROOT

DEPLOY = ROOT / "deploy"


def program(name, package):
    """Where a program is; without it the test is skipped, which CI counts as a failure."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"no {name} here; install {package}")
    return path
