"""Checkpoints of other libraries: read open_clip's and Hugging Face's, and write Hugging Face's.

    python tutorial/extras/convert.py epoch_32.pt new.pt             a checkpoint of open_clip
    python tutorial/extras/convert.py laion.bin new.pt --gelu gelu   the same, with another GELU
    python tutorial/extras/convert.py clip-vit-base new.pt           a folder of Hugging Face
    python tutorial/extras/convert.py new.pt vit --to hugging-face   writes a folder for Hugging Face

A new file has OpenAI's names, so clip_minimal.load reads it. OpenAI's code and load_openai_model of
open_clip read it too, and compute the same if the model has QuickGELU. A new folder is for Hugging
Face's transformers: CLIPModel.from_pretrained and CLIPProcessor.from_pretrained read it. In Python,
load_other(path) returns the model and the tokenizer of any checkpoint.

Four layouts are known. No weight tells which GELU a model was trained with, but these do:

    this code      OpenAI's names; the file says which GELU
    OpenAI         a TorchScript archive, or a state dict; QuickGELU
    open_clip      OpenAI's names behind "module." or "text.", or in a training checkpoint; GELU
    Hugging Face   names of its own; the config.json beside the file says which GELU
"""
import argparse
import json
import os
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))
from clip_minimal import (HEAD_WIDTH, MEAN, SHA256, STD, Tokenizer, build_model, find_checkpoint, fitting_tokenizer,
                          is_torchscript, one_line, read_torchscript, save)

HUGGING_FACE_FILES = ("model.safetensors", "pytorch_model.bin")

# ---- Any checkpoint -> model and tokenizer -------------------------------------------------------


def load_other(path, device="cpu", quick_gelu=None):
    """A checkpoint of any layout -> (float32 model in eval mode, tokenizer).

    path is a file, a folder of Hugging Face or the name of a published model. The model has the GELU
    that its files or its layout tell, unless quick_gelu says otherwise. Which one it is is printed on
    standard error, if the file is not ours. FileNotFoundError where there is no file; ValueError, in
    one line, for a file that is no checkpoint.
    """
    path = find_weights(path)
    model, tokenizer, layout = read_model(path, quick_gelu)
    if layout != "this code":
        print(f"{path}: {name_gelu(model)}", file=sys.stderr)
    # channels last is the order in memory that convolutions are quickest with
    return model.to(device, memory_format=torch.channels_last).eval(), tokenizer


def find_weights(path):
    """A file, a folder or a published model, which is downloaded -> the path of the weights."""
    path = find_checkpoint(path)
    if not os.path.isdir(path):
        return path
    for name in HUGGING_FACE_FILES:
        inside = os.path.join(path, name)
        if os.path.exists(inside):
            return inside
    raise ValueError(f"{path}: not a checkpoint of CLIP (a directory without"
                     f" {' or '.join(HUGGING_FACE_FILES)})")


def read_model(path, quick_gelu=None):
    """The path of the weights -> (model, tokenizer, layout). Errors are those of load_other."""
    try:
        content = read_file(path)
        if not isinstance(content, dict):
            raise ValueError(f"it holds this and not a state dict: {content!r}")
        weights = strip_names(content.get("state_dict", content))  # training checkpoints hold more
        layout = find_layout(content, weights)
        merges = getattr(content, "merges", None)
        # which GELU the model was trained with
        if layout == "this code":
            trained_with_quick_gelu = content.quick_gelu
        elif layout == "Hugging Face":
            trained_with_quick_gelu = read_config(path)
            weights = from_hugging_face(weights)
            merges = read_merges(path)
        else:
            trained_with_quick_gelu = layout == "OpenAI"  # open_clip trains with nn.GELU
        if quick_gelu is None:
            quick_gelu = trained_with_quick_gelu
        model = build_model(weights, quick_gelu)
        tokenizer = None
        if merges is not None:
            tokenizer = Tokenizer(merges)
    except Exception as error:  # damaged and foreign files make their readers raise all kinds
        raise ValueError(f"{path}: not a checkpoint of CLIP ({one_line(error)})") from None
    tokenizer = fitting_tokenizer(path, tokenizer, model.config.vocab_size)
    return model, tokenizer, layout


def strip_names(weights):
    """A state dict -> its weights alone, without what others put before OpenAI's names.

    "module." comes from training on several devices, "_orig_mod." from torch.compile, and "text."
    from models of open_clip whose text encoder is a module of its own.
    """
    stripped = {}
    for name, tensor in weights.items():
        if not torch.is_tensor(tensor) or name.endswith(("position_ids", "attn_mask")):
            continue  # neither the numbers 0, 1, 2, ... nor the causal mask were learned
        while name.startswith(("module.", "_orig_mod.")):
            name = name.split(".", 1)[1]
        stripped[name.removeprefix("text.")] = tensor
    return stripped


def find_layout(content, weights):
    """What a file holds, and its weights with stripped names -> one of the four layouts."""
    if hasattr(content, "quick_gelu"):
        return "this code"
    if any(name.startswith("text_model.") for name in weights):
        return "Hugging Face"
    if "state_dict" in content or any(name.startswith(("module.", "text.")) for name in content):
        return "open_clip"
    return "OpenAI"


def name_gelu(model):
    """The kind of GELU that a model has, as it is printed."""
    return "QuickGELU" if model.config.quick_gelu else "GELU"


# ---- Files ---------------------------------------------------------------------------------------


def read_file(path):
    """A file of PyTorch or safetensors -> what was saved in it. No code that a file holds is run."""
    with open(path, "rb") as file:
        start = file.read(9)
    if start[8:] == b"{":
        return read_safetensors(path)
    if start[:2] != b"PK" and start[:1] != b"\x80":
        raise ValueError(f"it begins with {start}, as neither PyTorch's files nor safetensors do")
    if is_torchscript(path):
        return read_torchscript(path)
    return torch.load(path, map_location="cpu", weights_only=True)


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


def read_config(path):
    """What the config.json beside a file of weights says -> whether the model has QuickGELU.

    Without the file it has, as CLIPModel then does. ValueError for attention heads that are not 64
    wide, which no weight tells either, and for an activation that is no GELU.
    """
    config_path = os.path.join(os.path.dirname(path), "config.json")
    if not os.path.exists(config_path):
        return True
    with open(config_path, encoding="utf-8") as file:
        config = json.load(file)
    activations = set()
    for part in ("text_config", "vision_config", "text_config_dict", "vision_config_dict"):
        encoder = config.get(part) or {}  # the last two are in older files only
        activations.add(encoder.get("hidden_act", "quick_gelu"))
        if "hidden_size" in encoder and "num_attention_heads" in encoder:
            head_width = encoder["hidden_size"] / encoder["num_attention_heads"]
            if head_width != HEAD_WIDTH:
                raise ValueError(f"config.json has heads {head_width:g} wide, not {HEAD_WIDTH}")
    others = activations - {"gelu", "quick_gelu"}
    if others:
        raise ValueError(f"config.json has the activation {others.pop()}, not gelu or quick_gelu")
    return "gelu" not in activations


def read_merges(path):
    """The merges.txt beside a file of weights -> the pairs in it, or None if there is none."""
    merges_path = os.path.join(os.path.dirname(path), "merges.txt")
    if not os.path.exists(merges_path):
        return None
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
        "image_mean": MEAN,
        "image_std": STD,
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


# ---- The command line ----------------------------------------------------------------------------


def main(argv=None):
    """The command line. Exit status 2 and one line on standard error for what can't be done."""
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
                        help=f"a checkpoint file, a Hugging Face folder, or one of {', '.join(SHA256)}")
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
    return f"{name_gelu(model)}, {encoder}, images of {R} x {R}, {millions:.1f} million parameters"


if __name__ == "__main__":
    sys.exit(main())
