"""Live sources: restores a camera or a stream in real time; shows, records and pushes it.

    live.py            `live()`, the Python API; the command is `cli/live.py`
    session.py         newest frame -> network -> board -> sinks
    adaptation.py      chooses the scale of frames in the network;  scaling.py applies it
    meter.py           counts and rates
    capture/           reads a source: a process that decodes, a thread that keeps its newest frame
    sinks/             targets: recordings, servers, programs
    watch/             viewers: a window, a web page, metrics

Shared by all of them:

    board.py           newest view and status, from the session to its viewers
    addresses.py       addresses of sources and targets, and the secrets in them
    wire.py            the messages between processes

`capture`, `sinks` and `watch` do not import each other; `session.py` and the command compose them.
"""
