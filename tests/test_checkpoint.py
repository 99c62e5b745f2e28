"""Saving and loading: what comes back, what an interruption leaves behind, and what broken files are answered with."""
import io
import os
import pickle
import re
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from clip_minimal import CLIP, CLIPConfig, Tokenizer, load, save

CAPTIONS = ["a red star", "a blue star on grey", "two red moons"]


def make(**change):
    """A small ResNet model with BatchNorm averages that are not the initial ones, and its tokenizer."""
    tokenizer = Tokenizer.train(CAPTIONS, 530)
    shape = dict(embed_dim=16, image_resolution=32, vision_layers=(1, 1, 1, 1), vision_width=2, vision_patch_size=None,
                 transformer_width=64, transformer_layers=1, context_length=12, vocab_size=len(tokenizer.vocab))
    model = CLIP(CLIPConfig(**{**shape, **change}))
    model.train().encode_image(torch.randn(4, 3, 32, 32))
    return model, tokenizer


@pytest.fixture
def saved(tmp_path):
    """(path, model, tokenizer) of a checkpoint."""
    torch.manual_seed(0)
    model, tokenizer = make()
    save(tmp_path / "model.pt", model, tokenizer)
    return tmp_path / "model.pt", model, tokenizer


@pytest.mark.parametrize("change", [dict(), dict(quick_gelu=False),
                                    dict(vision_layers=2, vision_width=64, vision_patch_size=8)])
def test_what_is_saved_comes_back(tmp_path, change):
    model, tokenizer = make(**change)
    save(tmp_path / "model.pt", model, tokenizer)
    loaded, loaded_tokenizer = load(tmp_path / "model.pt")
    assert loaded.config == model.config and not loaded.training
    assert all(not module.training for module in loaded.modules())
    assert list(loaded.state_dict()) == list(model.state_dict())
    for key, tensor in model.state_dict().items():
        assert loaded.state_dict()[key].equal(tensor), key
    assert loaded_tokenizer.merges == tokenizer.merges
    tokens = tokenizer(CAPTIONS, 12)
    assert loaded_tokenizer(CAPTIONS, 12).equal(tokens)
    images = torch.randn(2, 3, 32, 32)
    for a, b in zip(loaded(images, tokens), model.eval()(images, tokens)):
        torch.testing.assert_close(a, b)


def test_saving_leaves_one_file_and_replaces_the_old(saved):
    path, _, tokenizer = saved
    save(str(path), make(embed_dim=24)[0], tokenizer)
    assert load(str(path))[0].config.embed_dim == 24
    assert list(path.parent.iterdir()) == [path]


def test_an_interrupted_save_leaves_the_old_file(saved, monkeypatch):
    path, model, tokenizer = saved
    before, real_save = path.read_bytes(), torch.save

    def half(content, target):
        buffer = io.BytesIO()
        real_save(content, buffer)
        part = buffer.getvalue()[:buffer.tell() // 2]
        target.write(part) if hasattr(target, "write") else Path(target).write_bytes(part)
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(OSError, match="no space left"):
        save(path, model, tokenizer)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


# ---- Files that are no checkpoint ------------------------------------------------------------------------------------


def refused(path):
    """The one line that load says about the file."""
    with pytest.raises(ValueError, match=re.escape(str(path))) as error:
        load(path)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=re.escape(str(tmp_path / "none.pt"))) as error:
        load(tmp_path / "none.pt")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"no checkpoint\n", b"\x00" * 1000, b"PK\x03\x04", b"\x80\x02]q\x00."])
def test_file_of_something_else(tmp_path, content):
    path = tmp_path / "model.pt"
    path.write_bytes(content)
    refused(path)


def test_directory(tmp_path):
    refused(tmp_path)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_truncated_file(saved, share):
    path, whole = saved[0], saved[0].read_bytes()
    path.write_bytes(whole[:int(share * len(whole))])
    refused(path)


def contents(saved):
    return torch.load(saved[0], weights_only=True)


@pytest.mark.parametrize("key", ["config", "merges", "state_dict"])
def test_missing_part(saved, key):
    content = contents(saved)
    del content[key]
    torch.save(content, saved[0])
    assert key in refused(saved[0])


@pytest.mark.parametrize("content", [[], {}, 7, None, "red"])
def test_content_that_is_something_else(tmp_path, content):
    torch.save(content, tmp_path / "model.pt")
    refused(tmp_path / "model.pt")


def test_missing_weight(saved):
    content = contents(saved)
    del content["state_dict"]["visual.conv1.weight"]
    torch.save(content, saved[0])
    refused(saved[0])


def test_wrong_shape(saved):
    content = contents(saved)
    content["state_dict"]["text_projection"] = torch.zeros(3, 4)
    torch.save(content, saved[0])
    refused(saved[0])


@pytest.mark.parametrize("change", [dict(transformer_width=100), dict(colour="red"), dict(vision_layers="many")])
def test_wrong_configuration(saved, change):
    content = contents(saved)
    content["config"] = {**asdict(saved[1].config), **change}
    torch.save(content, saved[0])
    refused(saved[0])


class Trap:
    """Unpickled by plain pickle, it creates the folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("plain", [True, False], ids=["pickle", "torch.save"])
def test_code_in_a_file_is_not_run(tmp_path, plain):
    path, trap = tmp_path / "model.pt", tmp_path / "sprung"
    with open(path, "wb") as file:
        pickle.dump({"config": Trap(str(trap))}, file, 2) if plain else torch.save({"config": Trap(str(trap))}, file)
    refused(path)
    assert not trap.exists()
    with open(path, "rb") as file:  # the trap does work
        pickle.load(file) if plain else torch.load(file, weights_only=False)
    assert trap.exists()
