"""SIGTERM and SIGHUP end a command as ctrl-C does, so that unfinished uploads and files are cleaned up.

A batch system sends SIGTERM, a closed terminal SIGHUP. The library itself sets no signal handlers.
"""

from __future__ import annotations

import signal
from types import FrameType

from ._exit_codes import INTERRUPTED

_ENDING = ("SIGTERM", "SIGHUP")  # Windows has no SIGHUP


class Ended(KeyboardInterrupt):
    """The process was asked to end by a signal."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number


def end_as_by_ctrl_c() -> None:
    """Let the ending signals raise `Ended`. A signal that is ignored (as under nohup) stays ignored."""
    for name in _ENDING:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _end)


def exit_code_of(interruption: BaseException) -> int:
    """Return the exit code of a KeyboardInterrupt, or of the click.Abort made of it."""
    cause = interruption.__cause__ or interruption.__context__ or interruption  # older click has no cause
    return cause.exit_code if isinstance(cause, Ended) else INTERRUPTED


def _end(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)  # a second one must not stop the cleaning up
    raise Ended(number)
