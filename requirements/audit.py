"""Ask PyPI's advisory database for known faults of everything that the images install: `make audit`.

It needs that database, so it is a step of the release workflow and no test.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent

EXCEPTIONS: Final[dict[str, str]] = {}
"""What is let pass: the advisory's id, and why it does no harm here or what is done about it."""


def main() -> None:
    """Exit with code 1 when there is one that is not let pass."""
    locks = "\n".join(path.read_text() for path in (HERE / "locks").glob("*.txt"))
    pinned = re.findall(r"^([\w.-]+)==([^\s;]+)", locks, re.MULTILINE)
    torch = re.findall(r"^(torch)==(\S+)", (HERE / "constraints.txt").read_text(), re.MULTILINE)  # is in no lock
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as listed:
        listed.writelines(f"{name}=={version}\n" for name, version in sorted({*pinned, *torch}))
        listed.flush()
        command = ["pip-audit", "--disable-pip", "--no-deps", "--strict", "-r", listed.name]
        command += [part for name in EXCEPTIONS for part in ("--ignore-vuln", name)]
        sys.exit(subprocess.run(command, check=False).returncode)


if __name__ == "__main__":
    main()
