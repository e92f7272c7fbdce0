"""A private Postfix on loopback that keeps all mail, and the Chinook store to send from."""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from postfix import chinook
from postfix.server import Postfix, free_port

MISSING = "Debian's postfix is not installed; .ci/install-postfix installs it"
NOT_ROOT = "Postfix's master can be started by root only"
