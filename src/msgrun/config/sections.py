"""The sections of `msgrun.toml`: their keys, defaults, and the rules within one section."""

import re
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    IPvAnyAddress,
    SecretStr,
    StringConstraints,
    model_validator,
)

from msgrun.errors import UsageError
from msgrun.selection import parse_period

_POSTGRESQL: Final = ("postgresql", "postgres", "postgresql+psycopg")
_SQLITE: Final = ("sqlite", "sqlite+pysqlite")
_RELATIONS: Final = ("customers", "addresses", "clusters", "invoices", "documents")
_NEEDED: Final = ("customers", "addresses", "invoices")
_DEADLINE: Final = re.compile(r"([1-9][0-9]{0,3})(m|h|d)")
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days"}
_PASSWORD_OPTION: Final = re.compile(r"[?&][^=&]*password[^=&]*=", re.IGNORECASE)
_HOST: Final = re.compile(r"(?:\[[^\]]*\]|[^/?:]*)(?::[0-9]*)?(?:[/?]|$)")
_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8})*")
_META_KEY: Final = re.compile(r"[\w.-]+")
_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def absolute_url(url: str, root: Path) -> str:
    """Return a database URL for SQLAlchemy: SQLite files beside `root`, PostgreSQL by psycopg 3.

    Raises:
        ValueError: the database is of another kind, or the SQLite file has no usable name.
    """
    scheme, _, rest = url.partition("://")
    if scheme in _POSTGRESQL and rest:
        _check_postgresql(rest)
        return f"postgresql+psycopg://{rest}"
    if scheme not in _SQLITE:
        raise ValueError('must begin with "sqlite:///" or "postgresql://"')
    if not rest.startswith("/") or rest in ("/", "/:memory:"):
        raise ValueError('must name a file, as in "sqlite:///billing.db"')
    path = (root / rest[1:]).as_posix()
    if "?" in path or "%" in path:
        # SQLAlchemy 2.0 and 2.1 read these two signs differently: they would open two files.
        raise ValueError(f"must name a file without '?' and '%' in its path, not {path!r}")
    return f"sqlite:///{path}"


def _check_postgresql(rest: str) -> None:
    """Refuse what would be read otherwise than it is meant: part of a password could be shown."""
    if rest.count("@") > 1:
        raise ValueError("must have '@' written as %40 in user name and password")
    if _PASSWORD_OPTION.search(rest):
        raise ValueError('must have its password before the host, as in "user:password@host/name"')
    if not _HOST.match(rest.rpartition("@")[2]):
        raise ValueError("must have a number as its port")


def _database_url(url: SecretStr) -> SecretStr:
    absolute_url(url.get_secret_value(), Path())
    return url


def _not_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return value


def _period(text: str) -> str:
    try:
        parse_period(text, date(2000, 1, 1))
    except UsageError as exc:
        raise ValueError(f"{exc.hint}; {exc.message}") from None
    return text


def _span(text: str) -> str:
    if not _DEADLINE.fullmatch(text):
        raise ValueError('must be a number of minutes, hours or days, as in "90m", "24h" or "3d"')
    return text


def delta_of(span: str) -> timedelta:
    """Return a time such as "90m" or "3d"."""
    return timedelta(**{_UNITS[span[-1]]: int(span[:-1])})


def _environment_name(name: str) -> str:
    if not _IDENTIFIER.fullmatch(name):
        raise ValueError("must be the name of an environment variable, not the password itself")
    return name


def _schema_names(attach: dict[str, str]) -> dict[str, str]:
    for name in attach:
        if not _IDENTIFIER.fullmatch(name) or name.lower() in ("main", "temp"):
            raise ValueError(f"{name!r} must be a plain SQL name other than main and temp")
    return attach


def _language(tag: str) -> str:
    if tag != "en":
        from babel import Locale, UnknownLocaleError  # slow to import, and seldom needed

        try:
            Locale.parse(tag.replace("_", "-"), sep="-")
        except (UnknownLocaleError, ValueError):
            raise ValueError('must be a language that is known, as in "nl" or "de-AT"') from None
    return tag


def _meta_key(name: str) -> str:
    if name and not _META_KEY.fullmatch(name):
        raise ValueError("must name a field of the customers' meta, in letters, digits, ., - and _")
    return name


def _languages(subjects: dict[str, str]) -> dict[str, str]:
    for tag in subjects:
        if not _LANGUAGE.fullmatch(tag):
            raise ValueError(f'{tag!r} must be a language, as in nl = "…" or "de-AT" = "…"')
    return subjects


Text = Annotated[str, StringConstraints(min_length=1, pattern=r"^[^\x00]*$")]
Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Whole = Annotated[int, BeforeValidator(_not_bool)]
Seconds = Annotated[float, BeforeValidator(_not_bool), Field(gt=0, allow_inf_nan=False)]
PeriodText = Annotated[str, AfterValidator(_period)]
EnvironmentName = Annotated[str, AfterValidator(_environment_name)]
Span = Annotated[str, AfterValidator(_span)]


class Section(BaseModel):
    """A table of `msgrun.toml`: frozen, and every unknown key is an error."""

    # Built when first asked for: the whole configuration needs no section's own validator.
    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, defer_build=True
    )


def one_password(section: Section) -> None:
    """Refuse a section that names several places for one password.

    Raises:
        ValueError: it does.
    """
    names = ("password_env", "password_file", "keyring", "token_command", "token_file")
    given = [name for name in names if getattr(section, name, None) is not None]
    if len(given) > 1:
        raise ValueError(f"wants at most one of {', '.join(names)}; has {' and '.join(given)}")


class DatabaseConfig(Section):
    """`[database]`: where msgrun keeps its ledger; the URL may hold a password."""

    url: Annotated[SecretStr, AfterValidator(_database_url)] = Field(
        description='give one, as in url = "sqlite:///billing.db"'
    )


class SourceConfig(Section):
    """`[source]`: where the billing data comes from; without SELECTs, msgrun's own tables.

    Attributes:
        documents_root: the folder that paths of documents must stay under.
        attach: SQLite files by the schema name that the SELECTs use.
        customers: a SELECT; likewise addresses, clusters, invoices, documents.
    """

    documents_root: Text = "."
    attach: Annotated[dict[str, Text], AfterValidator(_schema_names)] = Field(default_factory=dict)
    customers: Words | None = None
    addresses: Words | None = None
    clusters: Words | None = None
    invoices: Words | None = None
    documents: Words | None = None

    @property
    def relations(self) -> dict[str, str]:
        """The SELECT of each mapped relation; empty when msgrun's own tables are the source."""
        return {name: sql for name in _RELATIONS if (sql := getattr(self, name)) is not None}

    @model_validator(mode="after")
    def _complete(self) -> Self:
        missing = [name for name in _NEEDED if name not in self.relations]
        if self.relations and missing:
            raise ValueError(
                f"{', '.join(missing)} missing; when any relation is mapped, "
                "customers, addresses and invoices must be"
            )
        return self


class ServerConfig(Section):
    """`[servers.NAME]`: an SMTP server; the password itself is never written here.

    Attributes:
        security: "starttls" (RFC 3207), "tls" (RFC 8314, 3.3) or "none"; never guessed.
        password_env: the environment variable, `password_file` the file, `keyring` the service
            of the system's keyring, that holds the password; or, for XOAUTH2, `token_command`
            program and arguments that print an access token, `token_file` the file that holds
            one; at most one of them all.
        rate_per_minute: messages a minute at most; 0 for no limit.
        timeout: seconds to wait for an answer, `dot_timeout` for the one to the final dot.
        ehlo: the name to greet with (RFC 5321, 4.1.1.1); empty for this host's own.
        outbound_ips: the addresses from which its mail reaches the recipients' servers.
    """

    host: str = ""
    port: Annotated[Whole, Field(ge=1, le=65535)] | None = None
    security: Literal["starttls", "tls", "none"] = Field(
        description="must be 'starttls', 'tls' or 'none'; it is never guessed"
    )
    username: str = ""
    password_env: EnvironmentName | None = None
    password_file: Text | None = None
    keyring: Text | None = None
    token_command: Annotated[tuple[Text, ...], Field(min_length=1)] | None = None
    token_file: Text | None = None
    rate_per_minute: Annotated[Whole, Field(ge=0)] = 0
    connections: Annotated[Whole, Field(ge=1)] = 2
    messages_per_connection: Annotated[Whole, Field(ge=1)] = 100
    timeout: Seconds = 30
    dot_timeout: Seconds = 600
    ca_file: Text | None = None
    verify: bool = True
    ehlo: str = ""
    outbound_ips: tuple[IPvAnyAddress, ...] = ()

    @model_validator(mode="after")
    def _one_password(self) -> Self:
        one_password(self)
        has_token = self.token_command is not None or self.token_file is not None
        if has_token and not self.username:
            raise ValueError("wants a username with a token: the mailbox that it is for")
        if has_token and self.security == "none":
            raise ValueError("wants security = 'starttls' or 'tls' with a token, never in clear")
        return self


class SenderConfig(Section):
    """`[senders.KEY]`: who messages are from; KEY is the "from key" of definitions.

    Attributes:
        dkim_selectors: names under which the signer's keys are published (RFC 6376, 3.1).
        dkim_domain: the domain that signs; empty for the address's own.
    """

    address: Text = Field(description='give one, as in address = "billing@example.com"')
    name: str = ""
    reply_to: str = ""
    server: Text = "default"
    dkim_selectors: tuple[Text, ...] = ()
    dkim_domain: str = ""


class DefinitionConfig(Section):
    """`[definitions.NAME]`: what is sent, from whom, under which address key.

    Attributes:
        from_key: names the sender, `recipient_key` the key of the customers' addresses.
        statuses: the invoice statuses that are sent.
        subject: the template itself, or `subject_file` the file that holds it.
        subjects: the subject in other languages, by tag, e.g. nl = "Factuur {{ invoice.number }}".
        text: the file of the plain text body, `html` of the HTML body; one or both. Files beside
            them are for customers of that language: `monthly.nl.txt` beside `monthly.txt`.
        text_from_html: whether the plain text is derived from the HTML where there is no `text`.
        css: a file of styles that are written into the HTML's elements; `inline_css` says whether
            those of the HTML's own <style> are, too.
        language: how sums, dates and numbers are written for customers without a language.
        documents: transformations that must all exist for an invoice.
        collate: one message for each customer instead of each invoice.
        cluster: the usual selection, like `period`.
        zip: whether all documents go in one archive.
        password_key: the field of the customer's meta that protects them: the archive, else each
            PDF. A customer without a value gets nothing (MR408).
        deadline: how long a deferred message is tried, e.g. "24h"; see `deadline_delta`.
    """

    from_key: Words = Field(description="give the key of a sender")
    recipient_key: Words = Field(description="give the key that customers' addresses have")
    statuses: Annotated[tuple[Text, ...], Field(min_length=1)] = ("Approved",)
    subject: Text | None = None
    subject_file: Text | None = None
    subjects: Annotated[dict[str, Text], AfterValidator(_languages)] = Field(default_factory=dict)
    text: Text | None = None
    html: Text | None = None
    text_from_html: bool = True
    css: Text | None = None
    inline_css: bool = True
    language: Annotated[str, AfterValidator(_language)] = "en"
    documents: tuple[Text, ...] = ()
    collate: bool = False
    cluster: Text | None = None
    period: PeriodText | None = None
    zip: bool = False
    password_key: Annotated[str, AfterValidator(_meta_key)] = ""
    bcc: tuple[Text, ...] = ()
    enabled: bool = True
    deadline: Span = "24h"

    @property
    def deadline_delta(self) -> timedelta:
        """How long a deferred message is tried before it is given up (MR513)."""
        return delta_of(self.deadline)

    @property
    def template_files(self) -> dict[str, str]:
        """The template files by part: `subject` (if it is a file), `text`, `html`."""
        files = {"subject": self.subject_file, "text": self.text, "html": self.html}
        return {part: file for part, file in files.items() if file is not None}

    @model_validator(mode="after")
    def _parts(self) -> Self:
        if (self.subject is None) == (self.subject_file is None):
            has = "neither" if self.subject is None else "both"
            raise ValueError(f"wants exactly one of subject and subject_file; has {has}")
        if self.text is None and self.html is None:
            raise ValueError("wants text, html or both; has neither")
        return self
