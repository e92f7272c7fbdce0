"""`msgrun doctor --headers FILE`: what a received message says of its sender."""

import json
from pathlib import Path

import dkim
import pytest
import typer
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from doctor_world import one
from domain_world import DomainWorld
from msgrun.cli.doctor import doctor
from msgrun.cli.opening import Invocation
from msgrun.deliverability.results import parse_results
from msgrun.doctor import Names, Report, Status, read_sample, sample_report, with_sample
from msgrun.doctor.sample import LARGEST
from msgrun.errors import UsageError

BODY = b"Dear customer,\r\n\r\nyour invoice.\r\n"
FIELDS = (
    b"From: Shop <billing@shop.internal>\r\n"
    b"To: a@acme.internal\r\n"
    b"Subject: Invoice\r\n"
    b"Date: Sun, 01 Nov 2026 07:00:00 +0000\r\n"
    b"Message-ID: <1@shop.internal>\r\n"
)
PLAIN = FIELDS + b"\r\n" + BODY
SPF_PASS = "spf=pass smtp.mailfrom=billing@shop.internal"


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def publish(world: DomainWorld, key: rsa.RSAPrivateKey, selector: str, domain: str) -> None:
    import base64

    der = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    text = f"v=DKIM1; k=rsa; p={base64.b64encode(der).decode()}"
    world.dns.txt(f"{selector}._domainkey.{domain}", text)


def signed(key: rsa.RSAPrivateKey, domain: str = "shop.internal", message: bytes = PLAIN) -> bytes:
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    return dkim.sign(message, b"s1", domain.encode(), pem) + message


def received(message: bytes, *results: str) -> bytes:
    fields = "".join(f"Authentication-Results: {each}\r\n" for each in results)
    return fields.encode() + message


def look(world: DomainWorld, data: bytes, *, offline: bool = False) -> Report:
    file = world.folder / "sample.eml"
    file.write_bytes(data)
    names = Names(world.workspace.config.doctor.nameserver, offline=offline)
    return sample_report(read_sample(file), names)


def found_codes(report: Report) -> list[tuple[str, str]]:
    return [(each.code, each.status.value) for each in report.findings if each.code]


def test_a_signed_sample_from_its_own_domain_is_in_order(
    world: DomainWorld, key: rsa.RSAPrivateKey
) -> None:
    publish(world, key, "s1", "shop.internal")

    report = look(world, received(signed(key), f"mx.acme.internal; {SPF_PASS}; dkim=pass"))

    assert found_codes(report) == []
    assert (report.exit_code, report.verdict) == (
        0, "sample.eml: nothing is wrong with what receivers see of its sender",
    )  # fmt: skip
    told = [" | ".join(each.evidence) for each in report.findings]
    assert any("Authentication-Results of mx.acme.internal | spf=pass" in each for each in told)
    assert any("SPF and DKIM passed for shop.internal" in each for each in told)


def test_a_changed_body_does_not_verify(world: DomainWorld, key: rsa.RSAPrivateKey) -> None:
    publish(world, key, "s1", "shop.internal")
    changed = signed(key).replace(b"your invoice", b"your INVOICE")

    report = look(world, received(changed, f"mx.acme.internal; {SPF_PASS}"))

    evidence = " | ".join(one(report, "MR823").evidence)
    assert "d=shop.internal s=s1 does not verify: the body is not the one that" in evidence
    assert "v=DKIM1; k=rsa; p=" in evidence
    assert found_codes(report) == [("MR823", "warn")]


def test_a_changed_header_does_not_verify(world: DomainWorld, key: rsa.RSAPrivateKey) -> None:
    publish(world, key, "s1", "shop.internal")
    changed = signed(key).replace(b"Subject: Invoice", b"Subject: Other")

    assert "the header is not the one" in " ".join(one(look(world, changed), "MR823").evidence)


def test_a_key_that_is_gone_is_told(world: DomainWorld, key: rsa.RSAPrivateKey) -> None:
    evidence = " ".join(one(look(world, signed(key)), "MR823").evidence)

    assert "s1._domainkey.shop.internal" in evidence
    assert "NXDOMAIN" in evidence


def test_a_signature_of_another_domain_does_not_speak_for_from(
    world: DomainWorld, key: rsa.RSAPrivateKey
) -> None:
    publish(world, key, "s1", "relay.internal")
    data = received(
        signed(key, "relay.internal"),
        "mx.acme.internal; spf=pass smtp.mailfrom=bounce@relay.internal",
    )

    report = look(world, data)

    assert "d=relay.internal s=s1 verifies" in " ".join(one(report, "MR823").evidence)
    finding = one(report, "MR833")
    assert finding.status is Status.WARN
    assert "spf=pass smtp.mailfrom=bounce@relay.internal" in finding.evidence[0]


def test_p_reject_makes_it_an_error(world: DomainWorld) -> None:
    world.dns.forget("_dmarc.shop.internal", "TXT")
    world.dns.txt("_dmarc.shop.internal", "v=DMARC1; p=reject")

    report = look(
        world, received(PLAIN, "mx.acme.internal; spf=fail smtp.mailfrom=x@evil.internal")
    )

    assert found_codes(report) == [("MR823", "warn"), ("MR833", "fail")]
    assert (report.primary, report.exit_code) == ("MR833", 4)


def test_only_the_topmost_results_count(world: DomainWorld) -> None:
    report = look(
        world,
        received(PLAIN, "mx.acme.internal; spf=none", f"forged.internal; {SPF_PASS}; dkim=pass"),
    )

    assert "MR833" in {each.code for each in report.findings}
    told = " | ".join(line for each in report.findings for line in each.evidence)
    assert "1 older Authentication-Results not counted" in told
    assert "forged.internal" not in told


def test_a_subdomains_bounce_address_is_aligned(world: DomainWorld) -> None:
    results = "mx.acme.internal; spf=pass smtp.mailfrom=bounce.shop.internal"

    assert found_codes(look(world, received(PLAIN, results))) == [("MR823", "warn")]


def test_what_the_receiver_saw_counts_when_the_file_has_changed(
    world: DomainWorld, key: rsa.RSAPrivateKey
) -> None:
    publish(world, key, "s1", "shop.internal")
    changed = signed(key).replace(b"your invoice", b"your INVOICE")

    report = look(world, received(changed, "mx.acme.internal; dkim=pass header.d=shop.internal"))

    assert found_codes(report) == [("MR823", "warn")]
    assert "the file may have changed" in one(report, "MR823").evidence[-1]


def test_without_results_and_signature_alignment_is_not_judged(world: DomainWorld) -> None:
    report = look(world, PLAIN)

    assert found_codes(report) == [("MR823", "warn")]
    assert any("no receiver says what SPF gave" in each.evidence[0] for each in report.findings)


def test_an_unanswered_key_is_unknown(world: DomainWorld, key: rsa.RSAPrivateKey) -> None:
    world.dns.failing.add("s1._domainkey.shop.internal")

    report = look(world, received(signed(key), "mx.acme.internal; spf=fail"))

    assert set(found_codes(report)) == {("MR091", "unknown")}
    assert report.exit_code == 5


def test_offline_only_the_file_is_read(world: DomainWorld, key: rsa.RSAPrivateKey) -> None:
    report = look(world, received(signed(key), f"mx.acme.internal; {SPF_PASS}"), offline=True)

    assert world.dns.asked == []
    assert [each.status for each in report.findings] == [Status.PASS, Status.SKIPPED]


def test_a_sample_of_a_reserved_name_is_not_looked_up(world: DomainWorld) -> None:
    report = look(world, PLAIN.replace(b"shop.internal", b"sender.test"))

    assert world.dns.asked == []
    assert "sender.test is not looked up" in report.findings[-1].evidence[0]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        (b"Subject: x\r\n", "0 From fields"),
        (b"From: a@b.de\r\nFrom: c@d.de\r\n", "2 From fields"),
        (b"From: nobody\r\n", "no domains"),
        (b"From: a@b.de, c@d.de\r\n", "2 domains"),
    ],
)
def test_a_sample_without_one_author_domain_is_told(
    world: DomainWorld, fields: bytes, told: str
) -> None:
    assert told in one(look(world, fields + b"\r\nhello"), "MR833").evidence[0]


def test_with_a_customer_the_sample_stands_beside_the_rest(world: DomainWorld) -> None:
    world.sent(world.run())
    file = world.folder / "sample.eml"
    file.write_bytes(PLAIN)
    names = Names(world.workspace.config.doctor.nameserver, offline=False)

    report = with_sample(world.ask(), read_sample(file), names)

    assert one(report, "MR823").stage == "sender"
    assert "MR823" in {each.code for each in report.cases[0].findings}
    assert (report.primary, report.exit_code) == ("MR508", 0)


def test_files_that_are_no_message_are_usage_errors_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "binary").write_bytes(b"\x00\xff" * 1000)
    with (tmp_path / "huge").open("wb") as huge:
        huge.write(FIELDS)
        huge.truncate(LARGEST + 1)

    for name, told in [("gone", "No such file"), ("folder", "directory"), ("empty", "no header"),
                       ("binary", "no header"), ("huge", "more than 25 MB")]:  # fmt: skip
        with pytest.raises(UsageError, match=told) as caught:
            read_sample(tmp_path / name)
        assert ".eml" in caught.value.hint


def invoke(world: DomainWorld, *arguments: str) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(doctor)
    world.workspace  # noqa: B018 - writes msgrun.toml
    file = world.folder / "msgrun.toml"
    file.write_text(file.read_text() + f'\n[doctor]\nresolver = "{world.dns.address}"\n')
    result = CliRunner().invoke(app, list(arguments), obj=Invocation(config=file))
    return result.exit_code, result.stdout


def test_the_option_works_alone_and_with_a_customer(world: DomainWorld) -> None:
    sample = world.folder / "sample.eml"
    sample.write_bytes(received(PLAIN, f"mx.acme.internal; {SPF_PASS}"))

    code, alone = invoke(world, "--headers", str(sample), "--json")
    _, both = invoke(world, "C1", "--headers", str(sample), "--json", "--offline")

    assert (code, json.loads(alone)["customer"]) == (0, None)
    assert json.loads(alone)["primary"] == "MR823"
    assert json.loads(both)["customer"] == "C1"
    assert "sample.eml" in both


GARBAGE = [
    b"DKIM-Signature: v=1\r\n",
    b"DKIM-Signature: v=1; a=rsa-sha256; d=shop.internal; s=s1; h=from; bh=x; b=x\r\n",
    b"DKIM-Signature: v=1; a=md5; c=x/y/z; d=\xff; s=; h=; l=99999999999; bh=; b=\r\n",
    b"DKIM-Signature: " + b"b=" + b" \t" * 9000 + b"x; d=shop.internal; s=s1\r\n",
    b"DKIM-Signature:\r\n" * 50,
    b"Authentication-Results: ((((((; spf=\r\n",
    b'Authentication-Results: "; spf=pass\r\n',
    b"Authentication-Results: \xff\xfe; spf=pass smtp.mailfrom=\xff\r\n",
    b"From: =?utf-8?q?=FF?= <\xff@\xfe>\r\n",
    b" folded first\r\n",
    b"X: " + b"a" * 300_000 + b"\r\n",
]


@pytest.mark.parametrize("fields", GARBAGE, ids=range(len(GARBAGE)))
def test_garbage_is_judged_without_a_traceback(
    world: DomainWorld, key: rsa.RSAPrivateKey, fields: bytes
) -> None:
    publish(world, key, "s1", "shop.internal")

    report = look(world, fields + PLAIN) if b" folded" not in fields else look(world, PLAIN[:50])

    assert "MR090" not in {each.code for each in report.findings}


def test_blanks_that_would_take_the_verifier_ages_are_not_given_to_it(
    world: DomainWorld, key: rsa.RSAPrivateKey
) -> None:
    publish(world, key, "s1", "shop.internal")
    data = signed(key) + b" " * 1_000_000

    report = look(world, received(data, "mx.acme.internal; spf=fail"))

    assert "unusually many blanks" in " ".join(e for f in report.findings for e in f.evidence)


@settings(
    max_examples=60, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"From", b"DKIM-Signature", b"Authentication-Results", b"X"]),
            st.binary(max_size=60)
            | st.from_regex(rb"\A(v=1; )?([a-z]{1,2}=[ -~]{0,12};? ?){0,9}\Z"),
        ),
        min_size=1, max_size=6,
    ),
    st.binary(max_size=50),
)  # fmt: skip
def test_no_sample_ends_in_an_exception(
    world: DomainWorld, fields: list[tuple[bytes, bytes]], body: bytes
) -> None:
    data = b"".join(name + b": " + value + b"\r\n" for name, value in fields) + b"\r\n" + body

    look(world, data, offline=False)


@pytest.mark.parametrize(
    ("field", "identity", "methods"),
    [
        ("mx.acme.de; spf=pass smtp.mailfrom=a@b.de", "mx.acme.de",
         ["spf=pass smtp.mailfrom=a@b.de"]),
        ("mx.acme.de 1; none", "mx.acme.de", []),
        (("mx.acme.de;\r\n dkim=pass (good; key) header.i=@b.de header.s=s1;\r\n dmarc=pass "
         "(p=NONE (x)) header.from=b.de"), "mx.acme.de",
         ["dkim=pass header.i=@b.de header.s=s1", "dmarc=pass header.from=b.de"]),
        ('"mx; acme"; dkim/1 = fail reason="bad; key" header.d=b.de', "mx; acme",
         ["dkim=fail header.d=b.de"]),
        ("(comment) mx.acme.de (v) ; auth=pass smtp.auth=x", "mx.acme.de",
         ["auth=pass smtp.auth=x"]),
    ],
)  # fmt: skip
def test_results_are_read_as_the_rfc_has_them(
    field: str, identity: str, methods: list[str]
) -> None:
    results = parse_results(field)

    assert results is not None
    assert (results.authserv_id, [str(each) for each in results.methods]) == (identity, methods)


def test_results_without_form_are_none() -> None:
    assert parse_results("") is None
    assert parse_results("(only a comment)") is None
