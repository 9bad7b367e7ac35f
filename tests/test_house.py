"""The structure of the package."""

import pytest

grimp = pytest.importorskip("grimp")  # comes with the import linter, for development


def test_no_modules_import_each_other_in_a_circle():
    graph = grimp.build_graph("storage_plugins", exclude_type_checking_imports=True)
    circles = [
        f"{importer} -> {imported}"
        for importer in graph.modules
        for imported in graph.find_modules_directly_imported_by(importer)
        if graph.chain_exists(importer=imported, imported=importer)
    ]
    assert circles == []
