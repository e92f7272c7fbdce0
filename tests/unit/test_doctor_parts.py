"""The doctor's pure parts: odd addresses, paths of clusters, exit codes."""

import pytest

from msgrun.doctor.addresses import probable_domain
from msgrun.doctor.findings import (
    Finding,
    Stage,
    Status,
    crashed,
    exit_code_of,
    first_cause,
    found,
    in_order,
    passed,
    stage_results,
)
from msgrun.doctor.standing import path_of


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("gmial.com", "gmail.com"),
        ("gmal.com", "gmail.com"),
        ("Gmaill.com", "gmail.com"),
        ("hotnail.com", "hotmail.com"),
        ("outlok.com", "outlook.com"),
        ("yaho.com", "yahoo.com"),
        ("gmail.con", "gmail.com"),
    ],
)
def test_one_slip_from_a_provider_is_a_probable_typo(typed: str, meant: str) -> None:
    assert probable_domain(typed) == meant


@pytest.mark.parametrize(
    "real",
    ["gmail.com", "mail.com", "ymail.com", "email.com", "acme.test", "hotmail.co.uk", "gmx.de", ""],
)
def test_other_domains_are_left_in_peace(real: str) -> None:
    assert probable_domain(real) is None


@pytest.mark.parametrize(
    ("cluster", "parents", "path", "broken"),
    [
        ("DE", {"DE": "Europe", "Europe": "All", "All": None}, ["All", "Europe", "DE"], ""),
        ("DE", {}, ["DE"], ""),
        (None, {"All": None}, [], ""),
        ("DE", {"DE": "DE"}, ["DE"], "loop: DE › DE"),
        ("DE", {"DE": "A", "A": "B", "B": "A"}, ["B", "A", "DE"], "loop: A › B › A"),
        ("DE", {"All": None}, ["DE"], "'DE', the customer's cluster, does not exist"),
    ],
)
def test_path_of_a_cluster_and_what_breaks_it(
    cluster: str | None, parents: dict[str, str | None], path: list[str], broken: str
) -> None:
    assert path_of(cluster, parents) == (path, broken)


def unknown() -> Finding:
    return found("MR091", Stage.SMTP, status=Status.UNKNOWN)


@pytest.mark.parametrize(
    ("findings", "code"),
    [
        ([passed(Stage.CUSTOMER)], 0),
        ([found("MR110", Stage.ADDRESS, status=Status.WARN)], 0),
        ([found("MR105", Stage.ADDRESS), unknown()], 4),
        ([passed(Stage.CUSTOMER), unknown()], 5),
        ([crashed(Stage.CLUSTER, ValueError("x"))], 5),
        ([found("MR505", Stage.MESSAGE, status=Status.WARN), unknown()], 0),
    ],
)
def test_exit_code(findings: list[Finding], code: int) -> None:
    assert exit_code_of(findings) == code


def test_what_is_unknown_does_not_decide_after_sending() -> None:
    assert exit_code_of([unknown()], sent=True) == 0


def test_the_primary_cause_is_the_first_failing_stage() -> None:
    findings = in_order(
        [
            found("MR603", Stage.SMTP),
            found("MR110", Stage.ADDRESS, status=Status.WARN),
            found("MR123", Stage.INVOICE),
        ]
    )

    cause = first_cause(findings)

    assert cause is not None
    assert cause.code == "MR123"
    assert [each.stage for each in findings] == ["address", "invoice", "smtp"]


def test_a_stage_is_as_bad_as_its_worst_finding() -> None:
    findings = [passed(Stage.ADDRESS), found("MR110", Stage.ADDRESS, status=Status.WARN)]

    (result,) = stage_results(findings)

    assert (result.status, result.code) == (Status.WARN, "MR110")
