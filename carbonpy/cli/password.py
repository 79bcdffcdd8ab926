"""``carbonpy password``: a line for HTTP_AUTH_FILE.

The law: the password is read from the terminal without showing it, or from standard input; it is on no
command line and in no file.
"""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import Sequence

from carbonpy.errors import CarbonError

_EPILOG = """\
example:  carbonpy password ann >> /etc/carbonpy/users

exit codes: 0 the line was printed, 1 no line, because the two passwords differ or one is empty
"""


def main(argv: Sequence[str]) -> int:
    """Print ``name:hash`` for a password that is asked for; 0."""
    options = argparse.ArgumentParser(
        prog="carbonpy password",
        description="Print the line of a user for the file that HTTP_AUTH_FILE names.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options.add_argument("name", help="name of the user")
    name = options.parse_args(argv).name
    if ":" in name or not name.strip() or not name.isprintable() or name.startswith("#"):
        raise CarbonError(f"{name!r} cannot be a user's name; use letters and digits, no colon")
    if sys.stdin.isatty():
        password = getpass.getpass("Password: ")
        if getpass.getpass("Again: ") != password:
            raise CarbonError("the two passwords differ; try again")
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    if not password:
        raise CarbonError("the password is empty; give one")
    from carbonpy.web.access import hashed

    print(f"{name}:{hashed(password)}")
    return 0
