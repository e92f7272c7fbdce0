"""Starting, stopping, restarting and cancelling runs against a real SMTP sink on loopback."""

import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import ExitStack
from datetime import timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import pytest

from billing_process import answer_of, launch
from billing_world import DEFINITION, World, address, bill, code, make_world
from msgrun.control.restart import restart
from msgrun.control.start import start
from msgrun.control.stop import cancel, stop
from msgrun.control.work import Ending, take_on
from msgrun.database import Database
from msgrun.delivery import policy
from msgrun.demo.sink import Sink, running_sink
from msgrun.errors import (
    AlreadyRunningError,
    ExitCode,
    PreflightError,
    ServerDownError,
    UsageError,
)
from msgrun.events import (
    Event,
    MessageSettled,
    RunEnded,
    RunStarted,
    Stopping,
    WaitingForDeferred,
)
from msgrun.ledger import messages, workers
from msgrun.ledger.rows import Frozen
from msgrun.ledger.workers import definition_lock
from msgrun.model import Outcome, Selection, Stage, Verdict
from msgrun.planning.draft import draft_run
from msgrun.states import RunStatus
from msgrun.transport.base import TransportFactory
from msgrun.transport.memory import MemoryTransport
from msgrun.workspace import Workspace

R = RunStatus


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[Sink]:
    with running_sink(tmp_path / "mail") as running:
        yield running


@pytest.fixture
def world(database: Database, tmp_path: Path, sink: Sink) -> World:
    return make_world(database, tmp_path, sink.port)


@pytest.fixture
def long_world(database: Database, tmp_path: Path, sink: Sink) -> World:
    """Return a world whose run takes a few seconds."""
    sink.delay = 0.05
    return make_world(database, tmp_path, sink.port, customers=120)


def recipients(sink: Sink) -> Counter[str]:
    return Counter(each for entry in sink.received for each in entry.recipients)


def everybody(customers: int = 4) -> Counter[str]:
    return Counter(address(number) for number in range(1, customers + 1))


def parsed(sink: Sink) -> list[EmailMessage]:
    return [message_from_bytes(entry.path.read_bytes(), policy=default) for entry in sink.received]


def start_then(world: World, settled: int, act: Callable[[], Any]) -> tuple[Ending, Any]:
    """Start a run, do something once so many messages are settled; return both results."""
    reached = threading.Event()

    def listen(event: Event) -> None:
        world.events.append(event)
        if sum(isinstance(each, MessageSettled) for each in world.events) >= settled:
            reached.set()

    def work() -> Ending:
        ending = start(
            world.workspace, DEFINITION, world.selection(),
            confirm=lambda _plan, _checked: True, wait=False, listener=listen,
        )  # fmt: skip
        assert ending is not None
        return ending

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(work)
        assert reached.wait(30)
        done = act()
        return running.result(30), done


def stopped_world(world: World, settled: int = 3) -> World:
    """Start the run of a long world and stop it after some messages."""
    start_then(world, settled, lambda: stop(world.workspace, "last"))
    assert world.runs()[0].status is R.STOPPED
    return world


def unsent(world: World) -> list[str]:
    return [invoice for invoice, state in world.states().items() if state == "pending"]


# Start.


def test_a_start_sends_every_customer_the_own_invoice_and_nothing_else(
    world: World, sink: Sink
) -> None:
    ending = world.start()
    assert (ending.exit_code, ending.summary.run.status) == (ExitCode.DONE, R.FINISHED)
    assert ending.summary.counts.sent == 4
    assert recipients(sink) == everybody()
    for mail in parsed(sink):
        (number,) = [n for n in range(1, 5) if address(n) in mail["To"]]
        (attached,) = mail.iter_attachments()
        body = mail.get_body()
        assert body is not None
        assert code(number) in body.get_content()
        assert code(number).encode() in attached.get_content()
        assert mail["Subject"] == f"Invoice INV-{number}"


def test_the_listener_hears_the_start_every_message_and_the_end(world: World) -> None:
    world.start()
    assert isinstance(world.events[0], RunStarted)
    assert isinstance(world.events[-1], RunEnded)
    assert world.events[0].to_send == 4
    assert len([each for each in world.events if isinstance(each, MessageSettled)]) == 4


def test_sent_messages_keep_the_servers_answer(world: World, sink: Sink) -> None:
    world.start()
    kept = {(each.message_id, each.queue_id) for each in world.messages()}
    assert kept == {(each.message_id, each.queue_id) for each in sink.received}
    assert all(each.reply and each.reply.code == 250 and each.sent_at for each in world.messages())


def test_a_second_start_sends_nothing(world: World, sink: Sink) -> None:
    world.start()
    ending = world.start()
    assert ending.summary.skipped == {"MR125": 4}
    assert (ending.summary.run.status, ending.exit_code) == (R.FINISHED, ExitCode.DONE)
    assert recipients(sink) == everybody()


def test_a_resend_sends_again_with_a_new_message_id(world: World, sink: Sink) -> None:
    world.start()
    world.start(resend=True, customers=[code(1)])
    assert recipients(sink) == everybody() + Counter([address(1)])
    assert len({entry.message_id for entry in sink.received}) == 5


def test_a_no_leaves_no_run(world: World, sink: Sink) -> None:
    declined = start(
        world.workspace, DEFINITION, world.selection(), confirm=lambda _p, _c: False, wait=False
    )
    assert declined is None
    assert (world.count("run"), world.count("message"), sink.received) == (0, 0, [])


def test_collated_invoices_arrive_in_one_message(
    database: Database, tmp_path: Path, sink: Sink
) -> None:
    world = make_world(database, tmp_path, sink.port, customers=2, collate=True)
    world.add("invoices", id="x", customer=code(1), number="X", status="Approved",
              date="2026-10-02")  # fmt: skip
    world.add("documents", invoice="x", transformation="pdf", filename="x.pdf",
              media_type="application/pdf", content=b"%PDF-1.4\nC001\n%%EOF\n")  # fmt: skip
    ending = world.start()
    assert (ending.summary.counts.sent, ending.summary.messages.sent) == (3, 2)
    assert recipients(sink) == everybody(2)
    assert sorted(len(list(mail.iter_attachments())) for mail in parsed(sink)) == [1, 2]


def test_a_redirected_run_reaches_nobody_else_and_a_real_one_still_sends(
    database: Database, tmp_path: Path, sink: Sink
) -> None:
    world = make_world(database, tmp_path, sink.port, bcc=["archive@acme.test"])
    world.start(redirect_to="me@acme.test")
    assert recipients(sink) == {"me@acme.test": 4}
    assert "customer.test" not in "".join(mail["To"] for mail in parsed(sink))
    world.start(once=True)
    assert recipients(sink) == everybody() + Counter({"me@acme.test": 4, "archive@acme.test": 4})


def test_of_two_starts_at_once_one_sends_and_the_other_writes_nothing(
    long_world: World, sink: Sink
) -> None:
    sink.delay = 0.5  # nobody is done before both have tried
    both = [launch(long_world.folder, "start") for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(answer_of, process) for process in both]
        wait(waiting, return_when=FIRST_COMPLETED)
        sink.delay = 0
        answers = [each.result() for each in waiting]
    assert sorted(process.returncode for process in both) == [
        ExitCode.DONE,
        ExitCode.ALREADY_RUNNING,
    ]
    assert [answer["error"] for answer in answers if "error" in answer] == ["already_running"]
    assert (long_world.count("run"), long_world.count("message")) == (1, 120)
    assert recipients(sink) == everybody(120)


# The server.


def test_a_server_that_is_down_at_the_start_leaves_no_run(
    database: Database, tmp_path: Path
) -> None:
    with running_sink(tmp_path / "mail") as gone:
        world = make_world(database, tmp_path, gone.port)
    with pytest.raises(ServerDownError) as down:
        world.start()
    assert down.value.exit_code == ExitCode.PAUSED
    assert [world.count(name) for name in ("run", "message", "event")] == [0, 0, 0]


def test_a_server_that_dies_pauses_the_run_and_costs_no_message_an_attempt(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy, "PATIENCE", 2)
    with ExitStack() as stack:
        sink = stack.enter_context(running_sink(tmp_path / "mail"))
        world = make_world(database, tmp_path, sink.port, connections=1)

        def listen(event: Event) -> None:
            world.events.append(event)
            if isinstance(event, MessageSettled):
                stack.close()

        ending = start(
            world.workspace, DEFINITION, world.selection(),
            confirm=lambda _plan, _checked: True, wait=False, listener=listen,
        )  # fmt: skip
    assert ending is not None
    run = ending.summary.run
    assert (run.status, run.reason, ending.exit_code) == (R.PAUSED, "MR603", ExitCode.PAUSED)
    assert (ending.summary.counts.sent, ending.summary.counts.pending) == (1, 3)
    assert sorted(message.attempts for message in world.messages()) == [0, 0, 0, 1]
    with running_sink(tmp_path / "more", port=sink.port) as back:
        again, _ = world.restart()
        assert again.summary.run.status is R.FINISHED
        assert recipients(sink) + recipients(back) == everybody()


def test_a_refused_customer_does_not_stop_the_others(world: World, sink: Sink) -> None:
    sink.refuse[address(2)] = "550 5.1.1 No such user"
    ending = world.start()
    assert (ending.summary.run.status, ending.exit_code) == (R.FINISHED, ExitCode.INCOMPLETE)
    assert (ending.summary.counts.sent, ending.summary.counts.rejected) == (3, 1)
    assert recipients(sink) == everybody() - Counter([address(2)])


def test_the_same_refusal_for_five_customers_in_a_row_pauses_the_run(
    database: Database, tmp_path: Path, sink: Sink
) -> None:
    world = make_world(database, tmp_path, sink.port, customers=12, connections=1)
    sink.refuse.update({address(n): "554 5.7.1 Blocked for policy" for n in range(1, 13)})
    ending = world.start()
    assert (ending.summary.run.status, ending.summary.run.reason) == (R.PAUSED, "MR506")
    assert (ending.summary.counts.rejected, ending.summary.counts.pending) == (5, 7)


def test_a_4xx_defers_the_message_and_a_restart_sends_it(world: World, sink: Sink) -> None:
    sink.refuse[address(2)] = "450 4.2.1 Later"
    ending = world.start()
    assert (ending.summary.run.status, ending.exit_code) == (R.WAITING, ExitCode.INCOMPLETE)
    assert ending.summary.counts.deferred == 1
    del sink.refuse[address(2)]
    again, (proposal,) = world.restart()
    assert (proposal.never_tried, proposal.deferred) == (0, 1)
    assert (again.summary.run.status, again.exit_code) == (R.FINISHED, ExitCode.DONE)
    assert recipients(sink) == everybody()


def test_a_server_that_never_answers_the_dot_pauses_the_run_before_all_is_in_doubt(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy, "PATIENCE", 2)
    silence = Outcome(Verdict.IN_DOUBT, Stage.DOT, text="no answer", finding="MR507")
    fake = MemoryTransport({address(number): [silence] for number in range(1, 5)})

    class Faked(Workspace):
        def transport_of(self, frozen: Frozen, selection: Selection) -> TransportFactory:
            return lambda: fake

    world.reconfigure("connections = 2", "connections = 1")
    real = world.workspace
    world.workspace = Faked(real.config, real.database, real.source)
    ending = world.start()
    assert (ending.summary.run.status, ending.summary.run.reason) == (R.PAUSED, "MR507")
    assert (ending.summary.counts.in_doubt, ending.summary.counts.pending) == (2, 2)
    world.workspace = real
    again, (proposal,) = world.restart()
    assert (proposal.never_tried, proposal.in_doubt) == (2, 2)
    assert (again.summary.counts.sent, again.summary.counts.in_doubt) == (2, 2)
    assert (again.summary.run.status, again.exit_code) == (R.FINISHED, ExitCode.INCOMPLETE)


def test_a_start_that_waits_sends_deferred_messages_when_they_are_due(
    world: World, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FIRST_RETRY", "LONGEST_RETRY"):
        monkeypatch.setattr(policy, name, timedelta(seconds=0.2))
    sink.refuse[address(2)] = "450 4.2.1 Later"
    waited: list[WaitingForDeferred] = []

    def listen(event: Event) -> None:
        if isinstance(event, WaitingForDeferred):
            waited.append(event)
            sink.refuse.clear()

    ending = start(
        world.workspace, DEFINITION, world.selection(),
        confirm=lambda _plan, _checked: True, wait=True, listener=listen,
    )  # fmt: skip
    assert ending is not None
    assert [event.deferred for event in waited] == [1]
    assert (ending.summary.run.status, ending.exit_code) == (R.FINISHED, ExitCode.DONE)
    assert recipients(sink) == everybody()


# Stop and restart.


def test_a_stop_from_another_process_ends_the_sending_and_a_restart_sends_the_rest(
    long_world: World, sink: Sink
) -> None:
    def stop_elsewhere() -> tuple[dict[str, Any], int]:
        answer = answer_of(launch(long_world.folder, "stop"))
        return answer, len(sink.received)

    sink.delay = 0.2  # the run is not done before the other process is there
    ending, (answer, arrived) = start_then(long_world, 1, stop_elsewhere)
    assert answer["status"] == "stopped"
    assert len(sink.received) == arrived, "something arrived after stop had returned"
    assert ending.summary.counts.sent == arrived < 120
    assert ending.summary.run.status is R.STOPPED
    assert ending.exit_code == ExitCode.INCOMPLETE
    sink.delay = 0
    again, (proposal,) = long_world.restart()
    assert (proposal.never_tried, proposal.in_doubt) == (120 - arrived, 0)
    assert (again.summary.counts.sent, again.summary.run.status) == (120, R.FINISHED)
    assert recipients(sink) == everybody(120)


def test_stop_returns_only_when_no_connection_stands_before_its_dot(
    long_world: World, sink: Sink
) -> None:
    ending, (stopped, arrived) = start_then(
        long_world, 5, lambda: (stop(long_world.workspace, "last"), len(sink.received))
    )
    assert stopped.exit_code == ExitCode.DONE
    assert len(sink.received) == arrived == ending.summary.counts.sent
    assert any(isinstance(event, Stopping) for event in long_world.events)


def test_stop_does_not_wait_for_a_worker_whose_lease_is_over(world: World) -> None:
    """Take a run on and freeze: the process lives, but shows no sign of life any more."""
    criteria = world.workspace.criteria(world.frozen, world.selection())
    with (
        definition_lock(world.database, DEFINITION),
        draft_run(world.database, world.workspace.source, world.frozen, criteria) as draft,
    ):
        draft.commit("acme.test", lambda writing, run: take_on(world.workspace, writing, run))
        worker = world.database.tables.worker
        with world.database.write() as connection:
            long_ago = world.database.now(connection) - workers.LEASE
            connection.execute(worker.update().values(lease_until=long_ago))
        ending = stop(world.workspace, "last")
    assert ending.summary.run.status in {R.STOPPING, R.STOPPED}
    assert world.restart()[0].summary.counts.sent == 4


def test_stopping_a_stopped_run_is_no_error(long_world: World) -> None:
    stopped_world(long_world)
    again = stop(long_world.workspace, "last")
    assert (again.exit_code, again.summary.run.status) == (ExitCode.DONE, R.STOPPED)


@pytest.mark.parametrize(
    ("number", "code_"), [(signal.SIGTERM, ExitCode.TERMINATED), (signal.SIGINT, 130)]
)
def test_a_signal_stops_like_stop_does(
    long_world: World, sink: Sink, number: signal.Signals, code_: int
) -> None:
    arrived = threading.Event()
    sink.on_message = lambda _entry: arrived.set()
    process = launch(long_world.folder, "start")
    assert arrived.wait(30)
    process.send_signal(number)
    answer = answer_of(process)
    assert (process.returncode, answer["status"]) == (code_, "stopped")
    assert answer["sent"] == len(sink.received) < 120
    assert "in_doubt" not in long_world.states().values()


def test_a_finished_run_has_nothing_left_to_send(world: World, sink: Sink) -> None:
    world.start()
    ending, proposals = world.restart()
    assert (proposals, "nothing left" in ending.note) == ([], True)
    assert recipients(sink) == everybody()


def test_a_run_that_came_to_rest_after_its_last_message_is_finished_by_a_restart(
    world: World,
) -> None:
    world.start()
    with world.database.write() as connection:
        connection.execute(world.database.tables.run.update().values(status=R.STOPPED))
    ending, proposals = world.restart()
    assert proposals == []
    assert (ending.summary.run.status, ending.exit_code) == (R.FINISHED, ExitCode.DONE)


def test_a_run_that_is_being_worked_on_cannot_be_restarted(long_world: World) -> None:
    def restart_too() -> None:
        with pytest.raises(AlreadyRunningError):
            long_world.restart()
        with pytest.raises(AlreadyRunningError):
            long_world.start()
        stop(long_world.workspace, "last")

    start_then(long_world, 1, restart_too)


def test_a_restart_skips_who_is_no_longer_eligible_and_uses_new_addresses(
    long_world: World, sink: Sink
) -> None:
    stopped_world(long_world)
    sink.delay = 0
    *_, suspended, moved = unsent(long_world)
    customers = {invoice: f"C{invoice[1:]}" for invoice in (suspended, moved)}
    long_world.change("customers", {"code": customers[suspended]}, suspended=True)
    long_world.change("addresses", {"customer": customers[moved]}, address="new@customer.test")
    ending, (proposal,) = long_world.restart()
    (excluded,) = proposal.review.excluded
    assert (excluded.invoice, excluded.reason) == (suspended, "MR102")
    (changed,) = proposal.review.addresses
    assert [each.address for each in changed.after] == ["new@customer.test"]
    assert ending.summary.skipped == {"MR102": 1}
    assert ending.summary.counts.sent == 119
    assert recipients(sink)["new@customer.test"] == 1
    assert set(recipients(sink).values()) == {1}


def test_restart_failed_revives_what_was_repaired_with_todays_definition(
    world: World, sink: Sink
) -> None:
    sink.refuse[address(1)] = "550 5.1.1 No such user"
    world.change("documents", {"invoice": bill(2)}, transformation="ubl")
    (world.folder / "documents" / f"{bill(3)}.pdf").unlink()
    world.change("invoices", {"id": bill(4)}, status="Pending")
    (world.folder / "documents" / f"{bill(4)}.pdf").touch()
    world.add("invoices", id="ok", customer=code(4), status="Approved", date="2026-10-03")
    world.add("documents", invoice="ok", transformation="pdf", filename="ok.pdf",
              media_type="application/pdf", content=b"%PDF-1.4\n%%EOF\n")  # fmt: skip
    world.start()
    assert world.states() == {
        bill(1): "rejected", bill(2): "MR401", bill(3): "MR401", bill(4): "MR123", "ok": "sent",
    }  # fmt: skip
    world.change("addresses", {"customer": code(1)}, address="right@customer.test")
    world.change("documents", {"invoice": bill(2)}, transformation="pdf")
    (world.folder / "documents" / f"{bill(3)}.pdf").write_bytes(b"%PDF-1.4\n%%EOF\n")
    (world.folder / "monthly.txt").write_text("A better text for {{ customer.code }}\n")
    ending, (proposal,) = world.restart(failed=True)
    assert proposal.to_send == 3
    assert (ending.summary.counts.sent, ending.summary.skipped) == (4, {"MR123": 1})
    bodies = {mail["To"]: mail.get_body() for mail in parsed(sink)}
    body = bodies["right@customer.test"]
    assert body is not None
    assert "A better text" in body.get_content()
    assert set(recipients(sink).values()) == {1}


def test_restart_failed_names_a_new_reason_for_what_stays_skipped(world: World, sink: Sink) -> None:
    world.change("customers", {"code": code(1)}, suspended=True)
    assert world.start().summary.skipped == {"MR102": 1}
    world.change("customers", {"code": code(1)}, suspended=False)
    world.change("invoices", {"id": bill(1)}, status="Pending")
    ending, (proposal,) = world.restart(failed=True)
    assert (proposal.to_send, [each.reason for each in proposal.review.renamed]) == (0, ["MR123"])
    assert (ending.summary.skipped, ending.exit_code) == ({"MR123": 1}, ExitCode.DONE)
    assert recipients(sink) == everybody() - Counter([address(1)])


def test_pending_messages_keep_their_definition_when_failed_ones_get_todays(
    long_world: World, sink: Sink
) -> None:
    sink.refuse[address(1)] = "550 5.1.1 No such user"
    stopped_world(long_world)
    sink.refuse.clear()
    sink.delay = 0
    long_world.reconfigure('recipient_key = "invoice"', 'recipient_key = "billing"')
    long_world.add("addresses", customer=code(1), key="billing", address="b1@customer.test")
    ending, _ = long_world.restart(failed=True)
    assert (ending.summary.counts.sent, ending.exit_code) == (120, ExitCode.DONE)
    expected = everybody(120) - Counter([address(1)]) + Counter(["b1@customer.test"])
    assert recipients(sink) == expected


def test_a_run_that_somebody_else_changed_while_a_person_thinks_is_not_restarted(
    long_world: World, sink: Sink
) -> None:
    stopped_world(long_world)
    arrived = len(sink.received)

    def think(_proposal: object) -> bool:
        cancel(long_world.workspace, "last")
        return True

    with pytest.raises(AlreadyRunningError, match="meanwhile"):
        restart(long_world.workspace, "last", failed=False, confirm=think, wait=False)
    assert long_world.runs()[0].status is R.CANCELLED
    assert len(sink.received) == arrived


def test_a_collated_run_with_a_limit_is_restarted_whole(
    database: Database, tmp_path: Path, sink: Sink
) -> None:
    world = make_world(database, tmp_path, sink.port, customers=2, collate=True)
    for name in ("x1", "x2"):
        world.add("invoices", id=name, customer=code(1), status="Approved", date="2026-10-02")
        world.add("documents", invoice=name, transformation="pdf", filename=f"{name}.pdf",
                  media_type="application/pdf", content=b"%PDF-1.4\n%%EOF\n")  # fmt: skip
    sink.refuse[address(1)] = "450 4.2.1 Later"
    assert world.start(limit=1).summary.counts.deferred == 3
    sink.refuse.clear()
    ending, _ = world.restart()
    assert (ending.summary.counts.sent, ending.summary.skipped) == (3, {"MR127": 1})
    assert recipients(sink) == {address(1): 1}


def test_an_invoice_that_is_no_longer_eligible_leaves_its_collated_message(
    database: Database, tmp_path: Path, sink: Sink
) -> None:
    world = make_world(database, tmp_path, sink.port, customers=1, collate=True)
    world.add("invoices", id="x", customer=code(1), status="Approved", date="2026-10-02")
    world.add("documents", invoice="x", transformation="pdf", filename="x.pdf",
              media_type="application/pdf", content=b"%PDF-1.4\n%%EOF\n")  # fmt: skip
    sink.refuse[address(1)] = "450 4.2.1 Later"
    world.start()
    sink.refuse.clear()
    world.change("invoices", {"id": "x"}, status="Error")
    ending, (proposal,) = world.restart()
    assert proposal.to_send == 1
    assert world.states() == {bill(1): "sent", "x": "MR123"}
    assert ending.summary.counts.balances


@pytest.mark.parametrize("fault", ["refused", "missing file"])
def test_a_collated_message_comes_back_whole_after_two_different_faults(
    database: Database, tmp_path: Path, sink: Sink, fault: str
) -> None:
    world = make_world(database, tmp_path, sink.port, customers=2, collate=True)
    world.add("invoices", id="x", customer=code(1), status="Approved", date="2026-10-02")
    world.add("documents", invoice="x", transformation="pdf", filename="x.pdf",
              media_type="application/pdf", content=b"%PDF-1.4\n%%EOF\n")  # fmt: skip
    file = tmp_path / "documents" / f"{bill(1)}.pdf"
    if fault == "refused":
        sink.refuse[address(1)] = "550 5.1.1 No such user"
    else:
        file.rename(file.with_suffix(".away"))
    assert world.start().summary.counts.left_over == 2
    world.change("customers", {"code": code(1)}, suspended=True)
    assert world.restart(failed=True)[0].summary.skipped == {"MR102": 2}
    world.change("customers", {"code": code(1)}, suspended=False)
    sink.refuse.clear()
    if fault == "missing file":
        file.with_suffix(".away").rename(file)
    ending, _ = world.restart(failed=True)
    assert (ending.summary.counts.sent, ending.summary.messages.sent) == (3, 2)
    assert recipients(sink) == everybody(2)


# Cancel.


def test_cancel_frees_what_was_not_sent_for_a_new_start(long_world: World, sink: Sink) -> None:
    stopped_world(long_world)
    arrived = len(sink.received)
    sink.delay = 0
    ending = cancel(long_world.workspace, "last")
    assert (ending.exit_code, ending.summary.run.status) == (ExitCode.DONE, R.CANCELLED)
    assert ending.summary.skipped == {"MR128": 120 - arrived}
    with pytest.raises(UsageError, match="cancelled"):
        long_world.restart()
    new = long_world.start()
    assert (new.summary.counts.sent, new.summary.skipped) == (120 - arrived, {"MR125": arrived})
    assert recipients(sink) == everybody(120)


def test_cancelling_twice_is_no_error_and_a_finished_run_has_nothing_to_cancel(
    world: World, sink: Sink
) -> None:
    sink.refuse[address(1)] = "450 4.2.1 Later"
    world.start()
    cancel(world.workspace, "last")
    assert cancel(world.workspace, "last").exit_code == ExitCode.DONE
    sink.refuse.clear()
    world.start()
    with pytest.raises(UsageError, match="finished"):
        cancel(world.workspace, "last")


# Once, for cron.


def test_once_leaves_a_finished_run_alone(world: World, sink: Sink) -> None:
    world.start()
    ending = world.start(once=True)
    assert (ending.exit_code, world.count("run")) == (ExitCode.DONE, 1)
    assert recipients(sink) == everybody()


def test_once_is_not_satisfied_by_a_limited_run(world: World, sink: Sink) -> None:
    world.start(limit=1)
    world.start(once=True)
    assert recipients(sink) == everybody()


def test_once_respects_a_persons_stop(long_world: World, sink: Sink) -> None:
    stopped_world(long_world)
    arrived = len(sink.received)
    ending = long_world.start(once=True)
    assert (ending.exit_code, "restart" in ending.note) == (ExitCode.INCOMPLETE, True)
    assert len(sink.received) == arrived


def test_once_resumes_a_run_that_waits(world: World, sink: Sink) -> None:
    sink.refuse[address(2)] = "450 4.2.1 Later"
    world.start()
    del sink.refuse[address(2)]
    assert world.start(once=True).summary.run.status is R.FINISHED
    assert (recipients(sink), world.count("run")) == (everybody(), 1)


def test_once_resumes_a_crashed_run(long_world: World, sink: Sink) -> None:
    arrived = threading.Event()
    sink.on_message = lambda _entry: arrived.set()
    process = launch(long_world.folder, "start")
    assert arrived.wait(30)
    process.kill()
    process.communicate()
    sink.delay = 0
    ending = long_world.start(once=True)
    assert (ending.summary.run.status, long_world.count("run")) == (R.FINISHED, 1)
    assert ending.summary.counts.sent + ending.summary.counts.in_doubt == 120
    assert ending.summary.counts.in_doubt <= 2
    assert recipients(sink) <= everybody(120)


# The leak guard, and other trouble under way.


def moved_invoice(world: World) -> None:
    world.change("invoices", {"id": bill(2)}, customer=code(3))


def moved_address(world: World) -> None:
    world.change("addresses", {"customer": code(2)}, address="stranger@customer.test")


@pytest.mark.parametrize("move", [moved_invoice, moved_address])
def test_what_belongs_to_somebody_else_by_now_does_not_leave_and_pauses_the_run(
    database: Database, tmp_path: Path, sink: Sink, move: Callable[[World], None]
) -> None:
    world = make_world(database, tmp_path, sink.port, connections=1)

    def confirm(_plan: object, _checked: object) -> bool:
        move(world)
        return True

    ending = world.start(confirm=confirm)
    run = ending.summary.run
    assert (run.status, run.reason, ending.exit_code) == (R.PAUSED, "MR512", ExitCode.PAUSED)
    assert world.states()[bill(2)] == "MR512"
    assert "INV-2" not in "".join(mail["Subject"] for mail in parsed(sink))
    assert not {address(2), "stranger@customer.test"} & set(recipients(sink))
    once = world.start(once=True)
    assert (once.exit_code, "leak guard" in once.note) == (ExitCode.PAUSED, True)


def test_a_source_that_breaks_under_way_pauses_the_run(world: World, sink: Sink) -> None:
    def confirm(_plan: object, _checked: object) -> bool:
        world.change("customers", {"code": code(1)}, meta="[]")
        return True

    ending = world.start(confirm=confirm)
    assert (ending.summary.run.status, ending.summary.run.reason) == (R.PAUSED, "MR006")
    assert (ending.summary.counts.pending, sink.received) == (4, [])
    world.change("customers", {"code": code(1)}, meta=None)
    world.restart()
    assert recipients(sink) == everybody()


def test_a_worker_that_was_held_for_dead_leaves_the_run_to_its_successor(
    long_world: World, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "HEARTBEAT", timedelta(seconds=0.1))
    tables = long_world.database.tables

    def take_over() -> int:
        (run,) = long_world.runs()
        with long_world.database.write() as connection:
            now = long_world.database.now(connection)
            dead = workers.dead_tokens(connection, tables, run.id)
            workers.end(connection, tables, dead, now)
            messages.recover(connection, tables, run_id=run.id, dead_tokens=dead, now=now)
            return workers.register(connection, tables, run.id, now)

    ending, successor = start_then(long_world, 2, take_over)
    assert ending.summary.run.status is R.RUNNING
    assert ending.summary.counts.sent < 120
    with long_world.database.read() as connection, connection.begin():
        assert not workers.is_signed_off(connection, tables, successor)
    states = Counter(long_world.states().values())
    assert states["in_doubt"] <= 2
    assert states["claimed"] == states["sending"] == 0
    assert set(recipients(sink).values()) == {1}


def test_a_definition_that_selects_nobody_is_refused(world: World) -> None:
    world.reconfigure('recipient_key = "invoice"', 'recipient_key = "billing"')
    with pytest.raises(PreflightError, match="MR204"):
        world.start()
    assert world.count("run") == 0
