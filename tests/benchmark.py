"""How quick this code is, plain and accelerated, beside the libraries people would otherwise use.

    python tests/benchmark.py                             all rows, about 20 minutes on two cores
    python tests/benchmark.py --only text --only image    some of them
    python tests/benchmark.py --json figures.json         the figures for a program
    python tests/benchmark.py --before ../older           another checkout of this repository, measured in turn
    python tests/benchmark.py --only growth --plot growth.png

"plain" is the code of the three files, "accelerated" the same model after tutorial/extras/fast.py's
accelerate. The peers are OpenAI's code (clip-anytorch), open_clip_torch and transformers; those not
installed are named. Each is called as its documentation does, with the same weights, in turn in one
process, and has to return the same numbers before it is timed. Figures are medians over the rounds. A
ratio is the quickest peer's time divided by ours, the median over the rounds: above 1 we are quicker.
With --threads 1 the processor's seconds are counted, which what else runs on the machine disturbs less.
"""
import argparse
import importlib
import json
import platform
import random
import re
import statistics
import string
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import asdict, fields, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = str(ROOT), str(ROOT / "tutorial/experiments")
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

import train_tiny
import zeroshot
from clip_minimal import CLIP, CONFIGS, SHA256, CLIPConfig, Tokenizer, contrastive_loss, load, save
from flops import flops
from tutorial.extras.convert import to_hugging_face
from tutorial.extras.fast import accelerate

warnings.filterwarnings("ignore")
ROUNDS = 7
OURS = ("plain", "accelerated", "before")
FIGURES = []  # what --json writes
ENSEMBLE = zeroshot.TEMPLATES["ensemble"]
PROMPTS = [template.format(name) for name in ("cat", "red fox", "house", "grand piano") for template in ENSEMBLE[::4]]
PEERS = {"clip": "clip-anytorch", "open_clip": "open_clip_torch", "transformers": "transformers",
         "tokenizers": "tokenizers"}


def installed(name):
    """The module, or None where it can't be imported."""
    try:
        return importlib.import_module(name)
    except Exception as error:  # whatever a package raises that does not fit the others
        print(f"left out: {PEERS[name]} ({error})", file=sys.stderr)
        return None


openai = installed("clip")
open_clip = installed("open_clip")
transformers = installed("transformers")
tokenizers = installed("tokenizers")
before = None  # the modules of another checkout, see main
if open_clip:
    open_clip_tokenizer = open_clip.get_tokenizer("ViT-B-32")
if openai:  # as this code does: what ftfy would repair first is not part of the comparison
    sys.modules["clip.simple_tokenizer"].ftfy = SimpleNamespace(fix_text=lambda text: text)


def import_checkout(folder):
    """The three files of another checkout, as modules that do not get into the way of these."""
    names = ("clip_minimal", "train_tiny", "zeroshot")
    ours = [name for name in sys.modules if name in names or name.startswith("tutorial.extras.")]
    kept = {name: sys.modules.pop(name) for name in ours}
    sys.path.insert(0, str(Path(folder).resolve()))
    theirs = {name: importlib.import_module(name) for name in names}
    sys.path.pop(0)
    sys.modules.update(kept)
    return SimpleNamespace(**theirs)


# ---- Measuring -----------------------------------------------------------------------------------


def now():
    """Seconds: of the clock, or with one thread those that the processor spent on it."""
    if torch.get_num_threads() == 1:
        return time.process_time()
    return time.perf_counter()


def in_turn(calls, rounds, clock=now):
    """Time the functions of {name: function} in turn -> {name: [seconds in each round]}."""
    times = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            start = clock()
            call()
            times[name].append(clock() - start)
    return times


def compare(title, sides, rounds=ROUNDS, clock=now, count=None, part=1):
    """Time the functions of {side: function} in turn and print a line; all have to return equal numbers.

    Where the peers do only a part of the work, their times are divided by it. With count, the number
    of items that a call works on, speeds are shown instead of times.
    """
    expected = sides["plain"]()
    for side, call in sides.items():
        if side == "plain":
            continue
        result = call()
        if torch.is_tensor(expected):
            error = (result - expected).abs().max() / expected.abs().max()
        else:
            error = float(result != expected)
        assert error < 1e-3, f"{title}: plain and {side} differ by {error:.1e}"
    times = in_turn(sides, rounds, clock)
    peers = [side for side in sides if side not in OURS]
    for side in peers:
        times[side] = [seconds / part for seconds in times[side]]
    medians = {side: statistics.median(seconds) for side, seconds in times.items()}
    ratios = {}
    for side in sides:
        if side in OURS and peers:
            each = [min(times[peer][i] for peer in peers) / times[side][i] for i in range(rounds)]
            ratios[side] = statistics.median(each)
    FIGURES.append({"row": title, "seconds": medians, "ratios": ratios, "all": times, "count": count})
    line = f"{title:37}"
    for side, seconds in medians.items():
        amount = f"{count / seconds:,.0f}/s" if count else f"{seconds * 1e3:.1f} ms"
        if side in ratios:
            amount += f" ({ratios[side]:.2f}x)"
        line += f"  {side} {amount}"
    print(line, flush=True)


# ---- Equal models --------------------------------------------------------------------------------


def models(config, training=False):
    """{side: model}: this code's with random weights, and those of the peers that have the architecture, all equal."""
    torch.manual_seed(0)
    plain = CLIP(config).to(memory_format=torch.channels_last).train(training)
    weights = plain.state_dict()
    sides = {"plain": plain}
    accelerated = CLIP(config).to(memory_format=torch.channels_last).train(training)
    accelerated.load_state_dict(weights)
    sides["accelerated"] = accelerate(accelerated)
    if before:
        known = [field.name for field in fields(before.clip_minimal.CLIPConfig)]  # an older one has fewer
        older_config = {name: value for name, value in asdict(config).items() if name in known}
        older = before.clip_minimal.CLIP(before.clip_minimal.CLIPConfig(**older_config))
        older.load_state_dict(weights)
        older = older.to(memory_format=torch.channels_last).train(training)
        sides["before"] = older
        if not training and hasattr(before.zeroshot, "fuse"):
            before.zeroshot.fuse(older)
    heads = config.transformer_width // 64
    patch_size = config.vision_patch_size
    if openai:
        sides["openai"] = sys.modules["clip.model"].CLIP(
            config.embed_dim, config.image_resolution, config.vision_layers, config.vision_width, patch_size,
            config.context_length, config.vocab_size, config.transformer_width, heads, config.transformer_layers)
        sides["openai"].load_state_dict(weights)
    if open_clip:
        vision = dict(image_size=config.image_resolution, layers=config.vision_layers, width=config.vision_width,
                      patch_size=patch_size, head_width=64)
        text = dict(context_length=config.context_length, vocab_size=config.vocab_size,
                    width=config.transformer_width, heads=heads, layers=config.transformer_layers)
        sides["open_clip"] = open_clip.model.CLIP(config.embed_dim, vision, text, quick_gelu=True)
        sides["open_clip"].load_state_dict(weights)
    if transformers and patch_size:
        sides["transformers"] = hugging_face(config, weights)
    return {side: model.train(training) for side, model in sides.items()}


def hugging_face(config, weights):
    """transformers' CLIPModel with these weights."""

    def tower(width, layers, **more):
        return dict(hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers,
                    num_attention_heads=width // 64, projection_dim=config.embed_dim, **more)

    text = tower(config.transformer_width, config.transformer_layers, vocab_size=config.vocab_size,
                 eos_token_id=config.vocab_size - 1, max_position_embeddings=config.context_length)
    vision = tower(config.vision_width, config.vision_layers, image_size=config.image_resolution,
                   patch_size=config.vision_patch_size)
    model = transformers.CLIPModel(transformers.CLIPConfig(text_config=text, vision_config=vision,
                                                           projection_dim=config.embed_dim))
    model.load_state_dict(to_hugging_face(weights), strict=False)
    return model


def image_features(side, model, images):
    """As each library is called; transformers wraps features in an object since version 5."""
    if side == "transformers":
        output = model.get_image_features(pixel_values=images)
        return getattr(output, "pooler_output", output)
    if side == "before":
        images = images.contiguous(memory_format=torch.channels_last)
    return model.encode_image(images)


def text_features(side, model, tokenizer, texts):
    """As each documentation encodes texts: OpenAI's and open_clip's padded to 77 tokens, transformers' to the longest.

    transformers is given this code's ids and spared the tokenizing, since it comes without a vocabulary.
    """
    if side in ("plain", "accelerated"):
        return zeroshot.encode_texts(model, tokenizer, texts)
    if side == "before":
        return before.zeroshot.encode_texts(model, tokenizer, texts)
    if side == "transformers":
        tokens = tokenizer(texts, pad=False)
        ends = (tokens == tokenizer.eot).int().argmax(dim=-1)
        attention_mask = (torch.arange(tokens.shape[1]) <= ends[:, None]).long()
        output = model.get_text_features(tokens, attention_mask)
        return F.normalize(getattr(output, "pooler_output", output), dim=-1)
    tokenize = openai.tokenize if side == "openai" else open_clip_tokenizer
    return F.normalize(model.encode_text(tokenize(texts)), dim=-1)


# ---- Rows ----------------------------------------------------------------------------------------


@torch.no_grad()
def text():
    """The features of 80 prompts."""
    tokenizer = Tokenizer.from_merges()
    calls = {}
    for side, model in models(replace(CONFIGS["ViT-B/32"], vision_layers=1)).items():
        calls[side] = partial(text_features, side, model, tokenizer, PROMPTS)
    compare("encode_text, 80 prompts", calls)


@torch.no_grad()
def classifier():
    """4,000 texts: this code's classifier for 50 labels, against a loop over labels as in OpenAI's notebook.

    A label costs the peers the same however many there are, so they do 5 of them, one of each length,
    and count as ten times as slow; that those 5 are equal is what is checked.
    """
    tokenizer = Tokenizer.from_merges()
    words = ["cat", "red fox", "house", "grand piano", "yacht"]
    labels = [f"{word} {i}" for i, word in enumerate(words * 10, 10)]  # of two digits: each word is always as long

    def loop(side, model):
        columns = []
        for label in labels[:5]:
            features = text_features(side, model, tokenizer, [template.format(label) for template in ENSEMBLE])
            columns.append(F.normalize(features.mean(dim=0), dim=-1))
        return torch.stack(columns, dim=1)

    def whole(module, model):
        return module.zero_shot_classifier(model, tokenizer, labels, ENSEMBLE)[:, :5]

    calls = {}
    for side, model in models(replace(CONFIGS["ViT-B/32"], vision_layers=1)).items():
        if side == "before":
            calls[side] = partial(whole, before.zeroshot, model)
        elif side in OURS:
            calls[side] = partial(whole, zeroshot, model)
        else:
            calls[side] = partial(loop, side, model)
    compare("classifier, 50 labels x 80 templates", calls, rounds=3, count=len(labels) * len(ENSEMBLE), part=5 / 50)


@torch.no_grad()
def image():
    """The features of 1, 8 and 32 images."""
    for name in ("ViT-B/32", "RN50"):
        sides = models(replace(CONFIGS[name], transformer_layers=1))
        for batch in (1, 8, 32):
            images = torch.randn(batch, 3, 224, 224)
            calls = {side: partial(image_features, side, model, images) for side, model in sides.items()}
            compare(f"encode_image {name}, batch {batch}", calls)


TINY = {"tiny-RN": CONFIGS["tiny-RN"], "ViT 64 px, 128 x 4": CLIPConfig(128, 64, 4, 128, 8, 128, 2, 32)}


def train_steps(config, muon=False):
    """{side: a function that does one training step and returns its loss}, of 256 pairs of the tiny world.

    With AdamW, or with muon=True with Muon for the weights that train_tiny.py knows by their names.
    """
    world = train_tiny.World(resolution=config.image_resolution)
    tokenizer = Tokenizer.train(world.texts(), 2048)
    images, captions = world.batch(0, 256)

    def step(side, model, optimizer):
        # as train_tiny.py sets it on a CPU
        torch.set_float32_matmul_precision("medium" if side in ("plain", "accelerated") else "highest")
        tokens = tokenizer(captions, 32, pad=side not in OURS)
        if side == "transformers":
            loss = model(input_ids=tokens, pixel_values=images, return_loss=True).loss
        else:
            loss = contrastive_loss(image_features(side, model, images), model.encode_text(tokens), model.logit_scale)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        torch.set_float32_matmul_precision("highest")  # PyTorch's default, for all else
        return loss.detach()

    calls = {}
    for side, model in models(replace(config, vocab_size=len(tokenizer.vocab)), training=True).items():
        calls[side] = partial(step, side, model, train_tiny.make_optimizer(model, 1e-3, 0.1, muon=muon))
    return calls


def training():
    """One step of two tiny models."""
    for title, config in TINY.items():
        calls = train_steps(config)
        compare(f"training step, {title}", calls)
        with_muon = train_steps(config, muon=True)["plain"]
        times = in_turn({"AdamW": calls["plain"], "Muon": with_muon}, ROUNDS)
        ratios = [muon / adamw for adamw, muon in zip(times["AdamW"], times["Muon"])]
        print(f"  with Muon it takes {statistics.median(ratios):.2f} times as long as with AdamW", flush=True)


def held(field):
    """Bytes that this process holds (VmRSS) or has held at most (VmHWM). Linux only."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(rf"{field}:\s+(\d+) kB", status)[1]) * 1024


def peak(side, title):
    """Print how much memory a training step takes, above what is held before the first one."""
    step = train_steps(TINY[title])[side]
    start = held("VmRSS")
    step()
    Path("/proc/self/clear_refs").write_text("5")  # forget the maximum so far
    step()
    print(held("VmHWM") - start)


def memory():
    """Peak memory of a training step, each side in a process of its own."""
    if sys.platform != "linux":
        print("peak memory is measured on Linux only")
        return
    for title in TINY:
        peaks = {}
        for side in ("plain", "accelerated", "open_clip"):
            if side == "open_clip" and not open_clip:
                continue
            command = [sys.executable, "-c", f"import benchmark; benchmark.peak({side!r}, {title!r})"]
            run = subprocess.run(command, cwd=Path(__file__).parent, check=True, capture_output=True, text=True)
            peaks[side] = int(run.stdout.split()[-1])
        FIGURES.append({"row": f"peak memory, {title}", "bytes": peaks})
        print(f"{'peak memory, ' + title:37}" + "".join(f"  {side} {n / 1e6:,.0f} MB" for side, n in peaks.items()))


def known_words(ours):
    """The plain English words that are tokens of their own."""
    return sorted(token[:-4] for token in ours.vocab[512:] if re.fullmatch("[a-z]+</w>", token))


def tokenizer():
    """One thread, OpenAI's merges: captions of words it has seen before, and random words that it has not."""
    rng = random.Random(0)
    ours = Tokenizer.from_merges()
    known = known_words(ours)
    rng.shuffle(known)
    captions = []
    for _ in range(30000):
        words = [known[int(len(known) * rng.random() ** 3)] for _ in range(rng.randint(6, 14))]
        captions.append(" ".join(words))
    encoders = {"plain": ours.encode}
    if before:
        encoders["before"] = before.clip_minimal.Tokenizer(ours.merges).encode
    if openai:
        encoders["openai"] = sys.modules["clip.simple_tokenizer"].SimpleTokenizer().encode
    if tokenizers:  # Hugging Face's, in Rust
        ids = {token: i for i, token in enumerate(ours.vocab)}
        rust = tokenizers.Tokenizer(tokenizers.models.BPE(ids, ours.merges, end_of_word_suffix="</w>"))
        rust.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
        encoders["tokenizers"] = lambda text: rust.encode(text).ids

    def all_ids(encode, texts):
        return [encode(text) for text in texts]

    for encode in encoders.values():
        all_ids(encode, captions[:15000])
    calls = {side: partial(all_ids, encode, captions[15000:]) for side, encode in encoders.items()}
    compare("tokenizer, captions", calls, clock=time.process_time, count=15000)

    def new_word():
        return "".join(rng.choices(string.ascii_lowercase, k=rng.randint(3, 12)))

    def next_ids(encode, rounds):  # each round other words, the same for all sides
        return all_ids(encode, next(rounds))

    rounds = []
    for _ in range(ROUNDS + 1):
        rounds.append([" ".join(new_word() for _ in range(6)) for _ in range(3000)])
    calls = {side: partial(next_ids, encode, iter(rounds)) for side, encode in encoders.items()}
    compare("tokenizer, new words", calls, clock=time.process_time, count=3000)


def merges():
    """1,000 merges from 100,000 captions of ten words, 33,000 different ones in all."""
    rng = random.Random(0)
    known = known_words(Tokenizer.from_merges())
    captions = []
    for _ in range(100000):
        captions.append(" ".join(known[int(len(known) * rng.random() ** 2)] for _ in range(10)))
    calls = {"plain": lambda: Tokenizer.train(captions, 1514).merges}
    if before:
        calls["before"] = lambda: before.clip_minimal.Tokenizer.train(captions, 1514).merges
    compare("learning 1,000 merges", calls, rounds=3)


def drawing():
    """A batch of 256 scenes of the tiny world with captions: to compare with the training step of tiny-RN above."""
    world = train_tiny.World()
    steps = iter(range(100))
    times = in_turn({"plain": lambda: world.batch(next(steps), 256)}, ROUNDS)["plain"]
    FIGURES.append({"row": "drawing 256 scenes", "seconds": {"plain": statistics.median(times)}})
    print(f"{'drawing 256 scenes':37}  plain {statistics.median(times) * 1e3:.1f} ms")


IMPORT = """import time, numpy, torch; start = time.perf_counter()
import clip_minimal; print(time.perf_counter() - start)"""
FIRST_STEP = """import torch, time; start = time.perf_counter(); import train_tiny
from clip_minimal import CLIP, CONFIGS, Tokenizer
world = train_tiny.World(); tokenizer = Tokenizer.train(world.texts(), 2048); model = CLIP(CONFIGS["tiny-RN"])
train_tiny.train(world, model, tokenizer, steps=1); print(time.perf_counter() - start)"""


def startup():
    """Importing beyond torch and numpy, the first training step after importing torch, loading ViT-B/32 from a file."""
    for title, code in (("importing clip_minimal", IMPORT), ("import to the end of the first step", FIRST_STEP)):
        seconds = []
        for _ in range(3):
            run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
            seconds.append(float(run.stdout.split()[-1]))
        FIGURES.append({"row": title, "seconds": {"plain": statistics.median(seconds)}})
        print(f"{title:37}  plain {statistics.median(seconds) * 1e3:.1f} ms", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/model.pt"
        save(path, CLIP(CONFIGS["ViT-B/32"]).half(), Tokenizer.from_merges())
        calls = {"plain": lambda: load(path)[0].logit_scale.detach()}
        if before:
            calls["before"] = lambda: before.clip_minimal.load(path)[0].logit_scale.detach()
        if openai:
            calls["openai"] = lambda: openai.load(path, "cpu")[0].logit_scale.detach()
        compare("load ViT-B/32, float16 state dict", calls)


# ---- How time grows with the work ----------------------------------------------------------------


def curve(panel, name, points):
    """Measure points (x, call, operations), five times in turn, for one panel of growth and a kind of model."""
    a = torch.randn(1536, 1536)
    calls = {x: call for x, call, _ in points}
    calls["matrices"] = lambda: a @ a
    for call in calls.values():
        call()
    times = in_turn(calls, 5)
    rate = 2 * 1536 ** 3 / statistics.median(times.pop("matrices"))  # operations a second, of matrix products
    medians = [statistics.median(seconds) for seconds in times.values()]
    operations = [work for _, _, work in points]
    FIGURES.append({"row": "growth", "panel": panel, "model": name, "x": [x for x, _, _ in points],
                    "seconds": medians, "operations": operations, "matrix rate": rate})
    line = f"{panel}, {name} (share of the matrix rate): "
    for (x, _, work), seconds in zip(points, medians):
        line += f"{x:.3g}: {seconds * 1e3:,.0f} ms ({work / seconds / rate:.0%}), "
    print(line.rstrip(", "), flush=True)


@torch.no_grad()
def growth():
    """How the time of a call of the plain code grows with texts, batch, labels, images and models.

    Beside it stands the count of its operations; the models are ViT-B/32 and RN50 but for what grows.
    Then that count for the nine published models.
    """
    tokenizer = Tokenizer.from_merges()
    vit = CONFIGS["ViT-B/32"]
    text_model = CLIP(replace(vit, vision_layers=1)).eval()

    def texts(T):
        several = [" ".join([word] * (T - 2)) for word in "bcdefghijklmnopq"]
        return T, partial(zeroshot.encode_texts, text_model, tokenizer, several), 16 * flops(vit, T)[1]

    def labels(N):
        names = [f"a photo of a cat {i}" for i in range(100, 100 + N)]  # all of the same length
        T = tokenizer(names[0], pad=False).shape[1]
        return N, partial(zeroshot.zero_shot_classifier, text_model, tokenizer, names), N * flops(vit, T)[1]

    def images(config, B, x):
        model = CLIP(replace(config, transformer_layers=1, vocab_size=1000)).to(memory_format=torch.channels_last)
        R = config.image_resolution
        return x, partial(zeroshot.encode_images, model.eval(), torch.randn(B, 3, R, R)), B * flops(config)[0]

    curve("tokens in each of 16 texts", "ViT-B/32", [texts(T) for T in (4, 8, 16, 32, 77)])
    curve("images in a batch", "ViT-B/32", [images(vit, B, B) for B in (1, 2, 4, 8, 16, 32)])
    curve("labels of a classifier", "ViT-B/32", [labels(N) for N in (1, 4, 16, 64, 256)])
    for name, tiny, widths in (("ViT-B/32", "tiny-ViT", (64, 128, 256, 512)), ("RN50", "tiny-RN", (8, 16, 32))):
        config = CONFIGS[name]
        points = [images(replace(config, image_resolution=R), 4, R) for R in (64, 96, 128, 224, 320, 448)]
        curve("pixels along a side, 4 images", name, points)
        smaller = [CONFIGS[tiny], *[replace(config, vision_width=width) for width in widths], config]
        points = [images(c, 8, flops(c)[0] / 1e9) for c in smaller]
        curve("GFLOPs of the model, 8 images", name, points)
    for name in SHA256:
        for_image, for_text = flops(CONFIGS[name])
        print(f"{name:15} {for_image / 1e9:7.2f} GFLOPs for an image, {for_text / 1e9:6.2f} for a text of 77 tokens")


def draw_growth(path):
    """A panel for each thing that grows: times as measured, and lines for the operations at the matrix rate."""
    rows = [row for row in FIGURES if row["row"] == "growth"]
    figure = Figure(figsize=(9, 5), layout="constrained")
    *axes, legend = figure.subplots(2, 3).flat
    panels = dict(zip(dict.fromkeys(row["panel"] for row in rows), axes))
    for row in rows:
        axis = panels[row["panel"]]
        name = row["model"]
        x = row["x"]
        rate = row["matrix rate"]
        colour, marker, line = ("#0072B2", "o", "-") if name == "ViT-B/32" else ("#D55E00", "s", "--")
        axis.loglog(x, [1e3 * seconds for seconds in row["seconds"]], marker, color=colour, mfc="none", mew=1.5,
                    label=f"{name} and smaller, measured")
        axis.loglog(x, [1e3 * work / rate for work in row["operations"]], line, color=colour, lw=1.2,
                    label=f"operations at {rate / 1e9:.0f} GFLOP/s,\nthe rate of matrix products")
        axis.set(xlabel=row["panel"], ylabel="milliseconds")
        if isinstance(x[0], int):
            axis.set_xticks(x, x)
        else:
            axis.xaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter("{x:,g}")
        axis.minorticks_off()
        axis.grid(color="#DDDDDD", lw=0.6)
    legend.axis("off")
    legend.legend(*axis.get_legend_handles_labels(), loc="center", frameon=False, labelspacing=1)
    figure.savefig(path, dpi=130)


def main():
    global before
    all_rows = (text, classifier, image, training, memory, tokenizer, merges, drawing, startup, growth)
    rows = {row.__name__: row for row in all_rows}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=rows, help="this row; may be given several times")
    parser.add_argument("--threads", type=int, default=2, help="of PyTorch (default: %(default)s)")
    parser.add_argument("--before", metavar="DIR", help="measure another checkout of this repository, too")
    parser.add_argument("--json", metavar="FILE", help="write the figures here")
    parser.add_argument("--plot", metavar="PNG", help="draw growth here (default: growth.png beside the JSON, if any)")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.before:
        before = import_checkout(args.before)
    loaded = [name for name in PEERS if name in sys.modules]
    versions = [f"{name} {getattr(sys.modules[name], '__version__', '')}".strip() for name in loaded]
    machine = f"Python {platform.python_version()}, torch {torch.__version__}, {args.threads} threads"
    print(f"{machine}; {', '.join(versions)}")
    for name in args.only or rows:
        rows[name]()
    if args.json:
        Path(args.json).write_text(json.dumps(FIGURES, indent=1))
    plot = args.plot
    if plot is None and args.json:
        plot = Path(args.json).with_name("growth.png")
    if plot and "growth" in (args.only or rows):
        draw_growth(plot)


if __name__ == "__main__":
    main()
