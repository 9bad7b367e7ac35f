"""An author's mistakes: each is told with the plugin, what is wrong, and the section of the guide, which quotes it."""

import itertools
import re
import sys
from pathlib import Path

import pytest
from new_package import FILES, GUIDE, MODULE, blocks, fill_in, write

import storage_plugins
from storage_plugins import PluginError
from storage_plugins._backend import discovery as plugins
from storage_plugins._backend import hints as guide
from storage_plugins._backend.host import Host

pytestmark = pytest.mark.skipif(not GUIDE.exists(), reason="no checkout around the tests")

HOOK, SETTINGS = f"src/{MODULE}/__init__.py", f"src/{MODULE}/settings.py"
POINTS = f"src/{MODULE}-0.1.0.dist-info/entry_points.txt"
OURS = "The backend 'dict' of storage-plugins-dict 0.1.0"
FAILED = f"{OURS} failed to open: "
NO_HOOK = "its hook must be storage_plugins_backend(): "

# section, what the guide quotes, the file with the mistake, what is right there, what is written instead
BEFORE_OPENING = [
    (
        guide.IMPORT,
        f"importing {MODULE} failed: RuntimeError: no such thing as a free import",
        *(HOOK, "import storage_plugins\n", "raise RuntimeError('no such thing as a free import')\n"),
    ),
    (
        guide.IMPORT,
        f"importing {MODULE} needs the module 'dictlib', which is not installed",
        *(FILES, "import threading\n", "import dictlib\n"),
    ),
    (
        guide.IMPORT,
        "its entry point names the module storage_plugins_dikt, which does not exist",
        *(POINTS, "= storage_plugins_dict", "= storage_plugins_dikt"),
    ),
    (
        guide.IMPORT,
        f"importing {MODULE}:Nothing failed: AttributeError",
        *(POINTS, "= storage_plugins_dict", "= storage_plugins_dict:Nothing"),
    ),
    (
        guide.HOOK,
        f"{NO_HOOK}unknown hook 'storage_plugins_backnd'",
        *(HOOK, "def storage_plugins_backend()", "def storage_plugins_backnd()"),
    ),
    (
        guide.HOOK,
        "Argument(s) {'config'} are declared in the hookimpl but can not be found in the hookspec",
        *(HOOK, "def storage_plugins_backend()", "def storage_plugins_backend(config)"),
    ),
    (
        guide.HOOK,
        "has no function storage_plugins_backend marked with @storage_plugins.hookimpl",
        *(HOOK, "@storage_plugins.hookimpl\n", ""),
    ),
    (
        guide.DESCRIPTION,
        "storage_plugins_backend returned str, not a Backend",
        *(HOOK, "return storage_plugins.Backend(", "return 'dict'\n    storage_plugins.Backend("),
    ),
    (
        guide.DESCRIPTION,
        "the backend's settings must be a subclass of storage_plugins.StoreSettings",
        *(SETTINGS, "(StoreSettings)", ""),
    ),
    (
        guide.DESCRIPTION,
        "the backend's name must be lower-case letters, digits, - and _, got 'My Dict'",
        *(HOOK, 'name="dict"', 'name="My Dict"'),
    ),
    (guide.DESCRIPTION, "a Backend needs either files= or store=", *(HOOK, "        files=DictFiles,\n", "")),
    (guide.DESCRIPTION, "a Backend's requires= must be a tuple of str", *(HOOK, "requires=()", "requires='dictlib'")),
    (
        guide.DESCRIPTION,
        "TypeError: Backend.__init__() got an unexpected keyword argument 'file'",
        *(HOOK, "files=DictFiles", "file=DictFiles"),
    ),
]
IN_USE = [
    (
        guide.OPENING,
        f"{FAILED}TypeError: Can't instantiate abstract class DictFiles",
        *(FILES, "def put(", "def putt("),
    ),
    (
        guide.OPENING,
        f"{FAILED}TypeError: files= returned str, expected FileOperations",
        *(HOOK, "files=DictFiles", "files=str"),
    ),
    (
        guide.OPENING,
        f"{FAILED}TypeError: address is method, expected str; it is a property",
        *(FILES, "    @property\n    def address", "    def address"),
    ),
    (
        guide.OPENING,
        f"{FAILED}KeyError: 'DICT_HOME'",
        *(FILES, "self.place = settings.place", "self.place = {}['DICT_HOME']"),
    ),
    (
        guide.ANSWER,
        "put returned bytes, expected str or None",
        *(FILES, "return version_id", "return version_id.encode()"),
    ),
    (
        guide.ANSWER,
        "read returned str, expected Content",
        *(FILES, "return Content(version, iter([", "return str((version, ["),
    ),
    (guide.ANSWER, "read(…).version returned None, expected Version", *(FILES, "Content(version,", "Content(None,")),
    (
        guide.ANSWER,
        "read(…).blocks returned str, expected blocks of bytes",
        *(FILES, "iter([data[start:stop]])", "iter([data[start:stop].decode()])"),
    ),
    (
        guide.ANSWER,
        "versions returned a str, expected an iterable of Version",
        *(FILES, "return [version for version, _", "return [version.version_id for version, _"),
    ),
    (
        guide.ANSWER,
        "versions returned None, expected an iterable of Version",
        *(FILES, "return [version for version, _", "[version for version, _"),
    ),
    (
        guide.ANSWER,
        "keys returned a bytes, expected an iterable of str",
        *(FILES, "return [key for key in self.held", "return [b'' for key in self.held"),
    ),
    (
        guide.ANSWER,
        "newest returned str, expected Version or None",
        *(FILES, "def keeps_versions", "def newest(self, key): return key\n    def keeps_versions"),
    ),
    (guide.ANSWER, "keeps_versions returned str, expected bool", *(FILES, "return True", "return 'Suspended'")),
]
_numbers = itertools.count()


@pytest.fixture
def mistaken(tmp_path, monkeypatch):
    """Install the guide's backend with one mistake in it, for this process."""

    def install(path: str, right: str, wrong: str) -> None:
        package = write(tmp_path / f"package-{next(_numbers)}")
        fill_in(package)
        text = (package / path).read_text("utf-8")
        assert right in text
        (package / path).write_text(text.replace(right, wrong), encoding="utf-8")
        monkeypatch.syspath_prepend(str(package / "src"))
        plugins.installed.cache_clear()

    yield install
    for name in [name for name in sys.modules if name.partition(".")[0] == MODULE]:
        del sys.modules[name]
    monkeypatch.undo()
    plugins.installed.cache_clear()


def use(folder: Path) -> None:
    store = storage_plugins.open_store(config={"stores": {"shelf": {"backend": "dict", "place": str(folder)}}})
    (folder / "x.txt").write_text("x")
    store.upload_file(folder / "x.txt")
    store.fetch("x.txt", newest=True)
    for name in ("x.txt", "y.txt"):
        store.upload_file(folder / "x.txt", name)


@pytest.mark.parametrize(("section", "told", "path", "right", "wrong"), BEFORE_OPENING, ids=lambda value: value[:40])
def test_a_plugin_that_cannot_be_used_says_why_and_where_to_read(mistaken, section, told, path, right, wrong):
    mistaken(path, right, wrong)
    (plugin,) = [plugin for plugin in plugins.installed() if plugin.distribution == "storage-plugins-dict"]
    assert told in plugin.problem
    assert repr(section) in plugin.remedy
    with pytest.raises(PluginError, match="'dict' of storage-plugins-dict cannot be used") as caught:
        plugins.find_backend("dict")
    assert told in str(caught.value)


@pytest.mark.parametrize(("section", "told", "path", "right", "wrong"), IN_USE, ids=lambda value: value[:40])
def test_a_backend_that_answers_wrongly_is_told_as_its_own_fault(mistaken, tmp_path, section, told, path, right, wrong):
    mistaken(path, right, wrong)
    with pytest.raises(PluginError) as caught:
        use(tmp_path)
    assert caught.value.message.startswith(OURS)
    assert told in caught.value.message
    assert caught.value.hint == guide.see(section)


def test_a_wrong_list_of_versions_is_not_taken_for_one_that_may_not_be_seen(mistaken, tmp_path):
    mistaken(FILES, "return [version for version, _", "return [version.version_id for version, _")
    store = storage_plugins.open_store(config={"stores": {"shelf": {"backend": "dict", "place": str(tmp_path)}}})
    (tmp_path / "x.txt").write_text("x")
    store.upload_file(tmp_path / "x.txt")
    with pytest.raises(PluginError, match="versions returned a str"):
        store.fetch("x.txt", sha256="0" * 64)


def test_without_a_mistake_the_same_works(mistaken, tmp_path):
    mistaken(FILES, "return True", "return True")
    use(tmp_path)


def test_each_section_of_the_guide_quotes_what_is_tested_and_nothing_else():
    sections = dict(re.findall(r"^### (.*?)\n(.*?)(?=^### |\Z)", GUIDE.read_text("utf-8"), re.S | re.M))
    assert {*sections} == {guide.IMPORT, guide.HOOK, guide.DESCRIPTION, guide.OPENING, guide.ANSWER}
    for section, text in sections.items():
        quoted = [line.removeprefix(f"{OURS}: ") for block in blocks("text", text) for line in block.splitlines()]
        assert quoted == [told for named, told, *_ in BEFORE_OPENING + IN_USE if named == section]


def test_a_class_of_no_plugin_is_told_by_its_own_name():
    class Wrong:
        address = "nowhere"

        def keys(self, prefix):
            return "assy_X.nc"

    with pytest.raises(PluginError, match=r"test_mistakes\..*Wrong: keys returned str, expected an iterable of str"):
        Host(Wrong(), 10).keys()


def test_a_store_without_both_methods_is_told(mistaken, tmp_path):
    mistaken(HOOK, "files=DictFiles", "store=str")
    with pytest.raises(PluginError, match="store= returned str, which does not have both upload and load"):
        use(tmp_path)


@pytest.mark.parametrize("prefix", [None, 5, b"assy_", ["assy_"]])
def test_a_prefix_that_is_not_text_is_named(prefix):
    from storage_plugins._identifiers import assembly_key

    with pytest.raises(storage_plugins.InvalidIdentifier, match="must be a str"):
        assembly_key("X", prefix)
