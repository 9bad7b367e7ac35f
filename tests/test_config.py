"""storage.yaml: where it is found, who may have written it, what it sends where, and how mistakes are reported."""

import dataclasses
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from pydantic import SecretStr

import storage_plugins
from storage_plugins import ConfigError, NotSupported, PluginError, StoreSettings
from storage_plugins._backend.discovery import Backend
from storage_plugins._config.config import Config, StoreEntry
from storage_plugins._config.finding import find, users_file
from storage_plugins._config.reading import LARGEST
from storage_plugins._config.trust import check_secrets, remember
from storage_plugins._store.open import open_entry
from storage_plugins.cli import cli
from storage_plugins.cli._exit_codes import exit_code

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


# who wrote a file that was found

needs_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="makes files of other users")


@pytest.fixture
def found(tmp_path):
    """A storage.yaml that is found from the current folder, and nobody else can write."""
    path = tmp_path / "here" / "storage.yaml"
    path.write_text(GOOD)
    path.chmod(0o644)
    path.parent.chmod(0o755)
    return path


def refused(path: Path, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as caught:
        Config.open()
    assert str(path) in str(caught.value)
    assert "STORAGE_PLUGINS_CONFIG" in str(caught.value)
    assert Config.open(path).default == "lab"


@pytest.mark.skipif(os.name == "nt", reason="modes say nothing there")
@pytest.mark.parametrize(("mode", "folder_mode"), [(0o646, 0o755), (0o644, 0o757), (0o666, 0o1777)])
def test_a_found_file_that_everyone_can_write_is_refused(found, mode, folder_mode):
    found.chmod(mode)
    found.parent.chmod(folder_mode)
    refused(found, "every user can write")


def test_a_found_file_in_a_folder_with_the_sticky_bit_counts_if_it_is_ones_own(found):
    found.parent.chmod(0o1777)
    assert Config.open().default == "lab"


@needs_root
def test_a_found_file_of_another_user_is_refused(found):
    os.chown(found, 1234, 0)
    refused(found, "uid 1234")
    os.chown(found, 0, 0)
    os.chown(found.parent, 1234, 0)
    refused(found, "uid 1234")


@needs_root
def test_a_file_that_root_made_counts_for_others_in_any_folder(found, monkeypatch):
    from storage_plugins._config.finding import why_unsafe

    found.parent.chmod(0o777)
    assert "every user can write" in why_unsafe(found)
    monkeypatch.setattr("os.geteuid", lambda: 12345)  # as in a container
    assert why_unsafe(found) is None
    found.chmod(0o646)
    assert "every user can write" in why_unsafe(found)


@needs_root
def test_a_found_file_that_a_group_can_write_is_refused_unless_the_user_is_alone_in_it(found):
    found.chmod(0o664)
    assert Config.open().default == "lab"  # root's own group
    os.chown(found, 0, 1234)
    refused(found, "other users can write")


@needs_root
def test_links_to_a_found_file_are_looked_at_with_their_folders(found, tmp_path):
    (tmp_path / "other").mkdir(mode=0o755)
    target = found.rename(tmp_path / "other" / "target.yaml")
    found.symlink_to(target)
    assert Config.open().default == "lab"
    os.chown(found, 1234, 0, follow_symlinks=False)
    refused(found, "uid 1234")
    os.chown(found, 0, 0, follow_symlinks=False)
    target.parent.chmod(0o777)
    refused(found, "every user can write")
    target.parent.chmod(0o755)
    os.chown(target, 1234, 0)
    refused(found, "uid 1234")


def test_a_hard_link_in_a_folder_of_everyone_is_refused(found, tmp_path):
    (tmp_path / "mine.yaml").hardlink_to(found)
    found.parent.chmod(0o1777)
    refused(found, "hard link")


# what a found file may send where

OSF = '{backend: osf, project: abc12, token: "${LAB_TOKEN}", api_url: "https://api.lab.example/v2/"}'
S3 = '{backend: s3, bucket: bbb, endpoint_url: "https://s3.lab.example"}'
WEB = '{backend: web, url: "https://lab.example/x.nc?key=${LAB_TOKEN}"}'
SFTP = '{backend: fsspec, url: "sftp://lab.example/x", secrets: {password: "${LAB_TOKEN}"}}'
WEBDAV = (
    '{backend: fsspec, url: "webdav://x", options: {base_url: "https://lab.example"}, secrets: {p: "${LAB_TOKEN}"}}'
)
CLOUD = '{backend: fsspec, url: "gs://bucket/x", options: {endpoint_url: "https://lab.example"}}'
SENT = {
    "osf": (OSF, "LAB_TOKEN", "https://api.lab.example"),
    "s3": (S3, "AWS credentials", "https://s3.lab.example"),
    "web": (WEB, "LAB_TOKEN", "https://lab.example"),
    "sftp": (SFTP, "LAB_TOKEN", "sftp://lab.example"),
    "webdav": (WEBDAV, "LAB_TOKEN", "https://lab.example"),
    "gs": (CLOUD, "credentials that fsspec finds", "https://lab.example"),
}


def stores(text: str) -> str:
    return f"default: lab\nstores:\n  lab: {text}\n  all: {{backend: group, read: [lab]}}\n"


@pytest.fixture
def token(monkeypatch):
    monkeypatch.setenv("LAB_TOKEN", "s3cret-s3cret")


@pytest.mark.parametrize(("text", "secret", "host"), SENT.values(), ids=SENT)
def test_a_found_file_sends_nothing_to_a_strangers_server_until_it_is_trusted(found, token, text, secret, host):
    found.write_text(stores(text))
    with pytest.raises(ConfigError) as caught:
        storage_plugins.open_store()
    assert secret in str(caught.value)
    assert f"to {host}." in str(caught.value)
    assert f"storage-plugins trust {found}" in str(caught.value)
    assert f"{found}:3: " in str(caught.value)
    assert storage_plugins.open_store(config=found).name == "lab"
    result = CliRunner().invoke(cli, ["trust"])
    assert result.exit_code == 0, result.output
    assert secret in result.output
    assert host in result.output
    assert storage_plugins.open_store().name == "lab"
    record = users_file().with_name("trusted.json")
    assert record.stat().st_mode & 0o777 == 0o600
    assert "s3cret" not in record.read_text() + result.output
    found.write_text(stores(text.replace("lab.example", "other.example")))
    with pytest.raises(ConfigError, match=r"other\.example"):
        storage_plugins.open_store()


@pytest.mark.parametrize("where", ["environment", "file"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_signatures_alone_go_to_this_computer_unasked_and_session_tokens_do_not(found, home, monkeypatch, where, host):
    found.write_text(stores(f'{{backend: s3, bucket: bbb, endpoint_url: "http://{host}:9000"}}'))
    credentials = home / ".aws" / "credentials"
    credentials.parent.mkdir(exist_ok=True)

    def have(*keys: str) -> None:
        values = dict.fromkeys(keys, "x")
        if where == "file":
            credentials.write_text("".join(["[default]\n", *(f"{name} = {value}\n" for name, value in values.items())]))
        for name, value in values.items() if where == "environment" else ():
            monkeypatch.setenv(name.upper(), value)

    have("aws_access_key_id", "aws_secret_access_key")
    assert storage_plugins.open_store().name == "lab"
    have("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
    with pytest.raises(ConfigError, match="AWS credentials"):
        storage_plugins.open_store()


def test_init_trusts_what_it_writes(token, home):
    words = ["--backend", "osf", "--project", "abc12", "--token", "${LAB_TOKEN}", "--api-url", "https://lab.example/"]
    result = CliRunner().invoke(cli, ["init", *words])
    assert result.exit_code == 0, result.output
    assert storage_plugins.open_store().name == "lab"
    assert "lab.example" in users_file().with_name("trusted.json").read_text()


@pytest.mark.skipif(os.name == "nt", reason="pseudo-terminals")
@pytest.mark.parametrize(("answer", "code"), [(b"y\n", exit_code(NotSupported)), (b"n\n", exit_code(ConfigError))])
def test_on_a_terminal_the_command_line_asks(found, token, answer, code):
    import pty

    found.write_text(stores(WEB))
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "storage_plugins", "ls"]  # a link cannot be listed
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs)
    os.write(ours, answer)
    assert process.wait(60) == code
    shown = os.read(ours, 1 << 16).decode()
    os.close(theirs)
    os.close(ours)
    assert "LAB_TOKEN" in shown
    assert "https://lab.example" in shown
    assert "s3cret" not in shown


def test_another_variable_needs_consent_again_and_one_that_is_not_set_needs_none(found, token, monkeypatch):
    found.write_text(stores(OSF.replace("LAB_TOKEN", "UNSET_TOKEN")))
    assert storage_plugins.open_store().name == "lab"
    found.write_text(stores(OSF))
    CliRunner().invoke(cli, ["trust", str(found)])
    assert storage_plugins.open_store().name == "lab"
    monkeypatch.setenv("UNSET_TOKEN", "another-s3cret")
    found.write_text(stores(OSF.replace("LAB_TOKEN", "UNSET_TOKEN")))
    with pytest.raises(ConfigError, match="UNSET_TOKEN"):
        storage_plugins.open_store()


@pytest.mark.parametrize(
    "text",
    [
        '{backend: osf, project: abc12, token: "${LAB_TOKEN}"}',
        "{backend: s3, bucket: bbb}",
        '{backend: s3, bucket: bbb, endpoint_url: "https://s3.lab.example", anonymous: always}',
        '{backend: web, url: "https://lab.example/x.nc"}',
        '{backend: fsspec, url: "sftp://lab.example/x"}',
    ],
)
def test_a_found_file_needs_no_consent_for_the_backends_own_servers_or_without_secrets(found, token, text):
    found.write_text(stores(text))
    assert storage_plugins.open_store().name == "lab"


def test_of_a_model_that_declares_no_servers_every_variable_needs_consent(write, token):
    for place in ("here", "there"):
        one = dataclasses.replace(
            entry(write, f'    token: "${{LAB_TOKEN}}"\n    place: {place}\n')["a"], given="found"
        )
        with pytest.raises(ConfigError, match=rf"LAB_TOKEN.*place: '{place}'") as caught:
            check_secrets(one, backend(), one.settings(backend())[0])
        remember(one.path, caught.value.sendings)
        check_secrets(one, backend(), one.settings(backend())[0])


def test_a_record_that_others_can_write_gives_no_consent(found, token):
    found.write_text(stores(OSF))
    CliRunner().invoke(cli, ["trust"])
    users_file().with_name("trusted.json").chmod(0o666)
    with pytest.raises(ConfigError, match="LAB_TOKEN"):
        storage_plugins.open_store()


@pytest.mark.parametrize("where", ["http://${LAB_TOKEN}.example/", "https://lab.example/${LAB_TOKEN}/x"])
def test_a_variable_in_the_host_or_path_of_an_address_is_refused_and_not_shown(write, token, where):
    with pytest.raises(ConfigError, match="after its") as caught:
        storage_plugins.open_store(config=write(stores(f'{{backend: web, url: "{where}"}}')))
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "link", ["https://lab.example/s3cret-s3cret", "https://lab.example/?a=s3cret s3cret", "s3cret"]
)
def test_a_link_in_a_variable_is_never_shown_by_an_error(write, monkeypatch, link):
    monkeypatch.setenv("LINK", link)
    with pytest.raises(ConfigError, match="url") as caught:
        storage_plugins.open_store(config=write(stores('{backend: web, url: "${LINK}"}')))
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (S3.replace("https:", "http:"), "AWS credentials"),
        (WEB.replace("https:", "http:"), "url"),
        (SFTP.replace("sftp:", "ftp:"), "password"),
    ],
)
def test_secrets_go_unencrypted_to_this_computer_only_unless_a_setting_says_so(write, token, text, secret):
    with pytest.raises(ConfigError, match=f"{secret} would be sent unencrypted"):
        storage_plugins.open_store(config=write(stores(text)))
    for host in ("127.0.0.1.example", "[::2]"):
        with pytest.raises(ConfigError, match="unencrypted"):
            storage_plugins.open_store(config=write(stores(text.replace("lab.example", host))))
    allowed = f"{text[:-1]}, allow_unencrypted: true}}"
    assert storage_plugins.open_store(config=write(stores(allowed))).name == "lab"
    local = text.replace("s3.lab.example", "localhost:9").replace("lab.example", "127.0.0.1")
    assert storage_plugins.open_store(config=write(stores(local))).name == "lab"


def test_a_secret_written_in_the_file_is_a_warning_with_its_line_once(write, caplog):
    path = write(stores("{backend: osf, project: abc12, token: hunter2}"))
    for _ in range(2):
        storage_plugins.open_store(config=path)
    (message,) = [message for message in caplog.messages if "token" in message]
    assert f"{path}:3: " in message
    assert '"${LAB_TOKEN}"' in message
    assert "hunter2" not in caplog.text


def test_a_server_that_only_a_uri_names_gets_no_credentials(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    for given, anonymous in (("address", "always"), ("named", "auto")):
        raw = {"bucket": "bbb", "endpoint_url": "https://s3.lab.example"}
        store = open_entry(StoreEntry("x", "s3", raw, None, Path.cwd(), None, given=given))
        assert store.files._settings.anonymous == anonymous
        again = pickle.loads(pickle.dumps(store))
        assert again.files._settings.anonymous == anonymous
    with pytest.raises(storage_plugins.NotSupported, match="smb"):
        storage_plugins.load("fsspec:smb://lab.example/share/x.nc")


# bounds, and values that YAML reads as something else


def bomb() -> str:
    lists = "".join(f"      o{i}: &a{i} [{', '.join([f'*a{i - 1}' if i else 'z'] * 9)}]\n" for i in range(9))
    return f"stores:\n  f:\n    backend: fsspec\n    url: sftp://h/x\n    options:\n{lists}"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (bomb(), "expand"),
        ("stores: &a\n  b: *a\n", "contains it"),
        ("# " + "x" * LARGEST, "KiB"),
        (f"stores: {'[' * 50}{']' * 50}\n", "levels"),
        ("stores: {a: {backend: osf, project: abc12, token: *hunter2}}", "begins with"),
        ("stores: {a: {backend: osf, project: abc12, token: !hunter2 x}}", "begins with"),
    ],
)
def test_yaml_without_bounds_is_refused_and_shown_nowhere(write, text, why):
    with pytest.raises(ConfigError, match=why) as caught:
        Config.open(write(text))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "setting",
    ["root: 2024", "root: 2024-01-01", "root: 010", "root: 1:30", "root: no", "root: 1.5", "root: 1_000", "root: 0x1F"],
)
def test_text_that_yaml_reads_as_something_else_is_to_be_put_in_quotes(write, setting):
    path = write(f"stores:\n  lab:\n    backend: local\n    {setting}\n")
    with pytest.raises(ConfigError, match="quotes") as caught:
        storage_plugins.open_store(config=path)
    assert f"{path}:4: " in str(caught.value)


@pytest.mark.parametrize("text", ["stores: {no: {backend: local, root: a}}", "default: 5\nstores: {'5': {backend: x}}"])
def test_names_of_stores_that_yaml_reads_as_something_else_are_to_be_put_in_quotes(write, text):
    with pytest.raises(ConfigError, match="quotes"):
        Config.open(write(text))


@pytest.mark.parametrize("timeout", ["yes", "1:30", "010"])
def test_a_number_is_a_plain_number(write, timeout):
    with pytest.raises(ConfigError, match="timeout"):
        storage_plugins.open_store(config=write(f"stores: {{a: {{backend: local, root: a, timeout: {timeout}}}}}"))


@pytest.mark.parametrize("folder", ["$HOME/data", "${HOME}/data", "/scratch/$USER/data", "'%USERPROFILE%/data'"])
def test_variables_in_folders_are_refused_and_no_folder_gets_such_a_name(write, tmp_path, folder):
    for text in (f"stores: {{a: {{backend: local, root: {folder}}}}}", f"receipts: {folder}\n{GOOD}"):
        with pytest.raises(ConfigError, match="~ is your home"):
            storage_plugins.open_store(config=write(text.replace("${HOME}/data", '"${HOME}/data"')))
    assert not [path for path in tmp_path.rglob("*") if "$" in path.name or "%" in path.name]
