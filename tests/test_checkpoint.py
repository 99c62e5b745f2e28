"""Saving and loading: what comes back, what an interruption leaves behind, and what broken files are answered with."""
import ast
import gzip
import io
import os
import pickle
import re
from collections import OrderedDict
from pathlib import Path

import pytest
import torch

from clip_minimal import BYTES, CLIP, CLIPConfig, Tokenizer, load, save
from tutorial.extras.convert import load_other

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = ROOT.glob("tutorial/extras/*.py")
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


@pytest.mark.parametrize("reader", [load, load_other])
@pytest.mark.parametrize("change", [dict(), dict(quick_gelu=False), dict(vision_layers=(1, 2, 3, 1)),
                                    dict(image_resolution=48),  # an attention pool of one place, as of 32 pixels
                                    dict(image_mean=(0.5, 0.4, 0.3), image_std=(1.0, 0.5, 0.25)),
                                    dict(vision_layers=2, vision_width=64, vision_patch_size=8)])
def test_what_is_saved_comes_back(tmp_path, capsys, change, reader):
    model, tokenizer = make(**change)
    save(tmp_path / "model.pt", model, tokenizer)
    loaded, loaded_tokenizer = reader(tmp_path / "model.pt")
    assert capsys.readouterr().err == ""  # the file tells all there is to know
    assert loaded.config == model.config and not loaded.training
    assert all(not module.training for module in loaded.modules())
    assert list(loaded.state_dict()) == list(model.state_dict())
    for key, tensor in model.state_dict().items():
        assert loaded.state_dict()[key].equal(tensor), key
    assert loaded_tokenizer.merges == tokenizer.merges
    tokens = tokenizer(CAPTIONS, 12)
    assert loaded_tokenizer(CAPTIONS, 12).equal(tokens)
    images = torch.randn(2, 3, model.config.image_resolution, model.config.image_resolution)
    for a, b in zip(loaded(images, tokens), model.eval()(images, tokens)):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("quick_gelu", [True, False])
@pytest.mark.parametrize("resolution", [32, 48])
def test_what_is_saved_is_a_plain_state_dict(tmp_path, quick_gelu, resolution):
    """OpenAI's code and open_clip's take the file as it is: an OrderedDict of the weights, nothing else in it.

    But for the resolution where no shape tells it, which open_clip's code does not know.
    """
    model, tokenizer = make(image_resolution=resolution, quick_gelu=quick_gelu)
    save(tmp_path / "model.pt", model, tokenizer)
    content = torch.load(tmp_path / "model.pt", weights_only=True)
    assert type(content) is OrderedDict
    if resolution == 48:
        assert content.pop("input_resolution").equal(torch.tensor(48))
    assert [*content] == [*model.state_dict()]
    model.load_state_dict(content)
    assert content.merges == tokenizer.merges and content.quick_gelu is quick_gelu
    assert content.image_mean == model.config.image_mean and content.image_std == model.config.image_std


def test_file_that_says_no_mean(saved):
    """As it was before there was a choice: it is OpenAI's."""
    content = torch.load(saved[0], weights_only=True)
    del content.image_mean, content.image_std
    torch.save(content, saved[0])
    for reader in (load, load_other):
        config = reader(saved[0])[0].config
        assert config.image_mean == (0.48145466, 0.4578275, 0.40821073)
        assert config.image_std == (0.26862954, 0.26130258, 0.27577711)


@pytest.mark.parametrize("reader", [load, load_other])
def test_device(saved, reader):
    assert all(x.device.type == "meta" for x in reader(saved[0], "meta")[0].state_dict().values())


@pytest.mark.parametrize("quick_gelu", [True, False])
def test_quick_gelu_may_be_overruled(tmp_path, quick_gelu):
    save(tmp_path / "model.pt", *make(quick_gelu=not quick_gelu))
    assert load_other(tmp_path / "model.pt", quick_gelu=quick_gelu)[0].config.quick_gelu is quick_gelu


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


def test_a_full_disk(saved, monkeypatch):
    """PyTorch makes a RuntimeError of it; what comes out names the file and the reason, and the old file is left."""
    path, model, tokenizer = saved
    before = path.read_bytes()

    def full(content, target):
        target.write(b"half")
        try:
            raise OSError(28, "No space left on device")
        except OSError:
            raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match=re.escape(str(path)) + ".*No space left") as error:
        save(path, model, tokenizer)
    assert "\n" not in str(error.value)
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]


# ---- Files that are no checkpoint ------------------------------------------------------------------------------------


def refused(path):
    """The lines that load and load_other say about the file, one each."""
    messages = []
    for reader in (load, load_other):
        with pytest.raises(ValueError, match=re.escape(str(path))) as error:
            reader(path)
        assert "\n" not in str(error.value)
        messages.append(str(error.value))
    return messages


@pytest.mark.parametrize("reader", [load, load_other])
def test_missing_file(tmp_path, reader):
    with pytest.raises(FileNotFoundError, match=re.escape(str(tmp_path / "none.pt"))) as error:
        reader(tmp_path / "none.pt")
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


def changed(saved, change):
    """What both readers say about the file after change(its state dict): the same."""
    content = torch.load(saved[0], weights_only=True)
    change(content)
    torch.save(content, saved[0])
    by_load, by_load_other = refused(saved[0])
    assert by_load == by_load_other
    return by_load


@pytest.mark.parametrize("content", [[], {}, 7, None, "red", {"state_dict": 3}, {"a": 1}, {1: 2}, torch.zeros(3)])
def test_content_that_is_something_else(tmp_path, content):
    torch.save(content, tmp_path / "model.pt")
    messages = refused(tmp_path / "model.pt")
    if not isinstance(content, dict):
        assert all(f"it holds this and not a state dict: {content!r}" in message for message in messages)


def test_missing_merges(saved, monkeypatch, tmp_path):
    """A vocabulary of one's own is not taken for OpenAI's."""
    monkeypatch.setenv("CLIP_BPE", str(tmp_path / "bpe.txt.gz"))
    pairs = [f"{a} {b}" for a in BYTES.values() for b in BYTES.values()][:48894]
    (tmp_path / "bpe.txt.gz").write_bytes(gzip.compress("\n".join(["a header", *pairs]).encode(), 1))
    assert "no merges for its 530 tokens" in changed(saved, lambda content: delattr(content, "merges"))


def test_merges_of_another_vocabulary(saved):
    assert "no merges for its 530 tokens" in changed(saved, lambda content: content.merges.pop())


@pytest.mark.parametrize("merges", [7, [7], ["abc"], [("a", 1)]])
def test_merges_that_are_none(saved, merges):
    changed(saved, lambda content: setattr(content, "merges", merges))


@pytest.mark.parametrize("key", ["visual.conv1.weight", "visual.layer3.0.bn2.running_var", "ln_final.bias",
                                 "positional_embedding", "text_projection", "visual.attnpool.positional_embedding",
                                 "transformer.resblocks.0.attn.in_proj_weight", "token_embedding.weight"])
def test_missing_weight(saved, key):
    message = changed(saved, lambda content: content.pop(key))
    assert f"there is no '{key}'" in message or f'Missing key(s) in state_dict: "{key}"' in message


def test_missing_stage(saved):
    assert "visual.layer2.0.conv1.weight" in changed(
        saved, lambda content: [content.pop(key) for key in list(content) if key.startswith("visual.layer2.")])


@pytest.mark.parametrize("key", ["visual.layer1.0.bn4.weight", "colour", "transformer.resblocks.0.ln_3.bias"])
def test_extra_weight(saved, key):
    assert key in changed(saved, lambda content: content.update({key: torch.zeros(3)}))


@pytest.mark.parametrize("key", ["visual.conv2.weight", "visual.layer4.0.bn3.bias", "ln_final.weight", "logit_scale"])
def test_wrong_shape(saved, key):
    assert f"size mismatch for {key}" in changed(saved, lambda content: content.update({key: torch.zeros(3, 4)}))


def test_wrong_resolution(saved):
    message = changed(saved, lambda content: content.update(input_resolution=torch.tensor(96)))
    assert "size mismatch for visual.attnpool.positional_embedding" in message


def test_width_that_has_no_heads(saved):
    """Attention heads are 64 wide, so a text encoder 100 wide can't have any."""
    def widen(content):
        content["positional_embedding"] = torch.zeros(12, 100)
    assert "attention 100 wide" in changed(saved, widen)


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
        pickle.dump({"a": Trap(str(trap))}, file, 2) if plain else torch.save({"a": Trap(str(trap))}, file)
    messages = refused(path)
    assert plain or all("mkdir" in message for message in messages)
    assert not trap.exists()
    with open(path, "rb") as file:  # the trap does work
        pickle.load(file) if plain else torch.load(file, weights_only=False)
    assert trap.exists()


@pytest.mark.parametrize("name", ["clip_minimal.py", "train_tiny.py", "zeroshot.py",
                                  *sorted(f"tutorial/extras/{path.name}" for path in EXTRAS)])
def test_nothing_is_run_that_a_file_or_a_name_holds(name):
    """No eval, no shell, no process; PyTorch's files are read as weights only, and no other pickles at all."""
    tree = ast.parse((ROOT / name).read_text("utf-8"))
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)
                for alias in node.names}
    assert not names & {"eval", "exec", "compile", "__import__"}
    assert not attributes & {"system", "popen", "spawn", "extractall", "extract", "import_module"}
    assert not (names | imported) & {"subprocess", "shelve", "marshal", "importlib", "runpy", "yaml", "joblib"}
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        what, options = ast.unparse(call.func), {option.arg: ast.unparse(option.value) for option in call.keywords}
        assert "allow_pickle" not in options and "shell" not in options
        assert what not in ("pickle.load", "pickle.loads", "torch.jit.load")
        assert what != "torch.load" or options["weights_only"] == "True"
