"""Progress bars on a terminal, one for each transfer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any


@contextmanager
def bars() -> Iterator[Callable[[str, int, int | None], None]]:
    """Give out a function that shows bytes done of bytes in all (None: unknown) for a file's name."""
    from tqdm import tqdm

    shown: dict[str, Any] = {}
    with ExitStack() as stack:

        def report(name: str, done: int, size: int | None) -> None:
            if name not in shown:
                shown[name] = stack.enter_context(tqdm(desc=name, total=size, unit="B", unit_scale=True, leave=False))
            shown[name].update(done - shown[name].n)
            if size is not None and done >= size:  # a mirror has thousands
                shown.pop(name).close()

        yield report
