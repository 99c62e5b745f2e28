"""Eight tiny models over two orders of magnitude of operations per image, for Figures 4, 9 and 10."""
from dataclasses import replace

import zeroshot
from clip_minimal import CONFIGS
from common import begin
from flops import flops
from tasks import TASKS
from train_tiny import train

STEPS = 600  # of 256 pairs, for each of them


def tiny(layers, width, patch=None):
    """A model of 48 x 48 pixels with the text encoder of train_tiny.py -> CLIPConfig."""
    return replace(CONFIGS["tiny-RN"], vision_layers=layers, vision_width=width, vision_patch_size=patch)


# In the paper's two series (Tables 19 and 20) width, depth, and resolution or number of patches grow together; here all
# see 48 x 48 pixels, as the tasks are drawn so. Names tell width and patch.
MODELS = {
    "RN-4": tiny((1, 1, 1, 1), 4),
    "RN-8": tiny((1, 1, 1, 1), 8),
    "RN-16": tiny((1, 1, 1, 1), 16),
    "RN-24": tiny((1, 1, 2, 1), 24),
    "RN-40": tiny((1, 2, 4, 2), 40),
    "ViT-64/16": tiny(2, 64, 16),
    "ViT-128/12": tiny(4, 128, 12),
    "ViT-192/8": tiny(4, 192, 8),
}


def resnet(name):
    """Whether a model of this name is one, and no vision transformer."""
    return MODELS[name].vision_patch_size is None


def megaflops(config):
    """Million operations for an image, a multiply-add being two."""
    return flops(config)[0] / 1e6


def some_models(lab):
    """Names of models: all but on a budget below 0.6, which pays for the smaller ones alone, on 0.02 for three."""
    return [name for name, config in MODELS.items() if megaflops(config) <= 250 * lab.budget]


def some_tasks(lab):
    """Names of the tasks they are tried on: all but on a budget below 0.07."""
    return list(TASKS)[::max(1, round(0.1 / lab.budget))]


def clip(lab, seed, name):
    """The model of this name, trained unless it is there already -> (fused model, tokenizer). Vision transformers get
    half the learning rate, as in README.md. On a small budget batches are smaller, too."""
    steps, batch_size = max(2, round(STEPS * lab.budget)), min(256, max(8, round(1000 * lab.budget)))
    data, tokenizer, model = begin(seed, MODELS[name], steps)
    data.evaluate = lambda *_: {}  # tasks measure it

    def fit(model):
        print(f"{name}: {megaflops(MODELS[name]):.1f} million operations for an image", flush=True)
        train(data, model, tokenizer, steps, batch_size, 4e-3 if resnet(name) else 2e-3, warmup=min(50, steps // 10))

    model = lab.trained(f"clip-{name.replace('/', '-')}-{steps}-{seed}", model, fit)
    return zeroshot.fuse(model), tokenizer
