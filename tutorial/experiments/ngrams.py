"""Table 1: Visual N-Grams (Li et al. 2017), which predict the phrases of a caption, against zero-shot CLIP.

The paper compares both on aYahoo, ImageNet and SUN, and says itself that the comparison is not a fair one: CLIP had
ten times the data, and a hundred times the computation for each prediction (Section 3.1.3). Here three tasks
stand for the three datasets, and both models see the same: the same pictures and captions of the web in the
same order, as seed s of one is paired with seed s of the other, for as many steps of the same optimizer, by an
image encoder of the same shape.

Image features score a dictionary of n-grams. What word comes next is a softmax over the n-grams that go on from
the words before it, smoothed by Jelinek and Mercer's interpolation with that of fewer words before. That can
be differentiated, so that the image encoder learns through it. A class is as likely as its name.

Letters in shape comments: B images, T words of the longest caption, D n-grams, N classes, R resolution.
"""
import math
from collections import Counter

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import nn

from clip_minimal import CONFIGS, ModifiedResNet
from common import BLUE, GREY, ORANGE, zero_shot
from lab import fit
from tasks import TASKS, examples
from web import STEPS, Web

LONGEST = 5  # words of an n-gram
LEAST = 5  # how often it occurs in the captions from which the dictionary is made
WEIGHT = 0.2  # of what the longer beginning says; the shorter ones have the rest
LR = 5e-3  # the default of train_tiny.train
SMALLEST = 1e-30  # what is less likely counts as so likely: its logarithm is a number
TABLE = {  # task: the dataset that it stands for; the paper's per cent of Visual N-Grams and of CLIP
    "ten objects": ("aYahoo", 72.4, 98.4),
    "objects": ("ImageNet", 11.5, 76.2),
    "scenery": ("SUN", 23.0, 58.5),
}
NONE = -1  # the dictionary has no such n-gram, but others that begin so
NO_BEGINNING = -2  # it has none that begins so

# ---- The dictionary ------------------------------------------------------------------------------


def split(text):
    """"on the beach, a sun" -> its five words."""
    return text.replace(",", " ").split()


def dictionary(texts, least=LEAST):
    """-> {n-gram, a tuple of one to five words: its number}, of those that occur so often."""
    counts = Counter()
    for text in texts:
        words = split(text)
        for n in range(1, LONGEST + 1):
            for start in range(len(words) - n + 1):
                counts[tuple(words[start:start + n])] += 1
    ngrams = [ngram for ngram, count in counts.items() if count >= least]
    return {ngram: number for number, ngram in enumerate(ngrams)}


def places(texts, ngrams):
    """-> the numbers (B, T, 5) of the n-grams of one to five words that end at each word.

    NONE stands where the dictionary has others that begin so; NO_BEGINNING where it has none, where the
    text has not so many words, and behind its end.
    """
    beginnings = {ngram[:-1] for ngram in ngrams}
    texts = [split(text) for text in texts]
    longest = max(len(words) for words in texts)
    table = np.full((len(texts), longest, LONGEST), NO_BEGINNING)
    for row, words in zip(table, texts):
        for i in range(len(words)):
            for n in range(min(i + 1, LONGEST)):
                ngram = tuple(words[i - n:i + 1])
                if ngram in ngrams:
                    row[i, n] = ngrams[ngram]
                elif ngram[:-1] in beginnings:
                    row[i, n] = NONE
    return torch.from_numpy(table)


# ---- The model -----------------------------------------------------------------------------------


class VisualNGrams(nn.Module):
    """An image encoder, and an embedding for each n-gram of a dictionary."""

    def __init__(self, config, ngrams):
        super().__init__()
        self.visual = ModifiedResNet(config)
        embedding = torch.randn(len(ngrams), config.embed_dim)
        self.embedding = nn.Parameter(embedding * config.embed_dim ** -0.5)
        # n-grams with the same beginning, all words but the last, share a number
        numbers = {}
        for ngram in ngrams:
            numbers.setdefault(ngram[:-1], len(numbers))
        beginning = [numbers[ngram[:-1]] for ngram in ngrams]
        self.register_buffer("beginning", torch.tensor(beginning), persistent=False)  # (D,)
        self.beginnings = len(numbers)

    def probabilities(self, images):
        """Images (B, 3, R, R) -> (B, D): of an n-gram's last word behind its others, by the dictionary alone.

        It is a softmax over all n-grams with the same beginning.
        """
        scores = self.visual(images) @ self.embedding.T  # (B, D)
        index = self.beginning.expand_as(scores)
        # subtract the largest score of each beginning, so that no exponential is too large
        lowest = scores.new_full((len(scores), self.beginnings), -math.inf)
        largest = lowest.scatter_reduce(1, index, scores.detach(), "amax")  # (B, beginnings)
        weights = (scores - largest.gather(1, index)).exp()  # (B, D)
        sums = torch.zeros_like(lowest).scatter_add(1, index, weights)
        return weights / sums.gather(1, index)

    def forward(self, images, table):
        """Images (B, 3, R, R), places (B, T, 5) -> smoothed probabilities (B, T) of each word behind those before it.

        They are 1 behind a text's end, and 0 for a word that is not in the dictionary.
        """
        p = self.probabilities(images)  # (B, D)
        index = table.flatten(1).clamp(min=0)  # (B, 5T)
        seen = p.gather(1, index).view(table.shape)  # (B, T, 5)
        return smooth(seen, table)


def smooth(seen, table):
    """Jelinek and Mercer's interpolation, for places (..., 5) -> (...).

    seen (..., 5) are the probabilities by the dictionary behind no word, one, ... four. Where no n-gram
    begins with so many words, those behind fewer words count alone.
    """
    seen = seen.masked_fill(table == NONE, 0)
    p = torch.ones(table.shape[:-1], device=table.device)
    for n in range(LONGEST):
        longer = seen[..., n]
        if n > 0:
            longer = WEIGHT * longer + (1 - WEIGHT) * p
        has_beginning = table[..., n] != NO_BEGINNING
        p = torch.where(has_beginning, longer, p)
    return p


# ---- Training and use ----------------------------------------------------------------------------


def ngram_model(lab, seed):
    """-> (the model, trained unless it is there already; its dictionary)."""
    web = Web(seed, lab.device)  # the stream that lab.clip(seed) learns from
    ngrams = dictionary(web.texts())
    steps = max(2, round(STEPS * lab.budget))
    print(f"Visual N-Grams, seed {seed}, {len(ngrams)} n-grams", flush=True)
    torch.manual_seed(seed)
    model = VisualNGrams(CONFIGS["tiny-RN"], ngrams).to(memory_format=torch.channels_last)

    def train_function(model):
        learn(model, web, ngrams, steps, lab.batch())

    return lab.trained(f"ngrams-{steps}-{seed}", model, train_function), ngrams


def learn(model, web, ngrams, steps, batch_size):
    """Make the words of captions likely, with the optimizer and the schedule of train_tiny.train."""
    def loss(step):
        """The mean over all words of how unlikely each is."""
        images, captions = web.batch(step, batch_size)
        table = places(captions, ngrams).to(images.device)  # (B, T, 5)
        p = model(images.contiguous(memory_format=torch.channels_last), table)  # (B, T)
        is_known = table[..., 0] >= 0  # the words of the dictionary
        return -p[is_known].clamp(min=SMALLEST).log().mean()

    fit(model, loss, steps, LR, text_lr=1, muon=True)


@torch.no_grad()
def classify(model, ngrams, images, classes):
    """-> log-likelihoods (B, N) of the classes' names."""
    table = places(classes, ngrams)  # (N, T, 5)
    index = table.clamp(min=0)
    rows = []
    for p in model.probabilities(images):  # (D,)
        of_words = smooth(p[index], table)  # (N, T)
        rows.append(of_words.log().sum(dim=1))
    return torch.stack(rows)


def scores_of(model, ngrams, images, classes):
    """classify, 250 images at a time."""
    scores = [classify(model, ngrams, some, classes) for some in images.split(250)]
    return torch.cat(scores)


# ---- Table and figure ----------------------------------------------------------------------------


def measure(lab):
    """-> a row for each seed, task and model."""
    rows = []
    for seed in lab.seeds:
        clip, tokenizer = lab.clip(seed)
        model, ngrams = ngram_model(lab, seed)
        for name in TABLE:
            task = TASKS[name]
            images, labels = examples(name, "test", lab.size(name, "test"))
            scores = scores_of(model, ngrams, images, task.classes)
            reached = {"Visual N-Grams": task.metric(scores, labels),
                       "CLIP": zero_shot(clip, tokenizer, name, images, labels)}
            for kind, value in reached.items():
                rows.append({"task": name, "model": kind, "seed": seed, "accuracy": value, "chance": task.chance()})
    return rows


def draw(rows):
    """Bars are means of the seeds, dots seeds, and stars the paper's on the dataset that a task stands for."""
    figure = Figure(figsize=(8.5, 4.8), layout="constrained")
    axis = figure.subplots()
    for k, (kind, colour) in enumerate({"Visual N-Grams": GREY, "CLIP": BLUE}.items()):
        for i, (name, paper) in enumerate(TABLE.items()):
            some = [row for row in rows if row["task"] == name and row["model"] == kind]
            at = i + 0.4 * k - 0.2
            draw_bar(axis, at, some, colour, paper[1 + k])
        axis.bar([0], [0], color=colour, label=f"{kind}, zero-shot")
    axis.plot([], [], "k.", label="a seed")
    axis.plot([], [], "*", color=ORANGE, markersize=12, label="the paper (Table 1)")
    axis.plot([], [], "k:", label="chance")
    # axes
    labels = []
    for name, (dataset, _, _) in TABLE.items():
        labels.append(f"{name}, {len(TASKS[name].classes)} classes\n(the paper: {dataset})")
    axis.set_xticks(range(len(TABLE)), labels, fontsize=9)
    axis.tick_params(axis="y", labelsize=9)
    axis.set_ylabel("accuracy (%)", fontsize=9)
    axis.set_ylim(0, 101)
    seeds = len({row["seed"] for row in rows})
    figure.suptitle(f"the same pictures and captions for both; seeds, paired: {seeds}", fontsize=10)
    figure.legend(fontsize=9, loc="outside lower center", ncols=5)
    return figure


def draw_bar(axis, at, rows, colour, paper):
    """One model on one task: a bar with its mean, the seeds, the paper's value, chance."""
    values = [100 * row["accuracy"] for row in rows]
    mean = np.mean(values)
    axis.bar(at, mean, 0.36, color=colour)
    axis.text(at, mean / 2, f"{mean:.1f}", ha="center", color="white", weight="bold", fontsize=10)
    # the seeds stand side by side in the same order for both models
    beside = at + 0.06 * (np.arange(len(values)) - (len(values) - 1) / 2)
    axis.plot(beside, values, "k.")
    axis.plot(at + 0.13, paper, "*", color=ORANGE, markersize=12)  # beside the number in the bar
    chance = 100 * rows[0]["chance"]
    axis.plot([at - 0.18, at + 0.18], [chance, chance], "k:")
