"""The live self-test: right about every store, in words that say what to do, and gone without a trace."""

import json
import shutil
import subprocess
import sys

import pytest
import yaml
from broken_backend import MUTATIONS
from command_line import run_command
from conftest import OSF_TOKEN, make_assembly, write_credentials, write_yaml
from folder_backend import TOKEN
from memory_files import MemoryFiles
from test_disk import mounted

import storage_plugins
from storage_plugins._check.check import Check
from storage_plugins.testing import Fault, FaultyFiles

ALL = [
    "listing",
    "reading",
    "free space",
    "writing",
    "round trip",
    "versions",
    "simultaneous uploads",
    "damage",
    "anonymous readers",
    "speed",
]


def check(store, **options):
    """Return the findings by name, and the check, which is over."""
    with Check(store, **options) as trial:
        findings = {finding.check: finding for finding in trial}
    return findings, trial


def failed(findings):
    return [name for name, finding in findings.items() if finding.ok is False]


@pytest.fixture
def command():
    """Run the command; return its exit code and what it printed."""

    def run(*arguments):
        done = run_command("check", *arguments)
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, done.stdout + done.stderr

    return run


# where nothing is wrong


@pytest.mark.parametrize(
    "yaml_file",
    ["local", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("s3", "osf", "sftp"))],
    indirect=True,
)
def test_a_store_is_found_right_and_left_as_it_was(store, yaml_file, request, caplog):
    kept = store.upload(make_assembly(), "Mine.own")
    findings, trial = check(store)
    only_s3 = ["unfinished uploads"] if "s3[" in request.node.name or "[s3]" in request.node.name else []
    assert list(findings) == [*ALL[:3], *only_s3, *ALL[3:]]
    # moto loses uploads that race, and lets everybody read
    known = ["simultaneous uploads", "anonymous readers"] if "s3[" in request.node.name else []
    assert [name for name in failed(findings) if name not in known] == []
    assert "assy_Mine_own.nc" in findings["reading"].text
    assert "matches its record" in findings["reading"].text
    assert findings["speed"].figures["up_bytes_per_second"] > 0
    assert "two processes uploaded" in findings["simultaneous uploads"].text
    assert (trial.left, trial.not_tried, trial.earlier) == ([], [], [])
    assert store.identifiers() == ["Mine.own"]
    assert store.file_names() == []
    assert "was damaged" not in caplog.text  # what it damages on purpose worries nobody
    assert store.load(kept).identical(make_assembly())
    assert [path.name for path in (yaml_file.parent / "receipts").iterdir()] == ["assy_Mine_own.nc"]


def test_reading_alone_changes_nothing(store, yaml_file):
    store.upload(make_assembly(), "X")
    store.files = FaultyFiles(store.files)
    findings, trial = check(store, read_only=True)
    assert {"listing", "reading"} <= {name for name, finding in findings.items() if finding.ok}
    assert not {"put", "replace", "publish", "unpublish", "discard"} & {call.operation for call in store.files.calls}
    assert trial.left == []


@pytest.mark.slow
def test_a_bucket_without_versions_is_told_to_refuse_changed_bytes(new_bucket, endpoint, tmp_path):
    bucket = new_bucket(versioned=False)
    settings = {"backend": "s3", "bucket": bucket, "endpoint_url": endpoint}
    findings, trial = check(storage_plugins.open_store(config={"stores": {"lab": settings}}))
    assert findings["versions"].ok
    assert "changed bytes were refused" in findings["versions"].text
    assert "Turn on versioning" in findings["versions"].hint
    assert trial.left == []
    replacing, trial = check(storage_plugins.open_store(config={"stores": {"lab": {**settings, "replace": True}}}))
    assert "the old bytes still load by their hash" in replacing["versions"].text
    assert trial.left == []


def test_a_store_that_has_no_files_is_tried_too(tmp_path):
    settings = {"backend": "pickles", "root": str(tmp_path / "root")}
    findings, trial = check(storage_plugins.open_store(config={"stores": {"lab": settings}}))
    assert {name: finding.ok for name, finding in findings.items()} == {"writing": True, "round trip": True}
    assert [left.why for left in trial.left] == ["this kind of store cannot delete"]


# where something is


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"backend": "fsspec", "url": "memory://check/brain"}, "what they upload is not seen here"),
        pytest.param(None, "cannot be opened in another process", marks=pytest.mark.slow),
    ],
)
def test_a_store_that_other_processes_cannot_reach_is_raced_by_threads(memory_store, settings, why):
    store = memory_store(MemoryFiles())
    if settings:
        store = storage_plugins.open_store(config={"stores": {"lab": settings}})
    findings, trial = check(store)
    finding = findings["simultaneous uploads"]
    assert finding.ok
    assert finding.text.startswith("two threads of one process uploaded under one name at the same moment: both were")
    assert "Processes were not tried" in finding.text
    assert why in finding.text
    assert trial.left == []


@pytest.mark.parametrize("executable", ["", "/nowhere/python", shutil.which("true")])
def test_where_no_python_can_be_started_threads_are_used(tmp_path, monkeypatch, executable):
    monkeypatch.setattr("sys.executable", executable)
    settings = {"backend": "local", "root": str(tmp_path / "root")}
    findings, trial = check(storage_plugins.open_store(config={"stores": {"lab": settings}}))
    assert findings["simultaneous uploads"].ok
    assert "threads of one process" in findings["simultaneous uploads"].text
    assert "Processes were not tried: " in findings["simultaneous uploads"].text
    assert trial.left == []


@pytest.mark.slow
def test_a_script_that_checks_without_a_guard_is_not_run_again(tmp_path):
    script = tmp_path / "script.py"
    config = {"stores": {"lab": {"backend": "local", "root": str(tmp_path / "root")}}}
    script.write_text(
        "import storage_plugins\n"
        "from storage_plugins._check.check import Check\n"
        "print('begun')\n"
        f"with Check(storage_plugins.open_store(config={config!r})) as trial:\n"
        "    print([finding.text for finding in trial if finding.check == 'simultaneous uploads'])\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.splitlines()[0] == "begun"
    assert "two processes uploaded under one name at the same moment: both were stored" in done.stdout.splitlines()[1]
    assert len(done.stdout.splitlines()) == 2


@pytest.fixture
def real(s3_server):
    if s3_server.kind == "moto":
        pytest.skip("moto lets everybody do everything; see STORAGE_PLUGINS_TEST_S3")
    return s3_server


def test_a_healthy_bucket_of_a_real_server(real, open_lab):
    findings, trial = check(open_lab())
    assert failed(findings) == []
    assert findings["anonymous readers"].text == "a reader without credentials was refused"
    assert findings["simultaneous uploads"].figures == {"uploads": 2, "answered": 2, "kept": 2}
    assert trial.left == []


def test_a_key_that_may_only_read(real, home, open_lab, s3_client, bucket):
    open_lab().upload(make_assembly(), "X")
    resources = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
    actions = ["s3:ListBucket", "s3:GetObject", "s3:GetObjectVersion"]
    allow = {"Effect": "Allow", "Principal": {"AWS": ["*"]}, "Action": actions, "Resource": resources}
    s3_client.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [allow]}))
    write_credentials(home, real.other)
    store = open_lab(contact="data@lab.example")
    findings, trial = check(store)
    assert (findings["listing"].ok, findings["reading"].ok, findings["writing"].ok) == (True, True, False)
    assert findings["writing"].error is storage_plugins.AccessDenied
    assert "data@lab.example" in findings["writing"].hint
    assert trial.not_tried == ["round trip", "versions", "simultaneous uploads", "damage", "anonymous readers", "speed"]
    assert trial.left == []
    assert failed(check(store, read_only=True)[0]) == []


def test_a_wrong_secret(real, home, open_lab):
    write_credentials(home, (real.owner[0], "not-the-secret"))
    findings, _ = check(open_lab(anonymous="never"))
    assert findings["writing"].error is storage_plugins.AccessDenied
    assert "secret key does not match" in findings["listing"].hint


def test_a_host_that_does_not_answer(tmp_path, aws_credentials, command):
    settings = {"backend": "s3", "bucket": "lab", "endpoint_url": "http://127.0.0.1:1"}
    code, told = command("-c", write_yaml(tmp_path, settings))
    assert code == 7
    assert "cannot be reached" in told
    assert "endpoint_url" in told
    assert "Not tried after that: reading, free space, unfinished uploads, writing" in told
    assert "Nothing was left behind" in told


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mounts a tmpfs")
def test_a_full_disk(tmp_path, command):
    with mounted(tmp_path / "disk", "size=64k") as disk:
        (disk / "full").write_bytes(b"\0" * 65536)
        code, told = command("-c", write_yaml(tmp_path, {"backend": "local", "root": str(disk)}))
    assert code == 8
    assert "no  free space" in told
    assert "No space left" in told
    assert "Nothing was left behind" in told


def test_a_private_project_of_osf_without_a_token(open_osf):
    findings, _ = check(open_osf(token="${NO_SUCH_VARIABLE}", contact="data@lab.example"))
    assert findings["writing"].error is storage_plugins.AccessDenied
    assert findings["writing"].hint.count("NO_SUCH_VARIABLE") == 1
    assert "could not be listed" in findings["reading"].text
    assert "data@lab.example" in findings["writing"].hint


def test_a_public_project_of_osf_without_a_token(open_osf, project):
    project.public = True
    open_osf(visibility="public").upload(make_assembly(), "X")
    findings, trial = check(open_osf(token=None, visibility="public"))
    assert findings["reading"].ok
    assert findings["writing"].error is storage_plugins.AccessDenied
    assert trial.left == []


def test_a_public_project_of_osf_that_is_meant_to_be_private(open_osf, project):
    project.public = True
    findings, _ = check(open_osf())
    assert failed(findings) == ["writing"]
    assert "visibility: public" in findings["writing"].hint


@pytest.mark.slow
def test_a_private_project_of_osf_that_is_meant_to_be_public(open_osf):
    findings, _ = check(open_osf(visibility="public"))
    assert failed(findings) == ["anonymous readers"]
    assert "publish-store" in findings["anonymous readers"].hint


@pytest.mark.slow
@pytest.mark.parametrize("window", [0.05, 0.25])
def test_simultaneous_uploads_to_osf_are_stored_though_its_transactions_overlap(open_osf, osf, project, window):
    osf.host.window = window
    findings, trial = check(open_osf())
    finding = findings["simultaneous uploads"]
    assert finding.text.startswith("two processes uploaded under one name at the same moment: both were")
    assert failed(findings) == []
    osf.host.window = 0.0
    assert trial.left == []
    assert open_osf().file_names() == []


def test_a_project_of_osf_over_its_quota(open_osf, project):
    open_osf().upload(make_assembly(), "X")
    before = project.root.folder(".storage-plugins").children[:]
    project.quota, project.counted = 1000, 2000
    findings, trial = check(open_osf())
    assert [findings[name].error for name in ("free space", "writing")] == [storage_plugins.QuotaExceeded] * 2
    assert trial.left == []
    assert project.root.folder(".storage-plugins").children == before


@pytest.mark.slow
def test_a_file_server_with_another_key_than_the_known_one(sftp, tmp_path, home):
    known = (home / ".ssh" / "known_hosts").read_text().split()
    stranger = sftp.stranger.with_suffix(".pub").read_text().split()
    (home / ".ssh" / "known_hosts").write_text(f"{known[0]} {stranger[0]} {stranger[1]}\n")
    settings = {"backend": "fsspec", "url": sftp.url(tmp_path / "server")}
    findings, trial = check(storage_plugins.open_store(config={"stores": {"lab": settings}}))
    assert findings["writing"].error is storage_plugins.AccessDenied
    name = f"[127.0.0.1]:{sftp.port}"
    assert f"ssh-keygen -R '{name}' && ssh-keyscan -p {sftp.port} 127.0.0.1 >>" in findings["writing"].hint
    assert not (tmp_path / "server").exists()
    assert trial.left == []


def test_a_file_that_is_not_what_its_record_says(tmp_path):
    store = storage_plugins.open_store(config={"stores": {"a": {"backend": "local", "root": str(tmp_path / "root")}}})
    store.upload(make_assembly(), "X")
    (data,) = (tmp_path / "root" / ".versions").glob("*/*/data.nc")
    data.chmod(0o644)
    data.write_bytes(data.read_bytes()[:-1] + b"?")
    findings, _ = check(store, read_only=True)
    assert failed(findings) == ["reading"]
    assert findings["reading"].error is storage_plugins.IntegrityError


BROKEN = {
    "Truncates": "speed",
    "Overwrites": "versions",
    "SaysItKeepsVersions": "versions",
    "ReadsTheNewest": "versions",
    "NumbersByLooking": "simultaneous uploads",
    "CountsForItself": "simultaneous uploads",
    "SwallowsErrors": "damage",
    "KeepsHalves": "damage",
    "LosesMetadata": "round trip",
    "WrongRecord": "round trip",
    "AnonymousSeesAll": "anonymous readers",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BROKEN)
def test_a_backend_that_does_not_keep_its_promises(name, tmp_path, monkeypatch):
    monkeypatch.setenv("BROKEN_BACKEND_WAITS", "0.5")  # two processes meet in it, also on a busy computer
    settings = {"backend": "broken", "root": str(tmp_path / "root"), "token": TOKEN, "mutation": name}
    findings, trial = check(storage_plugins.open_store(config=write_yaml(tmp_path, settings)))
    assert BROKEN[name] in failed(findings), (MUTATIONS[name].does, findings)
    assert trial.left == []


def test_an_error_that_is_not_ours_is_the_backends(tmp_path):
    settings = {"backend": "broken", "root": str(tmp_path), "token": TOKEN, "host": "closed"}
    findings, trial = check(
        storage_plugins.open_store(config={"stores": {"lab": {**settings, "mutation": "LetsErrorsOut"}}})
    )
    assert findings["listing"].error is storage_plugins.PluginError
    assert "ConnectionRefusedError" in findings["listing"].text
    assert trial.not_tried[-1] == "speed"


# what it leaves


@pytest.mark.slow
def test_what_cannot_be_deleted_is_reported(memory_store):
    class Keeps(MemoryFiles):
        discard = storage_plugins.FileOperations.discard

    store = memory_store(Keeps())
    findings, trial = check(store)
    assert failed(findings) == []
    assert sorted(left.name for left in trial.left) == sorted(store.files.held)
    assert all("cannot be deleted" in left.why for left in trial.left)
    _, again = check(store, read_only=True)
    assert sorted(again.earlier) == sorted(store.files.held)


@pytest.mark.parametrize(
    "reached", [pytest.param(name, marks=() if name == "damage" else pytest.mark.slow) for name in ALL]
)
def test_a_check_that_is_interrupted_leaves_nothing(memory_store, reached):
    def interrupted(trial):
        with trial:
            for finding in trial:
                if finding.check == reached:
                    raise KeyboardInterrupt

    store = memory_store(MemoryFiles())
    with pytest.raises(KeyboardInterrupt):
        interrupted(Check(store))
    assert store.files.held == {}


@pytest.mark.slow
def test_an_upload_whose_answer_is_lost_is_found_and_deleted(memory_store):
    store = memory_store(MemoryFiles())
    store.files = FaultyFiles(store.files, lambda call: Fault(lose_answer=True) if call.operation == "put" else None)
    findings, trial = check(store)
    assert findings["writing"].ok
    assert trial.left == []
    assert store.files.inner.held == {}


# the command


def test_the_command_says_it_in_words_and_in_json(tmp_path, command):
    path = write_yaml(tmp_path, {"backend": "local", "root": "./assemblies"})
    code, told = command("lab", "-c", path)
    assert code == 0
    assert "ok  versions" in told
    assert told.endswith("Nothing was left behind.\n")
    code, told = command("-c", path, "--json", "--read-only")
    (document,) = json.loads(told)["stores"]
    assert (code, document["store"], document["ok"], document["left"]) == (0, "lab", True, [])
    assert [each["check"] for each in document["checks"]] == ["listing", "reading", "free space", "anonymous readers"]


@pytest.mark.slow
def test_a_group_is_tried_store_by_store(tmp_path, osf, project, command, monkeypatch):
    monkeypatch.setenv("OSF_TOKEN", OSF_TOKEN)
    stores = {
        "both": {"backend": "group", "read": ["archive", "gone", "here"], "write": "here"},
        "archive": {"backend": "osf", "project": project.id, "token": "${OSF_TOKEN}", "api_url": osf.api_url},
        "gone": {"backend": "nonesuch"},
        "here": {"backend": "local", "root": "./assemblies"},
    }
    path = tmp_path / "storage.yaml"
    path.write_text(yaml.safe_dump({"default": "both", "stores": stores}))
    code, told = command("-c", path, "--json")
    archive, gone, here = json.loads(told)["stores"]
    assert code == 10
    assert archive["ok"]
    assert "writing" not in [each["check"] for each in archive["checks"]]
    assert "nonesuch" in gone["problem"]
    assert "writing" in [each["check"] for each in here["checks"]]
    assert not project.root.children
