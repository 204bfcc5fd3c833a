"""Sinks of a live session: targets of the restored frames and the source's audio.

recording.py     files                 live_writer.py    encodes and muxes, for both
push.py          a server              live_encoder.py   encoders without delay
pusher.py        the process that      audio_queue.py    audio that waits for its frames
                 sends to it
pipe.py          another program
"""
