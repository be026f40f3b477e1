"""A person at the page, in a real browser; screenshots are left in tests/screenshots/."""

import base64
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright

from tests import pictures

SCREENSHOTS = Path(__file__).parent.parent / "screenshots"
INSTALLED = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


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


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        path = executable(playwright)
        if path is None:
            pytest.skip("no Chromium here and none could be downloaded; install chromium to run the browser tests")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser, service):
    """The page, with everything that it complains about collected."""
    page = browser.new_page(viewport={"width": 900, "height": 1000})
    complaints = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    ours = (service.gateway, "blob:", "data:")
    page.on("request", lambda request: None if request.url.startswith(ours) else complaints.append(request.url))
    page.goto(service.gateway)
    page.complaints = complaints
    yield page
    page.close()


PHOTOGRAPH = (Path(__file__).parent.parent / "photo.jpg").read_bytes()  # 451 x 300, sharp; the probe is made of it


def choose(page, name="kitty.jpg", data=PHOTOGRAPH):
    page.set_input_files("#image", {"name": name, "mimeType": "image/jpeg", "buffer": data})


def screenshot(page, name):
    SCREENSHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


def test_choose_preview_classify_and_read_the_class(page):
    choose(page)
    expect(page.locator("#preview")).to_be_visible()
    assert page.locator("#preview").evaluate("image => image.decode().then(() => image.naturalWidth)") == 451
    page.click("#classify")
    expect(page.locator("#label")).to_have_text(pictures.PHOTO_LABEL)
    expect(page.get_by_role("meter")).to_have_count(10)
    assert page.locator("#label").bounding_box()["y"] > page.locator("#preview").bounding_box()["y"]
    assert page.title().startswith("Cat")
    screenshot(page, "result")
    assert page.complaints == []


def test_bars_are_true_to_the_scores(page):
    choose(page)
    page.click("#classify")
    expect(page.locator("#label")).to_be_visible()
    shares = page.locator(".bar").evaluate_all(
        """all => all.map(bar => {
            const [whole, part] = [bar, bar.firstElementChild].map(box => box.getBoundingClientRect());
            return part.width / whole.width;
        })"""
    )
    numbers = [float(text.removesuffix(" %")) for text in page.locator(".number").all_inner_texts()]
    assert len(shares) == 10
    assert shares == pytest.approx([number / 100 for number in numbers], abs=0.001)
    assert numbers == sorted(numbers, reverse=True)


def test_dropping_a_file_anywhere_is_choosing_it(page):
    encoded = base64.b64encode(PHOTOGRAPH).decode()
    page.evaluate(
        """encoded => {
            const bytes = Uint8Array.from(atob(encoded), character => character.charCodeAt(0));
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(new File([bytes], "dropped.jpg", { type: "image/jpeg" }));
            document.body.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
        }""",
        encoded,
    )
    expect(page.locator("#preview")).to_be_visible()
    page.click("#classify")
    expect(page.locator("#label")).to_have_text(pictures.PHOTO_LABEL)


def test_the_keyboard_alone_is_enough(page):
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "image"
    choose(page)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "classify"
    page.keyboard.press("Enter")
    expect(page.locator("#label")).to_have_text(pictures.PHOTO_LABEL)


def test_a_file_that_is_no_picture_is_told_what_to_do(page):
    choose(page, "letter.jpg", b"Dear Sir or Madam")
    page.click("#classify")
    expect(page.get_by_role("alert")).to_contain_text("Send a JPEG")
    screenshot(page, "problem")
    choose(page)
    page.click("#classify")
    expect(page.locator("#label")).to_have_text(pictures.PHOTO_LABEL)


def test_a_service_that_is_gone_is_said_and_can_be_tried_again(page):
    choose(page)
    page.context.set_offline(True)
    page.click("#classify")
    expect(page.get_by_role("alert")).to_contain_text("cannot be reached")
    page.context.set_offline(False)
    page.click("#classify")
    expect(page.locator("#label")).to_have_text(pictures.PHOTO_LABEL)


def test_without_javascript_the_form_gives_the_same_answer(browser, service):
    context = browser.new_context(java_script_enabled=False, viewport={"width": 900, "height": 1000})
    page = context.new_page()
    page.goto(service.gateway)
    choose(page)
    page.click("#classify")
    expect(page.locator("#label")).to_have_text(pictures.PHOTO_LABEL)
    expect(page.locator("#outcome img")).to_be_visible()
    screenshot(page, "without-javascript")
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_phone_needs_no_sideways_scrolling(browser, service, scheme):
    context = browser.new_context(viewport={"width": 320, "height": 640}, color_scheme=scheme)
    page = context.new_page()
    page.goto(service.gateway)
    choose(page)
    page.click("#classify")
    expect(page.locator("#label")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    screenshot(page, f"phone-{scheme}")
    context.close()
