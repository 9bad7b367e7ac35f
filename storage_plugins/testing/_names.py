"""Names are listed completely, as they were given, and never mixed up."""

from __future__ import annotations

import pytest

from storage_plugins import AssemblyNotFound, IdentifierCollision, InvalidIdentifier, NotSupported

from ._assemblies import make_assembly
from ._base import Kit
from ._comparison import differences
from ._hosts import Host
from ._lab import Lab, data_of, keep, read


class NameTests(Kit):
    """A store keeps the names that users gave, and a listing has all of them."""

    listing = 1001  # files in the long listing: many hosts list a thousand at a time

    def test_identifiers_are_listed_as_they_were_given(self, lab: Lab) -> None:
        store = lab.files_machine()
        for identifier in ("b.two_parts", "a", "C-3.x"):
            store.upload(make_assembly(), identifier)
        store.upload(make_assembly(), "a", assembly_prefix="ceiling_")
        for machine in (store, lab.machine()):
            assert machine.identifiers() == ["C-3.x", "a", "b.two_parts"]
            assert machine.identifiers(assembly_prefix="ceiling_") == ["a"]

    def test_prefixes_separate_assemblies_with_one_identifier(self, lab: Lab) -> None:
        store = lab.files_machine()
        prefixes = ("assy_", "ceiling_", "ceiling_raw_")
        for seed, prefix in enumerate(prefixes):
            store.upload(make_assembly(seed), "X", assembly_prefix=prefix)
        for seed, prefix in enumerate(prefixes):
            assert differences(lab.elsewhere().load("X", assembly_prefix=prefix), make_assembly(seed)) == []

    def test_a_name_too_close_to_another_is_refused(self, lab: Lab) -> None:
        store, other = lab.files_machine(), lab.machine()
        for first, second in (("a_b", "a.b"), ("c.d", "C.d"), ("x.Y", "x.y")):
            store.upload(make_assembly(1), first)
            with lab.left_as_it_was(store), pytest.raises(IdentifierCollision):
                other.upload(make_assembly(2), second)
        store.upload(make_assembly(1), "raw_X", assembly_prefix="ceiling_")
        with lab.left_as_it_was(store), pytest.raises(IdentifierCollision):
            other.upload(make_assembly(2), "X", assembly_prefix="ceiling_raw_")
        assert lab.elsewhere().identifiers() == ["a_b", "c.d", "x.Y"]

    def test_a_name_is_not_found_in_another_case(self, lab: Lab) -> None:
        lab.files_machine().upload(make_assembly(), "Case")
        other = lab.elsewhere()
        with pytest.raises(AssemblyNotFound):
            other.load("case")
        assert other.versions("case") == []

    def test_impossible_file_names_are_refused(self, lab: Lab) -> None:
        store = lab.files_machine()
        for name in ("../x", "", "a/b", "a\\b", ".versions", "a.", "é", "x" * 241):
            with pytest.raises(InvalidIdentifier):
                store.upload_file(lab.file(b"x"), name)
            with pytest.raises(InvalidIdentifier):
                store.fetch(name)
        assert list(store.files.keys()) == []

    def test_files_of_all_allowed_names_are_stored_and_listed(self, lab: Lab) -> None:
        store = lab.files_machine()
        names = ["a", "a.b", "a+b-c.d_e.tar.gz", "0", "UPPER.TXT", "a.b.c", "x" * 236 + ".zip", "assy_like.txt", "nc"]
        for name in names:
            store.upload_file(lab.file(name.encode()), name)
        other = lab.elsewhere()
        assert other.file_names() == sorted(names)
        assert other.identifiers() == []
        for name in names:
            assert data_of(other, name) == name.encode(), f"{name} has the bytes of another file"

    def test_keys_are_listed_once_and_by_prefix(self, lab: Lab) -> None:
        store = lab.files_machine()
        names = ["a", "ab", "abc", "b", "ba.x"]
        for name in names:
            keep(store.files, name, lab.source(name.encode()))
        if store.files.keeps_versions():
            keep(store.files, "ab", lab.source(b"again"))
        for prefix in ("", "a", "ab", "abc", "b", "ba.", "c"):
            assert sorted(store.files.keys(prefix)) == [name for name in names if name.startswith(prefix)], prefix

    def test_a_prefix_is_text_and_not_a_pattern(self, lab: Lab) -> None:
        files = lab.files_machine().files
        names = ["a_b", "aXb", "a.b", "a+b", "a-b", "aab", "Ac", "b"]
        for name in names:
            keep(files, name, lab.source(name.encode()))
        for prefix in ("a", "a_", "a.", "a+", "a-", "A", ".", "_", "+", "a%", "%", "a*", "?"):
            wanted = sorted(name for name in names if name.startswith(prefix))
            assert sorted(files.keys(prefix)) == wanted, f"keys({prefix!r}) is wrong"

    def test_listings_of_full_pages_are_complete(self, lab: Lab, host: Host) -> None:
        if host.page_size is None:
            pytest.skip(f"{type(host).__name__} has no page_size; not tested: pages that are full")
        files, names = lab.files_machine().files, list[str]()
        for _ in range(2):
            for _ in range(host.page_size):
                names.append(f"listed{len(names):05d}.txt")
                host.put(names[-1], b"x")
            listed = sorted(files.keys())
            assert listed == names, f"{len(listed)} of {len(names)} names were listed, with pages of {host.page_size}"

    def test_histories_of_full_pages_are_complete(self, lab: Lab, host: Host) -> None:
        if host.page_size is None:
            pytest.skip(f"{type(host).__name__} has no page_size; not tested: pages that are full")
        files, ids = lab.versioned().files, []
        for _ in range(2):
            ids += [keep(files, "file.bin", lab.source(b"%d" % number)) for number in range(host.page_size)]
            listed = [version.version_id for version in files.versions("file.bin")]
            assert listed == ids[::-1], f"{len(listed)} of {len(ids)} versions were listed"

    def test_a_new_location_is_empty(self, lab: Lab) -> None:
        store = lab.files_machine()
        assert list(store.files.keys()) == []
        assert store.identifiers() == []
        assert store.file_names() == []
        assert store.versions("X") == []
        assert store.files.newest("assy_X.nc") is None
        with pytest.raises(AssemblyNotFound):
            read(store.files, "assy_X.nc")

    def test_a_long_listing_is_complete(self, lab: Lab, host: Host) -> None:
        store = lab.files_machine()
        names = [f"listed{number:05d}.txt" for number in range(self.listing)]
        for name in names:
            host.put(name, name.encode())
        listed = list(store.files.keys())
        assert len(listed) == len(set(listed)), "a name is listed twice"
        assert sorted(listed) == names, f"{len(listed)} of {len(names)} names were listed"
        assert data_of(store, names[-1]) == names[-1].encode()

    def test_discard_deletes_one_key_with_all_its_versions(self, lab: Lab) -> None:
        files = lab.files_machine().files
        names = ("check", "check.bin", "check.bin.more", "chec")
        for name in (*names, *(["check.bin"] if files.keeps_versions() else [])):
            keep(files, name, lab.source(name.encode()))
        try:
            files.discard("check.bin")
        except NotSupported as error:
            pytest.skip(error.message)
        others = lab.files_machine().files
        for each in (files, others):
            assert sorted(each.keys()) == ["chec", "check", "check.bin.more"]
            assert list(each.versions("check.bin")) == [], "versions are still there"
            assert [read(each, name) for name in names if name != "check.bin"] == [b"check", b"check.bin.more", b"chec"]
        files.discard("check.bin")  # does nothing
        version_id = keep(files, "check.bin", lab.source(b"anew"), if_absent=True)
        assert read(others, "check.bin", version_id) == b"anew"

    def test_a_long_history_is_complete(self, lab: Lab) -> None:
        files = lab.versioned().files
        ids = [keep(files, "file.bin", lab.source(b"%d" % number)) for number in range(self.history)]
        assert [version.version_id for version in lab.files_machine().files.versions("file.bin")] == ids[::-1]

    history = 25  # versions in the long history
