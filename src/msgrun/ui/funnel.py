"""The doctor's answer about everybody: as text, as JSON Lines, and each of them as CSV."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, TextIO

from msgrun.catalogue import CATALOGUE
from msgrun.doctor.everybody import Named, Narrowing, RuleCount, StateCount
from msgrun.doctor.funnel import Domains, Funnel
from msgrun.doctor.missing import Missing
from msgrun.ui.csv import cell
from msgrun.ui.doctor import finding_document, print_findings
from msgrun.ui.json import SCHEMA
from msgrun.ui.text import Printer, plural

COLUMNS: Final = (
    "customer",
    "name",
    "invoice",
    "invoice_id",
    "code",
    "title",
    "definition",
    "run",
    "state",
)
"""The columns of the CSV file, in order."""

_WIDTH: Final = 9  # columns of a number
_THROUGH: Final = "every rule lets it through"


def write_missing(rows: Iterable[Missing], stream: TextIO) -> int:
    """Write everybody without a message as CSV (RFC 4180), without a header; return how many."""
    writer = csv.writer(stream)
    number = 0
    for row in rows:
        values = (
            row.who.customer,
            row.who.name,
            row.who.invoice,
            row.who.invoice_id,
            row.code,
            _title(row.code, ""),
            row.definition,
            row.run,
            row.state,
        )
        writer.writerow(cell(value) for value in values)
        number += 1
    return number


def write_header(stream: TextIO) -> None:
    """Write the names of the columns."""
    csv.writer(stream).writerow(COLUMNS)


def print_funnel(printer: Printer, funnel: Funnel, *, verbose: bool = False) -> None:
    """Print the verdict, then each definition; with `verbose` also what passed."""
    printer.line(("msgrun doctor --all", "bold"))
    printer.hanging((), (funnel.verdict, "red" if funnel.exit_code else "green"))
    for scope in funnel.scopes:
        _print_scope(printer, scope)
    if funnel.findings:
        printer.line()
    print_findings(printer, funnel.findings, verbose=verbose)
    for domains in funnel.domains:
        printer.line(f"{domains.definition}: {plural(domains.distinct, 'recipient domain')}")
    told = [f"suppressed: {', '.join(funnel.suppressed)}"] if funnel.suppressed else []
    told += [f"msgrun explain {funnel.primary}"] if funnel.primary else []
    if told:
        printer.line(" · ".join(told))


def _print_scope(printer: Printer, scope: Narrowing) -> None:
    context = scope.context
    printer.line()
    run = f"run {context.run.id}" if context.run else ""
    cluster = (context.selection.cluster or "") if context.selection else ""
    parts = filter(None, (context.name, run, context.period, cluster))
    printer.line((" · ".join(parts), "bold"))
    if scope.skipped:
        printer.line(f"  {scope.skipped}")
        return
    unknown = f" and {plural(scope.unknown, 'unknown code')}" if scope.unknown else ""
    printer.line(
        f"  {plural(scope.customers, 'customer')}{unknown}, {plural(scope.invoices, 'invoice')}, "
        f"{scope.in_scope:,} of them in scope"
    )
    if scope.rules:
        printer.line((f"    {'customers':>{_WIDTH}}  {'invoices':>{_WIDTH}}", "bold"))
    for rule in scope.rules:
        _print_rule(printer, rule)
    if scope.states:
        printer.line(f"  run {context.run.id if context.run else ''}, in messages:")
    for state in scope.states:
        _print_state(printer, state)


def _print_rule(printer: Printer, rule: RuleCount) -> None:
    sign = "✓" if rule.code in {"", "MR508"} else ("✗" if rule.in_scope else "–")
    lead = f"  {sign} {rule.customers:>{_WIDTH},}  {rule.invoices:>{_WIDTH},}  "
    code = f"{rule.code}  " if rule.code else ""
    left = f", {plural(rule.customers_left, 'customer')} left" if sign != "✓" else ""
    printer.hanging((lead,), (code, "bold"), _title(rule.code, _THROUGH), (left, "dim"))
    _print_examples(printer, len(lead), rule.examples)


def _print_state(printer: Printer, state: StateCount) -> None:
    lead = f"    {state.messages:>{_WIDTH},}  {state.state.value:<{_WIDTH}}  "
    code = f"{state.code}  " if state.code else ""
    title = _title(state.code, "")
    answer = " ".join(filter(None, (state.answer, state.reply)))
    printer.hanging((lead,), (code, "bold"), " · ".join(filter(None, (title, answer))))
    _print_examples(printer, len(lead), state.examples)


def _print_examples(printer: Printer, margin: int, examples: Sequence[Named]) -> None:
    if examples:
        printer.hanging((" " * margin,), ("; ".join(map(_shown, examples)), "dim"))


def _shown(who: Named) -> str:
    return " ".join(filter(None, (who.customer, who.name, who.invoice)))


def _title(code: str, otherwise: str) -> str:
    return CATALOGUE[code].title if code in CATALOGUE else otherwise


def funnel_documents(funnel: Funnel) -> Iterator[dict[str, Any]]:
    """Return the JSON documents, one a line: scope, rules, states, servers, domains, verdict."""
    yield {
        "schema": SCHEMA,
        "kind": "scope",
        "definitions": [_scope(scope) for scope in funnel.scopes],
    }
    for scope in funnel.scopes:
        for rule in scope.rules:
            yield _rule(scope, rule)
        for state in scope.states:
            yield _state(scope, state)
    for finding in funnel.faults:
        yield {"kind": "fault", **finding_document(finding)}
    for finding in funnel.servers:
        yield {"kind": "server", **finding_document(finding)}
    for domains in funnel.domains:
        yield _domains(domains)
    yield {
        "kind": "verdict",
        "verdict": funnel.verdict,
        "primary": funnel.primary or None,
        "suppressed": list(funnel.suppressed),
        "exit_code": funnel.exit_code,
    }


def _scope(scope: Narrowing) -> dict[str, Any]:
    selection = scope.context.selection
    return {
        **_where(scope),
        "cluster": selection.cluster if selection else None,
        "customers": scope.customers,
        "unknown_customers": scope.unknown,
        "invoices": scope.invoices,
        "in_scope": scope.in_scope,
        "skipped": scope.skipped or None,
    }


def _where(scope: Narrowing) -> dict[str, Any]:
    context = scope.context
    return {
        "definition": context.name,
        "run": context.run.id if context.run else None,
        "period": context.period or None,
    }


def _rule(scope: Narrowing, rule: RuleCount) -> dict[str, Any]:
    return {
        "kind": "rule",
        **_where(scope),
        "code": rule.code or None,
        "title": _title(rule.code, _THROUGH),
        "severity": CATALOGUE[rule.code].severity if rule.code else "none",
        "in_scope": rule.in_scope,
        "invoices": rule.invoices,
        "customers": rule.customers,
        "customers_left": rule.customers_left,
        "examples": _examples(rule.examples),
    }


def _state(scope: Narrowing, state: StateCount) -> dict[str, Any]:
    return {
        "kind": "state",
        **_where(scope),
        "state": state.state.value,
        "code": state.code or None,
        "title": _title(state.code, "") or None,
        "answer": state.answer or None,
        "reply": state.reply or None,
        "messages": state.messages,
        "examples": _examples(state.examples),
    }


def _examples(examples: Sequence[Named]) -> list[dict[str, Any]]:
    return [
        {
            "customer": each.customer,
            "name": each.name,
            "invoice": each.invoice,
            "invoice_id": each.invoice_id,
        }
        for each in examples
    ]


def _domains(domains: Domains) -> dict[str, Any]:
    return {
        "kind": "domains",
        "definition": domains.definition,
        "distinct": domains.distinct,
        "findings": [finding_document(finding) for finding in domains.findings],
    }
