"""``aws s3api`` and ``aws s3 mb``, as far as the documents use them: the same requests, without the AWS tools."""

import json
import sys
from pathlib import Path
from typing import Any

import boto3


def main() -> None:
    service, operation, *words = sys.argv[1:]
    if (service, operation) == ("s3", "mb"):
        service, operation, words = "s3api", "create-bucket", ["--bucket", words[0].removeprefix("s3://")]
    assert service == "s3api"
    options = {_camel(name): _value(value) for name, value in zip(words[::2], words[1::2], strict=True)}
    getattr(boto3.client("s3", region_name="us-east-1"), operation.replace("-", "_"))(**options)


def _camel(option: str) -> str:
    return "".join(word.capitalize() for word in option.removeprefix("--").split("-"))


def _value(text: str) -> Any:
    if text.startswith("{"):
        return json.loads(text)
    return dict(part.split("=") for part in text.split(",")) if "=" in text else text


def install(folder: Path) -> None:
    """Put a command ``aws`` into a folder."""
    folder.mkdir()
    (folder / "aws").write_text(f"#!/bin/sh\nexec '{sys.executable}' '{__file__}' \"$@\"\n")
    (folder / "aws").chmod(0o755)


if __name__ == "__main__":
    main()
