"""Settings of a ``postgres`` store, and its ``postgres:`` addresses."""

from __future__ import annotations

from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import Field, SecretStr, field_validator

from storage_plugins import Location, StoreSettings

PORT = 5432
_THIS_COMPUTER = ("127.0.0.1", "localhost")
_NAME = r"^[A-Za-z_][A-Za-z0-9_-]*$"


class PostgresSettings(StoreSettings):
    """Settings of a ``postgres`` store."""

    host: str = Field(description="the server, such as db.lab.example", pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]*$")
    port: int = Field(PORT, ge=1, le=65535, description="its port")
    database: str = Field(description="the database", pattern=_NAME)
    folder: str = Field("assemblies", description="the schema in the database with the tables", pattern=_NAME)
    user: str = Field("reader", description="the role that signs in")
    password: SecretStr | None = Field(None, description="its password, written ${VARIABLE}")

    @field_validator("host")
    @classmethod
    def _lower(cls, host: str) -> str:
        return host.lower()

    @property
    def address(self) -> str:
        """The address of the tables, without the role: the same for all users."""
        return f"postgres://{self.host}:{self.port}/{self.database}/{self.folder}"

    def credential_hosts(self) -> list[str]:
        """Return the server, because it gets the password."""
        return [f"postgres://{self.host}:{self.port}"] if self.password else []

    @property
    def is_encrypted(self) -> bool:
        """Whether the connection must be encrypted: it leaves this computer, and the user did not allow otherwise."""
        return self.host not in _THIS_COMPUTER and not self.allow_unencrypted


def locate(address: str) -> Location:
    """Split the address of a version. It has no password, so no password is sent to a server that it names."""
    parts = urlsplit(address)
    path = [unquote(part) for part in parts.path.split("/")]
    if not parts.hostname or "@" in parts.netloc or len(path) != 4 or not all(path[1:]):
        raise ValueError("it must be postgres://host:port/database/folder/file")
    _, database, folder, key = path
    settings = {"host": parts.hostname, "port": parts.port or PORT, "database": database, "folder": folder}
    return Location(settings, key, parse_qs(parts.query).get("versionId", [None])[0])
