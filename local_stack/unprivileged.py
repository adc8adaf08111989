"""Runs as ``nobody`` what refuses to run as root, or should not."""

from __future__ import annotations

import os
import pwd
import shutil
from pathlib import Path


def can_be_unprivileged() -> bool:
    """Whether this user is not root, or can run programs as another."""
    return os.geteuid() != 0 or shutil.which("setpriv") is not None


def unprivileged(program: str, *arguments: str) -> list[str]:
    """Return a command that never runs as root.

    :param program: absolute path.
    """
    user = _user()
    prefix = []
    if user:
        prefix = [f"{shutil.which('setpriv')}", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}"]
        prefix += ["--clear-groups"]
    return [*prefix, program, *arguments]


def give_to_unprivileged(path: Path) -> None:
    """Let such a command use a file or folder."""
    if user := _user():
        os.chown(path, user.pw_uid, user.pw_gid)


def _user() -> pwd.struct_passwd | None:
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None
