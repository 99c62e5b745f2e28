"""Typical wrong answers to chapter 7; each docstring is what the grader must say."""


def learning_rate__from_zero(step, steps, peak, warmup):
    """the first step would have the rate 0"""
    if step < warmup:
        return peak * step / warmup
    return peak * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup))) / 2


def learning_rate__cosine_from_zero(step, steps, peak, warmup):
    """begins where warm-up ends"""
    return peak * ((step + 1) / warmup if step < warmup else (1 + math.cos(math.pi * step / steps)) / 2)


def learning_rate__quarter(step, steps, peak, warmup):
    """a quarter is steep"""
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * math.cos(math.pi / 2 * (step - warmup) / (steps - warmup))


def learning_rate__line(step, steps, peak, warmup):
    """not a line"""
    return peak * ((step + 1) / warmup if step < warmup else (steps - step) / (steps - warmup))


def plotted(x, y, **labels):
    axis = Figure().add_subplot()
    axis.plot(x, y)
    axis.set(**labels)
    return axis.figure


def draw_schedule__from_one(steps, peak, warmup):
    """steps count from 0"""
    return plotted(range(1, steps + 1), [learning_rate(step, steps, peak, warmup) for step in range(steps)],
                   xlabel="step")


def draw_schedule__share(steps, peak, warmup):
    """the share of the peak"""
    return plotted(range(steps), [learning_rate(step, steps, 1, warmup) for step in range(steps)])


def draw_schedule__no_labels(steps, peak, warmup):
    """label both axes"""
    return plotted(range(steps), [learning_rate(step, steps, peak, warmup) for step in range(steps)], xlabel="step")


def decay_groups__biases_only(parameters):
    """gains (bn1.weight, ln_1.weight)"""
    return [n for n in parameters if "bias" not in n], [n for n in parameters if "bias" in n]


def decay_groups__ending(parameters):
    """not all there is"""
    decay = [n for n, x in parameters.items() if n.endswith(".weight") and x.ndim > 1]
    return decay, [n for n in parameters if n not in decay]


def decay_groups__everything(parameters):
    """everything decays"""
    return list(parameters), []


def decay_groups__swapped(parameters):
    """come first"""
    return [n for n, x in parameters.items() if x.ndim < 2], [n for n, x in parameters.items() if x.ndim >= 2]


def adamw_step__l2(p, grad, m, v, t, lr, beta1, beta2, eps, decay):
    """Adam with L2"""
    grad = grad + decay * p
    m, v = beta1 * m + (1 - beta1) * grad, beta2 * v + (1 - beta2) * grad ** 2
    return p - lr * m / (1 - beta1 ** t) / (np.sqrt(v / (1 - beta2 ** t)) + eps), m, v


def adamw_step__eps_under_the_root(p, grad, m, v, t, lr, beta1, beta2, eps, decay):
    """not under it"""
    m, v = beta1 * m + (1 - beta1) * grad, beta2 * v + (1 - beta2) * grad ** 2
    return p - lr * m / (1 - beta1 ** t) / np.sqrt(v / (1 - beta2 ** t) + eps) - lr * decay * p, m, v


def adamw_step__not_corrected(p, grad, m, v, t, lr, beta1, beta2, eps, decay):
    """divide them by 1 - beta^t"""
    m, v = beta1 * m + (1 - beta1) * grad, beta2 * v + (1 - beta2) * grad ** 2
    return p - lr * m / (np.sqrt(v) + eps) - lr * decay * p, m, v


def adamw_step__decay_without_rate(p, grad, m, v, t, lr, beta1, beta2, eps, decay):
    """multiplied by the learning rate"""
    m, v = beta1 * m + (1 - beta1) * grad, beta2 * v + (1 - beta2) * grad ** 2
    return p - lr * m / (1 - beta1 ** t) / (np.sqrt(v / (1 - beta2 ** t)) + eps) - decay * p, m, v


def clamp_scale__at_100(logit_scale):
    """its highest value is ln 100"""
    logit_scale.data.clamp_(max=100)


def clamp_scale__exponentiated(logit_scale):
    """its log is what the parameter holds"""
    logit_scale.data.copy_(logit_scale.data.exp().clamp(max=100))


def clamp_scale__floor(logit_scale):
    """a low scale may stay"""
    logit_scale.data.clamp_(0, math.log(100))


def clamp_scale__a_copy(logit_scale):
    """its highest value is ln 100"""
    logit_scale = logit_scale.clamp(max=math.log(100))


def predict_accumulated_loss__whole():
    """not 1,024"""
    return math.log(1024)


def predict_accumulated_loss__sum():
    """not the sum"""
    return 16 * math.log(64)


def predict_accumulated_loss__bits():
    """not bits"""
    return 6


def cached_gradients__plain_accumulation(encode_image, encode_text, logit_scale, images, texts, piece):
    """each piece's own loss"""
    losses = []
    for image, text in zip(images.split(piece), texts.split(piece)):
        losses.append(contrastive_loss(encode_image(image), encode_text(text), logit_scale) * len(image) / len(images))
        losses[-1].backward()
    return sum(losses).detach()


def cached_gradients__whole_batch(encode_image, encode_text, logit_scale, images, texts, piece):
    """with a graph"""
    loss = contrastive_loss(encode_image(images), encode_text(texts), logit_scale)
    loss.backward()
    return loss.detach()


def cached_gradients__scale_forgotten(encode_image, encode_text, logit_scale, images, texts, piece):
    """reached logit_scale"""
    with torch.no_grad():
        I_f, T_f = encode_image(images), encode_text(texts)
    loss = contrastive_loss(I_f.requires_grad_(), T_f.requires_grad_(), logit_scale.detach())
    loss.backward()
    for at in torch.arange(len(images)).split(piece):
        torch.autograd.backward([encode_image(images[at]), encode_text(texts[at])], [I_f.grad[at], T_f.grad[at]])
    return loss.detach()


def cached_gradients__text_forgotten(encode_image, encode_text, logit_scale, images, texts, piece):
    """reached the text encoder"""
    with torch.no_grad():
        I_f, T_f = encode_image(images), encode_text(texts)
    loss = contrastive_loss(I_f.requires_grad_(), T_f, logit_scale)
    loss.backward()
    for at in torch.arange(len(images)).split(piece):
        encode_image(images[at]).backward(I_f.grad[at])
    return loss.detach()


def cached_gradients__averaged(encode_image, encode_text, logit_scale, images, texts, piece):
    """not be averaged"""
    with torch.no_grad():
        I_f, T_f = encode_image(images), encode_text(texts)
    loss = contrastive_loss(I_f.requires_grad_(), T_f.requires_grad_(), logit_scale)
    loss.backward()
    for at in torch.arange(len(images)).split(piece):
        torch.autograd.backward([encode_image(images[at]), encode_text(texts[at])],
                                [I_f.grad[at] / 3, T_f.grad[at] / 3])
    return loss.detach()
