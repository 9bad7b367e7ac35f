"""The kit's way round the stores of pickle_backend and broken_store."""

from storage_plugins.testing import Host


class PickleHost(Host):
    def __init__(self, root, backend="pickles", **settings):
        self.root, self.settings = root, {"backend": backend, "root": str(root), **settings}

    def get(self, key):
        return [path.read_bytes().partition(b"\n")[2] for path in self.paths(key)]

    def damage(self, key, number, data):
        path = self.paths(key)[number]
        path.write_bytes(path.read_bytes().partition(b"\n")[0] + b"\n" + data)

    def names(self):
        return [str(path) for path in self.root.rglob("*") if path.is_file()]

    def paths(self, key):
        return sorted((self.root / key).glob("v*"), key=lambda path: int(path.name[1:]))
