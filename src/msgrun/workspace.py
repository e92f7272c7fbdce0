"""One opened configuration with its database and source, and what a definition means in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection

from msgrun.compose.gathering import gather_templates
from msgrun.config import Config, DefinitionConfig, ImapConfig, SenderConfig, ServerConfig
from msgrun.database import Database
from msgrun.eligibility import Criteria
from msgrun.errors import ComposeError, NotFoundError, PreflightError, UsageError
from msgrun.ledger.rows import Frozen
from msgrun.model import Address, Selection
from msgrun.ratelimit import interval
from msgrun.selection import parse_period
from msgrun.source import Source
from msgrun.suggest import did_you_mean, distance, nearest, plain

if TYPE_CHECKING:  # composing and SMTP are slow to import, and most commands only look
    from msgrun.compose.message import Recipe
    from msgrun.compose.render import Renderer
    from msgrun.ledger.journal import Journals
    from msgrun.transport.base import TransportFactory
    from msgrun.transport.server import ServerSettings
    from msgrun.transport.tokens import TokenSource

_COMPARED: Final = 10_000  # customers compared with a mistyped code
_RESEMBLING: Final = 2_000  # found by the database among more than those
_SLIP: Final = 2  # letters to insert, drop or exchange: two neighbours swapped are two
_NEAR: Final = 5  # customers named instead


@dataclass(frozen=True, slots=True)
class Revision:
    """One frozen definition, ready to compose with.

    Attributes:
        recipe: sender, reply address, blind copies, documents.
        renderer: the compiled templates.
        key: the address key that the definition uses.
        transformations: the documents that it attaches.
    """

    recipe: "Recipe"
    renderer: "Renderer"
    key: str
    transformations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Workspace:
    """Configuration, database and source, opened together."""

    config: Config
    database: Database
    source: Source

    @classmethod
    def of(cls, config: Config) -> "Workspace":
        """Build it; nothing is opened or made yet (see `Database.ensure`)."""
        database = Database(config.database_url(), config.attach_paths())
        root = config.resolve(config.source.documents_root)
        return cls(config, database, Source(database, config.source.relations, root))

    @property
    def journals(self) -> "Journals":
        """Where this host keeps answers that the database cannot take."""
        from msgrun.ledger.journal import Journals

        return Journals.of(self.database, self.config.path.parent)

    def freeze(self, name: str) -> Frozen:
        """Return a definition with its templates and all that they refer to, as they are today.

        Raises:
            NotFoundError: no such definition, or it is disabled.
            ConfigError: a template file cannot be read.
        """
        definition = self.config.definition(name)
        templates = gather_templates(self.config, name)
        return Frozen(name, definition.model_dump(mode="json"), templates)

    def definition_of(self, frozen: Frozen) -> DefinitionConfig:
        """Return a frozen definition as settings again."""
        return DefinitionConfig.model_validate(frozen.definition)

    def selection(
        self,
        definition: DefinitionConfig,
        *,
        today: date,
        cluster: str | None = None,
        children: bool = True,
        period: str | None = None,
        customers: Sequence[str] = (),
        limit: int | None = None,
        redirect_to: str | None = None,
        bcc: Sequence[str] = (),
        resend: bool = False,
    ) -> Selection:
        """Return what a run is asked to cover, the definition's usual cluster and period filled in.

        Raises:
            UsageError: there is no period, and no customer either; or a period that is none.
            NotFoundError: no such cluster or customer.
        """
        wanted = period or definition.period
        if wanted is None and not customers:
            raise UsageError(
                "which period? The definition has no usual one",
                "give --period 2026-10, previous-month or all; or --customer",
            )
        selection = Selection(
            cluster=cluster or definition.cluster,
            children=children,
            period=parse_period(wanted, today) if wanted else None,
            customers=tuple(customers),
            limit=limit,
            redirect_to=redirect_to,
            bcc=tuple(bcc),
            resend=resend,
        )
        self._check_names(selection)
        return selection

    def _check_names(self, selection: Selection) -> None:
        with self.database.read(attach=True) as connection, connection.begin():
            if selection.cluster is not None:
                clusters = self.source.cluster_names(connection)
                if selection.cluster not in clusters:
                    raise NotFoundError(
                        f"there is no cluster '{selection.cluster}'",
                        did_you_mean(selection.cluster, clusters),
                    )
            for code in selection.customers:
                found = self.source.find_customers(connection, code)
                if code not in {customer.code for customer in found}:
                    near = [(each.code, each.name) for each in found[:_NEAR]]
                    near = near or self.near_customers(connection, code, _NEAR)
                    named = ", ".join(f"{near_code} {name}" for near_code, name in near)
                    raise NotFoundError(
                        f"there is no customer '{code}' (MR101)",
                        f"did you mean {named}?" if named else "`msgrun doctor` searches by name",
                    )

    def near_customers(
        self, connection: Connection, text: str, count: int
    ) -> list[tuple[str, str]]:
        """Return code and name of the customers that a mistyped code or name may mean.

        First those whose name holds the text but for accents, then those that resemble it. Of very
        many customers only the first are compared with; for them the database looks, too.
        """
        known = self.source.customer_codes(connection, limit=_COMPARED)
        close: list[tuple[str, str]] = []
        if len(known) == _COMPARED:
            found = self.source.resembling(connection, text, limit=_RESEMBLING)
            close = sorted(found, key=lambda pair: (distance(text, pair[0]), pair))[:count]
            known += found
        holding = [pair for pair in known if plain(text) in plain(pair[1])]
        by_word = {word: pair for pair in known for word in (*pair, *pair[1].split())}
        like = [by_word[word] for word in nearest(text, by_word, count)]
        near = [pair for pair in close if distance(text, pair[0]) <= _SLIP]
        return list(dict.fromkeys(near + holding + like))[:count]

    def criteria(
        self,
        frozen: Frozen,
        selection: Selection,
        own_run: int | None = None,
        *,
        guarded: bool = True,
    ) -> Criteria:
        """Return what the rules are asked about."""
        definition = frozen.definition
        return Criteria(
            definition=frozen.name,
            recipient_key=definition["recipient_key"],
            statuses=tuple(definition["statuses"]),
            documents=tuple(definition["documents"]),
            password_key=definition["password_key"],
            selection=selection,
            own_run=own_run,
            guarded=guarded,
        )

    def sender_of(self, frozen: Frozen) -> SenderConfig:
        """Return who a definition's messages are from, as configured today.

        Raises:
            PreflightError: the from key is unknown (MR202).
        """
        key = frozen.definition["from_key"]
        if key not in self.config.senders:
            raise PreflightError(
                f"definition '{frozen.name}' is from '{key}', which is no sender (MR202)",
                did_you_mean(key, self.config.senders) or "add a [senders.…] table",
            )
        return self.config.senders[key]

    def server_of(self, frozen: Frozen) -> tuple[str, ServerConfig]:
        """Return name and settings of the server that a definition's messages leave by.

        Raises:
            PreflightError: it is not configured (MR601).
        """
        name = self.sender_of(frozen).server
        server = self.config.servers.get(name)
        if server is None or not server.host or server.port is None:
            missing = "is not configured" if server is None else "has no host or no port"
            raise PreflightError(
                f"server '{name}' {missing} (MR601)", f"set [servers.{name}] in {self.config.path}"
            )
        return name, server

    def server_settings(self, name: str) -> "ServerSettings":
        """Return how to reach a configured server, its password read now.

        Raises:
            ConfigError: the password cannot be read.
        """
        from msgrun.transport.server import ServerSettings

        server = self.config.servers[name]
        return ServerSettings(
            name=name,
            host=server.host,
            port=server.port or 0,
            security=server.security,
            username=server.username or None,
            password=self.config.password(name),
            connections=server.connections,
            messages_per_connection=server.messages_per_connection,
            timeout=server.timeout,
            dot_timeout=server.dot_timeout,
            ca_file=self.config.resolve(server.ca_file) if server.ca_file else None,
            verify=server.verify,
            ehlo=server.ehlo or None,
            tokens=self.tokens_of(server),
        )

    def tokens_of(self, server: ServerConfig | ImapConfig) -> "TokenSource | None":
        """Return what gives the access tokens of a server; None where it takes a password."""
        from msgrun.transport.tokens import TokenSource

        if server.token_command is None and server.token_file is None:
            return None
        file = self.config.resolve(server.token_file) if server.token_file else None
        return TokenSource(server.token_command or (), file, self.config.root)

    def transport_of(self, frozen: Frozen, selection: Selection) -> "TransportFactory":
        """Return what opens one connection to the definition's server."""
        from msgrun.compose.mime import mailbox
        from msgrun.transport.smtp import SmtpTransport

        name, _ = self.server_of(frozen)
        settings = self.server_settings(name)
        redirect = selection.redirect_to
        # As in the message: the domain in ASCII, or a server without SMTPUTF8 takes nothing.
        redirect_to = mailbox(Address(redirect)).address if redirect else None
        return lambda: SmtpTransport(settings, redirect_to=redirect_to)

    def interval_of(self, frozen: Frozen) -> timedelta:
        """Return the time between two messages under the server's rate; zero for no limit."""
        return interval(self.server_of(frozen)[1].rate_per_minute)

    def revision(self, frozen: Frozen, selection: Selection) -> Revision:
        """Return a frozen definition ready to compose with.

        Raises:
            PreflightError: from key unknown (MR202), or a template does not compile (MR301).
        """
        from msgrun.compose.message import Recipe
        from msgrun.compose.render import Renderer, TemplateSources

        sender, definition = self.sender_of(frozen), frozen.definition
        try:
            renderer = Renderer(TemplateSources.of(frozen.templates, definition))
        except ComposeError as error:
            raise PreflightError(f"{error.message} ({error.finding})", error.hint) from error
        period = selection.period
        recipe = Recipe(
            sender_address=sender.address,
            sender_name=sender.name,
            reply_to=sender.reply_to or None,
            bcc=(*definition["bcc"], *selection.bcc),
            documents=tuple(definition["documents"]),
            documents_root=self.source.documents_root,
            redirect_to=selection.redirect_to,
            definition=frozen.name,
            period=period.label if period else "",
            archive=definition["zip"],
            password_key=definition["password_key"],
        )
        return Revision(
            recipe, renderer, definition["recipient_key"], tuple(definition["documents"])
        )


def message_id_domain(sender: SenderConfig) -> str:
    """Return the right side of Message-IDs: the domain that messages are from."""
    domain = sender.address.rpartition("@")[2]
    return domain.encode("idna").decode("ascii") if domain else "localhost"
