"""How quick this code is beside the libraries people would otherwise use, measured in turn in one process.

    python tests/benchmark.py                             all rows, about 15 minutes on two cores
    python tests/benchmark.py --only text --only image    some of them
    python tests/benchmark.py --json figures.json         the figures for a program
    python tests/benchmark.py --only growth --plot growth.png

The peers are OpenAI's code (clip-anytorch), open_clip_torch and transformers; those not installed are named.
Each is called as its documentation does, with the same weights, and has to return the same numbers before it is
timed. Figures are medians over the rounds; a ratio above 1 says: quicker than the quickest of the peers. With
--threads 1 the processor's seconds are counted, which what else runs on the machine disturbs less.
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
from dataclasses import replace
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = str(ROOT), str(ROOT / "tutorial/experiments")
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import train_tiny
import zeroshot
from clip_minimal import CLIP, CONFIGS, HUGGING_FACE, SHA256, CLIPConfig, Tokenizer, contrastive_loss, load, save
from flops import flops

warnings.filterwarnings("ignore")
ROUNDS = 7
FIGURES = []
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


openai, open_clip, transformers, tokenizers = map(installed, PEERS)
open_clip_tokenizer = open_clip and open_clip.get_tokenizer("ViT-B-32")
if openai:  # as this code does: what ftfy would repair first is not part of the comparison
    sys.modules["clip.simple_tokenizer"].ftfy = type("", (), {"fix_text": staticmethod(lambda text: text)})


def now():
    """Seconds: of the clock, or with one thread those that the processor spent on it."""
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


def in_turn(calls, rounds, clock=now):
    """Time the functions of {name: function} in turn -> ({name: seconds in each round}, and the machine's matrix rate:
    operations per second of PyTorch's product of float32 matrices, the median of the same rounds)."""
    times, rates, a = {name: [] for name in calls}, [], torch.randn(1536, 1536)
    for _ in range(rounds):
        for name, call in calls.items():
            start = clock()
            call()
            times[name].append(clock() - start)
        start = clock()
        a @ a
        rates.append(2 * 1536 ** 3 / (clock() - start))
    return times, statistics.median(rates)


def compare(title, sides, rounds=ROUNDS, clock=now, count=None, part=1):
    """Time the functions of `sides`, {name: function}, in turn and print a line; the first is this code.

    They have to return equal numbers. Where the peers do only a part of the work, their times are divided by it. With
    count, speeds are shown. The share is that of the rate of a matrix product, of the operations that the first one's
    matrix products and convolutions need as they are written. It can pass 100 %: PyTorch leaves products to MKL, which
    on AMD's processors reaches half the rate of oneDNN, to which it leaves convolutions."""
    name, *others = sides
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):  # attention as two products: counted
        first = sides[name]()
    for other in others:
        result = sides[other]()
        error = (result - first).abs().max() / first.abs().max() if torch.is_tensor(first) else float(result != first)
        assert error < 1e-3, f"{title}: {name} and {other} differ by {error:.1e}"
    times, rate = in_turn(sides, rounds, clock)
    times |= {other: [seconds / part for seconds in times[other]] for other in others}
    median, work = {side: statistics.median(seconds) for side, seconds in times.items()}, counter.get_total_flops()
    ratios = sorted(min(times[other][i] for other in others) / times[name][i] for i in range(rounds)) if others else []
    share = work / median[name] / rate if work else None
    FIGURES.append({"row": title, "seconds": median, "ratios": ratios, "share of matrix rate": share, "count": count})
    ratio = f"{statistics.median(ratios):6.2f}x ({ratios[0]:.2f} to {ratios[-1]:.2f})" if others else ""
    print(f"{title:37}{ratio:22}{f'{share:6.0%}' if work else '':7} "
          + ", ".join(f"{side} {count / seconds:,.0f}/s" if count else f"{side} {seconds * 1e3:.1f} ms"
                      for side, seconds in median.items()), flush=True)


# ---- Equal models ----------------------------------------------------------------------------------------------------


def models(config):
    """{name: model}: this code's with random weights, and those of the peers that have the architecture, all equal."""
    torch.manual_seed(0)
    sides = {"this code": CLIP(config)}
    weights, heads, vit = sides["this code"].state_dict(), config.transformer_width // 64, config.vision_patch_size
    if openai:
        sides["openai"] = sys.modules["clip.model"].CLIP(
            config.embed_dim, config.image_resolution, config.vision_layers, config.vision_width, vit,
            config.context_length, config.vocab_size, config.transformer_width, heads, config.transformer_layers)
    if open_clip:
        sides["open_clip"] = open_clip.model.CLIP(
            config.embed_dim,
            dict(image_size=config.image_resolution, layers=config.vision_layers, width=config.vision_width,
                 patch_size=vit, head_width=64),
            dict(context_length=config.context_length, vocab_size=config.vocab_size, width=config.transformer_width,
                 heads=heads, layers=config.transformer_layers), quick_gelu=True)
    for name in list(sides)[1:]:
        sides[name].load_state_dict(weights)
    if transformers and vit:
        sides["transformers"] = hugging_face(config, weights)
    return {name: model.eval() for name, model in sides.items()}


def hugging_face(config, weights):
    """transformers' CLIPModel with these weights."""
    def tower(width, layers, **more):
        return dict(hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers,
                    num_attention_heads=width // 64, projection_dim=config.embed_dim, **more)

    model = transformers.CLIPModel(transformers.CLIPConfig(
        text_config=tower(config.transformer_width, config.transformer_layers, vocab_size=config.vocab_size,
                          eos_token_id=config.vocab_size - 1, max_position_embeddings=config.context_length),
        vision_config=tower(config.vision_width, config.vision_layers, image_size=config.image_resolution,
                            patch_size=config.vision_patch_size), projection_dim=config.embed_dim))
    theirs = {}
    for key in (key for key in model.state_dict() if not key.endswith("position_ids")):
        ours = key
        for old, new in HUGGING_FACE:
            ours = ours.replace(old, new)
        if part := re.search(r"\.([qkv])_proj\.", ours):
            theirs[key] = weights[ours.replace(part[0], ".in_proj_")].chunk(3)["qkv".index(part[1])]
        else:
            theirs[key] = weights[ours].T if ours in ("visual.proj", "text_projection") else weights[ours]
    model.load_state_dict(theirs, strict=False)
    return model


def image_features(name, model, x):
    """As each library is called; transformers wraps features in an object since version 5."""
    if name == "transformers":
        output = model.get_image_features(pixel_values=x)
        return getattr(output, "pooler_output", output)
    return model.encode_image(x.contiguous(memory_format=torch.channels_last) if name == "this code" else x)


def text_features(name, model, tokenizer, texts):
    """As each documentation encodes texts: OpenAI's and open_clip's padded to 77 tokens, transformers' to the longest
    (it is given this code's ids and spared the tokenizing, since the package comes without a vocabulary)."""
    if name == "this code":
        return zeroshot.encode_texts(model, tokenizer, texts)
    if name == "transformers":
        tokens = tokenizer(texts, pad=False)
        ends = (tokens == tokenizer.eot).int().argmax(dim=-1)
        output = model.get_text_features(tokens, (torch.arange(tokens.shape[1]) <= ends[:, None]).long())
        return F.normalize(getattr(output, "pooler_output", output), dim=-1)
    tokenize = openai.tokenize if name == "openai" else open_clip_tokenizer
    return F.normalize(model.encode_text(tokenize(texts)), dim=-1)


# ---- Rows ------------------------------------------------------------------------------------------------------------


@torch.no_grad()
def text():
    sides, tokenizer = models(replace(CONFIGS["ViT-B/32"], vision_layers=1)), Tokenizer.from_merges()
    compare("encode_text, 80 prompts",
            {name: partial(text_features, name, model, tokenizer, PROMPTS) for name, model in sides.items()})


@torch.no_grad()
def classifier():
    """4,000 texts: this code's classifier for 50 labels, against a loop over labels as in OpenAI's notebook. A label
    costs the peers the same however many there are, so they do 5 of them, one of each length, and count as ten times
    as slow; that those 5 are equal is what is checked."""
    sides, tokenizer = models(replace(CONFIGS["ViT-B/32"], vision_layers=1)), Tokenizer.from_merges()
    words = ["cat", "red fox", "house", "grand piano", "yacht"]
    labels = [f"{word} {i}" for i, word in enumerate(words * 10, 10)]  # of two digits: each word is always as long

    def loop(name, model):
        each = (text_features(name, model, tokenizer, [t.format(label) for t in ENSEMBLE]) for label in labels[:5])
        return torch.stack([F.normalize(unit.mean(dim=0), dim=-1) for unit in each], dim=1)

    calls = {name: partial(loop, name, model) for name, model in sides.items()}
    calls["this code"] = lambda: zeroshot.zero_shot_classifier(sides["this code"], tokenizer, labels, ENSEMBLE)[:, :5]
    compare("classifier, 50 labels x 80 templates", calls, rounds=3, count=len(labels) * len(ENSEMBLE), part=5 / 50)


@torch.no_grad()
def image():
    for name in ("ViT-B/32", "RN50"):
        sides = models(replace(CONFIGS[name], transformer_layers=1))
        sides["this code"] = zeroshot.fuse(sides["this code"].to(memory_format=torch.channels_last))  # as zeroshot.main
        for batch in (1, 8, 32):
            x = torch.randn(batch, 3, 224, 224)
            calls = {side: partial(image_features, side, model, x) for side, model in sides.items()}
            compare(f"encode_image {name}, batch {batch}", calls)


def train_steps(config):
    """{name: a function that does one training step and returns its loss}: AdamW, batch 256 of the tiny world."""
    world = train_tiny.World(resolution=config.image_resolution)
    tokenizer, (images, captions) = Tokenizer.train(world.texts(), 2048), world.batch(0, 256)

    def step(name, model, optimizer):
        tokens = tokenizer(captions, 32, pad=name != "this code")
        if name == "transformers":
            loss = model(input_ids=tokens, pixel_values=images, return_loss=True).loss
        else:
            features = image_features(name, model, images), model.encode_text(tokens)
            loss = contrastive_loss(*features, model.logit_scale)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    sides = models(replace(config, vocab_size=len(tokenizer.vocab)))
    sides["this code"].to(memory_format=torch.channels_last)
    return {name: partial(step, name, model.train(), train_tiny.make_optimizer(model, 1e-3, 0.1))
            for name, model in sides.items()}


TINY = {"tiny-RN": CONFIGS["tiny-RN"], "ViT 64 px, 128 x 4": CLIPConfig(128, 64, 4, 128, 8, 128, 2, 32)}


def training():
    for title, config in TINY.items():
        compare(f"training step, {title}", train_steps(config))


def held(field):
    """Bytes that this process holds (VmRSS) or has held at most (VmHWM). Linux only."""
    return int(re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024


def peak(name, title):
    """Prints how much memory a training step takes, above what is held before the first one."""
    step, before = train_steps(TINY[title])[name], held("VmRSS")
    step()
    Path("/proc/self/clear_refs").write_text("5")  # forget the maximum so far
    step()
    print(held("VmHWM") - before)


def memory():
    """Each side in a process of its own."""
    if sys.platform != "linux":
        return print("peak memory is measured on Linux only")
    for title in TINY:
        peaks = {}
        for name in ["this code", *(["open_clip"] if open_clip else [])]:
            run = subprocess.run([sys.executable, "-c", f"import benchmark; benchmark.peak({name!r}, {title!r})"],
                                 cwd=Path(__file__).parent, check=True, capture_output=True, text=True)
            peaks[name] = int(run.stdout.split()[-1])
        FIGURES.append({"row": f"peak memory, {title}", "bytes": peaks})
        print(f"{'peak memory, ' + title:66} " + ", ".join(f"{name} {n / 1e6:,.0f} MB" for name, n in peaks.items()))


def known_words(ours):
    """The plain English words that are tokens of their own."""
    return sorted(token[:-4] for token in ours.vocab[512:] if re.fullmatch("[a-z]+</w>", token))


def tokenizer():
    """One thread, OpenAI's merges: captions of words it has seen before, and random words that it has not."""
    rng, ours = random.Random(0), Tokenizer.from_merges()
    known = known_words(ours)
    rng.shuffle(known)
    captions = [" ".join(known[int(len(known) * rng.random() ** 3)] for _ in range(rng.randint(6, 14)))
                for _ in range(30000)]
    letters = iter(["".join(rng.choices(string.ascii_lowercase, k=rng.randint(3, 12))) for _ in range(300000)])
    encoders = {"this code": ours.encode}
    if openai:
        encoders["openai"] = sys.modules["clip.simple_tokenizer"].SimpleTokenizer().encode
    if tokenizers:  # Hugging Face's, in Rust
        vocabulary = tokenizers.models.BPE({token: i for i, token in enumerate(ours.vocab)}, ours.merges,
                                           end_of_word_suffix="</w>")
        rust = tokenizers.Tokenizer(vocabulary)
        rust.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
        encoders["tokenizers"] = lambda text: rust.encode(text).ids

    def all_ids(encode, texts):
        return [encode(text) for text in texts]

    for encode in encoders.values():
        all_ids(encode, captions[:15000])
    compare("tokenizer, captions", {name: partial(all_ids, encode, captions[15000:])
                                    for name, encode in encoders.items()}, clock=time.process_time, count=15000)

    def next_words(encode, texts):  # each round other words, the same for all sides
        return all_ids(encode, next(texts))

    rounds = [[" ".join(next(letters) for _ in range(6)) for _ in range(3000)] for _ in range(ROUNDS + 1)]
    compare("tokenizer, new words", {name: partial(next_words, encode, iter(rounds))
                                     for name, encode in encoders.items()}, clock=time.process_time, count=3000)


def merges():
    """1,000 merges from 100,000 captions of ten words, 33,000 different ones in all."""
    rng, known = random.Random(0), known_words(Tokenizer.from_merges())
    captions = [" ".join(known[int(len(known) * rng.random() ** 2)] for _ in range(10)) for _ in range(100000)]
    compare("learning 1,000 merges", {"this code": partial(Tokenizer.train, captions, 1514)}, rounds=3)


def drawing():
    """A batch of 256 scenes of the tiny world with captions: to compare with the training step of tiny-RN above."""
    world, steps = train_tiny.World(), iter(range(100))
    compare("drawing 256 scenes", {"this code": lambda: world.batch(next(steps), 256)})


IMPORT = """import time, numpy, torch; start = time.perf_counter()
import clip_minimal; print(time.perf_counter() - start)"""
FIRST_STEP = """import torch, time; start = time.perf_counter(); import train_tiny
from clip_minimal import CLIP, CONFIGS, Tokenizer, contrastive_loss
world = train_tiny.World(); tokenizer = Tokenizer.train(world.texts(), 2048); model = CLIP(CONFIGS["tiny-RN"])
train_tiny.train(world, model, tokenizer, steps=1); print(time.perf_counter() - start)"""


def startup():
    """Importing beyond torch and numpy, the first training step after importing torch, loading ViT-B/32 from a file."""
    for title, code in (("importing clip_minimal", IMPORT), ("import to the end of the first step", FIRST_STEP)):
        run = partial(subprocess.run, [sys.executable, "-c", code], cwd=Path(__file__).parent.parent, check=True,
                      capture_output=True, text=True)
        seconds = statistics.median(float(run().stdout.split()[-1]) for _ in range(3))
        FIGURES.append({"row": title, "seconds": {"this code": seconds}})
        print(f"{title:66} this code {seconds * 1e3:.1f} ms", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/model.pt"
        save(path, CLIP(CONFIGS["ViT-B/32"]).half(), Tokenizer.from_merges())
        calls = {"this code": lambda: load(path)[0].logit_scale}
        if openai:
            calls["openai"] = lambda: openai.load(path, "cpu")[0].logit_scale
        compare("load ViT-B/32, float16 state dict", calls)


def curve(panel, name, points):
    """Measure points (x, call, operations), five times in turn, for one panel of growth and a kind of model."""
    x, calls, operations = zip(*points)
    for call in calls:
        call()
    times, rate = in_turn(dict(zip(x, calls)), 5)
    medians = [statistics.median(times[value]) for value in x]
    FIGURES.append({"row": "growth", "panel": panel, "model": name, "x": x, "seconds": medians,
                    "operations": operations, "matrix rate": rate})
    print(f"{panel}, {name} (share of the matrix rate): "
          + ", ".join(f"{v:.3g}: {s * 1e3:,.0f} ms ({n / s / rate:.0%})" for v, s, n in zip(x, medians, operations)),
          flush=True)


@torch.no_grad()
def growth():
    """How the time of a call grows with texts, batch, labels, images and models, beside the count of its operations;
    the models are ViT-B/32 and RN50 but for what grows. Then that count for the nine published models."""
    tokenizer, vit, resnet = Tokenizer.from_merges(), CONFIGS["ViT-B/32"], CONFIGS["RN50"]
    text_model = CLIP(replace(vit, vision_layers=1)).eval()

    def texts(T):
        several = [" ".join([word] * (T - 2)) for word in "bcdefghijklmnopq"]  # without a common beginning
        call = partial(zeroshot.encode_texts, text_model, tokenizer, several)
        return T, call, 16 * flops(vit, T)[1]

    def labels(N):
        names = [f"a photo of a cat {i}" for i in range(100, 100 + N)]  # all of the same length
        call = partial(zeroshot.zero_shot_classifier, text_model, tokenizer, names)
        return N, call, N * flops(vit, tokenizer(names[0], pad=False).shape[1])[1]

    def images(config, B, x=None):
        model, R = CLIP(replace(config, transformer_layers=1, vocab_size=1000)).eval(), config.image_resolution
        model, work = zeroshot.fuse(model.to(memory_format=torch.channels_last)), flops(config)[0]
        return x or work / 1e9, partial(zeroshot.encode_images, model, torch.randn(B, 3, R, R)), B * work

    curve("tokens in each of 16 texts", "ViT-B/32", (texts(T) for T in (4, 8, 16, 32, 77)))
    curve("images in a batch", "ViT-B/32", (images(vit, B, B) for B in (1, 2, 4, 8, 16, 32)))
    curve("labels of a classifier", "ViT-B/32", (labels(N) for N in (1, 4, 16, 64, 256)))
    for name, tiny, narrow in (("ViT-B/32", "tiny-ViT", (64, 128, 256, 512)), ("RN50", "tiny-RN", (8, 16, 32))):
        config = CONFIGS[name]
        curve("pixels along a side, 4 images", name,
              (images(replace(config, image_resolution=R), 4, R) for R in (64, 96, 128, 224, 320, 448)))
        smaller = [CONFIGS[tiny], *(replace(config, vision_width=D) for D in narrow)]
        curve("GFLOPs of the model, 8 images", name, (images(c, 8) for c in (*smaller, config)))
    for name in SHA256:
        image, text = flops(CONFIGS[name])
        print(f"{name:15} {image / 1e9:7.2f} GFLOPs for an image, {text / 1e9:6.2f} for a text of 77 tokens")


def draw_growth(path):
    """A panel for each thing that grows: times as measured, and lines for the operations at the matrix rate."""
    rows = [row for row in FIGURES if row["row"] == "growth"]
    figure = Figure(figsize=(9, 5), layout="constrained")
    *axes, legend = figure.subplots(2, 3).flat
    panels = dict(zip(dict.fromkeys(row["panel"] for row in rows), axes))
    for row in rows:
        axis, name, x, rate = panels[row["panel"]], row["model"], row["x"], row["matrix rate"]
        colour, marker, line = ("#0072B2", "o", "-") if name == "ViT-B/32" else ("#D55E00", "s", "--")
        axis.loglog(x, [1e3 * s for s in row["seconds"]], marker, color=colour, mfc="none", mew=1.5,
                    label=f"{name} and smaller, measured")
        axis.loglog(x, [1e3 * n / rate for n in row["operations"]], line, color=colour, lw=1.2,
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
    rows = {row.__name__: row for row in (text, classifier, image, training, memory, tokenizer, merges,
                                          drawing, startup, growth)}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=rows, help="this row; may be given several times")
    parser.add_argument("--threads", type=int, default=2, help="of PyTorch (default: %(default)s)")
    parser.add_argument("--json", metavar="FILE", help="write the figures here")
    parser.add_argument("--plot", metavar="PNG", help="draw growth here (default: growth.png beside the JSON, if any)")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    peers = [f"{name} {getattr(sys.modules[name], '__version__', '')}".strip() for name in PEERS if name in sys.modules]
    print(f"Python {platform.python_version()}, torch {torch.__version__}, {args.threads} threads; {', '.join(peers)}")
    print(f"{'':37}{'ratio (spread)':22} share  median")
    for name in args.only or rows:
        rows[name]()
    if args.json:
        Path(args.json).write_text(json.dumps(FIGURES, indent=1))
    plot = args.plot or args.json and Path(args.json).with_name("growth.png")
    if plot and "growth" in (args.only or rows):
        draw_growth(plot)


if __name__ == "__main__":
    main()
