"""Hostile pictures before the handler itself."""

import json
import logging
import resource
import subprocess
import sys
import time

import pytest
from PIL import Image

from handler import classifier_handler
from handler.limits import Alarm, OutOfTimeError, limit_memory
from model.images import FORMATS, UnsupportedFormatError, read_pixels
from tests import pictures
from tests.fuzz import hostile
from tests.handler.test_handler import Context
from tests.handler.test_handler import folder as folder  # noqa: PLC0414  # a fixture
from tests.service import ROOT

GOOD = pictures.PHOTO_PATH.read_bytes()


@pytest.fixture(scope="module")
def ask(folder):
    """Gives the status and the answer for one picture."""
    memory = resource.getrlimit(resource.RLIMIT_DATA)
    root_level = logging.getLogger().level
    handler = classifier_handler.ClassifierHandler()
    handler.initialize(Context(folder))

    def ask(*pictures):
        as_the_gateway = {"Content-Type": "application/octet-stream"}
        context = Context(folder, dict.fromkeys(range(len(pictures)), as_the_gateway))
        try:
            replies = handler.handle([{"body": data} for data in pictures], context)
            assert resource.getrlimit(resource.RLIMIT_DATA) != memory
        finally:
            resource.setrlimit(resource.RLIMIT_DATA, memory)  # the tests' own pictures need more to be made
        return [(context.status.get(index, (200,))[0], json.loads(reply)) for index, reply in enumerate(replies)]

    yield ask
    logging.getLogger().setLevel(root_level)
    handler.log.handlers.clear()
    logging.getLogger("ts.metrics.caching_metric").filters.clear()


@pytest.mark.parametrize("kind", hostile.ANSWERED)
def test_what_has_a_photograph_in_it_is_answered(ask, kind):
    [(status, answer)] = ask(hostile.ANSWERED[kind]())
    assert (status, answer["label"]) == (200, pictures.PHOTO_LABEL)


@pytest.mark.parametrize("kind", hostile.REFUSED)
def test_what_cannot_be_answered_is_refused_at_once(ask, kind):
    make, expected = hostile.REFUSED[kind]
    [(status, problem)] = ask(make())
    assert status == expected
    assert problem["detail"].count(".") >= 1


@pytest.mark.parametrize("kind", hostile.EITHER)
def test_what_is_damaged_somewhere_is_answered_or_refused(ask, kind):
    [(status, _)] = ask(hostile.EITHER[kind]())
    assert status in {200, 422}


@pytest.mark.parametrize("kind", hostile.SLOW)
def test_what_would_take_long_is_broken_off(ask, kind, monkeypatch):
    monkeypatch.setattr(classifier_handler, "PICTURE_SECONDS", 0.2)
    data = hostile.SLOW[kind]()
    assert len(data) < 20_000_000
    [(status, problem), (_, good)] = ask(data, GOOD)
    assert (status, problem["type"]) == (422, "/problems/too-costly")
    assert good["label"] == pictures.PHOTO_LABEL


def test_a_batch_of_slow_pictures_leaves_time_for_a_good_one_and_ends_in_time(ask, monkeypatch):
    """So that TorchServe does not kill the worker, which would cost every request of the batch its answer."""
    monkeypatch.setattr(classifier_handler, "PICTURE_SECONDS", 0.5)
    monkeypatch.setattr(classifier_handler, "BATCH_SECONDS", 1.2)
    slow = hostile.SLOW["png of a million empty chunks"]()
    began = time.perf_counter()
    *refused, (_, good) = ask(*[slow] * 3, GOOD)
    assert time.perf_counter() - began < 2.5
    assert good["label"] == pictures.PHOTO_LABEL
    assert [problem["type"] for _, problem in refused] == ["/problems/too-costly"] + ["/problems/model-unavailable"] * 2
    assert refused[-1][0] == 503


def test_every_batch_has_so_much_memory_and_no_more(ask, monkeypatch):
    allowed: list[int] = []

    def limit(more_bytes):
        allowed.append(more_bytes)
        limit_memory(more_bytes)

    monkeypatch.setattr(classifier_handler, "limit_memory", limit)
    ask(GOOD)
    ask(GOOD, GOOD)
    assert allowed == [1_000_000_000] * 2


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts a process's memory so")
def test_what_is_held_already_takes_nothing_from_what_is_allowed_anew():
    script = """
from handler.limits import limit_memory
limit_memory(500_000_000)
held = bytearray(400_000_000)
limit_memory(500_000_000)
held = [held, bytearray(400_000_000)]
try:
    bytearray(400_000_000)
except MemoryError:
    print("no more")
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout == "no more\n", done.stderr


def test_an_alarm_stops_ringing():
    alarm = Alarm()
    for _ in range(3):
        with pytest.raises(OutOfTimeError):
            alarm.run(0.01, lambda: [None for _ in iter(int, 1)])
    assert alarm.run(0.01, lambda: "done") == "done"
    deadline = time.perf_counter() + 0.25  # longer than it rings again after
    while time.perf_counter() < deadline:
        pass


def test_an_alarm_leaves_the_works_own_errors():
    with pytest.raises(ZeroDivisionError):
        Alarm().run(1, lambda: 1 // 0)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts a process's memory so")
@pytest.mark.parametrize("image_format", ["PNG", "WEBP", "AVIF"])
def test_a_picture_that_needs_more_memory_than_there_is_gets_a_problem(image_format):
    """In a process of its own, which goes on."""
    script = f"""
from handler.limits import limit_memory
from model.images import ImageError, read_pixels
from tests import pictures
from PIL import Image
data = pictures.encode(Image.new("RGB", (6000, 6000)), {image_format!r})
good = pictures.PHOTO_PATH.read_bytes()
read_pixels(good, 32, 32)
limit_memory(50_000_000)
try:
    read_pixels(data, 32, 32)
except ImageError as error:
    assert error.status == 422
    print("refused", read_pixels(good, 32, 32).shape)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout == "refused (3, 32, 32)\n", done.stderr


def test_the_largest_picture_of_every_format_fits_in_the_memory_that_is_allowed(ask, monkeypatch):
    monkeypatch.setattr(classifier_handler, "PICTURE_SECONDS", 60)  # not what is asked here, on a busy machine
    monkeypatch.setattr(classifier_handler, "BATCH_SECONDS", 200)
    for image_format, options in (("WEBP", {"lossless": True, "method": 0}), ("AVIF", {"speed": 10})):
        data = pictures.encode(Image.new("RGBA", (7_070, 7_070)), image_format, **options)
        [(status, problem)] = ask(data)
        assert status == 200, problem


def test_the_list_of_formats_is_the_same_everywhere():
    from gateway import api

    assert tuple(name.upper() for name in api.FORMATS) == FORMATS
    spoken = ", ".join(api.FORMATS[:-1]) + f" or {api.FORMATS[-1]}"
    assert spoken in str(pictures_error())
    listed = ", ".join(api.FORMATS[:-1]) + f" and {api.FORMATS[-1]}"
    for document in ("README.md", "SECURITY.md"):
        assert listed in (ROOT / document).read_text(), document


def pictures_error():
    with pytest.raises(UnsupportedFormatError) as refusal:
        read_pixels(b"no picture", 32, 32)
    return refusal.value


def test_only_the_decoder_of_a_pictures_own_format_is_tried(monkeypatch):
    """Pillow has forty more, one of which starts Ghostscript; a GIF that began like a WebP got past a limit once."""
    tried = []
    real = Image.open

    def noted(file, formats):
        tried.append(formats)
        return real(file, formats=formats)

    monkeypatch.setattr(Image, "open", noted)
    read_pixels(GOOD, 32, 32)
    read_pixels(hostile.photograph("WEBP"), 32, 32)
    assert tried == [("PNG",), ("WEBP",)]


@pytest.mark.skipif(sys.platform != "linux", reason="Atheris has wheels for Linux only")
def test_a_few_seconds_of_fuzzing_find_nothing(tmp_path):
    pytest.importorskip("atheris", reason="Atheris has no wheel for this Python")
    command = [sys.executable, "-m", "tests.fuzz", "--seconds", "4", "--folder", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    [executed] = [line for line in done.stderr.splitlines() if line.startswith("stat::number_of_executed_units")]
    assert int(executed.split()[-1]) > 500
