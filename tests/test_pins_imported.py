"""Pins that stand in the sources of Brain-Score plugins: read without running them, kept, and loaded by."""

import ast
import hashlib
import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from conftest import make_assembly, write_yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from memory_files import MemoryFiles

import storage_plugins
from storage_plugins._copies.receipts import ImportedPin, Receipts
from storage_plugins.errors import IntegrityError, InvalidPin
from storage_plugins.importing import find_pins, import_pins

A, B, C = (hashlib.sha1(name).hexdigest() for name in (b"a", b"b", b"c"))
BUCKET = "brainscore-storage/brainio-brainscore"
ADDRESS = f"s3://{BUCKET}"


@pytest.fixture
def read(tmp_path):
    """Read sources, by name or just one; give their pins and what was not read, in words."""

    def read(source="", **sources):
        folder = tmp_path / "plugin"
        shutil.rmtree(folder, ignore_errors=True)
        for name, text in {"__init__": source, **sources}.items():
            path = folder / f"{name.replace('__in_', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text).replace("AAA", A).replace("BBB", B).replace("CCC", C))
        found, unread = find_pins([folder])
        return [pin.pin for pin in found], [f"{one.path.name}:{one.line}: {one.reason}" for one in unread]

    return read


def assembly_pin(identifier="X.y", version_id="v1", sha1=A, address=ADDRESS):
    key = f"assy_{identifier.replace('.', '_')}.nc"
    return ImportedPin(key=key, sha1=sha1, identifier=identifier, version_id=version_id, address=address)


FULL = 'identifier="X.y", version_id="v1", sha1="AAA", bucket="brainscore-storage/brainio-brainscore", cls=N'
FORMS = {
    "in a lambda": f"data_registry['X'] = lambda: load_assembly_from_s3({FULL}, stimulus_set_loader=lambda: load('X'))",
    "directly": f"x = s3.load_assembly_from_s3({FULL})",
    "positionally": f'f = lambda: load_assembly_from_s3("X.y", "v1", "AAA", "{BUCKET}", N)',
    "within another call": f"data_registry['X'] = lambda: reindex(load_assembly_from_s3({FULL}))",
    "in a function": f"def load():\n    if os.getenv('A'):\n        return 1\n    return load_assembly_from_s3({FULL})",
    "by another name": f"from brainscore.s3 import load_assembly_from_s3 as get\nx = lambda: get({FULL})",
    "under a condition that never holds": f"if False:\n    f = lambda: load_assembly_from_s3({FULL})",
    "as a partial": f"data_registry['X'] = functools.partial(load_assembly_from_s3, {FULL})",
    "as a partial that is completed": f"""
        from functools import partial
        load = partial(load_assembly_from_s3, bucket="{BUCKET}", cls=N)
        data_registry['X'] = lambda: load("X.y", "v1", "AAA")""",
    "with a constant": """
        data_registry['X'] = lambda: load_assembly_from_s3("X.y", "v1", sha1="AAA", bucket=_BUCKET)
        _BUCKET = "brainscore-storage/" + "brainio-brainscore" """,
    "with f-strings": """
        LAB, YEAR = "X", 1
        data_registry[LAB] = lambda: load_assembly_from_s3(
            f"{LAB}.y", f"v{YEAR}", "AAA", bucket="{}/{b}".format("brainscore-storage", b="brainio-brainscore"))""",
    "with keywords out of a dict": f"""
        PINS = {{"X": dict(identifier="X.y", version_id="v1"), "Y": unknown()}}
        data_registry['X'] = lambda: load_assembly_from_s3(sha1="AAA", bucket="{BUCKET}", **PINS["X"])""",
    "in a loop": f"""
        for name, (version, sha1) in {{"y": ("v1", "AAA")}}.items():
            identifier = f"X.{{name}}"
            data_registry[name] = lambda n=identifier: load_assembly_from_s3(n, version, sha1, "{BUCKET}")""",
    "in a comprehension": f"""
        PINS = {{name: f"v{{number}}" for number, name in enumerate(["x", "y"])}}
        every = {{k: load_assembly_from_s3(f"X.{{k}}", v, "AAA", "{BUCKET}") for k, v in PINS.items() if k == "y"}}""",
    "through a function": f"""
        def assembly(identifier, sha1, version_id):
            return lambda: load_assembly_from_s3(
                identifier=identifier, bucket="{BUCKET}", sha1=sha1, version_id=version_id)
        data_registry['X'] = assembly('X.y', sha1="AAA", version_id="v1")""",
    "through a class": f"""
        class Benchmark:
            bucket = "{BUCKET}"
            def __init__(self, name, **pin):
                self.data = self.load(f"X.{{name}}", **pin)
            def load(self, identifier, sha1, version_id=None, more=None):
                if more:
                    self.load(**more)
                return load_assembly_from_s3(identifier, version_id, sha1, self.bucket)
        def benchmark():
            return Benchmark("y", sha1="AAA", version_id="v1")""",
}


@pytest.mark.parametrize("form", FORMS)
def test_each_form_of_call_is_read(read, form):
    assert read(FORMS[form]) == ([assembly_pin()], [])


def test_pins_are_followed_from_source_to_source(read):
    made = """
        from . import BUCKET
        PINS = {"one": dict(identifier="X.y", version_id="v1", sha1="AAA")}
        def make(which):
            pin = PINS[which]
            def load():
                return load_assembly_from_s3(pin["identifier"], pin["version_id"], pin["sha1"], BUCKET)
            return load
    """
    registry = f"""
        BUCKET = "{BUCKET}"
        from .helpers.made import make
        data_registry['X'] = make("one")
    """
    assert read(registry, helpers__in_made=made.replace("from . import", "from plugin import")) == (
        [assembly_pin()],
        [],
    )


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ('load_from_s3("X.y", "v1", "AAA")', assembly_pin(address=None)),
        ('load_from_s3("X.y", "AAA", "v1")', assembly_pin(address=None)),
        ('load_from_s3("X.y", "AAA")', assembly_pin(version_id=None, address=None)),
        ('load_from_s3(identifier="X.y", sha1="AAA", version_id="")', assembly_pin(version_id=None, address=None)),
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


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (
            'load_from_s3(name(), sha1="AAA")',
            "__init__.py:1: load_from_s3: identifier is known at run time only: what ",
        ),
        ('load_from_s3("X", sha1="AA")', "__init__.py:1: load_from_s3: sha1 is no sha1: 'AA'"),
        ('load_from_s3("X", version_id="v1")', "__init__.py:1: load_from_s3: no sha1 is given"),
        ('load_from_s3("X/y", sha1="AAA")', "__init__.py:1: load_from_s3: 'X/y' cannot be an identifier"),
        ('load_from_s3("X", sha1="AAA", assembly_prefix="../")', "cannot be an assembly prefix"),
        ('fetch_file("S3", "https://b.s3.amazonaws.com/..", sha1="AAA")', "fetch_file: '..'"),
        (
            'for x in names():\n  load_from_s3(f"X.{x}", sha1="AAA")',
            "__init__.py:2: load_from_s3: identifier is known ",
        ),
        ('X = "a"\nX = "b"\nload_from_s3(X, sha1="AAA")', "X is set in several places"),
        ('def f():\n  global X\nX = "a"\nload_from_s3(X, sha1="AAA")', "X is set from within"),
        ('X = {}\nX["a"] = "b"\nload_from_s3(X["a"], sha1="AAA")', "X is changed after it is set"),
        ('X = X + "a"\nload_from_s3(X, sha1="AAA")', "X is made of itself"),
        ('def f(x):\n  return load_from_s3(x, sha1="AAA")', "of f, and no call that gives it was found"),
        ('def f(x, y="z"):\n  return load_from_s3(y, sha1="AAA")', "of f, and no call that gives it was found"),
        ("x = map(load_from_s3, names)", "__init__.py:1: load_from_s3 is handed on"),
        (
            "load_from_s3(**settings())",
            "load_from_s3: what settings() returns",
        ),
        ("print 'load_from_s3'", "__init__.py:1: no Python that can be read here"),
        ("load_from_s3(\0)", "no Python that can be read here"),
    ],
)
def test_what_cannot_be_read_is_said_and_nothing_is_invented(read, source, reason):
    pins, unread = read(source)
    assert pins == []
    assert len(unread) == 1
    assert reason in unread[0]


def test_a_version_known_at_run_time_only_leaves_the_hash(read):
    pins, unread = read('load_assembly_from_s3("X.y", table.at["X", "id"], "AAA", "b")')
    assert pins == [assembly_pin(version_id=None, address="s3://b")]
    (line,) = unread
    assert "version_id is known at run time only" in line
    assert "by its hash alone" in line


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
    assert len(unread) == 1
    assert "what unknown() returns" in unread[0]


def test_the_functions_themselves_are_no_call_sites_but_somebodys_own_of_that_name_are(read):
    own = 'def load_from_s3(subject):\n    return fetch_file("S3", f"https://b.s3.x.com/{subject}.zip", "AAA")\n'
    theirs = (
        'def load_from_s3(identifier, sha1):\n    return fetch_file("S3", f"https://b.s3.x.com/{identifier}", sha1)\n'
    )
    assert read(theirs) == ([], [])
    assert [pin.key for pin in read(own + 'x = lambda: load_from_s3("one")')[0]] == ["one.zip"]


def test_odd_files_are_passed_over_in_words(tmp_path):
    folder = tmp_path / "odd"
    (folder / ".git").mkdir(parents=True)
    (folder / ".git" / "a.py").write_text(f"load_from_s3('hidden', sha1='{A}')")
    (folder / "latin.py").write_bytes(f"load_from_s3('\xe9', sha1='{A}')".encode("latin-1"))
    (folder / "said.py").write_bytes(f"# coding: latin-1\nload_from_s3('X', sha1='{A}')  # \xe9".encode("latin-1"))
    (folder / "deep.py").write_text("load_from_s3(" + "(" * 5000)
    (folder / "large.py").write_bytes(b"load_from_s3()\n" * 400_000)
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "pipe.py")
        (folder / "gone.py").symlink_to("nowhere.py")
        (folder / "loop").symlink_to(folder)
    pins, unread = find_pins([folder])
    assert [pin.pin.identifier for pin in pins] == ["X"]
    told = {one.path.name: one.reason for one in unread}
    expected = {"latin.py", "deep.py", "large.py"} | ({"pipe.py", "gone.py"} if hasattr(os, "mkfifo") else set())
    assert set(told) == expected
    assert told["large.py"].startswith("larger than")


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
    assert pins == []
    assert unread


# kept beside the receipts


def test_pins_are_kept_once_and_read_back(tmp_path):
    source = tmp_path / "plugin.py"
    source.write_text(f"load_from_s3('X.y', 'v1', '{A}')\nload_from_s3('X.y', '{A}', 'v1')\nload_from_s3('Z', '{B}')")
    receipts = Receipts(tmp_path / "receipts")
    planned = import_pins([source], receipts, dry_run=True)
    assert not (tmp_path / "receipts").exists()
    report = import_pins([source], receipts)
    assert [found.pin for found in report.imported] == [found.pin for found in planned.imported]
    assert len(report.imported) == 2
    assert not report.there
    again = import_pins([source], receipts)
    assert not again.imported
    assert {found.pin for found in again.there} == {found.pin for found in report.imported}
    assert receipts.imported("assy_X_y.nc") == [assembly_pin(address=None)]
    assert receipts.of("assy_X_y.nc") == []


def test_a_spoilt_pin_is_passed_over_and_put_right(tmp_path, caplog):
    receipts = Receipts(tmp_path)
    assert receipts.keep(assembly_pin())
    (path,) = (tmp_path / "assy_X_y.nc").iterdir()
    path.write_text("sha1: nonsense")
    assert receipts.imported("assy_X_y.nc") == []
    assert "is no receipt" in caplog.text
    assert receipts.keep(assembly_pin())
    assert receipts.imported("assy_X_y.nc") == [assembly_pin()]


def test_the_command(tmp_path):
    def run(*command):
        return subprocess.run(
            [sys.executable, "-m", "storage_plugins", "receipts", "import", *command], capture_output=True, text=True
        )

    write_yaml(Path(), {"backend": "local", "root": "./assemblies"})
    (tmp_path / "good.py").write_text(f"load_from_s3('X.y', 'v1', '{A}')")
    (tmp_path / "bad.py").write_text(f"load_from_s3(name(), 'v1', '{A}')")
    (tmp_path / "none.py").write_text("")
    done = run(tmp_path / "good.py", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "Would go to" in done.stdout
    assert not Path("receipts").exists()
    done = run(tmp_path / "good.py", tmp_path / "bad.py")
    assert done.returncode == 1
    assert "bad.py:1: load_from_s3: identifier is known at run time only: what name() returns" in done.stdout
    told = json.loads(run(tmp_path / "good.py", "--json").stdout)
    assert told["imported"] == told["unread"] == []
    assert told["there"] == [{**assembly_pin(address=None).to_dict(), "path": str(tmp_path / "good.py"), "line": 1}]
    assert run(tmp_path / "none.py").returncode == 3
    assert run(tmp_path / "nowhere.py").returncode == 2
    write_yaml(Path(), {"backend": "local", "root": "./assemblies"}, receipts=False)
    assert run(tmp_path / "good.py").returncode == 9


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
    with pytest.raises(InvalidPin, match="is not one thing: in s3://elsewhere"):
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
