"""Progress bars on a terminal, one for each transfer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from ._output import visible


@contextmanager
def bars() -> Iterator[Callable[[str, int, int | None], None]]:
    """Yield a function that shows the bytes done of a file's total (None: unknown), by the file's name."""
    from tqdm import tqdm

    shown: dict[str, Any] = {}
    with ExitStack() as stack:

        def report(name: str, done: int, size: int | None) -> None:
            if name not in shown:
                title = visible(name, one_line=True)
                shown[name] = stack.enter_context(tqdm(desc=title, total=size, unit="B", unit_scale=True, leave=False))
            shown[name].update(done - shown[name].n)
            if size is not None and done >= size:  # a mirror has thousands
                shown.pop(name).close()

        yield report


@contextmanager
def counter(title: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a function that shows how many of a total are done."""
    from tqdm import tqdm

    with tqdm(desc=title, unit=f" {unit}", leave=False) as shown:

        def count(done: int, total: int) -> None:
            shown.total = total
            shown.update(done - shown.n)

        yield count
