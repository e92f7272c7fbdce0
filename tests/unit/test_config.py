"""What msgrun.toml may say, where it is looked for, and what the environment changes."""

import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import ModuleType

import pytest

from msgrun.config import Config, DefinitionConfig, load_config, load_templates
from msgrun.errors import ConfigError, ExitCode, NotFoundError

EXAMPLE = """\
[database]
url = "sqlite:///billing.db"

[source]
documents_root = "documents"
attach = { billing = "chinook.sqlite" }
customers = "SELECT CustomerId AS code FROM billing.Customer"
addresses = "SELECT CustomerId AS customer, 'invoice' AS key, Email AS address FROM customer"
invoices = "SELECT InvoiceId AS id, CustomerId AS customer FROM billing.Invoice"

[servers.default]
host = "smtp.example.com"
port = 587
security = "starttls"
username = "billing"
password_env = "SMTP_PASSWORD"
rate_per_minute = 600
connections = 10
messages_per_connection = 100
timeout = 30

[senders.billing]
address = "billing@example.com"
name = "Acme Billing"
reply_to = "support@example.com"
server = "default"

[definitions.monthly]
from_key = "billing"
recipient_key = "invoice"
statuses = ["Approved"]
subject = "Invoice {{ invoice.number }}"
text = "templates/monthly.txt"
html = "templates/monthly.html"
documents = ["pdf"]
collate = false
cluster = "All Customers"
period = "previous-month"
zip = false
password_key = ""
bcc = []

[schedules.monthly]
definition = "monthly"
cron = "0 7 1 * *"
timezone = "Europe/Amsterdam"
cluster = "All Customers"
period = "previous-month"
missed = "run"
"""
MINIMAL = """\
[database]
url = "sqlite:///billing.db"
[servers.default]
security = "none"
[senders.billing]
address = "billing@example.com"
[definitions.monthly]
from_key = "billing"
recipient_key = "invoice"
subject_file = "subject.txt"
text = "monthly.txt"
"""
Load = Callable[..., Config]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def write_and_load(text: str = MINIMAL, **environ: str) -> Config:
        file = tmp_path / "msgrun.toml"
        file.write_text(text, encoding="utf-8")
        return load_config(file, environ=environ)

    return write_and_load


def test_the_documented_example_is_valid(load: Load, tmp_path: Path) -> None:
    config = load(EXAMPLE)

    assert config.root == tmp_path
    assert config.path == tmp_path / "msgrun.toml"
    assert config.servers["default"].connections == 10
    assert config.definitions["monthly"].documents == ("pdf",)
    assert config.schedules["monthly"].missed == "run"
    assert sorted(config.source.relations) == ["addresses", "customers", "invoices"]
    assert config.problems() == []


def test_what_is_left_out_has_the_documented_default(load: Load) -> None:
    config = load()

    server, sender = config.servers["default"], config.senders["billing"]
    definition = config.definitions["monthly"]
    assert (config.source.documents_root, config.source.attach) == (".", {})
    assert config.source.relations == {}
    assert (server.host, server.port, server.username, server.ehlo) == ("", None, "", "")
    assert (server.rate_per_minute, server.connections, server.messages_per_connection) == (
        0,
        2,
        100,
    )
    assert (server.timeout, server.dot_timeout, server.ca_file, server.verify) == (
        30,
        600,
        None,
        True,
    )
    assert (sender.name, sender.reply_to, sender.server) == ("", "", "default")
    assert (definition.statuses, definition.documents, definition.bcc) == (("Approved",), (), ())
    assert (definition.collate, definition.enabled) == (False, True)
    assert (definition.cluster, definition.period) == (None, None)
    assert definition.deadline_delta == timedelta(hours=24)


@pytest.mark.parametrize(
    ("text", "delta"),
    [
        ("90m", timedelta(minutes=90)),
        ("24h", timedelta(hours=24)),
        ("3d", timedelta(days=3)),
        ("9999d", timedelta(days=9999)),
    ],
)
def test_a_deadline_is_minutes_hours_or_days(load: Load, text: str, delta: timedelta) -> None:
    config = load(MINIMAL + f'deadline = "{text}"\n')

    assert config.definitions["monthly"].deadline_delta == delta


def test_a_definition_survives_being_stored_as_json(load: Load) -> None:
    definition = load(EXAMPLE).definitions["monthly"]

    assert DefinitionConfig.model_validate_json(definition.model_dump_json()) == definition


# Where the file is


def test_the_file_is_found_upwards_from_the_working_directory(tmp_path: Path) -> None:
    (tmp_path / "msgrun.toml").write_text(MINIMAL)
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)

    assert load_config(cwd=below, environ={}).path == tmp_path / "msgrun.toml"


def test_the_argument_wins_over_the_variable_and_that_over_the_search(tmp_path: Path) -> None:
    for name in ("msgrun.toml", "second.toml", "third.toml"):
        (tmp_path / name).write_text(MINIMAL)
    environ = {"MSGRUN_CONFIG": "second.toml"}

    assert load_config(cwd=tmp_path, environ={}).path.name == "msgrun.toml"
    assert load_config(cwd=tmp_path, environ=environ).path == tmp_path / "second.toml"
    assert load_config(Path("third.toml"), cwd=tmp_path, environ=environ).path.name == "third.toml"


def test_without_a_file_the_error_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(cwd=tmp_path, environ={})

    assert str(tmp_path) in caught.value.message
    assert "msgrun init" in caught.value.hint
    assert "msgrun demo" in caught.value.hint
    assert caught.value.exit_code == ExitCode.USAGE


def test_a_named_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.toml: the configuration cannot be read"):
        load_config(cwd=tmp_path, environ={"MSGRUN_CONFIG": "absent.toml"})


def test_a_file_that_is_not_utf8_is_refused_without_showing_it(tmp_path: Path) -> None:
    (tmp_path / "msgrun.toml").write_bytes(b'[database]\nurl = "\xff"\n')

    with pytest.raises(ConfigError, match=r"is not UTF-8 text \(byte 18\)"):
        load_config(cwd=tmp_path, environ={})


# Paths and the database's URL


def test_relative_paths_are_beside_the_file(load: Load, tmp_path: Path) -> None:
    config = load(EXAMPLE)

    assert config.resolve("documents") == tmp_path / "documents"
    assert config.resolve("/srv/documents") == Path("/srv/documents")
    assert config.attach_paths() == {"billing": tmp_path / "chinook.sqlite"}
    assert config.database_url() == f"sqlite:///{tmp_path}/billing.db"


def test_an_absolute_sqlite_path_stays(load: Load) -> None:
    config = load(MINIMAL.replace("sqlite:///billing.db", "sqlite:////srv/billing.db"))

    assert config.database_url() == "sqlite:////srv/billing.db"


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_postgresql_always_means_psycopg_3(load: Load, scheme: str) -> None:
    config = load(MINIMAL.replace("sqlite:///billing.db", f"{scheme}://me:pw@db/billing?a=b"))

    assert config.database_url() == "postgresql+psycopg://me:pw@db/billing?a=b"


def test_a_folder_name_that_sqlalchemy_would_misread_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "100%25"
    folder.mkdir()
    (folder / "msgrun.toml").write_text(MINIMAL)

    with pytest.raises(ConfigError, match=r"database\.url: must name a file without '\?' and '%'"):
        load_config(cwd=folder, environ={})


# Overrides


def test_a_variable_overrides_a_setting(load: Load) -> None:
    config = load(
        EXAMPLE,
        MSGRUN_DATABASE__URL="sqlite:///other.db",
        MSGRUN_SERVERS__DEFAULT__HOST="mail.example.com",
        msgrun_servers__default__port="2525",
        MSGRUN_SERVERS__DEFAULT__VERIFY="false",
        MSGRUN_DEFINITIONS__MONTHLY__STATUSES='["Approved", "Closed"]',
        MSGRUN_SOURCE__ATTACH__BILLING="other.sqlite",
        MSGRUN_DEFINITIONS__MONTHLY__CLUSTER="7",
    )

    server, definition = config.servers["default"], config.definitions["monthly"]
    assert config.database_url().endswith("/other.db")
    assert (server.host, server.port, server.verify) == ("mail.example.com", 2525, False)
    assert server.username == "billing"
    assert (definition.statuses, definition.cluster) == (("Approved", "Closed"), "7")
    assert config.attach_paths()["billing"].name == "other.sqlite"


def test_a_variable_finds_a_name_whatever_its_case(load: Load) -> None:
    config = load(MINIMAL.replace("monthly", "Monthly"), MSGRUN_DEFINITIONS__MONTHLY__COLLATE="yes")

    assert list(config.definitions) == ["Monthly"]
    assert config.definitions["Monthly"].collate is True


def test_a_whole_table_may_come_from_the_environment(load: Load) -> None:
    config = load(
        MINIMAL,
        MSGRUN_SERVERS__RELAY__HOST="relay.example.com",
        MSGRUN_SERVERS__RELAY__SECURITY="tls",
        MSGRUN_SENDERS='{"Dunning": {"address": "dunning@example.com", "server": "relay"}}',
    )

    assert config.servers["relay"].host == "relay.example.com"
    assert sorted(config.senders) == ["Dunning", "billing"]


def test_a_bad_value_from_the_environment_names_its_variable(load: Load) -> None:
    with pytest.raises(ConfigError) as caught:
        load(
            MINIMAL,
            MSGRUN_SERVERS__DEFAULT__PORT="many",
            MSGRUN_SERVERS__DEFALT__HOST="mail.example.com",
        )

    assert caught.value.message.splitlines() == [
        'MSGRUN_SERVERS__DEFAULT__PORT: servers.default.port = "many": must be a whole number',
        (
            "MSGRUN_SERVERS__DEFALT__HOST: servers.defalt.security: missing; "
            "must be 'starttls', 'tls' or 'none'; it is never guessed"
        ),
    ]


def test_a_variable_that_is_no_setting_is_an_error_with_the_nearest_one(load: Load) -> None:
    with pytest.raises(ConfigError) as caught:
        load(
            MINIMAL,
            MSGRUN_DATABASE_URL="sqlite:///x.db",
            MSGRUN_SERVERS__DEFAULT__HOTS="x",
            MSGRUN_SERVERS__DEFAULT__PORT__NUMBER="1",
        )

    assert caught.value.message.splitlines() == [
        "MSGRUN_DATABASE_URL: no setting has this name; did you mean 'MSGRUN_DATABASE__URL'?",
        (
            "MSGRUN_SERVERS__DEFAULT__HOTS: no setting has this name; "
            "did you mean 'MSGRUN_SERVERS__DEFAULT__HOST'?"
        ),
        (
            "MSGRUN_SERVERS__DEFAULT__PORT__NUMBER: no setting has this name; "
            "did you mean 'MSGRUN_SERVERS__DEFAULT__PORT'?"
        ),
    ]


def test_a_list_in_a_variable_must_be_json(load: Load) -> None:
    with pytest.raises(ConfigError, match=r"MSGRUN_DEFINITIONS__MONTHLY__BCC: must be JSON"):
        load(MINIMAL, MSGRUN_DEFINITIONS__MONTHLY__BCC="a@example.com")


def test_variables_that_are_not_meant_as_settings_are_left_alone(load: Load) -> None:
    config = load(
        MINIMAL.replace('"none"', '"none"\npassword_env = "MSGRUN_SMTP_PASSWORD"'),
        MSGRUN_CONFIG="elsewhere.toml",
        MSGRUN_DEBUG="1",
        MSGRUN_FAILPOINT="before_dot",
        MSGRUN_FAILPOINTS_DIR="x",
        MSGRUN_SMTP_PASSWORD="hunter2",
        MSGRUNNER="x",
        HOME="x",
    )

    password = config.password("default")
    assert password is not None
    assert password.get_secret_value() == "hunter2"


def test_a_variable_may_name_the_one_that_holds_the_password(load: Load) -> None:
    config = load(
        MINIMAL,
        MSGRUN_SERVERS__DEFAULT__PASSWORD_ENV="MSGRUN_SMTP_PASSWORD",
        MSGRUN_SMTP_PASSWORD="hunter2",
    )

    password = config.password("default")
    assert password is not None
    assert password.get_secret_value() == "hunter2"


# Passwords


def test_a_password_is_read_from_the_environment_when_it_is_asked_for(load: Load) -> None:
    config = load(EXAMPLE, SMTP_PASSWORD="hunter2")

    password = config.password("default")

    assert password is not None
    assert password.get_secret_value() == "hunter2"


def test_a_password_is_read_from_a_file_beside_the_configuration(
    load: Load, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text(" hunter2 \n", encoding="utf-8")
    config = load(
        EXAMPLE.replace("password_env", "password_file").replace("SMTP_PASSWORD", "secret")
    )

    password = config.password("default")

    assert password is not None
    assert password.get_secret_value() == " hunter2 "


def test_a_password_is_read_from_the_keyring(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    keyring, errors = ModuleType("keyring"), ModuleType("keyring.errors")
    keyring.get_password = lambda service, user: f"{service}/{user}"  # type: ignore[attr-defined]
    errors.KeyringError = RuntimeError  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "keyring", keyring)
    monkeypatch.setitem(sys.modules, "keyring.errors", errors)
    config = load(EXAMPLE.replace('password_env = "SMTP_PASSWORD"', 'keyring = "smtp"'))

    password = config.password("default")

    assert password is not None
    assert password.get_secret_value() == "smtp/billing"


def test_a_missing_keyring_package_is_an_error_that_names_the_extra(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    config = load(EXAMPLE.replace('password_env = "SMTP_PASSWORD"', 'keyring = "smtp"'))

    with pytest.raises(ConfigError, match=r"servers\.default\.keyring") as caught:
        config.password("default")

    assert "msgrun[keyring]" in caught.value.hint


def test_a_server_without_a_password_has_none(load: Load) -> None:
    assert load().password("default") is None


@pytest.mark.parametrize("environ", [{}, {"SMTP_PASSWORD": ""}])
def test_a_password_variable_without_a_value_is_named(load: Load, environ: dict[str, str]) -> None:
    config = load(EXAMPLE, **environ)

    with pytest.raises(ConfigError, match="SMTP_PASSWORD") as caught:
        config.password("default")

    assert "MR601" in caught.value.hint


def test_a_password_file_that_cannot_be_read_is_named_without_its_content(
    load: Load, tmp_path: Path
) -> None:
    file = tmp_path / "secret"
    config = load(
        EXAMPLE.replace("password_env", "password_file").replace("SMTP_PASSWORD", "secret")
    )

    with pytest.raises(ConfigError, match=str(file)):
        config.password("default")
    file.write_bytes(b"hunter2\xff")
    with pytest.raises(ConfigError, match="not UTF-8 text") as caught:
        config.password("default")
    assert caught.value.__context__ is None
    file.write_text("\n")
    with pytest.raises(ConfigError, match="is not set or empty"):
        config.password("default")


def test_the_password_of_an_unknown_server_is_an_error_with_the_nearest_one(load: Load) -> None:
    with pytest.raises(ConfigError, match="there is no server 'defalt'") as caught:
        load().password("defalt")

    assert "did you mean 'default'?" in caught.value.hint


def test_no_secret_is_in_what_a_configuration_shows_of_itself(load: Load) -> None:
    url = "postgresql://me:canary@db/billing"
    config = load(
        EXAMPLE.replace("sqlite:///billing.db", url).replace("attach =", "# attach ="),
        SMTP_PASSWORD="canary",
    )
    password = config.password("default")

    shown = [repr(config), str(config), str(config.model_dump()), config.model_dump_json()]
    shown += [repr(password), repr(vars(config))]
    assert not any("canary" in text for text in shown)


# Definitions and templates


def test_an_unknown_definition_is_not_found_with_the_nearest_one(load: Load) -> None:
    with pytest.raises(NotFoundError, match="'montly'") as caught:
        load().definition("montly")

    assert caught.value.hint == "did you mean 'monthly'?; see MR201"
    assert caught.value.exit_code == ExitCode.NOT_FOUND


def test_a_disabled_definition_is_not_found(load: Load) -> None:
    config = load(MINIMAL + "enabled = false\n")

    with pytest.raises(NotFoundError, match=r"definition 'monthly' is disabled \(MR201\)"):
        config.definition("monthly")


def test_names_that_lead_nowhere_load_and_are_reported_as_problems(load: Load) -> None:
    config = load(
        MINIMAL.replace('from_key = "billing"', 'from_key = "biling"').replace(
            "[servers.default]", "[servers.relay]"
        )
    )

    problems = config.problems()

    assert [(problem.code, problem.key) for problem in problems] == [
        ("MR202", "definitions.monthly.from_key"),
        ("MR601", "senders.billing.server"),
    ]
    assert problems[0].hint == "did you mean 'billing'?"
    assert problems[1].hint == "known: relay"


def test_templates_are_read_as_they_stand(load: Load, tmp_path: Path) -> None:
    (tmp_path / "subject.txt").write_text("Invoice {{ invoice.number }}\r\n", encoding="utf-8")
    (tmp_path / "monthly.txt").write_text("\ufeffDear {{ name }},\n", encoding="utf-8")
    config = load()

    templates = load_templates(config, "monthly")

    assert templates == {
        "subject": (str(tmp_path / "subject.txt"), "Invoice {{ invoice.number }}"),
        "text": (str(tmp_path / "monthly.txt"), "Dear {{ name }},\n"),
    }


def test_a_subject_in_the_configuration_is_a_template_under_its_key(
    load: Load, tmp_path: Path
) -> None:
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "monthly.txt").write_text("text")
    (tmp_path / "templates" / "monthly.html").write_text("<p>html</p>")

    templates = load_templates(load(EXAMPLE), "monthly")

    assert list(templates) == ["subject", "text", "html"]
    assert templates["subject"] == ("definitions.monthly.subject", "Invoice {{ invoice.number }}")


def test_every_missing_template_is_named_with_its_definition(load: Load, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_templates(load(), "monthly")

    subject, text = caught.value.message.splitlines()
    assert str(tmp_path / "subject.txt") in subject
    assert str(tmp_path / "monthly.txt") in text
    assert "definition 'monthly'" in text


def test_without_overrides_pydantic_settings_is_not_imported(tmp_path: Path) -> None:
    (tmp_path / "msgrun.toml").write_text(MINIMAL)
    code = (
        "import sys, pathlib; from msgrun.config import load_config; "
        "load_config(cwd=pathlib.Path(sys.argv[1]), environ={}); "
        "print('pydantic_settings' in sys.modules)"
    )

    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("further", "told"),
    [
        ('token_command = ["get-token"]\nsecurity = "starttls"\n', "wants a username"),
        ('token_file = "t"\nusername = "u"\nsecurity = "none"\n', "never in clear"),
        (
            'token_file = "t"\npassword_env = "P"\nusername = "u"\nsecurity = "tls"\n',
            "has password_env and token_file",
        ),
        ('token_command = []\nusername = "u"\nsecurity = "tls"\n', "token_command"),
    ],
)
def test_a_token_wants_a_mailbox_and_tls(load: Load, further: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        load(f'[database]\nurl = "sqlite:///a.db"\n[servers.default]\nhost = "h"\n{further}')
