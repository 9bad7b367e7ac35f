"""Who may what: publishing, sharing, and what everybody else is told. Run on a real server, which knows its users."""

import json
import re
import time
from pathlib import Path

import pytest
import xarray as xr
from conftest import make_assembly, write_credentials
from memory_files import MemoryFiles

import storage_plugins
from storage_plugins import AccessDenied, AssemblyNotFound, ConfigError, NotSupported, StorageError

KEY = "brain/assy_X.nc"
DOCUMENT = Path(__file__).parents[1] / "docs" / "private-data.md"


@pytest.fixture
def real(s3_server):
    """The server, if it looks at users, policies and tags."""
    if s3_server.kind == "moto":
        pytest.skip("moto lets everybody do nearly everything; see STORAGE_PLUGINS_TEST_S3")
    return s3_server


@pytest.fixture
def policy(s3_client, bucket):
    """Set the bucket's policy to these statements."""

    def put(*statements: dict) -> None:
        text = json.dumps({"Version": "2012-10-17", "Statement": statements})
        s3_client.put_bucket_policy(Bucket=bucket, Policy=text)

    return put


def reading(bucket: str, principal: object, *actions: str) -> dict:
    return {
        "Effect": "Allow",
        "Principal": principal,
        "Action": [f"s3:{action}" for action in actions],
        "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
    }


def told(error) -> str:
    """Return the policy that an error asks for, as its command gives it."""
    return re.search(r"--policy '(.*)'", str(error.value))[1]


@pytest.fixture
def as_user(home):
    """Be another user from now on: None is nobody."""

    def become(user: tuple[str, str] | None) -> None:
        (home / ".aws" / "credentials").unlink(missing_ok=True)
        if user is not None:
            write_credentials(home, user)

    return become


def test_publish_by_tag_says_what_the_bucket_needs_and_then_proves_itself(real, open_lab, s3_client, bucket, as_user):
    store = open_lab()
    first, second = (store.upload(make_assembly(seed), "X") for seed in (1, 2))
    store.upload(make_assembly(3), "Y")
    with pytest.raises(AccessDenied, match="left private") as caught:
        store.publish("X")
    assert {"Key": "storage-plugins", "Value": "public"} not in tags(s3_client, bucket, second)
    s3_client.put_bucket_policy(Bucket=bucket, Policy=told(caught))
    receipt = store.publish("X")
    assert (receipt.version_id, receipt.sha256) == (second.version_id, second.sha256)
    assert {tag["Key"] for tag in tags(s3_client, bucket, second)} == {"uploadedBy", "storage-plugins"}
    as_user(None)
    xr.testing.assert_identical(open_lab().load("X"), make_assembly(2))
    xr.testing.assert_identical(storage_plugins.load(receipt), make_assembly(2))
    for private in (lambda: open_lab().load("Y"), lambda: open_lab().load("X", version_id=first.version_id)):
        with pytest.raises(AccessDenied):
            private()


def tags(client, bucket, receipt) -> list[dict[str, str]]:
    return client.get_object_tagging(Bucket=bucket, Key=f"brain/{receipt.key}", VersionId=receipt.version_id)["TagSet"]


def test_unpublish_takes_back_what_publish_did_and_proves_it(real, open_lab, s3_client, bucket, as_user):
    store = open_lab()
    receipts = [store.upload(make_assembly(seed), "X") for seed in (1, 2)]
    with pytest.raises(AccessDenied) as caught:
        store.publish("X")
    s3_client.put_bucket_policy(Bucket=bucket, Policy=told(caught))
    for receipt in receipts:
        store.publish("X", version_id=receipt.version_id)
    store.unpublish("X")
    assert [tag["Key"] for receipt in receipts for tag in tags(s3_client, bucket, receipt)] == ["uploadedBy"] * 2
    as_user(None)
    for receipt in receipts:
        with pytest.raises(AccessDenied):
            open_lab().load(receipt)


def test_unpublish_says_when_the_bucket_is_open_anyway(real, open_lab, bucket, policy):
    store = open_lab()
    store.upload(make_assembly(1), "X")
    policy(reading(bucket, "*", "GetObject", "GetObjectVersion"))
    with pytest.raises(StorageError, match="for another reason"):
        store.unpublish("X")


def test_the_policy_that_is_asked_for_keeps_the_statements_that_are_there(real, open_lab, bucket, policy):
    store = open_lab()
    store.upload(make_assembly(1), "X")
    theirs = reading(bucket, {"AWS": "arn:aws:iam:::user/other"}, "GetObject") | {"Sid": "Theirs"}
    policy(theirs)
    with pytest.raises(AccessDenied) as caught:
        store.publish("X")
    assert [each["Sid"] for each in json.loads(told(caught))["Statement"]] == ["Theirs", "StoragePluginsPublic"]


def test_publish_by_acl(s3_server, open_lab, as_user):
    store = open_lab(publish_by="acl")
    store.upload(make_assembly(1), "X")
    if s3_server.kind == "moto":
        as_user(None)
        with pytest.raises(AccessDenied):
            open_lab().load("X")
        as_user(s3_server.owner)
    receipt = store.publish("X")
    as_user(None)
    xr.testing.assert_identical(open_lab().load("X"), make_assembly(1))
    xr.testing.assert_identical(storage_plugins.load(receipt), make_assembly(1))
    as_user(s3_server.owner)
    store.unpublish("X")
    as_user(None)
    with pytest.raises(AccessDenied):
        open_lab().load("X")


def test_publish_by_prefix_copies_what_is_open_into_a_folder_of_its_own(real, open_lab, s3_client, bucket, as_user):
    store = open_lab(publish_by="prefix")
    first = store.upload(make_assembly(1), "X")
    with pytest.raises(AccessDenied) as caught:
        store.publish("X")
    assert store.file_names() == []
    assert not s3_client.list_object_versions(Bucket=bucket, Prefix="brain/public/").get("Versions")
    s3_client.put_bucket_policy(Bucket=bucket, Policy=told(caught))
    receipt = store.publish("X")
    store.upload(make_assembly(2), "X")
    as_user(None)
    xr.testing.assert_identical(storage_plugins.load(receipt), make_assembly(1))
    public = open_lab(bucket=f"{bucket}/brain/public")
    xr.testing.assert_identical(public.load("X", version_id=first.version_id, sha1=first.sha1), make_assembly(1))
    with pytest.raises(AccessDenied):
        open_lab().load(first)
    as_user(real.owner)
    store.unpublish("X")
    as_user(None)
    with pytest.raises(AccessDenied):
        open_lab(bucket=f"{bucket}/brain/public").load("X")
    as_user(real.owner)
    assert len(store.versions("X")) == 2


def test_a_store_of_public_visibility_opens_what_is_uploaded(real, open_lab, s3_client, bucket, as_user):
    closed = open_lab(visibility="public")
    with pytest.raises(AccessDenied) as caught:
        closed.upload(make_assembly(1), "X")
    assert len(closed.versions("X")) == 1  # the upload itself stands
    s3_client.put_bucket_policy(Bucket=bucket, Policy=told(caught))
    open_lab(visibility="public").upload(make_assembly(2), "X")
    as_user(None)
    xr.testing.assert_identical(open_lab().load("X"), make_assembly(2))


def test_who_may_not_publish_gets_the_command_for_somebody_who_may(real, open_lab, bucket, policy, as_user):
    receipt = open_lab().upload(make_assembly(1), "X")
    policy(reading(bucket, {"AWS": "arn:aws:iam:::user/other"}, "GetObject", "GetObjectVersion"))
    as_user(real.other)
    with pytest.raises(AccessDenied) as caught:
        open_lab().publish("X")
    assert f"--bucket {bucket} --key {KEY} --version-id {receipt.version_id}" in str(caught.value)
    with pytest.raises(AccessDenied, match="put-object-acl"):
        open_lab(publish_by="acl").publish("X")


def test_block_public_access_is_recognised(open_lab, proxy, endpoint, s3_client, bucket):
    """As Amazon answers: ACLs may be set by nobody, and the bucket says why."""
    store = open_lab(endpoint_url=proxy.url, publish_by="prefix")
    store.upload(make_assembly(1), "X")
    told = (
        "<PublicAccessBlockConfiguration><BlockPublicAcls>true</BlockPublicAcls>"
        "<IgnorePublicAcls>true</IgnorePublicAcls><BlockPublicPolicy>true</BlockPublicPolicy>"
        "<RestrictPublicBuckets>true</RestrictPublicBuckets></PublicAccessBlockConfiguration>"
    )
    proxy.answer = lambda method, path: told if "publicAccessBlock" in path else None
    proxy.refuse = lambda method, path: (
        (403, "AccessDenied") if method == "GET" and "Authorization" not in proxy.headers[-1] else None
    )
    with pytest.raises(AccessDenied) as caught:
        store.publish("X")
    assert "Block Public Access is on" in str(caught.value)
    assert f"put-public-access-block --bucket {bucket}" in str(caught.value)


def test_a_bucket_with_acls_disabled_is_recognised(open_lab, proxy):
    store = open_lab(endpoint_url=proxy.url, publish_by="acl")
    store.upload(make_assembly(1), "X")
    proxy.refuse = lambda method, path: (400, "AccessControlListNotSupported") if "?acl" in path else None
    with pytest.raises(NotSupported, match="publish_by: tag"):
        store.publish("X")


def test_publishing_what_is_not_there(open_lab):
    with pytest.raises(AssemblyNotFound):
        open_lab().publish("X")
    with pytest.raises(AssemblyNotFound):
        open_lab().unpublish("X")


def test_a_link_loads_one_version_for_anybody_until_it_expires(s3_server, open_lab, as_user):
    store = open_lab()
    store.upload(make_assembly(1), "X")
    link, short = store.share("X", expires="1h"), store.share("X", expires=1)
    store.upload(make_assembly(2), "X")
    as_user(None)
    xr.testing.assert_identical(storage_plugins.load(link), make_assembly(1))
    if s3_server.kind == "moto":
        return
    time.sleep(2.1)  # the least that can expire is a second
    with pytest.raises(AccessDenied, match="expired") as caught:
        fresh_load(short)
    assert "Signature" not in str(caught.value)


def fresh_load(link: str) -> xr.DataArray:
    """Load what another hash asks for, which no cache has."""
    return storage_plugins.load(link.partition("#")[0] + "#sha1=" + "0" * 40)


def test_a_link_is_verified(open_lab):
    store = open_lab()
    store.upload(make_assembly(1), "X")
    with pytest.raises(storage_plugins.IntegrityError):
        fresh_load(store.share("X"))


@pytest.mark.parametrize("expires", ["", "soon", "7 years", 0, -1, "0d"])
def test_a_time_span_that_is_none_is_refused(open_lab, expires):
    store = open_lab()
    store.upload(make_assembly(1), "X")
    with pytest.raises(ValueError, match="expires must be"):
        store.share("X", expires=expires)


def test_to_share_needs_credentials(open_lab, as_user, s3_client, bucket):
    open_lab().upload(make_assembly(1), "X")
    s3_client.put_object_acl(Bucket=bucket, Key=KEY, ACL="public-read")
    as_user(None)
    with pytest.raises(AccessDenied, match="credentials"):
        open_lab().share("X")


@pytest.mark.parametrize("seen", ["by the policy's status", "by an anonymous reader"])
def test_nothing_private_goes_into_a_bucket_that_anyone_can_read(
    real, open_lab, bucket, policy, s3_client, tmp_path, memory_store, seen
):
    """The second way is that of users who may upload, and may not ask for the policy."""
    source = memory_store(MemoryFiles(), receipts=False)
    source.upload(make_assembly(1), "X")
    (tmp_path / "f.bin").write_bytes(b"private")
    everything = reading(bucket, "*", "GetObject", "GetObjectVersion")
    if seen == "by the policy's status":
        policy(everything)
    else:
        trusted = {"AWS": "arn:aws:iam:::user/other"}
        allowed = ("GetObject", "GetObjectVersion", "PutObject", "PutObjectTagging", "GetBucketVersioning")
        policy(everything, reading(bucket, trusted, *allowed, "ListBucket", "ListBucketVersions"))
        write_credentials(Path.home(), real.other)
    attempts = [
        lambda: open_lab().upload(make_assembly(1), "X"),
        lambda: open_lab().upload_file(tmp_path / "f.bin"),
        lambda: storage_plugins.mirror(source, open_lab()),
    ]
    for attempt in attempts:
        with pytest.raises(ConfigError, match="is public"):
            attempt()
    listed = s3_client.list_object_versions(Bucket=bucket).get("Versions", [])
    assert {each["Key"] for each in listed} <= {"brain/.storage-plugins/public-check"}
    open_lab(visibility="public").upload(make_assembly(1), "X")
    as_anyone = open_lab(anonymous="always")
    xr.testing.assert_identical(as_anyone.load("X"), make_assembly(1))


# the whole matrix, as the documentation prints it

ACTS = {"pinned": "p", "newest": "n", "versions": "v", "upload": "u", "link": "l"}


def matrix_in_document() -> dict[tuple[str, str], str]:
    rows = [
        [cell.strip() for cell in line.strip("|\n").split("|")]
        for line in DOCUMENT.read_text(encoding="utf-8").splitlines()
        if line.startswith("| ")
    ]
    head = next(row for row in rows if row[1:2] == ["private"])
    body = rows[rows.index(head) + 1 :]
    found = {}
    for row in body[:5]:
        for state, cell in zip(head[1:], row[1:], strict=True):
            found[row[0], state] = "".join(ACTS[word] for word in cell.replace("-", "").split(", ") if word)
    return found


def test_each_cell_of_the_documented_table_is_so(real, open_lab, bucket, policy, as_user):
    users = {
        "the owner": real.owner,
        "another user who may read": real.other,
        "another user": real.other,
        "anyone without credentials": None,
        "invalid credentials": (real.owner[0], "not-the-secret"),
    }
    from storage_plugins_s3.publishing import policy as statement

    public = statement(open_lab().settings)
    policy(public)
    owner = open_lab()
    receipt = owner.upload(make_assembly(1), "X")
    links = {"shared": owner.share("X", expires="1h"), "share expired": owner.share("X", expires=1)}
    expired = time.monotonic() + 2.1

    def acts(who: str, state: str) -> str:
        store, done = open_lab(), ""
        # an upload changes what is newest: it is tried last, with other names
        tries = {
            "p": lambda: store.load("X", version_id=receipt.version_id, sha1=receipt.sha1),
            "n": lambda: open_lab().load("X", newest=True),
            "v": lambda: store.versions("X")[0],
            "u": lambda: store.upload(make_assembly(3), re.sub(r"[^a-z]", "-", f"X{who}-{state}".lower())),
            "l": lambda: linked(links[state]),
        }
        for letter, attempt in tries.items():
            try:
                if letter != "l" or state in links:
                    attempt()
                    done += letter
            except AccessDenied:
                pass
            except ConfigError:
                if (letter, state) != ("u", "public bucket"):
                    raise
        return done

    def linked(link: str) -> None:
        import urllib.error
        import urllib.request

        try:
            urllib.request.urlopen(link).close()  # storage_plugins.load would find it in the cache
        except urllib.error.HTTPError as error:
            raise AccessDenied("as the server says") from error

    read = reading(
        bucket,
        {"AWS": "arn:aws:iam:::user/other"},
        *("GetObject", "GetObjectVersion", "ListBucket", "ListBucketVersions"),
    )
    found = {}
    for state in ("private", "published", "unpublished", "shared", "share expired", "public bucket"):
        as_user(real.owner)
        {"published": owner.publish, "unpublished": owner.unpublish}.get(state, lambda name: None)("X")
        time.sleep(max(0.0, expired - time.monotonic()) if state == "share expired" else 0)
        for who, user in users.items():
            anyone = reading(bucket, "*", "GetObject", "GetObjectVersion")
            policy(
                public,
                *([read] if who == "another user who may read" else []),
                *([anyone] * (state == "public bucket")),
            )
            as_user(user)
            found[who, state] = acts(who, state)
    assert found == matrix_in_document()
