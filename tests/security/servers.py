"""A scripted mail server beside a test that is not asynchronous."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from smtp.server import ScriptedServer


@contextmanager
def serving(server: ScriptedServer) -> Iterator[ScriptedServer]:
    """Run a scripted server on a thread of its own while the block lasts."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="scripted-server", daemon=True)
    thread.start()
    running = server.running()
    try:
        asyncio.run_coroutine_threadsafe(running.__aenter__(), loop).result(10)
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(running.__aexit__(None, None, None), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
