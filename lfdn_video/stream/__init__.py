"""Live sources: a camera or a stream, restored as it comes, shown, recorded and passed on.

    live.py            `live()`, the Python API; the command is `cli/live.py`
    session.py         newest frame -> network -> board -> sinks
    adaptation.py      chooses the scale of frames in the network;  scaling.py applies it
    meter.py           counts and rates
    capture/           reads a source: a process that decodes, a thread that keeps its newest frame
    sinks/             targets: recordings, servers, programs
    watch/             viewers: a window, a web page, metrics

Shared by all of them:

    board.py           newest frame and status, from the session to its viewers
    addresses.py       names of sources and targets, and the secrets in them
    child.py wire.py   processes of this program, and the messages between them

`capture`, `sinks` and `watch` do not import each other; `session.py` and the command compose them.
"""
