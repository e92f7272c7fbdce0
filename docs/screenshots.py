"""Make the pictures of the documentation from a demo run: the report, and the live view.

Usage: python docs/screenshots.py [FOLDER], by default docs/images. Needs `chromium` on the PATH;
takes about a minute. Nothing outside this machine is contacted.
"""

import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Final

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console

from msgrun.config import load_config
from msgrun.control.start import start
from msgrun.demo.sink import running_sink
from msgrun.demo.story import tell
from msgrun.events import Event, MessageSettled, RunStarted
from msgrun.ledger.runs import find_run
from msgrun.report import read_report
from msgrun.ui.live import LiveView, headline
from msgrun.ui.report.page import write_page
from msgrun.ui.text import Printer
from msgrun.workspace import Workspace

IMAGES: Final = Path(__file__).parent / "images"
BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome")
HALF: Final = 70  # messages sent when the live view is drawn
# No font from elsewhere: the picture takes what the reader has.
PLAIN_SVG: Final = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
PHONES: Final = """<!doctype html><meta charset="utf-8">
<style>
body { margin: 0; display: flex; gap: 20px; padding: 10px; background: #8b95a0; }
iframe { width: 390px; height: 844px; border: 0; }
</style>
<iframe src="report.html" style="color-scheme: light"></iframe>
<iframe src="report.html" style="color-scheme: dark"></iframe>
"""


class Snapshot:
    """Draws the live view once, when about half of a run is through."""

    def __init__(self) -> None:
        self._console = Console(
            record=True,
            file=io.StringIO(),
            force_terminal=True,
            width=100,
            color_system="truecolor",
            highlight=False,
        )
        self._view = LiveView(Printer(io.StringIO()))
        self._settled = 0

    def __call__(self, event: Event) -> None:
        """Hear an event."""
        self._view(event)
        if isinstance(event, RunStarted):
            self._console.print("$ msgrun start monthly --resend", style="bold")
            self._console.print(headline(event))
        elif isinstance(event, MessageSettled):
            self._settled += 1
            if self._settled == HALF:
                self._console.print(self._view.picture())

    def write(self, file: Path) -> None:
        """Write the picture."""
        self._view.close()
        svg = self._console.export_svg(title="msgrun", code_format=PLAIN_SVG, unique_id="live")
        file.write_text(svg, "utf-8")


def draw_live_view(folder: Path, file: Path) -> None:
    """Send the demo's invoices once more, to a sink of this process, and draw half way."""
    config = folder / "msgrun.toml"
    with running_sink(folder / "again", delay=0.05) as sink:
        text = re.sub(r"(?m)^port = \d+", f"port = {sink.port}", config.read_text("utf-8"))
        config.write_text(text, "utf-8")
        workspace = Workspace.of(load_config(config))
        definition = workspace.config.definition("monthly")
        selection = workspace.selection(definition, today=date(2026, 11, 3), resend=True)
        snapshot = Snapshot()
        start(
            workspace,
            "monthly",
            selection,
            confirm=lambda _plan, _checked: True,
            wait=False,
            once=False,
            listener=snapshot,
        )
    snapshot.write(file)


def write_report(folder: Path, file: Path) -> None:
    """Write the report of the demo's run."""
    workspace = Workspace.of(load_config(folder / "msgrun.toml"))
    with workspace.database.read() as connection, connection.begin():
        run = find_run(connection, workspace.database.tables, "1")
    run = replace(run, created_by="anna@office")  # not who makes the pictures
    with file.open("w", encoding="utf-8") as stream:
        write_page(read_report(workspace, run), stream)


def shoot(page: Path, picture: Path, width: int, height: int, *options: str) -> None:
    """Have a browser draw a page."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        sys.exit("no browser: install chromium")
    alone = ["--no-sandbox"] if os.geteuid() == 0 else []  # its sandbox does not work for root
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(  # noqa: S603 - our own arguments
            [
                browser,
                *("--headless=new", "--disable-gpu", "--hide-scrollbars", *alone, *options),
                f"--user-data-dir={profile}",
                f"--window-size={width},{height}",
                f"--screenshot={picture}",
                page.as_uri(),
            ],
            check=True,
            capture_output=True,
            timeout=120,
        )


def main() -> None:
    """Make every picture."""
    images = Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES
    images.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="msgrun-demo-") as scratch:
        folder = Path(scratch)
        tell(lambda _line: None, folder / "billing")
        page = folder / "report.html"
        write_report(folder / "billing", page)
        draw_live_view(folder / "billing", images / "live.svg")
        shoot(page, images / "report.png", 1280, 1000)
        shoot(page, images / "report-dark.png", 1280, 1000, "--force-dark-mode")
        phones = folder / "phones.html"
        phones.write_text(PHONES, "utf-8")
        shoot(phones, images / "report-phone.png", 820, 864)
    for file in sorted(images.iterdir()):
        print(f"{file.name}: {file.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
