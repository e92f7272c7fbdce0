"""A Postfix of the tests' own: it listens on loopback and knows no way to pass mail on."""

import os
import pwd
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

HOST = "127.0.0.1"
SEARCH_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin:/usr/local/sbin"
PATIENCE = 60.0  # seconds until a condition that never comes true fails the test

# Every address of every domain is a mailbox of virtual(8), and all of them are one Maildir;
# Delivered-To says whose message it is. Queue ids are long, so that none ever comes twice.
_MAIN = """
compatibility_level = 3.6
queue_directory = {root}/queue
data_directory = {root}/data
maillog_file = {root}/log/mail.log
maillog_file_prefixes = {root}/log
mail_owner = postfix
setgid_group = postdrop
myhostname = mail.postfix.test
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
smtpd_recipient_restrictions = permit_mynetworks, reject
smtpd_peername_lookup = no
disable_dns_lookups = yes
relayhost =
default_transport = virtual
relay_transport = virtual
local_transport = virtual
virtual_transport = virtual
virtual_mailbox_domains = static:all
virtual_mailbox_maps = static:inbox/
virtual_mailbox_base = {root}/mail
virtual_mailbox_limit = 0
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
smtputf8_enable = yes
enable_long_queue_ids = yes
alias_maps =
alias_database =
"""

# No smtp, lmtp, relay, pipe or local here: nothing that could carry a message off this host.
_MASTER = """
{port}    inet  n  -  n  -    -  smtpd
cleanup   unix  n  -  n  -    0  cleanup
qmgr      unix  n  -  n  300  1  qmgr
rewrite   unix  -  -  n  -    -  trivial-rewrite
bounce    unix  -  -  n  -    0  bounce
defer     unix  -  -  n  -    0  bounce
trace     unix  -  -  n  -    0  bounce
flush     unix  n  -  n  1000?  0  flush
proxymap  unix  -  -  n  -    -  proxymap
error     unix  -  -  n  -    -  error
retry     unix  -  -  n  -    -  error
virtual   unix  -  n  n  -    -  virtual
anvil     unix  -  -  n  -    1  anvil
tlsmgr    unix  -  -  n  1000?  1  tlsmgr
postlog   unix-dgram n  -  n  -  1  postlogd
"""


class Postfix:
    """One running instance, all of it under `root`, which everybody may enter.

    Args:
        root: an empty folder; the queue, the Maildir, the configuration and the log go there.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.port = _free_port()
        self._configure()

    @property
    def log(self) -> str:
        """What Postfix has written to its log so far."""
        path = self.root / "log" / "mail.log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    @property
    def messages(self) -> list[bytes]:
        """The messages that lie in the Maildir, as virtual(8) wrote them."""
        return [path.read_bytes() for path in (self.root / "mail" / "inbox" / "new").glob("*")]

    def start(self) -> None:
        """Start it and wait until it greets."""
        self._postfix("start")
        try:
            wait_until(self._greets, lambda: f"Postfix does not greet:\n{self.log}")
        except AssertionError:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop it; its processes are gone then."""
        self._postfix("stop")

    def configure(self, settings: Mapping[str, str]) -> None:
        """Restart it with settings that differ from the usual ones; {} for the usual ones.

        A reload would keep the processes that are just serving somebody.
        """
        self.stop()
        self._write_main(settings)
        self.start()

    def drain(self) -> None:
        """Wait until the queue is empty: a message leaves it only when its mailbox has it."""
        wait_until(self._drained, lambda: f"the queue does not drain:\n{self.log[-4000:]}")

    def empty_mailbox(self) -> None:
        """Throw the delivered messages away."""
        shutil.rmtree(self.root / "mail" / "inbox", ignore_errors=True)

    def deliveries(self) -> dict[str, list[str]]:
        """Return the recipients that the log calls delivered, by queue id."""
        found: dict[str, list[str]] = {}
        for queue_id, to in re.findall(r": (\w+): to=<([^>]*)>,.* status=sent ", self.log):
            found.setdefault(queue_id, []).append(to)
        return found

    def message_ids(self) -> dict[str, str]:
        """Return the Message-ID that the log gives for each queue id."""
        return dict(re.findall(r": (\w+): message-id=(<[^>]*>)", self.log))

    def _configure(self) -> None:
        nobody = pwd.getpwnam("nobody")
        values = {"root": self.root, "port": f"{HOST}:{self.port}"}
        self.root.chmod(0o755)
        for name in ("config", "queue", "data", "mail", "log"):
            (self.root / name).mkdir(mode=0o755)
        shutil.chown(self.root / "data", "postfix")
        shutil.chown(self.root / "mail", nobody.pw_uid, nobody.pw_gid)
        self._write_main({})
        (self.root / "config" / "master.cf").write_text(_MASTER.format(**values))

    def _write_main(self, settings: Mapping[str, str]) -> None:
        nobody = pwd.getpwnam("nobody")
        main = _MAIN.format(root=self.root, uid=nobody.pw_uid, gid=nobody.pw_gid)
        # Of a setting that is there twice, Postfix takes the last one, and complains of it.
        kept = [line for line in main.splitlines() if line.partition(" =")[0] not in settings]
        kept += [f"{name} = {value}" for name, value in settings.items()]
        (self.root / "config" / "main.cf").write_text("\n".join(kept) + "\n")

    def _postfix(self, command: str) -> None:
        done = subprocess.run(
            ["postfix", "-c", self.root / "config", command],
            env={"PATH": SEARCH_PATH, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, f"postfix {command}: {done.stdout}\n{self.log}"

    def _greets(self) -> bool:
        try:
            with socket.create_connection((HOST, self.port), timeout=5) as connection:
                return connection.recv(1024).startswith(b"220 ")
        except OSError:
            return False

    def _drained(self) -> bool:
        # In the order in which messages move, so that none slips past between two looks.
        queues = (self.root / "queue" / name for name in ("incoming", "active", "deferred"))
        return not any(path.is_file() for queue in queues for path in queue.rglob("*"))


def wait_until(condition: Callable[[], bool], complaint: Callable[[], str]) -> None:
    """Look again and again until the condition holds; fail with the complaint when it does not."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, complaint()
        time.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
