"""Reads a live source: a process decodes it, and a thread keeps its newest frame.

capture.py      keeps a grabber process alive and the newest frame at hand
reconnect.py    timeouts of a silent source, and waits between retries
grabber.py      the process: demuxes, decodes and sends frames
sources.py      opens addresses, files and test sources with FFmpeg
cameras.py      finds cameras, and opens them with OpenCV where FFmpeg cannot
pacing.py       plays files in real time
backlog.py      detects frames that arrive faster than they are decoded
audio.py        forwards the source's audio packets
"""
