"""Starting and restarting for cron, and calling it off, against a real SMTP sink."""

import threading
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path

import pytest
from sending import everybody, parsed, recipients, stopped_world

from billing_process import answer_of, launch
from billing_world import DEFINITION, World, address, code, make_world
from msgrun.control.start import start
from msgrun.control.stop import cancel
from msgrun.database import Database
from msgrun.demo.sink import Sink
from msgrun.errors import (
    ExitCode,
    UsageError,
)
from msgrun.events import (
    MessageSettled,
    RunEnded,
    RunStarted,
)
from msgrun.states import RunStatus

R = RunStatus


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
