"""--data: the layouts in which people keep captioned images, and what happens to bad ones."""
import json
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

import zeroshot
from clip_minimal import normalize
from zeroshot import Folder, open_image, read_captions


@pytest.fixture
def root(tmp_path):
    """Thirty pictures of one colour each, in a folder inside a folder with a picture that is none of theirs."""
    Image.new("RGB", (60, 60)).save(tmp_path / "outside.png")
    root = tmp_path / "data"
    root.mkdir()
    for i in range(30):
        Image.new("RGB", (70, 60 + i), (8 * i, 100, 255 - 8 * i)).save(root / f"picture_{i:02}.png")
    return root


def by_name(captions):
    return {path.name: texts for path, texts in captions.items()}


CAPTIONS = {"picture_00.png": ["a dog, running", "a brown dog"], "picture_01.png": ["ein Bär"]}


@pytest.mark.parametrize("name, text", [
    ("captions.txt", 'image,caption\npicture_00.png,"a dog, running"\npicture_01.png,ein Bär\n'
                     'picture_00.png,a brown dog\n'),
    ("captions.csv", "picture_00.png,a dog, running\npicture_00.png, a brown dog \n\npicture_01.png,ein Bär"),
    ("captions.tsv", "picture_00.png#0\ta dog, running\npicture_00.png#1\ta brown dog\npicture_01.png#0\tein Bär\n"),
    ("captions.txt", "\ufeffpicture_00.png\ta dog, running\r\npicture_00.png\ta brown dog\r\n"
                     "picture_01.png\tein Bär\r\n"),
])
def test_captions_file(root, name, text):
    """Comma or tab, header or none, quotes or none, Flickr8k's numbers, a byte order mark, Windows line ends."""
    (root / name).write_bytes(text.encode())
    captions, problems = read_captions(root)
    assert by_name(captions) == CAPTIONS and not problems


@pytest.mark.parametrize("name", ["captions.jsonl", "metadata.jsonl"])
def test_json_lines(root, name):
    """Both names of either field, one caption or several, what else a line holds, blank lines."""
    rows = [{"image": "picture_00.png", "caption": "a dog, running"},
            {"file_name": "picture_01.png", "text": "ein Bär"},
            {"caption": ["a brown dog"], "file_name": "picture_00.png", "width": 3}]
    (root / name).write_text("\n\n".join(json.dumps(row) for row in rows) + "\n\n")
    captions, problems = read_captions(root)
    assert by_name(captions) == CAPTIONS and not problems
    (root / name).write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), "utf-8")
    assert by_name(read_captions(root)[0]) == CAPTIONS
    (root / name).write_text(json.dumps({"image": "picture_00.png", "text": ["a dog, running", "a brown dog"]}))
    assert by_name(read_captions(root)[0]) == {"picture_00.png": CAPTIONS["picture_00.png"]}


BAD_ROWS = [('{"image": "picture_00.png", "caption": "a', "Unterminated"), ("[1, 2]", "'list'"), ("3", "'int'"),
            ('{"image": "picture_00.png", "caption": null}', "NoneType"), ("[" * 100_000, "recursion"),
            ('{"image": "picture_00.png", "caption": 7}', "'int'"), ('{"image": "picture_00.png"}', "empty caption"),
            ('{"image": "picture_00.png", "caption": ["a dog", null]}', "NoneType"),
            ('{"image": null, "caption": "a dog"}', "no image"), ('{"image": 4, "caption": "a dog"}', "no image"),
            ('{"image": "gone.png", "caption": "a dog"}', "no image"),
            ('{"image": "a\\u0000b", "caption": "a dog"}', "no image"),
            ('{"image": "\\ud800.png", "caption": "a dog"}', "no image"),
            ('{"image": "../outside.png", "caption": "a secret"}', "outside the folder"),
            ('{"image": "Images/../../outside.png", "caption": "a secret"}', "outside the folder"),
            ('{"file_name": "/etc/hostname", "text": "a secret"}', "outside the folder")]


@pytest.mark.parametrize("row, what", BAD_ROWS, ids=range(len(BAD_ROWS)))
def test_each_bad_json_line_is_reported_with_its_number(root, row, what):
    """Whatever it holds in place of a name or of captions, the others are read; and no name leads out of the folder."""
    good = '{"image": "picture_02.png", "caption": "a cat"}'
    (root / "captions.jsonl").write_text(f"{good}\n{row}\n{good}\n")
    captions, (problem,) = read_captions(root)
    assert by_name(captions) == {"picture_02.png": ["a cat", "a cat"]}
    assert "captions.jsonl, line 2: " in problem and what in problem and "\n" not in problem


def test_captions_file_beside_a_folder_of_images(root):
    """Flickr8k keeps its pictures in Images/."""
    (root / "Images").mkdir()
    (root / "picture_00.png").rename(root / "Images/picture_00.png")
    (root / "captions.txt").write_text("picture_00.png,a dog\n")
    assert by_name(read_captions(root)[0]) == {"picture_00.png": ["a dog"]}


def test_sidecar_files(root):
    (root / "picture_00.txt").write_text("a dog, running\n\na brown dog\n")
    (root / "picture_01.txt").write_text("ein Bär", "utf-8")
    (root / "picture_02.txt").write_text("")
    (root / "picture_03.txt").write_bytes(b"caf\xe9")
    captions, problems = read_captions(root)
    assert by_name(captions) == CAPTIONS
    assert len(problems) == 1 + 1 + 1 + 26, "an empty line, an empty file, another encoding, absent ones"
    assert "picture_02.txt: empty caption" in problems[1] and "picture_03.txt: not UTF-8" in problems[2]
    assert "picture_04.txt" in problems[3]


def test_captions_from_names(root):
    (root / "birds/of_prey").mkdir(parents=True)
    for name in ("Red-Kite_02", "1234"):
        Image.new("RGB", (60, 60)).save(root / f"birds/of_prey/{name}.png")
    Image.new("RGB", (60, 60)).save(root / "007.png")
    captions, problems = read_captions(root, from_names=True)
    names = by_name(captions)
    assert names["Red-Kite_02.png"] == ["Red Kite, of prey, birds"] and names["1234.png"] == ["of prey, birds"]
    assert names["picture_00.png"] == ["picture"] and len(names) == 32
    assert [problem.endswith("007.png: empty caption") for problem in problems] == [True]


def test_each_bad_line_is_reported_with_its_number(root, tmp_path):
    """An absent image, an empty caption, no caption at all; and no name leads out of the folder."""
    lines = ["gone.png,a dog", "picture_00.png,  ", "picture_01.png", "../outside.png,a secret",
             f"{tmp_path / 'outside.png'},a secret", " picture_02.png ,a cat", f"{'x' * 300},too long a name"]
    (root / "captions.txt").write_text("\n".join(lines))
    captions, problems = read_captions(root)
    assert by_name(captions) == {"picture_02.png": ["a cat"]}
    expected = ["no image", "empty caption", "empty caption", "outside the folder", "outside the folder", "no image"]
    for number, (problem, what) in enumerate(zip(problems, expected, strict=True), 1):
        assert f"captions.txt, line {number if number < 6 else 7}: " in problem and what in problem
        assert "\n" not in problem


def test_captions_file_in_another_encoding_is_refused(root):
    (root / "captions.txt").write_bytes("picture_00.png,café\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"captions\.txt: not UTF-8 \(.* at byte 18\)"):
        read_captions(root)


def test_absent_folder_and_too_few_images(root):
    with pytest.raises(FileNotFoundError, match="gone: no such folder"):
        read_captions(root / "gone")
    (root / "captions.txt").write_text("picture_00.png,a cat\n")
    with pytest.raises(ValueError, match="1 images with captions"):
        Folder(root, 48)


def test_unreadable_images_are_left_out_and_reported(root, capsys):
    (root / "broken.png").write_bytes((root / "picture_00.png").read_bytes()[:60])
    (root / "text.jpg").write_text("not a picture")
    Image.new("RGB", (1, 40_000)).save(root / "thin.png")
    data = Folder(root, 600, from_names=True)
    for step in range(3):  # an epoch: others take the places of the two
        images, captions = data.batch(step, 10)
        assert images.shape == (10, 3, 600, 600) and not {"broken", "text"} & set(captions)
    problems = [line for line in capsys.readouterr().err.splitlines() if line.startswith("left out: ")]
    assert len(problems) == 2 and sum("broken.png" in line or "text.jpg" in line for line in problems) == 2


def test_split_is_by_image_and_every_image_is_trained_on_once_an_epoch(root):
    lines = (f"picture_{i:02}.png,caption {i} {j}\n" for i in range(30) for j in "ab")
    (root / "captions.txt").write_text("".join(lines))
    data = Folder(root, 48, seed=3)
    held_out = {caption for i in data.test for caption in data.captions[i]}
    assert len(data.test) == 3 and len(held_out) == 6 and not held_out & set(data.texts())
    assert not set(data.test) & set(data.train) and len(data.texts()) == 54
    for epoch in range(3):
        seen = [caption for step in range(3) for caption in data.batch(3 * epoch + step, 9)[1]]
        assert sorted({caption[:-2] for caption in seen}) == sorted({caption[:-2] for caption in data.texts()})
        assert not held_out & set(seen)
    assert len({frozenset(caption[:-2] for caption in data.batch(3 * epoch, 9)[1]) for epoch in range(5)}) == 5
    assert len({caption for step in range(40) for caption in data.batch(step, 9)[1]}) == 54, "each caption is drawn"
    images, captions = data.batch(5, 9)
    again, same = Folder(root, 48, seed=3).batch(5, 9)
    assert torch.equal(images, again) and captions == same
    assert set(Folder(root, 48, seed=4).test) != set(data.test)


def test_images_belong_to_their_captions_and_are_cropped_inside(root):
    """Every crop shows the picture of its caption, at random places in training and in the middle in evaluation."""
    noise = np.random.default_rng(0).integers(256, size=(56, 56), dtype=np.uint8)
    Image.fromarray(noise).save(root / "random.png")
    data = Folder(root, 48, from_names=True)
    data.captions = [[str(i)] for i in range(31)]  # in the order in which the files were read
    noise = torch.from_numpy(noise)
    corners = set()
    for step in range(90):
        images, captions = data.batch(step, 9)
        for image, caption in zip(images, captions):
            if caption == "30":
                found = [(y, x) for y in range(9) for x in range(9)
                         if (normalize((noise[y:y + 48, x:x + 48] / 255).expand(3, -1, -1)) - image).abs().max() < 1e-5]
                assert len(found) == 1
                corners |= set(found)
            else:
                colour = torch.tensor([8 * int(caption), 100, 255 - 8 * int(caption)]).view(3, 1, 1) / 255
                assert (image - normalize(colour)).abs().max() < 1e-5
    assert len(corners) > 10
    middle = normalize((noise[4:52, 4:52] / 255).expand(3, -1, -1))
    data.test = [30]
    assert (data.examples(1)[0][0] - middle).abs().max() < 1e-5


def test_random_squares_lie_anywhere_along_a_long_picture(root):
    """Section 2.4: the only augmentation. All of a picture three times as wide as high is seen."""
    columns = np.broadcast_to(np.arange(168, dtype=np.uint8), (56, 168))  # 7/6 of 48: not resized
    Image.fromarray(columns).save(root / "wide.png")
    Image.fromarray(columns.T).save(root / "high.png")
    data = Folder(root, 48, from_names=True)
    for name, axis in (("wide", 0), ("high", 1)):
        i = next(i for i, path in enumerate(data.paths) if path.stem == name)
        pixels, places = data.pixels(i), np.zeros((121, 2))
        assert pixels.shape == ((56, 168, 3), (168, 56, 3))[axis]
        places[:, 1 - axis] = (np.arange(121) + 0.5) / 121
        corners = data.crop([pixels] * 121, places)[:, 0, 0, 0]
        expected = normalize((torch.arange(121) / 255).expand(3, 1, 121))[0, 0]
        torch.testing.assert_close(corners, expected)
        data.train = np.array([i])
        seen = torch.cat([data.batch(step, 1)[0][:, 0, 0, 0] for step in range(300)])
        assert seen.min() < expected[10] and seen.max() > expected[110] and len(seen.unique()) > 80


def test_memory_is_bounded_and_changes_nothing(root):
    """What does not fit is decoded again each time, to the same pixels, with the same squares and captions."""
    size = 56 * 65 * 3  # about one picture
    folders = [Folder(root, 48, from_names=True, memory=memory) for memory in (0, 5.5 * size, 1e9)]
    folders[2].batch(0, 9)
    assert len(folders[2].kept) == 3 + 9, "those held out and those of the batch, no more"
    for step in range(9):
        images, captions = folders[0].batch(step, 9)
        for data in folders[1:]:
            again, same = data.batch(step, 9)
            assert torch.equal(again, images) and same == captions
    kept = [sum(pixels.nbytes for pixels in data.kept.values()) for data in folders]
    assert kept[0] == 0 and 3 * size < kept[1] <= 5.5 * size and len(folders[2].kept) == 30


@pytest.mark.parametrize("world", [2, 3])
def test_shares_of_a_folder_make_up_its_batch(root, world):
    """Each process decodes its own pictures: none twice, none left out, the same squares and captions."""
    lines = (f"picture_{i:02}.png,caption {i} {j}\n" for i in range(30) for j in "ab")
    (root / "captions.txt").write_text("".join(lines))
    whole = Folder(root, 48)
    for step in range(4):
        images, captions = whole.batch(step, 12)
        shares = [Folder(root, 48).batch(step, 12, slice(rank * 12 // world, (rank + 1) * 12 // world))
                  for rank in range(world)]
        assert torch.equal(torch.cat([share[0] for share in shares]), images)
        assert [caption for share in shares for caption in share[1]] == captions
        one = Folder(root, 48)
        one.batch(step, 12, slice(0, 4))
        assert len(set(one.kept) - set(one.test)) == 4


def test_a_picture_damaged_inside_is_replaced_by_the_same_other_one(root, capsys):
    """Its header is whole, so that only decoding tells; a run gone on with must draw what the first one drew."""
    noise = np.random.default_rng(0).integers(256, size=(80, 80, 3), dtype=np.uint8)
    for k in range(6):
        Image.fromarray(noise).save(root / f"bad_{chr(97 + k)}.png")
        content = bytearray((root / f"bad_{chr(97 + k)}.png").read_bytes())
        content[2000:] = bytes(len(content) - 2000)
        (root / f"bad_{chr(97 + k)}.png").write_bytes(content)
    first = Folder(root, 48, from_names=True)
    batches = [first.batch(step, 16) for step in range(4)]
    second = Folder(root, 48, from_names=True, memory=0)
    for step in (3, 1, 2, 0):  # in whatever order, whatever has been seen
        images, captions = second.batch(step, 16)
        assert torch.equal(images, batches[step][0]) and captions == batches[step][1]
        assert len(captions) == 16 and not any(caption.startswith("bad") for caption in captions)
    assert not set(first.test) & {i for i, path in enumerate(first.paths) if path.stem.startswith("bad")}
    lines = capsys.readouterr().err.splitlines()
    assert lines and all(line.startswith("left out: ") and "bad_" in line for line in lines)


def test_a_picture_that_would_fill_the_memory_is_refused(root, capsys):
    """A header of a few bytes may claim 100,000 x 100,000 pixels."""
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0))
    (root / "bomb.png").write_bytes(bomb + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b""))
    for head in (True, False):
        with pytest.raises(ValueError, match="bomb.png: not a readable picture .*decompression bomb"):
            open_image(root / "bomb.png", head)
    data = Folder(root, 48, from_names=True)
    assert "bomb.png" in capsys.readouterr().err and "bomb.png" not in {path.name for path in data.paths}


def test_retrieval_counts_any_caption_of_a_picture_as_right(root, monkeypatch):
    """Among held-out pictures and all their captions, with chance beside it; equal captions of two are both right."""
    lines = [f"picture_{i:02}.png,{text}\n" for i in range(30) for text in (f"number {i}", f"shade {i}", "a picture")]
    (root / "captions.txt").write_text("".join(lines))
    data = Folder(root, 48)
    seen = {}
    monkeypatch.setattr(zeroshot, "encode_images", lambda model, images: torch.eye(3))
    monkeypatch.setattr(zeroshot, "encode_texts", lambda model, tokenizer, texts, truncate: torch.tensor(
        [[float(i in seen.setdefault(text, {int(text.split()[-1])} if text[-1].isdigit() else set()))
          for i in data.test] for text in texts]))
    results = data.evaluate(None, None)
    assert results["image to text R@1"] == (1, pytest.approx(3 / 7)) and len(seen) == 7
    value, chance = results["text to image R@1"]
    assert value == 1 and chance == pytest.approx((6 / 3 + 1) / 7)
