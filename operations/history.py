"""Which versions have been the default, so that the last promotion can be taken back by a later command.

It lies in the model store, beside the archives it speaks of.
"""

import json
from pathlib import Path
from typing import Final

from operations.errors import Refused

FILE_NAME: Final = "versions.json"


class History:
    """The defaults of the past, the present one last."""

    def __init__(self, model_store: Path) -> None:
        self.path = model_store / FILE_NAME

    def defaults(self, current: str) -> list[str]:
        """Give the defaults that led to `current`; only itself where the record knows another default."""
        recorded = self._read()
        return recorded if recorded and recorded[-1] == current else [current]

    def previous(self, current: str) -> str:
        """Give the default before `current`.

        Raises:
            Refused: there is none.
        """
        defaults = self.defaults(current)
        if len(defaults) < 2:
            raise Refused(
                f"no promotion led to version {current}, so there is nothing to go back to; promote names a version"
            )
        return defaults[-2]

    def write(self, defaults: list[str]) -> None:
        """Record the defaults, whole or not at all."""
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps({"defaults": defaults}, indent=2) + "\n")
        new.replace(self.path)

    def _read(self) -> list[str]:
        try:
            recorded = json.loads(self.path.read_text())["defaults"]
            return [str(version) for version in recorded]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Refused(f"{self.path} cannot be read ({error}): mend or delete it") from error
