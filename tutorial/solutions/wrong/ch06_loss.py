"""Typical wrong answers to chapter 6; each docstring is what the grader must say."""
figure_3_solved, floor_solved, part_solved = figure_3, duplicate_floor, sharded_loss  # before one is put in their place


def logits_of(I_f, T_f, W_i, W_t, factor):
    I_e, T_e = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (I_f @ W_i, T_f @ W_t))
    return I_e @ T_e.T * factor


def naive(logits, axis):
    return np.mean(np.log(np.exp(logits).sum(axis=axis)) - np.diag(logits))


def figure_3__log_scale(I_f, T_f, W_i, W_t, t):
    """exponentiate it first"""
    logits = logits_of(I_f, T_f, W_i, W_t, t)
    return (naive(logits, 0) + naive(logits, 1)) / 2


def figure_3__one_direction(I_f, T_f, W_i, W_t, t):
    """average both directions"""
    return naive(logits_of(I_f, T_f, W_i, W_t, np.exp(t)), 1)


def figure_3__overflow(I_f, T_f, W_i, W_t, t):
    """infinite or undefined"""
    logits = logits_of(I_f, T_f, W_i, W_t, np.exp(t))
    return (naive(logits, 0) + naive(logits, 1)) / 2


def figure_3__normalised_before(I_f, T_f, W_i, W_t, t):
    """behind the projection"""
    I_e, T_e = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (I_f, T_f))
    logits = (I_e @ W_i) @ (T_e @ W_t).T * np.exp(t)
    return (naive(logits, 0) + naive(logits, 1)) / 2


def shifted_by(logits, top):
    return float(np.mean(np.log(np.exp(logits - top).sum(axis=1)) - np.diagonal(logits - top)))


def figure_3__largest_of_all(I_f, T_f, W_i, W_t, t):
    """the largest of each row, and of each column"""
    logits = logits_of(I_f, T_f, W_i, W_t, np.exp(t))
    return (shifted_by(logits, logits.max()) + shifted_by(logits.T, logits.max())) / 2


def figure_3__right_one_not_shifted(I_f, T_f, W_i, W_t, t):
    """taken from the right one as well"""
    logits = logits_of(I_f, T_f, W_i, W_t, np.exp(t))
    return figure_3_solved(I_f, T_f, W_i, W_t, t) - (logits.max(0) + logits.max(1)).mean() / 2


def figure_3__sum_of_rows(I_f, T_f, W_i, W_t, t):
    """the mean over the batch, not the sum"""
    return len(I_f) * figure_3_solved(I_f, T_f, W_i, W_t, t)


def figure_3__not_normalised(I_f, T_f, W_i, W_t, t):
    """unit length first"""
    logits = I_f @ W_i @ (T_f @ W_t).T * np.exp(t)
    return (shifted_by(logits, logits.max(1, keepdims=True)) + shifted_by(logits.T, logits.T.max(1, keepdims=True))) / 2


def contrastive_loss__log_scale(image_features, text_features, logit_scale):
    """exponentiate it first"""
    return both_ways(logit_scale * cosines(image_features, text_features))


def contrastive_loss__images_only(image_features, text_features, logit_scale):
    """only images choose texts"""
    return loss_b(image_features, text_features, logit_scale)


def contrastive_loss__not_normalised(image_features, text_features, logit_scale):
    """unit length first"""
    return loss_c(image_features, text_features, logit_scale)


def contrastive_loss__softmax_twice(image_features, text_features, logit_scale):
    """softmax of its own"""
    logits = logit_scale.exp() * cosines(image_features, text_features)
    return both_ways(logits.softmax(dim=-1))


def contrastive_loss__divided(image_features, text_features, logit_scale):
    """it multiplies"""
    return loss_e(image_features, text_features, logit_scale)


def contrastive_loss__texts_detached(image_features, text_features, logit_scale):
    """no gradient reaches the text features"""
    return loss_f(image_features, text_features, logit_scale)


def contrastive_loss__scale_a_number(image_features, text_features, logit_scale):
    """no gradient reaches the scale"""
    return loss_k(image_features, text_features, logit_scale)


def contrastive_loss__summed(image_features, text_features, logit_scale):
    """not the sum"""
    return loss_g(image_features, text_features, logit_scale)


def contrastive_loss__along_the_batch(image_features, text_features, logit_scale):
    """not each column"""
    return loss_i(image_features, text_features, logit_scale)


def contrastive_loss__labels_zero(image_features, text_features, logit_scale):
    """the label of pair i is i"""
    return loss_h(image_features, text_features, logit_scale)


def contrastive_loss__twice_scaled(image_features, text_features, logit_scale):
    """applied twice"""
    return loss_m(image_features, text_features, logit_scale)


def contrastive_loss__added(image_features, text_features, logit_scale):
    """do not add them"""
    return 2 * both_ways(logit_scale.exp() * cosines(image_features, text_features))


def contrastive_loss__overflow(image_features, text_features, logit_scale):
    """scale 1000"""
    return loss_l(image_features, text_features, logit_scale)


def contrastive_loss__one_pair(image_features, text_features, logit_scale):
    """one pair must raise ValueError"""
    return both_ways(logit_scale.exp() * cosines(image_features, text_features))


def contrastive_loss__a_number(image_features, text_features, logit_scale):
    """a plain number has no gradient"""
    return both_ways(logit_scale.exp() * cosines(image_features, text_features)).item()


def softmaxes(logits):
    rows, columns = (np.exp(logits - logits.max(axis=axis, keepdims=True)) for axis in (1, 0))
    return rows / rows.sum(axis=1, keepdims=True), columns / columns.sum(axis=0, keepdims=True), np.eye(len(logits))


def loss_gradient__sign(logits):
    """the other way round"""
    rows, columns, eye = softmaxes(logits)
    return (2 * eye - rows - columns) / (2 * len(logits))


def loss_gradient__rows_only(logits):
    """only the rows' softmax"""
    rows, _, eye = softmaxes(logits)
    return (rows - eye) / len(logits)


def loss_gradient__truth_once(logits):
    """in both directions"""
    rows, columns, eye = softmaxes(logits)
    return (rows + columns - eye) / (2 * len(logits))


def loss_gradient__divided_by_B(logits):
    """divide by 2 as well"""
    rows, columns, eye = softmaxes(logits)
    return (rows + columns - 2 * eye) / len(logits)


def loss_gradient__lying(logits):
    """transpose it back"""
    rows, columns, eye = softmaxes(logits)
    return (rows + columns.T - 2 * eye) / (2 * len(logits))


def loss_gradient__over_all(logits):
    """not one over all"""
    e = np.exp(logits - logits.max())
    return (e / e.sum() - np.eye(len(e))) / len(e)


def loss_gradient__overflow(logits):
    """infinite or undefined"""
    e = np.exp(logits)
    return (e / e.sum(1, keepdims=True) + e / e.sum(0) - 2 * np.eye(len(e))) / (2 * len(e))


def lowest_loss__orthogonal(B, scale):
    """not 0"""
    return math.log1p((B - 1) * math.exp(-scale))


def lowest_loss__opposite(B, scale):
    """no opposite each"""
    return math.log1p((B - 1) * math.exp(-2 * scale))


def lowest_loss__all(B, scale):
    """B - 1 others"""
    return math.log1p(B * math.exp(-scale * B / (B - 1)))


def lowest_loss__one_other(B, scale):
    """not with one"""
    return math.log1p(math.exp(-scale * B / (B - 1)))


def lowest_loss__exponentiated(B, scale):
    """not its log"""
    return math.log1p((B - 1) * math.exp(-math.exp(scale) * B / (B - 1)))


def lowest_loss__rounded(B, scale):
    """math.log1p"""
    return math.log(1 + (B - 1) * math.exp(-scale * B / (B - 1)))


def duplicate_floor__of_the_mean(B, captions):
    """not the logarithm of a mean"""
    return math.log(1 + (B - 1) / captions)


def duplicate_floor__bits(B, captions):
    """natural logarithm"""
    p = 1 / captions
    return sum(math.comb(B - 1, k) * p ** k * (1 - p) ** (B - 1 - k) * math.log2(1 + k) for k in range(B))


def duplicate_floor__one_too_many(B, captions):
    """B - 1 other pairs"""
    return floor_solved(B + 1, captions)


def duplicate_floor__no_ways(B, captions):
    """math.comb"""
    p = 1 / captions
    return sum(p ** k * (1 - p) ** (B - 1 - k) * math.log(1 + k) for k in range(B))


def duplicate_floor__not_all(B, captions):
    """k goes as far as that"""
    return 0.0 if B == 2 else floor_solved(B, captions)


def duplicate_floor__constant(B, captions):
    """64 pairs, 16 captions"""
    return math.log(2) / 2


def sharded_loss__local(I_e, T_e, scale, rank, world):
    """not with its own alone"""
    b = len(I_e) // world
    return both_ways(scale * I_e[rank * b:][:b] @ T_e[rank * b:][:b].T)


def sharded_loss__labels_from_zero(I_e, T_e, scale, rank, world):
    """from the beginning of the batch"""
    b = len(I_e) // world
    mine, labels = slice(rank * b, (rank + 1) * b), torch.arange(b)
    return (F.cross_entropy(scale * I_e[mine] @ T_e.T, labels) + F.cross_entropy(scale * T_e[mine] @ I_e.T, labels)) / 2


def sharded_loss__whole(I_e, T_e, scale, rank, world):
    """whole batch's"""
    return both_ways(scale * I_e @ T_e.T)


def sharded_loss__one_direction(I_e, T_e, scale, rank, world):
    """its texts choose as well"""
    b = len(I_e) // world
    mine = slice(rank * b, (rank + 1) * b)
    return F.cross_entropy(scale * I_e[mine] @ T_e.T, torch.arange(len(I_e))[mine])


def sharded_loss__added(I_e, T_e, scale, rank, world):
    """do not add them"""
    return 2 * part_solved(I_e, T_e, scale, rank, world)


def sharded_loss__ranks_from_one(I_e, T_e, scale, rank, world):
    """this is the part of rank 0"""
    return part_solved(I_e, T_e, scale, rank - 1, world)


def sharded_loss__strided(I_e, T_e, scale, rank, world):
    """parts lie in a row"""
    mine = slice(rank, None, world)
    labels = torch.arange(len(I_e))[mine]
    return (F.cross_entropy(scale * I_e[mine] @ T_e.T, labels) + F.cross_entropy(scale * T_e[mine] @ I_e.T, labels)) / 2


def sharded_loss__sliced_later(I_e, T_e, scale, rank, world):
    """all B x B similarities were computed"""
    b = len(I_e) // world
    mine, logits = slice(rank * b, (rank + 1) * b), scale * I_e @ T_e.T
    labels = torch.arange(len(I_e))[mine]
    return (F.cross_entropy(logits[mine], labels) + F.cross_entropy(logits.T[mine], labels)) / 2


def diagnose__all_fine_but_two():
    """14 of 16 are right; loss_f is not"""
    return dict(a=3, b=8, c=6, d=13, e=10, f=11, g=2, h=16, i=5, j=14, k=12, l=15, m=4, n=7, o=1, p=9)


def diagnose__empty():
    """0 of 16 are right; loss_a"""
    return {}


def diagnose__lengths():
    """14 of 16 are right; loss_c is not: features twice as long"""
    return dict(a=3, b=8, c=7, d=13, e=10, f=12, g=2, h=16, i=5, j=14, k=11, l=15, m=4, n=6, o=1, p=9)


def diagnose__one_missing():
    """15 of 16 are right; loss_p is not: it has no answer"""
    return dict(a=3, b=8, c=6, d=13, e=10, f=12, g=2, h=16, i=5, j=14, k=11, l=15, m=4, n=7, o=1)


def diagnose__no_number():
    """one of the numbers 1 to 18"""
    return dict(a="3", b=8, c=6, d=13, e=10, f=12, g=2, h=16, i=5, j=14, k=11, l=15, m=4, n=7, o=1, p=9)


def predict_guess__one_wrong():
    """loss_j: 1.9 is not right"""
    return [math.log(8), 8 * math.log(8), 1.9]


def predict_guess__means():
    """loss_g sums"""
    return [math.log(8), math.log(8), math.log(7)]


def predict_guess__eight_left():
    """seven are left"""
    return [math.log(8), 8 * math.log(8), math.log(8)]


def predict_guess__bits():
    """not bits"""
    return [3, 24, math.log2(7)]


def cross_entropy__naive(logits):
    """infinite or undefined"""
    share = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return float(-np.log(np.diagonal(share)).mean())


def cross_entropy__shifted_only(logits):
    """subtract logarithms instead"""
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return float(-np.log(np.diagonal(e / e.sum(axis=1, keepdims=True))).mean())


def cross_entropy__something_added(logits):
    """hides the true loss"""
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return float(-np.log(np.diagonal(e / e.sum(axis=1, keepdims=True)) + 1e-8).mean())


def cross_entropy__summed(logits):
    """not the sum"""
    shifted = logits - logits.max(axis=1, keepdims=True)
    return float(np.sum(np.log(np.exp(shifted).sum(axis=1)) - np.diagonal(shifted)))


def cross_entropy__largest_of_all(logits):
    """the largest of each row"""
    return shifted_by(logits, logits.max())


def cross_entropy__right_one_not_shifted(logits):
    """taken from the right one as well"""
    top = logits.max(axis=1, keepdims=True)
    return float(np.mean(np.log(np.exp(logits - top).sum(axis=1)) - np.diagonal(logits)))


def join_gathered__copies(gathered, own, rank):
    """copies, without a history"""
    return torch.cat(gathered)


def join_gathered__first(gathered, own, rank):
    """not first"""
    return torch.cat([own, *gathered[:rank], *gathered[rank + 1:]])


def join_gathered__on_top(gathered, own, rank):
    """do not come on top"""
    return torch.cat([*gathered, own])


def join_gathered__detached(gathered, own, rank):
    """no gradient reaches"""
    return torch.cat([*gathered[:rank], own.detach(), *gathered[rank + 1:]])
