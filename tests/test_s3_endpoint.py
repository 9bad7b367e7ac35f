"""Which server an S3 store means: its setting, the environment, the AWS config file; by path or by host name."""

import pytest
from conftest import write_yaml
from proxy import Proxy

import storage_plugins
from storage_plugins import StorageError
from storage_plugins_s3.settings import S3Settings, locate

CONFIGS = {
    "the profile": "[default]\nendpoint_url = {url}\n",
    "a services section": "[default]\nservices = here\n[services here]\ns3 =\n  endpoint_url = {url}/\n",
    "a services section before the profile": "[default]\nendpoint_url = http://127.0.0.1:9\nservices = here\n"
    "[services here]\ns3 =\n  endpoint_url = {url}\n",
}


@pytest.fixture
def aws_config(home):
    (home / ".aws").mkdir(exist_ok=True)
    return home / ".aws" / "config"


@pytest.mark.parametrize("where", CONFIGS)
def test_the_server_of_the_aws_config_is_in_addresses_and_uris(where, aws_config, bucket, endpoint, tmp_path):
    aws_config.write_text(CONFIGS[where].format(url=endpoint))
    config = write_yaml(tmp_path, {"backend": "s3", "bucket": bucket})
    (tmp_path / "f").write_bytes(b"data")
    store = storage_plugins.open_store(config=config)
    receipt = store.upload_file(tmp_path / "f")
    assert store.address == receipt.address == f"s3://{bucket}?endpoint_url={endpoint}"
    assert f"endpoint_url={endpoint}" in receipt.uri
    assert not store.files.creates_safely()  # which is known of Amazon's alone
    assert store.files.anonymous().address == store.address


def test_two_profiles_with_one_bucket_name_are_two_places(aws_config):
    text = "[profile {name}]\nendpoint_url = http://{name}.example\n"
    aws_config.write_text(text.format(name="old") + text.format(name="new"))
    addresses = {S3Settings(bucket="data", profile=name).address for name in ("old", "new")}
    assert addresses == {f"s3://data?endpoint_url=http://{name}.example" for name in ("old", "new")}


def test_the_environment_comes_before_the_file_and_the_setting_before_both(aws_config, monkeypatch):
    aws_config.write_text("[default]\nendpoint_url = http://file.example\n")
    assert S3Settings(bucket="bbb").endpoint == "http://file.example"
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://all.example")
    assert S3Settings(bucket="bbb").endpoint == "http://all.example"
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://s3.example/")
    assert S3Settings(bucket="bbb").endpoint == "http://s3.example"
    assert S3Settings(bucket="bbb", endpoint_url="http://setting.example").endpoint == "http://setting.example"


@pytest.mark.parametrize("how", ["environment", "file"])
def test_configured_servers_can_be_ignored_as_in_the_aws_tools(aws_config, monkeypatch, how):
    aws_config.write_text("[default]\nendpoint_url = http://file.example\nignore_configured_endpoint_urls = true\n")
    if how == "environment":
        aws_config.write_text("[default]\nendpoint_url = http://file.example\n")
        monkeypatch.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")
    assert S3Settings(bucket="bbb").endpoint is None


@pytest.mark.parametrize("text", ["[default]\nservices = nowhere\n", "nonsense", "[profile other]\nregion = x\n"])
def test_a_config_that_names_no_server_means_amazon(aws_config, text):
    aws_config.write_text(text)
    assert S3Settings(bucket="bbb").address == "s3://bbb"


def test_an_address_with_a_server_of_its_own_is_asked_without_credentials(aws_config):
    address = "s3://data/key?endpoint_url=http://file.example"
    assert locate(address).settings["anonymous"] == "always"
    aws_config.write_text("[default]\nendpoint_url = http://file.example\n")
    assert "anonymous" not in locate(address).settings
    aws_config.write_text("[default]\nendpoint_url = http://moved.example\n")
    assert locate(address).settings["anonymous"] == "always"


@pytest.mark.parametrize(("style", "path"), [("virtual", "/assy_X.nc"), ("path", "/labbucket/assy_X.nc"), (None, None)])
def test_the_style_of_addressing_follows_the_aws_config(aws_config, proxy: Proxy, monkeypatch, tmp_path, style, path):
    import socket

    resolve = socket.getaddrinfo

    def here(host, *rest, **options):
        name = host.decode() if isinstance(host, bytes) else str(host)
        return resolve("127.0.0.1" if name.endswith("localhost") else host, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", here)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    if style:
        aws_config.write_text(f"[default]\ns3 =\n  addressing_style = {style}\n")
    url = proxy.url.replace("127.0.0.1", "localhost")
    config = write_yaml(tmp_path, {"backend": "s3", "bucket": "labbucket", "endpoint_url": url})
    with pytest.raises(StorageError):
        storage_plugins.open_store(config=config).load("X", newest=True)
    assert proxy.requests[0].split()[1] == (path or "/labbucket/assy_X.nc")
    assert proxy.headers[0]["Host"].startswith("labbucket.") is (style == "virtual")
