"""Eight tiny models over two orders of magnitude of operations per image, for Figures 4, 9 and 10."""
from dataclasses import replace

from clip_minimal import CONFIGS
from lab import begin
from flops import flops
from tasks import TASKS
from train_tiny import World, train
from tutorial.extras.fast import accelerate

STEPS = 1700  # of 256 pairs, for each of them, as in train_tiny.py


def tiny(layers, width, patch=None):
    """A model of 48 x 48 pixels with the text encoder of train_tiny.py -> CLIPConfig.

    Without a patch size it is a ResNet, with one a vision transformer.
    """
    return replace(CONFIGS["tiny-RN"], vision_layers=layers, vision_width=width, vision_patch_size=patch)


# In the paper's two series (Tables 19 and 20) width and depth grow together, and with them the resolution
# or the number of patches. Here all models see 48 x 48 pixels, the size of the tasks' pictures. Names tell
# width and patch size.
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
    """Whether the model of this name is a ResNet, not a vision transformer."""
    return MODELS[name].vision_patch_size is None


def megaflops(config):
    """Million operations of the image encoder for an image, a multiply-add being two."""
    of_image, _ = flops(config)
    return of_image / 1e6


def some_models(lab):
    """Names of the models that the budget pays for: all from 0.43 on, the three smallest at 0.02."""
    most = 150 * lab.budget  # million operations
    return [name for name, config in MODELS.items() if megaflops(config) <= most]


def some_tasks(lab):
    """Names of the tasks that they are tried on: all from a budget of 0.07 on, below it fewer."""
    every = max(1, round(0.1 / lab.budget))
    return list(TASKS)[::every]


class Unmeasured(World):
    """The world without its evaluation, which takes time: these models are measured on the tasks."""

    def evaluate(self, model, tokenizer, n):
        return {}


def clip(lab, seed, name):
    """The model of this name -> (quick model, tokenizer). It is trained when it is first asked for.

    RN-16 is the default of train_tiny.py. Vision transformers get half its learning rate, see --lr there.
    """
    config = MODELS[name]
    if config == CONFIGS["tiny-RN"]:
        return lab.clip(seed)
    steps = max(2, round(STEPS * lab.budget))
    data, tokenizer, model = begin(seed, config, steps, data=Unmeasured(seed))

    def train_function(model):
        print(f"{name}: {megaflops(config):.1f} million operations for an image", flush=True)
        lr = 4e-3 if resnet(name) else 2e-3
        warmup = min(50, steps // 10)
        train(data, model, tokenizer, steps, lab.batch(), lr, warmup=warmup, muon=False)

    file_name = name.replace("/", "-")
    model = lab.trained(f"clip-{file_name}-{steps}-{seed}", model, train_function)
    return accelerate(model), tokenizer
