"""Train a tiny CLIP from scratch in minutes, on pictograms that are drawn as it goes or on your own captioned images.

    python train_tiny.py                      train on the pictogram world; results in runs/tiny
    python train_tiny.py --show               a contact sheet of the world: held-out images, full captions
    python train_tiny.py --demo               the trained model on freshly drawn scenes
    python train_tiny.py --resume             go on after Ctrl-C
    python train_tiny.py --data DIR --out runs/mine              your own images with captions
    python train_tiny.py --data DIR --out runs/mine --captions-from-names     ... whose file names describe them

With seed 0 the first command reaches, on pairs of colour and object that it never saw: objects 96 %
(chance 1), colours 95 % (8), counts 99.7 % (25), places 100.0 % (11), relations 99 % (25), and finds the
caption of an image among 500 in 91 % (0.2). It took 2.0 minutes on two cores (AMD EPYC, Zen 5; torch 2.13.0).

Letters in shape comments: B batch, T tokens, n images or scenes, R resolution, E joint embedding.
"""
import argparse
import dataclasses
import math
import os
import sys
import textwrap
import time
import zlib
from pathlib import Path

if __name__ == "__main__":
    # figures are drawn into files: the backend that this variable names is not needed, and may not be installed
    os.environ.pop("MPLBACKEND", None)
    # what an Apple GPU (--device mps) lacks runs on the CPU, and PyTorch says so
    os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")

import matplotlib
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

import zeroshot
from clip_minimal import (CLIP, CONFIGS, HEAD_WIDTH, MEAN, STD, CLIPConfig, Tokenizer, contrastive_loss, load,
                          normalize, save, write)
from tutorial.extras.pictures import figure_path, print_anything, save_figure
from tutorial.extras.runs import (check_place, read_default_run, restore, settings_of, take_settings, what_is_left,
                                  write_log)

# ---- Training (Sections 2.3 and 2.5) -------------------------------------------------------------

STEPS = {"tiny-RN": 680, "tiny-ViT": 2350}  # how many Muon needs to learn the pictogram world
STEPS_OF_ADAMW = 1700  # how many the paper's optimizer needs
WEIGHT_DECAY = {"tiny-RN": 0.2, "tiny-ViT": 0.1}  # the paper's is 0.2 (Table 18)
TEXT_LR = 0.2  # the text encoder's learning rate, as a share of the image encoder's
MUON_LR = 5.0  # Muon's learning rate, as a multiple of AdamW's
# (a, b, c), shares of the steps. Captions are names alone in all batches before a, in every third batch from a to b,
# and in none after b. Batches with full captions have rivals from c on. See World.batch.
NAMES = {"tiny-RN": (0.01, 0.79, 0.79), "tiny-ViT": (0.16, 0.6, 0.16)}
EVERY = 50  # steps between two lines of the log, and between two states that --resume can go on from
# parts of the names of hidden layers, whose matrices and kernels Muon trains
HIDDEN = ("resblocks.", "visual.conv2.", "visual.conv3.", "visual.layer", "q_proj.", "k_proj.", "v_proj.")


def make_optimizer(model, lr, weight_decay, text_lr=TEXT_LR, muon=True):
    """Muon for the matrices and kernels of hidden layers, AdamW for all other weights; or AdamW for all.

    The paper trains with AdamW, Adam with decoupled weight decay, on all weights that are not gains,
    biases or the scale (Section 2.5). What Muon trains decays likewise; without that, objects ended
    at 87.9 % instead of 93.8 (750 steps of the pictogram world, decay 0.1, means of seeds 1, 2 and 3).

    The text encoder's learning rate is a fifth of the image encoder's. At the full rate its features
    change faster than an untrained image encoder can follow. Measured with AdamW and captions of names
    alone (see World.batch), in runs of 250 steps with seeds 0 and 1: objects 8 and 3 % at the full rate,
    14 and 9 % at a fifth of it.
    """
    groups = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue  # frozen
        # gains, biases and the scale have one axis or none; matrices and kernels have more
        is_matrix = parameter.ndim >= 2
        by_muon = muon and is_matrix and any(part in name for part in HIDDEN)
        decay = weight_decay if is_matrix else 0.0
        at_full_rate = name.startswith("visual.") or name == "logit_scale"
        factor = 1.0 if at_full_rate else text_lr
        if by_muon:
            factor *= MUON_LR
        # For Muon the queries, keys and values of each head are matrices of their own: each block of 64 rows.
        # (in_proj holds all three, one below the other. in_proj_bias matches, too, which is harmless: it is
        # AdamW's, and AdamW ignores `by_head`.)
        by_head = "in_proj" in name or name.endswith(("q_proj.weight", "k_proj.weight", "v_proj.weight"))
        groups.setdefault((by_muon, by_head, decay, factor), []).append(parameter)
    param_groups = []
    for (by_muon, by_head, decay, factor), parameters in groups.items():
        param_groups.append({"params": parameters, "weight_decay": decay, "factor": factor,
                             "by_muon": by_muon, "by_head": by_head})
    # betas and eps are those of the vision transformers in Table 18, for both kinds of image encoder
    if muon:
        return Muon(param_groups, lr=lr, betas=(0.9, 0.98), eps=1e-6)
    return torch.optim.AdamW(param_groups, lr=lr, betas=(0.9, 0.98), eps=1e-6, fused=True)


def learning_rate(step, steps, peak, warmup):
    """The rate rises linearly for `warmup` steps, then falls to zero along half a cosine."""
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)  # from 0 to 1
    return peak * (1 + math.cos(math.pi * progress)) / 2


def training_step(model, optimizer, images, tokens, bfloat16=False):
    """Images (B, 3, R, R) and the token ids of their captions (B, T) -> the loss, after one update of the weights."""
    averages = [x.clone() for x in model.buffers()]  # of the batch norms
    # both encoders; the loss is computed in float32 even where they run in bfloat16
    with torch.autocast(images.device.type, torch.bfloat16, enabled=bfloat16):
        image_features = model.encode_image(images)  # (B, E)
        text_features = model.encode_text(tokens)  # (B, E)
    image_features = image_features.to(model.logit_scale.dtype)
    text_features = text_features.to(model.logit_scale.dtype)
    # every image against every text
    loss = contrastive_loss(image_features, text_features, model.logit_scale)
    # one step down the gradient
    optimizer.zero_grad()
    loss.backward()
    leave_out_what_is_no_number(model, averages)
    optimizer.step()
    # Logits are never scaled by more than 100: found necessary for stability (Section 2.5).
    # logit_scale is the logarithm of the scale.
    model.logit_scale.data.clamp_(max=math.log(100))
    return loss.detach()


def leave_out_what_is_no_number(model, averages):
    """Put 0 where a gradient is infinite or no number, and the old value where a batch norm's average has become so.

    After a loss that is no number all gradients are 0, and the optimizer goes on by the momentum of
    earlier steps. There is no `if`: whether the loss is a number only the GPU knows, and asking makes it wait.
    """
    for parameter in model.parameters():
        if parameter.grad is not None:
            parameter.grad.nan_to_num_(nan=0, posinf=0, neginf=0)
    for average, before in zip(model.buffers(), averages):
        average.copy_(average.where(average.isfinite(), before))


def train(data, model, tokenizer, steps=STEPS["tiny-RN"], batch_size=256, lr=5e-3,
          weight_decay=WEIGHT_DECAY["tiny-RN"], warmup=50, text_lr=TEXT_LR, muon=True, bfloat16=False, every=EVERY,
          state=None, keep=None, step_function=training_step):
    """Train the model on data.batch(step, n) -> history, a list of dicts, one for each line of the log.

    Every `every` steps keep(state) is called. A run that is given such a state goes on from there and
    ends with exactly the same weights, as a batch depends on the seed and the step alone. Raises
    ValueError for a batch of one pair (contrastive_loss does), or if no loss is finite any more.
    """
    optimizer = make_optimizer(model, lr, weight_decay, text_lr, muon)
    first = 0
    history = []
    if state is not None:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
        history = state["history"]
    losses = []  # since the last line of the log
    started = clock = time.time()
    for step in range(first, steps):
        # the learning rate of this step
        rate = learning_rate(step, steps, lr, warmup)
        for group in optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        # a batch of pairs; pad=False pads captions to the longest of them, not to the whole context
        images, captions = data.batch(step, batch_size)
        tokens = tokenizer(captions, model.config.context_length, truncate=True, pad=False)
        tokens = tokens.to(images.device)
        # batch norms take the statistics of the batch
        model.train()
        image_encoder_is_frozen = not model.visual.conv1.weight.requires_grad  # see `freeze`
        if image_encoder_is_frozen:
            model.visual.eval()  # so that its batch norms stay as they are, too
        # two encoders, loss, update
        losses.append(step_function(model, optimizer, images, tokens, bfloat16))
        done = step + 1
        if done % every != 0 and done != steps:
            continue
        # a line of the log
        losses = torch.stack(losses)
        finite = losses[losses.isfinite()]
        if len(finite) == 0:
            raise ValueError(f"no finite loss in steps {done - len(losses) + 1} to {done}; try a lower --lr")
        row = {
            "step": done,
            "loss": finite.mean().item(),
            "scale": model.logit_scale.exp().item(),
            "lr": rate,
            "skipped": len(losses) - len(finite),
            "images_per_second": len(losses) * batch_size / (time.time() - clock),
        }
        seconds_left = (time.time() - started) / (done - first) * (steps - done)
        print_row(row, steps, batch_size, seconds_left)
        # now and then: how good is it, on pairs that it does not train on?
        if done % (2 * every) == 0 or done == steps:
            model.eval()
            results = data.evaluate(model, tokenizer, 300)
            row["accuracy"] = {name: value for name, (value, _) in results.items()}
        history.append(row)
        if keep is not None:
            keep({"step": done, "history": history, "model": model.state_dict(), "optimizer": optimizer.state_dict()})
        losses = []
        clock = time.time()
    model.eval()
    return history


def print_row(row, steps, batch_size, seconds_left):
    """A line of the log. Beside the loss stands that of a model that only guesses, ln(batch size)."""
    minutes, seconds = divmod(round(seconds_left), 60)
    line = (f"step {row['step']:5d}/{steps}  loss {row['loss']:.3f} (a guess: {math.log(batch_size):.3f})"
            f"  scale {row['scale']:5.1f}  lr {row['lr']:.1e}  {row['images_per_second']:5.0f} images/s"
            f"  {minutes}:{seconds:02} left")
    if row["skipped"]:
        line += f"  losses not finite: {row['skipped']}"
    print(line, flush=True)


class Muon(torch.optim.AdamW):
    """Muon (Jordan et al. 2024) for groups with `by_muon`, AdamW for the others.

    The gradient of a matrix has a few large singular values and many small ones, and so have the
    updates that Adam makes of it: a step changes what the layer does in a few directions. Muon makes
    all singular values nearly 1, so that a step changes all directions alike. The paper did not have
    it; it is here because it learns from fewer pictures.
    """

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            if not group["by_muon"]:
                continue
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                # decoupled weight decay, as AdamW has it
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                # Nesterov's momentum. The momentum becomes 0.9 of what it was + 0.1 of the gradient (lerp goes
                # from its first argument to the second); the update is 0.9 of the new momentum + 0.1 of the gradient.
                state = self.state[weight]
                if not state:
                    state["momentum"] = torch.zeros_like(weight)
                    state["step"] = torch.tensor(0.0)  # not used here, but AdamW.load_state_dict expects it
                state["momentum"].lerp_(weight.grad, 0.1)
                update = torch.lerp(weight.grad, state["momentum"], 0.9)
                if group["by_head"]:
                    matrices = update.unflatten(0, (-1, HEAD_WIDTH))  # one for each head: (heads, 64, columns)
                else:
                    matrices = update.flatten(1)  # a kernel (C, C', 3, 3) counts as (C, 9 C')
                update = orthogonalise(matrices).reshape(weight.shape)
                # tall matrices, of more rows than columns, take a larger step, as Jordan et al. have it
                rows, columns = matrices.shape[-2:]
                factor = max(1, rows / columns) ** 0.5
                weight.sub_(update, alpha=group["lr"] * factor)
                weight.grad = None  # AdamW leaves out what has no gradient
        super().step()


def orthogonalise(x):
    """A matrix (rows, columns), or n of them -> the same singular vectors, with singular values near 1.

    With a singular value decomposition it would be exact, and slow. This is Newton and Schulz's iteration:
    a polynomial with odd powers, applied to a matrix, is applied to its singular values. Applied five
    times, this one brings any value from 0.003 to 1 to one between 0.7 and 1.2 (Jordan et al. 2024).
    """
    if x.shape[-2] > x.shape[-1]:
        return orthogonalise(x.mT).mT  # the products below are smaller
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)  # no singular value is above 1
    add_product = torch.addmm if x.ndim == 2 else torch.baddbmm
    for _ in range(5):
        square = x @ x.mT  # (rows, rows)
        # -4.7750 square + 2.0315 square @ square, then 3.4445 x + polynomial @ x, each in one call
        polynomial = add_product(square, square, square, beta=-4.7750, alpha=2.0315)
        x = add_product(x, polynomial, x, beta=3.4445)
    return x


# ---- The pictogram world: scenes of coloured pictograms, each with a caption ---------------------

FONT = Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf")
OBJECTS = {  # 100 names, and the characters of the font that show them
    "sun": "☀", "cloud": "☁", "umbrella": "☂", "snowman": "☃", "comet": "☄", "star": "★", "moon": "☾",
    "snowflake": "❄", "lightning bolt": "⚡", "starburst": "✺", "cat": "🐱", "mouse": "🐭", "cow": "🐮",
    "monkey": "🐵", "shamrock": "☘", "tulip": "⚘", "daisy": "✿", "ivy leaf": "❦", "happy face": "☺",
    "sad face": "☹", "angel": "😇", "devil": "😈", "sleeping face": "😴", "masked face": "😷",
    "crying face": "😭", "skull": "☠", "pointing hand": "☛", "victory hand": "✌", "writing hand": "✍",
    "house": "⌂", "keyboard": "⌨", "telephone": "☎", "teacup": "☕", "wheelchair": "♿", "die": "⚄",
    "flag": "⚑", "anchor": "⚓", "balance": "⚖", "alembic": "⚗", "gear": "⚙", "coffin": "⚰", "vase": "⚱",
    "pair of scissors": "✂", "film reel": "✇", "airplane": "✈", "envelope": "✉", "pencil": "✎",
    "fountain pen": "✒", "ship's wheel": "☸", "hot spring": "♨", "trident": "♆", "bow tie": "⧓",
    "chess king": "♚", "chess queen": "♛", "chess rook": "♜", "chess bishop": "♝", "chess knight": "♞",
    "chess pawn": "♟", "spade": "♠", "club": "♣", "heart": "♥", "diamond": "♦", "radiation sign": "☢",
    "biohazard sign": "☣", "warning sign": "⚠", "peace sign": "☮", "recycling sign": "♻",
    "female sign": "♀", "male sign": "♂", "infinity sign": "∞", "ankh": "☥", "yin yang": "☯",
    "crescent": "☪", "star of David": "✡", "Maltese cross": "✠", "cross": "✝", "fleur-de-lis": "⚜",
    "atom": "⚛", "check mark": "✔", "cross mark": "✘", "plus sign": "✚", "asterisk": "✱", "arrow": "➜",
    "question mark": "?", "exclamation mark": "!", "ampersand": "&", "dollar sign": "$",
    "percent sign": "%", "at sign": "@", "eighth note": "♪", "pair of notes": "♫", "sharp sign": "♯",
    "flat sign": "♭", "square": "■", "triangle": "▲", "circle": "●", "pentagon": "⬟",
    "parallelogram": "▰", "target": "◎", "grid": "▦",
}
PLURALS = {"snowman": "snowmen", "mouse": "mice", "daisy": "daisies", "die": "dice", "ivy leaf": "ivy leaves",
           "fleur-de-lis": "fleurs-de-lis", "star of David": "stars of David",
           "pair of scissors": "pairs of scissors", "pair of notes": "pairs of notes"}
COLOURS = {"red": (225, 30, 40), "orange": (250, 140, 20), "yellow": (250, 225, 40), "green": (40, 165, 60),
           "teal": (20, 165, 165), "blue": (40, 80, 225), "purple": (130, 45, 175), "pink": (250, 130, 190),
           "brown": (120, 70, 30), "black": (15, 15, 20), "gray": (130, 130, 135), "white": (250, 250, 250)}
BACKGROUNDS = {  # the colours of the upper and of the lower edge
    "on paper": ((245, 242, 235), (228, 222, 210)), "at night": ((15, 20, 55), (40, 45, 95)),
    "on the grass": ((120, 190, 90), (70, 140, 50)), "on the beach": ((240, 220, 165), (215, 185, 125)),
    "in the sky": ((95, 170, 240), (190, 225, 250)), "at sunset": ((105, 55, 110), (245, 150, 90)),
    "under water": ((60, 175, 200), (15, 75, 130)), "on a wall": ((185, 110, 90), (150, 80, 65)),
}
SIZES = {"small": (15, 19), "": (22, 28), "large": (32, 42)}  # in 48ths of the image; the middle one is not named
COUNTS = ["one", "two", "three", "four"]
PLACES = ["in the top left corner", "at the top", "in the top right corner",
          "on the left", "in the middle", "on the right",
          "in the bottom left corner", "at the bottom", "in the bottom right corner"]
RELATIONS = {"to the left of": (-1, 0), "to the right of": (1, 0), "above": (0, -1), "below": (0, 1)}
KINDS = {"single": 6 / 13, "placed": 2 / 13, "counted": 3 / 13, "related": 2 / 13}  # of scenes, and how often drawn
SINGLE, PLACED, COUNTED, RELATED = range(4)  # their numbers
BEGINNINGS = ["a picture of ", "a drawing of "] + 8 * [""]  # of a caption, all equally likely
MENTIONS = {"size": 0.25, "colour": 0.9, "background": 0.45}  # how often a caption names what could be named
EVERYTHING = {"size": 0.25, "colour": 1, "background": 1}  # what tells scenes apart (sizes hardly do)
NAMES_ONLY = {"size": 0, "colour": 0, "background": 0}
TRAINING, EVALUATION, TEXTS = range(3)  # each draws random numbers of its own, see World.rng


def article(phrase):
    """"umbrella" -> "an umbrella"."""
    if phrase[0].lower() in "aeiou":
        return f"an {phrase}"
    return f"a {phrase}"


def plural(name):
    """"cross" -> "crosses"."""
    if name in PLURALS:
        return PLURALS[name]
    if name.endswith(("s", "x", "ch")):
        return name + "es"
    return name + "s"


def counted(count, name):
    """2, "cross" -> "two crosses"."""
    if count == 1:
        return f"one {name}"
    return f"{COUNTS[count - 1]} {plural(name)}"


def render(glyphs, size=32, font=FONT):
    """n characters -> masks (n, size, size) from 0 to 1, each glyph as large as fits and a little bolder than print."""
    with open(font, "rb") as file:
        font = ImageFont.truetype(file, 8 * size)
    masks = []
    for glyph in glyphs:
        left, top, right, bottom = font.getbbox(glyph, stroke_width=4)
        side = max(right - left, bottom - top)
        # drawn at (0, 0) its middle would be at (left + right) / 2; it shall be at side / 2
        corner = (side - right - left) / 2, (side - bottom - top) / 2
        mask = Image.new("L", (side, side))
        ImageDraw.Draw(mask).text(corner, glyph, fill=255, font=font, stroke_width=4)
        mask = mask.resize((size - 2, size - 2), Image.Resampling.BOX)
        masks.append(np.asarray(mask))
    masks = torch.from_numpy(np.stack(masks)) / 255
    return F.pad(masks, (1, 1, 1, 1))  # a rim of one cell around each


class World:
    """Scenes of one to four pictograms and their captions, drawn on the device; the same for the same seed and step.

    A twelfth of the pairs of colour and object is held out, one colour for each object, the same with
    every seed: no training image shows it and no training caption says it. Zero-shot accuracy is
    measured on them alone.
    """

    def __init__(self, seed=0, device="cpu", resolution=48, mean=MEAN, std=STD, steps=STEPS["tiny-RN"],
                 shares=NAMES["tiny-RN"]):
        self.seed = seed
        self.device = device
        self.resolution = resolution
        self.mean = mean  # what images are normalised with
        self.std = std
        # the steps, in a training of `steps` steps, at which batches change: see `batch`
        turns = [round(share * steps) for share in shares]
        self.names_alone_until, self.names_until, self.rivals_from = turns
        self.masks = render(OBJECTS.values()).to(device)  # (objects, 32, 32)
        self.colours = torch.tensor(list(COLOURS.values()), device=device) / 255  # (12, 3)
        self.backgrounds = torch.tensor(list(BACKGROUNDS.values()), device=device) / 255  # (8, 2, 3)
        objects = np.arange(len(OBJECTS))[:, None]
        self.held_out = np.arange(12) == (5 * objects) % 12  # (objects, 12), every colour 8 or 9 times
        self.shows = colours_that_show()  # (12, 8)

    def rng(self, split, step=0):
        """Random numbers for a split (TRAINING, EVALUATION or TEXTS) and a step.

        Outside training `step` is only a number that no other call with that split uses.
        """
        return np.random.default_rng((self.seed, split, step))

    def batch(self, step, n):
        """The n training pairs of a step -> normalised images (n, 3, R, R) on the device, n captions.

        The model learns only what helps to tell the pairs of a batch apart. If colours and
        backgrounds suffice for that, it learns the hundred names slowly; if all captions are names
        alone, it hardly learns colours. So all batches have names alone until `names_alone_until`,
        then every third one until `names_until`, then none. Once names are known, they tell most pairs
        apart, and counts and places are learned slowly; so from `rivals_from` on, in batches with
        full captions, the second half of the scenes are rivals of the first half (see `scenes`).
        """
        rng = self.rng(TRAINING, step)
        every_third = step < self.names_until and step % 3 == 0
        if step < self.names_alone_until or every_third:
            scenes = self.scenes(rng, n, "single")
            captions = self.captions(scenes, rng, NAMES_ONLY)
        else:
            scenes = self.scenes(rng, n, rivals=step >= self.rivals_from)
            self.mirror(scenes)
            captions = self.captions(scenes, rng)
        return normalize(self.draw(scenes), self.mean, self.std), captions

    def mirror(self, scenes):
        """Replace the second half of the related scenes by mirrored copies of the first half.

        "a sun to the left of a star" and "a sun to the right of a star" are then in the same batch, and
        nothing but the order tells them apart. (In a batch with rivals, the related scenes of its second half
        are the rivals of those of its first half, in the same order: see `scenes`. The mirrored copies take
        the place of these rivals.)
        """
        related = np.nonzero(scenes["kind"] == RELATED)[0]
        half = len(related) // 2
        originals = related[:half]
        mirrored = related[half:2 * half]
        for array in scenes.values():
            array[mirrored] = array[originals]
        scenes["relation"][mirrored] = scenes["relation"][originals] ^ 1  # 0 and 1, 2 and 3 are opposites
        scenes["centre"][mirrored, 0] = scenes["centre"][originals, 1]
        scenes["centre"][mirrored, 1] = scenes["centre"][originals, 0]

    def texts(self):
        """10,000 captions for the tokenizer to learn from."""
        scenes = self.scenes(self.rng(TEXTS), 10_000)
        return self.captions(scenes, self.rng(TEXTS, 1))

    def examples(self, n, kind=None):
        """Held-out pairs to look at -> normalised images (n, 3, R, R), n captions that tell everything."""
        scenes = self.scenes(self.rng(EVALUATION, 6), n, kind, held_out=True)
        captions = self.captions(scenes, self.rng(EVALUATION, 7), EVERYTHING)
        return normalize(self.draw(scenes), self.mean, self.std), captions

    def scenes(self, rng, n, kind=None, held_out=False, rivals=False):
        """What n scenes show -> a dict of arrays. A scene shows the first `count` of its four sprites.

        kind, background, size, place, relation          (n,), rows of the tables above, from 0
        count                                            (n,), from 1 to 4
        object, colour                                   (n, 4), rows of their tables, of each sprite
        centre, side                                     (n, 4, 2) and (n, 4), in 48ths of the image
        shade                                            (n, 4, 3), what is added to the colour

        `kind` is the name of the only kind of scene wanted. With held_out=True all pairs of colour and
        object are held-out ones, otherwise none. With rivals=True each scene of the second half is a rival
        of one in the first half: it is of the same kind and has the same objects, and every second rival
        has the same colours as well. So something else has to tell the two apart.
        """
        # what a scene is, and what is in it
        if kind is None:
            kind = rng.choice(4, n, p=list(KINDS.values()))
        else:
            kind = np.full(n, list(KINDS).index(kind))
        n_rivals = n // 2 if rivals else 0  # scene n_rivals + i is the rival of scene i
        kind[n_rivals:2 * n_rivals] = kind[:n_rivals]  # changes nothing where n_rivals is 0
        size = rng.integers(3, size=n)
        place = rng.integers(9, size=n)
        relation = rng.integers(4, size=n)
        count = rng.integers(1, 5, n)
        count[kind == SINGLE] = 1
        count[kind == PLACED] = 1
        count[kind == RELATED] = 2
        objects = rng.integers(len(OBJECTS), size=(n, 4))
        other = rng.integers(1, len(OBJECTS), n)
        objects[:, 1] = (objects[:, 0] + other) % len(OBJECTS)  # two that are related are different
        objects[n_rivals:2 * n_rivals] = objects[:n_rivals]
        background, colour = self.choose_colours(rng, objects, held_out, n_rivals)
        # only counted scenes show a third and a fourth object, and there all are copies of the first
        alike = kind == COUNTED
        objects[alike] = objects[alike, :1]
        colour[alike] = colour[alike, :1]
        # how large its sprites are, and where they stand
        side, centre = arrange(rng, kind, size, place, relation)
        return {"kind": kind, "background": background, "size": size, "place": place, "relation": relation,
                "count": count, "object": objects, "colour": colour, "centre": np.float32(centre),
                "side": np.float32(np.repeat(side[:, None], 4, axis=1)),
                "shade": np.float32(rng.normal(0, 0.02, (n, 4, 3)))}

    def choose_colours(self, rng, objects, held_out, n_rivals):
        """Objects (n, 4) -> a background for each scene (n,), and colours of the objects (n, 4) that show on it."""
        # A background on which each of the first two objects has a colour that is allowed and shows. (There
        # always is such a background. For simplicity it suits both even if the scene shows only one.)
        allowed = self.held_out[objects] if held_out else ~self.held_out[objects]  # (n, 4, 12)
        suits = allowed[:, :2, :, None] & self.shows  # (n, 2, 12, 8)
        with_colour = suits.any(axis=2)  # (n, 2, 8)
        background = choose(rng, with_colour.all(axis=1))  # (n,)
        # For each object one of those colours. (A third or fourth object may have none and gets colour 0. It
        # does not matter: `scenes` makes it a copy of the first one, or does not show it at all.)
        showing = self.shows.T[background][:, None]  # (n, 1, 12)
        colour = choose(rng, allowed & showing)  # (n, 4)
        # every second rival takes the colours as well; its background is chosen anew, from those on which
        # both colours show (it may be the same one again)
        same = np.arange(0, n_rivals, 2)
        colour[n_rivals + same] = colour[same]
        with_both = self.shows[colour[same, :2]].all(axis=1)  # (n_rivals / 2, 8)
        background[n_rivals + same] = choose(rng, with_both)
        return background, colour

    def draw(self, scenes):
        """-> images (n, 3, R, R) from 0 to 1: backgrounds, then the first sprite of each scene, then the second, ..."""
        R = self.resolution
        # each background goes from one colour at the upper edge to another one at the lower edge
        edges = self.backgrounds[self.tensor(scenes["background"])]  # (n, 2, 3)
        upper = edges[:, 0, :, None, None]  # (n, 3, 1, 1)
        lower = edges[:, 1, :, None, None]  # (n, 3, 1, 1)
        down = torch.linspace(0, 1, R, device=self.device)[:, None]  # (R, 1)
        image = torch.lerp(upper, lower, down).repeat(1, 1, 1, R)  # (n, 3, R, R)
        for sprite in range(4):
            rows = np.nonzero(scenes["count"] > sprite)[0]  # (s,), the scenes that have it
            objects = self.tensor(scenes["object"][rows, sprite])  # (s,)
            alpha = self.scale(self.masks[objects], scenes, rows, sprite)
            self.paint(image, alpha, scenes, rows, sprite)
        return image.clamp_(0, 1)

    def scale(self, masks, scenes, rows, sprite):
        """Masks (s, 32, 32) of a sprite in the scenes of these rows (s,) -> the same at its size and place (s, R, R).

        This is a product with one matrix for a mask's rows and one for its columns, which say how much of
        each cell of the mask a pixel sees.
        """
        centre = self.tensor(scenes["centre"][rows, sprite])  # (s, 2)
        side = self.tensor(scenes["side"][rows, sprite])  # (s,)
        column_weights = self.weights_of_cells(centre[:, 0], side)  # (s, R, 32)
        row_weights = self.weights_of_cells(centre[:, 1], side)  # (s, R, 32)
        return row_weights @ masks @ column_weights.transpose(1, 2)

    def paint(self, image, alpha, scenes, rows, sprite):
        """In place, on the images of these rows (s,): the colour of a sprite, where alpha (s, R, R) is 1."""
        number = self.tensor(scenes["colour"][rows, sprite])  # (s,)
        shade = self.tensor(scenes["shade"][rows, sprite])  # (s, 3)
        colour = (self.colours[number] + shade)[:, :, None, None]  # (s, 3, 1, 1)
        chosen = self.tensor(rows)
        image[chosen] = torch.lerp(image[chosen], colour, alpha[:, None])

    def weights_of_cells(self, centre, side):
        """Along one axis: centres and sides of sprites (s,) -> what pixels see of the cells of the mask (s, R, 32).

        Linear interpolation: a pixel sees the two cells next to it, the nearer one more.
        """
        R = self.resolution
        pixel = (torch.arange(R, device=self.device) + 0.5) * 48 / R  # (R,), middles of pixels, in 48ths of the image
        # The same in cells of the mask, which are numbered from 0 to 31, so that its middle is at 15.5. A sprite is
        # `side` 48ths wide, and in the mask it is 30 cells wide.
        position = (pixel - centre[:, None]) * (30 / side)[:, None] + 15.5  # (s, R)
        cell = torch.arange(32, device=self.device)
        distance = (position[:, :, None] - cell).abs()  # (s, R, 32)
        return (1 - distance).clamp(min=0)

    def tensor(self, array):
        """A numpy array -> a tensor on the device."""
        return torch.from_numpy(array).to(self.device)

    def captions(self, scenes, rng, mentions=MENTIONS):
        """A sentence for each scene, from a small grammar; `mentions`: how often size, colour, background are told."""
        n = len(scenes["kind"])
        chances = rng.random((n, 5)).tolist()
        scenes = {key: array.tolist() for key, array in scenes.items()}
        captions = []
        for i in range(n):
            for_size, for_colour, for_beginning, for_background, for_order = chances[i]
            kind = scenes["kind"][i]
            # the words for the first sprite and for the second
            size = ""
            if kind == SINGLE and for_size < mentions["size"]:
                size = list(SIZES)[scenes["size"][i]]
            names = [list(OBJECTS)[number] for number in scenes["object"][i][:2]]
            colours = ["", ""]
            if for_colour < mentions["colour"]:
                colours = [list(COLOURS)[number] for number in scenes["colour"][i][:2]]
            # what is in the picture
            if kind == SINGLE:
                caption = article(join(size, colours[0], names[0]))
            elif kind == PLACED:
                caption = article(join(colours[0], names[0])) + " " + PLACES[scenes["place"][i]]
            elif kind == COUNTED:
                count = scenes["count"][i]
                name = names[0] if count == 1 else plural(names[0])
                caption = join(COUNTS[count - 1], colours[0], name)
            else:
                first = article(join(colours[0], names[0]))
                second = article(join(colours[1], names[1]))
                caption = join(first, list(RELATIONS)[scenes["relation"][i]], second)
            # what stands around it
            caption = BEGINNINGS[int(len(BEGINNINGS) * for_beginning)] + caption
            if for_background < mentions["background"]:
                background = list(BACKGROUNDS)[scenes["background"][i]]
                if for_order < 0.3:
                    caption = f"{background}, {caption}"
                else:
                    caption = f"{caption} {background}"
            captions.append(caption)
        return captions

    # ---- Evaluation, on held-out pairs of colour and object ----

    def evaluate(self, model, tokenizer, n=2000):
        """Zero-shot accuracy and retrieval on n held-out scenes of each kind -> {name: (value, chance)}."""
        results = {}
        names = [article(name) for name in OBJECTS]
        some_names = list(OBJECTS)[::4]  # enough for templates, and four times as quick

        # which object, which colour, which background?
        scenes, features = self.encode_scenes(model, "single", 0, n)
        # "a sun" -> "a sun", "a sun on paper", "a sun at night", ...
        templates = ["{}", *[f"{{}} {background}" for background in BACKGROUNDS]]
        results["objects"] = class_accuracy(model, tokenizer, features, scenes["object"][:, 0], names, templates)
        colours = [article(colour) for colour in COLOURS]
        templates = [f"{{}} {name}" for name in some_names]  # "a red" -> "a red sun", "a red star", ...
        results["colours"] = class_accuracy(model, tokenizer, features, scenes["colour"][:, 0], colours, templates)
        templates = [f"{article(name)} {{}}" for name in some_names]  # "on paper" -> "a sun on paper", ...
        backgrounds = list(BACKGROUNDS)
        labels = scenes["background"]
        results["backgrounds"] = class_accuracy(model, tokenizer, features, labels, backgrounds, templates)

        # one, two, three or four? The captions to choose from name the right object and differ in the count alone
        scenes, features = self.encode_scenes(model, "counted", 1, n)
        choices = []
        for a in scenes["object"][:, 0]:
            choices.append([counted(count, list(OBJECTS)[a]) for count in (1, 2, 3, 4)])
        results["counts"] = caption_accuracy(model, tokenizer, features, scenes["count"] - 1, choices)

        # at which of nine places?
        scenes, features = self.encode_scenes(model, "placed", 2, n)
        choices = []
        for a in scenes["object"][:, 0]:
            choices.append([f"{names[a]} {place}" for place in PLACES])
        results["places"] = caption_accuracy(model, tokenizer, features, scenes["place"], choices)

        # left of, right of, above or below?
        scenes, features = self.encode_scenes(model, "related", 3, n)
        choices = []
        for a, b in scenes["object"][:, :2]:
            choices.append([f"{names[a]} {relation} {names[b]}" for relation in RELATIONS])
        results["relations"] = caption_accuracy(model, tokenizer, features, scenes["relation"], choices)

        # which of 500 captions, and which of 500 images? Equal captions are both right
        scenes, features = self.encode_scenes(model, None, 4, min(n, 500))
        captions = self.captions(scenes, self.rng(EVALUATION, 5), EVERYTHING)
        text_features = zeroshot.encode_texts(model, tokenizer, captions)
        relevant = torch.tensor([[a == b for b in captions] for a in captions])
        results.update(zeroshot.retrieval(features.cpu(), text_features.cpu(), relevant, ks=[1]))
        return results

    def encode_scenes(self, model, kind, step, n):
        """Draw n held-out scenes of a kind -> scenes, features of their images (n, E)."""
        scenes = self.scenes(self.rng(EVALUATION, step), n, kind, held_out=True)
        images = normalize(self.draw(scenes), self.mean, self.std)  # (n, 3, R, R)
        return scenes, zeroshot.encode_images(model, images)


def class_accuracy(model, tokenizer, features, labels, classnames, templates=("{}",)):
    """How often the classifier made from class names and templates is right on features (n, E), and chance."""
    weights = zeroshot.zero_shot_classifier(model, tokenizer, classnames, templates)
    scores = (features @ weights).cpu()  # (n, classes)
    return zeroshot.accuracy(scores, torch.from_numpy(labels)), 1 / len(classnames)


def caption_accuracy(model, tokenizer, features, labels, choices):
    """How often the right caption of an image is chosen among its candidates, by features (n, E), and chance."""
    texts = [caption for captions in choices for caption in captions]
    text_features = zeroshot.encode_texts(model, tokenizer, texts)
    text_features = text_features.view(len(choices), -1, text_features.shape[1])  # (n, choices, E)
    scores = (text_features * features[:, None]).sum(dim=2).cpu()  # (n, choices)
    return zeroshot.accuracy(scores, torch.from_numpy(labels)), 1 / scores.shape[1]


def colours_that_show():
    """-> (12, 8), True where a colour differs from all of a background, as the eye weighs red, green and blue."""
    colours = np.array(list(COLOURS.values()))[:, None, None]  # (12, 1, 1, 3)
    edges = np.array(list(BACKGROUNDS.values()), float)[:, :, None]  # (8, 2, 1, 3)
    upper = edges[:, 0]  # (8, 1, 3)
    lower = edges[:, 1]
    gradient = upper + (lower - upper) * np.linspace(0, 1, 5)[:, None]  # (8, 5, 3)
    squares = (colours - gradient) ** 2  # (12, 8, 5, 3)
    distance = (squares @ [0.3, 0.5, 0.2]) ** 0.5  # (12, 8, 5), from 0 to 255
    return distance.min(axis=-1) > 65


def arrange(rng, kind, size, place, relation):
    """What n scenes show, (n,) each -> the sides of their sprites (n,), and the centres of four sprites (n, 4, 2).

    Both in 48ths of the image.
    """
    n = len(kind)
    # how large: three ranges for single objects, then one each for placed, counted and related ones
    ranges = np.array([*SIZES.values(), (13, 16), (15, 21), (16, 20)])
    which = np.where(kind == SINGLE, size, kind + 2)  # its row: PLACED, which is 1, has row 3, and so on
    low, high = ranges[which].T  # (n,) each
    side = low + (high - low) * rng.random(n)  # (n,)
    # half of the mask's side: `side` is the glyph's, and that has 30 of the mask's 32 cells
    half = side[:, None, None] * 16 / 30  # (n, 1, 1)
    # where: offsets from the middle of the image, to the right and down (worked out for all scenes, and
    # taken where they are of the kind)
    random = rng.uniform(-1, 1, (n, 4, 2))
    quarters = rng.random((n, 4)).argsort(axis=1)  # (n, 4), the quarters of the image in random order
    # a single object stands anywhere, one 48th from the edge at least
    offset = random * (23 - half)
    # a placed one stands near the middle of its field, one of three by three
    field = np.stack([place % 3, place // 3], axis=1)[:, None] - 1  # (n, 1, 2): -1, 0 or 1
    chosen = kind == PLACED
    offset[chosen] = (14 * field + random / 2)[chosen]
    # Counted ones stand each in a quarter of the image. A quarter is 24 wide: its edges are 12 from its
    # middle, and a mask stays 1 away from them.
    quarter = np.stack([quarters % 2, quarters // 2], axis=2) - 0.5  # (n, 4, 2): -0.5 or 0.5
    chosen = kind == COUNTED
    offset[chosen] = (24 * quarter + random * (11 - half))[chosen]
    # Related ones: the first stands on the side that the relation names, the second on the opposite side,
    # nearly at the same distance from the middle, and each is moved by up to 6 across that direction. (A third
    # and a fourth are not shown.)
    direction = np.array(list(RELATIONS.values()))[relation][:, None]  # (n, 1, 2)
    opposite = direction * [[1], [-1], [0], [0]]  # (n, 4, 2)
    spread = np.where(direction != 0, 0.3, 6)  # (n, 1, 2)
    chosen = kind == RELATED
    offset[chosen] = (12 * opposite + random * spread)[chosen]
    return side, 24 + offset


def choose(rng, possible):
    """One of the True entries along the last axis, by chance: booleans (..., m) -> numbers (...)."""
    # the largest of random numbers that stand where an entry is True
    return (rng.random(possible.shape) * possible).argmax(axis=-1)


def join(*words):
    """Put spaces between the words that are not empty: "", "red" and "cat" become "red cat"."""
    return " ".join(word for word in words if word)


# ---- Figures -------------------------------------------------------------------------------------


def draw_curves(history, batch_size, results, default=()):
    """A history of `train` -> figure: loss, accuracy (chance is taken from results) and scale against the steps.

    In gray behind them is the history of the default run, if it is given.
    """
    figure = Figure(figsize=(14, 3.8), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    # the default run
    left.plot(*curve(default, "loss"), color="lightgray")
    right.plot(*curve(default, "scale"), color="lightgray")
    for name in results:
        middle.plot(*accuracy_curve(default, name), ".-", color="lightgray")
    # this run
    left.plot(*curve(history, "loss"), color="C0")
    right.plot(*curve(history, "scale"), color="C0")
    for i, name in enumerate(results):
        middle.plot(*accuracy_curve(history, name), ".-", color=f"C{i}", label=name)
    # guesses and chance, axes and legends
    left.axhline(np.log(batch_size), color="gray", linestyle=":")
    left.set(xlabel="step", ylabel=f"loss in nats (dotted: a guess, ln {batch_size})", ylim=(0, None))
    for i, (_, chance) in enumerate(results.values()):
        middle.axhline(chance, linestyle=":", color=f"C{i}", linewidth=1)
    middle.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    middle.set(xlabel="step", ylabel="on held-out pairs (dotted: chance)", ylim=(0, 1.02))
    right.set(xlabel="step", ylabel="scale of the logits, exp(logit_scale)", ylim=(0, None))
    if default:
        right.plot([], [], "lightgray", label="the default run")
        right.legend(fontsize=8, loc="lower right")
    return figure


def curve(history, name):
    """What each row of a history has under this name -> steps, values."""
    steps = [row["step"] for row in history]
    values = [row[name] for row in history]
    return steps, values


def accuracy_curve(history, name):
    """The accuracy of this name, which only some rows of a history have -> steps, values."""
    steps = []
    values = []
    for row in history:
        accuracy = row.get("accuracy", {})
        if name in accuracy:
            steps.append(row["step"])
            values.append(accuracy[name])
    return steps, values


def draw_similarity(model, tokenizer, images, captions):
    """Cosine similarities of n captions with their n images, true pairs on the diagonal, as in Figure 1 (1)."""
    text_features = zeroshot.encode_texts(model, tokenizer, captions, truncate=True)
    image_features = zeroshot.encode_images(model, images)
    cosines = (text_features @ image_features.T).cpu().numpy()  # (n, n)
    n = len(captions)
    middle = (cosines.min() + cosines.max()) / 2
    figure = Figure(figsize=(0.62 * n + 3.2, 0.62 * n + 0.9))
    axis = figure.add_subplot()
    axis.imshow(cosines, cmap="viridis", extent=(0, n, n, 0))
    for (i, j), cosine in np.ndenumerate(cosines):
        colour = "white" if cosine < middle else "black"
        text = f"{cosine:.2f}".replace("0.", ".")
        axis.text(j + 0.5, i + 0.5, text, ha="center", va="center", fontsize=7, color=colour)
    pictures = zeroshot.levels(images, model.config.image_mean, model.config.image_std)
    # the images, in a row above the matrix: y from -1 to 0
    for j, image in enumerate(pictures):
        axis.imshow(image, extent=(j + 0.04, j + 0.96, -0.04, -0.96))
    axis.set(xlim=(0, n), ylim=(n, -1), xticks=[], yticks=np.arange(n) + 0.5)
    labels = [textwrap.fill(caption, 44, max_lines=2) for caption in captions]
    axis.set_yticklabels(labels, fontsize=8, parse_math=False)
    return figure


# ---- Command line --------------------------------------------------------------------------------


def new_parser():
    """The parser of the command line."""
    description = __doc__.split("\n\nLetters")[0]  # all but the letters of shape comments
    parser = argparse.ArgumentParser(prog="train_tiny.py", description=description,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--show", action="store_true", help="draw held-out images with full captions, and stop")
    add("--demo", action="store_true", help="show the trained model on freshly drawn scenes, and stop")
    add("--resume", action="store_true", help="go on with the interrupted run in --out; its settings hold,"
                                               " but --data may say where its folder is now")
    add("--data", metavar="DIR", help="train on the captioned images of this folder (tutorial/extras/own_images.py)")
    add("--captions-from-names", action="store_true", help="with --data: file and folder names are the captions")
    add("--out", default="runs/tiny", metavar="DIR",
        help="where results go (default: %(default)s). If a run with the same settings is there, it is begun anew:"
             " nothing is lost, as it would end the same. One with other settings stays, unless --force is given")
    add("--force", action="store_true", help="replace what is in --out, whatever it is")
    add("--model", default="tiny-RN", choices=CONFIGS, help="from scratch (default: %(default)s)")
    add("--init", metavar="CKPT", help="or from the weights of a published model (ViT-B/32, ...) or of a file")
    add("--freeze", choices=["image", "text"], help="with --init: leave this encoder as it is")
    add("--optimizer", choices=["muon", "adamw"], help="adamw is the paper's (default: muon, with --init adamw)")
    add("--steps", type=int,
        help=f"default: {STEPS['tiny-RN']}, tiny-ViT {STEPS['tiny-ViT']}, with adamw {STEPS_OF_ADAMW}")
    add("--batch-size", type=int, default=256, help="pairs in a step (default: %(default)s)")
    add("--lr", type=float, help="the highest, of the image encoder, for AdamW; Muon has five times as much"
                                 " (default: 5e-3, with --init 1e-5)")
    add("--weight-decay", type=float,
        help=f"default: {WEIGHT_DECAY['tiny-RN']}, tiny-ViT {WEIGHT_DECAY['tiny-ViT']}")
    add("--warmup", type=int, default=50, metavar="STEPS", help="default: %(default)s")
    add("--seed", type=int, default=0, help="of the weights and of the data (default: %(default)s)")
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="default here: %(default)s")
    add("--precision", choices=["float32", "bfloat16", "tf32", "float16"], default="float32",
        help="of the encoders (default: %(default)s); the last two are of tutorial/extras/large_batches.py")
    add("--fast", action="store_true", help="the same but for rounding, in less time (tutorial/extras/fast.py)")
    large = parser.add_argument_group("large batches", "These options, and several processes (torchrun"
                                      " --nproc_per_node=2 train_tiny.py), use tutorial/extras/large_batches.py.")
    large.add_argument("--micro-batch", type=int, metavar="N", help="run encoders on N pairs at a time: less memory")
    large.add_argument("--checkpointing", action="store_true", help="recompute activations: less memory, more time")
    large.add_argument("--compile", action="store_true", help="torch.compile: a slow start, then faster on a GPU")
    return parser


def parse(argv):
    """The command line's options; in args.given those of the settings that were not left to their defaults."""
    parser = new_parser()
    args = parser.parse_args(argv)
    # Which settings did the user give? argparse puts in a default only where an option is missing. So with a
    # namespace that has None for each option, what is None in the end was not given.
    without_defaults = argparse.Namespace(**dict.fromkeys(vars(args)))
    given = settings_of(parser.parse_args(argv, without_defaults))
    args.given = {name: value for name, value in given.items() if value is not None}
    # defaults that depend on other options
    if args.lr is None:
        args.lr = 1e-5 if args.init else 5e-3
    if args.optimizer is None:
        args.optimizer = "adamw" if args.init else "muon"
    if args.steps is None:
        args.steps = STEPS.get(args.model, STEPS["tiny-RN"])
        if args.optimizer == "adamw":
            args.steps = STEPS_OF_ADAMW
    if args.weight_decay is None:
        args.weight_decay = WEIGHT_DECAY.get(args.model, WEIGHT_DECAY["tiny-RN"])
    # what can't be
    numbers = [args.steps, args.batch_size]
    if args.micro_batch is not None:
        numbers.append(args.micro_batch)
    if min(numbers) < 2:
        parser.error("--steps, --batch-size and --micro-batch must be at least 2")
    for name in ("data", "init", "out"):
        if getattr(args, name) == "":
            parser.error(f'--{name} "" names nothing')  # a shell makes that of a variable that is not set
    if args.captions_from_names and not args.data:
        parser.error("--captions-from-names needs --data")
    if args.freeze and not args.init:
        parser.error("--freeze needs --init")
    if args.fast and args.checkpointing:
        parser.error("--fast and --checkpointing can't be used together")
    return args


def main(argv=None):
    """The command line. Exit status 2, and one line on standard error, if something is wrong with the input."""
    print_anything()
    args = parse(argv)
    out = Path(args.out)
    try:
        zeroshot.check_device(args.device)
        state = None
        if args.resume:
            state = restore(out, "cpu")  # `train` copies it to the model's device
            take_settings(args, state)
        if args.demo:
            demo(out, args.device, args.force)
        elif needs_large_batches(args):
            from tutorial.extras.large_batches import run_large
            run_large(args, state)
        else:
            run(args, state)
    except (ValueError, OSError) as error:
        print(f"train_tiny.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\nstopped; {what_is_left(args, EVERY)}", file=sys.stderr)
        return 130
    finally:
        torch.set_float32_matmul_precision("highest")  # PyTorch's default; `run` may have changed it
    return 0


def needs_large_batches(args):
    """Whether something is asked for that is not in this file's training loop."""
    other_precision = args.precision in ("tf32", "float16")
    return bool(count_processes() > 1 or args.micro_batch or args.checkpointing or args.compile or other_precision)


def count_processes():
    """How many processes train together: one, unless torchrun has started more."""
    return int(os.environ.get("WORLD_SIZE", 1))


def run(args, state=None, train_function=None):
    """Train with these options, from the beginning or from a state, and leave the results in --out.

    `train_function` is called in the place of `train`. Of several processes, only the first gets a
    history from it, and writes the results.
    """
    out = Path(args.out)
    config, tokenizer, weights = what_to_begin_with(args, state)
    data = make_data(args, config)
    args.batch_size = fitting_batch_size(args, data)
    out.mkdir(parents=True, exist_ok=True)
    if args.show:
        show(out, data, config, args.force)
        return
    # is there anything that must not be replaced, or that has changed?
    settings = settings_of(args)  # which are in the log and in each state
    if state is None:
        check_place(out, settings, args.force, EVERY)
    texts = data.texts()
    data_key = key_of_data(texts)
    if state is not None and state["data"] != data_key:
        raise ValueError(f"the data have changed since the run began: {data_key}, and there were {state['data']}")
    # tokenizer and model
    if tokenizer is None:
        tokenizer = Tokenizer.train(texts, config.vocab_size)
        config = dataclasses.replace(config, vocab_size=len(tokenizer.vocab))
    model = make_model(args, config, weights)
    print(describe(args, model, tokenizer, texts), flush=True)
    # train
    of_run = {"settings": settings, "given": args.given, "merges": tokenizer.merges,
              "config": dataclasses.asdict(config), "data": data_key}

    def keep(latest):
        keep_state(out, {**latest, **of_run})
        write_log(out, settings, latest["history"])

    started = time.time()
    train_function = train_function or train
    history = train_function(data, model, tokenizer, state=state, keep=keep, **training_options(args))
    if history is None:
        return
    since = " since it was resumed" if args.resume else ""
    print(f"trained in {(time.time() - started) / 60:.1f} minutes{since}\n")
    leave_results(args, data, model, tokenizer, history)


def what_to_begin_with(args, state):
    """-> configuration, tokenizer and weights: of a state, of the model of --init, or of a new model.

    The weights of a state are left to `train`. Of a new model the tokenizer and the weights are None.
    """
    if state is not None:
        return CLIPConfig(**state["config"]), Tokenizer(state["merges"]), None
    if args.init:
        source, tokenizer = zeroshot.load_model(args.init)
        return source.config, tokenizer, source.state_dict()
    return CONFIGS[args.model], None, None


def make_data(args, config):
    """The pictures of --data, or the pictogram world, as the model of this configuration wants them."""
    if args.data:
        from tutorial.extras.own_images import Folder
        memory = 2e9 / count_processes()  # bytes of pictures to keep, in each process
        return Folder(args.data, config.image_resolution, args.seed, args.device, args.captions_from_names, memory,
                      mean=config.image_mean, std=config.image_std)
    shares = NAMES.get(args.model, NAMES["tiny-RN"])
    return World(args.seed, args.device, config.image_resolution, config.image_mean, config.image_std,
                 args.steps, shares)


def fitting_batch_size(args, data):
    """--batch-size, but no more than there are pictures, and an equal share for each process."""
    batch_size = args.batch_size
    if args.data:
        batch_size = min(batch_size, len(data.train))
    share = max(1, batch_size // count_processes())
    return share * count_processes()


def key_of_data(texts):
    """What tells whether the captions are those that a run began with."""
    checksum = zlib.crc32(repr(texts).encode())
    return f"{len(texts)} captions with checksum {checksum:08x}"


def make_model(args, config, weights):
    """A model to train: with these weights, or random ones where they are None."""
    torch.manual_seed(args.seed)
    model = CLIP(config)
    if weights is not None:
        model.load_state_dict(weights)
    model.to(args.device, memory_format=torch.channels_last)
    freeze(model, args.freeze)
    if args.fast:
        from tutorial.extras.fast import accelerate
        accelerate(model)
    if args.device == "cpu":
        # Lets PyTorch multiply float32 matrices with oneDNN, which is up to twice as quick as MKL. (Processors
        # with AMX units round the factors to bfloat16 then.) `main` takes it back.
        torch.set_float32_matmul_precision("medium")
    return model


def training_options(args):
    """What `train` is told of the command line's options."""
    return {
        "steps": args.steps,
        "batch_size": args.batch_size,
        "lr": args.lr,
        "weight_decay": args.weight_decay,
        "warmup": args.warmup,
        "text_lr": 1.0 if args.init else TEXT_LR,  # encoders that are trained already can keep up with each other
        "muon": args.optimizer == "muon",
        "bfloat16": args.precision == "bfloat16",
        "every": EVERY,
    }


def keep_state(out, state):
    """Keep the state of a run, from which --resume goes on, and the one before it.

    It is written under another name and then renamed, so that whenever the program is stopped one of the
    two is whole. The first state of a run replaces both states of an earlier run in the same place.
    """
    write(out / "state.new.pt", lambda file: torch.save(state, file))
    is_first = len(state["history"]) == 1
    if is_first:
        # state.pt, if there is one, is an earlier run's; it is replaced below
        (out / "state.before.pt").unlink(missing_ok=True)
    elif (out / "state.pt").exists():
        os.replace(out / "state.pt", out / "state.before.pt")
    os.replace(out / "state.new.pt", out / "state.pt")


def leave_results(args, data, model, tokenizer, history):
    """Measure the trained model, print what it reaches, and leave it in --out, with the log and figures."""
    out = Path(args.out)
    save(out / "clip.pt", model, tokenizer)
    results = data.evaluate(model, tokenizer)
    default_history = []
    default_results = {}
    if not args.data:
        default_history, default_results = read_default_run()
    print("on held-out pairs, never seen in training:")
    for name, (value, chance) in results.items():
        line = f"  {name:20}{value:7.1%}   chance {chance:.1%}"
        if name in default_results:
            default, _ = default_results[name]
            line += f"   default run {default:.1%} ({100 * (value - default):+.1f})"
        print(line)
    write_log(out, settings_of(args), [*history, {"results": results}])
    # figures
    curves = draw_curves(history, args.batch_size, results, default_history)
    save_figure(curves, out / "curves.png", dpi=120)
    images, captions = data.examples(12)
    similarity = draw_similarity(model, tokenizer, images, captions)
    save_figure(similarity, out / "similarity.png", dpi=120, bbox_inches="tight")
    # what to do with it
    command = f"python train_tiny.py --demo --out {out}"
    if args.data:
        command = f"python zeroshot.py IMAGE --labels TEXT --model {out}/clip.pt"
    print(f"\nin {out}: clip.pt, log.jsonl, curves.png, similarity.png; next: {command}")


def freeze(model, encoder):
    """Take one encoder, "image" or "text", out of the training; None: neither. The scale is always trained."""
    for name, parameter in model.named_parameters():
        of_image_encoder = name.startswith("visual.")
        if name == "logit_scale":
            continue
        if encoder == "image" and of_image_encoder:
            parameter.requires_grad_(False)
        if encoder == "text" and not of_image_encoder:
            parameter.requires_grad_(False)


def describe(args, model, tokenizer, texts):
    """What is going to be trained, in one line, and how many captions are too long, if any are."""
    image_parameters = sum(p.numel() for p in model.visual.parameters())
    text_parameters = sum(p.numel() for p in model.parameters()) - image_parameters
    lengths = [len(tokenizer.encode(text)) + 2 for text in texts]  # with start and end
    context = model.config.context_length
    cut = sum(length > context for length in lengths)
    line = (f"{args.init or args.model} on {args.device}, seed {args.seed}: image encoder {image_parameters / 1e6:.2f}M"
            f" parameters, text encoder {text_parameters / 1e6:.2f}M, {args.freeze or 'no'} encoder frozen;"
            f" vocabulary {len(tokenizer.vocab)}, longest caption {max(lengths)} tokens; batches of {args.batch_size};"
            f" torch {torch.__version__}, {torch.get_num_threads()} threads")
    if cut:
        line += f"\n{cut} of {len(texts)} captions are longer than the context of {context} tokens and are cut"
    return line


def show(out, data, config, force=False):
    """Draw a contact sheet of held-out images with captions that tell everything."""
    path = figure_path(out / "show.png", force)
    images, captions = data.examples(48)
    pictures = zeroshot.levels(images, config.image_mean, config.image_std)
    save_figure(zeroshot.draw_sheet(pictures, captions), path, dpi=120)
    print(f"drawn into {path}")


def demo(out, device, force=False):
    """Freshly drawn held-out scenes against every "a <colour> <object>": print and draw the most probable labels."""
    path = figure_path(out / "demo.png", force)
    model, tokenizer = load(out / "clip.pt", device)
    config = model.config
    world = World(int(time.time()), device, config.image_resolution, config.image_mean, config.image_std)
    images, captions = world.examples(9, "single")
    labels = []
    for colour in COLOURS:
        for name in OBJECTS:
            labels.append(article(f"{colour} {name}"))
    weights = zeroshot.zero_shot_classifier(model, tokenizer, labels)
    features = zeroshot.encode_images(model, images)
    probabilities = zeroshot.classify(model, features, weights).cpu()  # (9, labels)
    print(f"{len(labels)} labels; no pair of colour and object below was ever seen in training")
    for caption, row in zip(captions, probabilities):
        best = row.argmax()
        print(f"  {caption:45} ->  {row[best]:5.1%} {labels[best]}")
    pictures = zeroshot.levels(images, config.image_mean, config.image_std)
    figure = zeroshot.draw_probabilities(pictures, captions, labels, probabilities)
    save_figure(figure, path, dpi=150)
    print(f"drawn into {path}")


if __name__ == "__main__":
    sys.exit(main())
