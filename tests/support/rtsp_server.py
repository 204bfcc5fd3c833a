"""An RTSP server on GStreamer, for the system's own Python: serves images in a loop.

    /usr/bin/python3 tests/support/rtsp_server.py PATTERN PORT [USER:PASSWORD]
    /usr/bin/python3 tests/support/rtsp_server.py FILE.mkv PORT [USER:PASSWORD]

PATTERN names JPEGs, as frame_%05d.jpg, counted from 0. Prints "ready" when it listens. All clients
get the same frames, as from a camera; the path is /rain. With FILE.mkv it writes what is pushed to
/rain to that file. Needs gir1.2-gst-rtsp-server-1.0, python3-gi and GStreamer's plugins.
"""

import sys
from pathlib import Path
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

PIPELINE = (
    '( multifilesrc location="{pattern}" loop=true caps="image/jpeg,framerate=25/1" ! jpegdec ! '
    "videoconvert ! video/x-raw,format=I420 ! "
    "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=25 ! "
    "rtph264pay name=pay0 pt=96 config-interval=1 )"
)

RECEIVING = '( rtph264depay name=depay0 ! h264parse ! matroskamux ! filesink location="{pattern}" )'


def main() -> None:
    pattern, port = Path(sys.argv[1]).resolve(), sys.argv[2]
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    factory = GstRtspServer.RTSPMediaFactory()
    receives = pattern.suffix == ".mkv"
    factory.set_launch((RECEIVING if receives else PIPELINE).format(pattern=pattern))
    factory.set_shared(not receives)
    if receives:
        factory.set_transport_mode(GstRtspServer.RTSPTransportMode.RECORD)
    if len(sys.argv) > 3:
        protect(server, factory, *sys.argv[3].split(":"))
    server.get_mount_points().add_factory("/rain", factory)
    if not server.attach(None):
        sys.exit(f"port {port} cannot be listened on")
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    GLib.MainLoop().run()


def protect(server: Any, factory: Any, user: str, password: str) -> None:
    """Require a user and a password."""
    role = GstRtspServer.RTSPToken()
    role.set_string("media.factory.role", "user")
    auth = GstRtspServer.RTSPAuth()
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), role)
    server.set_auth(auth)
    permissions = GstRtspServer.RTSPPermissions()
    permissions.add_permission_for_role("user", "media.factory.access", True)
    permissions.add_permission_for_role("user", "media.factory.construct", True)
    factory.set_permissions(permissions)


if __name__ == "__main__":
    main()
