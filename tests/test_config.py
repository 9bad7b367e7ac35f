"""storage.yaml: where it is found, what it may say, and how its mistakes are told."""

from pathlib import Path

import pytest
from pydantic import SecretStr

import storage_plugins
from storage_plugins import ConfigError, PluginError, StoreSettings
from storage_plugins._backend.discovery import Backend
from storage_plugins._config.config import Config, find

GOOD = "default: lab\nstores:\n  lab: {backend: local, root: ./here}\n  other: {backend: local, root: /there}\n"


@pytest.fixture
def write(tmp_path):
    def write(text: str, name: str = "storage.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


class TokenSettings(StoreSettings):
    token: SecretStr | None = None
    needed: SecretStr | None = None
    place: str = ""


class NeedySettings(StoreSettings):
    token: SecretStr


def backend(settings=TokenSettings):
    return Backend(name="tokens", settings=settings, files=lambda settings: None)


def test_relative_folders_are_relative_to_the_file(write, tmp_path):
    store = storage_plugins.open_store(config=write(GOOD))
    assert store.address == (tmp_path / "here").as_uri()


def test_a_mapping_serves_as_well_and_keeps_no_receipts(tmp_path):
    store = storage_plugins.open_store(config={"stores": {"a": {"backend": "local", "root": str(tmp_path / "x")}}})
    assert store.name == "a"
    assert store.receipts.folder is None


def test_the_environment_overrides_the_default_store(write, monkeypatch):
    path = write(GOOD)
    monkeypatch.setenv("STORAGE_PLUGINS_STORE", "other")
    assert storage_plugins.open_store(config=path).name == "other"
    assert storage_plugins.open_store("lab", config=path).name == "lab"


def test_the_file_is_found_upwards_until_a_repository_or_the_home_folder(tmp_path, home):
    deep = tmp_path / "project" / "a" / "b"
    deep.mkdir(parents=True)
    outer = tmp_path / "storage.yaml"
    outer.write_text(GOOD)
    assert find(deep) == outer
    (tmp_path / "project" / ".git").mkdir()
    assert find(deep) is None
    (tmp_path / "project" / "storage.yaml").write_text(GOOD)
    assert find(deep) == tmp_path / "project" / "storage.yaml"
    (home / "work").mkdir()
    assert find(home / "work") is None


def test_the_argument_comes_before_the_environment_before_the_folder(write, monkeypatch):
    for name in ("argument", "environment"):
        write(GOOD.replace("lab", name), f"{name}.yaml")
    here = Path("storage.yaml")
    here.write_text(GOOD.replace("lab", "folder"))
    assert Config.open().default == "folder"
    monkeypatch.setenv("STORAGE_PLUGINS_CONFIG", str(here.resolve().parent.parent / "environment.yaml"))
    assert Config.open().default == "environment"
    assert Config.open(here.resolve().parent.parent / "argument.yaml").default == "argument"


def test_the_users_config_folder_is_the_last_place(home, monkeypatch):
    import platformdirs

    folder = platformdirs.user_config_path("storage-plugins", appauthor=False)
    assert folder.is_relative_to(home)
    folder.mkdir(parents=True)
    (folder / "storage.yaml").write_text(GOOD)
    assert Config.open().default == "lab"


def test_without_any_file_there_is_a_local_store_that_warns(assembly, home, caplog):
    store = storage_plugins.open_store()
    receipt = store.upload(assembly, "X")
    assert "stored on this computer only" in caplog.text
    assert str(Path.cwd()) in caplog.text
    assert receipt.address.startswith(home.as_uri())
    assert store.load("X").identical(assembly)


def test_an_upload_says_which_store_and_which_file(write, assembly, caplog):
    caplog.set_level("INFO")
    path = write(GOOD)
    storage_plugins.open_store(config=path).upload(assembly, "X")
    assert "'lab'" in caplog.text
    assert str(path) in caplog.text


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        ("default: lab\nstors: {}\n", 2, "stores"),
        ("stores:\n  lab: {backend: local, root: a}\nstores: {}\n", 3, "twice"),
        ("stores:\n  lab:\n    backend: local\n    root: a\n    root: b\n", 5, "twice"),
        ("stores:\n  lab: {backend: local, root: a}\n  lab: {backend: local, root: b}\n", 3, "twice"),
        ("stores:\n  lab:\n    backnd: local\n", 2, "backnd"),
        ("stores:\n  lab: []\n", 2, "not a mapping"),
        ("stores: 5\n", 1, "stores"),
        ("default: lob\nstores:\n  lab: {backend: local, root: a}\n", 1, "lab"),
        ("receipts: [1]\nstores:\n  lab: {backend: local, root: a}\n", 1, "receipts"),
        ("stores:\n  lab: !!python/object/apply:os.system ['true']\n", 2, "tag"),
        ("stores:\n  lab: {backend: local, root: 'a\n", 3, ""),
        ("stores:\n  ? [a, b]\n  : {backend: local}\n", 2, "key"),
        ("stores:\n  'a/b': {backend: local, root: x}\n", 2, "name"),
        ("stores:\n  lab:\n    backend: local\n    rot: ./a\n", 4, "root"),
        ("stores:\n  lab:\n    backend: local\n    root: 5\n", 4, "root"),
        ("stores:\n  lab:\n    backend: local\n", 2, "root"),
        ("stores:\n  lab:\n    backend: local\n    root: a\n    assembly_prefix: ../\n", 5, "prefix"),
        ("stores:\n  lab:\n    backend: local\n    root: a\n    cache: everybody\n", 5, "cache"),
        ("stores:\n  lab:\n    backend: local\n    root: a/${USER}\n", 4, "secret"),
        ("stores:\n  lab:\n    backend: s3\n    bucket: s3://x\n", 4, "s3://"),
        ("stores:\n  lab:\n    backend: s3\n    bucket: x/../y\n", 4, "bucket"),
        ("stores:\n  lab:\n    backend: s3\n    bucket: xyz\n    endpoint_url: http://me:pw@host\n", 5, "endpoint_url"),
        ("stores:\n  lab:\n    backend: s3\n    bucket: xyz\n    bucket_name: http\n", 5, "bucket"),
    ],
)
def test_a_mistake_is_told_with_file_line_and_the_right_name(write, text, line, told):
    path = write(text)
    with pytest.raises(ConfigError) as caught:
        storage_plugins.open_store(config=path)
    assert f"{path}:{line}: " in str(caught.value)
    assert told in str(caught.value)
    assert isinstance(caught.value, ValueError)
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just words", "stores: &a [*a]\n", "\x00", "[" * 3000])
def test_what_is_no_mapping_is_a_typed_error(write, text):
    with pytest.raises(ConfigError):
        Config.open(write(text))


def test_bytes_that_are_no_text_and_a_missing_file_are_typed_errors(tmp_path):
    (tmp_path / "storage.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError):
        Config.open(tmp_path / "storage.yaml")
    with pytest.raises(ConfigError, match="init"):
        Config.open(tmp_path / "absent.yaml")


def test_an_unknown_backend_names_the_nearest(write):
    with pytest.raises(PluginError, match=r"locl(.|\n)*'local'"):
        storage_plugins.open_store(config=write(GOOD.replace("local", "locl", 1)))


def test_one_stores_mistake_does_not_stop_another(write):
    path = write(GOOD + "  broken: {backend: nowhere, rot: 1}\n")
    assert storage_plugins.open_store(config=path).name == "lab"
    with pytest.raises(PluginError):
        storage_plugins.open_store("broken", config=path)


def test_a_store_that_is_not_there_names_those_that_are(write):
    with pytest.raises(ConfigError, match=r"'lab'"):
        storage_plugins.open_store("lap", config=write(GOOD))


def test_a_missing_default_is_told_where_there_are_several(write):
    with pytest.raises(ConfigError, match="lab, other"):
        storage_plugins.open_store(config=write(GOOD.partition("\n")[2]))


def entry(write, settings):
    return Config.open(
        write(f"stores:\n  a:\n    backend: tokens\n{settings}  b: {{backend: local, root: x}}\n")
    ).stores


def test_a_variable_in_a_secret_is_resolved_when_its_store_is_opened(write, monkeypatch):
    monkeypatch.setenv("LAB_TOKEN", "s3cret")
    settings, unset = entry(write, '    token: "${LAB_TOKEN}"\n')["a"].settings(backend())
    assert settings.token.get_secret_value() == "s3cret"
    assert unset == ()
    assert "s3cret" not in repr(settings)


def test_an_unset_variable_counts_as_not_given_and_stops_no_store(write, tmp_path):
    path = write('default: b\nstores:\n  a: {backend: tokens, token: "${UNSET}"}\n  b: {backend: local, root: x}\n')
    assert storage_plugins.open_store(config=path).name == "b"
    settings, unset = Config.open(path).stores["a"].settings(backend())
    assert settings.token is None
    assert unset == ("UNSET",)


def test_an_unset_variable_in_a_setting_that_is_needed_is_named(write):
    with pytest.raises(ConfigError, match="UNSET is not set"):
        entry(write, '    token: "${UNSET}"\n')["a"].settings(backend(NeedySettings))


def test_a_variable_outside_secrets_is_refused_naming_the_secret_settings(write):
    with pytest.raises(ConfigError, match="token"):
        entry(write, '    place: "${HOME}"\n')["a"].settings(backend())


def test_receipts_can_be_put_elsewhere_or_switched_off(write, tmp_path):
    for said, folder in (("true", tmp_path / "receipts"), ("false", None), ("./mine", tmp_path / "mine")):
        store = storage_plugins.open_store(config=write(f"receipts: {said}\n{GOOD}"))
        assert store.receipts.folder == folder


def test_public_uploads_are_refused_where_no_backend_can_publish(write):
    with pytest.raises(storage_plugins.NotSupported, match="public"):
        storage_plugins.open_store(config=write("stores: {a: {backend: local, root: x, visibility: public}}"))


@pytest.mark.parametrize(
    "text",
    [
        "default: [lab]\nstores: {lab: {backend: local, root: a}}",
        "default: {a: b}\nstores: {lab: {backend: local, root: a}}",
        "stores: {lab: {backend: local, root: a, contact: 2024-13-45}}",
        "stores: {lab: {backend: local, root: a, contact: !!int hunter2}}",
        "stores: {lab: {backend: local, root: a, contact: !!bool hunter2}}",
        "stores: {lab: {backend: local, root: a, contact: !!timestamp hunter2}}",
        "stores: {lab: {backend: local, root: ''}}",
        'stores: {lab: {backend: local, root: "a\\0b"}}',
        "stores: {lab: {backend: local, root: a, replace: 'yes'}}",
    ],
)
def test_values_that_are_not_what_they_should_be_are_typed_and_not_shown(write, text):
    with pytest.raises(ConfigError) as caught:
        storage_plugins.open_store("lab", config=write(text))
    assert "hunter2" not in str(caught.value)


def test_an_unknown_users_home_is_a_folder_like_any_other(write, tmp_path, monkeypatch):
    monkeypatch.setenv("STORAGE_PLUGINS_CACHE", "~nobody-of-that-name/cache")
    store = storage_plugins.open_store(config=write("stores: {lab: {backend: local, root: ~nobody-of-that-name/x}}"))
    assert store.address.startswith(tmp_path.as_uri())


def test_a_home_behind_a_link_ends_the_search_too(tmp_path, home, monkeypatch):
    (tmp_path / "link").symlink_to(home, target_is_directory=True)
    monkeypatch.setenv("HOME", str(tmp_path / "link"))
    (tmp_path / "storage.yaml").write_text(GOOD)
    (home / "work").mkdir()
    assert find(home / "work") is None
