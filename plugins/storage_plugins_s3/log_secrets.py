"""Keeps secrets out of what botocore and urllib3 log at level DEBUG: they log whole headers and answers."""

from __future__ import annotations

import logging
import re

_SECRET = re.compile(
    r"""(?ix) ( (?: x-amz-security-token | x-amz-signature | secret_?access_?key | session_?token | ^signature )
        ["']? \s* [:=>] \s* b?["']? ) [^\s"',}<&]+"""
)
_LOGGERS = (
    "botocore.auth",
    "botocore.endpoint",
    "botocore.hooks",
    "botocore.httpsession",
    "botocore.parsers",
    "botocore.regions",
    "botocore.client",
    "botocore.credentials",
    "urllib3.connectionpool",
)


class _Redacting(logging.Filter):
    """Replaces secrets in log records by an ellipsis."""

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        shown = _SECRET.sub(r"\1…", text)
        if shown != text:
            record.msg, record.args = shown, None
        return True


_redacting = _Redacting()


def keep_secrets_out_of_logs() -> None:
    """Add the filter to each logger that may see secrets."""
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        if _redacting not in logger.filters:
            logger.addFilter(_redacting)
