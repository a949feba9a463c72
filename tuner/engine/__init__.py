"""The loop of a study: a pure state machine, and the driver that executes its commands.

`machine` turns events into commands without I/O, `driver` executes the commands, `writer` commits
records in batches, `ask_tell` serves manual loops, and `worker` runs objectives.
"""
