"""axe-core, which finds what keeps people with disabilities from using a page. It comes from the npm registry."""

import functools
import json
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import chromium
import pytest

VERSION = "4.14.1"
_RUN = "axe.run(document, {resultTypes: ['violations'], preload: false}).then(found => found.violations.map(one => "
_RUN += "`${one.id}: ${one.nodes.map(node => node.html).join(' ')}`.slice(0, 500)))"


@functools.cache
def source() -> str:
    """Return its script; skip the test where it cannot be fetched."""
    if shutil.which("npm") is None:
        pytest.skip("there is no npm here, which fetches axe-core")
    with tempfile.TemporaryDirectory() as folder:
        fetch = ["npm", "pack", "--silent", "--cache", f"{folder}/cache", f"axe-core@{VERSION}"]
        done = subprocess.run(fetch, cwd=folder, capture_output=True, text=True, check=False)
        archives = list(Path(folder).glob("*.tgz"))
        if done.returncode or not archives:
            pytest.skip(f"axe-core cannot be fetched: {done.stderr[-200:]}")
        with tarfile.open(archives[0]) as archive:
            file = archive.extractfile("package/axe.min.js")
            assert file is not None
            return file.read().decode()


def violations(tab: chromium.Tab, page: Path) -> list[str]:
    """Return what is wrong with a page, light and dark, on a screen and on a phone."""
    script, found = source(), []
    for width, scheme in ((1200, "light"), (1200, "dark"), (400, "light")):
        tab.width(width)
        tab.colours(scheme)
        tab.open(page.absolute().as_uri())
        tab.run(f"{script}; 0")
        found += [f"{page.name}, {width}, {scheme}: {one}" for one in tab.run(_RUN)]
        if (wide := tab.run("document.documentElement.scrollWidth")) > width:
            found.append(f"{page.name}, {width}: it is {json.dumps(wide)} wide")
    return found
