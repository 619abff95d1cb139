"""A path or a URL as the description of one database.

No message repeats a part of a URL that could be a password.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote, unquote

from holdfast.errors import ConfigurationError, did_you_mean

if TYPE_CHECKING:
    import sqlalchemy

Scheme = Literal["sqlite", "postgresql", "postgresql+embedded"]
Options = Collection[str] | Mapping[str, Callable[[str], Any]]

SCHEMES: dict[str, Scheme] = {
    "sqlite": "sqlite",
    "sqlite+pysqlite": "sqlite",
    "postgresql": "postgresql",
    "postgres": "postgresql",
    "postgresql+psycopg": "postgresql",
    "postgresql+embedded": "postgresql+embedded",
}
FIELDS = ("host", "port", "user", "password", "dbname")
LIBPQ_OPTIONS = frozenset(
    (  # noqa: SIM905 - as a list it is a page long
        "application_name channel_binding client_encoding connect_timeout fallback_application_name "
        "gssdelegation gssencmode gsslib hostaddr keepalives keepalives_count keepalives_idle "
        "keepalives_interval krbsrvname load_balance_hosts max_protocol_version min_protocol_version "
        "oauth_client_id oauth_client_secret oauth_issuer oauth_scope options passfile replication "
        "require_auth requirepeer scram_client_key scram_server_key service servicefile "
        "ssl_max_protocol_version ssl_min_protocol_version sslcert sslcertmode sslcompression sslcrl "
        "sslcrldir sslkey sslkeylogfile sslmode sslnegotiation sslpassword sslrootcert sslsni "
        "target_session_attrs tcp_user_timeout"
    ).split()
)
SECRETS = frozenset({"oauth_client_secret", "scram_client_key", "scram_server_key", "sslpassword"})
MASK = "***"


def as_flag(value: Any) -> bool:
    """Read a yes or no, of a URL or as an argument.

    >>> as_flag("true"), as_flag("0")
    (True, False)
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("1", "true", "yes", "on"):
        return True
    if isinstance(value, str) and value.lower() in ("0", "false", "no", "off"):
        return False
    raise ValueError("give True or False")


def as_seconds(value: Any) -> float:
    """Read a time to wait."""
    # The most that PostgreSQL takes, in milliseconds.
    if not isinstance(value, bool) and 0 <= float(value) <= (2**31 - 1) / 1000:
        return float(value)
    raise ValueError("give a number of seconds from 0 on")


def as_count(value: Any) -> int:
    """Read a number of connections."""
    if not isinstance(value, bool) and 1 <= int(value) <= 10_000 and int(value) == float(value):
        return int(value)
    raise ValueError("give a whole number from 1 on")


def as_pool(value: Any) -> str:
    """Read how connections are kept."""
    if value in ("thread", "null"):
        return str(value)
    raise ValueError("use 'thread' or 'null'")


def as_overflow(value: Any) -> int:
    """Read a number of further connections, -1 for any number."""
    if not isinstance(value, bool) and -1 <= int(value) <= 10_000 and int(value) == float(value):
        return int(value)
    raise ValueError("give a whole number from 0 on, or -1 for no limit")


def as_durability(value: Any) -> str:
    """Read how safe a commit is."""
    if value in ("full", "normal"):
        return str(value)
    raise ValueError("use 'full' or 'normal'")


def as_page_size(value: Any) -> int:
    """Read the bytes of a page of a SQLite file."""
    if not isinstance(value, bool) and int(value) in {2**power for power in range(9, 17)}:
        return int(value)
    raise ValueError("give a power of two from 512 to 65536")


_OPTIONS: Mapping[str, Callable[[Any], Any]] = {
    "timeout": as_seconds,
    "durability": as_durability,
    "read_only": as_flag,
    "wait_until_ready": as_seconds,
    "pool": as_pool,
    "pool_size": as_count,
    "max_overflow": as_overflow,
    "pool_timeout": as_seconds,
    "slow_log": as_flag,
    "telemetry": as_flag,
}
POSTGRES_OPTIONS: Mapping[str, Callable[[Any], Any]] = {
    **_OPTIONS,
    "reconnect_timeout": as_seconds,
    "statement_timeout": as_seconds,
    "idle_in_transaction": as_seconds,
    "pgbouncer": as_flag,
}
SQLITE_OPTIONS: Mapping[str, Callable[[Any], Any]] = {**_OPTIONS, "page_size": as_page_size}
EXAMPLE = 'for example connect("runs.db"), or HOLDFAST_URL=sqlite:///runs.db in the environment or in .env'
ENCODE_HINT = (
    "percent-encode these characters where they belong to a name or a password: "
    "@ is %40, : is %3A, / is %2F, ? is %3F, # is %23, % is %25"
)


@dataclass(frozen=True, repr=False)
class Target:
    """One database.

    ``path`` is ``None`` for SQLite in memory, ``directory`` is set for an embedded server only, and
    ``options`` holds the query options of the URL and those given as arguments.
    """

    scheme: Scheme
    path: Path | None = None
    directory: Path | None = None
    host: str | None = None
    port: int | str | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    dbname: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def is_memory(self) -> bool:
        return self.scheme == "sqlite" and self.path is None

    @property
    def masked_url(self) -> str:
        """The URL with ``***`` for every secret; fit for logs and messages."""
        query = {
            name: MASK if name in SECRETS else quote(str(value), safe="/,:@ ")
            for name, value in self.options.items()
        }
        if self.scheme == "postgresql":
            text = f"postgresql://{self._masked_authority()}/{quote(self.dbname or '', safe=' ')}"
        elif self.directory is not None:
            text = f"postgresql+embedded:///{quote(str(self.directory), safe='/: ')}"
            query = {**({"dbname": quote(self.dbname, safe=" ")} if self.dbname else {}), **query}
        else:
            text = f"sqlite:///{quote(str(self.path), safe='/: ')}" if self.path else "sqlite://"
        return text + ("?" if query else "") + "&".join(f"{name}={value}" for name, value in query.items())

    @property
    def words(self) -> list[str]:
        """What names it in a command line: nothing if it holds a secret, as the environment has it then.

        Whoever found something only read; what mends it has to write.
        """
        if self.password or not SECRETS.isdisjoint(self.options):
            return []
        options = {name: value for name, value in self.options.items() if name != "read_only"}
        return [str(self.path) if self.path else replace(self, options=options).masked_url]

    def _masked_authority(self) -> str:
        user = quote(self.user or "", safe="") + (f":{MASK}" if self.password else "")
        hosts, ports = (self.host or "").split(","), str(self.port or "").split(",")
        places = [
            (f"[{host}]" if ":" in host else quote(host, safe="")) + (f":{port}" if port else "")
            for host, port in zip_longest(hosts, ports, fillvalue="")
        ]
        return (f"{user}@" if user else "") + ",".join(places)

    def __repr__(self) -> str:
        return f"Target({self.masked_url!r})"

    def conninfo(self) -> dict[str, Any]:
        """The keyword arguments for ``psycopg.connect`` that were named; none of Holdfast's own options.

        An embedded server adds its own ``host``, ``port`` and ``user`` once it runs.
        """
        named = {name: getattr(self, name) for name in FIELDS if getattr(self, name) is not None}
        return named | {name: value for name, value in self.options.items() if name in LIBPQ_OPTIONS}

    def sqlalchemy_url(self) -> sqlalchemy.URL:
        """The same database as a SQLAlchemy URL, without Holdfast's own options."""
        from sqlalchemy import URL

        if self.scheme == "sqlite":
            return URL.create("sqlite+pysqlite", database=str(self.path) if self.path else None)
        query = {name: str(value) for name, value in self.conninfo().items() if name in LIBPQ_OPTIONS}
        host, port = self.host, self.port
        if host is not None and (host.startswith("/") or "," in host):
            query |= {"host": host} | ({"port": str(port)} if port else {})
            host = port = None
        return URL.create(
            "postgresql+psycopg",
            username=self.user,
            password=self.password,
            host=host,
            port=int(port) if port else None,
            database=self.dbname,
            query=query,
        )


def checked(name: str, value: Any) -> Any:
    """A field of a PostgreSQL connection, if it can be one."""
    if name == "port":
        if (
            isinstance(value, bool)
            or not re.fullmatch("[0-9]{1,5}", str(value))
            or not 0 < int(value) < 65536
        ):
            raise ConfigurationError(
                "the port is not a number from 1 to 65535", hint="PostgreSQL's usual port is 5432"
            )
        return int(value)
    if not isinstance(value, str):
        raise ConfigurationError(f"{name} must be text, not {type(value).__name__}")
    if "\0" in value:
        raise ConfigurationError(f"{name} holds a NUL character")
    return value


def known_options(kind: str, allowed: Mapping[str, Options]) -> set[str]:
    return {*allowed[kind], *(LIBPQ_OPTIONS if kind == "postgresql" else ())}


def path_of(path: object) -> Path:
    """The path of a file or a folder, as it was given.

    Raises:
        ConfigurationError: if it is none.
    """
    return Path(_text(path, "the path of a file", "the path of a file"))


def _text(given: object, kind: str, name: str, hint: str | None = None) -> str:
    text = os.fspath(given) if isinstance(given, (str, os.PathLike)) else None
    if not isinstance(text, str):
        raise ConfigurationError(f"{kind} is text or a Path, not {type(given).__name__}")
    if not text or "\0" in text:
        raise ConfigurationError(f"{name} is empty or holds a NUL character", hint=hint)
    return text


def read(url: str | os.PathLike[str], allowed: Mapping[str, Options]) -> Target:
    """Take a path or a URL apart; a ``Path`` is never a URL. ``allowed``: the options of either engine."""
    text = _text(url, "a path or a URL", "the path of the database", EXAMPLE)
    if isinstance(url, os.PathLike):
        return Target("sqlite", path=_absolute(text))
    if text == ":memory:":
        return Target("sqlite")
    scheme, separator, rest = text.partition("://")
    if separator and re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]+", scheme):
        known = SCHEMES.get(scheme.lower())
        if known is None:
            raise ConfigurationError(
                f"no engine for {scheme}://", hint=did_you_mean(scheme.lower(), SCHEMES, "supported")
            )
        return _READERS[known](rest, allowed)
    _refuse_other_notations(text)
    return Target("sqlite", path=_absolute(text))


def _refuse_other_notations(text: str) -> None:
    """Some texts would make a file of that name, password and all, and can only be a mistake."""
    scheme = text.partition(":")[0].lower()
    if ":" in text and scheme in (*SCHEMES, "file"):
        raise ConfigurationError(
            f"{scheme}: without // is not understood",
            hint="write sqlite:///runs.db, or a path such as ./file:x",
        )
    keys = re.findall(r"(?:^|\s)(\w+)\s*=", text)
    libpq = {*FIELDS, *LIBPQ_OPTIONS}
    if (
        keys
        and set(keys) <= libpq
        and (len(keys) > 1 or keys[0] in ("dbname", "host", "password", "service"))
    ):
        raise ConfigurationError(
            "this looks like a libpq connection string", hint="use a URL, or PostgreSQL(dbname=..., user=...)"
        )


def _absolute(text: str) -> Path:
    """The file as it is meant now: a later ``chdir`` must not open another one."""
    return Path(os.path.abspath(os.path.expanduser(text)))  # noqa: PTH100, PTH111 - keep symbolic links


def _read_sqlite(rest: str, allowed: Mapping[str, Options]) -> Target:
    location, _, query = rest.partition("?")
    if location and not location.startswith("/"):
        raise ConfigurationError(
            "a sqlite URL has three slashes", hint="sqlite:///relative.db or sqlite:////abs.db"
        )
    name = unquote(location[1:])
    _refuse_nul(name)
    path = None if name in ("", ":memory:") else _absolute(name)
    return Target("sqlite", path=path, options=_options(_pairs(query), "sqlite", allowed))


def _read_embedded(rest: str, allowed: Mapping[str, Options]) -> Target:
    location, _, query = rest.partition("?")
    name = unquote(location[1:])
    if not location.startswith("/") or not name:
        raise ConfigurationError(
            "the folder of the embedded server is missing", hint="postgresql+embedded:///./pgdata"
        )
    _refuse_nul(name)
    pairs = _pairs(query)
    dbname = pairs.pop("dbname", "") or None
    options = _options(pairs, "postgresql", allowed)
    return Target("postgresql+embedded", directory=_absolute(name), dbname=dbname, options=options)


def _read_postgres(rest: str, allowed: Mapping[str, Options]) -> Target:
    head, _, query = rest.partition("?")
    userinfo, at, location = head.rpartition("@")
    hosts, slash, dbname = location.partition("/")
    if "@" in userinfo or "/" in userinfo or "#" in head or (":" in head and not at and "@" in query):
        raise ConfigurationError("the URL cannot be taken apart", hint=ENCODE_HINT)
    user, _, password = userinfo.partition(":")
    fields: dict[str, str] = {"user": user, "password": password, "dbname": dbname if slash else ""}
    fields = {name: _decoded(value) for name, value in fields.items()}
    fields["host"], fields["port"] = _hosts(hosts)
    pairs = _pairs(query)
    fields |= {name: pairs.pop(name) for name in FIELDS if name in pairs}
    options = _options(pairs, "postgresql", allowed)
    port = fields.pop("port") or None
    return Target(
        "postgresql",
        host=fields["host"] or None,
        port=checked("port", port) if port and "," not in port else port,
        user=fields["user"] or None,
        password=fields["password"] or None,
        dbname=fields["dbname"] or None,
        options=options,
    )


def _hosts(text: str) -> tuple[str, str]:
    """Hosts and ports as libpq wants them: two lists with commas.

    >>> _hosts("a:1,b:2")
    ('a,b', '1,2')
    """
    hosts: list[str] = []
    ports: list[str] = []
    for one in text.split(","):
        match = re.fullmatch(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::(\d*))?", one)
        if not match:
            raise ConfigurationError("the host and port of the URL cannot be read", hint=ENCODE_HINT)
        hosts.append(_decoded(match[1].strip("[]")))
        ports.append(match[2] or "")
    return ",".join(hosts), ",".join(ports) if any(ports) else ""


def _pairs(query: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for item in filter(None, query.split("&")):
        name, equals, value = item.partition("=")
        if not equals or not re.fullmatch(r"\w+", name):
            raise ConfigurationError("the options after ? are not name=value&name=value", hint=ENCODE_HINT)
        if name in pairs:
            raise ConfigurationError("an option after ? is named twice")
        pairs[name] = _decoded(value)
    return pairs


def _options(pairs: Mapping[str, str], kind: str, allowed: Mapping[str, Options]) -> dict[str, Any]:
    known = sorted(known_options(kind, allowed))
    options: dict[str, Any] = {}
    for name, text in pairs.items():
        if name not in known:
            if any("@" in value for value in pairs.values()):
                raise ConfigurationError("the options after ? are not known ones", hint=ENCODE_HINT)
            raise ConfigurationError(
                f"a {kind} URL has no option {name!r}", hint=did_you_mean(name, known, "options")
            )
        options[name] = read_option(name, text, allowed[kind])
    return options


def read_option(name: str, value: Any, readers: Options) -> Any:
    """The value of one of our own options; those of libpq are left to it."""
    if not isinstance(readers, Mapping) or name not in readers:
        return value
    try:
        return readers[name](value)
    except (TypeError, ValueError, OverflowError) as exc:
        ours = str(exc).startswith(("give ", "use "))
        raise ConfigurationError(
            f"the option {name!r} cannot be understood", hint=str(exc) if ours else "give a number"
        ) from None


def _decoded(text: str) -> str:
    if re.search(r"%(?![0-9A-Fa-f]{2})", text):
        raise ConfigurationError("a % in the URL is not followed by two hexadecimal digits", hint=ENCODE_HINT)
    try:
        decoded = unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise ConfigurationError("the URL is not percent-encoded UTF-8", hint=ENCODE_HINT) from None
    _refuse_nul(decoded)
    return decoded


def _refuse_nul(text: str) -> None:
    if "\0" in text:
        raise ConfigurationError("the URL holds a NUL character")


_READERS: dict[Scheme, Callable[[str, Mapping[str, Options]], Target]] = {
    "sqlite": _read_sqlite,
    "postgresql": _read_postgres,
    "postgresql+embedded": _read_embedded,
}
