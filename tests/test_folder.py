"""--data: the layouts in which people keep captioned images, and what happens to bad ones."""
import numpy as np
import pytest
import torch
from PIL import Image

from clip_minimal import normalize
from zeroshot import Folder, read_captions


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
