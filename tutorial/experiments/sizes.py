"""Eight tiny models over two orders of magnitude of operations per image, for Figures 4, 9 and 10."""
from dataclasses import replace

from clip_minimal import CONFIGS
from common import begin
from flops import flops
from tasks import TASKS
from train_tiny import World, train
from tutorial.extras.fast import accelerate

STEPS = 1700  # of 256 pairs, for each of them, as in train_tiny.py


def tiny(layers, width, patch=None):
    """A model of 48 x 48 pixels with the text encoder of train_tiny.py -> CLIPConfig."""
    return replace(CONFIGS["tiny-RN"], vision_layers=layers, vision_width=width, vision_patch_size=patch)


# In the paper's two series (Tables 19 and 20) width, depth, and resolution or number of patches grow together; here all
# see 48 x 48 pixels, as the tasks are drawn so. Names tell width and patch.
MODELS = {
    "RN-2": tiny((1, 1, 1, 1), 2),
    "RN-4": tiny((1, 1, 1, 1), 4),
    "RN-8": tiny((1, 1, 1, 1), 8),
    "RN-16": tiny((1, 1, 1, 1), 16),
    "RN-24": tiny((1, 1, 2, 1), 24),
    "ViT-64/16": tiny(2, 64, 16),
    "ViT-128/12": tiny(4, 128, 12),
    "ViT-192/12": tiny(4, 192, 12),
}


def resnet(name):
    """Whether a model of this name is one, and no vision transformer."""
    return MODELS[name].vision_patch_size is None


def megaflops(config):
    """Million operations for an image, a multiply-add being two."""
    return flops(config)[0] / 1e6


def some_models(lab):
    """Names of models: all but on a budget below 0.43, which pays for the smaller ones alone, on 0.02 for three."""
    return [name for name, config in MODELS.items() if megaflops(config) <= 150 * lab.budget]


def some_tasks(lab):
    """Names of the tasks they are tried on: all but on a budget below 0.07."""
    return list(TASKS)[::max(1, round(0.1 / lab.budget))]


class Unmeasured(World):
    """The world without its evaluation, as the tasks measure these models."""

    def evaluate(self, model, tokenizer, n):
        return {}


def clip(lab, seed, name):
    """The model of this name, trained unless it is there already -> (quick model, tokenizer).

    RN-16 is the default of train_tiny.py; vision transformers get half its learning rate, see --lr there.
    """
    if MODELS[name] == CONFIGS["tiny-RN"]:
        return lab.clip(seed)
    steps = max(2, round(STEPS * lab.budget))
    data, tokenizer, model = begin(seed, MODELS[name], steps, data=Unmeasured(seed))

    def train_function(model):
        print(f"{name}: {megaflops(MODELS[name]):.1f} million operations for an image", flush=True)
        lr = 4e-3 if resnet(name) else 2e-3
        train(data, model, tokenizer, steps, lab.batch(), lr, warmup=min(50, steps // 10), muon=False)

    model = lab.trained(f"clip-{name.replace('/', '-')}-{steps}-{seed}", model, train_function)
    return accelerate(model), tokenizer
