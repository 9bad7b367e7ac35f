"""What the fuzzer makes of each kind of thing from outside, and how a user would read it; see fuzz.py."""

import contextlib
import functools
import json
import os
import pickle
import re
import shutil
import struct
import textwrap
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any, ClassVar

import fuzz_servers
import yaml
from fuzz_mutation import NASTY, WIDE, damaged, encoded, revalued, reworded

import storage_plugins
from storage_plugins import StorageError, codec
from storage_plugins.testing._assemblies import make_assembly


class Kind:
    """One kind of thing. ``base`` is the folder of the fuzzer; each case has one of its own."""

    name: ClassVar[str]

    def __init__(self, base: Path) -> None:
        self.base = base

    def draw(self, chance: Random, folder: Path) -> Any:
        """Make a case, with its files in ``folder``."""
        raise NotImplementedError

    def attempt(self, case: Any, folder: Path) -> None:
        """Read a case as this project does; StorageErrors may come out."""
        raise NotImplementedError

    def command(self, case: Any, folder: Path) -> list[str] | None:
        """Return a command line that shows the case to a user."""
        return None


def some_of(chance: Random, calls: Sequence[Callable[[], Any]], count: int) -> Callable[[], None]:
    """Return what calls some of them; each has its turn in other cases."""
    chosen = chance.sample(calls, count)
    return lambda: all_of(*chosen)


def all_of(*calls: Callable[[], Any]) -> None:
    """Call all; raise the first StorageError, if any."""
    first = None
    for call in calls:
        try:
            call()
        except StorageError as error:
            first = first or error
    if first:
        raise first


# whole files

_SIGNATURE = re.compile(b"\x89HDF|OHDR|OCHK|TREE|SNOD|HEAP|GCOL|FRHP|FHDB|FHIB|BTHD|BTLF|BTIN|FAHD|FADB|EAHD|FSHD|CDF")


def structures(data: bytes) -> list[int]:
    """Return where HDF5's and netCDF-3's own structures begin."""
    found = [match.start() for match in _SIGNATURE.finditer(data)]
    return [0] * 64 if data[:3] == b"CDF" else found


_ATTRIBUTES = [
    *("units", "calendar", "_FillValue", "scale_factor", "add_offset", "dtype", "missing_value", "coordinates"),
    *("_Encoding", "storage_plugins", "_NCProperties", "DIMENSION_LIST", "identifier", "CLASS", "NAME"),
]


class Files(Kind):
    """netCDF-4 and netCDF-3 files: real ones damaged, hostile ones, and such as h5py can be made to write."""

    name = "files"

    def __init__(self, base: Path) -> None:
        super().__init__(base)
        import test_codec_damage
        import test_codec_hostile

        self.samples: dict[str, bytes] = {}
        path = base / "outside" / "sample.nc"
        for name in ("stored", "everything"):
            test_codec_damage.encode(name, path)
            self.samples[name] = path.read_bytes()
        codec.encode(make_assembly(), path, identifier="X", extras={"more": make_assembly(1)})
        self.samples["small"] = path.read_bytes()
        for form in ("NETCDF3_CLASSIC", "NETCDF3_64BIT", "NETCDF4_CLASSIC", "NETCDF4"):
            data = test_codec_hostile.plain().to_dataset(name="data")
            data.to_netcdf(path, engine="netcdf4", format=form)
            self.samples[form] = path.read_bytes()
        for name, (make, _) in test_codec_hostile.OUTSIDE.items():
            path.unlink()
            make(path)
            if path.stat().st_size < 1 << 20:
                self.samples[name] = path.read_bytes()
        for name, make in test_codec_hostile.LARGE.items():
            path.unlink()
            make(path)
            if path.stat().st_size < 1 << 18:
                self.samples[name] = path.read_bytes()
        path.unlink()

    def draw(self, chance: Random, folder: Path) -> Path:
        path = folder / "x.nc"
        how = chance.random()
        if how < 0.2:
            self._built(chance, path)
        elif how < 0.4:
            self._redescribed(chance, path)
        elif how < 0.5:
            path.write_bytes(netcdf3(chance))
        else:
            name = chance.choice([*self.samples])
            path.write_bytes(damaged(chance, self.samples[name], list(self.samples.values()), structures))
        if how < 0.5 and chance.random() < 0.2:
            path.write_bytes(damaged(chance, path.read_bytes(), list(self.samples.values()), structures))
        return path

    def _redescribed(self, chance: Random, path: Path) -> None:
        """One of ours whose description says something else, sealed by a digest that fits it or not."""
        import h5py

        from storage_plugins.codec._content import content_digest

        path.write_bytes(self.samples[chance.choice(("small", "everything"))])
        with h5py.File(path, "r+") as file:
            told = file.attrs["storage_plugins"]
            text = told.decode() if isinstance(told, bytes) else str(told)
            value = json.loads(text)
            if chance.random() < 0.8:
                value["content"] = revalued(chance, value.get("content"))
                with contextlib.suppress(Exception):
                    value["digest"] = content_digest(value["content"])
            else:
                value = revalued(chance, value)
            try:
                new = json.dumps(value) if chance.random() < 0.9 else reworded(chance, text, [])
                file.attrs["storage_plugins"] = new.replace("\0", "")
            except (ValueError, RecursionError, OSError, TypeError, RuntimeError):
                file.attrs["storage_plugins"] = "{}"

    def _built(self, chance: Random, path: Path) -> None:
        """What h5py can write, netCDF or not."""
        import h5py

        with h5py.File(path, "w", libver=chance.choice(("earliest", "latest"))) as file:
            for _ in range(chance.randrange(1, 9)):
                with contextlib.suppress(Exception):
                    self._add(chance, file, h5py)

    def _add(self, chance: Random, file: Any, h5py: Any) -> None:
        import numpy as np

        outside = str(self.base / "outside" / "secret")
        name = chance.choice(("data", "data", "x", "y", "g/data", "g/x", "more/data", "_nc4_non_coord_x", *NASTY[:20]))
        size = chance.choice((0, 1, 3, 100, 10**6, 10**9, 1 << 40))
        kinds = [
            "f8",
            "i1",
            "u8",
            "S5",
            "f2",
            "c16",
            h5py.string_dtype(),
            h5py.string_dtype("ascii"),
            h5py.vlen_dtype("i4"),
            h5py.ref_dtype,
            h5py.regionref_dtype,
            h5py.enum_dtype({"a": 1}),
            h5py.opaque_dtype(np.dtype("V8")),
            [("a", "f8"), ("b", "S3")],
            np.dtype(("f4", (3,))),
            ">f8",
        ]
        kind = chance.choice(kinds)
        step = chance.randrange(9)
        if step < 4:
            options: dict[str, Any] = {}
            shape = chance.choice(((size,), (size, 2), (), (3, 2), None, (1,) * 32))
            if chance.random() < 0.5 and shape:
                options["chunks"] = tuple(min(part, chance.choice((1, 7, 1 << 20))) or 1 for part in shape)
                options["compression"] = chance.choice((None, 1, "lzf", "gzip"))
                options["shuffle"] = chance.random() < 0.5
                options["fletcher32"] = chance.random() < 0.2
                options["maxshape"] = chance.choice((None, (None,) * len(shape)))
            if chance.random() < 0.2 and shape:
                options = {"external": [(outside, 0, h5py.h5f.UNLIMITED)]}
            if chance.random() < 0.2 and kind in ("f8", "i1", ">f8") and size < 1000:
                options["fillvalue"] = chance.choice((0, 1e300, -1))
            made = file.create_dataset(name, shape, kind, **options)
            if chance.random() < 0.7:
                made.attrs["coordinates"] = chance.choice(("x y", "x", "data", "../data", " ".join(["x"] * 5000)))
            if shape and chance.random() < 0.5:
                made.dims[0].attach_scale(file[chance.choice(("x", "data", "y"))])
            if shape and size <= 100 and chance.random() < 0.7:
                if h5py.check_vlen_dtype(made.dtype) == np.dtype("i4"):  # h5py crashes on one number for all
                    made[(0,) * made.ndim] = [1, 2]
                else:
                    made[...] = 1
        elif step == 4:
            target = chance.choice(("/", "/x", "data", "/gone", "../..", outside))
            file[name] = chance.choice(
                (h5py.SoftLink(target), h5py.ExternalLink(outside, "/"), file["/"], file["data"])
            )
        elif step == 5:
            layout = h5py.VirtualLayout(shape=(4,), dtype="f8")
            layout[:] = h5py.VirtualSource(chance.choice((outside, ".", "x.nc")), "x", shape=(4,))
            file.create_virtual_dataset(name, layout)
        elif step == 6:
            file[name].make_scale(chance.choice(NASTY[:10])) if chance.random() < 0.5 else file.create_group(name)
        else:
            where = file[chance.choice(("/", "data", "x"))]
            label = chance.choice((*_ATTRIBUTES, *NASTY[:20]))
            units = ("days since 2000-01-01", "seconds since 9999-99-99", "ns", "days since 1e99", "D", "bool", "NaN")
            where.attrs[label] = chance.choice(
                [*units, 1.5, 0, -1, [1, 2], 1e308, b"\xff\xfe", *NASTY, np.zeros((3, 3)), np.array([], "f8")]
            )

    def attempt(self, case: Path, folder: Path) -> None:
        def whole(path: Path) -> None:
            """Read the values too, where they are as few as they should be."""
            assembly = codec.decode(path)
            repr(assembly)
            codec.content_digest(assembly)

        def in_parts() -> None:
            lazy = codec.decode(case, chunks={})
            if lazy.nbytes < 64 << 20:
                lazy.compute()

        def parts() -> None:
            read = codec.Parts(codec.LocalSource(case))
            codec.summary(read)
            lazy = read.assembly()
            if lazy.nbytes < 64 << 20:
                lazy.compute()

        ways = [
            lambda: whole(case),
            in_parts,
            lambda: codec.decode_extras(case),
            lambda: codec.check(case),
            parts,
            lambda: codec.digest_of_file(case),
        ]
        some_of(Random(case.stat().st_size), ways, 3)()

    def command(self, case: Path, folder: Path) -> list[str]:
        (folder / "lab").mkdir()
        (folder / "storage.yaml").write_text("stores: {lab: {backend: local, root: ./lab}}")
        case.rename(folder / "lab" / "assy_X.nc")
        return ["show", "X", "-c", str(folder / "storage.yaml")]


def netcdf3(chance: Random) -> bytes:
    """Write a netCDF-3 header whose fields are drawn, most of them right, and some bytes of data."""
    version = chance.choice((1, 2, 5, 1, 2, 5, 0, 3, 255))
    wide = ">Q" if version == 5 else ">I"

    def count(number: int) -> bytes:
        if chance.random() < 0.05:
            number = chance.choice(WIDE)
        return struct.pack(wide, number % (1 << 8 * struct.calcsize(wide)))

    def tag(number: int) -> bytes:
        return struct.pack(">I", number if chance.random() > 0.03 else chance.choice(WIDE) % (1 << 32))

    def name(text: str) -> bytes:
        if chance.random() < 0.05:
            text = chance.choice(NASTY)
        data = text.encode("utf-8", "surrogatepass")
        return count(len(data)) + data + bytes(-len(data) % 4)

    def attributes() -> bytes:
        many = chance.choice((0, 0, 1, 2))
        if not many:
            return tag(0) + count(0)
        made = [name(chance.choice(("units", "coordinates", "_FillValue", "scale_factor", "a"))) for _ in range(many)]
        texts = [chance.choice((b"x c1", b"days since 2000-01-01", b"\x1b[2J", b"abc")) for _ in made]
        return (
            tag(12)
            + count(many)
            + b"".join(
                label + tag(2) + count(len(text)) + text + bytes(-len(text) % 4)
                for label, text in zip(made, texts, strict=True)
            )
        )

    dims = chance.choice((0, 1, 2, 3))
    lengths = [chance.choice((0, 1, 2, 8, 5000, 1 << 20)) for _ in range(dims)]
    head = b"CDF" + bytes([version % 256]) + count(chance.choice((0, 1, 3, 1000)))
    head += (tag(10) + count(dims) if dims else tag(0) + count(0)) + b"".join(
        name(f"d{number}") + count(length) for number, length in enumerate(lengths)
    )
    head += attributes()
    many = chance.choice((0, 1, 2, 5))
    head += tag(11) + count(many) if many else tag(0) + count(0)
    offset = ">I" if version == 1 else ">Q"
    for number in range(many):
        used = [chance.randrange(dims) for _ in range(chance.choice((0, 1, 1, 2)))] if dims else []
        head += (
            name("data" if not number else f"c{number}") + count(len(used)) + b"".join(map(count, used)) + attributes()
        )
        head += tag(chance.choice((1, 2, 3, 4, 5, 6, 10))) + count(chance.choice((4, 8, 64, 40_000)))
        begin = chance.choice((64, 400, 1000, *WIDE)) if chance.random() < 0.1 else len(head) + 100
        head += struct.pack(offset, begin % (1 << 8 * struct.calcsize(offset)))
    return head + bytes(chance.choice((0, 10, 1000, 100_000)))


# settings

_CONFIGS = [
    """
default: lab
stores:
  lab: {backend: local, root: ./assemblies}
  b: {backend: group, read: [lab], write: lab}
""",
    """
stores:
  lab:
    backend: s3
    bucket: lab/brain
    endpoint_url: http://127.0.0.1:1
    region: us-east-1
    anonymous: auto
    publish_by: tag
    contact: data@lab.example
    visibility: private
""",
    """
stores:
  o: {backend: osf, project: abc12, folder: a/b, token: "${AWS_SECRET_ACCESS_KEY}", view_only: "${X}"}
  p: {backend: osf, project: abc12, api_url: http://127.0.0.1:1/v2/, allow_unencrypted: true}
""",
    """
stores:
  w: {backend: web, url: "https://127.0.0.1:1/x.nc?key=${AWS_SECRET_ACCESS_KEY}"}
receipts: false
""",
    """
stores:
  f: {backend: fsspec, url: memory://lab/brain, options: {a: [1, 2]}, secrets: {password: "${X}"}}
  s: {backend: fsspec, url: 'sftp://lab@127.0.0.1:1/data'}
  l: &a {backend: local, root: ~/x, replace: true}
  m: *a
brainscore: {buckets: {'brainscore-storage/*': l}}
receipts: ./receipts
""",
]
_SETTINGS = [
    "backend",
    "local",
    "s3",
    "osf",
    "web",
    "fsspec",
    "group",
    "root",
    "bucket",
    "prefix",
    "endpoint_url",
    "region",
    "profile",
    "anonymous",
    "auto",
    "always",
    "never",
    "requester_pays",
    "publish_by",
    "tag",
    "acl",
    "prefix",
    "public_prefix",
    "project",
    "folder",
    "token",
    "view_only",
    "api_url",
    "url",
    "options",
    "secrets",
    "read",
    "write",
    "default",
    "stores",
    "receipts",
    "brainscore",
    "buckets",
    "contact",
    "visibility",
    "public",
    "private",
    "replace",
    "cache",
    "shared",
    "yes",
    "no",
    "assembly_prefix",
    "assy_",
    "allow_unencrypted",
    "host",
    "password",
    "memory://",
    "sftp://",
    "http://",
    "ftp://",
    "https://",
    "file:///",
]


def dumped(value: Any, unicode: bool) -> str:
    """Return a value as YAML; by libyaml, which is much faster, where it can write that value."""
    try:
        return yaml.dump(value, Dumper=yaml.CSafeDumper, allow_unicode=unicode)
    except (AttributeError, UnicodeError):
        return yaml.safe_dump(value, allow_unicode=unicode)


class Yaml(Kind):
    """Files called storage.yaml."""

    name = "yaml"

    def draw(self, chance: Random, folder: Path) -> Path:
        path = folder / "storage.yaml"
        text = chance.choice(_CONFIGS)
        if chance.random() < 0.4:
            value = revalued(chance, yaml.safe_load(text))
            with contextlib.suppress(Exception):
                text = dumped(value, chance.random() < 0.5) if chance.random() < 0.5 else json.dumps(value)
        else:
            text = reworded(chance, text, _SETTINGS)
        if chance.random() < 0.05:
            text += "\nx:\n" + "".join(f"{' ' * n}- &a{n} [*a{n - 1}, *a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))
        path.write_bytes(encoded(chance, text))
        return path

    def attempt(self, case: Path, folder: Path) -> None:
        from storage_plugins._config.config import Config

        def opened(name: str | None) -> None:
            store = storage_plugins.open_store(name, config=case)
            repr(store), store.address, pickle.loads(pickle.dumps(store))

        config = Config.open(case)
        all_of(*(lambda name=name: opened(name) for name in [None, *config.stores]))

    def command(self, case: Path, folder: Path) -> list[str]:
        return ["stores", "-c", str(case)]


# receipts, and what local stores note


def receipt_files(folder: Path) -> dict[str, bytes]:
    """Return receipts of all kinds, by their path in the folder of receipts."""
    from storage_plugins._copies.receipts import ImportedPin, Receipts

    (folder / "storage.yaml").write_text("stores: {lab: {backend: local, root: ./lab}}\n")
    store = storage_plugins.open_store(config=folder / "storage.yaml")
    store.upload(make_assembly(1), "X")
    store.upload(make_assembly(2), "X")
    pin = store.upload(make_assembly(3), "X")
    receipts = Receipts(folder / "receipts")
    receipts.keep(ImportedPin(key=pin.key, sha1=pin.sha1, identifier="X", version_id="v", address="s3://b/c"))
    store.withdraw("X", version_id=pin.version_id, reason="wrong", confirm="X")
    root = folder / "receipts"
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*.yaml")}


class Receipts(Kind):
    """Folders of receipts that came with a repository."""

    name = "receipts"

    def __init__(self, base: Path) -> None:
        super().__init__(base)
        made = base / "cases" / "made"
        made.mkdir()
        self.samples = receipt_files(made)
        self.lab = made / "lab"

    def draw(self, chance: Random, folder: Path) -> Path:
        (folder / "storage.yaml").write_text(
            f"stores: {{lab: {{backend: local, root: {json.dumps(str(self.lab))}}}}}\n"
        )
        for name, data in self.samples.items():
            path = folder / "receipts" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if chance.random() < 0.5:
                text = data.decode()
                if chance.random() < 0.3:
                    value = revalued(chance, yaml.safe_load(text))
                    with contextlib.suppress(Exception):
                        text = dumped(value, True)
                else:
                    words = [
                        "identifier",
                        "key",
                        "sha1",
                        "sha256",
                        "size",
                        "created",
                        "store",
                        "address",
                        "version_id",
                        "uri",
                        "assy_X.nc",
                    ]
                    text = reworded(chance, text, words)
                data = encoded(chance, text)
            if chance.random() < 0.03:
                chance.choice([path.mkdir, lambda path=path: os.mkfifo(path), *self._links(path)])()
            else:
                path.write_bytes(data)
            if chance.random() < 0.1:
                new = "".join(chance.choice(NASTY)[:60] for _ in range(2)).replace("/", "").replace("\0", "")
                with contextlib.suppress(OSError, ValueError):
                    path.rename(path.with_name(f"{new}{path.suffix}"))
        return folder / "receipts"

    def _links(self, path: Path) -> list[Callable[[], None]]:
        targets = ["/dev/zero", str(self.base / "outside" / "secret"), "/proc/self/environ", "."]
        return [lambda target=target: path.symlink_to(target) for target in targets]

    def attempt(self, case: Path, folder: Path) -> None:
        from storage_plugins._copies import receipts

        here = receipts.Receipts(case)
        for key in here.all_keys():
            for one in here.known(key):
                repr(one), one.to_dict(), one.pin() if isinstance(one, storage_plugins.Receipt) else None
            here.withdrawn(key)
        store = storage_plugins.open_store(config=folder / "storage.yaml")
        ways = [lambda: store.load("X"), lambda: store.where("X"), store.verify, lambda: here.latest("assy_X.nc", "X")]
        some_of(Random(len(str(case)) + sum(len(path.name) for path in case.rglob("*"))), ways, 1)()

    def command(self, case: Path, folder: Path) -> list[str]:
        return ["where", "X", "-c", str(folder / "storage.yaml")]


class Records(Kind):
    """What stores note of versions, and tombstones: in files, in names of objects, in metadata."""

    name = "records"

    def __init__(self, base: Path) -> None:
        super().__init__(base)
        made = base / "cases" / "made"
        made.mkdir()
        receipt_files(made)
        self.lab = made / "lab"

    def draw(self, chance: Random, folder: Path) -> str:
        shutil.copytree(self.lab, folder / "lab", symlinks=True)
        in_memory = chance.random() < 0.4
        where = f"backend: fsspec, url: memory://case{folder.name}" if in_memory else "backend: local, root: ./lab"
        (folder / "storage.yaml").write_text(f"receipts: false\nstores: {{lab: {{{where}}}}}\n")
        for path in (folder / "lab").rglob("*"):
            if not path.is_file() or path.suffix == ".nc" or chance.random() < 0.4:
                continue
            path.chmod(0o600)
            try:
                value = revalued(chance, json.loads(path.read_bytes()))
                text = json.dumps(value) if chance.random() < 0.7 else reworded(chance, path.read_text(), [])
            except (ValueError, RecursionError):
                text = "[" * 5000
            path.write_bytes(encoded(chance, text))
        if in_memory:
            import fsspec

            files = fsspec.filesystem("memory")
            files.store.clear()
            for path in filter(Path.is_file, (folder / "lab").rglob("*")):
                files.pipe(f"/case{folder.name}/{path.relative_to(folder / 'lab')}", path.read_bytes())
        return self._name(chance)

    def _name(self, chance: Random) -> str:
        """A name such as S3 and OSF stores have for records, damaged."""
        hashes = ("a" * 27, "b" * 43, "0" * 64, "1" * 40)
        names = [
            f".storage-plugins/assy_x.nc!assy_X.nc!_assy_!X/v1!e1!6!{hashes[0]}!{hashes[1]}!1.{hashes[1]}",
            f"assy_@X/{hashes[2]}-{hashes[3]}-1000-r1-{hashes[2]}.json",
            f"{hashes[2]}.0123abcd.uploading.json",
        ]
        return reworded(chance, chance.choice(names), ["!", "/", "@", "-", "_", "."])

    def attempt(self, case: str, folder: Path) -> None:
        from storage_plugins_osf import entries, records
        from storage_plugins_s3 import records as names

        names.parse(case), names.parse_folder(case.rpartition("/")[0])
        records.key_of(case), records._BYTES.fullmatch(case), records._named(case)
        entry = entries.Entry("0" * 24, case, False)
        entry.key, entry.rank, entries.retired_name(entry)
        store = storage_plugins.open_store(config=folder / "storage.yaml")
        ways = [
            lambda: store.load("X"),
            lambda: [repr(version) for version in store.versions("X")],
            lambda: repr(store.identifiers()),
            lambda: store.load("X", version_id="2-000000000000"),
            lambda: store.load("Y", newest=True),
            lambda: repr(store.show("X")),
            lambda: store.upload(make_assembly(1), "X"),
            store.verify,
        ]
        some_of(Random(len(case)), ways, 2)()

    def command(self, case: str, folder: Path) -> list[str]:
        return ["versions", "X", "-c", str(folder / "storage.yaml")]


# answers


class S3(Kind):
    """Answers of an S3 server: XML, headers, status, bytes."""

    name = "s3"

    def __init__(self, base: Path) -> None:
        super().__init__(base)
        share_descriptions()
        self.server = fuzz_servers.Server(fuzz_servers.S3Answers(), base)
        settings = {"backend": "s3", "bucket": "lab/brain", "endpoint_url": self.server.url, "region": "us-east-1"}
        path = base / "cases" / "s3.yaml"
        path.write_text(yaml.safe_dump({"receipts": False, "stores": {"lab": settings}}))
        self.config, self.used, self.store = path, 0, None

    def draw(self, chance: Random, folder: Path) -> list[str]:
        self.server.chance = Random(chance.random())
        self.server.often = chance.choice((0.2, 0.5, 1.0))
        return chance.choices([*self._acts(None, folder)], k=2)

    def attempt(self, case: list[str], folder: Path) -> None:
        from storage_plugins._copies.cache import Cache

        if self.store is None or self.used % 50 == 0:
            self.store = storage_plugins.open_store(config=self.config)
        self.used += 1
        forget_versioning(self.store)
        self.store.cache = Cache([folder / "cache"])
        acts = self._acts(self.store, folder)
        all_of(*(acts[name] for name in case))

    def _acts(self, store: Any, folder: Path) -> dict[str, Callable[[], Any]]:
        def sent() -> None:
            (folder / "f.bin").write_bytes(b"bytes" * 100)
            store.upload_file(folder / "f.bin", "f.bin")

        return {
            "load": lambda: store.load("X"),
            "pinned": lambda: store.load("X", version_id="v1", sha1=fuzz_servers.SHA1),
            "versions": lambda: [repr(version) for version in store.versions("X")],
            "identifiers": lambda: repr(store.identifiers()),
            "files": lambda: repr(store.file_names()),
            "parts": lambda: store.load("X", download=False),
            "show": lambda: repr(store.show("X")),
            "upload": lambda: store.upload(make_assembly(1), "Y"),
            "upload_file": sent,
            "publish": lambda: store.publish("X"),
            "unpublish": lambda: store.unpublish("X"),
            "share": lambda: store.share("X"),
            "verify": store.verify if store is not None else None,
        }

    def command(self, case: list[str], folder: Path) -> list[str]:
        return ["versions", "X", "-c", str(self.config)]


def share_descriptions() -> None:
    """Let botocore parse its own descriptions of S3 once in a process: that takes most of the time of a new client."""
    import botocore.session

    botocore.session.create_loader = functools.cache(botocore.session.create_loader)


def forget_versioning(store: Any) -> None:
    """Let the store ask its server again."""
    if bucket := getattr(store.files, "_bucket", None):
        bucket.forget_versioning()


class Osf(S3):
    """Answers of OSF: JSON, headers, status, bytes."""

    name = "osf"

    def __init__(self, base: Path) -> None:
        Kind.__init__(self, base)
        self.server = fuzz_servers.OsfAnswers()
        settings = {"backend": "osf", "project": self.server.node.id, "token": "tok", "api_url": self.server.api_url}
        path = base / "cases" / "osf.yaml"
        path.write_text(yaml.safe_dump({"receipts": False, "stores": {"lab": settings}}))
        self.config = path
        self.server.often = 0.0
        store = storage_plugins.open_store(config=path)
        store.upload(make_assembly(1), "X")
        store.upload(make_assembly(2), "X")
        self.server.remember()

    def attempt(self, case: list[str], folder: Path) -> None:
        self.store, self.used = None, 0
        self.server.reset()
        super().attempt(case, folder)


class Web(S3):
    """Answers of a web server to a link."""

    name = "web"

    def __init__(self, base: Path) -> None:
        Kind.__init__(self, base)
        self.server = fuzz_servers.Server(fuzz_servers.WebAnswers(), base)
        path = base / "cases" / "web.yaml"
        settings = {"backend": "web", "url": f"{self.server.url}/assy_X.nc"}
        path.write_text(yaml.safe_dump({"receipts": False, "stores": {"lab": settings}}))
        self.config, self.used, self.store = path, 0, None

    def command(self, case: list[str], folder: Path) -> list[str]:
        return ["show", "X", "-c", str(self.config)]


# names

_URIS = [
    "s3://lab/brain/assy_X.nc?versionId=v1&endpoint_url=http://127.0.0.1:1#sha256=" + "0" * 64,
    "osf:abc12/folder/assy_X.nc?versionId=3&api_url=http://127.0.0.1:1/v2/#sha1=" + "0" * 40,
    "file:///tmp/lab/assy_X.nc?versionId=1-000000000000",
    "https://127.0.0.1:1/a/assy_X.nc?X-Amz-Signature=abc#sha256=" + "0" * 64,
    "fsspec:memory://lab/assy_X.nc?versionId=1-000000000000#sha256=" + "0" * 64,
    "fsspec:sftp://lab@127.0.0.1:1/data/assy_X.nc",
]


class Uris(Kind):
    """URIs that load without any configuration. Nothing is requested."""

    name = "uris"

    def draw(self, chance: Random, folder: Path) -> str:
        words = [
            "s3",
            "osf",
            "file",
            "https",
            "http",
            "fsspec",
            "sftp",
            "memory",
            "local",
            "versionId",
            "endpoint_url",
            "api_url",
            "sha1",
            "sha256",
            "://",
            "%2F",
            "@",
        ]
        return reworded(chance, chance.choice(_URIS), words)

    def attempt(self, case: str, folder: Path) -> None:
        from storage_plugins._store.open import found_at

        named = found_at(
            case, {"receipts": False, "stores": {"lab": {"backend": "local", "root": str(folder / "lab")}}}
        )
        repr(named.store), named.store.address, named.store.parts.host.uri(named.key, named.pin.version_id)

    def command(self, case: str, folder: Path) -> list[str] | None:
        return ["load", case] if case.isprintable() and case.startswith("nothing:") else None


class Identifiers(Kind):
    """Identifiers, names of files, prefixes and pins, as a caller may take them from anywhere."""

    name = "identifiers"

    def __init__(self, base: Path) -> None:
        super().__init__(base)
        self.config = base / "cases" / "names.yaml"
        self.config.write_text("receipts: ./receipts\nstores: {lab: {backend: local, root: ./lab}}\n")

    def draw(self, chance: Random, folder: Path) -> tuple[Any, Any, Any]:
        names = ["Pereira2018.language", "stimulus_hvm.zip", "assy_", "a", "X" * 200, "..nc", "con", "-x", "a.b_c+d-e"]
        words = [".", "_", "-", "+", ".nc", "assy_", "ceiling_", "/", "\\"]

        def name() -> Any:
            if chance.random() < 0.03:
                return chance.choice([None, 5, b"X", [], 1.5])
            return reworded(chance, chance.choice(names), words)

        return name(), name() if chance.random() < 0.3 else chance.choice(("assy_", "", None)), name()

    def attempt(self, case: tuple[Any, Any, Any], folder: Path) -> None:
        from storage_plugins._identifiers import assembly_key, check_file_name

        identifier, prefix, pin = case
        path = folder / "storage.yaml"
        path.write_bytes(self.config.read_bytes())
        store = storage_plugins.open_store(config=path)
        (folder / "f.bin").write_bytes(b"x")

        def checked() -> None:
            key = assembly_key(identifier, "assy_")
            assert "/" not in key, key
            assert re.fullmatch(r"[A-Za-z0-9._+-]+", check_file_name(identifier))

        calls = [
            checked,
            lambda: store.load(identifier, assembly_prefix=prefix),
            lambda: store.load(identifier, version_id=pin),
            lambda: store.load("X", sha1=pin),
            lambda: store.fetch(identifier),
            lambda: store.versions(identifier, assembly_prefix=prefix),
            lambda: store.where(identifier),
            lambda: store.upload_file(folder / "f.bin", identifier),
        ]
        if isinstance(identifier, str) and isinstance(prefix, str | None):
            calls.append(lambda: store.upload(make_assembly(1), identifier, assembly_prefix=prefix))
        all_of(*(lambda call=call: _typed(call) for call in calls))

    def command(self, case: tuple[Any, Any, Any], folder: Path) -> list[str] | None:
        name = str(case[0])
        return None if name.startswith("-") else ["versions", "-c", str(folder / "storage.yaml"), name]


def _typed(call: Callable[[], Any]) -> None:
    """Call; a TypeError of this project's own, for an argument of the wrong type, is documented."""
    try:
        call()
    except TypeError as error:
        if isinstance(error, StorageError) or "must be" not in str(error):
            raise


# archives and sources


class Archives(Kind):
    """ZIP archives of stimuli."""

    name = "archives"

    def draw(self, chance: Random, folder: Path) -> Path:
        path = folder / "stimulus.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for _ in range(chance.choice((0, 1, 2, 5))):
                name = chance.choice(("a.png", "b/c.png", "../a", "/a", "b/", "b", "a\\b", "C:\\a", *NASTY))
                info = zipfile.ZipInfo(name.encode("utf-8", "replace").decode()[:1000] or "x")
                info.external_attr = chance.choice((0, 0o100644, 0o120777, 0o020666, 0o040755, 0xFFFF)) << 16
                info.compress_type = chance.choice(
                    (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2)
                )
                body = chance.choice(
                    (b"", b"png" * 100, bytes(1 << 20), str(self.base / "outside" / "secret").encode())
                )
                with contextlib.suppress(ValueError):
                    archive.writestr(info, body)
        data = path.read_bytes()
        if chance.random() < 0.7:
            path.write_bytes(damaged(chance, data, [data], lambda data: [m.start() for m in re.finditer(b"PK", data)]))
        return path

    def attempt(self, case: Path, folder: Path) -> None:
        from storage_plugins.brainscore._archives import unpacked

        os.environ["STORAGE_PLUGINS_CACHE"] = str(folder / "cache")
        made, names = unpacked(case)
        for name in names:
            assert (made / name).resolve().is_relative_to(made.resolve()), name
            assert not (made / name).is_symlink(), name


_SOURCES = [
    """
from brainscore_language.utils.s3 import load_from_s3
PINS = {"a": ("v1", "%(sha1)s"), "b": ("v2", "%(sha1)s")}
def load(identifier, version_id=None, *, sha1="%(sha1)s", **more):
    return load_from_s3(identifier=identifier, version_id=version_id, sha1=sha1, **more)
for name, (version, sha1) in PINS.items():
    register(name, lambda n=name, v=version, s=sha1: load(n, v, sha1=s))
data = [load_from_s3(f"Lab.{i}", "v" + i, "%(sha1)s") for i in ["x", "y"] if i]
""",
    """
import functools
from brainscore_vision.benchmark_helpers import s3
BUCKET = "brainscore-storage/brainscore-vision"
stimulus_set_registry["X"] = lambda: s3.load_stimulus_set_from_s3(
    identifier="X", bucket=BUCKET, csv_sha1="%(sha1)s", zip_sha1="%(sha1)s", csv_version_id="a", zip_version_id="b",
    filename_prefix="stimulus_")
assembly = functools.partial(load_assembly_from_s3, "X", "v1", "%(sha1)s", bucket=BUCKET + "/x", cls=None)
class A:
    x = fetch_file("S3", "https://%(host)s/x.nc", "%(sha1)s", version_id="v")
    def f(self, *a, **k):
        while True:
            if a: return load_from_s3(*a, **k)
""",
]


class Pins(Kind):
    """Python sources whose pins are imported."""

    name = "pins"

    def draw(self, chance: Random, folder: Path) -> Path:
        source = textwrap.dedent(chance.choice(_SOURCES)) % {"sha1": "0" * 39 + "a", "host": "b.s3.amazonaws.com"}
        words = [
            "load_from_s3",
            "load_assembly_from_s3",
            "fetch_file",
            "lambda",
            "for",
            "in",
            "if",
            "def",
            "class",
            "return",
            "yield",
            "*",
            "**",
            "(",
            ")",
            "[",
            "]",
            "{",
            "}",
            ",",
            "=",
            ":",
            "+",
            "-",
            "import",
            "from",
            ".",
            "identifier",
            "sha1",
            "version_id",
            'f"',
            '""',
            "partial",
            "dict",
            "zip",
            "enumerate",
            "while",
            "async",
            "await",
            "match",
            "case",
            "with",
            "as",
            "not",
        ]
        where = folder / "plugin"
        where.mkdir()
        for name in ("__init__.py", "other.py"):
            text = reworded(
                chance, source + chance.choice(("", "\nfrom .other import *\n", "\nfrom . import other\n")), words
            )
            if chance.random() < 0.05:
                deep = chance.choice((60, 2000, 50_000))
                text += chance.choice(
                    ("x = " + "(" * deep, "x = " + "[" * deep + "]" * deep, "x = " + "-" * deep + "1")
                )
            if chance.random() < 0.02:
                text = f'x = load_from_s3("{chance.choice(NASTY)[:50]}", "v", "{"0" * 40}")\n' * 3000
            (where / name).write_bytes(encoded(chance, text))
        if chance.random() < 0.03:
            target = chance.choice(("/dev/zero", str(self.base / "outside" / "secret"), "."))
            (where / "link.py").symlink_to(target)
        return where

    def attempt(self, case: Path, folder: Path) -> None:
        from storage_plugins.brainscore._pins_in_sources import find_pins

        pins, _ = find_pins([case])
        for pin in pins:
            assert "/" not in pin.key, pin
            assert re.fullmatch("[0-9a-f]{40}", pin.sha1), pin

    def command(self, case: Path, folder: Path) -> list[str]:
        (folder / "storage.yaml").write_text("stores: {lab: {backend: local, root: ./lab}}\n")
        return ["receipts", "import", str(case), "-c", str(folder / "storage.yaml")]


KINDS: dict[str, type[Kind]] = {
    kind.name: kind for kind in (Files, Yaml, Receipts, Records, S3, Osf, Web, Uris, Identifiers, Archives, Pins)
}
