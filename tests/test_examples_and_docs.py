"""The example and every command in the documents run as they are written."""

import os
import re
import runpy
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import aws_command
import pytest
import xarray as xr
from children import run_python
from command_line import run_command
from conftest import OSF_TOKEN, make_assembly, write_yaml
from pages import LANGUAGES, script

import storage_plugins

PROJECT = Path(__file__).parent.parent
DATA = PROJECT.parent / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the real inputs are not here")
needs_checkout = pytest.mark.skipif(not (PROJECT / "README.md").exists(), reason="no checkout around the tests")

TABLE = (
    "word\tzone\titem\tnItem\tmeanItemRT\tsdItemRT\tgmeanItemRT\tgsdItemRT\n"
    "you\t2\t1\t87\t368.18\t168.03\t339.75\t1.46\nIf\t1\t1\t84\t369.01\t160.58\t340.57\t1.47\n"
    '"Quoted\t1\t2\t80\t300.5\t100.5\t290.5\t1.5\n'
)
WITH_COMMAND = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])


def run_example(table: Path, config: Path) -> str:
    done = run_python(PROJECT / "examples" / "natural_stories.py", table, "--config", config)
    assert done.returncode == 0, done.stderr
    assert "identical to what was uploaded: True" in done.stdout
    return re.search(r'sha1="([0-9a-f]{40})"', done.stdout)[1]


KINDS = ("local", "s3", "osf")


def yaml_for(kind: str, tmp_path: Path, request) -> Path:
    (tmp_path / kind).mkdir()
    if kind == "local":
        return write_yaml(tmp_path / kind, {"backend": "local", "root": "./assemblies"})
    if kind == "osf":
        osf, node = request.getfixturevalue("osf"), request.getfixturevalue("project")
        store = {"backend": "osf", "project": node.id, "token": OSF_TOKEN, "api_url": osf.api_url}
        return write_yaml(tmp_path / kind, store)
    bucket, endpoint = request.getfixturevalue("bucket"), request.getfixturevalue("endpoint")
    return write_yaml(tmp_path / kind, {"backend": "s3", "bucket": bucket, "endpoint_url": endpoint})


@needs_checkout
def test_the_example_gives_the_same_bytes_wherever_the_yaml_points(tmp_path, request):
    table = tmp_path / "table.tsv"
    table.write_text(TABLE)
    sha1s = {run_example(table, yaml_for(kind, tmp_path, request)) for kind in KINDS}
    assert len(sha1s) == 1
    (sha1,) = sha1s
    loaded = [
        storage_plugins.open_store(config=tmp_path / kind / "storage.yaml").load(
            "Futrell2018.natural-stories", sha1=sha1
        )
        for kind in KINDS
    ]
    xr.testing.assert_identical(loaded[0], loaded[1])
    xr.testing.assert_identical(loaded[0], loaded[2])
    assert list(loaded[0]["word"].values) == ["If", "you", '"Quoted']


@needs_data
@needs_checkout
@pytest.mark.slow
def test_the_real_table_gives_the_same_bytes_wherever_the_yaml_points(tmp_path, request):
    table = DATA / "naturalstories_wordinfo.tsv"
    assert len({run_example(table, yaml_for(kind, tmp_path, request)) for kind in KINDS}) == 1


@needs_data
@pytest.mark.parametrize("name", sorted(path.name for path in DATA.glob("*.nc")) if DATA.is_dir() else [])
def test_real_files_keep_their_bytes_wherever_the_yaml_points(tmp_path, request, name):
    loaded = []
    for kind in KINDS:
        config = yaml_for(kind, tmp_path, request)
        identifier, out = name.removesuffix(".nc"), tmp_path / f"{kind}.nc"
        run_command("upload", DATA / name, identifier, "--config", config).check_returncode()
        run_command("load", identifier, "-o", out, "--config", config).check_returncode()
        assert out.read_bytes() == (DATA / name).read_bytes()
        loaded.append(storage_plugins.open_store(config=config).load(identifier))
    xr.testing.assert_identical(loaded[0], loaded[1])
    xr.testing.assert_identical(loaded[0], loaded[2])


def blocks(document: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", document.read_text("utf-8"), re.S | re.M)


GUIDE = PROJECT / "docs" / "switch-to-osf.md"  # is run as a whole
STEPS = PROJECT / "docs" / "brain-score.md"  # needs brainscore_core: test_brainscore_docs.py follows it
DOCUMENTS = [PROJECT / "README.md", *sorted(set((PROJECT / "docs").glob("*.md")) - {GUIDE, STEPS})]
RUNS = re.compile(r"^```(python|pycon|console)$", re.M)
ON_SERVERS = re.compile(r"backend: (s3|osf)")
LESSONS = [
    pytest.param(path, marks=[pytest.mark.slow] * bool(ON_SERVERS.search(path.read_text("utf-8"))))
    for path in sorted((PROJECT / "docs").glob("*/*.md"))
    if path.parent.name in ("tutorials", "how-to", "reference", "explanation") and RUNS.search(path.read_text("utf-8"))
]


@pytest.fixture
def buckets_in_documents(aws_credentials, endpoint, monkeypatch):
    """The buckets that the documents speak of, empty, on the server that the environment names."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    import boto3

    client = boto3.client("s3", region_name="us-east-1")
    for name in ("my-bucket", "brainscore-storage"):
        client.create_bucket(Bucket=name)
        client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    yield
    for name in ("my-bucket", "brainscore-storage"):
        for version in client.list_object_versions(Bucket=name).get("Versions", []):
            client.delete_object(Bucket=name, Key=version["Key"], VersionId=version["VersionId"])
        client.delete_bucket(Bucket=name)


@needs_checkout
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_python_block_of_a_document_runs(document, buckets_in_documents):
    """Blocks of one document run one after the other, with its buckets on the server.

    Beside each lies the YAML that stands above it, or if none does, the first one below.
    """
    Path("storage.yaml").write_text(next(iter(blocks(document, "yaml")), ""), "utf-8")
    run_page(document.read_text("utf-8"), ("yaml", "python"))


def run_page(text: str, languages: Iterable[str] = LANGUAGES) -> None:
    Path("page.py").write_text(script(text, languages), "utf-8")
    done = run_python(Path("page.py"))  # warnings of other libraries are their own in older stacks
    assert done.returncode == 0, done.stderr


@needs_checkout
@pytest.mark.parametrize("page", LESSONS, ids=lambda path: str(path.relative_to(PROJECT / "docs")))
def test_every_page_of_the_site_runs_from_its_first_block_to_its_last(page, request):
    text = page.read_text("utf-8")
    if ON_SERVERS.search(text):
        text = request.getfixturevalue("on_the_servers_of_the_tests")(text)
    run_page(text)


@pytest.fixture
def on_the_servers_of_the_tests(buckets_in_documents, s3_server, osf, tmp_path, monkeypatch):
    """Return a page whose bucket, OSF project and keys are those of the tests."""
    aws_command.install(tmp_path / "bin")
    osf.host.node(guid="abc12", roles={OSF_TOKEN: "admin"})
    ours = {"backend": "osf", "project": "abc12", "api_url": osf.api_url}
    address = storage_plugins.open_store(config={"stores": {"ours": ours}}).address
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    monkeypatch.setenv("OSF_TOKEN", OSF_TOKEN)
    monkeypatch.setenv("STORAGE_PLUGINS_CONFIG", str(Path("storage.yaml").absolute()))  # another server gets the token

    def substituted(text: str) -> str:
        acl = ", publish_by: acl" * ("publish " in text)  # moto knows no policies
        for word, substitute in {
            "YOUR_ACCESS_KEY_ID": s3_server.owner[0],
            "YOUR_SECRET_ACCESS_KEY": s3_server.owner[1],
            "backend: s3": f"backend: s3{acl}",
            "backend: osf": f"backend: osf, api_url: {osf.api_url!r}",
            "osf:abc12": f"'{address}'",
        }.items():
            text = text.replace(word, substitute)
        return text

    return substituted


@needs_checkout
@pytest.mark.slow
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_console_block_of_a_document_runs(document, tmp_path, monkeypatch):
    """Lines that begin with ``$ `` are commands; each must succeed in a folder that has an assembly.nc."""
    commands = [
        line[2:] for block in blocks(document, "console") for line in block.splitlines() if line.startswith("$ ")
    ]
    make_assembly().reset_index(["presentation", "neuroid"]).to_netcdf("rates.nc", engine="netcdf4")
    Path("stimulus_hvm.zip").write_bytes(b"PK")
    for command in commands:
        environment = {**os.environ, "PATH": WITH_COMMAND}
        done = subprocess.run(command, shell=True, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


ALL = [*PROJECT.glob("*.md"), *PROJECT.glob("docs/**/*.md"), *PROJECT.glob("examples/*/README.md")]


def anchors(document: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", document.read_text("utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@needs_checkout
@pytest.mark.parametrize("document", ALL, ids=lambda path: str(path.relative_to(PROJECT)))
def test_every_link_between_documents_leads_somewhere(document):
    text = document.read_text("utf-8")
    links = re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", text)
    links += re.findall(r'(?:href|src)="(?!https?:)([^"#]*)#?([^"]*)"', text)
    for path, anchor in links:
        target = (document.parent / path).resolve() if path else document
        if not (PROJECT / "CONTRIBUTING.md").exists() and not target.is_relative_to(PROJECT / "docs"):
            continue  # the suite runs outside the checkout, with the documents alone
        assert target.exists(), path
        assert not anchor or anchor in anchors(target), f"{path}#{anchor}"


@needs_checkout
@needs_checkout
def test_the_charts_of_the_benchmarks_show_the_figures_of_their_page():
    made = runpy.run_path(str(PROJECT / "docs/make_charts.py"))
    for name, svg in made["charts"]((PROJECT / "docs/benchmarks.md").read_text("utf-8")).items():
        assert (PROJECT / "docs/pictures" / name).read_text("utf-8") == svg, "run python docs/make_charts.py"


def test_the_tests_that_prove_the_promises_exist():
    named = {*re.findall(r"tests/[\w*]+\.py", (PROJECT / "docs" / "reliability.md").read_text("utf-8"))}
    assert len(named) > 20
    assert [name for name in sorted(named) if not list(PROJECT.glob(name))] == []


@needs_checkout
@pytest.mark.slow
def test_the_guide_to_osf_runs_from_its_first_block_to_its_last(buckets_in_documents, osf, tmp_path):
    """In one shell, as it stands; its YAML is used as it is shown, but that `api_url:` leads to the stand-in."""
    projects = [osf.host.node(guid=guid, roles={OSF_TOKEN: "admin"}) for guid in ("abc12", "def34")]

    def upload(seed: int, identifier: str) -> None:
        place = {"backend": "s3", "bucket": "my-bucket/brain"}
        storage_plugins.open_store(config={"stores": {"lab": place}}).upload(make_assembly(seed), identifier)

    for seed in (1, 2):
        upload(seed, "Lab2026.rates")
    environment, ran = {**os.environ, "PATH": WITH_COMMAND, "ENVIRONMENT": str(tmp_path / "environment")}, []
    for language, text in re.findall(r"^```(\w+)\n(.*?)^```", GUIDE.read_text("utf-8"), re.S | re.M):
        if language == "yaml":
            Path("storage.yaml").write_text(text.replace("backend: osf", f"backend: osf, api_url: {osf.api_url!r}"))
            environment["STORAGE_PLUGINS_CONFIG"] = str(Path("storage.yaml").absolute())  # the stand-in gets the token
            continue
        if "ours-2" in text:  # the project has become full meanwhile
            projects[0].quota = projects[0].counted
            upload(3, "Lab2026.more")
        if "publish-store" in text:
            text = text.replace(
                "osf:abc12", storage_plugins.open_store("ours", config="storage.yaml").address
            )  # it names the stand-in
        command = (
            [sys.executable, "-c", text] if language == "python" else ["sh", "-ec", f"{text}\nenv -0 >$ENVIRONMENT"]
        )
        done = subprocess.run(
            command, input=f"{OSF_TOKEN}\n", capture_output=True, text=True, env=environment, check=False
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
        assert OSF_TOKEN not in done.stdout + done.stderr
        if language == "sh":
            kept = (tmp_path / "environment").read_text().split("\0")
            environment = dict(variable.split("=", 1) for variable in kept if variable)
        ran.append(done.stdout)
    assert "Nothing was left behind." in ran[1]
    assert "copied         1 file" in ran[2]
    assert "2 versions: 2 whole." in ran[5]
    assert re.search(r"^Lab2026.rates$", ran[4], re.M)
    assert re.search(r"^2 .*\n1 ", ran[4], re.M)  # the version ids are OSF's
    assert [len(osf.host.get(project, "assy_Lab2026_more.nc")) for project in projects] == [0, 1]
    assert "presentation" in ran[-1]
