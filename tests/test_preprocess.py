"""Opening pictures and turning them into what the image encoder reads, as OpenAI's transform with Pillow does."""
import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from clip_minimal import preprocess
from tutorial.extras.pictures import open_image

GOLDENS = Path(__file__).parent / "goldens"
GOLDEN = json.loads((GOLDENS / "preprocess.json").read_text())["images"]
MEAN = np.array([0.48145466, 0.4578275, 0.40821073])
STD = np.array([0.26862954, 0.26130258, 0.27577711])
GRADIENT = np.add.outer(np.arange(12), 2 * np.arange(12)).astype(np.uint8)


def levels(x):
    """Normalised (3, R, R) -> the uint8 picture (R, R, 3) that it came from."""
    return np.round((x.double().permute(1, 2, 0).numpy() * STD + MEAN) * 255).astype(np.uint8)


@pytest.mark.parametrize("resolution", [32, 224])
@pytest.mark.parametrize("name", GOLDEN)
def test_equals_openai(name, resolution):
    """RGB, grey, palette and transparent pictures, landscape and portrait, up and down in size, to the last level."""
    golden = np.load(GOLDENS / "preprocess.npz")
    image = Image.open(GOLDENS / GOLDEN[name]["file"])
    assert image.mode == GOLDEN[name]["mode"] and list(image.size) == GOLDEN[name]["size"]
    x = preprocess(image, resolution)
    assert x.shape == (3, resolution, resolution) and x.dtype == torch.float32
    expected = GOLDEN[name][f"n{resolution}"]
    assert hashlib.sha256(levels(x).tobytes()).hexdigest() == expected["rgb_uint8_sha256"]
    assert abs(x.double().mean() - expected["mean"]) < 1e-5 and abs(x.double().std() - expected["std"]) < 1e-3
    if resolution == 32:
        np.testing.assert_allclose(x, golden[f"{name}/n32"], atol=1e-5)
    else:
        np.testing.assert_allclose(x[:, 7::14, 7::14], golden[f"{name}/n224_grid"], atol=1e-5)


def test_black_and_white_by_hand():
    black, white = preprocess(Image.new("RGB", (4, 4)), 4), preprocess(Image.new("RGB", (4, 4), "white"), 4)
    np.testing.assert_allclose(black[:, 0, 0], [-1.792263, -1.752097, -1.480220], atol=1e-5)
    np.testing.assert_allclose(white[:, 3, 3], [1.930336, 2.074884, 2.145897], atol=1e-5)


@pytest.mark.parametrize("extra, first", [(0, 0), (1, 0), (2, 1), (3, 2), (4, 2), (5, 2), (6, 3), (7, 4)])
def test_centre_crop_rounds_half_to_even(extra, first):
    """A picture of 8 x (8 + extra) needs no resizing; its crop starts at round(extra / 2)."""
    ramp = np.repeat(np.arange(8 + extra, dtype=np.uint8)[:, None], 8, axis=1)
    assert levels(preprocess(Image.fromarray(ramp), 8))[:, 0, 0].tolist() == list(range(first, first + 8))
    assert levels(preprocess(Image.fromarray(ramp.T.copy()), 8))[0, :, 0].tolist() == list(range(first, first + 8))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB",
                                  "I", "F", "I;16"])
def test_a_picture_of_one_colour_keeps_it_in_every_mode(mode):
    """Resizing and cropping change nothing about one colour, so only the conversion to RGB is left."""
    colour = {1: 100, 2: (100, 255), 3: (100, 50, 200), 4: (100, 50, 200, 255)}[Image.getmodebands(mode)]
    image = Image.new(mode, (9, 7), colour)
    got = levels(preprocess(image, 6))
    assert (got == np.array(image.convert("RGB").getpixel((0, 0)))).all()


# SHA-256 of what OpenAI's transform (torchvision 0.29.1, Pillow 13.0.0) makes of `noise` at 32 pixels, as 50 x 37
# landscape and one pixel wide.
MODES = {
    "1": ("d833e0c30a91", "e80232b4d18d"), "L": ("3a3694c0a6e6", "ae0ed28ee199"),
    "LA": ("2f24c56dd968", "a3518e653d6e"), "P": ("4dec4ababfcd", "16e5c79c5768"),
    "RGB": ("a1e263640f2f", "d8addd9ec5b0"),
    "RGBA": ("a4d46b95b078", "2b6238834148"), "CMYK": ("cb3e97267ad9", "e4da20d7b819"),
    "YCbCr": ("b74c71dab254", "4312dc62bc45"), "I;16": ("7e33dde0bd64", "1a7493ff2f2b"),
}


def noise(mode, size):
    """Random bytes as a picture of the mode; a palette has a transparent entry."""
    length = len(Image.new(mode, size).tobytes())
    image = Image.frombytes(mode, size, np.random.default_rng(0).integers(256, size=length, dtype=np.uint8).tobytes())
    if mode == "P":
        image.putpalette(np.random.default_rng(1).integers(256, size=768, dtype=np.uint8).tobytes())
        image.info["transparency"] = 3
    return image


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("i, size", [(0, (50, 37)), (1, (1, 90))])
def test_every_mode_equals_openai(mode, i, size):
    assert hashlib.sha256(levels(preprocess(noise(mode, size), 32)).tobytes()).hexdigest()[:12] == MODES[mode][i]


@pytest.mark.parametrize("mode", ["PA", "RGBX", "HSV", "LAB", "I", "F"])
def test_noise_in_every_other_mode_is_finite(mode):
    size = len(Image.new(mode, (12, 10)).tobytes())
    bytes_ = np.random.default_rng(0).integers(0, 120, size, dtype=np.uint8).tobytes()  # below 128: no NaN among the F
    x = preprocess(Image.frombytes(mode, (12, 10), bytes_), 8)
    assert x.shape == (3, 8, 8) and x.isfinite().all()


def test_preprocess_ignores_an_exif_flag(tmp_path):
    """As OpenAI's code does: a photograph that its camera marked as lying on its side stays so."""
    flags = Image.Exif()
    flags[0x112] = 6  # "turn me by a quarter"
    picture = noise("RGB", (50, 37))
    picture.save(tmp_path / "plain.jpg")
    picture.save(tmp_path / "turned.jpg", exif=flags)
    assert Image.open(tmp_path / "turned.jpg").getexif()[0x112] == 6
    plain, turned = (preprocess(Image.open(tmp_path / name), 32) for name in ("plain.jpg", "turned.jpg"))
    assert turned.equal(plain)


# ---- Files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "gif", "tiff"])
def test_open_image_reads_the_whole_file(tmp_path, suffix):
    path = tmp_path / f"picture.{suffix}"
    Image.fromarray(GRADIENT).save(path)
    image = open_image(path)
    path.unlink()
    np.testing.assert_allclose(np.array(image.convert("L")), GRADIENT, atol=3 if suffix == "jpg" else 0)


def test_open_image_puts_transparent_pictures_on_white(tmp_path):
    """Opaque, half and fully transparent: 0.5 x 100 + 0.5 x 255 is 177.5 (alpha 128 is a little more than half)."""
    path = tmp_path / "picture.png"
    rgba = Image.fromarray(np.array([[[100, 0, 40, 255], [100, 0, 40, 128], [100, 0, 40, 0]]], dtype=np.uint8))
    rgba.save(path)
    assert np.array(open_image(path).convert("RGB")).tolist() == [[[100, 0, 40], [177, 127, 147], [255, 255, 255]]]
    rgba.convert("LA").save(path)
    grey = rgba.convert("L").getpixel((0, 0))
    assert np.array(open_image(path).convert("L")).tolist() == [[grey, (grey * 128 + 255 * 127) // 255, 255]]
    palette = Image.new("P", (2, 1))
    palette.putpalette([9, 8, 7, 60, 50, 40])
    palette.putpixel((1, 0), 1)
    palette.save(path, transparency=0)
    assert np.array(open_image(path).convert("RGB")).tolist() == [[[255, 255, 255], [60, 50, 40]]]


@pytest.mark.parametrize("content", ["truncated", "empty", "text", "directory", "huge"])
def test_unreadable_picture_is_one_line_that_names_the_file(tmp_path, monkeypatch, content):
    path = tmp_path / "picture.png"
    Image.fromarray(GRADIENT).resize((64, 64)).save(path)
    if content == "truncated":
        path.write_bytes(path.read_bytes()[:100])
    elif content in ("empty", "text"):
        path.write_text("" if content == "empty" else "no picture\n")
    elif content == "directory":
        path.unlink()
        path.mkdir()
    else:  # to Pillow, more than twice the limit is an attack
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 64 * 64 // 3)
    with pytest.raises(ValueError, match=re.escape(str(path))) as error:
        open_image(path)
    assert "\n" not in str(error.value)


def test_missing_picture_is_one_line_that_names_the_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=re.escape(str(tmp_path / "none.png"))) as error:
        open_image(tmp_path / "none.png")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("size, off", [((1, 3000), 0), ((3000, 1), 0), ((2, 3001), 0), ((3001, 6), 2), ((7, 3001), 2)])
def test_ribbon_is_treated_as_if_it_were_resized_whole(tmp_path, size, off):
    """At most `off` of 255 levels away: 0 where the short side divides R times the long one, so that no length is
    rounded."""
    noise = np.random.default_rng(0).integers(256, size=(size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "ribbon.png")
    ribbon = open_image(tmp_path / "ribbon.png")
    assert max(ribbon.size) <= 102 * min(ribbon.size)
    whole = levels(preprocess(Image.fromarray(noise), 32))
    assert np.abs(levels(preprocess(ribbon, 32)).astype(int) - whole).max() <= off


def test_long_ribbon_does_not_fill_the_memory(tmp_path):
    """Resized whole, its copy would take 100 GB."""
    Image.new("L", (1, 2_000_000), 255).save(tmp_path / "ribbon.png")
    assert preprocess(open_image(tmp_path / "ribbon.png"), 224).min() > 1.9


def test_preprocess_leaves_the_picture_as_it_was():
    image = Image.fromarray(GRADIENT).convert("RGBA")
    before = image.tobytes()
    preprocess(image, 8)
    assert image.tobytes() == before and image.mode == "RGBA"


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files can be counted on Linux only")
def test_open_image_closes_its_file(tmp_path):
    """Pillow keeps the file of an animation open, for its other pictures."""
    path = tmp_path / "animation.gif"
    Image.fromarray(GRADIENT).save(path, save_all=True, append_images=[Image.fromarray(255 - GRADIENT)])
    files = Path("/proc/self/fd")
    before = len(list(files.iterdir()))
    images = [open_image(path) for _ in range(5)]
    assert len(list(files.iterdir())) == before
    for image in images:
        assert np.array(image.convert("L")).tolist() == GRADIENT.tolist()
