"""The language's semantics: runs documents over a small interface (effects), doing no I/O itself.

Hosts start at `interpret.interpret`. `engine` is the life of a task, `tasks/` the kinds of task, `frames`
the state that a run is continued from, `dataflow` what expressions see, `events` what a run tells.
"""
