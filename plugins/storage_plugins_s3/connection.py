"""The connection to the server: s3fs filesystems, made lazily, once a process, never pickled."""

from __future__ import annotations

import logging
import os
import threading
from typing import Any

from .errors import translated
from .settings import S3Settings


class Connection:
    """Signed and anonymous access to one server."""

    def __init__(self, settings: S3Settings) -> None:
        self._settings = settings
        self._made: dict[tuple[int, bool], Any] = {}
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"settings": self._settings}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["settings"])  # type: ignore[misc]

    def filesystem(self, anonymous: bool = False) -> Any:
        """Return this process's filesystem; without credentials if asked, or if there are none."""
        anonymous = anonymous or self._settings.anonymous == "always"
        place = (os.getpid(), anonymous)  # a connection does not survive a fork
        with self._lock:
            if place not in self._made:
                with translated("the bucket", self._settings.address):
                    self._made[place] = self._make(anonymous)
            return self._made[place]

    def may_try_anonymously(self) -> bool:
        """Whether a refusal of signed requests is worth a second try without signature."""
        return self._settings.anonymous == "auto" and not self.is_anonymous(self.filesystem())

    @staticmethod
    def is_anonymous(filesystem: Any) -> bool:
        """Whether the filesystem sends no credentials."""
        return bool(filesystem.anon)

    def _make(self, anonymous: bool) -> Any:
        import aiobotocore.session
        import s3fs
        from fsspec.asyn import get_loop, sync

        settings = self._settings
        session = aiobotocore.session.AioSession(profile=settings.profile)
        if not anonymous:
            credentials = sync(get_loop(), session.get_credentials)
            if credentials is not None:
                frozen = sync(get_loop(), credentials.get_frozen_credentials)
                _keep_out_of_logs(frozen.secret_key, frozen.token)
            elif settings.anonymous == "auto":
                anonymous = True
        region = settings.region or session.get_config_variable("region") or "us-east-1"
        filesystem = s3fs.S3FileSystem(
            anon=anonymous,
            session=session,
            endpoint_url=settings.endpoint_url,
            client_kwargs={"region_name": region},
            config_kwargs={
                "connect_timeout": 10,
                "read_timeout": 60,
                "max_pool_connections": 32,
                # the core repeats what changes nothing; this is for a single stumble of the rest
                "retries": {"mode": "standard", "total_max_attempts": 2},
                # Content-MD5 is understood by every server, newer checksums are not
                "request_checksum_calculation": "when_required",
                "response_checksum_validation": "when_required",
                "s3": {"addressing_style": "path" if settings.endpoint_url else "auto"},
            },
            requester_pays=settings.requester_pays,
            use_listings_cache=False,  # goes stale
            skip_instance_cache=True,
        )
        filesystem.retries = 1  # s3fs need not repeat what botocore and the core repeat
        return filesystem


class _Redacting(logging.Filter):
    """Replaces known secrets in what botocore logs at DEBUG: it logs whole headers."""

    def __init__(self) -> None:
        super().__init__()
        self.secrets: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if any(secret in text for secret in self.secrets):
            for secret in self.secrets:
                text = text.replace(secret, "…")
            record.msg, record.args = text, None
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


def _keep_out_of_logs(*secrets: str | None) -> None:
    _redacting.secrets.update(secret for secret in secrets if secret)
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        if _redacting not in logger.filters:
            logger.addFilter(_redacting)
