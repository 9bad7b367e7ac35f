"""What a user meets with S3, and is told: each message is one paragraph, with what to do."""

import http.server
import ssl
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from conftest import make_assembly, write_credentials

import storage_plugins
from storage_plugins import (
    AccessDenied,
    AssemblyNotFound,
    ConfigError,
    IntegrityError,
    NotSupported,
    QuotaExceeded,
    RateLimited,
    StorageError,
    StoreUnavailable,
)

pytestmark = pytest.mark.slow

# what the server answers to each request -> the error, and what must stand in its message
ANSWERS = {
    "no such bucket": ((404, "NoSuchBucket"), ConfigError, "Check bucket: and endpoint_url:"),
    "another region": ((301, "PermanentRedirect"), ConfigError, "Set region: in storage.yaml"),
    "signed for another region": ((400, "AuthorizationHeaderMalformed"), ConfigError, "Set region: in storage.yaml"),
    "credentials expired": ((400, "ExpiredToken"), AccessDenied, "sign in again"),
    "unknown access key": ((403, "InvalidAccessKeyId"), AccessDenied, "check the profile, or AWS_ACCESS_KEY_ID"),
    "wrong secret": ((403, "SignatureDoesNotMatch"), AccessDenied, "secret key does not match"),
    "clock wrong": ((403, "RequestTimeTooSkewed"), StoreUnavailable, "clock is off"),
    "may not": ((403, "AccessDenied"), AccessDenied, "Ask data@lab.example for access"),
    "account closed": ((403, "AllAccessDisabled"), AccessDenied, "Ask data@lab.example"),
    "archived": ((403, "InvalidObjectState"), AccessDenied, "aws s3api restore-object"),
    "too many requests": ((503, "SlowDown"), RateLimited, "asks for fewer requests"),
    "server broken": ((500, "InternalError"), StoreUnavailable, "Try again later"),
    "unfinished feature": ((501, "NotImplemented"), NotSupported, "does not support this request"),
    "full": ((403, "QuotaExceeded"), QuotaExceeded, "more space"),
    "too large": ((400, "EntityTooLarge"), QuotaExceeded, "is too large"),
    "damaged on its way": ((400, "BadDigest"), IntegrityError, "Try again"),
    "key disabled": ((400, "KMS.DisabledException"), StorageError, "was refused"),
    "key unusable": ((400, "KMS.KMSInvalidStateException"), StorageError, "was refused"),
}


@pytest.mark.parametrize("situation", ANSWERS)
def test_what_the_server_says_is_explained(open_lab, proxy, monkeypatch, situation):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    answer, kind, text = ANSWERS[situation]
    proxy.refuse = lambda method, path: answer if method == "GET" else None
    with pytest.raises(kind) as caught:
        open_lab(endpoint_url=proxy.url, contact="data@lab.example").load("X")
    assert type(caught.value) is kind
    assert_paragraph(caught, text)


def assert_paragraph(caught, *texts: str) -> None:
    """One short paragraph that names the place."""
    message = str(caught.value)
    assert len(message) < 700
    assert "\n\n" not in message
    assert "Traceback" not in message
    for text in texts:
        assert text in message, message


@pytest.fixture
def page():
    """A web server that is no S3 server, with or without TLS under a certificate that nobody knows."""
    servers = []

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = b"<html><body>Please sign in to the guest network</body></html>"
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    def serve(folder: Path | None = None) -> str:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
        server.daemon_threads = True
        if folder is not None:
            names = ["-keyout", folder / "key.pem", "-out", folder / "cert.pem", "-subj", "/CN=localhost"]
            make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names]
            subprocess.run(make, check=True, capture_output=True)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
            server.socket = context.wrap_socket(server.socket, server_side=True)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return f"{'http' if folder is None else 'https'}://localhost:{server.server_address[1]}"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_page_instead_of_data_is_not_taken_for_an_object(open_lab, page):
    with pytest.raises(StoreUnavailable) as caught:
        open_lab(endpoint_url=page()).load("X", newest=True)
    assert_paragraph(caught, "does not answer as an S3 server", "endpoint_url")


def test_a_certificate_that_nobody_knows(open_lab, page, tmp_path):
    with pytest.raises(StoreUnavailable) as caught:
        open_lab(endpoint_url=page(tmp_path)).load("X", newest=True)
    assert_paragraph(caught, "AWS_CA_BUNDLE")


def test_https_to_a_server_without_it(open_lab, endpoint):
    with pytest.raises(StoreUnavailable) as caught:
        open_lab(endpoint_url=endpoint.replace("http:", "https:")).load("X", newest=True)
    assert_paragraph(caught, "http: or https:")


def test_a_host_that_does_not_exist(open_lab):
    with pytest.raises(StoreUnavailable) as caught:
        open_lab(endpoint_url="http://no-such-host.invalid", allow_unencrypted=True).load("X", newest=True)
    assert_paragraph(caught, "no-such-host.invalid", "Check the network")


def test_a_proxy_that_is_down(open_lab, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with pytest.raises(StoreUnavailable) as caught:
        open_lab(endpoint_url="http://s3.lab.example", allow_unencrypted=True).load("X", newest=True)
    assert_paragraph(caught, "127.0.0.1:9", "proxy")


def test_a_bucket_with_dots_is_asked_for_by_path_on_a_server_of_ones_own(open_lab, s3_client, proxy):
    import uuid

    bucket = f"lab.with.dots.{uuid.uuid4().hex[:8]}"
    s3_client.create_bucket(Bucket=bucket)
    open_lab(bucket=bucket, endpoint_url=proxy.url).upload(make_assembly(), "X")
    assert all(request.split()[1].startswith(f"/{bucket}") for request in proxy.requests)


@pytest.mark.parametrize(
    ("text", "kind", "told"),
    [
        ("nonsense", StorageError, "credentials"),
        ("[default]\naws_access_key_id = A\n", AccessDenied, "aws_secret_access_key"),
        ("[other]\naws_access_key_id = A\naws_secret_access_key = B\n", AccessDenied, "private or missing"),
    ],
)
def test_a_credentials_file_that_is_not_as_it_should_be(open_lab, home, text, kind, told):
    open_lab().upload(make_assembly(), "X")
    (home / ".aws" / "credentials").write_text(text)
    with pytest.raises(kind) as caught:
        open_lab().load("X")
    assert_paragraph(caught, told)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"bucket": "s3://bucket/brain"}, "write it without s3://"),
        ({"bucket": "A"}, "bucket's name"),
        ({"endpoint_url": "s3.lab.example"}, "is not an http:// or https:// address"),
        ({"endpoint_url": "http://user:pw@host"}, "no user, password or query"),
        ({"anonymus": "auto"}, "anonymous"),
        ({"publish_by": "magic"}, "publish_by"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_anything_is_asked(open_lab, settings, told):
    with pytest.raises(ConfigError) as caught:
        open_lab(**settings)
    assert_paragraph(caught, told)


def test_who_may_read_but_not_write_is_told_so(s3_server, open_lab, proxy):
    proxy.refuse = lambda method, path: (403, "AccessDenied") if method == "PUT" else None
    with pytest.raises(AccessDenied) as caught:
        open_lab(endpoint_url=proxy.url, contact="data@lab.example").upload(make_assembly(), "X")
    assert_paragraph(caught, "assy_X.nc", "Ask data@lab.example for access")


def test_a_second_user_without_rights(s3_server, open_lab, home):
    if s3_server.kind == "moto":
        pytest.skip("moto lets everybody in")
    open_lab().upload(make_assembly(), "X")
    write_credentials(home, s3_server.other)
    with pytest.raises(AccessDenied, match="private or missing"):
        open_lab().load("X")
    write_credentials(home, (s3_server.owner[0], "wrong"))
    with pytest.raises(AccessDenied, match="secret key does not match"):
        open_lab().load("X")


@pytest.mark.slow
def test_the_lookup_of_an_instances_role_is_not_begun_where_there_is_none(s3_server, open_lab, home, bucket):
    from storage_plugins_s3.connection import _may_have_an_instance_role

    if _may_have_an_instance_role():
        pytest.skip("this is a machine of Amazon's")
    open_lab().upload(make_assembly(), "X")
    s3_server.client().put_object_acl(Bucket=bucket, Key="brain/assy_X.nc", ACL="public-read")
    (home / ".aws" / "credentials").unlink()
    code = (
        "import os, sys; os.environ.pop('AWS_EC2_METADATA_DISABLED'); asked = []\n"
        "sys.addaudithook(lambda event, told: event == 'socket.connect' and asked.append(str(told[1])))\n"
        "import storage_plugins\n"
        f"store = {{'backend': 's3', 'bucket': '{bucket}/brain', 'endpoint_url': '{s3_server.url}'}}\n"
        "print(storage_plugins.open_store(config={'default': 's', 'stores': {'s': store}}).load('X').name)\n"
        "assert asked; assert not [place for place in asked if '169.254' in place], asked\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "rates", done.stderr


def test_of_a_missing_object_only_those_who_may_list_are_told_that_it_is_missing(s3_server, open_lab, home):
    with pytest.raises(AssemblyNotFound):
        open_lab().load("X")
    if s3_server.kind != "moto":  # which tells everybody
        write_credentials(home, s3_server.other)
        with pytest.raises(AccessDenied, match="private or missing"):
            open_lab().load("X")


def test_an_address_loads_public_data_without_configuration(open_lab, s3_client, bucket):
    receipt = open_lab().upload(make_assembly(), "X")
    s3_client.put_object_acl(Bucket=bucket, Key="brain/assy_X.nc", ACL="public-read")
    uri = receipt.uri.replace(f"versionId={receipt.version_id}&", "")  # Ceph opens the newest alone by ACL
    assert storage_plugins.load(uri).identical(make_assembly())


def test_a_server_that_only_an_address_names_gets_no_signed_request(open_lab, proxy, monkeypatch):
    receipt = open_lab(endpoint_url=proxy.url).upload(make_assembly(), "X")
    proxy.headers.clear()
    with pytest.raises(AccessDenied, match="without credentials"):
        storage_plugins.load(receipt.uri.partition("#")[0] + "#sha1=" + "0" * 40)
    assert proxy.headers
    assert not [headers for headers in proxy.headers if "Authorization" in headers]
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)  # the user's own word
    assert storage_plugins.load(receipt.uri).identical(make_assembly())
