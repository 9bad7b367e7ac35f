"""No secret is shown: not in repr, logs at DEBUG, errors or pickles, of our stores or a third party's."""

import io
import logging
import pickle
import re
import shutil
import subprocess
import traceback

import pytest
from conftest import make_assembly, write_yaml
from pydantic import SecretStr

import storage_plugins
from storage_plugins import AccessDenied, ConfigError, StoreSettings
from storage_plugins._backend.discovery import Backend, Plugin
from storage_plugins._config.config import Config
from storage_plugins._store.open import portable, reopen

KEY_ID = "AKIAIOSFODNN7EXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
TOKEN = "IQoJb3JpZ2luX2VjEXAMPLESESSIONTOKEN=="


@pytest.fixture
def everything_logged():
    """All that is logged at DEBUG by anybody, tracebacks included."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)


def test_s3_shows_no_secret(tmp_path, bucket, endpoint, monkeypatch, everything_logged, s3_server):
    if s3_server.kind != "moto":
        pytest.skip("this server knows its users; moto takes any keys")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    path = write_yaml(tmp_path, {"backend": "s3", "bucket": bucket, "endpoint_url": endpoint})
    store = storage_plugins.open_store(config=path)
    receipt = store.upload(make_assembly(), "X")
    (tmp_path / "large.bin").write_bytes(b"x" * (17 << 20))
    store.upload_file(tmp_path / "large.bin")
    store.load("X", newest=True)
    store.versions("X")
    shown = [repr(store), repr(store.files), repr(store.settings), repr(receipt), str(vars(store))]
    bad = storage_plugins.open_store(
        config=write_yaml(tmp_path, {"backend": "s3", "bucket": "none-such", "endpoint_url": endpoint})
    )
    for call in (lambda: store.load("Y"), lambda: bad.upload(make_assembly(), "X")):
        with pytest.raises(storage_plugins.StorageError) as caught:
            call()
        shown += ["".join(traceback.format_exception(caught.value)), repr(caught.value)]
    logged = everything_logged.getvalue()
    assert "botocore" in logged or "PUT" in logged
    shown += [logged, pickle.dumps(store).decode("latin-1"), pickle.dumps(store.settings).decode("latin-1")]
    files = pickle.dumps(store.files)
    shown.append(files.decode("latin-1"))
    for text in shown:
        assert SECRET not in text
        assert TOKEN not in text
    assert pickle.loads(files).newest(receipt.key).version_id == receipt.version_id


@pytest.mark.slow
def test_sftp_shows_no_secret(tmp_path, sftp, monkeypatch, everything_logged):
    monkeypatch.setenv("LAB_PASSPHRASE", SECRET)
    monkeypatch.setenv("LAB_PASSWORD", TOKEN)
    key = tmp_path / "key"
    shutil.copy(sftp.key, key)
    subprocess.run(["ssh-keygen", "-q", "-p", "-P", "", "-N", SECRET, "-f", key], check=True)
    options = {"key_filename": str(key), "look_for_keys": False}
    settings = {"backend": "fsspec", "url": sftp.url(tmp_path / "server"), "options": options}
    secrets = {"passphrase": "${LAB_PASSPHRASE}", "password": "${LAB_PASSWORD}"}
    path = write_yaml(tmp_path, {**settings, "secrets": secrets})
    store = storage_plugins.open_store(config=path)
    receipt = store.upload(make_assembly(), "X")
    assert store.load(receipt).identical(make_assembly())
    shown = [repr(store), repr(store.files), repr(store.settings), repr(receipt), str(vars(store))]
    options["key_filename"] = str(sftp.stranger)
    (tmp_path / "bad").mkdir()
    bad = storage_plugins.open_store(config=write_yaml(tmp_path / "bad", {**settings, "secrets": secrets}))
    for call in (lambda: store.load("Y"), lambda: bad.upload(make_assembly(), "X")):
        with pytest.raises(storage_plugins.StorageError) as caught:
            call()
        shown += ["".join(traceback.format_exception(caught.value)), repr(caught.value)]
    assert "userauth" in everything_logged.getvalue()
    shown += [everything_logged.getvalue(), pickle.dumps(store.files).decode("latin-1")]
    shown += [pickle.dumps(store).decode("latin-1"), pickle.dumps(store.settings).decode("latin-1")]
    assert not [text for text in shown if SECRET in text or TOKEN in text]
    assert pickle.loads(pickle.dumps(store)).versions("X")[0].version_id == receipt.version_id


@pytest.mark.parametrize(
    "line",
    [
        f"x-amz-security-token:{TOKEN}\nx-amz-date:1",
        f"headers={{'X-Amz-Security-Token': b'{TOKEN}', 'a': 'b'}}",
        f'{{"SecretAccessKey": "{SECRET}", "SessionToken": "{TOKEN}"}}',
        f"<SecretAccessKey>{SECRET}</SecretAccessKey><SessionToken>{TOKEN}</SessionToken>",
        f"aws_secret_access_key = {SECRET}",
        f"sessionToken='{TOKEN}'",
    ],
)
def test_credentials_that_were_refreshed_meanwhile_are_kept_out_of_logs_too(
    line, tmp_path, bucket, endpoint, everything_logged
):
    path = write_yaml(tmp_path, {"backend": "s3", "bucket": bucket, "endpoint_url": endpoint})
    storage_plugins.open_store(config=path).identifiers()
    for logger in ("botocore.auth", "botocore.endpoint", "botocore.parsers"):
        logging.getLogger(logger).debug("told: %s", line)
    assert "told: " in everything_logged.getvalue()
    assert SECRET not in everything_logged.getvalue()
    assert TOKEN not in everything_logged.getvalue()


class TokenSettings(StoreSettings):
    token: SecretStr | None = None


class Refusing(storage_plugins.FileOperations):
    """A host that refuses, keeping the token as its client would."""

    def __init__(self, settings):
        self.settings = settings

    @property
    def address(self):
        return "osf:abc12"

    def put(self, key, source, *, metadata, if_absent):
        raise AccessDenied("refused")

    def read(self, key, version_id=None, **options):
        raise AccessDenied("refused")

    def versions(self, key):
        raise AccessDenied("refused")

    def keys(self, prefix=""):
        raise AccessDenied("refused")


@pytest.fixture
def token_backend(monkeypatch):
    import storage_plugins._backend.discovery

    backend = Backend(name="tokens", settings=TokenSettings, files=Refusing)
    plugin = Plugin("tokens", "a-test", "1", backend)
    monkeypatch.setattr(storage_plugins._backend.discovery, "installed", lambda: (plugin,))
    return backend


@pytest.mark.parametrize("written", ["${LAB_TOKEN}", "literal-s3cret", "Bearer ${LAB_TOKEN}"])
def test_a_token_is_shown_nowhere_and_survives_a_pickle(tmp_path, token_backend, monkeypatch, written):
    monkeypatch.setenv("LAB_TOKEN", "literal-s3cret")
    path = write_yaml(tmp_path, {"backend": "tokens", "token": written, "contact": "data@lab.example"})
    store = storage_plugins.open_store(config=path)
    assert "literal-s3cret" in store.settings.token.get_secret_value()
    with pytest.raises(AccessDenied, match=r"data@lab\.example") as caught:
        store.load("X")
    state = portable(store._entry)
    pickled = pickle.dumps(state)
    shown = [
        repr(store),
        repr(store.settings),
        repr(store._entry),
        str(caught.value),
        repr(state),
        pickled.decode("latin-1"),
    ]
    assert not any("literal-s3cret" in text for text in shown)
    assert reopen(pickle.loads(pickled)).settings.token == store.settings.token


def test_the_warning_of_a_literal_secret_shows_what_would_control_a_terminal(tmp_path, caplog):
    (tmp_path / "storage.yaml").write_text(
        'stores: {lab: {backend: fsspec, url: "memory://x", secrets: {"\u202e": "literal-s3cret"}}}', "utf-8"
    )
    storage_plugins.open_store(config=tmp_path / "storage.yaml")
    (warning,) = [record.getMessage() for record in caplog.records if "is written in this file" in record.getMessage()]
    assert "\u202e" not in warning
    assert "\\u202e" in warning


def test_a_literal_token_whose_file_is_not_on_the_other_machine_is_simply_gone(tmp_path, token_backend):
    path = write_yaml(tmp_path, {"backend": "tokens", "token": "literal-s3cret"})
    state = portable(Config.open(path).entry())
    path.unlink()
    assert reopen(state).settings.token is None


def test_a_refusal_names_the_variable_that_was_not_set(tmp_path, token_backend):
    path = write_yaml(tmp_path, {"backend": "tokens", "token": "${LAB_TOKEN}"})
    with pytest.raises(AccessDenied, match="LAB_TOKEN") as caught:
        storage_plugins.open_store(config=path).load("X")
    assert str(path) in str(caught.value)


def test_a_wrong_setting_beside_a_secret_does_not_show_it(tmp_path, token_backend):
    path = write_yaml(tmp_path, {"backend": "tokens", "token": ["literal-s3cret"]})
    with pytest.raises(ConfigError) as caught:
        storage_plugins.open_store(config=path)
    told = "".join(traceback.format_exception(caught.value))
    assert "token" in told
    assert "literal-s3cret" not in told


def test_a_link_is_not_in_the_log(tmp_path, bucket, endpoint, everything_logged):
    path = write_yaml(tmp_path, {"backend": "s3", "bucket": bucket, "endpoint_url": endpoint})
    store = storage_plugins.open_store(config=path)
    store.upload(make_assembly(), "X")
    link = store.share("X")
    signature = re.search(r"X-Amz-Signature=([0-9a-f]{64})", link)[1]
    assert "CanonicalRequest" in everything_logged.getvalue()
    assert signature not in everything_logged.getvalue()
