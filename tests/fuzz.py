"""A fuzzer of everything that comes from outside: files, settings, receipts, records, answers of servers, names.

    python tests/fuzz.py --kind files --cases 50000 --seed 1
    python tests/fuzz.py --kind files --seed 1 --case 1234

Each case is drawn from the seed and its own number, so the second command repeats one. Cases run in a worker process
that is replaced when it dies, when a case takes too long, and after some thousand cases. What is right for a case:

- no crash, no case over `LONGEST` seconds of CPU or silent for `SILENT`; no error but StorageErrors, in any thread;
- memory grows by less than `MEMORY` and the size of the case;
- no file is read or written but those of the case, of Python and of this project: Python's own calls are seen by an
  audit hook, those of C libraries by inotify on the folders around; no request leaves this computer; no process starts;
- nothing printed by the command line, in no message and no log is a control or bidi character.
"""

import argparse
import collections
import contextlib
import ctypes
import io
import logging
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from children import context
from fuzz_kinds import KINDS, Kind

from storage_plugins import StorageError

LONGEST = 20.0  # seconds of CPU that a case may take
SILENT = 60.0  # seconds without an outcome, on a busy machine too
MEMORY = 256 << 20  # bytes that a case may take beyond its own size
ADDRESSES = 3 << 30  # bytes of address space beyond those of the worker at its start
BATCH = 2000  # cases of one worker
COMMANDS = 20  # of so many cases, the command line gets one
_DRAW_EVENTS = 0x2 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400  # IN_MODIFY, MOVED_*, CREATE, DELETE
_READ_EVENTS = 0x1 | 0x20  # IN_ACCESS, IN_OPEN
_READABLE = (sys.prefix, sys.base_prefix, str(Path(__file__).parents[1]), "/usr", "/lib", "/dev/null", "/dev/urandom")
_OF_THE_SYSTEM = re.compile(
    r"/proc/(self|\d+)/(statm|status|clear_refs|fd|maps)|/proc/sys/kernel/random/boot_id|/sys/(class/dmi|hypervisor)/.*"
    r"|/etc/(localtime|hosts|resolv.conf|nsswitch.conf|host.conf|gai.conf|ssl/.*|mime.types|apache2/.*|httpd/.*)"
)


class Watch:
    """What happens in folders, as the kernel sees it; nothing where there is no inotify."""

    def __init__(self, written: list[Path], read: list[Path]) -> None:
        self._file = -1
        libc = ctypes.CDLL(None, use_errno=True)
        if hasattr(libc, "inotify_init1"):
            self._file = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
            for folder in {*written, *read}:
                mask = _DRAW_EVENTS | (_READ_EVENTS if folder in read else 0)
                libc.inotify_add_watch(self._file, os.fsencode(folder), mask)

    def events(self) -> list[str]:
        """Return the names of the files that were touched since the last call."""
        try:
            data = os.read(self._file, 1 << 16) if self._file >= 0 else b""
        except BlockingIOError:
            return []
        names = []
        while data:
            length = int.from_bytes(data[12:16], sys.byteorder)
            names.append(f"{data[16 : 16 + length].rstrip(bytes(1)).decode(errors='replace')} (event {data[4]:#x})")
            data = data[16 + length :]
        return names


class Auditor:
    """What Python itself does that no case should."""

    def __init__(self, base: Path) -> None:
        self._base, self.seen, self.on = str(base.resolve()), [], False
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
            self._opened(os.fsdecode(arguments[0]), int(arguments[2] or 0))
        elif event in ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn"):
            self.seen.append(f"{event} {arguments[:2]}")
        elif event == "socket.connect" and isinstance(arguments[1], tuple):
            if arguments[1][0] not in ("127.0.0.1", "::1"):
                self.seen.append(f"connects to {arguments[1][:2]}")
        elif event == "socket.getaddrinfo" and arguments[0] not in ("127.0.0.1", "::1", "localhost", None, ""):
            self.seen.append(f"looks up {arguments[0]!r}")

    def _opened(self, name: str, flags: int) -> None:
        if flags & getattr(os, "O_NOFOLLOW", 0) and Path(name).is_symlink():
            return  # it fails
        path = os.path.realpath(name)
        if path.startswith(f"{self._base}/") and not path.startswith(f"{self._base}/outside"):
            return
        writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        readable = path.startswith(_READABLE) or _OF_THE_SYSTEM.fullmatch(path)
        if (writes and not path.startswith("/dev/null")) or not readable:
            self.seen.append(f"opens {name!r}{' to write' if writes else ''}")


class Log(logging.Handler):
    """Every message of this project's loggers."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


def raw(text: str) -> str | None:
    """Return the first character of a text that controls a terminal."""
    for character in text:
        harmless = character in "\n\t\u200c\u200d"  # the last two are part of how Persian, Hindi and emoji are written
        if not harmless and unicodedata.category(character) in ("Cc", "Cf", "Cs"):
            return f"{character!r} in {text[:300]!r}"
    return None


class Judge:
    """Runs cases of one kind in this process, and says what was wrong with each."""

    def __init__(self, kind: Kind, seed: int, base: Path) -> None:
        self.kind, self.seed, self.base = kind, seed, base
        self.log, self.broken = Log(), list[str]()
        logging.getLogger("storage_plugins").addHandler(self.log)
        for plugin in ("s3", "osf", "local", "fsspec", "web"):
            logging.getLogger(f"storage_plugins_{plugin}").addHandler(self.log)
        threading.excepthook = lambda told: self.broken.append(f"in a thread: {_of(told.exc_value)}")
        sys.unraisablehook = lambda told: self.broken.append(f"unraisable: {_of(told.exc_value)}")
        self.watch = Watch([base, base / "here", base / "outside"], [base / "outside"])
        self.auditor = Auditor(base)

    def judge(self, number: int, at: Any = None) -> tuple[str, list[str]]:
        """Return how a case ended, and what was wrong. ``at``: where its number is noted once it is drawn."""
        chance = random.Random(f"{self.kind.name} {self.seed} {number}")
        folder = self.base / "cases" / str(number)
        folder.mkdir()
        if at is not None:
            at.value = -1 - number
        case = self.kind.draw(chance, folder)
        if at is not None:
            at.value = number
        size = sum(path.lstat().st_size for path in folder.rglob("*"))
        self.watch.events()
        self.log.texts.clear()
        self.broken.clear()
        self.auditor.seen.clear()
        wrong: list[str] = []
        before, begin = reset_peak(), time.process_time()
        outcome = "accepted"
        self.auditor.on = True
        try:
            self.kind.attempt(case, folder)
        except StorageError as error:
            outcome = type(error).__name__
            wrong += _raw("message", str(error))
        except Exception as error:
            outcome = "untyped"
            wrong.append(f"untyped: {_of(error)}")
        grown = peak() - before
        if number % COMMANDS == 0:
            wrong += self._command(case, folder)
        self.auditor.on = False
        if grown > MEMORY + size:
            wrong.append(f"memory: {grown >> 20} MiB for {size} bytes")
        took = time.process_time() - begin
        if took > LONGEST:
            wrong.append(f"slow: {took:.1f} s of CPU")
        wrong += self.broken + [f"outside: {event}" for event in (*self.auditor.seen, *self.watch.events())]
        for text in self.log.texts:
            wrong += _raw("log", text)
        shutil.rmtree(folder)
        return outcome, wrong

    def _command(self, case: Any, folder: Path) -> list[str]:
        from storage_plugins.cli._main import run

        arguments = self.kind.command(case, folder)
        if arguments is None:
            return []
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            run(arguments)
        printed = out.getvalue()
        return _raw("printed", printed) + ([f"command: {printed[-1500:]}"] if "Traceback" in printed else [])


def _raw(what: str, text: str) -> list[str]:
    found = raw(text)
    return [f"{what}: {found}"] if found else []


def _of(error: BaseException | None) -> str:
    lines = traceback.format_exception(error)
    return "".join(lines)[-1800:] if error else "nothing"


def reset_peak() -> int:
    """Forget how much memory was used at most; return how much is used now."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return peak()


def peak() -> int:
    """Return the most memory used since `reset_peak`, in bytes."""
    with contextlib.suppress(OSError):
        return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) << 10
    return 0


def work(pipe: Any, at: Any, name: str, seed: int, numbers: range, base: Path) -> None:
    """Judge cases; ``at`` is the number of the one that is running."""
    prepare(base)
    kind = KINDS[name](base)
    judge = Judge(kind, seed, base)
    with contextlib.suppress(OSError, ImportError):
        import resource

        now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + ADDRESSES, now + ADDRESSES))
    for number in numbers:
        pipe.send((number, *judge.judge(number, at)))
    pipe.send(None)


def prepare(base: Path) -> None:
    """Be a user with an empty home and nothing in the environment."""
    for variable in list(os.environ):
        if variable.startswith(("AWS_", "STORAGE_PLUGINS_", "XDG_", "BRAINIO_", "SSH_")):
            del os.environ[variable]
    for folder in ("home", "here", "outside", "cases"):
        (base / folder).mkdir(exist_ok=True)
    (base / "outside" / "secret").write_text("SECRET")
    os.environ |= {
        "HOME": str(base / "home"),
        "STORAGE_PLUGINS_CACHE": str(base / "cases" / "cache"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI",
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    }
    os.chdir(base / "here")
    pause = time.sleep
    time.sleep = lambda seconds: pause(min(seconds, 0.001))  # no case waits for a server to get better
    import warnings

    warnings.simplefilter("ignore")


class Tally:
    """What came of all cases."""

    def __init__(self) -> None:
        self.outcomes, self.findings = collections.Counter[str](), list[tuple[int, str]]()

    def add(self, number: int, outcome: str, wrong: list[str]) -> None:
        """Note one case, and print what was wrong with it."""
        self.outcomes[outcome] += 1
        for one in wrong:
            self.findings.append((number, one))
            if len(self.findings) <= 300:
                print(f"--- case {number}: {raw_shown(one)}", flush=True)


def raw_shown(text: str) -> str:
    """Return a text without what it could do to a terminal."""
    return "".join(c if c in "\n\t" or c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def fuzz(name: str, seed: int, numbers: range, seconds: float = float("inf")) -> Tally:
    """Run cases, each in a worker; begin none after so many seconds."""
    tally, begin = Tally(), time.monotonic()
    while numbers and time.monotonic() - begin < seconds:
        numbers = _batch(tally, name, seed, numbers, begin + seconds)
    return tally


def _batch(tally: Tally, name: str, seed: int, numbers: range, until: float) -> range:
    """Run the next cases in one worker; return those that are left."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        pipe, other = context().Pipe()
        at = context().Value("q", -1)
        arguments = (other, at, name, seed, numbers[:BATCH], Path(folder).resolve())
        process = context().Process(target=work, args=arguments, daemon=True)
        process.start()
        other.close()
        done = numbers.start
        try:
            while True:
                wait = SILENT * (1 if done > numbers.start else 3)  # the first waits for imports
                if not pipe.poll(wait):
                    return _ended(tally, at.value, numbers, f"hangs for {wait:.0f} s")
                told = pipe.recv()
                if told is None:
                    return range(numbers[:BATCH].stop, numbers.stop)
                tally.add(*told)
                done = told[0] + 1
                if time.monotonic() > until:
                    return range(0)
        except (EOFError, ConnectionError):
            process.join()
            code = process.exitcode or 0
            how = signal.Signals(-code).name if code < 0 else f"exit {code}"
            return _ended(tally, at.value, numbers, f"dies of {how}")
        finally:
            process.kill()
            process.join()


def _ended(tally: Tally, at: int, numbers: range, how: str) -> range:
    """Note that a worker ended in the midst of a case; return the cases that are left."""
    number = at if at >= 0 else -1 - at
    if number not in numbers:
        raise RuntimeError(f"no worker starts: it {how}")
    if at < 0:
        tally.add(number, "not drawn", [])  # it is h5py that cannot write this
    else:
        tally.add(number, how.split()[0], [how])
    return range(number + 1, numbers.stop)


def only(name: str, seed: int, number: int) -> Iterator[str]:
    """Yield what is wrong with one case, run in this process."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        base = Path(folder).resolve()
        prepare(base)
        judge = Judge(KINDS[name](base), seed, base)
        outcome, wrong = judge.judge(number)
        yield f"{outcome}"
        yield from map(raw_shown, wrong)
        os.chdir("/")


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kind", choices=[*KINDS, "all"], default="all")
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--case", type=int, help="this one alone, in this process")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no case after that")
    given = parser.parse_args()
    if given.case is not None:
        print("\n".join(only(given.kind, given.seed, given.case)))
        return
    found = 0
    for name in KINDS if given.kind == "all" else [given.kind]:
        begin = time.monotonic()
        tally = fuzz(name, given.seed, range(given.cases), given.seconds)
        found += len(tally.findings)
        total, took = sum(tally.outcomes.values()), time.monotonic() - begin
        kinds = ", ".join(f"{outcome} {count}" for outcome, count in tally.outcomes.most_common())
        print(f"{name}: {total} cases, seed {given.seed}, {took:.0f} s, {len(tally.findings)} findings ({kinds})")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
