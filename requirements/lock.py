"""Remake requirements/locks/: exact versions and the SHA-256 of every file that the images install. `make locks`.

torch is not among them. Which of its builds is installed depends on which index can be reached (handler/Dockerfile),
and their files differ; its version is pinned in constraints.txt, as is nothing that only its CUDA build needs.
"""

import re
import subprocess
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
LOCKED: Final = ("gateway", "torchserve")
NOT_LOCKED: Final = re.compile(r"(torch|triton|nvidia-[\w-]+|cuda-[\w-]+)==")
HEAD: Final = "# Made by `make locks` of ../{name}.txt and ../constraints.txt; do not edit.\n"


def main() -> None:
    """Resolve for every platform, from the package index that pip and uv are set up for."""
    for name in LOCKED:
        command = ["uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11", "--generate-hashes"]
        command += ["--no-header", "--no-annotate", f"{name}.txt"]
        text = subprocess.run(command, cwd=HERE, check=True, capture_output=True, text=True).stdout
        entries = re.split(r"\n(?=\w)", text.strip())
        kept = [entry for entry in entries if not NOT_LOCKED.match(entry)]
        (HERE / "locks" / f"{name}.txt").write_text(HEAD.format(name=name) + "\n".join(kept) + "\n")


if __name__ == "__main__":
    main()
