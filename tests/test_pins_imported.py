"""Pins in the sources of Brain-Score plugins: read without running them, saved beside the receipts, and loaded by."""

import ast
import hashlib
import json
import os
import shutil
import textwrap
from pathlib import Path

import pytest
from command_line import run_command
from conftest import make_assembly, write_yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from memory_files import MemoryFiles

import storage_plugins
from storage_plugins._copies.receipts import ImportedPin, Receipts
from storage_plugins.brainscore._pins_in_sources import find_pins
from storage_plugins.errors import IntegrityError, InvalidPin

A, B, C = (hashlib.sha1(name).hexdigest() for name in (b"a", b"b", b"c"))
BUCKET = "brainscore-storage/brainio-brainscore"
ADDRESS = f"s3://{BUCKET}"


@pytest.fixture
def read(tmp_path):
    """Read sources, by name or just one; return their pins, and what could not be read as lines of text."""

    def read(source="", **sources):
        folder = tmp_path / "plugin"
        shutil.rmtree(folder, ignore_errors=True)
        for name, text in {"__init__": source, **sources}.items():
            path = folder / f"{name.replace('__in_', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text).replace("AAA", A).replace("BBB", B).replace("CCC", C))
        found, unread = find_pins([folder])
        return list(found), [f"{path.name}:{line}: {reason}" for path, line, reason in unread]

    return read


def assembly_pin(identifier="X.y", version_id="v1", sha1=A, address=ADDRESS):
    key = f"assy_{identifier.replace('.', '_')}.nc"
    return ImportedPin(key=key, sha1=sha1, identifier=identifier, version_id=version_id, address=address)


FULL = 'identifier="X.y", version_id="v1", sha1="AAA", bucket="brainscore-storage/brainio-brainscore", cls=N'
FULL_CALL = f"load_assembly_from_s3({FULL})"
LITERALS = {
    "in a lambda": f"data_registry['X'] = lambda: load_assembly_from_s3({FULL}, stimulus_set_loader=lambda: load('X'))",
    "directly": f"x = s3.load_assembly_from_s3({FULL})",
    "positionally": f'f = lambda: load_assembly_from_s3("X.y", "v1", "AAA", "{BUCKET}", N)',
    "within another call": f"data_registry['X'] = lambda: reindex(load_assembly_from_s3({FULL}))",
    "in a function": f"def load():\n    if os.getenv('A'):\n        return 1\n    return load_assembly_from_s3({FULL})",
    "in a method": f"class B:\n    def __init__(self, a):\n        self.x = load_assembly_from_s3({FULL})",
    "by another name": f"from brainscore.s3 import load_assembly_from_s3 as get\nx = lambda: get({FULL})",
    "by an assigned name": f"get = load_assembly_from_s3\nx = lambda: get({FULL})",
    "imported in two ways": f"""
        try:
            from brainio.s3 import load_assembly_from_s3
        except ImportError:
            from brainscore.s3 import load_assembly_from_s3
        x = lambda: load_assembly_from_s3({FULL})""",
    "under a condition that never holds": f"if False:\n    f = lambda: load_assembly_from_s3({FULL})",
    "where a parameter decides": f"""
        def load(kind):
            if kind == "a":
                return None
            with open(kind) as file:
                return load_assembly_from_s3({FULL})""",
    "in every other kind of block": f"""
        async def load():
            async with a as b:
                try:
                    while True:
                        match b:
                            case 1: return kind or await f(load_assembly_from_s3({FULL}))
                finally: pass""",
    "as a partial": f"data_registry['X'] = functools.partial(load_assembly_from_s3, {FULL})",
    "with a constant": """
        data_registry['X'] = lambda: load_assembly_from_s3("X.y", "v1", sha1="AAA", bucket=_BUCKET)
        _BUCKET = "brainscore-storage/" + "brainio-brainscore" """,
    "with f-strings": """
        LAB, YEAR = "X", 1
        data_registry[LAB] = lambda: load_assembly_from_s3(
            f"{LAB}.y", f"v{YEAR}", "AAA", bucket=f"brainscore-storage/{'brainio'}-brainscore")""",
    "with local names": f"""
        def load():
            identifier: str = "X.y"
            pin = dict(version_id="v1", sha1="AAA")
            return load_assembly_from_s3(identifier, bucket="{BUCKET}", **pin)""",
}
TABLES = {
    "keywords of a table": f"""
        PINS = {{"X": dict(identifier="X.y", version_id="v1"), "Y": unknown()}}
        data_registry['X'] = lambda: load_assembly_from_s3(sha1="AAA", bucket="{BUCKET}", **PINS["X"])""",
    "items of a table": f"""
        data_registry['X'] = lambda: load_assembly_from_s3(P["X"][0], P["X"][1], P["X"][2], bucket="{BUCKET}")
        P = {{"X": ("X.y", "v1", "AAA")}}""",
    "positions of a table": f"P = ['X.y', 'v1', 'AAA', '{BUCKET}']\nx = lambda: load_assembly_from_s3(*P)",
    "a table of a table": f"""
        COMMON = {{"bucket": "{BUCKET}"}}
        PIN = {{**COMMON, "identifier": "X.y", "version_id": "v1", "sha1": "AAA"}}
        x = lambda: load_assembly_from_s3(**PIN)""",
}
LOOPS = {
    "over a dict": f"""
        for name, (version, sha1) in {{"y": ("v1", "AAA")}}.items():
            identifier = f"X.{{name}}"
            data_registry[name] = lambda n=identifier: load_assembly_from_s3(n, version, sha1, "{BUCKET}")""",
    "over a list": f"""
        for name in ["X.y"]:
            data_registry[name] = lambda name=name: load_assembly_from_s3(name, "v1", "AAA", "{BUCKET}")""",
    "over the keys of a table": f"""
        PINS = {{"X.y": {{"version_id": "v1", "sha1": "AAA"}}}}
        for name in PINS:
            data_registry[name] = lambda name=name: load_assembly_from_s3(name, bucket="{BUCKET}", **PINS[name])""",
    "over several lists": f"""
        for number, (name, sha1) in enumerate(zip(["X.y"], ("AAA",)), start=1):
            data_registry[name] = lambda: load_assembly_from_s3(name, f"v{{number}}", sha1, "{BUCKET}")""",
    "in each other": f"""
        for lab in ["X"]:
            for name in ["y"]:
                load_assembly_from_s3(f"{{lab}}.{{name}}", "v1", "AAA", "{BUCKET}")""",
    "one after the other": f"""
        for name in ["a"]: pass
        for name in ["X.y"]: load_assembly_from_s3(name, "v1", "AAA", "{BUCKET}")""",
    "in a comprehension": f"""
        PINS = {{"y": "v1"}}
        every = {{k: load_assembly_from_s3(f"X.{{k}}", v, "AAA", "{BUCKET}") for k, v in PINS.items()}}""",
    "in a function": f"""
        def register():
            for name, sha1 in [("X.y", "AAA")]:
                data_registry[name] = lambda: load_assembly_from_s3(name, "v1", sha1, "{BUCKET}")""",
}
CALLS = {
    "that returns a lambda": f"""
        def assembly(identifier, sha1, version_id):
            return lambda: load_assembly_from_s3(
                identifier=identifier, bucket="{BUCKET}", sha1=sha1, version_id=version_id)
        data_registry['X'] = assembly('X.y', sha1="AAA", version_id="v1")""",
    "that returns a function": f"""
        def assembly(which):
            pin = PINS[which]
            def load():
                return load_assembly_from_s3(pin["identifier"], bucket=BUCKET, sha1=pin["sha1"], version_id="v1")
            return load
        data_registry['X'] = assembly('X')
        BUCKET, PINS = "{BUCKET}", {{"X": dict(identifier="X.y", sha1="AAA")}}""",
    "in a lambda": f"""
        def load(identifier, sha1, version_id="v1", *, bucket="{BUCKET}"):
            assembly = load_assembly_from_s3(identifier, version_id, sha1, bucket)
            if version_id: assembly.attrs["version"] = version_id
            return assembly
        data_registry['X'] = lambda: load('X.y', "AAA")""",
    "that is a lambda": f"""
        load = lambda identifier, sha1: load_assembly_from_s3(identifier, "v1", sha1, "{BUCKET}")
        data_registry['X'] = lambda: load('X.y', "AAA")""",
    "that hands its arguments on": f"""
        def load(*place, **pin):
            return load_assembly_from_s3(*place, bucket="{BUCKET}", **pin)
        x = lambda: load('X.y', sha1="AAA", version_id="v1")""",
    "in a loop": f"""
        def load(identifier, sha1):
            return load_assembly_from_s3(identifier, "v1", sha1, "{BUCKET}")
        for name, sha1 in {{"y": "AAA"}}.items():
            data_registry[name] = lambda: load(f"X.{{name}}", sha1)""",
    "that has a loop": f"""
        def register(names):
            for name in names:
                load_assembly_from_s3(name, "v1", "AAA", "{BUCKET}")
        register(["X.y"])""",
    "whose defaults are enough": f"""
        def load(identifier="X.y", sha1="AAA"):
            return load_assembly_from_s3(identifier, "v1", sha1, "{BUCKET}")
        data_registry['X'] = load""",
    "as a partial": f"""
        def load(identifier, sha1):
            return load_assembly_from_s3(identifier, "v1", sha1, "{BUCKET}")
        data_registry['X'] = partial(load, "X.y", sha1="AAA")""",
}


@pytest.mark.parametrize("form", LITERALS)
def test_a_call_with_literals_is_read(read, form):
    assert read(LITERALS[form]) == ([assembly_pin()], [])


@pytest.mark.parametrize("form", TABLES)
def test_a_table_is_read(read, form):
    assert read(TABLES[form]) == ([assembly_pin()], [])


@pytest.mark.parametrize("form", LOOPS)
def test_a_loop_is_read(read, form):
    assert read(LOOPS[form]) == ([assembly_pin()], [])


@pytest.mark.parametrize("form", CALLS)
def test_a_call_of_a_function_which_makes_the_call_is_read(read, form):
    assert read(CALLS[form]) == ([assembly_pin()], [])


def test_functions_and_tables_are_found_in_neighbouring_sources(read):
    made = """
        from plugin import BUCKET
        from . import pins
        def make(which):
            pin = pins.PINS[which]
            def load():
                return load_assembly_from_s3(pin["identifier"], pin["version_id"], pin["sha1"], BUCKET)
            return load
    """
    registry = f"""
        BUCKET = "{BUCKET}"
        from .helpers import make as loader
        data_registry['X'] = loader("one")
    """
    sources = {
        "helpers__in___init__": "from .made import make",
        "helpers__in_made": made,
        "helpers__in_pins": """PINS = {"one": dict(identifier="X.y", version_id="v1", sha1="AAA")}""",
    }
    assert read(registry, **sources) == ([assembly_pin()], [])


def test_only_the_sources_given_are_imported_from(tmp_path):
    call = "data_registry['{0}'] = lambda: load_from_s3('{0}', sha1='{1}')\n"
    (tmp_path / "__init__.py").write_text("from .other import NAME\nload_from_s3(NAME, sha1='" + A + "')")
    (tmp_path / "other.py").write_text("NAME = 'X'\nmap(load_from_s3, NAMES)\n" + call.format("Other", B))
    pins, unread = find_pins([tmp_path / "__init__.py"])
    assert ([pin.identifier for pin in pins], unread) == (["X"], [])
    pins, unread = find_pins([tmp_path])
    assert ([pin.identifier for pin in pins], len(unread)) == (["X", "Other"], 1)


def test_a_package_may_import_its_own_sources_by_name_again_and_again(tmp_path):
    uses = "load_from_s3(other.NAME, sha1='" + A + "')\n" + "other\n" * 3000
    (tmp_path / "__init__.py").write_text("from . import other\n" + uses)
    (tmp_path / "other.py").write_text("NAME = 'X'\n")
    assert [pin.identifier for pin in find_pins([tmp_path])[0]] == ["X"]


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ('load_from_s3("X.y", "v1", "AAA")', assembly_pin(address=None)),
        ('load_from_s3("X.y", "AAA", "v1")', assembly_pin(address=None)),
        ('load_from_s3("X.y", "AAA")', assembly_pin(version_id=None, address=None)),
        ('load_from_s3(identifier="X.y", sha1="AAA", version_id="")', assembly_pin(version_id=None, address=None)),
        (f'load_from_s3("X.y", sha1="{A.upper()}", version_id=None)', assembly_pin(version_id=None, address=None)),
        (
            'load_from_s3("X.y", sha1="AAA", version_id="null", assembly_prefix="ceiling_", cls=Score)',
            ImportedPin(key="ceiling_X_y.nc", sha1=A, identifier="X.y", version_id="null"),
        ),
        (
            'fetch_file("S3", "https://brainio.contrib.s3.amazonaws.com/a/b/assy_X_y.nc", sha1="AAA")',
            ImportedPin(key="assy_X_y.nc", sha1=A, address="s3://brainio.contrib/a/b"),
        ),
        (
            'fetch_file(location_type="S3", location=f"https://s3.amazonaws.com/{\'bucket\'}/m.zip", sha1="AAA")',
            ImportedPin(key="m.zip", identifier="m.zip", sha1=A, address="s3://bucket"),
        ),
    ],
)
def test_language_and_file_calls_are_read(read, call, expected):
    assert read(f"x = lambda: {call}") == ([expected], [])


def test_a_stimulus_set_is_two_pins(read):
    call = """
        stimulus_set_registry['X'] = lambda: load_stimulus_set_from_s3(
            identifier="X.y", bucket="b", csv_sha1="AAA", zip_sha1="BBB", csv_version_id="", zip_version_id="v2"{})
    """
    pins, unread = read(call.format(""))
    csv = ImportedPin(key="stimulus_X_y.csv", identifier="stimulus_X_y.csv", sha1=A, address="s3://b")
    assert pins == [
        csv,
        ImportedPin(key="stimulus_X_y.zip", identifier="stimulus_X_y.zip", sha1=B, version_id="v2", address="s3://b"),
    ]
    assert unread == []
    pins, unread = read(call.format(', filename_prefix="image_"'))
    assert [pin.key for pin in pins] == ["image_X_y.csv", "image_X_y.zip"]


PIN_OF = "def get(x, sha1='AAA'):\n  return load_from_s3(x, sha1=sha1)\n"
REPORTED = [
    (
        'load_from_s3(name(), sha1="AAA")',
        "__init__.py:1: load_from_s3: identifier could not be read: it is the result of",
    ),
    ('load_from_s3("X", sha1="AA")', "__init__.py:1: load_from_s3: sha1 must be 40 hexadecimal digits, got 'AA'"),
    ('load_from_s3("X", sha1=40)', "__init__.py:1: load_from_s3: sha1 is not text"),
    ('load_from_s3("X", version_id="v1")', "__init__.py:1: load_from_s3: sha1 is not given"),
    ('load_from_s3("X/y", sha1="AAA")', "__init__.py:1: load_from_s3: 'X/y' cannot be an identifier"),
    ('load_from_s3("X", sha1="AAA", assembly_prefix="../")', "cannot be an assembly prefix"),
    ('fetch_file("S3", "https://b.s3.amazonaws.com/..", sha1="AAA")', "fetch_file: '..'"),
    ('fetch_file("S3", "https://example.org/a/b.nc", sha1="AAA")', "does not name a bucket and a file on S3"),
    ('fetch_file("S3", "https://[b.s3.amazonaws.com/b.nc", sha1="AAA")', "does not name a bucket and a file on S3"),
    ('for x in names():\n  load_from_s3(f"X.{x}", sha1="AAA")', "__init__.py:2: load_from_s3: identifier could not"),
    ('X = {}\nX["a"] = "b"\nload_from_s3(X["a"], sha1="AAA")', "X is changed after it is assigned"),
    ('X = {"a": "b"}\ndef f():\n  X.update(a="c")\nload_from_s3(X["a"], sha1="AAA")', "X is changed after it is"),
    ('X = {"a": ["b"]}\nfor x in X.values(): x[0] = "c"\nload_from_s3(X["a"][0], sha1="AAA")', "X is changed after"),
    ('X = "a"\ndef f():\n  global X\n  X = "b"\nload_from_s3(X, sha1="AAA")', "X is changed after it is assigned"),
    ('X = X + "a"\nload_from_s3(X, sha1="AAA")', "X is not defined in this source"),
    ('X = "a"\nX = "b"\nload_from_s3(X, sha1="AAA")', "it is assigned more than once"),
    ('X = "a"\nX += "b"\nload_from_s3(X, sha1="AAA")', "it is assigned more than once"),
    ('if A:\n  X = "a"\nload_from_s3(X, sha1="AAA")', "or under a condition"),
    ('for X in ["a", "b"]: pass\nload_from_s3(X, sha1="AAA")', "in a loop or"),
    ('for x in ["a"]:\n  if x: y = x\n  load_from_s3(y, sha1="AAA")', "under a condition"),
    ('for x in ["a"]:\n  load_from_s3(y, sha1="AAA")\n  y = x', "it is used before it is assigned"),
    ('def f(x):\n  x = x.lower()\n  return load_from_s3(x, sha1="AAA")\nf("X")', "assigned more than once"),
    ('def f(x):\n  return load_from_s3(x, sha1="AAA")', "parameter of f, and no call that gives it could be read"),
    (
        'def f(x, y="z"):\n  return load_from_s3(y, sha1="AAA")',
        "parameter of f, and no call that gives it could be read",
    ),
    ("x = map(load_from_s3, names)", "__init__.py:1: a loading function is handed on"),
    ("load_from_s3(**settings())", "load_from_s3: sha1 could not be read: it is the result of settings()"),
    ('load_from_s3("X", **settings())', "load_from_s3: sha1 could not be read: it is the result of settings()"),
    ("load_from_s3(*settings())", "load_from_s3: sha1 could not be read: it is the result of settings()"),
    ("get = partial(load_from_s3, cls=N)\nget('X', 'AAA')", "load_from_s3: sha1 is not given"),
    ("print 'load_from_s3'", "__init__.py:1: it is not Python that can be read here"),
    ("load_from_s3(\0)", "it is not Python that can be read here"),
    # one call is followed, and conditions are not worked out
    (PIN_OF + 'def further(x):\n  return get(x)\nfurther("X")', "__init__.py:4: load_from_s3: identifier could not be"),
    (PIN_OF + "get()", "__init__.py:3: load_from_s3: identifier could not be read: the call does not give it"),
    ('def f(x):\n  if x == "a": load_from_s3(x, sha1="AAA")\nf("X")', "identifier could not be read: it depends on a"),
    ('def f(x):\n  y = x == "a"\n  if y: return\n  load_from_s3(x, sha1="AAA")\nf("X")', "it depends on a condition"),
    ('def f(x):\n  return x == "a" and load_from_s3(x, sha1="AAA")\nf("X")', "it depends on a condition"),
    ('def f(x):\n  return load_from_s3(x, sha1="AAA") if x else 1\nf("X")', "it depends on a condition"),
    ('def f(x):\n  match x:\n    case "a": load_from_s3(x, sha1="AAA")\nf("X")', "it depends on a condition"),
    ('[load_from_s3(x, sha1="AAA") for x in ["a", "b"] if x == "a"]', "it depends on a condition"),
    ('for x in ["a"]:\n  if x: continue\n  load_from_s3(x, sha1="AAA")', "it depends on a condition"),
    ('class B:\n  def f(self, x): load_from_s3(x, sha1="AAA")\n  def g(self): self.f("X")', "it is a parameter of f"),
    ('class B:\n  N = "a"\n  def f(self): load_from_s3(N, sha1="AAA")', "N is not defined in this source"),
    (
        'PINS = {n: f"X.{n}" for n in "ab"}\nload_from_s3(PINS["a"], sha1="AAA")',
        "it depends on a loop",
    ),
    ('load_from_s3("{}".format("X"), sha1="AAA")', "it is the result of format()"),
    (f'from .{"x" * 300} import X\nload_from_s3(X, sha1="AAA")', "X is imported from elsewhere"),
]


@pytest.mark.parametrize(("source", "reason"), REPORTED)
def test_what_cannot_be_read_is_reported_and_nothing_is_invented(read, source, reason):
    pins, unread = read(source)
    assert pins == []
    assert reason in "\n".join(unread), unread
    assert len(unread) <= 2


def test_a_version_known_at_run_time_only_leaves_the_hash(read):
    pins, unread = read('load_assembly_from_s3("X.y", table.at["X", "id"], "AAA", "b")')
    assert pins == [assembly_pin(version_id=None, address="s3://b")]
    (line,) = unread
    assert "version_id could not be read" in line
    assert "only the hash was imported" in line


def test_a_function_that_is_called_wrongly_once_is_still_read_elsewhere(read):
    pins, unread = read(
        """
        def get(identifier, sha1):
            return load_from_s3(identifier, sha1=sha1)
        get("X.y", "AAA")
        get(unknown(), "BBB")
        """
    )
    assert pins == [assembly_pin(version_id=None, address=None)]
    (line,) = unread
    assert line.startswith("__init__.py:5: load_from_s3: identifier")  # where the argument is
    assert "the result of unknown()" in line


def test_of_a_function_that_calls_itself_one_call_is_followed(read):
    pins, unread = read(
        """
        def get(identifier, sha1, raw=None):
            if raw:
                get(identifier + ".raw", **raw)
            return load_from_s3(identifier, sha1=sha1)
        get("X.y", "AAA", raw=dict(sha1="BBB"))
        """
    )
    assert pins == [assembly_pin(version_id=None, address=None)]
    assert [line for line in unread if line.startswith("__init__.py:6:") and "only one call is followed" in line]


def test_the_functions_themselves_are_not_calls_but_others_with_these_names_are_followed(read):
    own = 'def load_from_s3(subject):\n    return fetch_file("S3", f"https://b.s3.x.com/{subject}.zip", "AAA")\n'
    theirs = (
        'def load_from_s3(identifier, sha1):\n    return fetch_file("S3", f"https://b.s3.x.com/{identifier}", sha1)\n'
    )
    assert read(theirs) == ([], [])
    assert [pin.key for pin in read(own + 'x = lambda: load_from_s3("one")')[0]] == ["one.zip"]


def test_files_that_cannot_be_read_are_reported(tmp_path):
    folder = tmp_path / "odd"
    (folder / ".git").mkdir(parents=True)
    (folder / ".git" / "a.py").write_text(f"load_from_s3('hidden', sha1='{A}')")
    (folder / "latin.py").write_bytes(f"load_from_s3('\xe9', sha1='{A}')".encode("latin-1"))
    (folder / "said.py").write_bytes(f"# coding: latin-1\nload_from_s3('X', sha1='{A}')  # \xe9".encode("latin-1"))
    (folder / "deep.py").write_text("load_from_s3(" + "(" * 5000)
    (folder / "large.py").write_bytes(b"load_from_s3()\n" * 400_000)
    (folder / "brackets.py").write_bytes(b"[" * 5_000_000 + b"]" * 5_000_000)
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "pipe.py")
        (folder / "gone.py").symlink_to("nowhere.py")
        (folder / "loop").symlink_to(folder)
    pins, unread = find_pins([folder])
    assert [pin.identifier for pin in pins] == ["X"]
    reasons = {path.name: reason for path, _, reason in unread}
    expected = {"latin.py", "deep.py", "large.py", "brackets.py"}
    assert set(reasons) == expected | ({"pipe.py", "gone.py"} if hasattr(os, "mkfifo") else set())
    assert reasons["large.py"] == reasons["brackets.py"] == "it is larger than 5000000 bytes"


@pytest.mark.parametrize(
    "deep",
    [
        "x = " + "[" * 150 + "]" * 150,
        "x = " + "-" * 2000 + "1",
        "x = " + "not " * 2000 + "1",
        "x = " + "a." * 2000 + "b",
        "x = a" + "()" * 2000,
        "x = " + " + ".join(["'a'"] * 2000),
        "x = " + "lambda: " * 2000 + "1",
        "if a: pass\n" + "elif b: pass\n" * 500,
        "for x in a: " + "(" * 100 + "1" + ")" * 100,
        "\n".join(" " * n + f"def f{n}():" for n in range(90)) + "\n" + " " * 90 + "pass",
    ],
)
def test_a_source_with_deep_nesting_ends_and_the_rest_of_it_is_read(read, deep):
    pins, _ = read(f"load_from_s3('X.y', 'v1', 'AAA')\n{deep}\nload_from_s3('X.z', 'v1', 'AAA')\n", other=FULL_CALL)
    assert assembly_pin() in pins


@pytest.mark.parametrize(
    "source",
    [
        "a0 = ['x', 'x']\n" + "\n".join(f"a{n + 1} = a{n} + a{n}" for n in range(60)),
        "a0 = 'x' * 10 ** 10\n",
        "a0 = [f'{a}{b}{c}{d}' for a in R for b in R for c in R for d in R]\nR = list(range(1000))",
        "a0 = f'{1:99999999999d}'\na1 = range(10 ** 30)\na2 = '{:9999999999}'.format(1)",
        "\n".join(f"def f{n}(x):\n    f{n + 1}(x + 'a'); f{n + 1}(x + 'b'); f{n + 1}(x)" for n in range(40)),
        "def f(x):\n    f(x + 'a'); f(x + 'b'); load_from_s3(x)\nf('a')",
        "a0 = " + "+".join(["'x'"] * 3000),
        "a0 = " + "f(" * 90 + ")" * 90,
    ],
)
def test_a_source_that_would_take_for_ever_ends(read, source):
    calls = "\n".join(f"load_from_s3(a{n}, sha1='AAA')\nf{n}('x')" for n in range(60))
    pins, _ = read(f"{source}\n{calls}\ndef f40(x): return load_from_s3(x)\n")
    assert all(len(pin.identifier) < 200 for pin in pins)


WORDS = """load_from_s3( load_stimulus_set_from_s3( fetch_file( partial( functools.partial( def class lambda for in if
    else ( ) [ ] { } , : = + * ** ' " f" { } a b self . return identifier= sha1= 1 None with import from as global try:
    except: while yield await async := match case"""
PIECES = st.sampled_from([*WORDS.split(), "\n", "\n  ", "\n    "])


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.one_of(st.text(), st.lists(PIECES, max_size=40).map(" ".join), st.binary()))
def test_no_source_whatever_makes_trouble(tmp_path_factory, source):
    path = tmp_path_factory.mktemp("any") / "any.py"
    text = source if isinstance(source, bytes) else source.encode("utf-8", "surrogatepass")
    path.write_bytes(b"load_from_s3(a, b)\n" + text)
    find_pins([path])


@pytest.mark.parametrize("module", ["typing", "argparse", "inspect", "test.test_generators", "dataclasses"])
def test_real_sources_with_calls_put_everywhere_make_no_trouble(tmp_path, module):
    import importlib.util

    found = importlib.util.find_spec(module)
    if found is None:
        pytest.skip(f"no {module} here")

    class Wanted(ast.NodeTransformer):
        def visit_Call(self, node):
            self.generic_visit(node)
            return ast.Call(ast.Name("load_from_s3", ast.Load()), node.args, node.keywords)

    tree = ast.fix_missing_locations(Wanted().visit(ast.parse(Path(found.origin).read_text("utf-8"))))
    (tmp_path / "x.py").write_text(ast.unparse(tree), "utf-8")
    pins, unread = find_pins([tmp_path / "x.py"])
    assert not pins
    assert unread


# saved beside the receipts


def test_a_spoilt_pin_is_passed_over_and_put_right(tmp_path, caplog):
    receipts = Receipts(tmp_path)
    assert receipts.keep(assembly_pin())
    (path,) = (tmp_path / "assy_X_y.nc").iterdir()
    path.write_text("sha1: nonsense")
    assert receipts.imported("assy_X_y.nc") == []
    assert "is not a receipt" in caplog.text
    assert receipts.keep(assembly_pin())
    assert receipts.imported("assy_X_y.nc") == [assembly_pin()]


def test_the_command(tmp_path):
    def run(*command):
        return run_command("receipts", "import", *command)

    write_yaml(Path(), {"backend": "local", "root": "./assemblies"})
    good = tmp_path / "good.py"
    good.write_text(f"load_from_s3('X.y', 'v1', '{A}')\nload_from_s3('X.y', '{A}', 'v1')\nload_from_s3('Z', '{B}')")
    (tmp_path / "bad.py").write_text(f"load_from_s3(name(), 'v1', '{A}')")
    (tmp_path / "none.py").write_text("")
    done = run(good, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "Pins that would be saved in" in done.stdout
    assert not Path("receipts").exists()
    first = {**assembly_pin(address=None).to_dict(), "path": str(good), "line": 1}
    second = {**assembly_pin("Z", None, B, None).to_dict(), "path": str(good), "line": 3}
    planned = json.loads(run(good, "--json", "--dry-run").stdout)
    assert planned == {
        "folder": str(Path("receipts").absolute()),
        "dry_run": True,
        "imported": [first, second],
        "there": [],
        "unread": [],
    }
    done = run(good, tmp_path / "bad.py")
    assert done.returncode == 1
    assert "bad.py:1: load_from_s3: identifier could not be read: it is the result of name()" in done.stdout
    receipts = Receipts(Path("receipts"))
    assert receipts.imported("assy_X_y.nc") == [assembly_pin(address=None)]
    assert receipts.of("assy_X_y.nc") == []
    found = json.loads(run(good, tmp_path / "bad.py", "--json").stdout)
    assert found["imported"] == []
    assert found["there"] == [first, second]
    assert [(one["path"], one["line"]) for one in found["unread"]] == [(str(tmp_path / "bad.py"), 1)]
    assert run(tmp_path / "none.py").returncode == 3
    assert run(tmp_path / "nowhere.py").returncode == 2
    write_yaml(Path(), {"backend": "local", "root": "./assemblies"}, receipts=False)
    assert run(good).returncode == 9


# loaded by


@pytest.fixture
def lab(memory_store):
    """A store that holds two versions, on a machine that has neither receipts of them nor copies."""
    files = MemoryFiles()
    uploads = memory_store(files, cache="uploaders", receipts=False)
    old = uploads.upload(make_assembly(1), "X")
    new = uploads.upload(make_assembly(2), "X")
    return memory_store(files), old, new


def pin_of(receipt, **changes):
    values = {"identifier": "X", "key": receipt.key, "sha1": receipt.sha1, "version_id": receipt.version_id}
    return ImportedPin(**{**values, "address": receipt.address, **changes})


def test_a_version_id_alone_is_verified_by_the_imported_hash(lab):
    store, old, new = lab
    store.receipts.keep(pin_of(old))
    assert store.load("X", version_id=old.version_id).identical(make_assembly(1))
    store.receipts.keep(pin_of(new, sha1=C))
    with pytest.raises(IntegrityError, match=C):
        store.load("X", version_id=new.version_id)


def test_without_a_pin_an_imported_one_is_taken(lab, caplog):
    store, old, _ = lab
    store.receipts.keep(pin_of(old))
    with caplog.at_level("INFO"):
        assert store.load("X").identical(make_assembly(1))
    assert f"took the imported pin, sha1 {old.sha1}" in caplog.text
    assert store.load("X", newest=True).identical(make_assembly(2))


def test_of_several_imported_versions_none_is_the_newest_so_the_store_is_asked(lab, caplog):
    store, old, new = lab
    store.receipts.keep(pin_of(old))
    store.receipts.keep(pin_of(old, version_id="another-name"))
    assert store.load("X").identical(make_assembly(1))  # one version under two names
    store.receipts.keep(pin_of(new))
    assert store.load("X").identical(make_assembly(2))
    assert "2 versions of it were imported" in caplog.text


def test_a_receipt_comes_before_an_imported_pin(lab):
    store, old, _ = lab
    store.receipts.keep(pin_of(old))
    store.upload(make_assembly(3), "X")
    assert store.load("X").identical(make_assembly(3))


@pytest.mark.parametrize("address", ["s3://elsewhere", None])
def test_after_a_move_the_old_version_id_finds_the_bytes_by_the_imported_hash(lab, address):
    store, old, _ = lab
    store.receipts.keep(pin_of(old, version_id="of-the-old-host", address=address))
    assert store.load("X", version_id="of-the-old-host").identical(make_assembly(1))
    assert store.load("X").identical(make_assembly(1))


def test_an_imported_pin_of_bytes_that_are_not_here(lab):
    store, _, _ = lab
    store.receipts.keep(ImportedPin(key="assy_X.nc", identifier="X", sha1=C, version_id="v", address="s3://elsewhere"))
    assert store.load("X").identical(make_assembly(2))  # what is here is for this store to say
    with pytest.raises(IntegrityError, match=C):
        store.load("X", version_id="v")


def test_an_id_that_names_other_bytes_here_than_in_the_sources_is_an_error_that_says_both(lab):
    store, old, new = lab
    store.receipts.keep(pin_of(new, version_id=old.version_id, address="s3://elsewhere"))
    with pytest.raises(InvalidPin, match="is ambiguous: in s3://elsewhere"):
        store.load("X", version_id=old.version_id)
    assert store.load("X", version_id=old.version_id, sha1=old.sha1).identical(make_assembly(1))


def test_a_pin_that_names_no_place_is_of_the_store_in_use_so_its_hash_decides(lab, caplog):
    store, old, new = lab
    store.receipts.keep(pin_of(old, version_id=new.version_id, address=None))
    assert store.load("X", version_id=new.version_id).identical(make_assembly(1))
    assert f"has no version {new.version_id} with the pinned hash" in caplog.text


def test_after_a_mirror_a_load_without_a_pin_still_means_the_imported_one(tmp_path, new_cache):
    config = {
        "stores": {name: {"backend": "local", "root": str(tmp_path / name)} for name in ("old", "new")},
        "receipts": str(tmp_path / "receipts"),
    }
    stores = {name: storage_plugins.open_store(name, config=config) for name in ("old", "new")}
    first = stores["old"].upload(make_assembly(1), "X")
    stores["old"].upload(make_assembly(2), "X")
    shutil.rmtree(tmp_path / "receipts")
    stores["old"].receipts.keep(pin_of(first))
    assert stores["old"].load("X").identical(make_assembly(1))
    storage_plugins.mirror(stores["old"], stores["new"])
    new_cache()
    moved = storage_plugins.open_store("new", config=config)
    assert moved.load("X").identical(make_assembly(1))
    assert moved.load("X", version_id=first.version_id).identical(make_assembly(1))


@pytest.mark.parametrize("way", ["file", "imported file", "imported folder"])
def test_links_that_lead_out_of_the_folder_are_not_followed(tmp_path, way):
    outside, plugin = tmp_path / "outside", tmp_path / "plugin"
    outside.mkdir()
    plugin.mkdir()
    (outside / "secret.py").write_text(f"SHA1 = {'1' * 40!r}\nload_from_s3('Secret', 'v', SHA1)\n")
    name = {"file": "secret", "imported file": "secret", "imported folder": "more.secret"}[way]
    if way == "imported folder":
        (plugin / "more").symlink_to(outside)
    else:
        (plugin / "secret.py").symlink_to(outside / "secret.py")
    own = f"from .{name} import SHA1\nload_from_s3('X', 'v', SHA1)\n" if way != "file" else ""
    (plugin / "__init__.py").write_text(own)
    pins, unread = find_pins([plugin])
    assert pins == {}
    assert any("link that leads out" in reason for _, _, reason in unread) == (way != "imported folder")


def test_links_within_the_folder_are_followed(tmp_path):
    (tmp_path / "a.py").write_text(f"load_from_s3('X', 'v', {'1' * 40!r})\n")
    (tmp_path / "b.py").symlink_to("a.py")
    pins, unread = find_pins([tmp_path])
    assert [pin.identifier for pin in pins] == ["X"]
    assert unread == []
