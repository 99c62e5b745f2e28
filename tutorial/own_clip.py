"""A CLIP of a student's own functions: those that pass replace the ones of the repository's three files.

    python tutorial/grade.py --train

grades them, says which are missing, trains for two minutes with the rest from the repository, and
prints how good the model is.

Letters in shape comments: B images or texts, T tokens, D width, N classes, K templates, E joint embedding.
"""
import dataclasses
import math
import sys
from collections import Counter
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))
import clip_minimal
import sandbox
import train_tiny
import zeroshot
from clip_minimal import (CLIP, CONFIGS, AttentionPool2d, Bottleneck, ResidualAttentionBlock, Tokenizer,
                          VisionTransformer)

PIECES = {  # a piece of CLIP -> the exercises that it takes
    "tokenizer, trained": ["2.1", "2.2", "2.3", "2.4"],
    "tokenizer, encoding": ["2.1", "2.3", "2.5"],
    "tokenizer, decoding": ["2.6"],
    "text transformer": ["3.1", "3.2", "3.3", "3.4", "3.5", "3.6"],
    "feature at the end token": ["3.7"],
    "patches and class token": ["4.2", "4.3"],
    "ResNet's blocks": ["5.2"],
    "attention pool": ["5.3"],
    "contrastive loss": ["6.2"],
    "learning rate": ["7.1"],
    "weight decay": ["7.3"],
    "clamp on the scale": ["7.5"],
    "classifier from text": ["8.1", "8.2"],
    "accuracy": ["8.4"],
    "retrieval": ["8.5", "8.6"],
}
ONLY_IN = {"patches and class token": "tiny-ViT", "ResNet's blocks": "tiny-RN", "attention pool": "tiny-RN"}
USED = {number for numbers in PIECES.values() for number in numbers}


def adopt(chapters, own):
    """Put a student's functions in the place of the repository's -> the training step for train_tiny.train.

    chapters {number: module} are the student's files, own the names of the pieces that are taken
    from them. Classes and modules of the repository are changed for the rest of the process.
    """
    adopt_tokenizer(chapters, own)
    adopt_text_encoder(chapters, own)
    adopt_image_encoders(chapters, own)
    adopt_zero_shot(chapters, own)
    return adopt_training(chapters, own)


# ---- Chapter 2: the tokenizer --------------------------------------------------------------------


def adopt_tokenizer(chapters, own):
    """Tokenizer with the student's training, encoding and decoding."""
    def train(cls, texts, vocab_size):
        word_counts = Counter()
        for text in texts:
            word_counts.update(clip_minimal.WORD.findall(clip_minimal.clean(text)))
        merges = chapters[2].train_merges(word_counts, vocab_size - 514)
        return cls(merges)

    def encode_word(self, word):
        tokens = chapters[2].encode_word(word, self.merges)
        return [self.ids[token] for token in tokens]

    def decode(self, ids):
        return chapters[2].decode(ids, self.vocab)

    if "tokenizer, trained" in own:
        Tokenizer.train = classmethod(train)
    if "tokenizer, encoding" in own:
        Tokenizer.encode_word = encode_word
    if "tokenizer, decoding" in own:
        Tokenizer.decode = decode


# ---- Chapter 3: the blocks of all transformers, and the text encoder -----------------------------


def causal_mask(T):
    """The repository's mask, as it stands in CLIP.encode_text."""
    return torch.ones(T, T, dtype=torch.bool).triu(1)


def pool_at_end(x, tokens, eot_token):
    """The repository's choice of the feature, as it stands in CLIP.encode_text. (B, T, D) -> (B, D)."""
    end = (tokens == eot_token).int().argmax(dim=1)
    return x[torch.arange(len(x)), end]


def adopt_text_encoder(chapters, own):
    """ResidualAttentionBlock and CLIP.encode_text with the student's functions."""
    def forward(self, x, mask=None):
        weights = dict(self.named_parameters())
        return chapters[3].residual_block(x, weights, self.attn.heads, mask)

    make_mask = causal_mask
    pool = pool_at_end
    if "text transformer" in own:
        ResidualAttentionBlock.forward = forward
        make_mask = chapters[3].causal_mask
    if "feature at the end token" in own:
        pool = chapters[3].pool_at_end

    def encode_text(self, tokens):
        T = tokens.shape[1]
        x = self.token_embedding(tokens) + self.positional_embedding[:T]  # (B, T, D)
        x = self.transformer(x, make_mask(T))  # (B, T, D)
        x = pool(x, tokens, self.eot_token)  # (B, D)
        return self.ln_final(x) @ self.text_projection  # (B, E)

    CLIP.encode_text = encode_text


# ---- Chapters 4 and 5: the image encoders --------------------------------------------------------


def adopt_image_encoders(chapters, own):
    """VisionTransformer, Bottleneck and AttentionPool2d with the student's functions."""
    def embed(self, x):
        x = chapters[4].patch_embedding(x, self.conv1.weight)  # (B, T, D)
        x = chapters[4].add_class_token(x, self.class_embedding, self.positional_embedding)  # (B, T + 1, D)
        return self.ln_pre(x)

    if "patches and class token" in own:
        VisionTransformer.embed = embed
    if "ResNet's blocks" in own:
        Bottleneck.forward = chapters[5].Bottleneck.forward
    if "attention pool" in own:
        AttentionPool2d.gather = chapters[5].AttentionPool2d.gather


# ---- Chapters 6 and 7: the loss and the training -------------------------------------------------


def clamp_scale(logit_scale):
    """The repository's clamp, as it stands in train_tiny.training_step."""
    logit_scale.data.clamp_(max=math.log(100))


def adopt_training(chapters, own):
    """-> the training step with the student's loss and clamp. Rate and optimizer go into train_tiny."""
    def make_optimizer(model, lr, weight_decay, text_lr=train_tiny.TEXT_LR, muon=False):
        """AdamW for all weights, as chapter 7 has it."""
        with_decay, _ = chapters[7].decay_groups(dict(model.named_parameters()))
        param_groups = []
        for name, parameter in model.named_parameters():
            decay = weight_decay if name in with_decay else 0.0
            in_image_encoder = name.startswith("visual.") or name == "logit_scale"
            factor = 1.0 if in_image_encoder else text_lr
            param_groups.append({"params": [parameter], "weight_decay": decay, "factor": factor})
        return torch.optim.AdamW(param_groups, lr=lr, betas=(0.9, 0.98), eps=1e-6, fused=True)

    if "learning rate" in own:
        train_tiny.learning_rate = chapters[7].learning_rate
    if "weight decay" in own:
        train_tiny.make_optimizer = make_optimizer
    loss_function = clip_minimal.contrastive_loss
    clamp = clamp_scale
    if "contrastive loss" in own:
        loss_function = chapters[6].contrastive_loss
    if "clamp on the scale" in own:
        clamp = chapters[7].clamp_scale

    def training_step(model, optimizer, images, tokens, bfloat16=False):
        """train_tiny.training_step in float32."""
        image_features = model.encode_image(images)  # (B, E)
        text_features = model.encode_text(tokens)  # (B, E)
        loss = loss_function(image_features, text_features, model.logit_scale)
        optimizer.zero_grad()
        if loss.isfinite():
            loss.backward()
            optimizer.step()
        clamp(model.logit_scale)
        return loss.detach()

    return training_step


# ---- Chapter 8: zero-shot classification and retrieval -------------------------------------------


def adopt_zero_shot(chapters, own):
    """The classifier, its accuracy and the recall of zeroshot.py with the student's functions."""
    def zero_shot_classifier(model, tokenizer, classnames, templates=("{}",)):
        texts = chapters[8].prompts(list(classnames), list(templates))
        features = zeroshot.encode_texts(model, tokenizer, texts)  # (N K, E)
        features = features.view(len(classnames), len(templates), -1)  # (N, K, E)
        return chapters[8].classifier_weights(features)  # (E, N)

    def accuracy(scores, labels):
        return chapters[8].top_k_accuracy(scores, labels, 1)

    def recall_at(k, scores, relevant):
        chances = []
        for row in relevant:
            chances.append(chapters[8].chance_recall(len(row), int(row.sum()), k))
        return chapters[8].recall_at_k(scores, relevant, k), sum(chances) / len(chances)

    if "classifier from text" in own:
        zeroshot.zero_shot_classifier = zero_shot_classifier
    if "accuracy" in own:
        zeroshot.accuracy = accuracy
    if "retrieval" in own:
        zeroshot.recall_at = recall_at


# ---- Train with them -----------------------------------------------------------------------------


def train(rows, folder, minutes=2, name="tiny-RN"):
    """Rows of the grader, the folder of the student's files -> the results of the training; prints them."""
    # whose is each piece?
    passed = {row["exercise"] for row in rows if row["points"] == row["of"]}
    own = [piece for piece, numbers in PIECES.items() if passed.issuperset(numbers)]
    for piece in PIECES:
        print(describe(piece, passed, name))
    chapters = {}
    for path in Path(folder).glob("ch*.py"):
        number = int(path.stem[2:4])
        chapters[number] = sandbox.load(path)
    step_function = adopt(chapters, own)

    # data, tokenizer, and a few steps to see how quick it is
    data = train_tiny.World()
    tokenizer = Tokenizer.train(data.texts(), CONFIGS[name].vocab_size)
    config = dataclasses.replace(CONFIGS[name], vocab_size=len(tokenizer.vocab))
    rate = 4e-3
    print("\na few steps, to see how quick it is")
    trial = train_tiny.train(data, new_model(config), tokenizer, 8, lr=rate, every=4,
                             muon=False, step_function=step_function)
    images_per_second = trial[-1]["images_per_second"]

    # as many steps as there is time for, of 256 pairs
    steps = max(20, round(60 * minutes * images_per_second / 256))
    data = train_tiny.World(steps=steps, shares=train_tiny.NAMES[name])
    print(f"\n{steps} steps, about {minutes:g} minutes")
    model = new_model(config)
    train_tiny.train(data, model, tokenizer, steps, lr=rate, muon=False, step_function=step_function)
    results = data.evaluate(model, tokenizer)
    print(f"\n{len(own)} of {len(PIECES)} pieces are yours;"
          " on pairs of colour and object never seen in training:")
    for what, (value, chance) in results.items():
        print(f"  {what:20}{value:7.1%}   chance {chance:.1%}")
    return results


def new_model(config):
    """A model to begin with, the same for the same configuration."""
    torch.manual_seed(0)
    return CLIP(config).to(memory_format=torch.channels_last)


def describe(piece, passed, name):
    """A line that says whether a piece is the student's, and if not, which exercises are missing."""
    missing = [number for number in PIECES[piece] if number not in passed]
    if missing:
        line = f"  {piece:26} from the repository; missing: {', '.join(missing)}"
    else:
        line = f"  {piece:26} yours"
    if ONLY_IN.get(piece, name) != name:
        line += f" (not part of {name})"
    return line
