"""`[bounces]`: where the notices of messages that came back lie."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from msgrun.config.sections import EnvironmentName, Seconds, Section, Text, Whole, one_password


class ImapConfig(Section):
    """`[bounces.imap]`: a folder on an IMAP server; the password itself is never written here.

    Attributes:
        port: without, 993 with "tls", else 143.
        security: "tls", "starttls" or "none"; never guessed.
        password_env: the environment variable, `password_file` the file, `keyring` the service
            of the system's keyring, that holds the password; or, for XOAUTH2, `token_command`
            and `token_file` as of a server; at most one of them all.
        timeout: seconds to wait for an answer.
    """

    host: Text = Field(description='give one, as in host = "imap.example.com"')
    port: Annotated[Whole, Field(ge=1, le=65535)] | None = None
    security: Literal["tls", "starttls", "none"] = "tls"
    username: Text = Field(description='give one, as in username = "bounces@example.com"')
    password_env: EnvironmentName | None = None
    password_file: Text | None = None
    keyring: Text | None = None
    token_command: Annotated[tuple[Text, ...], Field(min_length=1)] | None = None
    token_file: Text | None = None
    folder: Text = "INBOX"
    timeout: Seconds = 30

    @model_validator(mode="after")
    def _one_password(self) -> Self:
        one_password(self)
        return self


class BouncesConfig(Section):
    """`[bounces]`: the mailboxes that `msgrun bounces` reads when it is given none.

    Attributes:
        maildir: the folder of a Maildir.
        mbox: a file.
    """

    maildir: Text | None = None
    mbox: Text | None = None
    imap: ImapConfig | None = None
