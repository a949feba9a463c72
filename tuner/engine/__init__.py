"""The loop: a pure state machine, and the driver that feeds it.

`machine` decides (events in, commands out; no I/O, no clock of its own), `driver` acts on what it
decides, `writer` commits in batches, `worker` is what runs an objective at the far end, and `live`
is the trial as the objective sees it.
"""
