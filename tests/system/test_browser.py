"""A person at the pages, in a real browser; screenshots are left in tests/screenshots/."""

import base64
import csv
import io
import json
import re
from pathlib import Path

import pytest
import requests
from axe_playwright_python.sync_playwright import Axe
from PIL import Image, ImageOps
from playwright.sync_api import expect

from model.manifest import Manifest
from tests import pictures

SCREENSHOTS = Path(__file__).parent.parent / "screenshots"
PHOTOGRAPH = (Path(__file__).parent.parent / "photo.jpg").read_bytes()  # 451 x 300, sharp; the probe is made of it
ANSWER = {
    "label": "cat",
    "score": 0.6,
    "in_scope": True,
    "in_scope_score": 0.9,
    "scores": [{"label": "cat", "score": 0.6}, {"label": "dog", "score": 0.4}],
}


@pytest.fixture
def page(open_page):
    return open_page()


def file(name="kitty.jpg", data=PHOTOGRAPH):
    return {"name": name, "mimeType": "image/jpeg", "buffer": data}


def choose(page, *files):
    page.set_input_files("#image", list(files) or [file()])


def classify(page, *files):
    choose(page, *files)
    page.click("#classify")


def answer_with(page, status=200, **document):
    """Have the page get this answer, or problem, instead of the service's."""
    page.route("**/api/v1/classify", lambda route: route.fulfill(status=status, json=document))


def screenshot(page, name):
    SCREENSHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


def accept_failed_requests(page):
    """Chromium writes every answer of 400 or more to the console; where that is what is tested it is no complaint."""
    page.complaints[:] = [each for each in page.complaints if not each.startswith("Failed to load resource")]


def test_choose_preview_classify_and_read_the_class_under_the_picture(page):
    choose(page)
    picture = page.locator("#cards .picture")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") == 451
    page.click("#classify")
    expect(page.locator(".label")).to_have_text(pictures.PHOTO_LABEL)
    expect(page.get_by_role("meter")).to_have_count(10)
    expect(page.get_by_role("status")).to_contain_text(pictures.PHOTO_LABEL)
    assert page.locator(".label").bounding_box()["y"] > picture.bounding_box()["y"]
    assert page.title().startswith("Cat")
    screenshot(page, "result")


def test_bars_are_true_to_the_scores(page):
    classify(page)
    expect(page.locator(".label")).to_be_visible()
    shares = page.locator(".bar").evaluate_all(
        """all => all.map(bar => {
            const [whole, part] = [bar, bar.firstElementChild].map(box => box.getBoundingClientRect());
            return part.width / whole.width;
        })"""
    )
    texts = page.locator("#cards .number").all_inner_texts()
    assert (
        page.locator("#cards .bar").evaluate_all("all => all.map(bar => bar.getAttribute('aria-valuetext'))") == texts
    )
    numbers = [100.0 if text == "> 99.9 %" else float(text.removesuffix(" %")) for text in texts]
    assert len(shares) == 10
    assert shares == pytest.approx([number / 100 for number in numbers], abs=0.001)
    assert numbers == sorted(numbers, reverse=True)


SIZES = ((300, 400), (32, 48), (48, 32), (451, 300))


def files_of_sizes():
    with Image.open(io.BytesIO(PHOTOGRAPH)) as photograph:
        return [file(f"{size}.jpg", pictures.encode(photograph.resize(size), "JPEG")) for size in SIZES]


def test_pictures_keep_their_proportions_and_small_ones_are_enlarged(page):
    choose(page, *files_of_sizes())
    expect(page.locator("#cards .picture.small")).to_have_count(2)
    shown = page.locator("#cards .picture")
    for index, (width, height) in enumerate(SIZES):
        expect(shown.nth(index)).to_have_js_property("complete", True)
        box = shown.nth(index).bounding_box()
        assert box["width"] / box["height"] == pytest.approx(width / height, rel=0.02)
        assert max(box["width"], box["height"]) >= 128


def test_the_explanation_covers_the_middle_of_a_portrait(page):
    classify(page, *files_of_sizes())
    for index in (0, 1):
        page.locator(".why").nth(index).click()
        overlay, picture = page.locator(".overlay").nth(index), page.locator("#cards .picture").nth(index)
        expect(overlay).to_be_visible()
        box, whole = overlay.bounding_box(), picture.bounding_box()
        assert box["width"] == pytest.approx(whole["width"], abs=1)
        assert box["height"] == pytest.approx(1.25 * whole["width"], abs=1)
        assert box["x"] == pytest.approx(whole["x"], abs=1)
        assert box["y"] + box["height"] / 2 == pytest.approx(whole["y"] + whole["height"] / 2, abs=1)
    screenshot(page, "portraits")


def test_the_explanation_covers_what_lies_within_margins(page):
    with Image.open(io.BytesIO(PHOTOGRAPH)) as photograph:
        framed = ImageOps.expand(photograph.resize((150, 120)), (30, 10, 120, 70), "black")
    classify(page, file("framed.png", pictures.encode(framed, "PNG")))
    page.locator(".why").click()
    overlay = page.locator(".overlay")
    expect(overlay).to_be_visible()
    box, whole = overlay.bounding_box(), page.locator("#cards .picture").bounding_box()
    assert (box["x"] - whole["x"]) / whole["width"] == pytest.approx(30 / 300, abs=0.02)
    assert (box["y"] - whole["y"]) / whole["height"] == pytest.approx(10 / 200, abs=0.02)
    assert box["width"] / whole["width"] == pytest.approx(150 / 300, abs=0.02)
    assert box["height"] / whole["height"] == pytest.approx(120 / 200, abs=0.02)
    screenshot(page, "framed")


def transfer(page, event, data=PHOTOGRAPH, mimetype="image/jpeg"):
    """Drop or paste a file somewhere on the page."""
    page.evaluate(
        """([event, encoded, type]) => {
            const bytes = Uint8Array.from(atob(encoded), character => character.charCodeAt(0));
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(new File([bytes], "moved.jpg", { type }));
            const options = { bubbles: true, cancelable: true };
            document.body.dispatchEvent(
                event === "drop"
                    ? new DragEvent("drop", { dataTransfer, ...options })
                    : new ClipboardEvent("paste", { clipboardData: dataTransfer, ...options })
            );
        }""",
        [event, base64.b64encode(data).decode(), mimetype],
    )


@pytest.mark.parametrize("event", ["drop", "paste"])
def test_a_file_can_be_dropped_anywhere_and_pasted(page, event):
    transfer(page, event)
    expect(page.locator("#cards .picture")).to_be_visible()
    page.click("#classify")
    expect(page.locator(".label")).to_have_text(pictures.PHOTO_LABEL)


def test_a_dropped_folders_files_are_added(page, tmp_path):
    for name in ("b.jpg", "inner/a.jpg", ".hidden/c.jpg", ".d.jpg"):
        (tmp_path / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "folder" / name).write_bytes(PHOTOGRAPH)
    data = {"items": [], "files": [str(tmp_path / "folder")], "dragOperationsMask": 1}
    devtools = page.context.new_cdp_session(page)
    for event in ("dragEnter", "dragOver", "drop"):
        devtools.send("Input.dispatchDragEvent", {"type": event, "x": 100, "y": 100, "data": data})
    expect(page.locator("#cards .filename")).to_have_text(["b.jpg", "a.jpg"])


# The browser's own entries cannot be made: a folder with files, of which those with "bad" in their names are not read.
DROP_A_FOLDER = """names => {
    const refuse = (_, reject) => reject(new DOMException("gone", "NotReadableError"));
    const entryOf = (name) => ({
        name, fullPath: `/folder/${name}`, isDirectory: name.endsWith("/"),
        createReader: () => ({ readEntries: refuse }),
        file: name.includes("bad") ? refuse : (resolve) => resolve(new File([new Uint8Array(10)], name)),
    });
    const batches = [names.map(entryOf), []];
    const readEntries = (resolve) => resolve(batches.shift());
    const folder = { name: "folder", fullPath: "/folder", isDirectory: true, createReader: () => ({ readEntries }) };
    const drop = new Event("drop", { bubbles: true, cancelable: true });
    drop.dataTransfer = { items: [{ webkitGetAsEntry: () => folder }], files: [] };
    document.body.dispatchEvent(drop);
}"""


def test_what_of_a_dropped_folder_cannot_be_read_is_said_and_the_rest_added(page):
    page.evaluate(DROP_A_FOLDER, ["b.png", "bad.png", "a.png", "inner/"])
    expect(page.locator("#cards .filename")).to_have_text(["a.png", "b.png"])
    expect(page.get_by_role("status")).to_have_text("2 chosen. Press Classify. 2 could not be read.")
    page.click("#remove-all")
    page.evaluate(DROP_A_FOLDER, ["bad.png"])
    expect(page.get_by_role("status")).to_have_text("1 could not be read.")
    choose(page)
    expect(page.get_by_role("status")).to_have_text("1 chosen. Press Classify.")


def test_samples_can_be_tried(page):
    samples = page.locator(".sample")
    for index in range(samples.count()):
        samples.nth(index).click()
        expect(page.locator("#cards .card")).to_have_count(index + 1)
    page.click("#classify")
    labels = page.locator("#cards .label")
    expect(page.get_by_role("status")).to_contain_text(f"{samples.count()} of {samples.count()} answered")
    assert labels.all_text_contents()[:3] == ["cat", "ship", "frog"]
    screenshot(page, "samples")


def test_a_sample_that_cannot_be_had_is_said(page):
    page.route("**/samples/*", lambda route: route.abort())
    page.locator(".sample").first.click()
    expect(page.get_by_role("status")).to_contain_text("cannot be reached")
    accept_failed_requests(page)


def test_a_phones_camera_is_a_way_in(open_page):
    page = open_page(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Take a photo").click()
    assert chooser.value.element.get_attribute("capture") == "environment"
    chooser.value.set_files(file())
    page.click("#classify")
    expect(page.locator(".label")).to_have_text(pictures.PHOTO_LABEL)


def test_the_keyboard_alone_is_enough(page):
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "image"
    choose(page)
    assert page.evaluate("document.activeElement.id") == "classify"
    page.keyboard.press("Enter")
    expect(page.locator(".label")).to_have_text(pictures.PHOTO_LABEL)


def test_the_focus_stays_with_the_picture_whose_buttons_change(page):
    # Both from the start: between the last route's end and a new one Playwright misses requests now and then.
    page.route("**/api/v1/explain", lambda _: None)  # never goes on
    page.route("**/api/v1/classify", lambda _: None)
    choose(page)
    button = page.locator("#classify")
    page.keyboard.press("Enter")
    expect(button).to_have_attribute("aria-disabled", "true")
    expect(button).to_be_focused()
    page.locator(".cancel").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".retry")).to_be_focused()
    expect(button).to_have_attribute("aria-disabled", "false")
    page.keyboard.press("Enter")
    expect(page.locator(".cancel")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".retry")).to_be_focused()
    page.unroute("**/api/v1/classify")
    page.keyboard.press("Enter")
    why = page.locator(".why")
    expect(why).to_be_focused()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    with page.expect_request("**/api/v1/explain"):
        page.keyboard.press("Enter")
    expect(why).to_have_attribute("aria-disabled", "true")
    page.keyboard.press("Enter")
    page.wait_for_timeout(500)
    expect(why).to_be_focused()
    assert len(asked) == 1
    accept_failed_requests(page)


def test_removing_pictures_hands_the_focus_on(page):
    choose(page, file("a.jpg"), file("b.jpg"), file("c.jpg"))
    remove = page.locator("#cards .remove")
    expect(remove.nth(1)).to_have_accessible_description("b.jpg")
    remove.nth(1).focus()
    page.keyboard.press("Enter")
    expect(remove.nth(1)).to_be_focused()
    expect(remove.nth(1)).to_have_accessible_description("c.jpg")
    page.keyboard.press("Enter")
    expect(remove).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#image")).to_be_focused()
    choose(page, file("a.jpg"), file("b.jpg"))
    page.get_by_role("button", name="Remove all").click()
    expect(page.locator("#image")).to_be_focused()


def test_how_far_things_are_is_said_at_every_change(page):
    page.route("**/api/v1/classify", lambda _: None)  # never goes on
    status = page.get_by_role("status")
    classify(page)
    expect(status).to_have_text("0 of 1 answered…")
    expect(page.get_by_role("progressbar", name="Progress")).to_be_visible()
    page.click(".cancel")
    expect(status).to_have_text("0 of 1 answered. 1 without an answer.")
    page.click(".retry")
    expect(status).to_have_text("0 of 1 answered…")
    accept_failed_requests(page)


def test_the_title_is_of_what_is_shown(page):
    classify(page)
    expect(page).to_have_title(re.compile("^Cat "))
    choose(page, file("second.jpg"))
    expect(page).to_have_title("What is in the picture?")


def test_a_picture_of_none_of_the_ten_is_said_to_be_one(page, service):
    answer_with(page, results=[ANSWER | {"in_scope": False}])
    classify(page)
    expect(page.get_by_role("status")).to_have_text(re.compile(r"^cat\. Perhaps: 60\.0 %\. Probably none of the ten: "))
    page.goto(service.gateway)
    expect(page.locator("#history li")).to_contain_text("60.0 %, probably none of the ten")


def test_no_explanation_is_offered_of_a_picture_that_cannot_be_shown(page):
    answer_with(page, results=[ANSWER])
    classify(page)
    expect(page.locator(".label")).to_be_visible()
    why = page.locator(".why")
    why.focus()
    page.locator("#cards .picture").dispatch_event("error")
    expect(why).to_be_hidden()
    expect(page.locator(".remove")).to_be_focused()
    expect(page.locator("#history li")).to_have_count(1)
    page.locator(".remove").click()
    classify(page, file("letter.jpg", b"letter"))
    expect(page.locator(".label")).to_be_visible()
    expect(why).to_be_hidden()


def test_of_several_files_a_bad_one_says_what_to_do_beside_the_others(page):
    classify(page, file("a.jpg"), file("letter.jpg", b"Dear Sir or Madam"), file("c.jpg"))
    expect(page.get_by_role("status")).to_have_text("2 of 3 answered. 1 without an answer.")
    expect(page.get_by_role("alert").filter(visible=True)).to_contain_text("Send a JPEG")
    expect(page.get_by_role("alert").filter(visible=True)).to_contain_text("letter.jpg")
    expect(page.locator("#cards .label").filter(visible=True)).to_have_count(2)
    screenshot(page, "problem")
    accept_failed_requests(page)


def test_a_service_that_is_gone_is_said_and_can_be_tried_again(page):
    choose(page)
    page.context.set_offline(True)
    page.click("#classify")
    expect(page.get_by_role("alert").filter(visible=True)).to_contain_text("cannot be reached")
    page.context.set_offline(False)
    page.click(".retry")
    expect(page.locator(".label")).to_have_text(pictures.PHOTO_LABEL)
    accept_failed_requests(page)


def test_a_picture_on_its_way_can_be_cancelled_and_brought_back(page):
    page.route("**/api/v1/classify", lambda _: None)  # never goes on
    classify(page)
    expect(page.locator("progress")).to_be_visible()
    page.click(".cancel")
    expect(page.get_by_role("alert").filter(visible=True)).to_contain_text("Cancelled")
    page.unroute("**/api/v1/classify")
    page.click(".retry")
    expect(page.locator(".label")).to_have_text(pictures.PHOTO_LABEL)
    accept_failed_requests(page)


def test_why_draws_the_explanation_over_the_picture(page):
    classify(page)
    expect(page.locator(".label")).to_be_visible()
    overlay = page.locator(".overlay")
    expect(overlay).to_be_hidden()
    page.get_by_role("button", name="Why?").click()
    expect(overlay).to_be_visible()
    expect(page.locator(".legend")).to_be_visible()
    assert "cat" in overlay.get_attribute("aria-label")
    painted = overlay.evaluate(
        "canvas => canvas.getContext('2d').getImageData(0, 0, 240, 240).data.filter((_, i) => i % 4 === 3)"
        ".reduce((most, alpha) => Math.max(most, alpha), 0)"
    )
    assert painted > 200
    # It covers the middle, which is what the network saw.
    box, picture = overlay.bounding_box(), page.locator("#cards .picture").bounding_box()
    assert box["height"] == pytest.approx(picture["height"], abs=1)
    assert box["width"] == pytest.approx(1.25 * picture["height"], abs=1)
    assert box["x"] + box["width"] / 2 == pytest.approx(picture["x"] + picture["width"] / 2, abs=1)
    page.locator("input[type=range]").fill("30")
    assert overlay.evaluate("canvas => canvas.style.opacity") == "0.3"
    screenshot(page, "why")
    page.get_by_role("button", name="Why?").click()
    expect(overlay).to_be_hidden()


def test_an_explanation_that_failed_can_be_asked_for_again(page):
    classify(page)
    page.route("**/api/v1/explain", lambda route: route.abort(), times=1)
    why = page.get_by_role("button", name="Why?")
    why.click()
    problem = page.get_by_role("alert").filter(visible=True)
    expect(problem).to_contain_text("cannot be reached")
    why.click()
    expect(page.locator(".overlay")).to_be_visible()
    expect(problem).to_have_count(0)
    accept_failed_requests(page)


def ten_files():
    return [file(f"{index:02}.jpg") for index in range(9)] + [file("=cmd|x.jpg", b"not a picture")]


def test_many_pictures_become_a_table_that_sorts_and_can_be_kept(page):
    classify(page, *ten_files())
    expect(page.get_by_role("status")).to_contain_text("9 of 10 answered")
    screenshot(page, "ten-files")
    page.get_by_role("button", name="Table").click()
    rows = page.locator("#table tbody tr")
    expect(rows).to_have_count(10)
    page.get_by_role("button", name="File").click()
    expect(rows.first).to_contain_text("=cmd")
    page.get_by_role("button", name="File").click()
    expect(rows.first).to_contain_text("08.jpg")
    expect(page.locator("th[aria-sort=descending]")).to_have_text("File")
    screenshot(page, "table")

    with page.expect_download() as download:
        page.get_by_role("button", name="Save as CSV").click()
    written = Path(download.value.path()).read_bytes()
    assert written.startswith(b"\xef\xbb\xbf")  # by which spreadsheets know UTF-8
    kept = list(csv.DictReader(io.StringIO(written.decode("utf-8-sig"))))
    assert len(kept) == 10
    assert int(kept[0]["milliseconds"]) > 0
    assert kept[0]["label"] == "cat"
    assert float(kept[0]["cat"]) == float(kept[0]["score"])
    assert kept[9]["filename"] == "'=cmd|x.jpg"  # no formula
    assert "Send a JPEG" in kept[9]["error"]

    with page.expect_download() as download:
        page.get_by_role("button", name="Save as JSON").click()
    kept = json.loads(Path(download.value.path()).read_text())
    assert [each.get("label") for each in kept] == ["cat"] * 9 + [None]
    accept_failed_requests(page)


def test_the_table_shows_the_last_of_several_errors(page):
    page.route("**/api/v1/classify", lambda route: route.abort())
    classify(page, file("a.jpg"), file("b.jpg"))
    expect(page.get_by_role("status")).to_contain_text("2 without an answer")
    page.click("#view-table")
    row = page.locator("#table tbody tr").first
    expect(row).to_contain_text("cannot be reached")
    page.click("#view-cards")
    page.unroute("**/api/v1/classify")
    answer_with(page, 422, title="Damaged", detail="Send another.")
    page.locator(".retry").first.click()
    expect(page.get_by_role("alert").first).to_contain_text("Send another.")
    page.click("#view-table")
    expect(row).to_contain_text("Send another.")
    accept_failed_requests(page)


def test_ukrainian_sorts_and_writes_numbers_its_own_way(open_page):
    page = open_page(locale="uk")
    answer_with(page, results=[ANSWER])
    classify(page, file("яблуко.jpg"), file("абрикос.jpg"), file("їжак.jpg"))
    expect(page.locator("#cards .number").first).to_have_text("60,0 %")
    choose(page, file("я.jpg"))
    page.click("#view-table")
    names = page.locator("#table tbody td:nth-child(2)")
    page.get_by_role("button", name="Файл").click()
    expect(names).to_have_text(["абрикос.jpg", "їжак.jpg", "я.jpg", "яблуко.jpg"])
    expect(page.locator("#table tbody tr").nth(1)).to_have_text(re.compile(r"60,0 %так\d+ мс$"))
    with page.expect_download() as download:
        page.click("#json")
    assert json.loads(Path(download.value.path()).read_text())[3]["error"] == {"title": "Ще не класифіковано."}


def test_this_visits_history_stays_in_the_browser_and_can_be_cleared(page, service):
    classify(page)
    expect(page.locator("#history li")).to_have_count(1)
    page.goto(service.gateway)
    expect(page.locator("#history li")).to_contain_text("kitty.jpg")
    page.get_by_role("button", name="Forget them").click()
    expect(page.locator("#history")).to_be_hidden()
    page.goto(service.gateway)
    expect(page.locator("#history")).to_be_hidden()


def test_a_history_that_the_browser_does_not_keep_can_be_cleared(page, service):
    page.add_init_script(
        "delete Window.prototype.sessionStorage; Object.defineProperty(window, 'sessionStorage', "
        "{ get() { throw new DOMException('denied', 'SecurityError'); } })"
    )
    page.goto(service.gateway)
    classify(page)
    expect(page.locator("#history li")).to_have_count(1)
    page.get_by_role("button", name="Forget them").click()
    expect(page.locator("#history")).to_be_hidden()


def test_a_file_name_is_only_text(page):
    classify(page, file("<img src=x onerror=alert(1)>.jpg"))
    expect(page.locator("#cards .filename")).to_have_text("<img src=x onerror=alert(1)>.jpg")
    expect(page.locator("#history li")).to_contain_text("onerror")


def test_without_javascript_the_form_gives_the_same_answer(open_page):
    page = open_page(java_script_enabled=False)
    classify(page, file("a.jpg"), file("b.jpg"))
    expect(page.locator("#cards .label")).to_have_text([pictures.PHOTO_LABEL] * 2)
    expect(page.locator("#cards img")).to_have_count(2)
    expect(page.locator("#cards img").first).to_have_css("object-fit", "contain")
    expect(page.get_by_role("status")).to_contain_text("Answered in")
    screenshot(page, "without-javascript")


def test_pictures_chosen_before_the_script_has_come_are_taken(page):
    held = []

    def hold(route):
        held.append(route)

    page.route("**/page.js*", hold)
    with page.expect_request("**/page.js*"):
        page.reload(wait_until="commit")
    choose(page, file("early.jpg"))
    expect(page.locator("#cards .picture")).to_have_count(0)
    held[0].continue_()
    expect(page.locator("#cards .filename")).to_have_text("early.jpg")
    page.click("#classify")
    expect(page.locator(".label")).to_have_text(pictures.PHOTO_LABEL)


def test_the_language_switches_and_stays(page, service):
    page.get_by_role("link", name="Українська").click()
    expect(page.locator("h1")).to_have_text("Що на зображенні?")
    classify(page)
    expect(page.locator(".label")).to_have_text("кіт")
    screenshot(page, "ukrainian")
    page.goto(service.gateway)
    classify(page, file("letter.jpg", b"letter"))
    expect(page.get_by_role("alert").filter(visible=True)).to_contain_text("Це не зображення")
    accept_failed_requests(page)


def test_a_pages_errors_are_in_its_own_language_whatever_another_tab_has_chosen(open_page, service):
    page = open_page("/?language=uk")
    page.context.request.get(f"{service.gateway}/?language=en")
    classify(page, file("letter.jpg", b"letter"))
    expect(page.get_by_role("alert").filter(visible=True)).to_contain_text("Це не зображення")
    accept_failed_requests(page)


def test_the_model_page_shows_curves_and_confusion_of_the_served_weights(open_page):
    page = open_page("/model")
    runs = len({row["run"] for row in Manifest.read().document["history"]})
    expect(page.locator("polyline")).to_have_count(6 * runs + 1)
    expect(page.locator(".confusion tbody tr")).to_have_count(10)
    screenshot(page, "model")


def test_the_docs_page_draws_the_openapi_document(open_page):
    page = open_page("/docs")
    expect(page.locator(".opblock-summary-path").first).to_be_visible()
    expect(page.get_by_text("curl -F image=@photo.jpg http://127.0.0.1")).to_be_visible()
    screenshot(page, "docs")


def test_swagger_ui_keeps_its_own_styles_and_follows_the_dark(open_page):
    page = open_page("/docs", color_scheme="dark")
    expect(page.locator("html")).to_have_class("dark-mode")
    page.locator(".opblock-summary-control").first.click()
    expect(page.locator("#swagger-ui td").first).to_have_css("border-top-width", "0px")
    expect(page.locator(".opblock-summary-path").first).to_have_css("color", "rgb(228, 230, 230)")
    expect(page.locator("#swagger-ui")).to_have_css("background-color", "rgb(27, 33, 48)")
    expect(page.locator("html")).to_have_css("background-color", "rgb(18, 22, 31)")
    screenshot(page, "docs-dark")
    page.emulate_media(color_scheme="light")
    expect(page.locator("html")).not_to_have_class("dark-mode")
    expect(page.locator("#swagger-ui")).to_have_css("background-color", "rgb(255, 255, 255)")


@pytest.fixture
def status_page(open_page, service):
    """The status page with a clock that can be put forward."""
    page = open_page("/")
    page.clock.install()
    page.goto(f"{service.gateway}/status")
    return page


def renew(page):
    with page.expect_response("**/status"):
        page.clock.fast_forward(5_000)
    page.wait_for_timeout(200)  # now it is drawn


def test_the_status_page_renews_its_figures_and_says_when_it_cannot(status_page, service):
    page = status_page
    expect(page.locator("#live-model dd").first).to_have_text("answers")
    answered = page.locator("#live-answers dd").first
    before = answered.inner_text()
    page.evaluate("window.keptBetweenRenewals = true")
    for _ in range(10):  # pictures of a quarter of an hour ago go away meanwhile
        assert requests.post(f"{service.gateway}/api/v1/classify", files={"image": PHOTOGRAPH}, timeout=30).ok
        renew(page)
        now = requests.get(f"{service.gateway}/status.json", timeout=30).json()["answers"]["pictures"]
        if before != answered.inner_text() == f"{now:,}":
            break
    else:
        pytest.fail("the page does not show what /status.json says")
    assert page.evaluate("window.keptBetweenRenewals")
    screenshot(page, "status")
    page.context.set_offline(True)
    page.clock.fast_forward(5_000)
    expect(page.get_by_role("status")).to_have_text(
        "The gateway does not answer; these figures are old.", timeout=20_000
    )
    page.context.set_offline(False)
    page.clock.fast_forward(5_000)
    expect(page.get_by_role("status")).to_be_empty(timeout=20_000)
    accept_failed_requests(page)


def test_the_status_pages_renewing_can_be_paused(status_page):
    page = status_page
    pause = page.get_by_role("button", name="Pause")
    pause.click()
    expect(pause).to_have_attribute("aria-pressed", "true")
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    for _ in range(3):
        page.clock.fast_forward(5_000)
        page.wait_for_timeout(100)
    assert asked == []
    pause.click()
    renew(page)


def test_the_status_page_keeps_its_language_and_leaves_that_of_other_tabs(status_page, service):
    page = status_page
    page.goto(f"{service.gateway}/status?language=uk")
    page.context.request.get(f"{service.gateway}/?language=en")  # in another tab
    page.evaluate("document.querySelector('#live-model dt').remove()")  # comes back when it is renewed
    renew(page)
    expect(page.locator("#live-model dt").first).to_have_text("Стан")
    assert [each["value"] for each in page.context.cookies() if each["name"] == "language"] == ["en"]


def check_accessibility(page):
    """Ask axe for every rule of WCAG 2.2 AA; Swagger UI's own markup is not ours."""
    rules = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    options = {"runOnly": {"type": "tag", "values": rules}}
    found = Axe().run(page, context={"exclude": [["#swagger-ui"]]}, options=options)
    assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("language", ["en", "uk"])
@pytest.mark.parametrize("path", ["/", "/model", "/docs", "/status", "/nothing"])
def test_axe_finds_nothing(open_page, path, language, scheme):
    page = open_page(path, locale=language, color_scheme=scheme)
    check_accessibility(page)
    if path == "/":
        classify(page, file("a.jpg"), file("letter.jpg", b"letter"))
        expect(page.locator("#cards .label").filter(visible=True)).to_have_count(1)
        page.locator(".why").filter(visible=True).click()
        expect(page.locator(".overlay").filter(visible=True)).to_have_count(1)
        check_accessibility(page)
        screenshot(page, f"two-{language}-{scheme}")
        page.click("#view-table")
        check_accessibility(page)
    accept_failed_requests(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/", "/model", "/docs", "/status"])
def test_a_narrow_phone_needs_no_sideways_scrolling(open_page, path, scheme):
    page = open_page(path, viewport={"width": 320, "height": 640}, color_scheme=scheme, is_mobile=True, has_touch=True)
    if path == "/":
        classify(page)
        expect(page.locator(".label")).to_be_visible()
        page.locator(".why").click()
        expect(page.locator(".legend")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    screenshot(page, f"phone-{path.strip('/') or 'page'}-{scheme}")


@pytest.mark.parametrize("path", ["/model", "/status"])
def test_a_phones_charts_can_be_read(open_page, path):
    page = open_page(path, viewport={"width": 320, "height": 640}, is_mobile=True, has_touch=True)
    texts = page.locator(".chart svg text").evaluate_all(
        """all => all.map(text => {
            const [inner, outer] = [text, text.closest("svg")].map(each => each.getBoundingClientRect());
            return {
                size: parseFloat(getComputedStyle(text).fontSize) * text.getScreenCTM().a,
                cut: inner.left < outer.left || inner.right > outer.right || inner.top < outer.top,
            };
        })"""
    )
    assert texts
    assert min(text["size"] for text in texts) >= 10
    assert not any(text["cut"] for text in texts)
