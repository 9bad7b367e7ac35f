"""S3 servers on loopback: moto, and a real one, Ceph's gateway, where its Debian packages are installed.

Ceph's are radosgw, ceph-mon, ceph-osd, ceph-common and ceph-base; its daemons want to run as root.
"""

import contextlib
import dataclasses
import logging
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3


@dataclasses.dataclass(frozen=True)
class S3Server:
    """A server and two users of it: the owner of the buckets, and somebody else."""

    kind: str
    url: str
    owner: tuple[str, str] = ("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    other: tuple[str, str] = ("AKIAOTHER7EXAMPLE", "somebody-elses-secret")

    def client(self, user: tuple[str, str] | None = None):
        """Return a client that goes round our code."""
        key, secret = user or self.owner
        return boto3.client(
            "s3", endpoint_url=self.url, region_name="us-east-1", aws_access_key_id=key, aws_secret_access_key=secret
        )


@contextlib.contextmanager
def served_moto() -> Iterator[S3Server]:
    from moto.server import ThreadedMotoServer

    _correct_moto()
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # else a line for each request

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield S3Server("moto", f"http://{host}:{port}")
    finally:
        server.stop()


def _correct_moto() -> None:
    """Let moto answer a token that it never gave out as S3 does, and list versions without a copy of their bytes."""
    from moto.s3.exceptions import InvalidContinuationToken
    from moto.s3.models import FakeKey, S3Backend

    def after(self: Any, keys: list[Any], token: str | None) -> list[Any]:
        if token is None:  # else a TypeError, which is answered 500
            raise InvalidContinuationToken
        return [key for key in keys if getattr(key, "name", key) > token]

    def copied(self: Any, memo: Any) -> Any:
        copy = object.__new__(FakeKey)
        copy.__dict__.update(self.__dict__, dispose=lambda garbage=False: None)  # the bytes belong to the original
        return copy

    S3Backend._get_results_from_token, FakeKey.__deepcopy__ = after, copied


@contextlib.contextmanager
def served_ceph(folder: Path) -> Iterator[S3Server]:
    """Start one monitor, one object store in memory and one gateway, each on a free port."""
    monitor, port = _free_port(), _free_port()
    address, conf = f"[v2:127.0.0.1:{monitor}]", folder / "ceph.conf"
    for part in ("mon", "osd", "rgw", "run", "log"):
        (folder / part).mkdir(parents=True)
    conf.write_text(_configuration(folder, str(uuid.uuid4()), address, port))

    def run(program: str, *arguments: object) -> None:
        command = [program, "-c", conf, *arguments]
        subprocess.run(list(map(str, command)), check=True, capture_output=True, timeout=120)

    with contextlib.ExitStack() as stack:

        def start(program: str, *arguments: object) -> None:
            log = stack.enter_context((folder / "log" / f"{program}.out").open("wb"))
            command = [program, "-c", conf, *arguments, "-f"]
            daemon = subprocess.Popen(list(map(str, command)), stdout=log, stderr=log)
            stack.callback(daemon.wait)
            stack.callback(daemon.kill)

        monmap, fsid = folder / "monmap", conf.read_text().split("fsid = ")[1].split()[0]
        make = ["monmaptool", "--create", "--fsid", fsid, "--addv", "a", address, str(monmap)]
        subprocess.run(make, check=True, capture_output=True)
        run("ceph-mon", "-i", "a", "--mkfs", "--monmap", monmap)
        start("ceph-mon", "-i", "a")
        osd = str(uuid.uuid4())
        _until(lambda: run("ceph", "--connect-timeout", 5, "osd", "new", osd))
        run("ceph-osd", "-i", 0, "--mkfs", "--osd-uuid", osd)
        run("ceph", "osd", "crush", "add", "osd.0", "1.0", "root=default", "host=localhost")
        start("ceph-osd", "-i", 0)
        start("radosgw", "-n", "client.rgw")
        url = f"http://127.0.0.1:{port}"
        _until(lambda: urllib.request.urlopen(url, timeout=5).close())
        server = S3Server("ceph", url, ("OWNERKEY", "the-owners-secret"), ("OTHERKEY", "the-others-secret"))
        for name, (key, secret) in (("owner", server.owner), ("other", server.other)):
            keys = [f"--uid={name}", f"--display-name={name}", f"--access-key={key}", f"--secret-key={secret}"]
            run("radosgw-admin", "-n", "client.rgw", "user", "create", *keys)
        yield server


def ceph_is_installed() -> bool:
    return all(map(shutil.which, ("radosgw", "ceph-mon", "ceph-osd", "ceph", "radosgw-admin")))


def _configuration(folder: Path, fsid: str, address: str, port: int) -> str:
    libraries = next(Path("/usr/lib").glob("*-linux-gnu"))
    # crc between monitor and clients: without it the gateway never signs on; tcp_nodelay: without it a GET takes 47 ms
    return f"""
[global]
fsid = {fsid}
mon host = {address}
mon initial members = a
public network = 127.0.0.0/8
cluster network = 127.0.0.0/8
ms bind msgr1 = false
ms mon client mode = crc
ms mon service mode = crc
ms mon cluster mode = crc
paxos propose interval = 0.02
mon tick interval = 1
auth cluster required = none
auth service required = none
auth client required = none
run dir = {folder}/run
admin socket = {folder}/run/$name.$pid.asok
log file = {folder}/log/$name.log
crash dir = {folder}/run
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 1000
plugin dir = {libraries}/ceph
erasure code dir = {libraries}/ceph/erasure-code
osd class dir = {libraries}/rados-classes
osd class load list = *
osd class default list = *
[mon]
mon data = {folder}/mon
[osd]
osd data = {folder}/osd
osd objectstore = memstore
memstore device bytes = 8589934592
[client.rgw]
rgw data = {folder}/rgw
rgw frontends = beast endpoint=127.0.0.1:{port} tcp_nodelay=1
rgw run sync thread = false
rgw gc obj min wait = 1
rgw gc processor period = 2
rgw gc processor max time = 2
rgw dns name = localhost
debug rgw = 0
debug ms = 0
"""


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _until(attempt) -> None:
    """Try until it succeeds, a minute at most."""
    end = time.monotonic() + 60
    while True:
        try:
            return attempt()
        except (subprocess.SubprocessError, urllib.error.URLError, OSError):
            if time.monotonic() > end:
                raise
            time.sleep(0.2)
