"""tutorial/extras/convert.py: the layouts of open_clip and Hugging Face, in both directions, and its command line."""
import io
import itertools
import json
import os
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from test_foreign import RESNET, SMALL, VIT, bpe, check, features, home, original, refused, weights_of

import train_tiny
import zeroshot
from clip_minimal import CLIP, MEAN, STD, OtherLayout, Tokenizer, load, preprocess, save
from tutorial.extras import convert
from tutorial.extras.convert import load_other, save_hugging_face

FIXTURES = bpe, home  # of test_foreign.py: made-up merges in the place of OpenAI's, and an empty home folder
ROOT = Path(__file__).resolve().parents[1]
TINY = replace(VIT, context_length=16, vocab_size=530)


@pytest.fixture(scope="module")
def made_up(bpe):
    """The tokenizer of the made-up merges."""
    return Tokenizer.from_merges(bpe)


@pytest.fixture(autouse=True)
def merges_are_read_once(monkeypatch, bpe, made_up):
    """Not by each test anew; test_foreign.py has the tests of that."""
    read = Tokenizer.from_merges

    def from_merges(path=None):
        if path is None and os.environ["CLIP_BPE"] == str(bpe):
            return made_up
        return read(path)

    monkeypatch.setattr(Tokenizer, "from_merges", from_merges)


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


def config_json(text={}, vision={}, **change):
    """The config.json of VIT, changed."""
    heads = {"text_config": {"num_attention_heads": 1, **text}, "vision_config": {"num_attention_heads": 2, **vision}}
    return {"model_type": "clip", **heads, **change}


def write_hugging_face(folder, config=None, **files):
    """A folder of Hugging Face with the weights of VIT, this config.json, and more JSON files."""
    folder.mkdir(exist_ok=True)
    torch.save(hugging_face(weights_of(VIT)), folder / "pytorch_model.bin")
    for name, content in {"config": config or config_json(), **files}.items():
        (folder / f"{name}.json").write_text(json.dumps(content))


def write_open_clip(folder, model={}, vision={}, text={}, preprocessing={}, name="open_clip_pytorch_model.bin"):
    """A folder of open_clip with the weights of VIT, its configuration changed; without the heads if they are None."""
    vision_cfg = {"image_size": 32, "layers": 2, "width": 128, "patch_size": 8, **vision}
    text_cfg = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 2, **text}
    if text_cfg["heads"] is None:
        del text_cfg["heads"]
    model_cfg = {"embed_dim": 64, "vision_cfg": vision_cfg, "text_cfg": text_cfg, **model}
    preprocess_cfg = {"mean": MEAN, "std": STD, "interpolation": "bicubic", "resize_mode": "shortest", **preprocessing}
    config = {"model_cfg": model_cfg, "preprocess_cfg": preprocess_cfg}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    if name.endswith(".safetensors"):
        (folder / name).write_bytes(safetensors(weights_of(VIT)))
    else:
        torch.save(weights_of(VIT), folder / name)


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
        config = config_json({"hidden_act": activation}, {"hidden_act": activation})
        (tmp_path / "config.json").write_text(json.dumps(config, indent=2))
    check(load_other, tmp_path if folder else path, replace(VIT, quick_gelu=activation != "gelu"), weights_of(VIT))
    assert capsys.readouterr().err == f"{path}: {'GELU' if activation == 'gelu' else 'QuickGELU'}\n"


def test_safetensors_come_first(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(safetensors(hugging_face(weights_of(VIT))))
    (tmp_path / "pytorch_model.bin").write_bytes(b"not looked at")
    check(load_other, tmp_path, VIT, weights_of(VIT))


def test_when_the_activation_of_a_config_json_is_not_followed(tmp_path):
    """quick_gelu overrules it, and it says nothing about a file of another layout beside it."""
    (tmp_path / "config.json").write_text(json.dumps(config_json({"hidden_act": "gelu"})))
    (tmp_path / "model.safetensors").write_bytes(safetensors(hugging_face(weights_of(VIT))))
    torch.save(weights_of(VIT), tmp_path / "x.pt")
    assert load_other(tmp_path, quick_gelu=True)[0].config.quick_gelu
    assert load_other(tmp_path / "x.pt")[0].config.quick_gelu


@pytest.mark.parametrize("config, message", [
    (config_json({"num_attention_heads": 4}),
     "config.json: text_config has num_attention_heads 4, where this code has 1"),
    (config_json(vision={"num_attention_heads": 4}), "vision_config has num_attention_heads 4, where this code has 2"),
    (config_json({"layer_norm_eps": 1e-6}), "text_config has layer_norm_eps 1e-06, where this code has 1e-05"),
    (config_json(vision={"layer_norm_eps": 1e-12}), "vision_config has layer_norm_eps 1e-12, where this code has 1e-"),
    (config_json({"eos_token_id": 49406}), "text_config has eos_token_id 49406, where this code has 49407"),
    (config_json({"eos_token_id": [49407, 5]}), "text_config has eos_token_id [49407, 5], where this code has 49407"),
    (config_json(vision={"hidden_act": "gelu_pytorch_tanh"}), 'vision_config has hidden_act "gelu_pytorch_tanh"'),
    (config_json({"hidden_act": "gelu"}), "hidden_act gelu for texts and quick_gelu for images"),
    (config_json(model_type="siglip"), 'config.json has model_type "siglip", where this code has "clip"'),
    (config_json(vision={"image_size": [32, 48]}), "its images are 32 x 48, where this code has squares"),
    (config_json(vision={"image_size": 64}), "size mismatch for visual.positional_embedding"),
    ({}, "text_config has num_attention_heads 8, where this code has 1"),
    (config_json(vision_config=None), "vision_config has num_attention_heads 12, where this code has 2"),
    ([], "config.json holds a list and not an object"),
], ids=str)
def test_config_json_that_does_not_fit(tmp_path, config, message):
    """What no weight tells, and would give other features without anyone seeing it, is refused by name.

    An entry that is missing has the value that transformers gives it.
    """
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").write_bytes(safetensors(hugging_face(weights_of(VIT))))
    assert message in refused(load_other, tmp_path / "model.safetensors")


def test_two_activations(tmp_path):
    """The user may say which of the two it is to be; an activation that is no GELU remains refused."""
    write_hugging_face(tmp_path, config_json({"hidden_act": "gelu"}))
    check(load_other, tmp_path, replace(VIT, quick_gelu=False), weights_of(VIT), quick_gelu=False)
    write_hugging_face(tmp_path, config_json({"hidden_act": "relu"}))
    with pytest.raises(ValueError, match='text_config has hidden_act "relu", where this code has "quick_gelu"'):
        load_other(tmp_path, quick_gelu=False)


def test_config_json_that_is_damaged(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": ')
    (tmp_path / "model.safetensors").write_bytes(safetensors(hugging_face(weights_of(VIT))))
    message = refused(load_other, tmp_path / "model.safetensors")
    assert "config.json is not JSON: Expecting value: line 1 column 16" in message


def test_config_json_without_what_is_usual(tmp_path):
    """transformers' own 8 and 12 heads fit a text encoder 512 and an image encoder 768 wide, as of ViT-B/32."""
    config = replace(SMALL, vision_width=768, vision_layers=1, transformer_width=512, transformer_layers=1)
    (tmp_path / "config.json").write_text('{"text_config": {"eos_token_id": 2}}')
    (tmp_path / "model.safetensors").write_bytes(safetensors(hugging_face(weights_of(config), layers=1)))
    assert "there are no merges for its 600 tokens" in refused(load_other, tmp_path / "model.safetensors")


def test_resolution_of_a_config_json(tmp_path):
    """35 pixels are four patches of 8 and a rest, which no weight shows."""
    write_hugging_face(tmp_path, config_json({"eos_token_id": 2}, {"image_size": 35}))
    check(load_other, tmp_path, replace(VIT, image_resolution=35), weights_of(VIT))


def test_config_json_of_an_old_file(tmp_path):
    """Such files say all of it twice, and the second time counts; a part that is null says nothing."""
    config = {"text_config": {"num_attention_heads": 7},
              "text_config_dict": {"num_attention_heads": 1, "hidden_act": "gelu"},
              "vision_config": {"num_attention_heads": 2, "hidden_act": "gelu"}, "vision_config_dict": None}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").write_bytes(safetensors(hugging_face(weights_of(VIT))))
    check(load_other, tmp_path, replace(VIT, quick_gelu=False), weights_of(VIT))


def test_safetensors_of_mixed_precision(tmp_path):
    """Five types, the ResNet's counters of batches being integers; a tensor may begin at any byte."""
    dtypes = itertools.cycle([torch.float, torch.half, torch.bfloat16, torch.double, torch.half])
    weights = {key: x.to(next(dtypes)) if x.is_floating_point() else x for key, x in original(RESNET).items()}
    (tmp_path / "x").write_bytes(safetensors(weights))
    check(load_other, tmp_path / "x", RESNET, weights)


# ---- Mean and deviation of the pictures ------------------------------------------------------------------------------

HALVES, QUARTERS = (0.5, 0.5, 0.5), (0.25, 0.5, 0.75)
PROCESSOR = {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 32}, "resample": 3,
             "crop_size": {"height": 32, "width": 32}, "rescale_factor": 0.00392156862745098, "do_center_crop": True,
             "image_mean": HALVES, "image_std": QUARTERS}


@pytest.mark.parametrize("files, mean, std", [
    ({"preprocessor_config": PROCESSOR}, HALVES, QUARTERS),
    ({"preprocessor_config": {"image_mean": HALVES, "size": 32, "crop_size": 32}}, HALVES, STD),  # an old file
    ({"preprocessor_config": {"image_std": HALVES, "do_resize": None}}, MEAN, HALVES),
    ({"processor_config": {"image_processor": PROCESSOR}, "preprocessor_config": {}}, HALVES, QUARTERS),
    ({"processor_config": {"processor_class": "CLIPProcessor"}, "preprocessor_config": PROCESSOR}, HALVES, QUARTERS),
    ({"preprocessor_config": {**PROCESSOR, "do_normalize": False}}, (0, 0, 0), (1, 1, 1)),
], ids=["whole", "old", "deviation", "transformers 5", "both", "not normalised"])
def test_mean_and_deviation_of_a_hugging_face_folder(tmp_path, capsys, files, mean, std):
    """They are printed, and come through to the model."""
    write_hugging_face(tmp_path, **files)
    check(load_other, tmp_path, replace(VIT, image_mean=mean, image_std=std), weights_of(VIT))
    mean, std = tuple(map(float, mean)), tuple(map(float, std))
    expected = f"{tmp_path / 'pytorch_model.bin'}: QuickGELU, mean {mean}, deviation {std}\n"
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize("change, message", [
    ({"size": {"shortest_edge": 48}}, 'has size {"shortest_edge": 48}, where this code has 32'),
    ({"size": {"height": 32, "width": 32}}, 'has size {"height": 32, "width": 32}, where this code has 32'),
    ({"crop_size": 24}, "has crop_size 24, where this code has 32"),
    ({"resample": 2}, "has resample 2, where this code has 3"),
    ({"do_center_crop": False}, "has do_center_crop false, where this code has true"),
    ({"do_resize": False}, "has do_resize false, where this code has true"),
    ({"do_rescale": False}, "has do_rescale false, where this code has true"),
    ({"rescale_factor": 1 / 127.5}, "has rescale_factor 0.00784313725490196, where this code has 0.00392156862745098"),
    ({"image_processor_type": "ViTImageProcessor"}, 'has image_processor_type "ViTImageProcessor"'),
    ({"image_mean": [0.5]}, "has the mean [0.5], where three numbers are expected"),
    ({"image_mean": 0.5}, "has the mean 0.5, where three numbers are expected"),
    ({"image_std": ["a", "b", "c"]}, "has the deviation ['a', 'b', 'c'], where three numbers are expected"),
    ({"image_std": [0.5, 0, 0.5]}, "has the deviation [0.5, 0, 0.5], by which pictures can't be divided"),
], ids=str)
def test_preprocessing_that_is_not_ours(tmp_path, change, message):
    """Other ways to make a square of a picture are refused by name."""
    write_hugging_face(tmp_path, preprocessor_config={**PROCESSOR, **change})
    assert f"(preprocessor_config.json {message}" in refused(load_other, tmp_path / "pytorch_model.bin")


@pytest.fixture
def halved(tmp_path):
    """A converted checkpoint whose pictures have mean 0.5 and deviation 0.25, 0.5, 0.75."""
    model, tokenizer = tiny_model(image_mean=HALVES, image_std=QUARTERS)
    save_hugging_face(tmp_path / "folder", model, tokenizer)
    assert run(tmp_path / "folder", tmp_path / "new.pt") == 0
    return tmp_path / "new.pt"


def test_mean_and_deviation_of_a_converted_file(capsys, halved):
    """They go into Hugging Face's folder, out of it again and into the file, and preprocess uses them."""
    model, _ = load(halved)
    assert (model.config.image_mean, model.config.image_std) == (HALVES, QUARTERS)
    assert f"images of 32 x 32, mean {HALVES}, deviation {QUARTERS}, " in capsys.readouterr().out
    white = preprocess(Image.new("RGB", (40, 50), "white"), 32, model.config.image_mean, model.config.image_std)
    assert white[:, 3, 4].tolist() == [2, 1, pytest.approx(2 / 3)]


def test_commands_normalise_as_the_model_wants(halved, tmp_path):
    """White is not what it is to OpenAI's: for labels, for folders and for a picture that others shall be like."""
    model, tokenizer = load(halved)
    Image.new("RGB", (40, 50), "white").save(tmp_path / "white.png")
    levels = torch.tensor([2, 1, 2 / 3]).view(1, 3, 1, 1).expand(1, 3, 32, 32)
    expected = zeroshot.encode_images(model, levels)
    assert torch.tensor(next(zeroshot.encode_files(model, [tmp_path / "white.png"]))).allclose(expected[0], atol=1e-5)
    found = zeroshot.search(model, tokenizer, tmp_path, like=tmp_path / "white.png")
    assert found == [(tmp_path / "white.png", pytest.approx(1))]
    assert zeroshot.levels(levels, HALVES, QUARTERS) == pytest.approx(1)


def test_index_of_the_same_weights_with_another_mean(halved, tmp_path):
    """Its features are not used: they belong to pictures that were normalised in another way."""
    model, _ = load(halved)
    Image.new("RGB", (40, 50), "white").save(tmp_path / "white.png")
    _, features = zeroshot.index(model, tmp_path)
    model.config = replace(model.config, image_mean=MEAN, image_std=STD)
    _, others = zeroshot.index(model, tmp_path)
    assert not others.allclose(features, atol=1e-3)
    assert others[0].equal(torch.tensor(next(zeroshot.encode_files(model, [tmp_path / "white.png"]))))


@pytest.mark.parametrize("own", [True, False], ids=["own pictures", "pictograms"])
def test_training_normalises_as_the_model_wants(halved, tmp_path, own):
    """A training that begins with such a model goes on as it began."""
    arguments = ["--init", str(halved), "--out", str(tmp_path / "run")]
    if own:
        (tmp_path / "pictures").mkdir()
        for i in range(20):
            Image.new("RGB", (40, 40), "white").save(tmp_path / "pictures" / f"a white wall {i}.png")
        arguments += ["--data", str(tmp_path / "pictures"), "--captions-from-names"]
    seen = []

    def look(data, model, tokenizer, **options):
        seen.extend([data.batch(0, 4)[0], data.examples(4)[0]])

    train_tiny.run(train_tiny.parse(arguments), train_function=look)
    for images in seen:
        levels = images * torch.tensor(QUARTERS).view(3, 1, 1) + torch.tensor(HALVES).view(3, 1, 1)
        if own:
            assert levels.allclose(torch.ones(()))
        else:
            assert -0.001 < levels.min() < 0.2 and 0.8 < levels.max() < 1.001


# ---- Folders of open_clip --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["open_clip_model.safetensors", "open_clip_pytorch_model.safetensors",
                                  "open_clip_pytorch_model.bin"])
def test_folder_of_open_clip(tmp_path, capsys, name):
    """As open_clip writes it: GELU unless it says otherwise. The file of weights in it is read likewise."""
    write_open_clip(tmp_path, name=name)
    for path in (tmp_path, tmp_path / name):
        check(load_other, path, replace(VIT, quick_gelu=False), weights_of(VIT))
        assert capsys.readouterr().err == f"{tmp_path / name}: GELU\n"


def test_what_the_configuration_of_open_clip_says(tmp_path, capsys):
    """QuickGELU, the resolution, mean and deviation are followed, and nothing is left to be told with --gelu."""
    write_open_clip(tmp_path, {"quick_gelu": True}, {"image_size": [35, 35]},
                    preprocessing={"mean": HALVES, "std": QUARTERS})
    assert run(tmp_path, tmp_path / "new.pt") == 0
    check(load, tmp_path / "new.pt", replace(VIT, image_resolution=35, image_mean=HALVES, image_std=QUARTERS),
          weights_of(VIT))
    out = capsys.readouterr().out
    assert "layout of open_clip's folder, QuickGELU, " in out and "--gelu" not in out
    assert load_other(tmp_path, quick_gelu=False)[0].config.quick_gelu is False


@pytest.mark.parametrize("change, message", [
    ({"vision": {"head_width": 32}}, "vision_cfg has head_width 32, where this code has 64"),
    ({"vision": {"pool_type": "avg"}}, 'vision_cfg has pool_type "avg", where this code has "tok"'),
    ({"vision": {"act_kwargs": {"approximate": "tanh"}}}, 'vision_cfg has act_kwargs {"approximate": "tanh"}'),
    ({"vision": {"norm_kwargs": {"eps": 1e-6}}}, 'vision_cfg has norm_kwargs {"eps": 1e-06}'),
    ({"vision": {"image_size": [32, 48]}}, "its images are 32 x 48, where this code has squares"),
    ({"text": {"heads": 2}}, "text_cfg has heads 2, where this code has 1"),
    ({"text": {"heads": None}}, "text_cfg has heads 8, where this code has 1"),  # open_clip's default
    ({"text": {"no_causal_mask": True}}, "text_cfg has no_causal_mask true, where this code has false"),
    ({"text": {"pool_type": "last"}}, 'text_cfg has pool_type "last", where this code has "argmax"'),
    ({"text": {"norm_kwargs": {"eps": 1e-6}}}, 'text_cfg has norm_kwargs {"eps": 1e-06}'),
    ({"text": {"tokenizer_kwargs": {"clean": "canonicalize"}}}, 'text_cfg has tokenizer_kwargs {"clean"'),
    ({"preprocessing": {"interpolation": "bilinear"}}, 'preprocess_cfg has interpolation "bilinear", where this code'),
    ({"preprocessing": {"resize_mode": "squash"}}, 'preprocess_cfg has resize_mode "squash", where this code'),
    ({"preprocessing": {"size": 48}}, "preprocess_cfg has size 48, where this code has 32"),
    ({"preprocessing": {"mean": [0.5]}}, "has the mean [0.5], where three numbers are expected"),
], ids=str)
def test_models_of_open_clip_that_do_not_fit(tmp_path, change, message):
    """What no weight tells is refused by name."""
    write_open_clip(tmp_path, **change)
    assert message in refused(load_other, tmp_path / "open_clip_pytorch_model.bin")


def test_configuration_of_open_clip_beside_other_layouts(tmp_path):
    """It says nothing about a file of this code or of Hugging Face in the same folder."""
    write_hugging_face(tmp_path)
    write_open_clip(tmp_path, vision={"pool_type": "avg"})
    save(tmp_path / "ours.pt", *tiny_model())
    check(load_other, tmp_path, VIT, weights_of(VIT))
    assert load_other(tmp_path / "ours.pt")[0].config.quick_gelu


@pytest.mark.parametrize("joined", [False, True], ids=["pairs", "strings"])
def test_merges_of_a_tokenizer_json(tmp_path, joined):
    """transformers 5 and open_clip write no merges.txt; older versions wrote a pair as one string."""
    model, tokenizer = tiny_model()
    save_hugging_face(tmp_path, model, tokenizer)
    (tmp_path / "merges.txt").unlink()
    merges = [" ".join(pair) if joined else list(pair) for pair in tokenizer.merges]
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {"type": "BPE", "merges": merges}}))
    assert load_other(tmp_path)[1].merges == tokenizer.merges


# ---- Checkpoints in several files ------------------------------------------------------------------------------------


def write_shards(folder, name, shards=3):
    """VIT in Hugging Face's layout, dealt out to several files, and their index."""
    weights = hugging_face(weights_of(VIT))
    stem, ending = name.split(".")
    file_of = {key: f"{stem}-{i % shards + 1:05}-of-{shards:05}.{ending}" for i, key in enumerate(weights)}
    for file_name in set(file_of.values()):
        shard = {key: x for key, x in weights.items() if file_of[key] == file_name}
        if ending == "bin":
            torch.save(shard, folder / file_name)
        else:
            (folder / file_name).write_bytes(safetensors(shard))
    (folder / f"{name}.index.json").write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": file_of}))
    return folder / f"{name}.index.json"


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_several_files_with_their_index(tmp_path, capsys, name):
    """The folder and the index are read, with the configuration beside them."""
    index = write_shards(tmp_path, name)
    (tmp_path / "config.json").write_text(json.dumps(config_json({"hidden_act": "gelu"}, {"hidden_act": "gelu"})))
    for path in (tmp_path, index):
        check(load_other, path, replace(VIT, quick_gelu=False), weights_of(VIT))
        assert capsys.readouterr().err == f"{index}: GELU\n"


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_one_of_several_files(tmp_path, name):
    """It is not mistaken for an encoder alone."""
    write_shards(tmp_path, name)
    shard = tmp_path / name.replace(".", "-00001-of-00003.")
    assert "one of several files that belong together; name the folder" in refused(load_other, shard)


def test_several_files_of_which_one_is_missing(tmp_path):
    index = write_shards(tmp_path, "pytorch_model.bin")
    (tmp_path / "pytorch_model-00002-of-00003.bin").unlink()
    assert "there is no pytorch_model-00002-of-00003.bin, which this index names" in refused(load_other, index)


def test_several_files_that_lack_a_weight(tmp_path):
    index = write_shards(tmp_path, "pytorch_model.bin")
    torch.save({}, tmp_path / "pytorch_model-00001-of-00003.bin")
    message = refused(load_other, index)
    assert "pytorch_model-00001-of-00003.bin lacks logit_scale, which the index says it has" in message


# ---- Wrappers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap, layout, quick", [
    (lambda weights: {"model_state_dict": weights, "epoch": 1}, "OpenAI", True),
    (lambda weights: {"model": weights, "optimizer": {}}, "OpenAI", True),
    (lambda weights: {"module": weights}, "OpenAI", True),
    (lambda weights: {"model": prefixed("module.", weights)}, "open_clip", False),
    (lambda weights: {"state_dict": prefixed("model.", weights), "pytorch-lightning_version": "2.5"}, "OpenAI", True),
    (lambda weights: {"state_dict": prefixed("model.", text_names(weights)), "pytorch-lightning_version": "2.5"},
     "open_clip", False),
    (lambda weights: {"state_dict": prefixed("model.clip.", hugging_face(weights))}, "Hugging Face", True),
    (lambda weights: prefixed("net.", weights), "OpenAI", True),
], ids=["model_state_dict", "model", "DeepSpeed", "distributed", "Lightning", "Lightning of open_clip",
        "Lightning of Hugging Face", "part"])
def test_wrappers(tmp_path, capsys, wrap, layout, quick):
    """What training scripts write around a state dict, and before its names."""
    torch.save(wrap(weights_of(VIT)), tmp_path / "x.pt")
    check(load_other, tmp_path / "x.pt", replace(VIT, quick_gelu=quick), weights_of(VIT))
    assert run(tmp_path / "x.pt", tmp_path / "new.pt") == 0
    assert f": layout of {layout}, {'QuickGELU' if quick else 'GELU'}, " in capsys.readouterr().out
    command_is_named(tmp_path / "x.pt")


def test_other_weights_of_a_wrapper_are_not_left_out(tmp_path):
    """A class may have weights beside the model, which its outputs may depend on."""
    weights = {**prefixed("model.", weights_of(VIT)), "head.weight": torch.ones(3, 64)}
    torch.save({"state_dict": weights}, tmp_path / "x.pt")
    assert 'Unexpected key(s) in state_dict: "head.weight"' in refused(load_other, tmp_path / "x.pt")


def test_state_of_a_run(tmp_path):
    """Its configuration is not where a checkpoint has it, so it would be read as one of OpenAI's."""
    torch.save({"step": 50, "model": weights_of(VIT), "config": {"quick_gelu": False}, "merges": []}, tmp_path / "x.pt")
    assert "the state of a run of train_tiny.py, which --resume goes on with" in refused(load_other, tmp_path / "x.pt")


# ---- Other models ----------------------------------------------------------------------------------------------------


def only(weights, *beginnings):
    return {key: x for key, x in weights.items() if key.startswith(beginnings)}


def without(prefix, weights):
    return {key.removeprefix(prefix): x for key, x in weights.items() if key.startswith(prefix)}


def no_visual(weights):
    return {key: x for key, x in weights.items() if not key.startswith("visual.")}


@pytest.mark.parametrize("change, message", [
    (lambda weights: {**weights, "logit_bias": torch.zeros(1)}, "a SigLIP"),
    (lambda weights: {**hugging_face(weights), "vision_model.head.probe": torch.zeros(1)}, "a SigLIP"),
    (lambda weights: {**weights, "positional_embedding_res": torch.zeros(1)}, "a Long-CLIP"),
    (lambda weights: {**prefixed("module.", weights), "module.visual.trunk.cls_token": torch.zeros(1)},
     "a model of open_clip with an image encoder of timm, such as EVA"),
    (lambda weights: {**text_names(weights), "visual.blocks.0.attn.q_bias": torch.zeros(1)}, "an EVA-CLIP"),
    (lambda weights: {**text_names(weights), "text_decoder.ln_final.bias": torch.zeros(1)}, "a CoCa"),
    (lambda weights: {"visual.proj": weights["visual.proj"], "text.transformer.embeddings.word_embeddings.weight":
                      torch.zeros(1)}, "a text encoder of Hugging Face"),
    (lambda weights: {"image_encoder.model.bias": torch.zeros(1)}, "a MobileCLIP"),
    (no_visual, "a text encoder alone"),
    (lambda weights: prefixed("text.", no_visual(weights)), "a text encoder alone"),
    (lambda weights: only(hugging_face(weights), "text_"), "a text encoder alone"),
    (lambda weights: without("text_model.", hugging_face(weights)), "a text encoder alone"),
    (lambda weights: only(weights, "visual."), "an image encoder alone"),
    (lambda weights: without("visual.", weights), "an image encoder alone"),
    (lambda weights: without("visual.", weights_of(RESNET)), "an image encoder alone"),
    (lambda weights: only(hugging_face(weights), "vision_"), "an image encoder alone"),
    (lambda weights: without("vision_model.", hugging_face(weights)), "an image encoder alone"),
])
def test_other_models_are_named(tmp_path, capsys, change, message):
    """One line says what it is, also where zeroshot.py is given the file."""
    path = tmp_path / "x.pt"
    torch.save(change(weights_of(VIT)), path)
    line = refused(load_other, path)
    assert "(these are the weights of a" in line and message in line
    assert zeroshot.main(["x.png", "--labels", "a", "--model", str(path)]) == 2
    assert capsys.readouterr().err == f"zeroshot.py: {line}\n"


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


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_names_that_the_console_cannot_show_end_nothing(tmp_path, monkeypatch, encoding):
    printed = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(printed, encoding))
    save(tmp_path / "x.pt", *tiny_model())
    assert run(tmp_path / "x.pt", tmp_path / "\u1ec5.pt") == 0
    sys.stdout.flush()
    assert f"wrote {tmp_path / '?.pt'}: clip_minimal.load reads it" in printed.getvalue().decode(encoding)


def test_a_script_from_any_folder(tmp_path):
    """As a user runs it: what main returns is the exit status, and an error goes to standard error alone."""
    save(tmp_path / "x.pt", *tiny_model())
    (tmp_path / "taken.pt").write_text("precious")
    command = [sys.executable, ROOT / "tutorial/extras/convert.py", "x.pt", "taken.pt"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == "convert.py: taken.pt: exists; name another, or write over it with --force\n"


def test_help_has_examples(capsys):
    with pytest.raises(SystemExit) as ended:
        run("--help")
    shown = capsys.readouterr().out
    assert ended.value.code == 0
    for example in ("epoch_32.pt new.pt", "--gelu gelu", "--to hugging-face"):
        assert any("python tutorial/extras/convert.py" in line and example in line for line in shown.splitlines())
