"""The four objectives of Figure 2 around one image encoder: each has loss(images, tokens), a scalar, and scores(images,
tokens), how well each of N texts fits each of B images (B, N). Tokens (B, T) begin and end as the Tokenizer's do."""
import math

import torch
import torch.nn.functional as F
from torch import nn

from clip_minimal import CLIP, ModifiedResNet, contrastive_loss


class LanguageModel(CLIP):
    """Predicts the caption, token by token: the transformer of CLIP's text encoder, with the image's features where the
    start token would stand. A text's score is its log-likelihood."""

    def log_likelihood(self, features, tokens):
        """Features (B, E), E the transformer's width, and tokens (B, T) -> nats (B,), of the end token as well."""
        T = tokens.shape[1]
        x = torch.cat([features[:, None], self.token_embedding(tokens[:, 1:-1])], dim=1)  # (B, T - 1, D)
        x = x + self.positional_embedding[:T - 1]
        later_tokens = torch.ones(T - 1, T - 1, dtype=torch.bool).triu(1)
        x = self.transformer(x, later_tokens)
        logits = self.ln_final(x) @ self.text_projection @ self.token_embedding.weight.T  # (B, T - 1, V)
        surprise = F.cross_entropy(logits.transpose(1, 2), tokens[:, 1:], reduction="none")  # (B, T - 1)
        behind_end = (tokens == self.eot_token).cumsum(dim=1)[:, :-1] > 0  # (B, T - 1), padding is not predicted
        return -surprise.masked_fill(behind_end, 0).sum(dim=1)

    def loss(self, images, tokens):
        return -self.log_likelihood(self.encode_image(images), tokens).mean()

    def scores(self, images, tokens):
        rows = [self.log_likelihood(feature.expand(len(tokens), -1), tokens) for feature in self.encode_image(images)]
        return torch.stack(rows)  # (B, N)


def shares(tokens, vocab_size):
    """Tokens (B, T) -> (B, V): of the different words of a text each has an equal share; they add up to one. Padding,
    which is 0, and start and end, the last two, are no words."""
    bag = torch.zeros(len(tokens), vocab_size).scatter_(1, tokens, 1.0)  # (B, V)
    bag[:, [0, -2, -1]] = 0
    return bag / bag.sum(dim=1, keepdim=True)


class BagOfWordsPrediction(nn.Module):
    """Predicts the words of the caption in no order, as a classifier whose target is each of them alike (Joulin et al.
    2016). A text's score is the mean log-probability of its words."""

    def __init__(self, config):
        super().__init__()
        self.visual, self.words = ModifiedResNet(config), nn.Linear(config.embed_dim, config.vocab_size)

    def loss(self, images, tokens):
        return -(self.log_probabilities(images) * shares(tokens, self.words.out_features)).sum(dim=1).mean()

    def scores(self, images, tokens):
        return self.log_probabilities(images) @ shares(tokens, self.words.out_features).T  # (B, N)

    def log_probabilities(self, images):
        return self.words(self.visual(images)).log_softmax(dim=1)  # (B, V)


class Contrastive(CLIP):
    """Predicts which caption of the batch is the image's (Section 2.3): CLIP. A text's score is its scaled cosine."""

    def loss(self, images, tokens):
        scale = self.logit_scale.clamp(max=math.log(100))
        return contrastive_loss(self.encode_image(images), self.encode_text(tokens), scale)

    def scores(self, images, tokens):
        return self(images, tokens)[0]  # (B, N)


class BagOfWordsContrastive(Contrastive):
    """The same with a text encoder that knows no order: the mean of the words' embeddings, then the projection."""

    def encode_text(self, tokens):
        return shares(tokens, self.config.vocab_size) @ self.token_embedding.weight @ self.text_projection  # (B, E)
