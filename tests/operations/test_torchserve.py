"""What the client makes of TorchServe's answers."""

from contextlib import closing

import pytest
import requests

from launcher.settings import Settings
from operations import torchserve
from operations.errors import Refused
from operations.keys import Keys
from operations.torchserve import TorchServe


@pytest.mark.parametrize("status", [415, 500, 503])
def test_an_answer_that_is_an_error_is_a_failure_and_no_absence(tmp_path, monkeypatch, status):
    """Which is exit code 1 and not 3."""
    response = requests.Response()
    response.status_code, response.reason = status, "Some Reason"
    monkeypatch.setattr(torchserve, "PAUSES_SECONDS", (0, 0))
    monkeypatch.setattr(TorchServe, "_send", lambda *_, **__: response)
    client = TorchServe(Settings(), Keys(tmp_path / "none", ""))
    with closing(client.session), pytest.raises(Refused, match=f"version 2 does not classify: .* {status} Some Reason"):
        client.ask(b"picture", "2")
