"""People's files as they are: photos on their side, deep pictures, odd endings, hidden folders, kinds of captions."""
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

import train_tiny
import zeroshot
from clip_minimal import CLIP, CLIPConfig, Tokenizer, load, save
from tutorial.extras import own_images
from tutorial.extras.own_images import Folder, read_captions
from tutorial.extras.pictures import find_files, open_image

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
    argv = ["search", str(tmp_path), "--like", paths[1], "--model", checkpoint, "--json"]
    argv += ["--plot", str(tmp_path / "s.png")]
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


@pytest.mark.parametrize("opaque", [65535, 4095])
def test_colours_of_12_bits_beside_transparency_of_16(tmp_path, opaque):
    """What is wholly opaque has the highest level of 16 bits or of 12; the picture is not almost black then."""
    row = b"\0"
    for level in (0, 2048, 4095):
        row += struct.pack(">4H", level, level, level, opaque)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 3, 1, 16, 6, 0, 0, 0))
    (tmp_path / "deep.png").write_bytes(png + chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b""))
    assert np.array(open_image(tmp_path / "deep.png"))[0, :, 0].tolist() == [0, 136, 255]


FORMATS = ["jfif", "jpe", "JPG", "Png", "apng", "tga", "jp2", "pnm", "pbm", "dib", "ico", "pcx", "sgi", "webp", "avif"]


@pytest.mark.parametrize("suffix", FORMATS)
def test_whatever_pillow_opens_is_a_picture(tmp_path, checkpoint, suffix):
    """For search and for training, also in upper case."""
    if suffix == "avif" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    kind = Image.registered_extensions()[f".{suffix.lower()}"]
    for i in range(20):
        image = Image.new("1" if suffix == "pbm" else "RGB", (32, 32))
        image.save(tmp_path / f"picture_{i}.{suffix}", kind)
    assert len(zeroshot.search(*load(checkpoint), tmp_path, "a cat", top=99)) == 20
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
    linked = [path.relative_to(tmp_path / "link to all") for path in find_files(tmp_path / "link to all")]
    assert linked == [path.relative_to(root) for path in expected]


@pytest.mark.parametrize("suffix", ["png", "JPG", "webp", "tif"])
def test_own_figures_are_not_found_by_a_later_search(tmp_path, checkpoint, suffix, capsys):
    """Contact sheets and bars, wherever the later ones are written; nor are they trained on."""
    pictures(tmp_path, *(f"red cat {i}.png" for i in range(20)))
    for number in range(2):
        argv = [str(tmp_path / "red cat 0.png"), "--labels", "cat", "--model", checkpoint]
        assert zeroshot.main([*argv, "--plot", str(tmp_path / f"bars {number}.{suffix}")]) == 0
        argv = ["search", str(tmp_path), "a cat", "--model", checkpoint, "--top", "99"]
        capsys.readouterr()
        assert zeroshot.main([*argv, "--plot", str(tmp_path / f"sheet {number}.{suffix}")]) == 0
        assert len(capsys.readouterr().out.splitlines()) == 20
    captions, problems = read_captions(tmp_path, from_names=True)
    assert len(captions) == 20
    assert len(problems) == 4 and all("a figure of this project" in problem for problem in problems)


def test_an_index_from_before_photos_were_turned_is_made_anew(tmp_path, checkpoint):
    """Its features are those of photos on their side."""
    pictures(tmp_path, "a.png")
    model, _ = zeroshot.load(checkpoint)
    zeroshot.index(model, tmp_path)
    content = dict(np.load(tmp_path / zeroshot.INDEX))
    right = content["features"]
    content["blank"] = content.pop("signature")
    np.savez(tmp_path / zeroshot.INDEX, **{**content, "features": -right})
    assert np.allclose(zeroshot.index(model, tmp_path)[1], right)


def test_a_search_in_a_folder_without_a_name_is_refused(tmp_path, checkpoint, monkeypatch, capsys):
    """An unset variable must not stand for the folder that the command is run in."""
    pictures(tmp_path, "a.png")
    monkeypatch.chdir(tmp_path)
    assert zeroshot.main(["search", "", "a cat", "--model", checkpoint]) == 2
    assert 'DIR is ""' in capsys.readouterr().err and sorted(os.listdir()) == ["a.png"]
    assert zeroshot.main(["search", ".", "", "--model", checkpoint]) == 2
    assert 'TEXT is ""' in capsys.readouterr().err and sorted(os.listdir()) == ["a.png"]


# ---- Captions --------------------------------------------------------------------------------------------------------


def read(root, name, text, encoding="utf-8"):
    """Write a captions file and read the folder -> ({name of a picture: its captions}, what was left out)."""
    path = Path(root, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    captions, problems = read_captions(root)
    return {str(path.relative_to(Path(root).resolve())): texts for path, texts in captions.items()}, problems


TWO = {"a.png": ["a red cat"], "b.png": ["a blue dog, running"]}
TABLES = [
    "image,caption,id\na.png,a red cat,1\nb.png,\"a blue dog, running\",2\n",
    "image_name,comment_number,comment\na.png,0, a red cat\nb.png,0, a blue dog, running\n",
    "image_name| comment_number| comment\na.png| 0| a red cat\nb.png| 0| a blue dog, running\n",
    ",image,caption\n0,a.png,a red cat\n1,b.png,\"a blue dog, running\"\n",
    "title\tfilepath\na red cat\ta.png\na blue dog, running\tb.png\n",
    "\"image\",\"caption\"\r\n\"a.png\",\"a red cat\"\r\n\"b.png\",\"a blue dog, running\"\r\n",
    "\"image\"\t\"caption\"\n\"a.png\"\t\"a red cat\"\n\"b.png\"\t\"a blue dog, running\"\n",
    "\"a.png\",\"a red cat\"\n\"b.png\",\"a blue dog, running\"\n",
    "File Name;Caption\na.png;a red cat\nb.png;a blue dog, running\n",
    "a.png|a red cat\nb.png|a blue dog, running\n",
    "\ufeffimage,caption\n\na.png,a red cat,\nb.png,a blue dog, running\n\n",
    "image,title,caption\na.png,IMG 1,a red cat\nb.png,IMG 2,\"a blue dog,\n running\"\n",
    "image,caption,width\na.png,a red cat,40\nb.png,\"a blue dog,\r\nrunning\",40\n",
]


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("name", ["captions.csv", "metadata.csv", "captions.txt"])
def test_tables_are_read_by_their_header(tmp_path, name, table):
    """More columns, an index, quotes, line ends in quotes, semicolons, bars; two columns without a header."""
    pictures(tmp_path, "a.png", "b.png")
    assert read(tmp_path, name, table) == (TWO, [])


def test_several_columns_of_captions(tmp_path):
    """Each is a caption of the image; fewer of them are no fault, none is one."""
    pictures(tmp_path, "a.png", "b.png")
    table = "caption_1,image,caption_2,text\na cat,a.png,a red cat,x\na dog,b.png,,y\n,b.png,,z\n"
    captions, (problem,) = read(tmp_path, "captions.csv", table)
    assert captions == {"a.png": ["a cat", "a red cat"], "b.png": ["a dog"]}
    assert problem.endswith("captions.csv, line 4: empty caption")


@pytest.mark.parametrize("caption", [
    '"Hello" says a man to a "cat"', '"Hello"', '"Hello', 'a 3" nail', '"', 'one, two; three | four'])
def test_quotes_stay_in_a_table_with_tabs(tmp_path, caption):
    """There they are no quoting, unless the whole table is quoted."""
    pictures(tmp_path, "a.png", "b.png")
    text = f"a.png\t{caption}\nb.png\t{caption}\na.png\tend\n"
    assert read(tmp_path, "captions.tsv", text)[0] == {"a.png": [caption, "end"], "b.png": [caption]}


def test_what_begins_with_a_quote_and_is_not_quoted(tmp_path):
    """With commas too: words after the second quote, or a quote that no other one closes, are no quoting."""
    pictures(tmp_path, "a.png", "b.png")
    table = 'image,caption\na.png,"Hello" says a man\nb.png,"a dog\na.png,"a ""red"" cat"\nb.png, "a, b"\na.png,"end\n'
    captions, problems = read(tmp_path, "captions.csv", table)
    assert captions == {"a.png": ['"Hello" says a man', 'a "red" cat', '"end'], "b.png": ['"a dog', "a, b"]}
    assert not problems
    captions, _ = read(tmp_path, "captions.csv", 'a.png,"a cat\nb.png,a dog"\n')
    assert captions == {"a.png": ['"a cat'], "b.png": ['a dog"']}, "a quote does not swallow the next row"


def test_captions_in_a_list(tmp_path):
    """As pandas writes one into a cell, or JSON; what only begins like one is a caption."""
    pictures(tmp_path, "a.png", "b.png", "c.png")
    table = ("image,caption\na.png,\"['a cat, red', \"\"a cat's tail\"\"]\"\n"
             'b.png,"[""a dog"", ""ein B\\u00e4r""]"\nc.png,[\'80s music]\nc.png,[\'x\', 3]\n')
    expected = {"a.png": ["a cat, red", "a cat's tail"], "b.png": ["a dog", "ein Bär"], "c.png": ["['80s music]", "['x', 3]"]}
    assert read(tmp_path, "captions.csv", table) == (expected, [])


def test_a_row_with_too_many_columns_is_left_out(tmp_path):
    """A comma without quotes, in a caption that is not the last column, can't be told from one between columns."""
    pictures(tmp_path, "a.png", "b.png")
    captions, (problem,) = read(tmp_path, "captions.csv", "image,caption,id\na.png,a cat,1\nb.png,a dog, running,2\n")
    assert captions == {"a.png": ["a cat"]}
    assert problem.endswith("captions.csv, line 3: 4 columns, and the header has 3")


@pytest.mark.parametrize("name, text, message", [
    ("captions.csv", "picture,label\na.png,a cat\n",
     "captions.csv, line 1: it has picture, label; expected one of image, "),
    ("metadata.csv", "\nfile_name,prompt\na.png,a cat\n",
     "metadata.csv, line 2: it has file_name, prompt; expected one of"),
    ("captions.tsv", "image_1\timage_2\tcaption\n", "line 1: it has image_1, image_2, caption; expected one of image"),
    ("captions.csv", "a.png,0,a cat\nb.png,0,a dog\n", "captions.csv, line 1: 3 columns without a header"),
    ("captions.csv", "0,a.png,a cat\n1,b.png,a dog\n", "captions.csv, line 1: 3 columns without a header"),
    ("captions.csv", "a.png,0,a cat\nb.png,1,a dog, running\n", "captions.csv, line 1: 3 columns without a header"),
    ("captions.csv", "a.png,a cat,0\nb.png,a dog, running,1\n", "captions.csv, line 1: 3 columns without a header"),
    ("captions.txt", "NOTE: by hand, 2019\na.png\ta cat\nb.png\ta dog\n",
     "line 1: it has NOTE: by hand, 2019; expected one"),
    ("metadata.jsonl", '{"file_name": "a.png", "prompt": "a cat"}\n',
     "metadata.jsonl: it has file_name, prompt; expected one of"),
    ("captions.json", '[{"picture": "a.png", "text": "a cat"}]',
     "captions.json: it has picture, text; expected one of image, "),
    ("captions.json", '{"info": {}, "licenses": []}', "captions.json: it has info, licenses; expected one of"),
    ("captions.json", '[{"image": "a.png"', "captions.json: not a list of .* \\(Expecting"),
    ("captions.json", '"a.png"', "captions.json: not a list of .* \\(it is 'str'"),
    ("captions.json", '{"images": [], "annotations": [{"id": 3}]}', "captions.json: not a list of .*image_id"),
])
def test_a_captions_file_that_does_not_tell_what_is_what_is_refused(tmp_path, name, text, message):
    """In one line with its columns or fields, and those that are known."""
    pictures(tmp_path, "a.png", "b.png")
    with pytest.raises(ValueError, match=message) as error:
        read(tmp_path, name, text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name, folder", [
    ("metadata.csv", ""), ("train/metadata.csv", "train/"), ("Captions.txt", ""), ("captions.txt", "images/"),
    ("captions.txt", "Images/"), ("Flickr8k.token.txt", "Flicker8k_Dataset/"),
    ("results_20130124.token", "flickr30k-images/"),
    ("Flickr8k_text/Flickr8k.token.txt", "Flickr8k_Dataset/Flicker8k_Dataset/"), ("train/metadata.csv", "")])
def test_where_a_table_and_its_pictures_may_lie(tmp_path, name, folder):
    pictures(tmp_path, f"{folder}a.png", f"{folder}b.png", "__MACOSX/._a.png")
    expected = {f"{folder}a.png": ["a red cat", "a cat"], f"{folder}b.png": ["a dog"]}
    if name.endswith(".csv"):
        text = "file_name,text\na.png,a red cat\na.png,a cat\nb.png,a dog\n"
    else:
        text = "a.png#0\ta red cat\na.png#1\ta cat\nb.png#0\ta dog\n"
    assert read(tmp_path, name, text) == (expected, [])


COCO = {
    "info": {"year": 2017},
    "images": [{"id": 9, "file_name": "b.png", "height": 40}, {"id": 5, "file_name": "a.png"}],
    "annotations": [
        {"image_id": 5, "id": 1, "caption": "a red cat\n"},
        {"image_id": 9, "id": 2, "caption": TWO["b.png"][0]},
    ],
}


@pytest.mark.parametrize("name, folder, data", [
    ("captions.json", "", [{"image": "a.png", "caption": "a red cat"}, {"file_name": "b.png", "text": TWO["b.png"]}]),
    ("captions.json", "", {"a.png": "a red cat", "b.png": TWO["b.png"]}),
    ("annotations/captions_train2017.json", "train2017/", COCO),
    ("captions.json", "images/", COCO),
])
def test_json(tmp_path, name, folder, data):
    """A list of objects, names with their captions, and COCO's captions as downloaded."""
    pictures(tmp_path, f"{folder}a.png", f"{folder}b.png")
    expected = {folder + picture: texts for picture, texts in TWO.items()}
    assert read(tmp_path, name, json.dumps(data)) == (expected, [])


def test_each_bad_entry_of_json_is_reported(tmp_path):
    pictures(tmp_path, "a.png")
    rows = [3, {"image": "gone.png", "caption": "a dog"}, {"image": "a.png", "caption": "a cat"}, {"image": "a.png"}]
    captions, problems = read(tmp_path, "captions.json", json.dumps(rows))
    assert captions == {"a.png": ["a cat"]}
    for problem, what in zip(problems, ["entry 1: not ", "entry 2: no image: ", "entry 4: empty caption"], strict=True):
        assert f"captions.json, {what}" in problem


def test_of_two_captions_files_the_one_that_is_read_is_named(tmp_path, capsys):
    names = [f"{i:02}.png" for i in range(20)]
    pictures(tmp_path, *names)
    (tmp_path / "metadata.csv").write_text("file_name,text\n" + "".join(f"{name},a dog\n" for name in names))
    (tmp_path / "captions.tsv").write_text("".join(f"{name}\ta cat\n" for name in names))
    assert Folder(tmp_path, 24).texts() == ["a cat"] * 18
    line = f"captions are those of captions file {tmp_path / 'captions.tsv'}, not of metadata.csv"
    assert capsys.readouterr().out.splitlines()[0] == line
    assert own_images.main([str(tmp_path)]) == 0
    assert line in capsys.readouterr().out
    (tmp_path / "metadata.csv").unlink()
    Folder(tmp_path, 24)
    assert "captions are" not in capsys.readouterr().out


@pytest.mark.parametrize("note", [
    "Captions by hand, 2019; see a.png and b.png.\n\nThe rest,\nsuch as b.png, is old.\n",
    "",
    "\n",
])
def test_a_note_does_not_switch_the_side_cars_off(tmp_path, note):
    """Though it has the name of a captions file; that it is passed over is said."""
    pictures(tmp_path, "a.png", "b.png")
    (tmp_path / "a.txt").write_text("a red cat")
    (tmp_path / "b.txt").write_text(TWO["b.png"][0])
    captions, (problem,) = read(tmp_path, "captions.txt", note)
    assert captions == TWO and "captions.txt: no captions file" in problem


def test_names_of_side_cars(tmp_path):
    """photo.txt, photo.jpg.txt, photo.caption; where there are two, it is said which is not read."""
    pictures(tmp_path, "a.png", "b.png", "c.png", "d.png")
    for name in ("a.png.txt", "b.caption", "c.txt", "c.caption"):
        (tmp_path / name).write_text(f"words of {name}\n")
    captions, problems = read_captions(tmp_path)
    assert {path.name: texts for path, texts in captions.items()} == {
        "a.png": ["words of a.png.txt"], "b.png": ["words of b.caption"], "c.png": ["words of c.txt"]}
    assert len(problems) == 2 and problems[0].endswith("c.caption: c.txt is read instead")
    assert problems[1].endswith("d.png: no captions: there is no d.txt")


def test_names_of_files_from_other_systems(tmp_path):
    """Backslashes; an é of one character in the table and of two on the disk, and the reverse, in folders too."""
    decomposed = unicodedata.normalize("NFD", "é/bär.png")
    pictures(tmp_path, "more/birds/a.png", "ö.png", decomposed, "images/c.png")
    name = unicodedata.normalize("NFD", "ö.png")
    table = f"more\\birds\\a.png,a cat\n{name},a dog\né\\bär.png,a bear\n.\\c.png,a cow\n"
    captions, problems = read(tmp_path, "captions.csv", table)
    expected = {"more/birds/a.png": ["a cat"], "ö.png": ["a dog"], decomposed: ["a bear"], "images/c.png": ["a cow"]}
    assert captions == expected and not problems
    _, (problem,) = read(tmp_path / "more", "captions.csv", "..\\ö.png,a secret\n")
    assert "outside the folder" in problem


def test_absolute_names_through_a_link(tmp_path):
    """By the link that is given, by another one, and by the folder's own name; also of pictures in a linked folder."""
    pictures(tmp_path, "data/a.png", "data/b.png", "elsewhere/c.png", "data/d.png", "secret.png")
    for link, folder in (("link", "data"), ("other", "data"), ("data/far", "elsewhere")):
        (tmp_path / link).symlink_to(tmp_path / folder)
    names = ["link/a.png", "other/b.png", "link/far/c.png", "data/d.png", "secret.png"]
    table = "".join(f"{tmp_path / name},number {i}\n" for i, name in enumerate(names))
    captions, (problem,) = read(tmp_path / "link", "captions.csv", table)
    assert captions == {"a.png": ["number 0"], "b.png": ["number 1"], "far/c.png": ["number 2"], "d.png": ["number 3"]}
    assert "captions.csv, line 5: " in problem and "secret.png is outside the folder" in problem


WORDS = {
    "Bär": "Bär",
    "niño_2": "niño",
    "लाल_किताब": "लाल किताब",
    "แมวน้ำสีแดง": "แมวน้ำสีแดง",
    "சிவப்பு-பூனை": "சிவப்பு பூனை",          "قِطَّةٌ": "قِطَّةٌ",
    "گربه‌ها 3": "گربه‌ها",
    "❤️ red": "red",
    "IMG_20_x²": "IMG x",
}


@pytest.mark.parametrize("name", WORDS)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_words_of_names_keep_their_marks(tmp_path, name, form):
    """Accents of their own, as on macOS, vowels and tones of Hindi, Thai, Tamil, Arabic, Persian joiners."""
    path = Path(unicodedata.normalize(form, f"{name}.png"))
    assert own_images.name_to_caption(path) == unicodedata.normalize("NFC", WORDS[name])


def test_long_captions_are_counted_and_nothing_fails_for_them(tmp_path, capsys):
    """They are cut in training, in evaluation, and in the figures at its end."""
    data = tmp_path / "data"
    names = [f"{i:02}.png" for i in range(20)]
    pictures(data, *names)
    lines = [f"{name}\t{'many different words, ' * 99}{name}\n" for name in names[:15]]
    (data / "captions.tsv").write_text("".join(lines) + "".join(f"{name}\ta cat\n" for name in names[15:]))
    argv = ["--data", str(data), "--out", str(tmp_path / "run"), "--steps", "2", "--batch-size", "2"]
    assert train_tiny.main(argv) == 0
    folder = Folder(data, 48, quiet=True)
    long = sum(len(text) > 99 for text in folder.texts())
    context = train_tiny.CONFIGS["tiny-RN"].context_length
    line = f"\n{long} of 18 captions are longer than the context of {context} tokens and are cut\n"
    assert line in capsys.readouterr().out
    assert (tmp_path / "run/similarity.png").exists()


@pytest.mark.parametrize("option", ["data", "init", "out"])
@pytest.mark.parametrize("command", [["--{}", ""], ["--{}="]])
def test_what_has_no_name_is_not_trained_on(tmp_path, option, command, monkeypatch, capsys):
    """It comes from an unset variable: pictograms, a new model or this folder are not what was meant."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit:
        train_tiny.main(["--out", "run", "--steps", "2", *(word.format(option) for word in command)])
    assert exit.value.code == 2 and f'--{option} "" names nothing' in capsys.readouterr().err
    assert not os.listdir()
    pictures(tmp_path, *(f"red cat {i}.png" for i in range(20)))
    monkeypatch.chdir(tmp_path)
    assert own_images.main(["", "--captions-from-names"]) == 2
    assert capsys.readouterr().err == 'own_images.py: the folder is "", which names none\n'
