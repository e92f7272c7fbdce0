"""An event loop that does not wait for the resolver when its time is up."""

import asyncio
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

Found = list[tuple[Any, ...]]


class LookupLoop(asyncio.SelectorEventLoop):
    """Looks names up in threads that nobody waits for.

    The resolver of the system cannot be interrupted, and the usual executor is waited for at
    the end of the loop and again at the end of the process, for half a minute where no name
    server answers.
    """

    async def getaddrinfo(self, host: Any, port: Any, **hints: int) -> Found:
        """Look a name up; as `socket.getaddrinfo`.

        Raises:
            OSError: it does not resolve.
        """
        answer: asyncio.Future[Found] = self.create_future()

        def ask() -> None:
            settle: Callable[[], None]
            try:
                found = socket.getaddrinfo(host, port, **hints)
            except (OSError, UnicodeError) as error:
                settle = partial(_settle, answer.set_exception, answer, error)
            else:
                settle = partial(_settle, answer.set_result, answer, list(found))
            with suppress(RuntimeError):  # the loop is over, nobody waits any more
                self.call_soon_threadsafe(settle)

        threading.Thread(target=ask, name="lookup", daemon=True).start()
        return await answer


def _settle(settle: Callable[[Any], None], answer: "asyncio.Future[Found]", value: Any) -> None:
    if not answer.done():
        settle(value)
