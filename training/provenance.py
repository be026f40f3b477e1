"""What made a result: commit, library versions, hardware."""

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from training.machine import computes_bfloat16

LIBRARIES = ("torch", "numpy", "pillow", "safetensors", "scikit-learn")


def provenance() -> dict[str, Any]:
    """Describe the code and the machine that run now."""
    return {
        "commit": commit(),
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in LIBRARIES},
        "hardware": hardware(),
    }


def commit() -> str:
    """Name the checked-out commit, with `-dirty` after it where tracked files were changed; `unknown` outside git."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--match=", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


def hardware() -> str:
    """Say in a few words what computes."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    numbers = "bfloat16" if computes_bfloat16(torch.device("cpu")) else "float32"
    return f"{torch.get_num_threads()} threads of {processor()}, {numbers}"


def processor() -> str:
    """Name the processor, as Linux does where it runs."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        models = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        if models:
            return models[0]
    return platform.processor() or platform.machine()
