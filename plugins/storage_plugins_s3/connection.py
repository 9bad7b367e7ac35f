"""The connection to the server: s3fs filesystems, made lazily, once a process, never pickled."""

from __future__ import annotations

import contextlib
import logging
import os
import re
from pathlib import Path
from typing import Any

import botocore.exceptions

from storage_plugins import AccessDenied

from .errors import translated
from .settings import S3Settings


class Connection:
    """Signed and anonymous access to one server."""

    def __init__(self, settings: S3Settings) -> None:
        self._settings = settings
        self._made: dict[tuple[int, bool], Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"settings": self._settings}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["settings"])  # type: ignore[misc]

    def filesystem(self, anonymous: bool = False) -> Any:
        """Return this process's filesystem; without credentials if asked, or if there are none."""
        anonymous = anonymous or self._settings.anonymous == "always"
        place = (os.getpid(), anonymous)  # a connection does not survive a fork
        made = self._made.get(place)
        if made is None:
            # without a lock, which a child forked at this moment would inherit locked; two threads may make
            # one each, and the first is kept: nothing is connected yet
            with translated("the bucket", self._settings.address):
                made = self._made.setdefault(place, self._make(anonymous))
        return made

    def may_try_anonymously(self) -> bool:
        """Whether a refusal of signed requests is worth a second try without signature."""
        signed = self._made.get((os.getpid(), False))  # None: the credentials could not be had
        return self._settings.anonymous == "auto" and (signed is None or not self.is_anonymous(signed))

    @staticmethod
    def is_anonymous(filesystem: Any) -> bool:
        """Whether the filesystem sends no credentials."""
        return bool(filesystem.anon)

    def _has_credentials(self, session: Any) -> bool:
        """Look through the standard AWS chain."""
        from fsspec.asyn import get_loop, sync

        try:
            credentials = sync(get_loop(), session.get_credentials)
            if credentials is not None:
                sync(get_loop(), credentials.get_frozen_credentials)
        except botocore.exceptions.ProfileNotFound:
            raise
        except Exception as error:  # a process, a file or a sign-in that is not as it should be
            raise AccessDenied(
                f"The credentials for {self._settings.address} could not be had: {error}",
                hint="Mend them with `aws configure` or `aws sso login`, or name another profile: in storage.yaml.",
            ) from error
        return credentials is not None

    def _make(self, anonymous: bool) -> Any:
        import aiobotocore.session
        import s3fs

        settings = self._settings
        session = aiobotocore.session.AioSession(profile=settings.profile)
        if not _may_have_an_instance_role():
            session.get_component("credential_provider").remove("iam-role")
        if not anonymous:
            _keep_secrets_out_of_logs()
            if not self._has_credentials(session) and settings.anonymous == "auto":
                anonymous = True
        region = settings.region or session.get_config_variable("region") or "us-east-1"
        filesystem = s3fs.S3FileSystem(
            anon=anonymous,
            session=session,
            endpoint_url=settings.endpoint,
            client_kwargs={"region_name": region},
            config_kwargs={
                **({} if anonymous else {"signature_version": "s3v4"}),  # for links too
                "connect_timeout": 10,
                "read_timeout": 60,
                "max_pool_connections": 32,
                # the core repeats what changes nothing; this is for a single stumble of the rest
                "retries": {"mode": "standard", "total_max_attempts": 2},
                # Content-MD5 is understood by every server, newer checksums are not
                "request_checksum_calculation": "when_required",
                "response_checksum_validation": "when_required",
                "s3": {"addressing_style": "path" if settings.endpoint else "auto"},
            },
            requester_pays=settings.requester_pays,
            use_listings_cache=False,  # goes stale
            skip_instance_cache=True,
        )
        filesystem.retries = 1  # s3fs need not repeat what botocore and the core repeat
        return filesystem


def _may_have_an_instance_role() -> bool:
    """Whether the lookup of an instance's role can succeed: elsewhere it waits for seconds, and for nothing.

    Amazon names itself as the vendor of its machines ("Identify EC2 Linux instances" in the EC2 user guide).
    """
    if os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT"):
        return True
    for told in ("/sys/class/dmi/id/sys_vendor", "/sys/class/dmi/id/bios_version", "/sys/hypervisor/uuid"):
        with contextlib.suppress(OSError):
            text = Path(told).read_text("ascii", errors="replace").lower()
            if "amazon" in text or text.startswith("ec2"):
                return True
    return os.name == "nt"  # no such files there


_SECRET = re.compile(
    r"""(?ix) ( (?: x-amz-security-token | x-amz-signature | secret_?access_?key | session_?token | ^signature )
        ["']? \s* [:=>] \s* b?["']? ) [^\s"',}<&]+"""
)


class _Redacting(logging.Filter):
    """Takes secrets out of what botocore logs at DEBUG: it logs whole headers and answers."""

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        shown = _SECRET.sub(r"\1…", text)
        if shown != text:
            record.msg, record.args = shown, None
        return True


_redacting = _Redacting()
_LOGGERS = (
    "botocore.auth",
    "botocore.endpoint",
    "botocore.hooks",
    "botocore.httpsession",
    "botocore.parsers",
    "botocore.regions",
    "botocore.client",
    "botocore.credentials",
    "aiobotocore.endpoint",
    "aiobotocore.httpsession",
    "aiobotocore.credentials",
    "fsspec.s3fs",
    "s3fs",
    "urllib3.connectionpool",
)


def _keep_secrets_out_of_logs() -> None:
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        if _redacting not in logger.filters:
            logger.addFilter(_redacting)
