"""Rules and dashboard before a real Prometheus that scrapes the real service."""

import contextlib
import json
import math
import re
import socket
import subprocess

import pytest
import requests
import yaml

from tests import pictures
from tests.deploy.conftest import DEPLOY, program
from tests.service import answers, eventually

MONITORING = DEPLOY / "monitoring"
DASHBOARD = json.loads((MONITORING / "grafana" / "dashboards" / "cifar10.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
RULES = [rule for group in yaml.safe_load((MONITORING / "rules.yml").read_text())["groups"] for rule in group["rules"]]
PACKAGE = "Debian's package prometheus"
TIMEOUT = 30

# Of a service that nothing has happened to. What tests send shows few classes, so that drift may be seen.
CALM = ("GatewayDown", "TorchServeDown", "NotReady", "ManyOutOfScope")


def queries():
    """Every panel's expressions, over spans that suit a scrape every three seconds."""
    for panel in PANELS:
        for target in panel["targets"]:
            yield target["expr"].replace("$__rate_interval", "1m")


def metrics_of(expression):
    """The names in a PromQL expression that can only be metrics."""
    return set(re.findall(r"\b(?:up|(?:job|label):\w+:\w+|(?:gateway|ts|worker|process)_\w+)\b", expression))


class Prometheus:
    """A server that scrapes one service every few seconds, with the project's rules."""

    def __init__(self, service, folder):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        config = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
        config["global"] = dict.fromkeys(config["global"], "3s")
        config["rule_files"] = [str(MONITORING / name) for name in config["rule_files"]]
        targets = {"gateway": service.gateway, "torchserve": service.metrics}
        for job in config["scrape_configs"]:
            del job["dns_sd_configs"]
            job["static_configs"] = [{"targets": [targets[job["job_name"]].removeprefix("http://")]}]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        arguments = {
            "config.file": folder / "prometheus.yml",
            "storage.tsdb.path": folder / "data",
            "web.listen-address": self.address,
            "log.level": "error",
        }
        command = [program("prometheus", PACKAGE), *(f"--{name}={value}" for name, value in arguments.items())]
        self.process = subprocess.Popen(command, cwd=folder)

    def query(self, expression):
        """The samples of an expression now; NaN is no sample: it is what 0 / 0 gives."""
        url = f"http://{self.address}/api/v1/query"
        response = requests.post(url, data={"query": expression}, timeout=TIMEOUT)
        assert response.ok, f"{expression}: {response.text}"
        found = response.json()["data"]["result"]
        return [sample for sample in found if not math.isnan(float(sample["value"][1]))]

    def rules(self):
        """The rules as they stand, by their names."""
        groups = requests.get(f"http://{self.address}/api/v1/rules", timeout=TIMEOUT).json()["data"]["groups"]
        return {rule["name"]: rule for group in groups for rule in group["rules"]}

    def is_ready(self):
        return answers(f"http://{self.address}/-/ready")

    def stop(self):
        self.process.terminate()
        self.process.wait(TIMEOUT)


@pytest.fixture(scope="module")
def prometheus(service, tmp_path_factory):
    prometheus = Prometheus(service, tmp_path_factory.mktemp("prometheus"))
    try:
        eventually(prometheus.is_ready, 120)
        yield prometheus
    finally:
        prometheus.stop()


def make_traffic(service):
    """Something of everything that the dashboard counts."""
    photo, bad = pictures.PHOTO_PATH.read_bytes(), pictures.REFUSED["truncated png"][0]()
    for path, data in (("classify", photo), ("classify", bad), ("explain", photo)):
        requests.post(f"{service.gateway}/api/v1/{path}", data=data, timeout=TIMEOUT)
    requests.get(f"{service.gateway}/readyz", timeout=TIMEOUT)


def missing_while_there_is_traffic(service, prometheus, expressions):
    """The expressions that have given no data after a while."""
    missing = list(expressions)

    def ask():
        make_traffic(service)
        missing[:] = [expression for expression in missing if not prometheus.query(expression)]
        return not missing

    with contextlib.suppress(AssertionError):
        eventually(ask, 120)
    return missing


def test_every_panel_shows_something(service, prometheus):
    assert missing_while_there_is_traffic(service, prometheus, queries()) == []


def test_every_rule_is_about_metrics_that_exist(service, prometheus):
    names = set().union(*(metrics_of(rule["expr"]) for rule in RULES))
    names |= {rule["record"] for rule in RULES if "record" in rule}
    assert missing_while_there_is_traffic(service, prometheus, sorted(names)) == []


def test_every_rule_can_be_evaluated(prometheus):
    def health():
        return [rule["health"] for rule in prometheus.rules().values()]

    eventually(lambda: "unknown" not in health(), TIMEOUT)
    assert set(health()) == {"ok"}
    assert len(health()) == len(RULES)


def test_healthy_targets_raise_no_alert(prometheus):
    """Nor will they: none is pending, as each is for a minute or more before it fires."""

    def states():
        rules = prometheus.rules()
        return {(rules[name]["health"], rules[name]["state"]) for name in CALM}

    eventually(lambda: states() == {("ok", "inactive")}, TIMEOUT)
    assert len(prometheus.query("up == 1")) == 2


@pytest.mark.parametrize("arguments", [("check", "config", "prometheus.yml"), ("test", "rules", "rules.test.yml")])
def test_promtool_agrees(arguments):
    command = [program("promtool", PACKAGE), *arguments]
    done = subprocess.run(command, cwd=MONITORING, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_unit_tested_and_says_what_to_do():
    tested = (MONITORING / "rules.test.yml").read_text()
    alerts = [rule for rule in RULES if "alert" in rule]
    assert len(alerts) == 9
    for alert in alerts:
        assert alert["alert"] in tested
        assert set(alert["annotations"]) == {"summary", "description"}
        assert alert["labels"]["severity"] in ("critical", "warning")


def test_the_dashboard_is_one_that_grafana_takes():
    """Grafana itself is in no package that can be had here: what it needs is checked by its documented JSON model."""
    [source] = yaml.safe_load((MONITORING / "grafana/provisioning/datasources/prometheus.yml").read_text())[
        "datasources"
    ]
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in PANELS:
        assert panel["type"] in {"timeseries", "stat", "barchart", "heatmap"}
        assert panel["title"]
        assert panel["datasource"]["uid"] == source["uid"]
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references)
        assert all(target["datasource"]["uid"] == source["uid"] for target in panel["targets"])


def test_panels_do_not_overlap():
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
