"""One browser for all tests here."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright

INSTALLED = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

expect.set_options(timeout=30_000)  # a worker's first explanation imports torch


def executable(playwright):
    """The machine's Chromium, or Playwright's own, downloaded if need be; None where neither can be had."""
    for name in INSTALLED:
        if path := shutil.which(name):
            return path
    own = Path(playwright.chromium.executable_path)
    if not own.exists():
        command = [sys.executable, "-m", "playwright", "install", "chromium"]
        try:
            subprocess.run(command, check=False, capture_output=True, timeout=300)
        except subprocess.TimeoutExpired:
            return None
    return str(own) if own.exists() else None


@pytest.fixture(scope="session")
def browser():
    with sync_playwright() as playwright:
        path = executable(playwright)
        if path is None:
            pytest.skip("no Chromium here and none could be downloaded; install chromium to run the browser tests")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, service):
    """Opens pages in contexts of their own; a complaint of theirs or a request to another host fails the test."""
    contexts = []
    complaints = []

    def complain_about(request):
        if not request.url.startswith((service.gateway, "blob:", "data:")):
            complaints.append(request.url)

    def open_page(path="/", **options):
        context = browser.new_context(**({"viewport": {"width": 900, "height": 1000}, "locale": "en"} | options))
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", complain_about)
        page.complaints = complaints
        page.goto(service.gateway + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
