"""Reading a live source: a process that decodes it, and a thread that keeps its newest frame.

capture.py      keeps a grabber process alive and the newest frame at hand
reconnect.py    how long to wait for a frame, and between two tries
grabber.py      the process: demuxes, decodes and sends frames
sources.py      opens addresses, files and test sources with FFmpeg
cameras.py      finds cameras, and opens them with OpenCV where FFmpeg cannot
pacing.py       plays files in real time
backlog.py      notices that frames arrive faster than they are decoded
audio.py        passes the source's audio packets on
"""
