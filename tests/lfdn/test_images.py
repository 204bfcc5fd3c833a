"""Reading images, and converting them to tensors."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lfdn.datasets import layouts
from lfdn.datasets.images import DataError, to_tensor
from tests.support import datasets


def test_unreadable_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_text("no image")
    with pytest.raises(DataError, match=r"1\.png: not a readable image"):
        layouts.read_clean(tmp_path)[0].clean.read()


def test_to_tensor_maps_pixels_to_zero_to_one() -> None:
    pixels = datasets.draw_image(2)
    tensor = to_tensor(pixels)
    assert tensor.shape == (1, 3, *pixels.shape[:2])
    assert np.array_equal((tensor[0] * 255).round().permute(1, 2, 0).numpy(), pixels)


def test_photo_is_read_upright(tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6  # to be turned clockwise
    pixels = datasets.draw_image(2)
    Image.fromarray(pixels).save(tmp_path / "1.png", exif=turned)
    read = layouts.read_clean(tmp_path)[0].clean.read()
    assert np.array_equal(read, np.rot90(pixels, -1))


def test_cut_off_photo_is_named(tmp_path: Path) -> None:
    file = tmp_path / "1.jpg"
    Image.fromarray(datasets.draw_image(2)).save(file)
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"1\.jpg: not a readable image"):
        layouts.read_clean(tmp_path)[0].clean.read()
