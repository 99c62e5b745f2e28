"""Eight tiny models over two orders of magnitude of operations per image, for Figures 9 and 10.

They are trained on the web, with Muon, for equally many steps. The paper searched for hyperparameters
with RN50 and adapted them to larger models by rules of thumb (Section 2.5). Here each model gets the
best of three learning rates in a short search, with a seed that is used for nothing else.
"""
from dataclasses import replace
from functools import cache

import numpy as np
import torch

from clip_minimal import CLIP, CONFIGS, Tokenizer
from flops import flops
from tasks import TASKS
from train_tiny import WEIGHT_DECAY, train
from tutorial.extras.fast import accelerate
from web import Web

STEPS = 550  # of 256 pairs, for each of them
RATES = [2.5e-3, 5e-3, 1e-2]  # learning rates that are tried
SEARCH_STEPS = 100  # for each of these
SEARCH_SEED = 9


def tiny(layers, width, patch=None):
    """A model of 48 x 48 pixels -> CLIPConfig. Without a patch size it is a ResNet, with one a vision transformer.

    The text encoder is smaller than train_tiny.py's, so that most of the time goes into the image encoder.
    """
    return replace(CONFIGS["tiny-RN"], vision_layers=layers, vision_width=width, vision_patch_size=patch,
                   transformer_layers=1, transformer_width=64)


# In the paper's two series (Tables 19 and 20) models grow in width, depth and resolution, or in the number
# of patches. Here ResNets grow in width, the largest in depth as well, and all models see 48 x 48 pixels,
# the size of the tasks' pictures. Names tell width and patch size. The smallest transformer has two layers,
# the others three.
MODELS = {
    "RN-2": tiny((1, 1, 1, 1), 2),
    "RN-4": tiny((1, 1, 1, 1), 4),
    "RN-8": tiny((1, 1, 1, 1), 8),
    "RN-16": tiny((1, 1, 1, 1), 16),
    "RN-24": tiny((1, 1, 2, 1), 24),
    "ViT-64/16": tiny(2, 64, 16),
    "ViT-64/8": tiny(3, 64, 8),
    "ViT-128/8": tiny(3, 128, 8),
}


def resnet(name):
    """Whether the model of this name is a ResNet, not a vision transformer."""
    return MODELS[name].vision_patch_size is None


def megaflops(config):
    """Million operations of the image encoder for an image, a multiply-add being two."""
    of_image, _ = flops(config)
    return of_image / 1e6


def some_models(lab):
    """Names of the models that the budget pays for: all from 0.32 on, the three smallest at 0.02; never less than two."""
    most = 150 * lab.budget  # million operations
    names = [name for name, config in MODELS.items() if megaflops(config) <= most]
    return names if len(names) > 1 else list(MODELS)[:2]


def some_tasks(lab):
    """Names of the tasks that they are tried on: all from a budget of 0.07 on, below it fewer."""
    every = max(1, round(0.1 / lab.budget))
    return list(TASKS)[::every]


class Unmeasured(Web):
    """The web without its evaluation, which takes time: these models are measured on the tasks."""

    def evaluate(self, model, tokenizer, n):
        """Nothing."""
        return {}


@cache
def make_tokenizer(seed):
    """The tokenizer that is learned from the web with this seed."""
    texts = Web(seed).texts()
    return Tokenizer.train(texts, CONFIGS["tiny-RN"].vocab_size)


def fresh(seed, name):
    """The untrained model of this name -> (model, tokenizer)."""
    tokenizer = make_tokenizer(seed)
    torch.manual_seed(seed)
    config = replace(MODELS[name], vocab_size=len(tokenizer.vocab))
    model = CLIP(config).to(memory_format=torch.channels_last)
    return model, tokenizer


def fit(lab, data, model, tokenizer, steps, lr):
    """Train for the budget's share of the steps -> history, as train_tiny.train gives it."""
    steps = max(2, round(steps * lab.budget))
    warmup = min(50, steps // 10)
    model.to(lab.device)
    kind = "tiny-ViT" if model.config.vision_patch_size else "tiny-RN"
    return train(data, model, tokenizer, steps, lab.batch(), lr, WEIGHT_DECAY[kind], warmup)


def best_rate(lab, name):
    """Of RATES the one with which the model of this name has the lowest loss after a short training."""
    def measure():
        losses = []
        for lr in RATES:
            print(f"{name}: trying a rate of {lr:g}", flush=True)
            model, tokenizer = fresh(SEARCH_SEED, name)
            history = fit(lab, Unmeasured(SEARCH_SEED, lab.device), model, tokenizer, SEARCH_STEPS, lr)
            losses.append(history[-1]["loss"])
        best = int(np.argmin(losses))
        return RATES[best]

    return lab.remember(["rates over sizes", SEARCH_STEPS, RATES, repr(MODELS[name])], measure)


def clip(lab, seed, name, exponent=1.0):
    """The model of this name -> (quick model, tokenizer). It is trained when it is first asked for.

    With an exponent of 0 it is trained on a web in which all things are equally frequent (but for twenty
    that stand in the place of words too small to read). Rate and tokenizer are those of the usual web.
    """
    lr = best_rate(lab, name)
    model, tokenizer = fresh(seed, name)

    def train_function(model):
        print(f"{name}, exponent {exponent:g}, seed {seed}", flush=True)
        fit(lab, Unmeasured(seed, lab.device, exponent=exponent), model, tokenizer, STEPS, lr)

    file_name = name.replace("/", "-")
    key = f"web-{file_name}-{exponent:g}-{STEPS}-{lr:g}-{seed}"
    model = lab.trained(key, model, train_function)
    return accelerate(model), tokenizer
