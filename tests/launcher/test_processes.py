"""What the launcher's own process writes."""

import io
import sys
import threading
from typing import Any

from launcher.__main__ import Launcher
from launcher.processes import write_line
from launcher.settings import Settings


class Raw(io.RawIOBase):
    """A standard output without a buffer, as PYTHONUNBUFFERED makes it, that lets others in between two writes."""

    def __init__(self):
        self.text = b""

    def writable(self):
        return True

    def write(self, data):
        before = self.text
        threading.Event().wait(0.001)
        self.text = before + bytes(data)
        return len(data)


def unbuffered(monkeypatch):
    raw: Any = Raw()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="latin-1", write_through=True))
    return raw


def test_lines_of_several_threads_stay_whole(monkeypatch):
    raw = unbuffered(monkeypatch)
    launcher = Launcher(Settings(log_format="json"), with_gateway=True)

    def relay(number):
        for _ in range(10):
            write_line(f'{{"event": "{number}"}}'.encode())

    threads = [threading.Thread(target=relay, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(10):
        launcher.say("it runs")
    for thread in threads:
        thread.join()
    expected = ['{"event": "launcher", "message": "it runs"}', *(f'{{"event": "{number}"}}' for number in range(4))]
    assert sorted(raw.text.decode().splitlines()) == sorted(10 * expected)


def test_what_standard_output_cannot_write_is_replaced(monkeypatch):
    raw = unbuffered(monkeypatch)
    Launcher(Settings(), with_gateway=True).say("starting TorchServe …")
    assert raw.text == b"starting TorchServe ?\n"
