"""Findings about runs and their messages (MR5xx)."""

from msgrun.catalogue.entry import CodeInfo

ENTRIES = (
    CodeInfo(
        "MR501",
        "No run has been started for this period",
        "error",
        "Everything about the customer and the invoice may be in order, but no run of this "
        "definition has been started for this period yet. msgrun sends only when a person or a "
        "scheduled command starts a run. The check looks through all runs; runs that were "
        "redirected to another address do not count.",
        "Look first with `msgrun plan DEFINITION --period PERIOD`, then run `msgrun start "
        "DEFINITION --period PERIOD`.",
    ),
    CodeInfo(
        "MR502",
        "Run stopped, paused or with failures",
        "error",
        "The customer's message is part of a run that no longer sends: a person stopped or "
        "cancelled it, or it paused by itself because of a fault of the mail server or because "
        "a safety check failed. The message has not left and does not leave by itself. "
        "Messages that were sent before stay sent. The evidence shows since when, by whom, the "
        "counts and the last error.",
        "Repair the cause shown, then run `msgrun restart RUN`; it says first what it will "
        "send. A cancelled run cannot be restarted: run `msgrun start DEFINITION`.",
    ),
    CodeInfo(
        "MR503",
        "Run claims to be running, but nothing works on it",
        "error",
        "The run is marked as running, but the process that worked on it gives no sign of "
        "life: it was killed, the computer was switched off, or it hangs. No message is lost. "
        "Those not sent yet wait, and a message that was just being handed over is shown as in "
        "doubt (MR507). The evidence shows the process, its computer and its last sign of "
        "life.",
        "Run `msgrun restart RUN`, which takes the run over and continues it. What was sent is "
        "not sent again.",
    ),
    CodeInfo(
        "MR504",
        "Schedule missed",
        "error",
        "The configuration has a schedule for this definition, its last slot has gone by, and no "
        "run of the same cluster and period has been made. Usually cron did not run, the "
        "computer was off, or the command ended with an error. A run that a person started for "
        'that period counts. With `missed = "skip"` it is a warning, because missed slots are '
        "then not made up for. The evidence shows the last and the next slot with their time "
        "zone.",
        "Run `msgrun start DEFINITION --period PERIOD`, then see why cron did not start it; or "
        "correct `cron` under `[schedules.NAME]`.",
    ),
    CodeInfo(
        "MR505",
        "Message waits or is deferred",
        "warning",
        "The message has not been accepted yet. Either its turn has not come, or the mail "
        "server answered with a temporary refusal (a code that begins with 4), for example "
        "because a mailbox is full or because it asks unknown senders to come back later. "
        "msgrun tries again by itself as long as the run is working, at growing intervals of "
        "up to 4 hours, until the deadline of the definition has passed (MR513). The evidence "
        "shows the tries, the next try and the reply.",
        "Wait for the next try. When the run is not working (`waiting` or `stopped`), or to "
        "try at once, run `msgrun restart RUN`. If the same reply keeps coming, give it to the "
        "mail administrator.",
    ),
    CodeInfo(
        "MR506",
        "Refused for good",
        "error",
        "The mail server refused the message permanently, with a code that begins with 5, so "
        "the customer did not receive it. It is not tried again by itself. The reply in the "
        "evidence says why, word for word: 5.1.1 means that there is no such mailbox, 5.2.2 "
        "that the mailbox is full, 5.3.4 that the message is too large, and 5.7.1 that a rule "
        "of the server forbids it. The refusal may concern one recipient or the whole message.",
        "Repair what the reply says; for 5.1.1 correct the address in the billing data. Then "
        "run `msgrun restart RUN --failed`. When the reply speaks of policy, relaying or "
        "authentication, give it to the mail administrator.",
    ),
    CodeInfo(
        "MR507",
        "In doubt",
        "warning",
        "The message was handed over completely, or nearly so, but the mail server's answer "
        "was never recorded: the connection broke, the server was silent, or this computer "
        "stopped at that moment. The customer has probably received it, but nobody can know "
        "from here. msgrun never sends it again by itself, and it keeps the invoice, because a "
        "second copy of an invoice is worse than asking. At most one message for each open "
        "connection can come into this state at a crash.",
        "Look the message up in the log of the mail server, by the Message-ID and the time "
        "shown in the evidence and in `msgrun results RUN --state in_doubt`, or ask the "
        "customer. If it arrived, run `msgrun resolve MESSAGE --sent`. If it did not, run `msgrun "
        "resolve MESSAGE --resend`, then `msgrun restart RUN`: exactly the same bytes go out "
        "again, with the same Message-ID, so that a server that has them already drops the copy.",
    ),
    CodeInfo(
        "MR508",
        "Accepted by the server",
        "info",
        "The mail server took the message and confirmed it with code 250, so from here "
        'everything went well. "Sent" means exactly that; it does not prove that the message '
        "lies in the customer's inbox. Behind that server it can still be put into a spam "
        "folder, held back by a filter, or be returned later. The evidence shows the time, the "
        "reply, and the queue id, which is the mail server's own name for the message.",
        "Ask the customer to look into the spam folder and the quarantine of their mail "
        "system. Then ask your mail administrator to follow the message in the server's log by "
        "its queue id.",
    ),
    CodeInfo(
        "MR509",
        "Bounced later",
        "error",
        "The mail server accepted the message and it came back later with a report of failed "
        "delivery (RFC 3464). The customer did not receive it, and it is not sent again by "
        "itself. The evidence shows when it was accepted, and the status and diagnostic of the "
        "report.",
        "Follow the diagnostic: mostly the address is wrong or its mailbox is full. Correct it, "
        "then run `msgrun restart RUN --failed`.",
    ),
    CodeInfo(
        "MR510",
        "Sent to another address than today's",
        "warning",
        "The message was sent and accepted, but the address used then is not the one that the "
        "billing data has now. So the address was corrected after the message had left, and "
        "the person at today's address did not receive it. The evidence shows both addresses.",
        "If the customer still needs it, run `msgrun start DEFINITION --customer CODE "
        "--resend`, which sends the invoice once more, to today's address.",
    ),
    CodeInfo(
        "MR511",
        "Redirect or rehearsal was on",
        "error",
        "The run was started with `--redirect-to`, which sends every message to one other "
        "address for a trial. The customer's message was therefore not sent to the customer. "
        "Such a run does not count as having sent the invoice, so a real run can still send "
        "it. The evidence shows where the message really went.",
        "Run it in earnest, without the redirection: `msgrun start DEFINITION --period PERIOD`.",
    ),
    CodeInfo(
        "MR512",
        "Leak guard: documents, invoice and address of different customers",
        "error",
        "Directly before a message leaves, msgrun checks that its address, its invoices and "
        "its documents all belong to one customer. Here they did not, so the message failed, "
        "nothing left, and the whole run was paused, because other messages could be wrong in "
        "the same way. Mostly the billing data changed while the run was going on, or a "
        "document row names the wrong invoice. The evidence shows what belongs to whom.",
        "Correct the billing data at the place shown, and check a few other invoices of the "
        "same import. Then run `msgrun restart RUN` for the rest and `msgrun restart RUN "
        "--failed` for this message.",
    ),
    CodeInfo(
        "MR513",
        "Deadline passed while deferred",
        "error",
        "The mail server kept answering with temporary refusals until the time allowed for the "
        "message was over (`deadline` of the definition, 24 hours unless set). The message now "
        "counts as rejected, was not delivered, and is not tried again by itself. The evidence "
        "shows the tries and the last answer.",
        "Read the last answer: it says what the server lacks, often a mailbox with room or a "
        "lower sending rate. When that is repaired, run `msgrun restart RUN --failed`, which "
        "begins with a new deadline.",
    ),
)
