"""What an operator sets reaches the containers, and the balancer's word about senders is believed."""

import pytest
import yaml

import launcher.settings
from gateway.settings import Settings
from operations.trial import FILE_NAME
from tests.deploy.conftest import DEPLOY
from tests.service import ROOT

# What the containers settle between themselves.
SETTLED = {"host", "port", "torchserve_url", "model_name", "key_file", "trial_file"}


class Loader(yaml.SafeLoader):
    """Knows Compose's own tag."""


Loader.add_constructor("!reset", lambda *_: None)


def described(file, service):
    return yaml.load(file.read_text(), Loader)["services"][service]


def environment(file, service):
    return described(file, service)["environment"]


@pytest.mark.parametrize(
    ("service", "variables"),
    [
        ("gateway", [f"GATEWAY_{name.upper()}" for name in Settings.model_fields if name not in SETTLED]),
        ("torchserve", ["START_TIMEOUT_SECONDS", "SILENCE_SECONDS", "GATEWAY_MAX_IMAGE_BYTES"]),
    ],
)
def test_a_setting_is_taken_from_the_environment_of_docker_compose(service, variables):
    passed_on = environment(ROOT / "docker-compose.yml", service)
    for variable in variables:
        assert variable in passed_on
        assert passed_on[variable] is None or passed_on[variable].startswith(f"${{{variable}:-")


@pytest.mark.parametrize(
    ("file", "service", "needed"),
    [
        ("docker-compose.yml", "gateway", Settings().stop_seconds),
        ("deploy/swarm/stack.yml", "cifar10", launcher.settings.Settings().stop_seconds),
    ],
)
def test_a_stop_waits_for_what_the_gateway_has_accepted(file, service, needed):
    assert int(described(ROOT / file, service)["stop_grace_period"].removesuffix("s")) > needed


def test_a_trial_lies_where_a_restart_finds_it():
    """TorchServe's keys are in memory, and gone once both containers have stopped."""
    described = yaml.load((DEPLOY / "versions" / "compose.yml").read_text(), Loader)
    store = described["services"]["torchserve"]["environment"]["TS_MODEL_STORE"]
    assert described["services"]["torchserve"]["volumes"] == [f"versions:{store}"]
    assert described["services"]["gateway"]["volumes"] == [f"versions:{store}:ro"]
    assert described["services"]["gateway"]["environment"]["GATEWAY_TRIAL_FILE"] == f"{store}/{FILE_NAME}"
    assert described["volumes"]["versions"] is None
    for service in ("torchserve", "gateway"):
        assert "GATEWAY_TRIAL_FILE" not in environment(ROOT / "docker-compose.yml", service)


def test_the_balancer_says_who_sends_and_the_gateways_believe_it_alone():
    config = (DEPLOY / "scaled" / "haproxy.cfg").read_text()
    frontend = config.partition("\nfrontend ")[2].partition("\n\n")[0]
    assert "\n    option forwardfor\n" in frontend
    assert environment(DEPLOY / "scaled" / "compose.yml", "gateway")["GATEWAY_TRUSTED_PROXIES"].endswith(":-1}")
