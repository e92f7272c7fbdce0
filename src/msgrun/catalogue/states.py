"""What each state of a message and each status of a run means, and who moves it on."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from msgrun.states import MessageState, RunStatus

_MESSAGES = {
    MessageState.PENDING: (
        "The message is still to be sent. A working run takes it as soon as a connection to the "
        "mail server is free; if the run was stopped or paused, it waits for `msgrun restart RUN`."
    ),
    MessageState.CLAIMED: (
        "A working run holds the message and is composing it or handing it over, but nothing has "
        "left that the mail server would deliver. It moves on within moments. If the run stops or "
        "breaks off here, the message is pending again, without any doubt."
    ),
    MessageState.SENDING: (
        "The message is written to the mail server except for its end, and it is recorded that "
        "the end may leave now. The server's answer decides what it becomes. If the program breaks "
        "off exactly here, the message is in doubt."
    ),
    MessageState.SENT: (
        "The mail server accepted the message: it answered 250 to the end of it. The reply, the "
        "time and the server's own name for the message (the queue id) are recorded. It does not "
        "say that the message reached the inbox. The invoice is not sent again under this "
        "definition, unless a person asks for it with `msgrun start --resend`."
    ),
    MessageState.DEFERRED: (
        "The mail server refused the message for now, with a code that begins with 4. A working "
        "run tries it again by itself at the time shown, until the deadline of the definition has "
        "passed; `msgrun restart RUN` tries it at once. Nothing was delivered."
    ),
    MessageState.REJECTED: (
        "The mail server refused this message for good, with a code that begins with 5, or its "
        "deadline passed while it was deferred. Nothing was delivered. It is not tried again by "
        "itself: repair the cause that the reply names, then run `msgrun restart RUN --failed`."
    ),
    MessageState.IN_DOUBT: (
        "The end of the message may have left, but no answer was recorded. The customer has "
        "probably received it; nobody can know from here. It is never sent again by itself. Look "
        "it up in the log of the mail server by its Message-ID and time, then run `msgrun resolve "
        "MESSAGE --sent` or `msgrun resolve MESSAGE --resend`."
    ),
    MessageState.FAILED: (
        "The message could not be composed, for example because of its template or a document, or "
        "a safety check held it back. Nothing left. Its reason code says why. Repair the cause, "
        "then run `msgrun restart RUN --failed`."
    ),
    MessageState.SKIPPED: (
        "The invoice belongs to what the run covers, but a rule excluded it, so it was not sent. "
        "Its reason code names the rule. If the cause is repaired, `msgrun restart RUN --failed` "
        "looks at it again with today's data."
    ),
    MessageState.BOUNCED: (
        "The mail server accepted the message and it was returned later. It counts among the sent "
        "ones, and its invoice is not sent again by itself. A person corrects the address and runs "
        "`msgrun restart RUN --failed`."
    ),
}

_RUNS = {
    RunStatus.PLANNED: (
        "The run and all its messages are written down, and nothing has been sent yet. The "
        "process that planned it begins to send within moments. If it broke off here, "
        "`msgrun restart RUN` begins, and `msgrun cancel RUN` gives the run up."
    ),
    RunStatus.RUNNING: (
        "A process is sending the run's messages. It ends by itself; `msgrun stop RUN` stops it "
        "from any terminal, and `msgrun watch RUN` shows how far it is."
    ),
    RunStatus.STOPPING: (
        "A person asked the run to stop. The messages that are just being handed over are "
        "finished, no new one begins. The working process then marks the run as stopped; if that "
        "process is dead, `msgrun stop RUN` or `msgrun restart RUN` notices it."
    ),
    RunStatus.STOPPED: (
        "The run was stopped. Messages not yet sent are not sent, and messages already sent are "
        "not recalled. The rest goes out only when somebody runs `msgrun restart RUN`; "
        "`msgrun cancel RUN` gives it up."
    ),
    RunStatus.PAUSED: (
        "The run stopped by itself, because the mail server could not be used, because it refused "
        "many messages in the same way, or because a safety check found data of different "
        "customers in one message. No message lost a try by it. Repair the cause that "
        "`msgrun show RUN` names, then run `msgrun restart RUN`."
    ),
    RunStatus.WAITING: (
        "Only deferred messages are left, and no process waits for their next try. "
        "`msgrun restart RUN` tries them now; `msgrun cancel RUN` gives them up."
    ),
    RunStatus.FINISHED: (
        "Nothing is left that the run could try by itself. Messages may still have been rejected, "
        "failed or skipped, or be in doubt: `msgrun results RUN` lists them. "
        "`msgrun restart RUN --failed` looks again at those that were rejected, failed or skipped."
    ),
    RunStatus.CANCELLED: (
        "The run was given up with `msgrun cancel`. What it had sent stays sent; its unsent "
        "invoices are free for another run. A cancelled run cannot be restarted: start a new one "
        "with `msgrun start DEFINITION`."
    ),
}

STATE_TEXTS: Final[Mapping[str, str]] = MappingProxyType(
    {str(word): text for word, text in (*_MESSAGES.items(), *_RUNS.items())}
)
"""The explanation of every message state and run status, by its word."""
