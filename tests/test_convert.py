"""tutorial/extras/convert.py: the layouts of open_clip and Hugging Face, in both directions, and its command line."""
import itertools
import json
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from test_foreign import RESNET, SMALL, VIT, bpe, check, features, home, original, refused, weights_of

from clip_minimal import CLIP, OtherLayout, Tokenizer, load, preprocess, save
from tutorial.extras import convert
from tutorial.extras.convert import load_other, save_hugging_face

FIXTURES = bpe, home  # of test_foreign.py: made-up merges in the place of OpenAI's, and an empty home folder
ROOT = Path(__file__).resolve().parents[1]
TINY = replace(VIT, context_length=16, vocab_size=530)


def text_names(weights):
    """open_clip's names where the text encoder is a module of its own; traced, it has its mask among them."""
    renamed = {key if key.startswith("visual.") or key == "logit_scale" else f"text.{key}": x
               for key, x in weights.items()}
    return renamed | {"text.attn_mask": torch.zeros(77, 77)}


def prefixed(prefix, weights):
    return {prefix + key: x for key, x in weights.items()}


def training(weights):
    """What a training script of open_clip saves."""
    return {"epoch": 1, "name": "x", "state_dict": prefixed("module.", weights), "optimizer": {}}


def hugging_face(weights, layers=2):
    """OpenAI's layout -> that of CLIPModel, all names written out."""
    out = {"logit_scale": weights["logit_scale"],
           "text_model.embeddings.position_ids": torch.arange(77)[None],
           "text_model.embeddings.token_embedding.weight": weights["token_embedding.weight"],
           "text_model.embeddings.position_embedding.weight": weights["positional_embedding"],
           "text_model.final_layer_norm.weight": weights["ln_final.weight"],
           "text_model.final_layer_norm.bias": weights["ln_final.bias"],
           "text_projection.weight": weights["text_projection"].T,
           "vision_model.embeddings.position_ids": torch.arange(17)[None],
           "vision_model.embeddings.class_embedding": weights["visual.class_embedding"],
           "vision_model.embeddings.patch_embedding.weight": weights["visual.conv1.weight"],
           "vision_model.embeddings.position_embedding.weight": weights["visual.positional_embedding"],
           "vision_model.pre_layrnorm.weight": weights["visual.ln_pre.weight"],
           "vision_model.pre_layrnorm.bias": weights["visual.ln_pre.bias"],
           "vision_model.post_layernorm.weight": weights["visual.ln_post.weight"],
           "vision_model.post_layernorm.bias": weights["visual.ln_post.bias"],
           "visual_projection.weight": weights["visual.proj"].T}
    for (tower, prefix), n, kind in itertools.product([("text_model", ""), ("vision_model", "visual.")],
                                                      range(layers), ["weight", "bias"]):
        theirs, ours = f"{tower}.encoder.layers.{n}", f"{prefix}transformer.resblocks.{n}"
        q, k, v = weights[f"{ours}.attn.in_proj_{kind}"].chunk(3)
        out |= {f"{theirs}.self_attn.k_proj.{kind}": k, f"{theirs}.self_attn.v_proj.{kind}": v,
                f"{theirs}.self_attn.q_proj.{kind}": q,
                f"{theirs}.self_attn.out_proj.{kind}": weights[f"{ours}.attn.out_proj.{kind}"],
                f"{theirs}.layer_norm1.{kind}": weights[f"{ours}.ln_1.{kind}"],
                f"{theirs}.layer_norm2.{kind}": weights[f"{ours}.ln_2.{kind}"],
                f"{theirs}.mlp.fc1.{kind}": weights[f"{ours}.mlp.c_fc.{kind}"],
                f"{theirs}.mlp.fc2.{kind}": weights[f"{ours}.mlp.c_proj.{kind}"]}
    return out


def safetensors(weights):
    """The format by hand, the tensors in the reverse order of the header."""
    kinds = {torch.double: "F64", torch.float: "F32", torch.half: "F16", torch.bfloat16: "BF16", torch.long: "I64"}
    header, body = {}, b""
    for name, x in reversed(weights.items()):
        raw = x.contiguous().flatten().view(torch.uint8).numpy().tobytes()
        header[name] = dict(dtype=kinds[x.dtype], shape=[*x.shape], data_offsets=[len(body), len(body) + len(raw)])
        body += raw
    header = json.dumps({"__metadata__": {"format": "pt"}} | dict(reversed(header.items()))).encode()
    return struct.pack("<Q", len(header)) + header + body


def tiny_model(**change):
    """A vision transformer with a vocabulary of its own, all weights random, and its tokenizer."""
    tokenizer = Tokenizer.train(["a red star", "a blue star on grey", "two red moons"], TINY.vocab_size)
    config = replace(TINY, vocab_size=len(tokenizer.vocab), **change)
    model = CLIP(config)
    model.load_state_dict(weights_of(config))
    return model.eval(), tokenizer


@torch.no_grad()
def assert_same(model, other):
    """Equal configurations, weights and features."""
    assert model.config == other.config
    assert list(model.state_dict()) == list(other.state_dict())
    for key, x in model.state_dict().items():
        assert other.state_dict()[key].dtype == torch.float32 and other.state_dict()[key].equal(x), key
    tokens = torch.randint(0, model.config.vocab_size, (2, 12), generator=torch.Generator().manual_seed(0))
    tokens[:, 7] = model.config.vocab_size - 1
    assert model.encode_image(torch.ones(1, 3, 32, 32)).equal(other.encode_image(torch.ones(1, 3, 32, 32)))
    assert model.encode_text(tokens).equal(other.encode_text(tokens))


# ---- open_clip's names, and which GELU goes with which ---------------------------------------------------------------


@pytest.mark.parametrize("layout, quick", [
    (lambda weights: weights, True),
    (lambda weights: prefixed("_orig_mod.", weights), True),
    (lambda weights: prefixed("module.", weights), False),
    (text_names, False),
    (lambda weights: {"state_dict": weights}, False),
    (training, False),
    (lambda weights: {"state_dict": prefixed("module._orig_mod.", text_names(weights))}, False),
], ids=["OpenAI", "compiled", "distributed", "text", "one device", "training", "all at once"])
def test_names_and_their_kind_of_gelu(tmp_path, capsys, layout, quick):
    """All names for the weights are known; the kind of GELU follows from them, is printed, and can be overruled."""
    path = tmp_path / "x.pt"
    torch.save(layout(weights_of(VIT)), path)
    check(load_other, path, replace(VIT, quick_gelu=quick), weights_of(VIT))
    assert capsys.readouterr().err == f"{path}: {'QuickGELU' if quick else 'GELU'}\n"
    check(load_other, path, replace(VIT, quick_gelu=not quick), weights_of(VIT), quick_gelu=not quick)
    assert capsys.readouterr().err == f"{path}: {'GELU' if quick else 'QuickGELU'}\n"


def test_training_checkpoint_of_a_resnet(tmp_path):
    """Its counters of batches are integers, and stay so."""
    torch.save(training(weights_of(RESNET)), tmp_path / "x.pt")
    check(load_other, tmp_path / "x.pt", replace(RESNET, quick_gelu=False), weights_of(RESNET))


# ---- Reading Hugging Face's, and safetensors -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("activation", ["quick_gelu", "gelu", None])
@pytest.mark.parametrize("folder", [True, False], ids=["folder", "file"])
def test_hugging_face(tmp_path, capsys, name, activation, folder):
    """Folder or file, the activation of config.json is followed; without that file it is CLIPModel's default."""
    weights, path = hugging_face(weights_of(VIT)), tmp_path / name
    torch.save(weights, path) if name.endswith(".bin") else path.write_bytes(safetensors(weights))
    if activation:
        config = {tower: {"hidden_act": activation, "layers": 2} for tower in ("text_config", "vision_config")}
        (tmp_path / "config.json").write_text(json.dumps(config, indent=2))
    check(load_other, tmp_path if folder else path, replace(VIT, quick_gelu=activation != "gelu"), weights_of(VIT))
    assert capsys.readouterr().err == f"{path}: {'GELU' if activation == 'gelu' else 'QuickGELU'}\n"


def test_safetensors_come_first(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(safetensors(hugging_face(weights_of(VIT))))
    (tmp_path / "pytorch_model.bin").write_bytes(b"not looked at")
    check(load_other, tmp_path, VIT, weights_of(VIT))


def test_when_the_activation_of_a_config_json_is_not_followed(tmp_path):
    """quick_gelu overrules it, and it says nothing about a file of another layout beside it."""
    (tmp_path / "config.json").write_text('{"text_config": {"hidden_act": "gelu"}}')
    (tmp_path / "model.safetensors").write_bytes(safetensors(hugging_face(weights_of(VIT))))
    torch.save(weights_of(VIT), tmp_path / "x.pt")
    assert load_other(tmp_path, quick_gelu=True)[0].config.quick_gelu
    assert load_other(tmp_path / "x.pt")[0].config.quick_gelu


@pytest.mark.parametrize("config, message", [
    ({"text_config": {"hidden_size": 64, "num_attention_heads": 2}}, "heads 32 wide, not 64"),
    ({"vision_config": {"hidden_size": 128, "num_attention_heads": 1}}, "heads 128 wide, not 64"),
    ({"vision_config": {"hidden_act": "relu"}}, "activation relu"),
    ([], "list"),
], ids=str)
def test_config_json_that_does_not_fit(tmp_path, config, message):
    """What no weight tells, and would give other features without anyone seeing it, is refused."""
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").write_bytes(safetensors(hugging_face(weights_of(SMALL))))
    assert message in refused(load_other, tmp_path / "model.safetensors")


def test_config_json_of_an_old_file(tmp_path):
    """Such files say all of it twice; a part that is null says nothing."""
    config = {"text_config": {"hidden_size": 64, "num_attention_heads": 1}, "text_config_dict": {"hidden_act": "gelu"},
              "vision_config": {"num_attention_heads": 2}, "vision_config_dict": None}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").write_bytes(safetensors(hugging_face(weights_of(VIT))))
    check(load_other, tmp_path, replace(VIT, quick_gelu=False), weights_of(VIT))


def test_safetensors_of_mixed_precision(tmp_path):
    """Five types, the ResNet's counters of batches being integers; a tensor may begin at any byte."""
    dtypes = itertools.cycle([torch.float, torch.half, torch.bfloat16, torch.double, torch.half])
    weights = {key: x.to(next(dtypes)) if x.is_floating_point() else x for key, x in original(RESNET).items()}
    (tmp_path / "x").write_bytes(safetensors(weights))
    check(load_other, tmp_path / "x", RESNET, weights)


# ---- Files that are no checkpoint ------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0, 0.0001, 0.01, 0.3, 0.7, 0.99, 0.99999])
def test_truncated_safetensors(tmp_path, share):
    whole = safetensors(weights_of(SMALL))
    (tmp_path / "x").write_bytes(whole[:int(share * len(whole))])
    refused(load_other, tmp_path / "x")


def header(text, size=None):
    return struct.pack("<Q", len(text) if size is None else size) + text


@pytest.mark.parametrize("content, message", [
    (header(b"{no JSON}"), "line 1 column 2"), (header(b'{"a": 1}', 9), ""),
    (header(b'{"a": 1}', 1 << 62), "MemoryError"), (header(b'{"a": 1}', 1 << 63), "int"),
    (header(b'{"a": {"dtype": "F8_E4M3", "shape": [1], "data_offsets": [0, 1]}}') + b"1", "F8_E4M3"),
    (header(b'{"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}}') + b"12345678", "shape '[3]'"),
], ids=str)
def test_broken_safetensors(tmp_path, content, message):
    """The message says what is wrong with the header."""
    (tmp_path / "x").write_bytes(content)
    assert message in refused(load_other, tmp_path / "x")


def test_folder_without_weights(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    assert "directory" in refused(load_other, tmp_path)


@pytest.mark.parametrize("layout, key, new, message", [
    (hugging_face, "text_model.encoder.layers.1.self_attn.k_proj.weight", None,
     "there is no 'transformer.resblocks.1.attn.k_"),
    (hugging_face, "vision_model.encoder.layers.0.self_attn.q_proj.bias", None, "0.attn.in_proj_bias"),
    (hugging_face, "vision_model.pre_layrnorm.bias", torch.ones(5), "size mismatch for visual.ln_pre.bias"),
    (hugging_face, "text_model.colour", torch.ones(5), "colour"),
    (text_names, "text.positional_embedding", None, "there is no 'positional_embedding'"),
    (text_names, "text.ln_final.weight", None, "Missing key(s) in state_dict: \"ln_final.weight\""),
    (text_names, "text.ln_final.weight", torch.ones(5), "size mismatch for ln_final.weight"),
    (text_names, "visual.colour", torch.ones(5), "Unexpected key(s) in state_dict: \"visual.colour\""),
    (text_names, "visual.conv1.weight", torch.ones(128, 3, 8, 4), "visual.conv1.weight"),
    (text_names, "text.token_embedding.weight", torch.ones(600, 64).long(), "token_embedding.weight"),
])
def test_wrong_weights(tmp_path, layout, key, new, message):
    """The first weight that is missing, too many or of another shape is named."""
    weights = layout(weights_of(SMALL)) | {key: new}
    torch.save({key: x for key, x in weights.items() if x is not None}, tmp_path / "x.pt")
    assert message in refused(load_other, tmp_path / "x.pt")


@pytest.mark.parametrize("merges", [None, "#version: 0.2\na b\n"], ids=["no merges", "other merges"])
def test_vocabulary_without_its_merges(tmp_path, monkeypatch, merges):
    """Neither OpenAI's merges, which aren't even looked for, nor another number of them are those of 600 tokens."""
    monkeypatch.setenv("CLIP_BPE", "nowhere")
    (tmp_path / "model.safetensors").write_bytes(safetensors(hugging_face(weights_of(SMALL))))
    if merges:
        (tmp_path / "merges.txt").write_text(merges)
    assert "there are no merges for its 600 tokens" in refused(load_other, tmp_path / "model.safetensors")


# ---- What clip_minimal.load says about them --------------------------------------------------------------------------


@pytest.mark.parametrize("layout", [
    lambda weights: prefixed("_orig_mod.", weights), lambda weights: prefixed("module.", weights), text_names,
    lambda weights: {"state_dict": weights}, training, hugging_face,
], ids=["compiled", "distributed", "text", "one device", "training", "Hugging Face"])
def test_the_plain_reader_names_the_command(tmp_path, layout):
    torch.save(layout(weights_of(SMALL)), tmp_path / "x.pt")
    command_is_named(tmp_path / "x.pt")


def test_the_plain_reader_names_the_command_for_safetensors_and_folders(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(safetensors(weights_of(SMALL)))
    command_is_named(tmp_path / "model.safetensors")
    command_is_named(tmp_path)


def command_is_named(path):
    """load raises OtherLayout, in one line with the command that converts the file."""
    with pytest.raises(OtherLayout) as error:
        load(path)
    message = str(error.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    assert f"`python tutorial/extras/convert.py {path} NEW.pt`" in message


# ---- Writing Hugging Face's ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quick_gelu", [True, False])
def test_there_and_back(tmp_path, capsys, quick_gelu):
    """Ours to Hugging Face's and back: equal weights, features, merges and GELU."""
    model, tokenizer = tiny_model(quick_gelu=quick_gelu)
    save_hugging_face(tmp_path / "new/folder", model, tokenizer)
    back, same_tokenizer = load_other(tmp_path / "new/folder")
    assert_same(model, back)
    assert same_tokenizer.merges == tokenizer.merges
    kind = "QuickGELU" if quick_gelu else "GELU"
    assert capsys.readouterr().err == f"{tmp_path / 'new/folder/model.safetensors'}: {kind}\n"


def test_there_and_back_with_the_merges_of_openai(tmp_path, monkeypatch):
    """The folder's own merges are read, so no download is needed."""
    model = CLIP(VIT)
    model.load_state_dict(weights_of(VIT))
    save_hugging_face(tmp_path, model.eval(), Tokenizer.from_merges())
    monkeypatch.setenv("CLIP_BPE", "nowhere")
    check(load_other, tmp_path, VIT, weights_of(VIT))


def test_weights_of_a_hugging_face_folder(tmp_path):
    """Names, shapes and values are CLIPModel's, in float32 whatever the model has; the format is safetensors."""
    model, tokenizer = tiny_model()
    save_hugging_face(tmp_path, model.double(), tokenizer)
    expected = hugging_face(weights_of(model.config))
    written = convert.read_safetensors(tmp_path / "model.safetensors")
    assert set(written) == {key for key in expected if not key.endswith("position_ids")}
    for key, x in written.items():
        assert x.dtype == torch.float32 and x.equal(expected[key]), key
    raw = (tmp_path / "model.safetensors").read_bytes()
    size = struct.unpack("<Q", raw[:8])[0]
    entries = json.loads(raw[8:8 + size])
    assert size % 8 == 0 and entries.pop("__metadata__") == {"format": "pt"}
    end = 0
    for entry in entries.values():  # without gaps, as the format demands
        assert entry["data_offsets"][0] == end and entry["dtype"] == "F32"
        end = entry["data_offsets"][1]
    assert end == len(raw) - 8 - size


def test_configuration_of_a_hugging_face_folder(tmp_path):
    """config.json has the names that CLIPConfig of transformers knows, and a text ends at our end token."""
    model, tokenizer = tiny_model(quick_gelu=False)
    save_hugging_face(tmp_path, model, tokenizer)
    N = len(tokenizer.vocab)
    shared = {"num_hidden_layers": 2, "hidden_act": "gelu", "projection_dim": 64}
    assert json.loads((tmp_path / "config.json").read_text()) == {
        "architectures": ["CLIPModel"], "model_type": "clip", "projection_dim": 64,
        "text_config": shared | {"hidden_size": 64, "intermediate_size": 256, "num_attention_heads": 1,
                                 "vocab_size": N, "max_position_embeddings": 16,
                                 "bos_token_id": N - 2, "eos_token_id": N - 1, "pad_token_id": N - 1},
        "vision_config": shared | {"hidden_size": 128, "intermediate_size": 512, "num_attention_heads": 2,
                                   "image_size": 32, "patch_size": 8}}


def test_tokenizer_and_preprocessing_of_a_hugging_face_folder(tmp_path):
    model, tokenizer = tiny_model()
    save_hugging_face(tmp_path, model, tokenizer)
    assert json.loads((tmp_path / "vocab.json").read_text()) == {token: i for i, token in enumerate(tokenizer.vocab)}
    lines = (tmp_path / "merges.txt").read_text("utf-8").splitlines()
    assert lines == ["#version: 0.2", *[f"{a} {b}" for a, b in tokenizer.merges]]
    assert json.loads((tmp_path / "tokenizer_config.json").read_text()) == {
        "tokenizer_class": "CLIPTokenizer", "model_max_length": 16}
    images = json.loads((tmp_path / "preprocessor_config.json").read_text())
    assert images["size"] == {"shortest_edge": 32} and images["crop_size"] == {"height": 32, "width": 32}
    black = torch.tensor(images["image_mean"]) / -torch.tensor(images["image_std"])
    torch.testing.assert_close(preprocess(Image.new("RGB", (40, 50)), 32)[:, 0, 0], black)


def test_hugging_face_has_no_resnets(tmp_path):
    with pytest.raises(ValueError, match="ResNet") as error:
        save_hugging_face(tmp_path / "new", CLIP(replace(RESNET, vocab_size=600)), None)
    assert str(tmp_path / "new") in str(error.value) and not (tmp_path / "new").exists()


# ---- The command line ------------------------------------------------------------------------------------------------


def run(*arguments):
    """The exit status of the command line."""
    return convert.main([str(argument) for argument in arguments])


@pytest.mark.parametrize("layout, kind, quick", [
    (training, "open_clip", False), (text_names, "open_clip", False), (hugging_face, "Hugging Face", True),
    (lambda weights: weights, "OpenAI", True)], ids=["training", "text", "Hugging Face", "OpenAI"])
def test_converted_files_are_what_load_reads(tmp_path, capsys, layout, kind, quick):
    """Weights in float32 under OpenAI's names, the merges, and the kind of GELU, which load then knows."""
    torch.save(layout(weights_of(VIT, torch.half)), tmp_path / "x.pt")
    assert run(tmp_path / "x.pt", tmp_path / "new.pt") == 0
    check(load, tmp_path / "new.pt", replace(VIT, quick_gelu=quick), weights_of(VIT, torch.half))
    for got, wanted in zip(features(load(tmp_path / "new.pt")[0]), features(load_other(tmp_path / "x.pt")[0])):
        assert got.equal(wanted)
    out = capsys.readouterr().out.splitlines()
    gelu = "QuickGELU" if quick else "GELU"
    million = sum(x.numel() for x in weights_of(VIT).values()) / 1e6
    assert out[0] == (f"read {tmp_path / 'x.pt'}: layout of {kind}, {gelu}, vision transformer of 2 blocks and patches"
                      f" of 8, images of 32 x 32, {million:.1f} million parameters")
    assert out[-1].startswith(f"wrote {tmp_path / 'new.pt'}: ")
    assert ("--gelu" in out[1]) == (kind != "Hugging Face") and len(out) == 3 - (kind == "Hugging Face")


def test_converted_resnet(tmp_path, capsys):
    torch.save(training(weights_of(RESNET)), tmp_path / "x.pt")
    assert run(tmp_path / "x.pt", tmp_path / "new.pt") == 0
    check(load, tmp_path / "new.pt", replace(RESNET, quick_gelu=False), weights_of(RESNET))
    assert "GELU, ResNet of 5 bottlenecks, images of 64 x 64, " in capsys.readouterr().out


@pytest.mark.parametrize("gelu", ["gelu", "quick_gelu"])
def test_gelu_of_the_command_line(tmp_path, capsys, gelu):
    """It overrules the layout's; nothing is said of what the layout does not tell."""
    torch.save(training(weights_of(VIT)), tmp_path / "x.pt")
    assert run(tmp_path / "x.pt", tmp_path / "new.pt", "--gelu", gelu) == 0
    check(load, tmp_path / "new.pt", replace(VIT, quick_gelu=gelu == "quick_gelu"), weights_of(VIT))
    out = capsys.readouterr().out
    assert f"open_clip, {'QuickGELU' if gelu == 'quick_gelu' else 'GELU'}, " in out and "--gelu" not in out


def test_to_hugging_face_and_back_by_command(tmp_path, capsys):
    model, tokenizer = tiny_model()
    save(tmp_path / "a.pt", model, tokenizer)
    assert run(tmp_path / "a.pt", tmp_path / "folder", "--to", "hugging-face") == 0
    assert run(tmp_path / "folder", tmp_path / "b.pt") == 0
    out = capsys.readouterr().out.splitlines()
    assert f"{tmp_path / 'a.pt'}: layout of this code" in out[0]
    assert f"{tmp_path / 'folder/model.safetensors'}: layout of Hugging Face" in out[2]
    back, same_tokenizer = load(tmp_path / "b.pt")
    assert_same(model, back)
    assert same_tokenizer.merges == tokenizer.merges
    assert (tmp_path / "b.pt").stat().st_size == pytest.approx((tmp_path / "a.pt").stat().st_size, rel=0.01)


def command_fails(capsys, *arguments):
    """The one line on standard error, and nothing else, with exit status 2."""
    assert run(*arguments) == 2
    out, err = capsys.readouterr()
    assert err.startswith("convert.py: ") and err.count("\n") == 1 and "wrote" not in out
    return err


def test_nothing_is_overwritten_without_being_asked(tmp_path, capsys):
    source, target, folder = tmp_path / "x.pt", tmp_path / "new.pt", tmp_path / "folder"
    save(source, *tiny_model())
    target.write_text("precious")
    folder.mkdir()
    (folder / "config.json").write_text("precious")
    for arguments in ([target], [folder, "--to", "hugging-face"]):
        message = command_fails(capsys, source, *arguments)
        assert str(arguments[0]) in message and "--force" in message
    assert target.read_text() == (folder / "config.json").read_text() == "precious"
    assert run(source, target, "--force") == 0 and run(source, folder, "--to", "hugging-face", "--force") == 0
    assert_same(load(source)[0], load(target)[0])
    assert_same(load(source)[0], load_other(folder)[0])


def test_empty_folder_may_be_filled(tmp_path):
    save(tmp_path / "x.pt", *tiny_model())
    (tmp_path / "folder").mkdir()
    assert run(tmp_path / "x.pt", tmp_path / "folder", "--to", "hugging-face") == 0


def test_file_may_be_converted_in_its_place(tmp_path):
    torch.save(training(weights_of(VIT)), tmp_path / "x.pt")
    assert run(tmp_path / "x.pt", tmp_path / "x.pt", "--force") == 0
    check(load, tmp_path / "x.pt", replace(VIT, quick_gelu=False), weights_of(VIT))


@pytest.mark.parametrize("force", [[], ["--force"]], ids=["", "force"])
def test_targets_of_the_wrong_kind(tmp_path, capsys, force):
    save(tmp_path / "x.pt", *tiny_model())
    (tmp_path / "folder").mkdir()
    assert "--to hugging-face" in command_fails(capsys, tmp_path / "x.pt", tmp_path / "folder", *force)
    assert "folder" in command_fails(capsys, tmp_path / "x.pt", tmp_path / "x.pt", "--to", "hugging-face", *force)
    assert not any((tmp_path / "folder").iterdir())


def test_sources_that_can_not_be_converted(tmp_path, capsys):
    (tmp_path / "x.pt").write_text("no checkpoint")
    assert "no such checkpoint" in command_fails(capsys, tmp_path / "none.pt", tmp_path / "new.pt")
    assert "it begins with" in command_fails(capsys, tmp_path / "x.pt", tmp_path / "new.pt")
    torch.save(weights_of(RESNET), tmp_path / "resnet.pt")
    message = command_fails(capsys, tmp_path / "resnet.pt", tmp_path / "folder", "--to", "hugging-face")
    assert "ResNet" in message
    torch.save(weights_of(SMALL), tmp_path / "small.pt")
    assert "no merges" in command_fails(capsys, tmp_path / "small.pt", tmp_path / "new.pt")
    assert not (tmp_path / "new.pt").exists() and not (tmp_path / "folder").exists()
    save(tmp_path / "x.pt", *tiny_model())
    message = command_fails(capsys, tmp_path / "x.pt", tmp_path / "nowhere/new.pt")
    assert str(tmp_path / "nowhere/new.pt") in message


def test_a_script_from_any_folder(tmp_path):
    """As a user runs it: exit status, standard output and standard error are in order."""
    save(tmp_path / "x.pt", *tiny_model())
    command = [sys.executable, ROOT / "tutorial/extras/convert.py", "x.pt", "new.pt"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.endswith("wrote new.pt: clip_minimal.load reads it\n")
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode == 2 and again.stdout == ""
    assert again.stderr == "convert.py: new.pt: exists; name another, or write over it with --force\n"


def test_help_has_examples(capsys):
    with pytest.raises(SystemExit) as ended:
        run("--help")
    shown = capsys.readouterr().out
    assert ended.value.code == 0
    for example in ("epoch_32.pt new.pt", "--gelu gelu", "--to hugging-face"):
        assert any("python tutorial/extras/convert.py" in line and example in line for line in shown.splitlines())
