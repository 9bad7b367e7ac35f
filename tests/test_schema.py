"""The JSON Schema of storage.yaml says what the configuration says, as far as names and types go."""

import ast
import contextlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml
from new_package import GUIDE

from storage_plugins import StorageError, StoreSettings
from storage_plugins._backend import discovery as plugins
from storage_plugins._config.config import GROUP, Config
from storage_plugins._config.schema import schema
from storage_plugins._store.group import GroupSettings
from storage_plugins.cli._template import STORAGE_YAML

TESTS = Path(__file__).parent


@pytest.fixture(scope="module")
def validator():
    made, _ = schema()
    jsonschema.Draft7Validator.check_schema(made)
    return jsonschema.Draft7Validator(made)


def accepted(config: object) -> bool:
    """Whether the configuration accepts it, with the settings of every store."""
    try:
        for entry in Config.open(config).stores.values():
            if entry.backend == GROUP:
                entry.settings(plugins.Backend(name=GROUP, settings=GroupSettings))
            else:
                entry.settings(plugins.find_backend(entry.backend))
    except StorageError:
        return False
    return True


def configurations() -> list[dict[str, object]]:
    """Return all that looks like a configuration, or a store in one, in the documents and the sources of the tests."""
    documents = [path.read_text("utf-8") for path in [*GUIDE.parent.glob("*.md"), GUIDE.parent.parent / "README.md"]]
    texts = [
        STORAGE_YAML,
        *(text for one in documents for text in re.findall(r"^ *```yaml\n(.*?)^ *```", one, re.S | re.M)),
    ]
    found: list[object] = []
    for path in TESTS.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and "backend" in node.value:
                texts.append(node.value)
            elif isinstance(node, ast.Dict):
                with contextlib.suppress(ValueError):  # not made of literals alone
                    found.append(ast.literal_eval(node))
    for text in texts:
        with contextlib.suppress(
            yaml.YAMLError, ValueError, KeyError, AttributeError
        ):  # some tests are of what is no YAML
            found.append(yaml.safe_load(text))
    mappings = [one for one in found if isinstance(one, dict)]
    return [
        *(one for one in mappings if isinstance(one.get("stores"), dict)),
        *({"stores": {"lab": one}} for one in mappings if isinstance(one.get("backend"), str)),
    ]


@pytest.mark.slow
@pytest.mark.skipif(not GUIDE.exists(), reason="no checkout around the tests")
def test_what_the_configuration_accepts_in_documents_and_tests_the_schema_accepts(validator):
    right = [config for config in configurations() if accepted(config)]
    assert len(right) >= 40
    assert {store["backend"] for config in right for store in config["stores"].values()} >= {
        *("local", "s3", "osf", "fsspec", "group")
    }
    for config in right:
        assert [(config, error.message) for error in validator.iter_errors(config)] == []


LAB = {"backend": "s3", "bucket": "my-bucket"}
WRONG = {
    "a misspelt key at the top": {"stores": {"lab": LAB}, "defalt": "lab"},
    "no stores": {"default": "lab"},
    "stores of none": {"stores": {}},
    "a list of stores": {"stores": [LAB]},
    "a store's name with a space": {"stores": {"my lab": LAB}},
    "a store without a backend": {"stores": {"lab": {"bucket": "b"}}},
    "an unknown backend": {"stores": {"lab": {"backend": "s4", "bucket": "b"}}},
    "a misspelt setting": {"stores": {"lab": {**LAB, "regoin": "eu"}}},
    "another backend's setting": {"stores": {"lab": {**LAB, "root": "x"}}},
    "a setting that is missing": {"stores": {"lab": {"backend": "s3"}}},
    "a number for a text": {"stores": {"lab": {**LAB, "contact": 5}}},
    "a word for yes": {"stores": {"lab": {**LAB, "replace": "yes"}}},
    "a word that is none of those": {"stores": {"lab": {**LAB, "visibility": "secret"}}},
    "a list for a text": {"stores": {"lab": {"backend": "local", "root": ["x"]}}},
    "a variable in what is no secret": {"stores": {"lab": {"backend": "s3", "bucket": "${BUCKET}"}}},
    "a variable in what may be left out": {"stores": {"lab": {**LAB, "contact": "${ME}"}}},
    "a number for a secret": {"stores": {"lab": {"backend": "osf", "project": "abc12", "token": 5}}},
    "a text for secrets": {"stores": {"lab": {"backend": "fsspec", "url": "memory://x", "secrets": "x"}}},
    "a number among secrets": {"stores": {"lab": {"backend": "fsspec", "url": "memory://x", "secrets": {"p": 1}}}},
    "a group of nothing": {"stores": {"lab": {"backend": "group", "read": []}}},
    "a group of a text": {"stores": {"lab": {"backend": "group", "read": "lab"}}},
    "receipts that are a number": {"stores": {"lab": LAB}, "receipts": 1},
    "receipts that are a list": {"stores": {"lab": LAB}, "receipts": ["x"]},
    "a default that is a list": {"stores": {"lab": LAB}, "default": ["lab"]},
    "a misspelt key of brainscore": {"stores": {"lab": LAB}, "brainscore": {"bucket": {}}},
    "a bucket that is none": {"stores": {"lab": LAB}, "brainscore": {"buckets": {"a//b": "lab"}}},
    "a bucket's store that is a list": {"stores": {"lab": LAB}, "brainscore": {"buckets": {"a": ["lab"]}}},
}


@pytest.mark.parametrize("config", WRONG.values(), ids=WRONG)
def test_what_is_misspelt_or_of_a_wrong_type_is_refused_by_both(validator, config):
    assert not accepted(config)
    assert not validator.is_valid(config)


RIGHT = {
    "all of the top": {
        "default": "lab",
        "receipts": "./receipts",
        "stores": {"lab": LAB},
        "brainscore": {"buckets": {"*": "lab", "a/b/*": "lab"}},
    },
    "nothing where nothing need be said": {"default": None, "receipts": None, "stores": {"l": LAB}, "brainscore": None},
    "no receipts": {"receipts": False, "stores": {"lab": LAB}},
    "a secret's variable": {"stores": {"lab": {"backend": "osf", "project": "abc12", "token": "${UNSET_TOKEN}"}}},
    "a secret of none": {"stores": {"lab": {"backend": "osf", "project": "abc12", "token": None}}},
    "secrets in a mapping": {"stores": {"a": {"backend": "fsspec", "url": "memory://x", "secrets": {"p": "${UNSET}"}}}},
}


@pytest.mark.parametrize("config", RIGHT.values(), ids=RIGHT)
def test_what_is_right_is_accepted_by_both(validator, config):
    assert accepted(config)
    assert [error.message for error in validator.iter_errors(config)] == []


def test_an_editor_is_told_which_word_is_wrong_and_what_each_means(validator):
    errors = [*validator.iter_errors({"stores": {"lab": {**LAB, "regoin": "eu"}}})]
    assert [(list(error.absolute_path), "'regoin' was unexpected" in error.message) for error in errors] == [
        (["stores", "lab"], True)
    ]
    for name in ("local", "s3", "osf", "fsspec"):
        settings = plugins.find_backend(name).settings
        told = validator.schema["$defs"][f"backend.{name}"]["properties"]
        assert {*told} == {"backend", *settings.model_fields}
        assert all(told[field]["description"] for field in settings.model_fields)
    token = validator.schema["$defs"]["backend.osf"]["properties"]["token"]
    assert "${VARIABLE}" in token["description"]


THIRD_PARTY = """
import pydantic, storage_plugins
class Inner(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")
    port: int
class Settings(storage_plugins.StoreSettings):
    inner: Inner
    key: pydantic.SecretStr = pydantic.Field(pydantic.SecretStr("${{}}"), min_length=40, description="what opens it")
    {more}
@storage_plugins.hookimpl
def storage_plugins_backend():
    return storage_plugins.Backend(name={name!r}, settings=Settings, files=str)
"""


@pytest.fixture
def third_parties(tmp_path):
    """A folder with backends of others: one is right, one lacks its SDK, one fails, one has no schema."""
    codes = {
        "theirs": THIRD_PARTY.format(name="theirs", more=""),
        "lacks": THIRD_PARTY.format(name="lacks", more="").replace("files=str", "files=str, requires=('no_such_sdk',)"),
        "fails": "raise RuntimeError('not today')",
        "odd": THIRD_PARTY.format(name="odd", more="call: pydantic.SkipValidation[__import__('typing').Callable]"),
    }
    for name, code in codes.items():
        (tmp_path / f"{name}.py").write_text(code)
        information = tmp_path / f"{name}-1.0.dist-info"
        information.mkdir()
        (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (information / "entry_points.txt").write_text(f"[storage_plugins]\n{name} = {name}\n")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])}


@pytest.mark.slow
def test_backends_of_others_are_in_it_and_broken_ones_are_said_to_be_left_out(third_parties, tmp_path):
    out = tmp_path / "here" / "storage.schema.json"
    command = [sys.executable, "-m", "storage_plugins", "schema", "-o", out]
    done = subprocess.run(command, env=third_parties, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{out}\n"
    told = {
        re.match(r"Left out: The backend '(\w+)'", line)[1]: line for line in done.stderr.splitlines() if "Left" in line
    }
    assert {*told} == {"lacks", "fails", "odd"}
    assert "no_such_sdk" in told["lacks"]
    assert "RuntimeError: not today" in told["fails"]
    assert "have no schema" in told["odd"]
    validator = jsonschema.Draft7Validator(json.loads(out.read_text("utf-8")))
    store = {"backend": "theirs", "inner": {"port": 22}}
    assert validator.is_valid({"stores": {"a": store, "b": {**store, "key": "${SHORT}"}, "c": {**LAB}}})
    for wrong in ({"inner": {"port": "x"}}, {"inner": {"prot": 22}}, {"key": 5}, {"kye": "x"}):
        assert not validator.is_valid({"stores": {"a": {**store, **wrong}}})
    assert not validator.is_valid({"stores": {"a": {"backend": "lacks", "inner": {"port": 22}}}})
    again = subprocess.run(command, env=third_parties, capture_output=True, text=True, check=False)
    assert again.returncode == 6
    assert "--force" in again.stderr


def test_every_store_of_ours_is_in_it():
    made, left_out = schema()
    names = {plugin.name for plugin in plugins.installed() if plugin.problem is None} | {GROUP}
    assert {*made["$defs"]["store"]["properties"]["backend"]["enum"]} == names
    assert left_out == {plugin.title: left_out[plugin.title] for plugin in plugins.installed() if plugin.problem}
    assert all(issubclass(plugins.find_backend(name).settings, StoreSettings) for name in names - {GROUP})
