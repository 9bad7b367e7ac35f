"""AWS Signature Version 4 in request headers.

The algorithm: "Authenticating Requests: Using the Authorization Header" in the Amazon S3 API reference. botocore
signs too, but a request through its client costs about a millisecond of CPU, several times what one of these does.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Protocol
from urllib.parse import quote

NOTHING = hashlib.sha256(b"").hexdigest()
_SIGNED = ("host", "content-md5", "content-type", "x-amz-")  # others may be changed by proxies


class Credentials(Protocol):
    """An access key, its secret, and the session token of temporary credentials."""

    access_key: str
    secret_key: str
    token: str | None


def encoded_query(query: Mapping[str, str]) -> tuple[str, str]:
    """Return a query string as it is sent, and as it is signed: sorted, each name with an equals sign."""
    pairs = [(quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in query.items()]
    sent = "&".join(f"{name}={value}" if value else name for name, value in pairs)
    return sent, "&".join(f"{name}={value}" for name, value in sorted(pairs))


def signed(
    method: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
    *,
    sha256: str,
    credentials: Credentials,
    region: str,
    now: datetime | None = None,
) -> dict[str, str]:
    """Return ``headers`` with the signature. They contain ``Host``; ``path`` and ``query`` are encoded."""
    time = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
    added = {"X-Amz-Date": time, "X-Amz-Content-SHA256": sha256}
    if credentials.token:
        added["X-Amz-Security-Token"] = credentials.token
    whole = {**headers, **added}
    canonical = sorted(
        (name.lower(), " ".join(value.split())) for name, value in whole.items() if name.lower().startswith(_SIGNED)
    )
    names = ";".join(name for name, _ in canonical)
    lines = "".join(f"{name}:{value}\n" for name, value in canonical)
    request = f"{method}\n{path}\n{query}\n{lines}\n{names}\n{sha256}"
    scope = f"{time[:8]}/{region}/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{time}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    signature = hmac.new(_key(credentials.secret_key, time[:8], region), text.encode(), "sha256").hexdigest()
    whole["Authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return whole


@functools.lru_cache(maxsize=16)
def _key(secret: str, date: str, region: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (date, region, "s3", "aws4_request"):
        key = hmac.new(key, part.encode(), "sha256").digest()
    return key
