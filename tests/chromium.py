"""Chromium without a window, driven over a pipe by its DevTools protocol."""

import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_PATIENCE = 60.0  # seconds for one answer
# it takes messages from file 3 and answers into file 4
_START = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"
)
_KEYS = {"Tab": 9, "Enter": 13, " ": 32}


class Tab:
    """One tab.

    Attributes:
        requested: addresses that it asked for.
        complaints: errors and warnings on its console.
    """

    def __init__(self, to: int, answers: int) -> None:
        self._to, self._answers = to, answers
        self._numbers = itertools.count(1)
        self._data = b""
        self._session: str | None = None
        self._loaded = False
        self.requested: list[str] = []
        self.complaints: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> Any:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == number:
                assert "error" not in answer, (method, answer)
                return answer["result"]

    def open(self, address: str) -> None:
        self._loaded = False
        self.call("Page.navigate", url=address)
        self.wait_for_page()

    def wait_for_page(self) -> None:
        while not self._loaded:
            self._next()

    def run(self, script: str) -> Any:
        """Return what a script in the page returns."""
        done = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True)
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    def press(self, key: str) -> None:
        self._loaded = False
        code = {"key": key, "code": "Space" if key == " " else key, "windowsVirtualKeyCode": _KEYS[key]}
        text = {"Enter": {"text": "\r"}, " ": {"text": " "}}.get(key, {})
        self.call("Input.dispatchKeyEvent", type="keyDown", **code, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **code)

    def type(self, text: str) -> None:
        self.call("Input.insertText", text=text)

    def width(self, pixels: int) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=pixels, height=900, deviceScaleFactor=1, mobile=False)

    def colours(self, scheme: str) -> None:
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def _next(self) -> Any:
        until = time.monotonic() + _PATIENCE
        while b"\0" not in self._data:
            assert time.monotonic() < until, "no answer"
            block = os.read(self._answers, 1 << 20)
            assert block, "Chromium has ended"
            self._data += block
        message, self._data = self._data.split(b"\0", 1)
        answer = json.loads(message)
        method, parameters = answer.get("method"), answer.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requested.append(parameters["request"]["url"])
        elif method == "Page.loadEventFired":
            self._loaded = True
        elif method in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"):
            self.complaints.append(json.dumps(parameters))
        return answer


@contextmanager
def tab() -> Iterator[Tab]:
    """Start Chromium, and end it."""
    assert PROGRAM is not None
    read, to = os.pipe()
    answers, write = os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = ["--headless=new", "--remote-debugging-pipe", f"--user-data-dir={profile}", "--disable-gpu"]
        options += ["--no-first-run", "--disable-background-networking", "--disable-dev-shm-usage", "--no-sandbox"]
        process = subprocess.Popen(
            [sys.executable, "-c", _START, str(read), str(write), PROGRAM, *options],
            pass_fds=(read, write),
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": profile},
        )
        os.close(read)
        os.close(write)
        try:
            yield Tab(to, answers)
        finally:
            process.terminate()
            process.wait()
            os.close(to)
            os.close(answers)
