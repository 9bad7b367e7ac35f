"""Every place where the AWS tools look for credentials, each through to a load."""

import hashlib
import http.server
import json
import subprocess
import sys
import threading

import pytest
import xarray as xr
from conftest import make_assembly

pytestmark = pytest.mark.slow

LATER = "2099-01-01T00:00:00Z"


@pytest.fixture
def loads(open_lab, bucket, proxy, home, s3_server):
    """Upload with the owner's file, take it away, and check that a load uses the credentials laid out since."""
    open_lab().upload(make_assembly(), "X")
    (home / ".aws" / "credentials").unlink()

    def loads(token: str | None = None, **settings) -> None:
        xr.testing.assert_identical(open_lab(endpoint_url=proxy.url, **settings).load("X"), make_assembly())
        assert f"Credential={s3_server.owner[0]}/" in proxy.headers[-1]["Authorization"]
        assert proxy.headers[-1].get("X-Amz-Security-Token") == token

    return loads


def test_environment(loads, monkeypatch, s3_server):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.owner[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.owner[1])
    loads()


def test_both_files_as_the_aws_tutorial_prints_them(loads, home, s3_server, proxy):
    key, secret = s3_server.owner
    (home / ".aws" / "credentials").write_text(
        f"[default]\naws_access_key_id={key}\naws_secret_access_key={secret}\n\n"
        "[user1]\naws_access_key_id=AKIAI44QH8DHBEXAMPLE\naws_secret_access_key=je7MtGbClwBF/2Zp9Utk/h3yCo8nvbEXAMPLEKEY\n"
    )
    (home / ".aws" / "config").write_text(
        "[default]\nregion=us-east-2\noutput=json\n\n[profile user1]\nregion=us-east-1\noutput=text\n"
    )
    loads()
    assert "/us-east-2/s3/" in proxy.headers[-1]["Authorization"]


@pytest.mark.parametrize("how", ["yaml", "environment"])
def test_a_profile(loads, home, s3_server, monkeypatch, how):
    key, secret = s3_server.owner
    (home / ".aws" / "credentials").write_text(f"[lab]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n")
    if how == "environment":
        monkeypatch.setenv("AWS_PROFILE", "lab")
        loads()
    else:
        loads(profile="lab")


def test_files_in_another_place(loads, tmp_path, s3_server, monkeypatch):
    key, secret = s3_server.owner
    (tmp_path / "keys").write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "keys"))
    loads()


def test_a_credential_process(loads, home, tmp_path, s3_server):
    key, secret = s3_server.owner
    told = json.dumps({"Version": 1, "AccessKeyId": key, "SecretAccessKey": secret})
    (tmp_path / "keys.py").write_text(f"print('''{told}''')")
    (home / ".aws" / "config").write_text(f"[default]\ncredential_process = {sys.executable} {tmp_path / 'keys.py'}\n")
    loads()


@pytest.fixture
def answering(s3_server):
    """A server that gives JSON or text for paths, whatever the method."""
    if s3_server.kind != "moto":
        pytest.skip("this server knows no session tokens but its own")
    pages: dict[str, object] = {}
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            path = self.path.partition("?")[0]
            asked.append(path)
            page = pages.get(path)
            body = (page if isinstance(page, str) else json.dumps(page)).encode()
            self.send_response(404 if page is None else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_PUT = do_GET

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", pages, asked
    server.shutdown()
    server.server_close()


def test_the_role_of_an_instance(loads, answering, monkeypatch, s3_server):
    url, pages, asked = answering
    key, secret = s3_server.owner
    folder = "/latest/meta-data/iam/security-credentials/"
    pages |= {
        "/latest/api/token": "a-token",
        folder: "lab-role",
        f"{folder}lab-role": {
            "Code": "Success",
            "AccessKeyId": key,
            "SecretAccessKey": secret,
            "Token": "of-the-instance",
            "Expiration": LATER,
            "LastUpdated": "2026-01-01T00:00:00Z",
        },
    }
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", url)
    loads(token="of-the-instance")
    assert asked


def test_the_role_of_a_container(loads, answering, monkeypatch, s3_server):
    url, pages, _ = answering
    key, secret = s3_server.owner
    pages["/role"] = {"AccessKeyId": key, "SecretAccessKey": secret, "Token": "of-the-container", "Expiration": LATER}
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{url}/role")
    loads(token="of-the-container")


def test_single_sign_on_from_its_cache(loads, answering, home, monkeypatch, s3_server, bucket, proxy):
    url, pages, _ = answering
    key, secret = s3_server.owner
    (home / ".aws" / "config").write_text(
        "[profile lab]\nsso_session = lab\nsso_account_id = 123456789012\nsso_role_name = reader\n"
        "[sso-session lab]\nsso_start_url = https://lab.example/start\nsso_region = us-east-1\n"
    )
    cache = home / ".aws" / "sso" / "cache"
    cache.mkdir(parents=True)
    held = {
        "accessToken": "signed-in",
        "expiresAt": LATER,
        "region": "us-east-1",
        "startUrl": "https://lab.example/start",
    }
    (cache / f"{hashlib.sha1(b'lab').hexdigest()}.json").write_text(json.dumps(held))
    role = {"accessKeyId": key, "secretAccessKey": secret, "sessionToken": "of-sso", "expiration": 4070908800000}
    pages["/federation/credentials"] = {"roleCredentials": role}
    monkeypatch.setenv("AWS_ENDPOINT_URL_SSO", url)
    store = {"backend": "s3", "bucket": f"{bucket}/brain", "endpoint_url": proxy.url, "profile": "lab"}
    code = f"import storage_plugins as s; s.open_store(config={{'default': 'l', 'stores': {{'l': {store}}}}}).load('X')"
    subprocess.run([sys.executable, "-c", code], check=True)  # botocore looks where the home is only when imported
    assert proxy.headers[-1]["X-Amz-Security-Token"] == "of-sso"


def test_single_sign_on_that_has_run_out_says_how_to_sign_in(open_lab, home, loads):
    from storage_plugins import AccessDenied

    (home / ".aws" / "config").write_text(
        "[profile lab]\nsso_session = lab\nsso_account_id = 123456789012\nsso_role_name = reader\n"
        "[sso-session lab]\nsso_start_url = https://lab.example/start\nsso_region = us-east-1\n"
    )
    with pytest.raises(AccessDenied, match="aws sso login"):
        open_lab(profile="lab").load("X", newest=True)
