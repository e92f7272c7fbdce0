"""The composing process: reads claims from its parent, writes back what it made of them.

Started by `delivery.composers`; ends when its parent closes the pipe, or dies.
"""

import gc
import os
import signal
import sys
from contextlib import suppress

from msgrun.delivery.composers import answer, read_packet, write_packet
from msgrun.delivery.composing import Kitchen


def main() -> None:
    """Compose until there is nobody to compose for."""
    # A terminal's Ctrl-C reaches the parent too: what is in hand is finished for it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing that is printed gets between the answers
    questions = sys.stdin.buffer
    kitchen: Kitchen = read_packet(questions)
    gc.freeze()  # what is there now lives until the end: no use in looking for garbage in it
    write_packet(answers, None)  # ready
    while True:
        write_packet(answers, answer(kitchen, read_packet(questions)))


if __name__ == "__main__":
    with suppress(EOFError, BrokenPipeError):
        main()
