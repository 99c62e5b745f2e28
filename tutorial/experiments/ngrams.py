"""Table 1: Visual N-Grams (Li et al. 2017), which predict the phrases of a caption, against zero-shot CLIP.

Image features score a dictionary of n-grams. What word comes next is a softmax over the n-grams that go on from the
words before it, smoothed by Jelinek and Mercer's interpolation with that of fewer words before: differentiable, so that
the image encoder learns through it. A class is as likely as its name.
"""
import math
from collections import Counter

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import nn

from clip_minimal import CONFIGS, ModifiedResNet
from common import BLUE, GREY, ORANGE, zero_shot
from lab import begin, fit
from tasks import TASKS, examples
from train_tiny import World

LONGEST, LEAST = 5, 5  # words of an n-gram; how often it occurs in the captions from which the dictionary is made
WEIGHT = 0.2  # of what the longer beginning says; the shorter ones have the rest
STEPS = 850  # of 256 images: half of what CLIP sees
TABLE = {"ten objects": ("aYahoo", 72.4, 98.4), "objects": ("ImageNet", 11.5, 76.2), "scenery": ("SUN", 23.0, 58.5)}
NONE, NO_BEGINNING = -1, -2


def split(text):
    """"on the beach, a sun" -> its five words."""
    return text.replace(",", " ").split()


def dictionary(texts, least=LEAST):
    """-> {n-gram, a tuple of one to five words: its number}, of those that occur so often."""
    counts = Counter(tuple(words[i:i + n]) for words in map(split, texts) for n in range(1, LONGEST + 1)
                     for i in range(len(words) - n + 1))
    return {ngram: row for row, ngram in enumerate(ngram for ngram, count in counts.items() if count >= least)}


def places(texts, ngrams):
    """-> numbers (B, T, 5) of the n-grams of one to five words that end at each word; NONE where the dictionary has
    others that begin so, NO_BEGINNING where it has none, or the text has not so many words, or ends before."""
    beginnings, texts = {ngram[:-1] for ngram in ngrams}, [split(text) for text in texts]
    table = np.full((len(texts), max(map(len, texts)), LONGEST), NO_BEGINNING)
    for row, words in zip(table, texts):
        for i in range(len(words)):
            for n in range(min(i + 1, LONGEST)):
                ngram = tuple(words[i - n:i + 1])
                row[i, n] = ngrams.get(ngram, NONE if ngram[:-1] in beginnings else NO_BEGINNING)
    return torch.from_numpy(table)


class VisualNGrams(nn.Module):
    """An image encoder, and an embedding for each n-gram of a dictionary."""

    def __init__(self, config, ngrams):
        super().__init__()
        self.visual = ModifiedResNet(config)
        self.embedding = nn.Parameter(torch.randn(len(ngrams), config.embed_dim) * config.embed_dim ** -0.5)
        numbers = {}
        self.beginning = torch.tensor([numbers.setdefault(ngram[:-1], len(numbers)) for ngram in ngrams])  # (D,)

    def probabilities(self, images):
        """Images (B, 3, R, R) -> (B, D): of an n-gram's last word behind its others, by the dictionary alone."""
        scores = self.visual(images) @ self.embedding.T  # (B, D)
        index = self.beginning.expand_as(scores)
        shape = len(scores), int(self.beginning.max()) + 1
        top = torch.full(shape, -math.inf).scatter_reduce(1, index, scores.detach(), "amax").gather(1, index)  # (B, D)
        weights = (scores - top).exp()
        return weights / torch.zeros(shape).scatter_add(1, index, weights).gather(1, index)

    def forward(self, images, table):
        """Images (B, 3, R, R), places (B, T, 5) -> smoothed probabilities (B, T) of each word behind those before it; 1
        behind a text's end, 0 for a word that is not in the dictionary."""
        return smooth(self.probabilities(images).gather(1, table.flatten(1).clamp(min=0)).view(table.shape), table)


def smooth(seen, table):
    """Probabilities by the dictionary behind no word, one, ... four (..., 5) and places -> interpolated (...)."""
    seen, p = seen.masked_fill(table == NONE, 0), torch.ones(table.shape[:-1])
    for n in range(LONGEST):
        longer = WEIGHT * seen[..., n] + (1 - WEIGHT) * p if n else seen[..., 0]
        p = torch.where(table[..., n] == NO_BEGINNING, p, longer)
    return p


def ngram_model(lab, seed):
    """-> (the model, trained unless it is there already; its dictionary)."""
    steps = max(2, round(STEPS * lab.budget))
    ngrams = dictionary(World(seed).texts())
    world, _, model = begin(seed, CONFIGS["tiny-RN"], steps, lambda config: VisualNGrams(config, ngrams))

    def loss(step):
        images, captions = world.batch(step, lab.batch())
        table = places(captions, ngrams)
        told = table[..., 0] >= 0  # (B, T), words of the dictionary
        return -model(images.contiguous(memory_format=torch.channels_last), table)[told].log().mean()

    print(f"Visual N-Grams, seed {seed}, {len(ngrams)} n-grams", flush=True)
    return lab.trained(f"ngrams-{steps}-{seed}", model, lambda model: fit(model, loss, steps, text_lr=1)), ngrams


@torch.no_grad()
def classify(model, ngrams, images, classes):
    """-> log-likelihoods (B, N) of the classes' names."""
    table, seen = places(classes, ngrams), model.probabilities(images)  # (N, T, 5), (B, D)
    return torch.stack([smooth(row[table.clamp(min=0)], table).log().sum(dim=1) for row in seen])


def measure(lab):
    """-> a row for each of three tasks, model and seed."""
    rows = []
    for seed in lab.seeds:
        (clip, tokenizer), (model, ngrams) = lab.clip(seed), ngram_model(lab, seed)
        for name in TABLE:
            task, (images, labels) = TASKS[name], examples(name, "test", lab.size(name, "test"))
            scores = torch.cat([classify(model, ngrams, some, task.classes) for some in images.split(250)])
            for kind, value in (("Visual N-Grams", task.metric(scores, labels)),
                                ("CLIP", zero_shot(clip, tokenizer, name, images, labels))):
                rows.append({"task": name, "model": kind, "seed": seed, "accuracy": value, "chance": task.chance()})
    return rows


def draw(rows):
    """Bars: means of the seeds, dots; stars: the paper's on the dataset that a task stands for."""
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axis = figure.subplots()
    for k, (kind, colour) in enumerate((("Visual N-Grams", GREY), ("CLIP", BLUE))):
        for i, (name, paper) in enumerate(TABLE.items()):
            values = [100 * row["accuracy"] for row in rows if (row["task"], row["model"]) == (name, kind)]
            at, first = i + 0.4 * k - 0.2, i == k == 0
            axis.bar(at, np.mean(values), 0.36, color=colour, label=None if i else f"{kind}, zero-shot")
            axis.text(at, 0.65 * np.mean(values), f"{np.mean(values):.1f}", ha="center", color="white", weight="bold")
            axis.plot([at] * len(values), values, "k.", label="a seed" if first else None)
            axis.plot(at, paper[1 + k], "*", color=ORANGE, markersize=12,
                      label="the paper (Table 1)" if first else None)
            chance = 100 * next(row["chance"] for row in rows if row["task"] == name)
            axis.plot([at - 0.18, at + 0.18], [chance] * 2, "k:", label="chance" if first else None)
    axis.set_xticks(range(len(TABLE)), [f"{name}, {len(TASKS[name].classes)} classes\n(the paper: {other})"
                                        for name, (other, _, _) in TABLE.items()])
    axis.set(ylabel="accuracy (%)", ylim=(0, 101), title=f"{len({row['seed'] for row in rows})} seeds")
    figure.legend(fontsize=8, loc="outside right upper")
    return figure
