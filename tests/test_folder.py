"""Own pictures: the layouts in which people keep captioned images, and what happens to bad ones."""
import json
import struct
import subprocess
import sys
import warnings
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from clip_minimal import normalize
from tutorial.extras import own_images
from tutorial.extras.own_images import Folder, check_picture, main, read_captions
from tutorial.extras.pictures import open_image


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
            ('{"image": "picture_00.png", "caption": {"en": "a dog"}}', "'dict'"),
            ('{"image": "picture_00.png", "caption": []}', "empty caption"), ("{}", "empty caption"),
            ('{"caption": "a dog"}', "no image: its name is not given"), ('{"caption": []}', "empty caption"),
            ('{"file_name": "", "caption": "a dog"}', "no image: its name is not given"),
            ('{"image": "a\\nb.png", "caption": "a dog"}', "no image"),
            ('{"image": null, "caption": "a dog"}', "no image"), ('{"image": 4, "caption": "a dog"}', "no image"),
            ('{"image": "gone.png", "caption": "a dog"}', "no image"),
            ('{"image": "a\\u0000b", "caption": "a dog"}', "b: not a readable picture (embedded null byte)"),
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


def test_fields_of_json_lines(root):
    """White space is not part of a caption, half of a character is "?"; "image" and "caption" come first."""
    row = {"file_name": "picture_02.png", "text": "a cat", "image": "picture_00.png", "caption": [" a dog\n", "\ud83d"]}
    blank = {"image": "picture_00.png", "caption": " \t"}
    (root / "captions.jsonl").write_text(json.dumps(row) + "\n" + json.dumps(blank))
    captions, (problem,) = read_captions(root)
    assert by_name(captions) == {"picture_00.png": ["a dog", "?"]} and problem.endswith("line 2: empty caption")


@pytest.mark.parametrize("header", ["image,caption", "Image\tcaption", " IMAGE , text"])
def test_header_of_a_captions_file(root, header):
    """In the first line alone; and a picture's name may begin as a header does."""
    separator = "\t" if "\t" in header else ","
    lines = [header, f"picture_00.png{separator}a dog", header]
    (root / "captions.txt").write_text("\n".join(lines))
    captions, (problem,) = read_captions(root)
    assert by_name(captions) == {"picture_00.png": ["a dog"]} and "captions.txt, line 3: no image: " in problem
    (root / "picture_00.png").rename(root / "image_0.png")
    (root / "captions.txt").write_text("image_0.png,a dog")
    assert by_name(read_captions(root)[0]) == {"image_0.png": ["a dog"]}


def test_quotes_in_a_captions_file(root):
    """Two of them within quotes are one, as spreadsheets write them."""
    lines = ['picture_00.png,"a ""red"" dog"', 'picture_00.png,a "red" dog', 'picture_00.png,"']
    (root / "captions.csv").write_text("\n".join(lines))
    assert by_name(read_captions(root)[0]) == {"picture_00.png": ['a "red" dog', 'a "red" dog', '"']}


def test_captions_file_beside_a_folder_of_images(root):
    """Flickr8k keeps its pictures in Images/. Those beside the captions file come first."""
    (root / "Images").mkdir()
    (root / "picture_00.png").rename(root / "Images/picture_00.png")
    Image.new("RGB", (60, 60)).save(root / "Images/picture_01.png")
    (root / "captions.txt").write_text("picture_00.png,a dog\npicture_01.png,a cat\n")
    captions = read_captions(root)[0]
    assert captions == {root / "Images/picture_00.png": ["a dog"], root / "picture_01.png": ["a cat"]}


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
    (root / "picture_01.png").rename(root / "IMG 1.PNG")  # as cameras write it
    captions, problems = read_captions(root, from_names=True)
    names = by_name(captions)
    assert names["Red-Kite_02.png"] == ["Red Kite, of prey, birds"] and names["1234.png"] == ["of prey, birds"]
    assert names["picture_00.png"] == ["picture"] and names["IMG 1.PNG"] == ["IMG"] and len(names) == 32
    assert [problem.endswith("007.png: empty caption") for problem in problems] == [True]


def test_each_bad_line_is_reported_with_its_number(root, tmp_path):
    """An absent image, an empty caption, no caption at all; and no name leads out of the folder."""
    lines = ["gone.png,a dog", "picture_00.png,  ", "picture_01.png", "../outside.png,a secret",
             f"{tmp_path / 'outside.png'},a secret", " picture_02.png ,a cat", f"{'x' * 300},too long a name",
             ",a dog without a name"]
    (root / "captions.txt").write_text("\n".join(lines))
    captions, problems = read_captions(root)
    assert by_name(captions) == {"picture_02.png": ["a cat"]}
    expected = ["no image", "empty caption", "empty caption", "outside the folder", "outside the folder", "no image",
                "no image: its name is not given"]
    for number, (problem, what) in enumerate(zip(problems, expected, strict=True), 1):
        assert f"captions.txt, line {number if number < 6 else number + 1}: " in problem and what in problem
        assert "\n" not in problem


def test_captions_file_in_another_encoding_is_refused(root):
    (root / "captions.txt").write_bytes("picture_00.png,café\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"captions\.txt: not UTF-8 \(.* at byte 18\)"):
        read_captions(root)


def test_absent_folder_and_too_few_images(root):
    with pytest.raises(FileNotFoundError, match="gone: no such folder"):
        read_captions(root / "gone")
    (root / "captions.txt").write_text("picture_00.png,a cat\n")
    with pytest.raises(ValueError, match="1 images with captions, and 20 are needed"):
        Folder(root, 48)


def damage(path):
    """Leave the head of a picture of noise as it is, so that only decoding tells that it is damaged."""
    noise = np.random.default_rng(0).integers(256, size=(80, 80, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    content = bytearray(path.read_bytes())
    content[2000:] = bytes(len(content) - 2000)
    path.write_bytes(content)


def test_too_few_held_out_images_that_can_be_read(root):
    """There are enough of them, so the line must not say that 20 are needed."""
    for path in root.glob("*.png"):
        damage(path)
    with pytest.raises(ValueError, match="of 3 held-out images 0 can be read, and 2 are needed.*left out: .*picture_"):
        Folder(root, 48, from_names=True)


@pytest.mark.parametrize("memory", [0, 2e9])
def test_a_folder_whose_training_images_all_became_unreadable_is_refused(root, memory, monkeypatch, capsys):
    """Else a batch would look for another image for ever. Each image is reported once."""
    data = Folder(root, 48, from_names=True, memory=memory)
    for i in data.train:
        data.paths[i].unlink()
    read_pixels = data.pixels
    calls = []

    def pixels(i):
        calls.append(i)
        assert len(calls) < 5000, "it goes on for ever"
        return read_pixels(i)

    monkeypatch.setattr(data, "pixels", pixels)
    for _ in range(2):
        with pytest.raises(ValueError, match="data: none of its 27 images to train on can be read"):
            data.batch(0, 9)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(set(lines)) == 27 and all("no such file" in line for line in lines)


def test_the_last_image_that_can_be_read_takes_all_places(root, capsys):
    (root / "captions.txt").write_text("".join(f"picture_{i:02}.png,number {i}\n" for i in range(30)))
    data = Folder(root, 48)
    for i in data.train[1:]:
        damage(data.paths[i])
    images, captions = data.batch(0, 9)
    assert images.shape == (9, 3, 48, 48) and captions == data.captions[data.train[0]] * 9
    errors = capsys.readouterr().err
    assert errors.count("\n") == errors.count("left out: ") <= 26


def test_a_large_picture_is_taken_without_a_warning(root):
    """Pillow warns from 89 million pixels on, and refuses from 179 million on."""
    Image.new("1", (10_000, 9_000)).save(root / "large.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_picture(root / "large.png")


def test_the_command_line_says_what_a_folder_holds(root, capsys):
    lines = [f"picture_{i:02}.png,number {i} {j}\n" for i in range(30) for j in "ab"]
    lines += [f"gone_{i}.png,a dog\n" for i in range(12)]
    (root / "captions.csv").write_text("".join(lines))
    assert main([str(root)]) == 0
    printed, errors = capsys.readouterr()
    assert not errors
    assert f"layout: captions file {root / 'captions.csv'}\n" in printed
    assert "found: 30 images with 60 captions\n" in printed
    assert printed.count("27 images to train on with 54 captions, 3 held out, 12 left out\n") == 1
    data = Folder(root, 48)
    first = data.train[0]
    assert f"\n  picture_{first:02}.png: number {first} a | number {first} b\n" in printed
    assert "left out (12):\n" in printed and "captions.csv, line 70: no image: " in printed
    assert "gone_9.png" in printed and "gone_10.png" not in printed and "... and 2 more\n" in printed
    assert printed.endswith(f"next: python train_tiny.py --data {root}\n")


LINES = {
    "captions.tsv": "picture_{i:02}.png\tnumber {i}\n",
    "captions.jsonl": '{{"image": "picture_{i:02}.png", "caption": "number {i}"}}\n',
    "metadata.jsonl": '{{"file_name": "picture_{i:02}.png", "text": "number {i}"}}\n',
}


@pytest.mark.parametrize("files, argv, layout", [
    (["metadata.jsonl", "captions.jsonl", "captions.tsv"], [], "captions file {root}/captions.tsv"),
    (["metadata.jsonl", "captions.jsonl"], [], "JSON lines {root}/captions.jsonl"),
    (["metadata.jsonl"], [], "JSON lines {root}/metadata.jsonl"),
    ([], [], "side-car files"),
    (["captions.tsv"], ["--captions-from-names"], "names"),
])
def test_the_command_line_names_the_layout(root, capsys, files, argv, layout):
    """The first that there is, or names where they are asked for."""
    for i in range(30):
        (root / f"picture_{i:02}.txt").write_text(f"number {i}")
    for name in files:
        (root / name).write_text("".join(LINES[name].format(i=i) for i in range(30)))
    assert main([str(root), *argv]) == 0
    printed = capsys.readouterr().out
    assert f"layout: {layout.format(root=root)}\n" in printed and "27 images to train on" in printed
    assert printed.endswith(" ".join(["next: python train_tiny.py --data", str(root), *argv]) + "\n")
    assert "left out (" not in printed


def test_the_command_line_finds_damaged_held_out_images(root, capsys):
    """As training does, and says so in one place."""
    data = Folder(root, 48, from_names=True)
    capsys.readouterr()
    path = data.paths[data.test[0]]
    damage(path)
    assert main([str(root), "--captions-from-names"]) == 0
    printed, errors = capsys.readouterr()
    assert not errors and "2 held out, 1 left out" in printed
    assert f"left out (1):\n  {path}: not a readable picture" in printed


@pytest.mark.parametrize("argv, message", [([], "0 images with captions, and 20 are needed"),
                                           (["gone"], "no such folder")])
def test_the_command_line_ends_with_one_line_where_there_is_nothing_to_train_on(root, capsys, argv, message):
    assert main([str(root.joinpath(*argv))]) == 2
    printed, errors = capsys.readouterr()
    assert not printed
    assert errors.startswith("own_images.py: ") and message in errors and errors.count("\n") == 1


def test_the_command_line_as_a_script(root):
    """From another folder: what main returns is the exit status, and an error goes to standard error alone."""
    command = [sys.executable, own_images.__file__, "gone"]
    run = subprocess.run(command, capture_output=True, text=True, cwd=root)
    assert run.returncode == 2 and not run.stdout
    assert run.stderr.startswith("own_images.py: ") and run.stderr.count("\n") == 1


def test_the_help_tells_the_layouts_and_has_examples(capsys):
    with pytest.raises(SystemExit) as exit:
        main(["--help"])
    printed = capsys.readouterr().out
    assert exit.value.code == 0
    for text in ("python tutorial/extras/own_images.py DIR --captions-from-names", "captions file", "JSON lines",
                 "side-car files", "names", *own_images.LISTINGS):
        assert text in printed


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


@pytest.mark.parametrize("count, held_out", [(19, 0), (20, 2), (59, 5), (5100, 500)])
def test_a_tenth_is_held_out_but_no_more_than_500(tmp_path, count, held_out):
    for i in range(count):
        (tmp_path / f"{'abcdefghij'[i % 10]}_{i}.pgm").write_bytes(b"P5 1 1 255 x")
    if not held_out:
        with pytest.raises(ValueError, match="19 images with captions, and 20 are needed"):
            Folder(tmp_path, 6, from_names=True)
        return
    data = Folder(tmp_path, 6, from_names=True)
    assert len(data.test) == held_out and len(data.train) == count - held_out


def test_random_numbers_of_a_batch(root):
    """A run that began with one version must go on with the same batches in another."""
    lines = (f"picture_{i:02}.png,caption {i} {j}\n" for i in range(30) for j in "abc")
    (root / "captions.txt").write_text("".join(lines))
    data = Folder(root, 48, seed=3)
    order = np.random.default_rng(3).permutation(30)
    assert data.test == list(order[:3]) and list(data.train) == list(order[3:])
    for step, epoch, start in ((0, 0, 0), (2, 0, 18), (4, 1, 9)):  # three steps are an epoch
        images, captions = data.batch(step, 9)
        indices = np.random.default_rng((3, 0, epoch)).permutation(order[3:])[start:start + 9]
        chance = np.random.default_rng((3, 1, step)).random((9, 3))
        expected = [f"caption {i} {'abc'[int(3 * u)]}" for i, u in zip(indices, chance[:, 2])]
        assert captions == expected
        squares = data.crop([data.pixels(i) for i in indices], chance[:, :2])
        assert torch.equal(images, squares)


def test_a_batch_larger_than_the_folder_is_refused(root):
    data = Folder(root, 48, from_names=True)
    assert len(data.batch(0, 27)[1]) == 27
    with pytest.raises(ValueError, match="data: 27 images to train on are too few for batches of 28"):
        data.batch(0, 28)


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
    for path in root.glob("*.png"):
        path.unlink()
    assert torch.equal(folders[2].batch(8, 9)[0], images), "what is kept is not read again"


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
    for read in (check_picture, open_image):
        with pytest.raises(ValueError, match="bomb.png: not a readable picture .*decompression bomb"):
            read(root / "bomb.png")
    data = Folder(root, 48, from_names=True)
    assert "bomb.png" in capsys.readouterr().err and "bomb.png" not in {path.name for path in data.paths}


def test_retrieval_counts_any_caption_of_a_picture_as_right(root, monkeypatch):
    """Among held-out pictures and all their captions, with chance beside it; equal captions of two are both right."""
    lines = [f"picture_{i:02}.png,{text}\n" for i in range(30) for text in (f"number {i}", f"shade {i}", "a picture")]
    (root / "captions.txt").write_text("".join(lines))
    data = Folder(root, 48)
    monkeypatch.setattr(own_images, "encode_images", lambda model, images: torch.eye(3))
    seen = []

    def encode_texts(model, tokenizer, texts, truncate):
        """Each text points at the image whose number it has, if any."""
        assert truncate, "people's captions may be longer than the context"
        seen.extend(texts)
        features = torch.zeros(len(texts), 3)
        for row, text in enumerate(texts):
            for column, i in enumerate(data.test):
                features[row, column] = text.endswith(f" {i}")
        return features

    monkeypatch.setattr(own_images, "encode_texts", encode_texts)
    results = data.evaluate(None, None)
    assert results["image to text R@1"] == (1, pytest.approx(3 / 7)) and len(seen) == 7
    value, chance = results["text to image R@1"]
    assert value == 1 and chance == pytest.approx((6 / 3 + 1) / 7)
