"""Who else can log in, by `/etc/passwd`."""

from __future__ import annotations

import os
from pathlib import Path

from wecityctl.listeners.users import other_users


def test_those_with_a_shell_and_another_number_are_others(tmp_path: Path) -> None:
    passwd = tmp_path / "passwd"
    passwd.write_text(
        f"root:x:0:0:root:/root:/bin/bash\nme:x:{os.getuid()}:1::/home/me:/bin/bash\n"
        "daemon:x:1:1::/:/usr/sbin/nologin\nsync:x:4:65534::/bin:/bin/sync\nold:x:1004:1::/:/bin/false\n"
        "wang:x:1001:1001:王:/home/wang:/bin/bash\nli:x:1002:1002::/home/li:\nbroken line\n"
    )
    assert other_users(passwd) == ("wang", "li")


def test_without_the_file_nobody_is_known(tmp_path: Path) -> None:
    assert other_users(tmp_path / "none") == ()
