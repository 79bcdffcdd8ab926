"""``carbonpy whisper``: the page of the whisper tools, and the way to each of them.

The law: ``carbonpy whisper WORD``, the script ``whisper-WORD.py`` and the one without ``.py`` are the same function.
Errors that a person can mend end as one line ``[ERROR] ...`` on standard error and exit code 1, wrong arguments as
exit code 2.
"""

from __future__ import annotations

import difflib
import importlib
import os
import signal
import sys
from collections.abc import Sequence

from carbonpy.cli.whisper.table import TOOLS, Tool, WrongArguments, by_word
from carbonpy.errors import CarbonError

_HELP = """\
carbonpy whisper looks into whisper files, changes and mends them; also beside a daemon that writes to them.

usage: carbonpy whisper COMMAND [OPTIONS] ...

Commands:
{commands}

For example:
  carbonpy whisper info cpu.wsp                        what a file keeps
  carbonpy whisper plot cpu.wsp --from -6h             a look at it
  carbonpy whisper resize cpu.wsp 10s:6h 1m:30d        other archives; the old file stays as cpu.wsp.bak
  carbonpy whisper resize --dry-run /srv/whisper/servers 10s:6h 1m:30d
                                                       a whole tree, in parallel; only say what would be done
  carbonpy whisper fill /mnt/other/whisper /srv/whisper
                                                       fill the gaps of all files from those of another server
  carbonpy whisper find-corrupt /srv/whisper           which files are damaged

A directory in place of a file means all .wsp files below it. "carbonpy whisper COMMAND --help" explains one
command. They are also installed as whisper-create.py, whisper-info.py and so on, with the options of those scripts.
Exit codes: 0 all is well, 1 something could not be done or was found wrong, 2 wrong arguments, 130 interrupted.
"""


def help_text() -> str:
    """The page that ``carbonpy whisper --help`` prints."""
    width = max(len(tool.word) for tool in TOOLS)
    return _HELP.format(commands="\n".join(f"  {tool.word:<{width}}  {tool.purpose}" for tool in TOOLS))


def main(argv: Sequence[str]) -> int:
    """Run the tool that `argv` names; its exit code."""
    if not argv:
        sys.stderr.write(help_text())
        return 2
    word, rest = argv[0], list(argv[1:])
    if word == "help" and rest:
        word, rest = rest[0], ["--help"]
    if word in ("-h", "--help", "help"):
        sys.stdout.write(help_text())
        return 0
    tool = by_word(word)
    if tool is None:
        words = [one.word for one in TOOLS]
        close = difflib.get_close_matches(word, words, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"the commands are {', '.join(words)}"
        print(f"carbonpy whisper: there is no command {word!r}; {hint}", file=sys.stderr)
        return 2
    return run(tool, rest, f"carbonpy whisper {tool.word}")


def run(tool: Tool, argv: Sequence[str], prog: str) -> int:
    """Run a tool under a name; its exit code."""
    try:
        code: int = importlib.import_module(tool.module).main(argv, prog)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        raise
    except WrongArguments as error:
        print(f"{prog}: {error}", file=sys.stderr)
        return 2
    except (CarbonError, ValueError) as error:
        print(f"[ERROR] {error}", file=sys.stderr)
        return 1
    except OSError as error:
        where = f"{os.fsdecode(error.filename)}: " if error.filename else ""
        print(f"[ERROR] {where}{error.strerror or error}", file=sys.stderr)
        return 1


def entry() -> None:
    """The console script of every tool: the name under which it was called says which."""
    prog = os.path.basename(sys.argv[0])
    tool = by_word(prog)
    if tool is None:
        sys.exit(f"{prog}: there is no whisper tool of this name; run: carbonpy whisper --help")
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        sys.exit(run(tool, sys.argv[1:], prog))
    except KeyboardInterrupt:
        sys.exit(130)
