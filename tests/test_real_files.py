"""People's files as they are: photos on their side, deep pictures, odd endings, hidden folders, captions of many kinds."""
import json
import os
import struct
import unicodedata
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, features

import zeroshot
from clip_minimal import CLIP, CLIPConfig, Tokenizer, save
from tutorial.extras import own_images
from tutorial.extras.own_images import Folder, read_captions
from zeroshot import open_image

TOKENIZER = Tokenizer.train(["a red cat", "a blue dog"], 520)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    model = CLIP(CLIPConfig(16, 32, 1, 64, 16, 64, 1, 40, len(TOKENIZER.vocab))).eval()
    path = tmp_path_factory.mktemp("model") / "clip.pt"
    save(path, model, TOKENIZER)
    return str(path)


def pictures(folder, *names):
    """Write pictures of one colour each under these names."""
    for i, name in enumerate(names):
        path = Path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40), (20 * i % 256, 100, 50)).save(path)


# ---- Pictures --------------------------------------------------------------------------------------------------------

UPRIGHT = np.kron([[0, 255, 255], [80, 160, 255]], np.ones((16, 16))).astype(np.uint8)  # (32, 48)
# how the rows and columns lie in the file of a picture that is to be turned by the flag
LYING = {1: UPRIGHT, 2: UPRIGHT[:, ::-1], 3: UPRIGHT[::-1, ::-1], 4: UPRIGHT[::-1], 5: UPRIGHT.T,
         6: np.rot90(UPRIGHT), 7: np.rot90(UPRIGHT, 2).T, 8: np.rot90(UPRIGHT, -1)}


def save_lying(path, flag):
    flags = Image.Exif()
    flags[0x112] = flag
    flags[0x10e] = "a description"
    Image.fromarray(np.ascontiguousarray(LYING[flag])).convert("RGB").save(path, exif=flags)


@pytest.mark.parametrize("flag", LYING)
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_a_photo_is_turned_as_its_camera_says(tmp_path, flag, suffix):
    """All eight ways in which a camera can be held, once."""
    save_lying(tmp_path / f"photo.{suffix}", flag)
    image = open_image(tmp_path / f"photo.{suffix}")
    assert image.size == (48, 32)
    np.testing.assert_allclose(np.array(image.convert("L")), UPRIGHT, atol=12)


def test_everything_that_opens_a_photo_turns_it(tmp_path, checkpoint, capsys):
    """Labels, search and its index, training; and the thumbnails of contact sheets."""
    save_lying(tmp_path / "upright.png", 1)
    save_lying(tmp_path / "lying.png", 6)
    paths = [str(tmp_path / "upright.png"), str(tmp_path / "lying.png")]
    assert zeroshot.main([*paths, "--labels", "cat", "dog", "--model", checkpoint, "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert first["probabilities"] == second["probabilities"]
    argv = ["search", str(tmp_path), "--like", paths[1], "--model", checkpoint, "--plot", str(tmp_path / "s.png"), "--json"]
    assert zeroshot.main(argv) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["cosine"] for row in found] == [pytest.approx(1, abs=1e-5)] * 2
    upright, lying = zeroshot.thumbnails(paths)
    assert np.array_equal(upright, lying) and upright.size == (400, 267)
    for i in range(20):
        save_lying(tmp_path / f"photo_{'abcdefghijklmnopqrst'[i]}.png", 6)
    data = Folder(tmp_path, 24, from_names=True)
    assert {data.pixels(i).shape for i in data.train} == {(28, 42, 3)}


def test_a_photo_with_damaged_exif_data_is_turned_all_the_same(tmp_path):
    """Pillow would write them anew for that, and can't where a text should be a number."""
    save_lying(tmp_path / "photo.jpg", 6)
    content = (tmp_path / "photo.jpg").read_bytes()
    damaged = content.replace(b"\x01\x0e\x00\x02", b"\x01\x01\x00\x02")  # the description becomes the height
    assert damaged != content
    (tmp_path / "photo.jpg").write_bytes(damaged)
    assert open_image(tmp_path / "photo.jpg").size == (48, 32)


RAMP = np.arange(64).reshape(8, 8)  # from 0 to 63


@pytest.mark.parametrize("suffix, levels, expected", [
    ("png", (RAMP * 1040).astype(np.uint16), RAMP * 1040 / 65535),  # 16 bits
    ("png", (RAMP * 65).astype(np.uint16), RAMP * 65 / 4095),  # 12 bits in 16
    ("png", (RAMP * 3).astype(np.uint16), RAMP * 3 / 255),  # 8 bits in 16
    ("tif", (RAMP * 1040).astype(np.uint16), RAMP * 1040 / 65535),
    ("pgm", (RAMP * 1040).astype(np.uint16), RAMP * 1040 / 65535),
    ("tif", (RAMP * 34_000_000).astype(np.int32), RAMP * 34_000_000 / (2 ** 32 - 1)),
    ("tif", (RAMP * 16).astype(np.int32), RAMP * 16 / 1023),
    ("tif", (RAMP - 20).astype(np.int32), RAMP / 63),  # below 0
    ("tif", (RAMP / 63).astype(np.float32), RAMP / 63),  # fractions from 0 to 1
    ("tif", (RAMP / 126).astype(np.float32), RAMP / 126),
    ("pfm", (RAMP * 5).astype(np.float32), RAMP / 63),  # and larger ones
    ("tif", (RAMP / 7 - 3).astype(np.float32), RAMP / 63),
    ("tif", np.full((8, 8), 5, np.int32), np.full((8, 8), 5 / 255)),
    ("tif", np.full((8, 8), 0, np.float32), np.zeros((8, 8))),
], ids=lambda value: value if isinstance(value, str) else "")
def test_deep_pictures_are_neither_white_nor_black(tmp_path, suffix, levels, expected):
    """Their levels are scaled by the range that they have, and preprocess gets bytes."""
    Image.fromarray(levels).save(tmp_path / f"deep.{suffix}")
    image = open_image(tmp_path / f"deep.{suffix}")
    assert image.mode == "L"
    assert np.abs(np.array(image) - 255 * expected).max() <= 0.51


@pytest.mark.filterwarnings("error")
def test_what_is_no_number_in_a_picture_of_fractions_is_black(tmp_path):
    Image.fromarray(np.array([[np.nan, 0.2, 1, np.inf]], np.float32)).save(tmp_path / "depth.tif")
    assert np.array(open_image(tmp_path / "depth.tif")).tolist() == [[0, 51, 255, 0]]


def test_integers_without_a_sign(tmp_path):
    """Pillow takes the upper half of the 32-bit levels of a TIFF file for negative ones."""
    tags = [(256, 3), (257, 1), (258, 32), (259, 1), (262, 1), (273, 8), (277, 1), (279, 12), (339, 1)]
    content = b"II*\0" + struct.pack("<I3I", 20, 0, 2 ** 31, 2 ** 32 - 1) + struct.pack("<H", len(tags))
    for tag, value in tags:
        content += struct.pack("<HHII", tag, 4, 1, value)
    (tmp_path / "count.tif").write_bytes(content + bytes(4))
    assert np.array(open_image(tmp_path / "count.tif")).tolist() == [[0, 128, 255]]


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


@pytest.mark.parametrize("levels, expected", [((0, 32768, 65535), [0, 128, 255]), ((0, 2048, 4095), [0, 136, 255])])
def test_colours_of_16_bits(tmp_path, levels, expected):
    """A camera's PNG. Pillow keeps the upper byte of each level, in which 12 bits in 16 leave four."""
    row = b"\0" + struct.pack(">9H", *(level for level in levels for _ in range(3)))
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 3, 1, 16, 2, 0, 0, 0))
    (tmp_path / "deep.png").write_bytes(png + chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b""))
    assert np.array(open_image(tmp_path / "deep.png"))[0, :, 0].tolist() == expected


FORMATS = ["jfif", "jpe", "JPG", "Png", "apng", "tga", "jp2", "pnm", "pbm", "dib", "ico", "pcx", "sgi", "webp", "avif"]


@pytest.mark.parametrize("suffix", FORMATS)
def test_whatever_pillow_opens_is_a_picture(tmp_path, checkpoint, suffix, capsys):
    """For search and for training, also in upper case."""
    if suffix == "avif" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    kind = Image.registered_extensions()[f".{suffix.lower()}"]
    for i in range(20):
        image = Image.new("1" if suffix == "pbm" else "RGB", (32, 32))
        image.save(tmp_path / f"picture_{i}.{suffix}", kind)
    argv = ["search", str(tmp_path), "a cat", "--model", checkpoint, "--plot", str(tmp_path / "s.png"), "--top", "99"]
    assert zeroshot.main(argv) == 0
    assert len(capsys.readouterr().out.splitlines()) == 20
    assert len(Folder(tmp_path, 24, from_names=True).paths) == 20


def test_pictures_that_pillow_cannot_open_are_counted_in_one_line(tmp_path, checkpoint, capsys):
    root = tmp_path / "data"
    pictures(root, *(f"red cat {i}.png" for i in range(20)))
    for name in ("a.heic", "b.HEIC", "c.svg", "film.mpg", "notes.pdf"):
        (root / name).write_text("what Pillow can't open")
    line = "left out: 3 pictures that Pillow can't open (.heic, .svg)\n"
    argv = ["search", str(root), "a cat", "--model", checkpoint, "--plot", str(tmp_path / "sheet.png")]
    assert zeroshot.main(argv) == 0
    assert capsys.readouterr().err.count("left out") == 1
    assert zeroshot.main(argv) == 0
    assert line in capsys.readouterr().err
    Folder(root, 24, from_names=True)
    assert capsys.readouterr().err == line
    for path in root.glob("*.png"):
        path.with_suffix(".txt").write_text("a red cat")
    Folder(root, 24)
    assert line in capsys.readouterr().err


def test_hidden_files_and_thumbnails_are_passed_over(tmp_path):
    pictures(tmp_path, "a.png", "b/c.png", ".thumbnails/a.png", "@eaDir/a.png/SYNOPHOTO.jpg", "__MACOSX/._a.png",
             "b/._c.png", "b/.hidden/d.png", "thumbnails of birds/e.png")
    expected = [tmp_path / "a.png", tmp_path / "b/c.png", tmp_path / "thumbnails of birds/e.png"]
    assert list(zeroshot.find_pictures(tmp_path)) == expected
    assert list(read_captions(tmp_path, from_names=True)[0]) == expected
    hidden = tmp_path / ".hidden album"
    pictures(hidden, "a.png")
    assert list(zeroshot.find_pictures(hidden)) == [hidden / "a.png"], "the folder that is asked for is not passed over"


def test_linked_folders_are_followed_once_and_loops_end(tmp_path):
    """By the real folder's name where both lie in the folder; a link to the folder above brings in nothing."""
    root = tmp_path / "data"
    pictures(tmp_path, "beside.png", "elsewhere/e.png", "data/z/real.png", "data/a.png")
    (root / "a link").symlink_to(root / "z")
    (root / "z/loop").symlink_to(root)
    (root / "z/up").symlink_to(tmp_path)
    (root / "far").symlink_to(tmp_path / "elsewhere")
    (root / "far again").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "link to all").symlink_to(root)
    expected = [root / "a.png", root / "far/e.png", root / "z/real.png"]
    assert list(zeroshot.find_pictures(root)) == expected
    linked = [path.relative_to(tmp_path / "link to all") for path in zeroshot.find_files(tmp_path / "link to all")]
    assert linked == [path.relative_to(root) for path in expected]


def test_own_figures_are_not_found_by_a_later_search(tmp_path, checkpoint, capsys):
    """Contact sheets and bars, wherever the later ones are written; nor are they trained on."""
    pictures(tmp_path, *(f"red cat {i}.png" for i in range(20)))
    for number in range(2):
        argv = [str(tmp_path / "red cat 0.png"), "--labels", "cat", "--model", checkpoint]
        assert zeroshot.main([*argv, "--plot", str(tmp_path / f"bars {number}.png")]) == 0
        argv = ["search", str(tmp_path), "a cat", "--model", checkpoint, "--top", "99"]
        capsys.readouterr()
        assert zeroshot.main([*argv, "--plot", str(tmp_path / f"sheet {number}.png")]) == 0
        assert len(capsys.readouterr().out.splitlines()) == 20
    captions, problems = read_captions(tmp_path, from_names=True)
    assert len(captions) == 20
    assert len(problems) == 4 and all("a figure of zeroshot.py" in problem for problem in problems)


def test_an_index_from_before_photos_were_turned_is_made_anew(tmp_path, checkpoint):
    """Its features are those of photos on their side."""
    pictures(tmp_path, "a.png")
    model, _ = zeroshot.load(checkpoint)
    zeroshot.index(model, tmp_path)
    content = dict(np.load(tmp_path / zeroshot.INDEX))
    right = content["features"]
    content["blank"] = content.pop("empty")
    np.savez(tmp_path / zeroshot.INDEX, **{**content, "features": -right})
    assert np.allclose(zeroshot.index(model, tmp_path)[1], right)


def test_a_search_in_a_folder_without_a_name_is_refused(tmp_path, checkpoint, monkeypatch, capsys):
    """An unset variable must not stand for the folder that the command is run in."""
    pictures(tmp_path, "a.png")
    monkeypatch.chdir(tmp_path)
    assert zeroshot.main(["search", "", "a cat", "--model", checkpoint]) == 2
    assert 'DIR is ""' in capsys.readouterr().err and sorted(os.listdir()) == ["a.png"]
