"""Schedules, slots and their news: as text and as JSON."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from msgrun.control.due import slot_name
from msgrun.ledger.rows import Counts
from msgrun.ui.json import SCHEMA, run_document, run_object
from msgrun.ui.summary import print_next
from msgrun.ui.text import STYLES, Part, Printer, moment

if TYPE_CHECKING:
    from msgrun.control.due import Done
    from msgrun.control.news import News
    from msgrun.control.schedule_list import Look


def schedules_document(seen: Sequence["Look"]) -> dict[str, Any]:
    """Return how each schedule stands."""
    return {"schema": SCHEMA, "schedules": [_schedule_object(each) for each in seen]}


def _schedule_object(look: "Look") -> dict[str, Any]:
    plan, known = look.schedule, look.known
    last = _slot_object(look.last)
    if last is not None:
        last |= {
            "state": look.state,
            "run": run_object(look.run) if look.run else None,
            "detail": look.row.detail if look.row else None,
            "missed": look.missed,
        }
    return {
        "schedule": look.name,
        "definition": plan.definition,
        "enabled": look.enabled,
        "cron": plan.cron,
        "timezone": plan.timezone,
        "cluster": plan.cluster,
        "period": plan.period,
        "missed": plan.missed,
        "grace": plan.grace,
        "distributed": plan.distributed,
        "paused_at": (moment(known.paused_at) or None) if known else None,
        "paused_by": known.paused_by if known else None,
        "looked_at": moment(known.looked_at) if known else None,
        "last": last,
        "next": _slot_object(look.next),
    }


def _slot_object(slot: datetime | None) -> dict[str, Any] | None:
    """Return a slot in UTC, in its schedule's time, and as this host's clocks show it."""
    if slot is None:
        return None
    return {
        "slot": slot_name(slot),
        "schedule_time": slot.isoformat(),
        "local_time": slot.astimezone().isoformat(),
    }


def due_document(done: Sequence["Done"]) -> dict[str, Any]:
    """Return what `run-due` has done about each slot."""
    return {
        "schema": SCHEMA,
        "slots": [
            {
                "schedule": each.schedule,
                "definition": each.definition,
                "slot": slot_name(each.slot),
                "did": each.did,
                "run": run_object(each.summary.run) if each.summary else None,
                "exit_code": each.code,
                "detail": each.text,
            }
            for each in done
        ],
    }


def news_document(news: "News") -> dict[str, Any]:
    """Return what a URL gets: the document of `show`, and what is told; `run` may be null."""
    none = {
        "schema": SCHEMA,
        "run": None,
        "counts": _zeros(),
        "messages": _zeros(),
        "skipped": {},
        "in_scope_balances": True,
    }
    told = {
        "news": news.kind,
        "schedule": news.schedule,
        "definition": news.definition,
        "slot": slot_name(news.slot),
        "text": news.subject + "\n\n" + news.text,
    }
    return (run_document(news.summary) if news.summary else none) | told


def _zeros() -> dict[str, int]:
    return dict.fromkeys(Counts.__dataclass_fields__, 0)


def print_schedules(printer: Printer, seen: Sequence["Look"]) -> None:
    """Print how each schedule stands."""
    if not seen:
        printer.line("there is no schedule; [schedules.NAME] of msgrun.toml makes one")
    for place, look in enumerate(seen):
        if place:
            printer.line()
        plan = look.schedule
        printer.line((look.name, "bold"), f" · {plan.definition} · {plan.cron} {plan.timezone}")
        fields = [("last", f"{_shown(look.last, plan.timezone)}{_fate(look)}")]
        fields.append(("next", _shown(look.next, plan.timezone)))
        if look.row is not None and look.row.detail:
            fields.append(("", look.row.detail))
        printer.fields(fields)
        for line in _remarks(look):
            printer.line("  ", *line)


def _fate(look: "Look") -> str:
    if look.last is None:
        return ""
    if look.run is not None:
        return f": run {look.run.id}, {look.run.status.value}"
    words = {
        "before": "not run: the schedule was not known, or was paused, at that time",
        "taken": "its run is being planned",
        "waiting": "could not start yet",
        "due": "due: the next `msgrun schedule run-due` starts it",
        "overdue": "missed so far: no `msgrun schedule run-due` has looked",
    }
    return ": " + words.get(look.state, look.state)


def _remarks(look: "Look") -> list[tuple[Part, ...]]:
    known = look.known
    if not look.enabled:
        return [(("off", "yellow"), f": definition {look.schedule.definition} is disabled")]
    if known is None:
        return [
            ("`msgrun schedule run-due` has never looked at it: it begins with the first time;",),
            ("`msgrun schedule install` says how cron or systemd calls it",),
        ]
    if known.paused_at is not None:
        since = f" since {moment(known.paused_at)} by {known.paused_by}"
        return [(("paused", "yellow"), f"{since}; `msgrun schedule resume {look.name}` goes on")]
    if look.missed:
        return [(("missed", "red"), f"; last looked at {moment(known.looked_at)}")]
    return []


def _shown(slot: datetime | None, timezone: str) -> str:
    if slot is None:
        return "never"
    here = slot.astimezone()
    same = here.utcoffset() == slot.utcoffset()
    return f"{slot:%Y-%m-%d %H:%M} {timezone}" + ("" if same else f" ({here:%Y-%m-%d %H:%M} here)")


def print_done(printer: Printer, done: "Done") -> None:
    """Print what was done about one slot, in one line."""
    status = done.summary.run.status.value if done.summary else done.did
    style = STYLES.get(status, "red" if done.code else "")
    printer.line(
        (done.schedule, "bold"),
        f", slot {done.slot:%Y-%m-%d %H:%M %Z}: ",
        (done.text, style),
    )
    if done.code and done.summary is not None:
        print_next(printer, done.summary)
