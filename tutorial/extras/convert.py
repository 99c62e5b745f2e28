"""Checkpoints of other libraries: read open_clip's and Hugging Face's, and write Hugging Face's.

    python tutorial/extras/convert.py epoch_32.pt new.pt             a checkpoint of open_clip
    python tutorial/extras/convert.py laion.bin new.pt --gelu gelu   the same, with another GELU
    python tutorial/extras/convert.py clip-vit-base new.pt           a folder of Hugging Face or open_clip
    python tutorial/extras/convert.py new.pt vit --to hugging-face   writes a folder for Hugging Face

A new file has OpenAI's names, so clip_minimal.load reads it. OpenAI's code and load_openai_model of
open_clip read it too, and compute the same if the model has QuickGELU and its pictures OpenAI's mean
and deviation. A new folder is for Hugging Face's transformers: CLIPModel.from_pretrained and
CLIPProcessor.from_pretrained read it. In Python, load_other(path) returns the model and the tokenizer
of any checkpoint.

Five layouts are known. No weight tells which GELU a model was trained with, but these do:

    this code            OpenAI's names; the file says which GELU
    OpenAI               a TorchScript archive, or a state dict; QuickGELU
    open_clip            OpenAI's names behind "module." or "text.", or in a training checkpoint; GELU
    open_clip's folder   the same names; the open_clip_config.json beside the file says which GELU
    Hugging Face         names of its own; the config.json beside the file says which GELU

The files beside the weights also tell the mean and deviation of the pictures, which the new file keeps,
and much that the model here has in one way only: it is refused if they say another.
"""
import argparse
import json
import os
import re
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))
from clip_minimal import (HEAD_WIDTH, MEAN, SHA256, STD, Tokenizer, build_model, find_checkpoint,
                          fitting_tokenizer, infer_config, is_torchscript, one_line, read_attributes,
                          read_torchscript, save)
from tutorial.extras.pictures import print_anything

INDEX = ".index.json"  # how the name of a file ends that tells which weight is in which of several files
OPEN_CLIP_CONFIG = "open_clip_config.json"

# The files of weights that a folder may have; the first one that is there is read.
WEIGHT_FILES = (
    "model.safetensors",  # of Hugging Face
    "model.safetensors" + INDEX,
    "pytorch_model.bin",
    "pytorch_model.bin" + INDEX,
    "open_clip_model.safetensors",  # of open_clip
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
)

# ---- Any checkpoint -> model and tokenizer -------------------------------------------------------


def load_other(path, device="cpu", quick_gelu=None):
    """A checkpoint of any layout -> (float32 model in eval mode, tokenizer).

    path is a file, a folder of Hugging Face or open_clip, or the name of a published model. The model
    has the GELU that its files or its layout tell, unless quick_gelu says otherwise. Which one it is is
    printed on standard error, if the file is not ours. FileNotFoundError where there is no file;
    ValueError, in one line, for a file that is no checkpoint, or none of a model that this code has.
    """
    path = find_weights(path)
    model, tokenizer, layout = read_model(path, quick_gelu)
    if layout != "this code":
        print(f"{path}: {name_gelu(model)}{name_levels(model)}", file=sys.stderr)
    # channels last is the order in memory that convolutions are quickest with
    return model.to(device, memory_format=torch.channels_last).eval(), tokenizer


def find_weights(path):
    """A file, a folder or a published model, which is downloaded -> the path of the weights."""
    path = find_checkpoint(path)
    if not os.path.isdir(path):
        return path
    for name in WEIGHT_FILES:
        inside = os.path.join(path, name)
        if os.path.exists(inside):
            return inside
    raise ValueError(f"{path}: not a checkpoint of CLIP (a directory without {WEIGHT_FILES[0]},"
                     f" {WEIGHT_FILES[2]}, {WEIGHT_FILES[4]} or the like)")


def read_model(path, quick_gelu=None):
    """The path of the weights -> (model, tokenizer, layout). Errors are those of load_other."""
    try:
        content = read_file(path)
        if not isinstance(content, dict):
            raise ValueError(f"it holds this and not a state dict: {content!r}")
        weights = strip_names(find_state_dict(content))
        refuse_other_models(weights)
        layout = find_layout(path, content, weights)
        merges = getattr(content, "merges", None)
        # what the weights don't tell: the GELU, the mean and deviation of the pictures
        if layout == "this code":
            settings = read_attributes(content)
        elif layout == "Hugging Face":
            weights = from_hugging_face(weights)
            settings = read_hugging_face_config(path, weights, quick_gelu)
            merges = read_merges(path)
        elif layout == "open_clip's folder":
            settings = read_open_clip_config(path, weights)
            merges = read_merges(path)
        else:
            settings = {"quick_gelu": layout == "OpenAI"}  # open_clip trains with nn.GELU
        if quick_gelu is not None:
            settings["quick_gelu"] = quick_gelu
        model = build_model(weights, **settings)
        tokenizer = None
        if merges is not None:
            tokenizer = Tokenizer(merges)
    except Exception as error:  # damaged and foreign files make their readers raise all kinds
        raise ValueError(f"{path}: not a checkpoint of CLIP ({one_line(error)})") from None
    tokenizer = fitting_tokenizer(path, tokenizer, model.config.vocab_size)
    return model, tokenizer, layout


def find_state_dict(content):
    """What a file holds -> the state dict in it. Training scripts write much else beside it."""
    if "merges" in content:
        raise ValueError("it is the state of a run of train_tiny.py, which --resume goes on with")
    for name in ("state_dict", "model_state_dict", "model", "module"):
        if isinstance(content.get(name), dict):
            return content[name]
    return content


def strip_names(weights):
    """A state dict -> its weights alone, without what others put before OpenAI's names.

    "module." comes from training on several devices, "_orig_mod." from torch.compile, "model." or
    another name from a class that has the model as a part, as PyTorch Lightning's have it, and "text."
    from models of open_clip whose text encoder is a module of its own.
    """
    prefix = find_prefix(weights)
    stripped = {}
    for name, tensor in weights.items():
        if not torch.is_tensor(tensor) or name.endswith(("position_ids", "attn_mask")):
            continue  # neither the numbers 0, 1, 2, ... nor the causal mask were learned
        stripped[name.removeprefix(prefix).removeprefix("text.")] = tensor
    return stripped


def find_prefix(names):
    """What stands before all names of a model: before token_embedding, a name in every layout."""
    for name in names:
        before, found, after = name.rpartition("token_embedding.weight")
        if found and not after:
            return before.removesuffix("text_model.embeddings.").removesuffix("text.")
    return ""


# Weights that other models have and a CLIP has not, and which models these are.

OTHER_MODELS = {
    "logit_bias": "a SigLIP",
    "vision_model.head.": "a SigLIP",
    "positional_embedding_res": "a Long-CLIP, which has a second position embedding",
    "visual.trunk.": "a model of open_clip with an image encoder of timm, such as EVA, SigLIP or ConvNeXt",
    "visual.blocks.": "an EVA-CLIP",
    "text_decoder.": "a CoCa",
    "transformer.embeddings.": "a model of open_clip with a text encoder of Hugging Face",
    "image_encoder.": "a MobileCLIP",
}
IMAGE_ENCODERS = ("visual.", "vision_model.", "conv1.", "embeddings.patch_embedding.")  # how names begin
TEXT_ENCODERS = ("transformer.", "token_embedding.", "text_model.")


def refuse_other_models(weights):
    """ValueError, which says what it is, for the weights of another model or of one of the two encoders."""
    for beginning, what in OTHER_MODELS.items():
        if any(name.startswith(beginning) for name in weights):
            raise ValueError(f"these are the weights of {what}, which this code does not have")
    has_image_encoder = any(name.startswith(IMAGE_ENCODERS) for name in weights)
    has_text_encoder = any(name.startswith(TEXT_ENCODERS) for name in weights)
    if "conv1.weight" in weights:
        has_text_encoder = False  # the blocks of a vision transformer alone are called "transformer." too
    if has_image_encoder and not has_text_encoder:
        raise ValueError("these are the weights of an image encoder alone; a CLIP also has a text encoder")
    if has_text_encoder and not has_image_encoder:
        raise ValueError("these are the weights of a text encoder alone; a CLIP also has an image encoder")


def find_layout(path, content, weights):
    """The path of a file, what it holds, and its weights with stripped names -> one of the five layouts."""
    if hasattr(content, "quick_gelu"):
        return "this code"
    if any(name.startswith("text_model.") for name in weights):
        return "Hugging Face"
    if os.path.exists(beside(path, OPEN_CLIP_CONFIG)):
        return "open_clip's folder"
    lightning = "pytorch-lightning_version" in content  # its users train all kinds of models
    if "state_dict" in content and not lightning:
        return "open_clip"
    for name in find_state_dict(content):
        if name.startswith("module.") or "text." in name:
            return "open_clip"
    return "OpenAI"


def name_gelu(model):
    """The kind of GELU of a model, as it is printed."""
    return "QuickGELU" if model.config.quick_gelu else "GELU"


def name_levels(model):
    """Mean and deviation of a model's pictures, as they are printed; nothing if they are OpenAI's."""
    mean, std = model.config.image_mean, model.config.image_std
    if (mean, std) == (MEAN, STD):
        return ""
    return f", mean {mean}, deviation {std}"


# ---- Files ---------------------------------------------------------------------------------------


def read_file(path):
    """A file of PyTorch or safetensors, or the index of several -> what was saved in it.

    No code that a file holds is run.
    """
    if str(path).endswith(INDEX):
        return read_shards(path)
    if re.search(r"-\d+-of-\d+\.\w+$", str(path)):  # model-00001-of-00003.safetensors
        raise ValueError("one of several files that belong together; name the folder that they are in")
    return read_one_file(path)


def read_one_file(path):
    """The same for a single file."""
    with open(path, "rb") as file:
        start = file.read(9)
    if start[8:] == b"{":
        return read_safetensors(path)
    if start[:2] != b"PK" and start[:1] != b"\x80":
        raise ValueError(f"it begins with {start}, as neither PyTorch's files nor safetensors do")
    if is_torchscript(path):
        return read_torchscript(path)
    return torch.load(path, map_location="cpu", weights_only=True)


def read_shards(path):
    """The index of a checkpoint in several files -> the state dict that they hold together.

    The index says {"weight_map": {"name of a weight": "name of its file", ...}}.
    """
    file_of = read_json(path)["weight_map"]
    weights = {}
    for name in sorted(set(file_of.values())):
        shard = beside(path, name)
        if not os.path.exists(shard):
            raise ValueError(f"there is no {name}, which this index names")
        weights.update(read_one_file(shard))
    missing = [name for name in file_of if name not in weights]
    if missing:
        raise ValueError(f"{file_of[missing[0]]} lacks {missing[0]}, which the index says it has")
    return weights


def beside(path, name):
    """The path of the file of that name in the folder of a file."""
    return os.path.join(os.path.dirname(path), name)


def read_json(path):
    """A JSON file -> the object in it, or None where there is no file. ValueError for other content."""
    if not os.path.exists(path):
        return None
    with open(path, encoding="utf-8") as file:
        try:
            content = json.load(file)
        except ValueError as error:
            raise ValueError(f"{os.path.basename(path)} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{os.path.basename(path)} holds a {type(content).__name__} and not an object")
    return content


# A safetensors file is the size of its header in eight bytes, the header, and the bytes of all
# tensors. The header is JSON: {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}.

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
}


def read_safetensors(path):
    """A safetensors file -> its state dict."""
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        raw = bytearray(file.read())
    header.pop("__metadata__", None)
    weights = {}
    for name, entry in header.items():
        if entry["dtype"] not in DTYPES:
            raise ValueError(f"{name} is of type {entry['dtype']}; known are {', '.join(DTYPES)}")
        begin, end = entry["data_offsets"]
        numbers = torch.frombuffer(raw[begin:end], dtype=DTYPES[entry["dtype"]])
        weights[name] = numbers.view(entry["shape"])
    return weights


def write_safetensors(path, weights):
    """Write a state dict as a safetensors file, in float32."""
    header = {"__metadata__": {"format": "pt"}}  # transformers wants to know whose tensors they are
    offset = 0
    for name, tensor in weights.items():
        end = offset + 4 * tensor.numel()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)  # so that the tensors begin at a multiple of eight bytes
    with open(path, "wb") as file:
        file.write(len(encoded).to_bytes(8, "little"))
        file.write(encoded)
        for tensor in weights.values():
            file.write(tensor.float().cpu().numpy().tobytes())


# ---- Hugging Face --------------------------------------------------------------------------------

# Pieces of Hugging Face's names, and what OpenAI's names have in their place. Replacing one after the
# other turns "vision_model.encoder.layers.0.mlp.fc1.bias" into
# "visual.transformer.resblocks.0.mlp.c_fc.bias", and back. The order matters on the way back:
# "visual.positional_embedding" also contains "positional_embedding", so it has to come first.

HUGGING_FACE = {
    # the image encoder
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "vision_model.pre_layrnorm.": "visual.ln_pre.",  # spelled so
    "vision_model.encoder.layers.": "visual.transformer.resblocks.",
    "vision_model.post_layernorm.": "visual.ln_post.",
    "visual_projection.weight": "visual.proj",
    # the text encoder
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.encoder.layers.": "transformer.resblocks.",
    "text_model.final_layer_norm.": "ln_final.",
    "text_projection.weight": "text_projection",
    # within a block of either
    ".layer_norm1.": ".ln_1.",
    ".self_attn.": ".attn.",
    ".layer_norm2.": ".ln_2.",
    ".mlp.fc1.": ".mlp.c_fc.",
    ".mlp.fc2.": ".mlp.c_proj.",
}
PROJECTIONS = ("visual.proj", "text_projection")  # Hugging Face's are linear layers: transposed


def from_hugging_face(weights):
    """A state dict with Hugging Face's names -> with OpenAI's."""
    renamed = {}
    for name, tensor in weights.items():
        for theirs, ours in HUGGING_FACE.items():
            name = name.replace(theirs, ours)
        if name in PROJECTIONS:
            tensor = tensor.T.contiguous()
        renamed[name] = tensor
    # queries, keys and values: three matrices become one, and three biases
    for name in list(renamed):
        if ".attn.q_proj." in name:
            query = renamed.pop(name)
            key = renamed.pop(name.replace("q_proj", "k_proj"))
            value = renamed.pop(name.replace("q_proj", "v_proj"))
            renamed[name.replace("q_proj.", "in_proj_")] = torch.cat([query, key, value])
    return renamed


def to_hugging_face(weights):
    """A state dict with OpenAI's names -> with Hugging Face's."""
    renamed = {}
    for name, tensor in weights.items():
        if name in PROJECTIONS:
            tensor = tensor.T
        for theirs, ours in HUGGING_FACE.items():
            name = name.replace(ours, theirs)
        if ".in_proj_" in name:
            query, key, value = tensor.chunk(3)
            renamed[name.replace("in_proj_", "q_proj.")] = query
            renamed[name.replace("in_proj_", "k_proj.")] = key
            renamed[name.replace("in_proj_", "v_proj.")] = value
        else:
            renamed[name] = tensor
    return renamed


def read_merges(path):
    """The pairs in the merges.txt or tokenizer.json beside a file of weights, or None if there is neither."""
    merges_path = beside(path, "merges.txt")
    if not os.path.exists(merges_path):
        tokenizer = read_json(beside(path, "tokenizer.json")) or {}
        merges = tokenizer.get("model", {}).get("merges")
        if merges and isinstance(merges[0], str):  # "a b", as older versions wrote them
            merges = [pair.split(" ") for pair in merges]
        return merges
    with open(merges_path, encoding="utf-8") as file:
        lines = file.read().strip().split("\n")
    return [line.split() for line in lines[1:]]  # the first line is a header


def save_hugging_face(folder, model, tokenizer):
    """Write a folder that CLIPModel and CLIPProcessor of Hugging Face's transformers read.

    ValueError for a model with a ResNet, of which CLIPModel knows nothing.
    """
    config = model.config
    if config.vision_patch_size is None:
        raise ValueError(f"{folder}: not written, for Hugging Face's CLIPModel can't have a ResNet")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    # the model
    write_safetensors(folder / "model.safetensors", to_hugging_face(model.state_dict()))
    write_json(folder / "config.json", hugging_face_config(config))
    # the tokenizer
    lines = ["#version: 0.2"]
    for first, second in tokenizer.merges:
        lines.append(f"{first} {second}")
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
    write_json(folder / "vocab.json", tokenizer.ids)
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "CLIPTokenizer",
                                                  "model_max_length": config.context_length})
    # the preprocessing
    R = config.image_resolution
    write_json(folder / "preprocessor_config.json", {
        "image_processor_type": "CLIPImageProcessor",
        "size": {"shortest_edge": R},
        "crop_size": {"height": R, "width": R},
        "image_mean": config.image_mean,
        "image_std": config.image_std,
    })


def write_json(path, content):
    """Write content as JSON."""
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def hugging_face_config(config):
    """CLIPConfig -> the content of config.json."""
    text = transformer_config(config, config.transformer_width, config.transformer_layers)
    text["vocab_size"] = config.vocab_size
    text["max_position_embeddings"] = config.context_length
    text["bos_token_id"] = config.vocab_size - 2
    text["eos_token_id"] = config.vocab_size - 1  # where the feature of a text is taken
    text["pad_token_id"] = config.vocab_size - 1
    vision = transformer_config(config, config.vision_width, config.vision_layers)
    vision["image_size"] = config.image_resolution
    vision["patch_size"] = config.vision_patch_size
    return {
        "architectures": ["CLIPModel"],
        "model_type": "clip",
        "projection_dim": config.embed_dim,
        "text_config": text,
        "vision_config": vision,
    }


def transformer_config(config, width, layers):
    """What config.json says of each encoder."""
    return {
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": width // HEAD_WIDTH,
        "hidden_act": "quick_gelu" if config.quick_gelu else "gelu",
        "projection_dim": config.embed_dim,
    }


# ---- The configuration beside the weights --------------------------------------------------------

# Names and shapes of the weights show most of a model. What follows they do not show. Our model has each
# of it in one way only, except for the GELU, the resolution, and the mean and deviation of the pictures.


def read_hugging_face_config(path, weights, quick_gelu=None):
    """What the JSON files beside a file of weights say -> the other arguments of build_model.

    weights have OpenAI's names; the resolution is added to them. Without the files all is as in OpenAI's
    models, and where a file lacks an entry it is as transformers has it then. ValueError, by name, for
    what our model does not have.
    """
    config = read_json(beside(path, "config.json"))
    settings = {"quick_gelu": True}
    if config is not None:
        check_entries("config.json", config, {"model_type": ["clip"]})
        text = encoder_config(config, "text_config")
        vision = encoder_config(config, "vision_config")
        check_encoder("text_config", text, text_width(weights))
        check_encoder("vision_config", vision, vision_width(weights))
        # The feature of a text is taken at the end token. If that is 2, transformers takes it at the
        # highest id, which is the same.
        end = len(weights["token_embedding.weight"]) - 1
        check_entries("config.json: text_config", text, {"eos_token_id": [end, 2]})
        # both encoders have one activation
        if text["hidden_act"] != vision["hidden_act"] and quick_gelu is None:
            raise ValueError(f"config.json has hidden_act {text['hidden_act']} for texts and"
                             f" {vision['hidden_act']} for images, where this code has one for both")
        settings["quick_gelu"] = vision["hidden_act"] == "quick_gelu"
        add_resolution(weights, vision.get("image_size"))
    settings.update(read_hugging_face_preprocessing(path, weights))
    return settings


# What transformers takes for entries that config.json lacks, in CLIPTextConfig and CLIPVisionConfig.

HUGGING_FACE_DEFAULTS = {
    "text_config": {"hidden_act": "quick_gelu", "num_attention_heads": 8, "eos_token_id": 49407},
    "vision_config": {"hidden_act": "quick_gelu", "num_attention_heads": 12},
}


def encoder_config(config, name):
    """What config.json says of an encoder, with what transformers takes where it says nothing.

    Older files have it a second time under another name, and that is the one that counts.
    """
    encoder = config.get(f"{name}_dict") or config.get(name) or {}
    return {**HUGGING_FACE_DEFAULTS[name], **encoder}


def check_encoder(name, encoder, width):
    """ValueError unless an encoder that is so wide has our heads, our epsilon and one of our activations."""
    check_entries(f"config.json: {name}", encoder, {
        "num_attention_heads": [width // HEAD_WIDTH],
        "layer_norm_eps": [1e-5],
        "hidden_act": ["quick_gelu", "gelu"],
    })


def read_hugging_face_preprocessing(path, weights):
    """What the file of the image processor says -> image_mean and image_std in a dict, if it says them."""
    name = "processor_config.json"  # of transformers 5
    config = (read_json(beside(path, name)) or {}).get("image_processor")
    if config is None:
        name = "preprocessor_config.json"
        config = read_json(beside(path, name)) or {}
    R = resolution_of(weights)
    check_entries(name, config, {
        "image_processor_type": ["CLIPImageProcessor", "CLIPImageProcessorFast", "CLIPImageProcessorPil"],
        "do_resize": [True],
        "size": [R, {"shortest_edge": R}],
        "resample": [3],  # bicubic
        "do_center_crop": [True],
        "crop_size": [R, {"height": R, "width": R}],
        "do_rescale": [True],
        "rescale_factor": [1 / 255],
    })
    if config.get("do_normalize") is False:
        return {"image_mean": (0.0, 0.0, 0.0), "image_std": (1.0, 1.0, 1.0)}
    return mean_and_std(name, config.get("image_mean"), config.get("image_std"))


def read_open_clip_config(path, weights):
    """What the open_clip_config.json beside a file of weights says, as read_hugging_face_config does."""
    config = read_json(beside(path, OPEN_CLIP_CONFIG))
    model = config["model_cfg"]
    shared = {"act_kwargs": [{}], "norm_kwargs": [{}]}  # other arguments of the activation, of the layer norm
    check_entries(f"{OPEN_CLIP_CONFIG}: vision_cfg", model["vision_cfg"], {
        "head_width": [HEAD_WIDTH],
        "pool_type": ["tok"],
        **shared,
    })
    check_entries(f"{OPEN_CLIP_CONFIG}: text_cfg", {"heads": 8, **model["text_cfg"]}, {
        "heads": [text_width(weights) // HEAD_WIDTH],
        "no_causal_mask": [False],
        "pool_type": ["argmax"],  # the feature is taken at the highest id, which ends a text
        "tokenizer_kwargs": [{}],
        **shared,
    })
    add_resolution(weights, model["vision_cfg"].get("image_size"))
    # the preprocessing
    preprocessing = config.get("preprocess_cfg") or {}
    R = resolution_of(weights)
    check_entries(f"{OPEN_CLIP_CONFIG}: preprocess_cfg", preprocessing, {
        "size": [R, [R, R]],
        "mode": ["RGB"],
        "interpolation": ["bicubic"],
        "resize_mode": ["shortest"],
    })
    settings = mean_and_std(OPEN_CLIP_CONFIG, preprocessing.get("mean"), preprocessing.get("std"))
    settings["quick_gelu"] = bool(model.get("quick_gelu"))
    return settings


def check_entries(where, config, known):
    """ValueError for an entry of config that has none of the values that are known. It may be missing."""
    for name, values in known.items():
        value = config.get(name)
        if value is not None and value not in values:
            raise ValueError(f"{where} has {name} {json.dumps(value)},"
                             f" where this code has {json.dumps(values[0])}")


def mean_and_std(where, mean, std):
    """What a file says of the pictures -> image_mean and image_std in a dict, if it says them."""
    settings = {}
    if mean is not None:
        settings["image_mean"] = three_numbers(f"{where} has the mean", mean)
    if std is not None:
        settings["image_std"] = three_numbers(f"{where} has the deviation", std)
        if min(std) <= 0:
            raise ValueError(f"{where} has the deviation {std}, by which pictures can't be divided")
    return settings


def three_numbers(where, numbers):
    """A list of three numbers -> the same as a tuple of floats. ValueError for anything else."""
    try:
        red, green, blue = numbers
        return float(red), float(green), float(blue)
    except (TypeError, ValueError):
        raise ValueError(f"{where} {numbers}, where three numbers are expected") from None


def text_width(weights):
    """How wide a text encoder is."""
    return weights["positional_embedding"].shape[1]


def vision_width(weights):
    """How wide a vision transformer is."""
    return weights["visual.conv1.weight"].shape[0]


def add_resolution(weights, image_size):
    """Put the resolution that a configuration may give among the weights, where OpenAI's files have it."""
    if isinstance(image_size, list):
        height, width = image_size
        if height != width:
            raise ValueError(f"its images are {height} x {width}, where this code has squares")
        image_size = width
    if image_size is not None:
        weights["input_resolution"] = torch.tensor(image_size)


def resolution_of(weights):
    """The side of the images in pixels."""
    return infer_config(weights, True).image_resolution


# ---- The command line ----------------------------------------------------------------------------


def main(argv=None):
    """The command line. Exit status 2 and one line on standard error for what can't be done."""
    print_anything()
    args = parse_arguments(argv)
    try:
        convert(args)
    except (OSError, ValueError) as error:
        print(f"convert.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nconvert.py: interrupted; what was downloaded is kept", file=sys.stderr)
        return 130
    return 0


def parse_arguments(argv):
    """The options of the command line."""
    parser = argparse.ArgumentParser("convert.py", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", metavar="SOURCE",
                        help="a checkpoint file, a folder of Hugging Face or open_clip, or one of "
                             f"{', '.join(SHA256)}")
    parser.add_argument("target", metavar="NEW",
                        help="the file to write, or the folder with --to hugging-face")
    parser.add_argument("--to", choices=["openai", "hugging-face"], default="openai",
                        help="the layout to write (default: %(default)s)")
    parser.add_argument("--gelu", choices=["gelu", "quick_gelu"],
                        help="what the model was trained with (default: as files or layout tell)")
    parser.add_argument("--force", action="store_true", help="write over what is there already")
    return parser.parse_args(argv)


def convert(args):
    """Read the source, write the target, and say what both are."""
    check_target(Path(args.target), args.to, args.force)
    # read
    path = find_weights(args.source)
    quick_gelu = None if args.gelu is None else args.gelu == "quick_gelu"
    model, tokenizer, layout = read_model(path, quick_gelu)
    print(f"read {path}: layout of {layout}, {describe(model)}")
    if args.gelu is None and layout in ("OpenAI", "open_clip"):
        print("this layout does not tell the GELU; if the model has the other one, say so with --gelu")
    # write
    if args.to == "hugging-face":
        save_hugging_face(args.target, model, tokenizer)
        print(f"wrote {args.target}: from_pretrained of CLIPModel and CLIPProcessor reads it")
    else:
        save(args.target, model, tokenizer)
        print(f"wrote {args.target}: clip_minimal.load reads it")


def check_target(target, layout, force):
    """OSError if the target is of the wrong kind, or there already, unless force."""
    if layout == "openai" and target.is_dir():
        raise IsADirectoryError(f"{target}: a folder; name a file, or give --to hugging-face")
    if layout == "hugging-face" and target.is_file():
        raise NotADirectoryError(f"{target}: a file; name a folder for --to hugging-face")
    taken = target.exists()
    if target.is_dir():
        taken = any(target.iterdir())
    if taken and not force:
        raise FileExistsError(f"{target}: exists; name another, or write over it with --force")


def describe(model):
    """The kind of GELU, the image encoder and the size of a model, in words and numbers."""
    config = model.config
    if config.vision_patch_size is None:
        encoder = f"ResNet of {sum(config.vision_layers)} bottlenecks"
    else:
        encoder = f"vision transformer of {config.vision_layers} blocks"
        encoder += f" and patches of {config.vision_patch_size}"
    R = config.image_resolution
    millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    pictures = f"images of {R} x {R}{name_levels(model)}"
    return f"{name_gelu(model)}, {encoder}, {pictures}, {millions:.1f} million parameters"


if __name__ == "__main__":
    sys.exit(main())
