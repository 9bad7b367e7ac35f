"""Progress bars on a terminal or in a notebook, one for each transfer."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ._visible import visible


class Bars:
    """Called with a file's name, bytes done and bytes in all (None: unknown), from any thread; shows bars.

    A context manager: leaving it closes the bars that are still open.

    Args:
        smallest: bytes; a smaller file gets no bar.
        leave: whether a bar stays when its file is complete.
    """

    def __init__(self, smallest: int = 0, *, leave: bool = False) -> None:
        self._smallest, self._leave = smallest, leave
        self._shown: dict[str, Any] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return "progress bars"

    def __call__(self, name: str, done: int, size: int | None) -> None:
        """Show how far a transfer is."""
        with self._lock:
            if name not in self._shown:
                if (done if size is None else size) < self._smallest:
                    return
                self._shown[name] = self._bar(visible(name, one_line=True), size)
            bar = self._shown[name]
            if size is not None:  # unknown while what had arrived before is hashed
                bar.total = size
            bar.update(done - bar.n)  # less than before where a transfer begins again
            if size is not None and done >= size:  # a mirror has thousands
                self._shown.pop(name).close()

    def __enter__(self) -> Bars:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            while self._shown:
                self._shown.popitem()[1].close()

    def _bar(self, title: str, size: int | None) -> Any:
        with warnings.catch_warnings():  # a notebook without ipywidgets gets bars of text
            warnings.simplefilter("ignore")
            from tqdm.autonotebook import tqdm

        return tqdm(desc=title, total=size, unit="B", unit_scale=True, leave=self._leave)


@contextmanager
def counter(title: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a function that shows how many of a total are done."""
    from tqdm import tqdm

    with tqdm(desc=title, unit=f" {unit}", leave=False) as shown:

        def count(done: int, total: int) -> None:
            shown.total = total
            shown.update(done - shown.n)

        yield count
