import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from gateway.settings import Settings

README = Path(__file__).parent.parent.parent / "README.md"


def test_settings_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("GATEWAY_PORT", "9000")
    assert Settings().port == 9000


@pytest.mark.parametrize(("name", "value"), [("PORT", "eight"), ("PORT", "70000"), ("THREADS", "0")])
def test_an_ill_typed_setting_is_named(monkeypatch, name, value):
    monkeypatch.setenv(f"GATEWAY_{name}", value)
    with pytest.raises(ValidationError, match=name.lower()):
        Settings()


def test_every_setting_is_described():
    assert all(field.description for field in Settings.model_fields.values())


def test_the_readme_lists_every_setting_with_its_default():
    rows = re.findall(r"^\| `GATEWAY_(\w+)` \| ?(.*?) ?\| (.+) \|$", README.read_text(), re.MULTILINE)
    listed = {name.lower(): (default, description) for name, default, description in rows}
    expected = {}
    for name, field in Settings.model_fields.items():
        default = ",".join(field.default) if isinstance(field.default, tuple) else str(field.default)
        expected[name] = (default, field.description)
    assert listed == expected
