"""What an operation may end with, each with its exit code.

OperationError
├── Refused        1: it would do harm or makes no sense; nothing was changed
├── Failed         1: it was begun and did not come to its end; the message says what holds now
└── Unreachable    3: TorchServe or its keys are not there
"""

from typing import ClassVar


class OperationError(Exception):
    """An operation was not done; the message says why and what to do."""

    exit_code: ClassVar[int] = 1


class Refused(OperationError):
    """It would do harm or makes no sense; nothing was changed."""


class Failed(OperationError):
    """It was begun and did not come to its end; the message says what holds now."""


class Unreachable(OperationError):
    """TorchServe or its keys are not there."""

    exit_code = 3
