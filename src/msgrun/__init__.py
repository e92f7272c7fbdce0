"""Run and diagnose message runs: the bulk e-mailing of invoices.

Usable without the command line:

    workspace = Workspace.of(load_config(path))
    plan, checked = plan_run(workspace, "monthly", selection)
    ending = start(workspace, "monthly", selection, confirm=lambda plan, checked: True, wait=False)
    report = diagnose(workspace, "CU4242", today=date.today())
"""

from importlib import import_module
from typing import Any, Final

__version__ = "0.1.0"

_OFFERED: Final = {
    "Workspace": "msgrun.workspace",
    "deliver": "msgrun.control.work",
    "diagnose": "msgrun.doctor",
    "load_config": "msgrun.config",
    "plan_run": "msgrun.control.start",
    "restart": "msgrun.control.restart",
    "start": "msgrun.control.start",
    "stop": "msgrun.control.stop",
}


def __getattr__(name: str) -> Any:
    """Load what is offered when it is first asked for, so that the program starts quickly."""
    if name not in _OFFERED:
        raise AttributeError(f"module 'msgrun' has no attribute {name!r}")
    return getattr(import_module(_OFFERED[name]), name)
