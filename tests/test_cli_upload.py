"""Uploading several files by one command: nothing is guessed, and nothing is sent twice."""

import json
from pathlib import Path

import pytest

import storage_plugins

# what the command line adds is the same over each
on_one_backend = pytest.mark.parametrize("yaml_file", ["local"], indirect=True)


def stored():
    store = storage_plugins.open_store()
    return {name: store.load_file(name).read_bytes() for name in store.identifiers()}


def test_several_files_are_stored_by_a_template_and_sent_once(run, several):
    done = run("upload", *several, "--as", "Lab2026.{stem}")
    assert "3 of 3 files are in store 'lab'" in done.stdout
    assert stored() == {f"Lab2026.{name[0]}": Path(name).read_bytes() for name in several}
    again = json.loads(run("upload", *several, "--as", "Lab2026.{stem}", "--json").stdout)
    assert [receipt["identifier"] for receipt in again["uploaded"]] == ["Lab2026.a", "Lab2026.b", "Lab2026.c"]
    assert [len(storage_plugins.open_store().versions(f"Lab2026.{name}")) for name in "abc"] == [1, 1, 1]


def test_one_file_by_a_template_or_a_plain_name(run, several):
    Path("monkey1").mkdir()
    Path("a.nc").rename("monkey1/rates.nc")
    run("upload", "monkey1/rates.nc", "--as", "{parent}.{stem}")
    run("upload", "b.nc", "--as", "c.nc")
    assert [*stored()] == ["c.nc", "monkey1.rates"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("m.csv", "path,identifier\na.nc,X.a\nsub/b.nc,X.b\n"),
        ("m.csv", "\ufeffidentifier,path,note\r\nX.a,a.nc,first\r\nX.b,sub/b.nc,\r\n"),
        ("m.yaml", "- {path: a.nc, identifier: X.a}\n- {path: sub/b.nc, identifier: X.b}\n"),
    ],
)
def test_a_manifest_names_each_file_relative_to_itself(run, several, tmp_path, monkeypatch, name, text):
    Path("sub").mkdir()
    Path("b.nc").rename("sub/b.nc")
    Path(name).write_text(text)
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    run("upload", "--manifest", f"../{name}")
    assert stored() == {"X.a": Path("../a.nc").read_bytes(), "X.b": Path("../sub/b.nc").read_bytes()}


def test_values_of_a_yaml_manifest_are_text(run, several):
    Path("m.yaml").write_text("- {path: a.nc, identifier: 2026}\n- {path: b.nc, identifier: 2026-11-26}\n")
    run("upload", "--manifest", "m.yaml")
    assert [*stored()] == ["2026", "2026-11-26"]


@pytest.mark.parametrize("text", ["- " * 5000, "[" * 5000, "- !!timestamp 2026-99-99", "- !!python/name:os.system"])
def test_a_manifest_that_is_no_yaml_is_a_wrong_command_line(run, several, text):
    Path("m.yaml").write_text(text)
    assert "--manifest" in run("upload", "--manifest", "m.yaml", code=2).stderr


def test_a_manifest_that_does_not_exist_is_not_found(run, several):
    assert "There is no file m.csv" in run("upload", "--manifest", "m.csv", code=3).stderr


@pytest.mark.parametrize(
    "words",
    [
        ["a.nc", "b.nc"],  # the second one is a file, not an identifier
        ["a.nc", "b.nc", "c.nc"],
        ["a.nc", "d.nc"],  # a mistyped file
        ["a.nc", "notes.txt"],
        ["a.nc", "b.nc", "Lab2026.rates"],
        ["a.nc", "sub"],
        ["a.nc", "b.nc", "--as", "Lab2026.rates"],
        ["a.nc", "sub/a.nc", "--as", "{stem}"],
        ["a.nc", "A.nc", "--as", "{stem}"],  # names that differ in case only
        ["a.nc", "b.nc", "--as", "{name}"],
        ["sub/notes.txt", "notes.txt"],
        ["a.nc", "--manifest", "m.csv"],
        ["--as", "{stem}", "--manifest", "m.csv"],
        ["--manifest", "empty.csv"],
        ["--manifest", "odd.csv"],
        ["--manifest", "twice.csv"],
        ["--manifest", "mapping.yaml"],
        ["--manifest", "latin1.csv"],
        ["--as", "{stem}"],
        [],
    ],
    ids=" ".join,
)
def test_what_is_ambiguous_is_refused_before_anything_is_sent(run, several, words):
    Path("sub").mkdir()
    for name in ("sub/a.nc", "A.nc"):
        Path(name).write_bytes(Path("a.nc").read_bytes())
    for name in ("notes.txt", "sub/notes.txt"):
        Path(name).write_text("notes")
    Path("m.csv").write_text("path,identifier\na.nc,X\n")
    Path("empty.csv").write_text("path,identifier\n")
    Path("odd.csv").write_text("file,name\na.nc,X\n")
    Path("twice.csv").write_text("path,identifier\na.nc,X.y\nb.nc,X_y\n")
    Path("mapping.yaml").write_text("a.nc: X\n")
    Path("latin1.csv").write_bytes("path,identifier\né.nc,X\n".encode("latin-1"))
    run("upload", *words, code=2)
    assert not Path("lab").exists()


def test_a_name_that_is_impossible_is_refused_before_anything_is_sent(run, several):
    Path("my data.nc").write_bytes(Path("c.nc").read_bytes())
    assert "my data.nc" in run("upload", "a.nc", "my data.nc", "--as", "{stem}", code=13).stderr
    assert not Path("lab").exists()


def test_other_files_are_stored_side_by_side_under_their_own_names(run, several):
    for name in ("one.csv", "two.csv"):
        Path(name).write_text(name)
    run("upload", "one.csv", "two.csv")
    assert storage_plugins.open_store().file_names() == ["one.csv", "two.csv"]


def test_a_file_that_fails_does_not_stop_the_others(run, several):
    Path("b.nc").write_text("text")
    done = run("upload", *several, "--as", "{stem}", code=12)
    assert "b.nc: not uploaded" in done.stderr
    assert "2 of 3 files" in done.stdout
    assert [*stored()] == ["a", "c"]
    report = json.loads(run("upload", *several, "--as", "{stem}", "--json", code=12).stdout)
    assert [failed["path"] for failed in report["failed"]] == ["b.nc"]
    assert report["not_tried"] == []
