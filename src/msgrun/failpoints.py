"""Named steps at which this process dies or freezes when the environment asks for it.

For the fault campaign alone; without MSGRUN_FAILPOINT nothing here does anything.
MSGRUN_FAILPOINT="intent.committed=kill@3" kills the process the third time that an
intent has been committed. Several are separated by commas; "@1" may be left out.
"""

import os
import signal
from typing import Final

STEPS: Final = {
    "plan.writing": "the run is inserted, its transaction still open",
    "plan.written": "the run is durable, nobody has claimed anything",
    "claim.writing": "messages are claimed, the transaction still open",
    "claim.written": "the claims are durable",
    "compose.done": "the bytes are made, nothing is said to the server",
    "connect.done": "the connection stands, TLS and AUTH are done",
    "envelope.accepted": "MAIL and RCPT are accepted",
    "data.accepted": "the server said 354",
    "body.written": "all but the final dot is on the wire",
    "intent.writing": "`sending` is written, the transaction still open",
    "intent.committed": "`sending` is durable, the dot is not written",
    "dot.written": "the dot is on the wire",
    "answer.received": "the server has answered, nothing of it is recorded",
    "record.writing": "the answer is written, the transaction still open",
    "record.committed": "the answer is durable",
    "journal.written": "an answer that the database could not take is in the journal",
    "finish.writing": "the run's end is written, the transaction still open",
    "finish.committed": "the run's end is durable",
    "recover.writing": "a dead worker's messages are taken over, the transaction still open",
    "recover.committed": "the take-over is durable",
    "resolve.writing": "a person's decision is written, the transaction still open",
    "resolve.committed": "a person's decision is durable",
}
"""Every step, and what is so when it is reached."""

_SIGNALS: Final = {"kill": signal.SIGKILL, "freeze": signal.SIGSTOP}


def _armed(text: str) -> dict[str, tuple[signal.Signals, int]]:
    """Read the environment's words.

    Raises:
        ValueError: a step or an action that is none.
    """
    armed = {}
    for part in filter(None, text.split(",")):
        step, _, what = part.partition("=")
        action, _, times = what.partition("@")
        if step not in STEPS or action not in _SIGNALS:
            message = f"MSGRUN_FAILPOINT: {part!r} is not STEP=kill|freeze[@N] with a known step"
            raise ValueError(message)
        armed[step] = (_SIGNALS[action], int(times or 1))
    return armed


_left: Final = _armed(os.environ.get("MSGRUN_FAILPOINT", ""))


def reach(step: str) -> None:
    """Say that a step is reached; die or freeze there if this is the time that was asked for."""
    if not _left or step not in _left:
        return
    number, times = _left[step]
    if times > 1:
        _left[step] = (number, times - 1)
        return
    del _left[step]
    os.kill(os.getpid(), number)
