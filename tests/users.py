"""Other users of this computer, and processes that are killed, for tests."""

import os
import signal
import sys
import traceback
from collections.abc import Callable

COLLEAGUE = 54321  # a user without an entry in the passwd file, and without a home
GROUP = 54322
MEMBER = 54323  # another such user, of the same group


def as_colleague(work: Callable[[], object]) -> None:
    """Run ``work`` in a child process of another user; fail if it fails. Needs root."""
    as_user(COLLEAGUE, work)


def as_user(user: int, work: Callable[[], object]) -> None:
    """Run ``work`` in a child process of a user of the group, or of root; fail if it fails. Needs root."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if user:
                os.setgroups([])
                os.setgid(GROUP)
                os.setuid(user)
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def killed_at(step: int, work: Callable[[], object]) -> bool:
    """Run ``work`` in a child that is killed before its ``step``-th call that opens or changes a file.

    Return whether it was killed; False once ``work`` has fewer steps.
    """
    child = os.fork()
    if child == 0:
        left = [step]

        def count(event: str, _: object) -> None:
            if event in ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link"):
                left[0] -= 1
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        status = 1
        try:
            sys.addaudithook(count)
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGKILL)
    return code != 0
