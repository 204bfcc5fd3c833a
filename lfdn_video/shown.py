"""What a frame shows: brightness and tint, the same for RGB and YUV. `verify.py` compares them."""

from lfdn_video.media import Frame, FrameFormat, Plane


def shown_luma(frame: Frame, info: FrameFormat) -> Plane:
    """Return the brightness of each pixel; of RGB by the matrix that a video of it would have."""
    if info.format.family != "rgb":
        return frame.planes[0]
    (red, blue), _ = info.colour.resolved(info.height, info.format, width=info.width)
    green_plane, blue_plane, red_plane = frame.planes[:3]
    luma: Plane = red * red_plane + (1 - red - blue) * green_plane + blue * blue_plane
    return luma


def measure_tint(frame: Frame, info: FrameFormat) -> tuple[float, float]:
    """Return how much redder and bluer than gray a frame is on average, as parts of white."""
    if info.format.family == "gray":
        return 0.0, 0.0
    (red, blue), full_range = info.colour.resolved(info.height, info.format, width=info.width)
    bits = info.format.depth - 8
    if info.format.family == "rgb":
        peak = (1 << 8 + bits) - 1
        luma = float(shown_luma(frame, info).mean())
        of_blue, of_red = ((float(plane.mean()) - luma) / peak for plane in frame.planes[1:3])
        return of_red, of_blue
    peak = (1 << 8 + bits) - 1 if full_range else 224 << bits
    cb, cr = ((float(plane.mean()) - (128 << bits)) / peak for plane in frame.planes[1:3])
    return 2 * (1 - red) * cr, 2 * (1 - blue) * cb
