"""The whisper tools: ``carbonpy whisper COMMAND``, and the same under the names of the whisper package's scripts.

The law: a tool is a module with ``main(argv, prog) -> int``; `table` names it.  What a tool prints for one file is what
the script of that name prints, so that what parses the one parses the other; everything beyond is an option.  No tool
leaves a half-written file (`carbonpy.whisper.replacing`), and each says with its exit code whether all went well.
"""
