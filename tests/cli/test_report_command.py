"""`msgrun report`: the same figures in every form, and a page that data cannot break out of."""

import base64
import csv
import hashlib
import re
from html.parser import HTMLParser

import pytest

from cli.golden_text import same_as_golden
from cli.program import Program
from msgrun.report import figures
from msgrun.ui.report.data import COLUMNS

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\u202egnp.exe\u2066{{7*7}}"
REPLY = "550 5.1.1 <b onclick='x'>no</b> \u202e such &lt;user&gt;"


class Page(HTMLParser):
    """What a browser would find in a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.raw: dict[str, str] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        tag = self.tags[-1][0] if self.tags else ""
        if tag in {"script", "style"} and tag not in self.raw:
            self.raw[tag] = data
        else:
            self.words.append(data)

    def count(self, tag: str) -> int:
        return sum(each == tag for each, _ in self.tags)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def page_of(msgrun: Program, *options: str) -> str:
    done = msgrun("report", "--html", "-", *options)
    assert (done.code, done.err) == (0, "")
    return done.out


def test_report_in_the_terminal(msgrun: Program) -> None:
    msgrun("start", "--yes")

    text = re.sub(r"within .* UTC", "within <moments> UTC", msgrun("report").out)
    same_as_golden("report", re.sub(r"within <moments>.*", "within <moments>", text))


def test_report_page_in_words(msgrun: Program) -> None:
    msgrun("start", "--yes")
    text = Page(page_of(msgrun)).text

    text = re.sub(r"Messages a minute .* Answers by", "Messages a minute <chart> Answers by", text)
    text = re.sub(r"[0-9]+ [A-Z][a-z]+ [0-9]{4}, [0-9:]{5} UTC", "<moment>", text)
    text = re.sub(r"by msgrun \S+\.", "by msgrun <version>.", text)
    text = re.sub(r"Started by \S+", "Started by <user>", text)
    same_as_golden("report_page", text.replace(". ", ".\n") + "\n")


def test_the_figures_are_those_of_show_and_of_the_billing_data(msgrun: Program) -> None:
    msgrun("start", "--yes")

    told = msgrun("report", "--json").json

    shown = msgrun("show", "--json").json
    assert (told["counts"], told["messages"]) == (shown["counts"], shown["messages"])
    assert told["amounts"] == [
        {"currency": "EUR", "sent": "1260.50", "not_sent": "10", "sent_invoices": 2,
         "not_sent_invoices": 1},
        {"currency": "USD", "sent": "0", "not_sent": "109.95", "sent_invoices": 0,
         "not_sent_invoices": 2},
    ]  # fmt: skip
    assert {each["code"]: each["invoices"] for each in told["reasons"]} == {
        "MR105": 1, "MR123": 1, "MR506": 1,
    }  # fmt: skip
    assert set(told) == {
        *("schema", "run", "at", "outcome", "counts", "messages", "not_sent", "reasons"),
        *("amounts", "gone", "without_amount", "rate", "providers", "partly_refused", "purged"),
    }


def test_an_amount_that_is_gone_is_said_to_be(msgrun: Program) -> None:
    msgrun("start", "--yes")
    file = msgrun.write(
        "invoices-x.csv", "id,customer,number,status,date\ni1,CU1,,Open,2026-10-03\n"
    )
    msgrun("import", "--replace", file)

    told = msgrun("report", "--json").json
    assert told["gone"] == {"sent": 1, "not_sent": 3}
    assert told["without_amount"] == {"sent": 1, "not_sent": 0}
    text = Page(page_of(msgrun)).text
    assert "4 invoices (1 sent, 3 not sent) are no longer in the billing data" in text
    assert "i2 (no longer in the billing data)" in text


def test_hostile_names_and_replies_are_words_on_the_page(msgrun: Program, sink) -> None:
    rows = f'CU1,"{HOSTILE.replace(chr(34), chr(34) * 2)}",Europe\n'
    msgrun("import", msgrun.write("customers-x.csv", f"code,name,cluster\n{rows}"))
    msgrun.edit('text = "invoice.txt"\ncluster = "All"', 'text = "plain.txt"\ncluster = "All"')
    msgrun.edit('subject = "Invoice {{ invoice.number }}"', 'subject = "Invoice"')
    msgrun.write("plain.txt", "Dear customer\n")
    sink.refuse["unknown@cu5.test"] = REPLY
    msgrun("start", "--yes")

    html = page_of(msgrun)
    page = Page(html)

    assert page.count("script") == 1
    assert page.count("img") == page.count("b") - 3 == 0  # the tiles are bold
    assert "<script>alert(1)</script>" in page.text
    assert "{{7*7}}" in page.text
    assert not set("\u202e\u2066") & set(html)
    handlers = {name for _, attributes in page.tags for name in attributes if name[:2] == "on"}
    assert handlers == set()


def test_the_page_needs_nothing_from_anywhere_and_runs_only_its_own_script(
    msgrun: Program,
) -> None:
    msgrun("start", "--yes")
    html = page_of(msgrun)
    page = Page(html)

    attributes = [each for _, each in page.tags]
    assert not any({"src", "href", "style", "action"} & set(each) for each in attributes)
    assert not re.search(r"(https?:|url\(|@import|//[a-z])", html)
    (policy,) = (
        each["content"] or "" for each in attributes
        if each.get("http-equiv") == "Content-Security-Policy"
    )  # fmt: skip
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    for tag in ("script", "style"):
        digest = hashlib.sha256(page.raw[tag].encode()).digest()
        assert f"{tag}-src 'sha256-{base64.b64encode(digest).decode()}'" in policy


def test_the_page_can_be_read_by_a_screen_reader(msgrun: Program) -> None:
    msgrun("start", "--yes")
    page = Page(page_of(msgrun))

    assert dict(page.tags)["html"]["lang"] == "en"
    assert page.count("title") > 0
    assert all(each.get("scope") in {"col", "row"} for tag, each in page.tags if tag == "th")
    named = [each for tag, each in page.tags if tag == "svg"]
    assert all(each.get("aria-label") or each.get("aria-hidden") == "true" for each in named)
    ids = {each["id"] for _, each in page.tags if each.get("id")}
    assert {each["aria-labelledby"] for _, each in page.tags if each.get("aria-labelledby")} <= ids


def test_a_long_run_lists_only_what_was_not_sent(
    msgrun: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    msgrun("start", "--yes")
    monkeypatch.setattr(figures, "LISTED", 2)

    page = Page(page_of(msgrun))

    assert sum("data-state" in each for _, each in page.tags) == 2
    assert "Messages that were not sent" in page.text
    assert "only the first 2, 1 more are not" in page.text
    assert "msgrun results 1 --csv results.csv" in page.text


def test_a_file_is_not_written_over_but_when_told(msgrun: Program) -> None:
    msgrun("start", "--yes")
    file = msgrun.folder / "run.html"

    assert msgrun("report", "--html", "run.html").out == "report of run 1 written to run.html\n"
    file.write_text("mine")
    refused = msgrun("report", "--html", "run.html")
    assert (refused.code, file.read_text()) == (2, "mine")
    assert "--force" in refused.err
    assert msgrun("report", "--html", "run.html", "--force").code == 0
    assert file.read_text("utf-8").startswith("<!doctype html>")
    assert [each.name for each in msgrun.folder.glob(".run.html*")] == []


def test_csv_has_a_row_for_each_invoice_with_its_amount(msgrun: Program) -> None:
    msgrun("start", "--yes")

    assert msgrun("report", "--csv", "run.csv").out == "5 invoices written to run.csv\n"

    with (msgrun.folder / "run.csv").open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert tuple(rows[0]) == COLUMNS
    shown = ("invoice_id", "currency", "total", "reason")
    assert [tuple(each[name] for name in shown) for each in rows] == [
        ("i1", "EUR", "1250.50", ""), ("i2", "EUR", "10", ""), ("i3", "EUR", "10", "MR105"),
        ("i4", "USD", "10", "MR123"), ("i5", "USD", "99.95", "MR506"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("9",), 10, "there is no run 9"),
        (("--html", "no/such.html"), 2, "the folder no is not there"),
        (("--html", "."), 2, "is a folder"),
        (("--html", "-", "--json"), 2, "both print"),
        (("--html", "a", "--csv", "a"), 2, "the same file"),
    ],
)
def test_what_cannot_be_reported(
    msgrun: Program, options: tuple[str, ...], code: int, words: str
) -> None:
    msgrun("start", "--yes")

    done = msgrun("report", *options)

    assert (done.code, done.out if "--json" not in options else "") == (code, "")
    assert words in done.err


def test_before_the_first_run_there_is_nothing_to_report(msgrun: Program) -> None:
    assert msgrun("report").code == 10
