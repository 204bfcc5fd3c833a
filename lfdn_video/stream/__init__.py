"""Live sources: a camera or a stream, restored as it comes, watched, recorded and passed on.

    process "grabber"  grabber.py     opens, demuxes, decodes a source, and can be ended
    thread  "capture"  capture.py     keeps the grabber alive and the newest frame at hand
    the session        session.py     newest frame -> network -> who watches -> who records
                       adaptation.py scaling.py    how large the network's picture is
    who watches        board.py       where the newest picture and the numbers are pinned
                       preview.py     a window;  web.py web_app.py page/   a page, metrics, health
    who writes         recording.py   files;  push.py pusher.py  a server;  pipe.py  a program

Builds on the rest of `lfdn_video` (engine, scheduler, planes, encoder), which knows nothing of it.
The command is `lfdn_video/live_command.py`.
"""
