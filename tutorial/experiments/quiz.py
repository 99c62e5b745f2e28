"""Section 4: accuracy by class and by difficulty, beside people's (Table 2, Figure 16), and a quiz for them.

    python tutorial/experiments/quiz.py --quiz                  two minutes: 24 pictures, ten names
    python tutorial/experiments/quiz.py --answers FILE...       put the answers of several people together

The paper showed five people all test pictures of 37 breeds of cats and dogs. One person had 53.7 % right,
zero-shot CLIP 93.5 %, and what was hard for one was hard for the other (Figure 16). The pictures here are
test images of the task "ten objects", some of them coarser still.

A class of which all pictures are named right may be an easy one, or the answer that is given in doubt. So
beside the hits, the share right of a class's pictures, stand the false alarms: how often the same answer
was given to pictures of other classes. Hits minus false alarms are 0 where an answer does not depend on the
picture, however often it is given, and 1 where all is right.
"""
import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))
import zeroshot
from clip_minimal import normalize
from common import BLUE, GREY, ORANGE, interval
from tasks import TASKS, examples, pixelate
from tutorial.extras.pictures import save_figure

TASK = TASKS["ten objects"]
SQUARES = [3, 6, 8]  # the sides, in pixels of 48, of the squares that a picture is made of; the task's own is 3
LETTERS = "abcdefghij"  # one for each class
TABLE_2 = {"one person": "53.7 %", "majority": "57.0 %", "one person, of guesses": "69.7 %",
           "majority, of guesses": "63.9 %"}  # of 37 breeds of cats and dogs, zero-shot
ANSWERS = ROOT / "tutorial/results/quiz-answers.json"  # [{"picture": ..., "squares": ..., "answer": ...}, ...] each
MODEL = "the model, zero-shot"
PEOPLE = "people"

# ---- The quiz ------------------------------------------------------------------------------------


def pictures(n, squares):
    """The first n test images of the task, in squares of so many pixels -> normalised (n, 3, 48, 48), labels (n,)."""
    images, labels = examples("ten objects", "test")
    levels = torch.from_numpy(zeroshot.levels(images[:n]))  # (n, 48, 48, 3)
    levels = levels.permute(0, 3, 1, 2)  # (n, 3, 48, 48)
    if squares != 3:
        levels = pixelate(levels, squares)
    return normalize(levels), labels[:n]


def questions():
    """-> [(picture, squares), ...], 24, from coarse to fine: eight different pictures of each difficulty."""
    found = []
    for squares in reversed(SQUARES):
        for _ in range(8):
            found.append((len(found), squares))
    return found


def sheet():
    """The pictures of the quiz, numbered, coarse ones first, and the names to choose from -> matplotlib figure."""
    shown = []
    titles = []
    for picture, squares in questions():
        images, _ = pictures(picture + 1, squares)
        shown.append(zeroshot.levels(images[-1:])[0])
        titles.append(str(len(shown)))
    figure = zeroshot.draw_sheet(shown, titles, columns=8)
    figure.text(0.5, 0.01, names_to_choose_from(), ha="center", fontsize=9)
    return figure


def names_to_choose_from():
    """"a: a sun    b: a star    ...    ?: no idea"."""
    choices = []
    for letter, name in zip(LETTERS, TASK.classes):
        choices.append(f"{letter}: {name}")
    return "    ".join([*choices, "?: no idea"])


def ask():
    """Ask for a letter for each picture, again where there is no such letter -> [{...}, ...], as in ANSWERS.

    The answer is the number of a class, None for a question mark.
    """
    print(names_to_choose_from())
    given = []
    for i, (picture, squares) in enumerate(questions(), 1):
        letter = ask_for_letter(f"picture {i}: ")
        answer = None
        if letter != "?":
            answer = LETTERS.index(letter)
        given.append({"picture": picture, "squares": squares, "answer": answer})
    return given


def ask_for_letter(prompt):
    """Ask until the answer is one of the letters or a question mark."""
    while True:
        letter = input(prompt).strip().lower()
        if len(letter) == 1 and letter in LETTERS + "?":
            return letter
        print("one of the letters a to j, or a question mark")


# ---- Scores as in Table 2 ------------------------------------------------------------------------


def scores(people):
    """Lists of answers, one of each person -> {column of Table 2: share right}.

    The majority's answer is the most frequent one; of equally frequent ones the first by the alphabet. "Of
    guesses" leaves out where there is none.
    """
    labels = examples("ten objects", "test")[1].tolist()
    single = []  # pairs of answer and truth
    votes = {}
    for person in people:
        for row in person:
            single.append((row["answer"], labels[row["picture"]]))
            question = row["picture"], row["squares"]
            votes.setdefault(question, []).append(row["answer"])
    majority = []
    for (picture, _), given in sorted(votes.items()):
        majority.append((most_frequent(given), labels[picture]))
    return {"one person": share_right(single), "majority": share_right(majority),
            "one person, of guesses": share_right(guesses(single)),
            "majority, of guesses": share_right(guesses(majority))}


def most_frequent(answers):
    """The most frequent answer that is not None, or None."""
    known = sorted(answer for answer in answers if answer is not None)
    if not known:
        return None
    return max(known, key=known.count)


def guesses(pairs):
    """Those pairs of answer and truth that have an answer."""
    return [(answer, label) for answer, label in pairs if answer is not None]


def share_right(pairs):
    """The share of pairs of answer and truth that agree; 0 if there are none."""
    if not pairs:
        return 0.0
    return np.mean([answer == label for answer, label in pairs])


# ---- Measurement ---------------------------------------------------------------------------------


def measure(lab):
    """-> a row for each who (the model, and people if ANSWERS is there), seed or person, difficulty and class.

    It has the share right, and how many of its pictures were said to be what.
    """
    rows = []
    n = max(40, round(TASK.size("test") * lab.budget))
    for seed in lab.seeds:
        model, tokenizer = lab.world_clip(seed)
        weights = zeroshot.zero_shot_classifier(model, tokenizer, TASK.classes, TASK.templates)
        for squares in SQUARES:
            images, labels = pictures(n, squares)
            features = zeroshot.encode_images(model, images)
            answers = (features @ weights).argmax(dim=1)  # (n,)
            rows += rows_of(MODEL, seed, squares, answers.tolist(), labels.tolist())
    people = []
    if ANSWERS.exists():
        people = json.loads(ANSWERS.read_text())
    truth = examples("ten objects", "test")[1].tolist()
    for person, given in enumerate(people):
        for squares in SQUARES:
            some = [row for row in given if row["squares"] == squares]
            answers = [row["answer"] for row in some]
            labels = [truth[row["picture"]] for row in some]
            rows += rows_of(PEOPLE, person, squares, answers, labels)
    return rows


def rows_of(who, seed, squares, answers, labels):
    """Answers, None where there is none, and the truth, both numbers of classes -> a row for each class that occurs."""
    rows = []
    for number, name in enumerate(TASK.classes):
        given = [answer for answer, label in zip(answers, labels) if label == number]
        if not given:
            continue
        row = {"who": who, "seed": seed, "squares": squares, "class": name, "chance": TASK.chance(),
               "pictures": len(given), "right": given.count(number) / len(given)}
        for other, other_name in enumerate(TASK.classes):
            row[f"said {other_name}"] = given.count(other)
        rows.append(row)
    return rows


def confusion(rows):
    """How many pictures of each class were said to be of each -> counts (N, N), the truth's row, the answer's column."""
    N = len(TASK.classes)
    counts = np.zeros((N, N))
    for row in rows:
        truth = TASK.classes.index(row["class"])
        for answer, name in enumerate(TASK.classes):
            counts[truth, answer] += int(row[f"said {name}"])
    return counts


def hits_and_false_alarms(rows):
    """For each class, the share of its pictures that got its name, and of the others that got it -> (N,), (N,).

    nan for a class of which there are no pictures.
    """
    counts = confusion(rows)
    pictures_of_class = np.zeros(len(TASK.classes))
    for row in rows:
        pictures_of_class[TASK.classes.index(row["class"])] += int(row["pictures"])
    others = pictures_of_class.sum() - pictures_of_class
    right = counts.diagonal()
    wrong = counts.sum(axis=0) - right  # (N,), the answer was given, and to another class
    with np.errstate(invalid="ignore"):
        return right / pictures_of_class, wrong / others


# ---- Figure --------------------------------------------------------------------------------------


def draw(rows):
    """Above: by the size of the squares; what was answered to what. Below: the classes, as in Figure 16."""
    figure = Figure(figsize=(8.5, 9), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=[1, 1.1])
    left, right = above.subplots(1, 2, width_ratios=[1, 1.5])
    model = [row for row in rows if row["who"] == MODEL]
    people = [row for row in rows if row["who"] == PEOPLE]
    draw_difficulty(left, model, people)
    draw_confusion(right, model)
    draw_classes(below.subplots(1, 2, sharey=True), model, people)
    return figure


def by_seed(rows):
    """Rows -> lists of those of each seed or person."""
    each = {}
    for row in rows:
        each.setdefault(row["seed"], []).append(row)
    return list(each.values())


def share(rows):
    """The share right of all pictures of these rows, in per cent."""
    weights = [row["pictures"] for row in rows]
    return 100 * np.average([row["right"] for row in rows], weights=weights)


def draw_difficulty(axis, model, people):
    """The share right by the size of the squares. Dots are seeds or persons."""
    ways = [(model, BLUE, "o", -0.1, "the model"), (people, ORANGE, "s", 0.1, "people")]
    for rows, colour, marker, shift, label in ways:
        if not rows:
            continue
        for at, squares in enumerate(SQUARES):
            some = [row for row in rows if row["squares"] == squares]
            values = [share(of_seed) for of_seed in by_seed(some)]
            draw_mean(axis, at + shift, values, colour, marker)
        axis.plot([], [], marker, color=colour, label=f"{label} ({len(by_seed(rows))})")
    axis.axhline(100 * TASK.chance(), linestyle=":", color=GREY, label="chance")
    axis.set_xticks(range(len(SQUARES)), SQUARES)
    axis.set(xlabel="side of the squares (of 48 pixels)", ylabel="right (%); bars: 95 % over seeds", ylim=(-2, 102))
    axis.set_xlim(-0.5, len(SQUARES) - 0.5)
    axis.set_title("the paper's, on 37 breeds:\nCLIP 93.5 %, one person 53.7 %", fontsize=10)
    axis.legend(fontsize=9)


def draw_mean(axis, x, values, colour, marker):
    """A mean with the 95 % interval over seeds or people, and a dot for each of them."""
    low, high = interval(np.mean, values)
    mean = np.mean(values)
    axis.errorbar(x, mean, [[mean - low], [high - mean]], fmt=marker, color=colour)
    axis.plot([x + 0.07] * len(values), values, ".", color=colour, markersize=4)


def draw_confusion(axis, rows):
    """What the model answered, in per cent of each class's pictures. Its answers to what it does not know stand out."""
    counts = confusion(rows)
    shares = 100 * counts / counts.sum(axis=1, keepdims=True)
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    for (truth, answer), value in np.ndenumerate(shares):
        colour = "white" if value > 50 else "black"
        axis.text(answer, truth, f"{value:.0f}", ha="center", va="center", fontsize=9, color=colour)
    names = [short(name) for name in TASK.classes]
    axis.set_xticks(range(len(names)), names, rotation=60, ha="right", rotation_mode="anchor")
    axis.set_yticks(range(len(names)), names)
    # the name that was given most often where it was wrong
    np.fill_diagonal(counts, 0)
    commonest = counts.sum(axis=0).argmax()
    part = counts[:, commonest].sum() / counts.sum()
    axis.set_title(f"answers of the model (% of a row); {part:.0%} of all\nwrong ones are \"{TASK.classes[commonest]}\"",
                   fontsize=10)
    axis.set(xlabel="answer", ylabel="picture")


def short(name):
    """"a sun" -> "sun"."""
    return name.split(" ", 1)[1]


def draw_classes(axes, model, people):
    """Hits and false alarms of each class, and what the first have above the second; the model's best at the top."""
    left, right = axes
    hits, false_alarms = hits_and_false_alarms(model)
    order = np.argsort(hits - false_alarms)
    names = [short(TASK.classes[number]) for number in order]
    for rows, colour, marker, shift, label in ((model, BLUE, "o", 0.12, "the model"),
                                               (people, ORANGE, "s", -0.12, "people")):
        if not rows:
            continue
        y = np.arange(len(order)) + shift
        hits, false_alarms = hits_and_false_alarms(rows)
        left.plot(100 * hits[order], y, marker, color=colour, label=f"hits, {label}")
        left.plot(100 * false_alarms[order], y, marker, color=colour, fillstyle="none", label=f"false alarms, {label}")
        right.plot(100 * (hits - false_alarms)[order], y, marker, color=colour, label=label)
        # the seeds
        for of_seed in by_seed(rows):
            hits_of_seed, alarms_of_seed = hits_and_false_alarms(of_seed)
            right.plot(100 * (hits_of_seed - alarms_of_seed)[order], y, ".", color=colour, markersize=4)
    left.set_yticks(range(len(names)), names)
    left.set(xlabel="hits: % of its pictures; false alarms: % of others", xlim=(-4, 104))
    left.set_title("how often a name was given", fontsize=10)
    left.legend(fontsize=9)
    right.axvline(0, linestyle=":", color=GREY)
    right.set(xlabel="hits minus false alarms (points); dots: seeds", xlim=(-24, 104))
    right.set_title("as in Figure 16, the habit taken away", fontsize=10)
    if people:
        right.legend(fontsize=9)


# ---- Command line --------------------------------------------------------------------------------


def main(argv=None):
    """The command line. Exit status 2 and one line for what can't be done."""
    args = parse(argv)
    if args.quiz:
        try:
            answers = take(args.out)
        except (EOFError, KeyboardInterrupt):  # Ctrl-D, Ctrl-C
            print("\nquiz.py: stopped before the last picture; nothing is written", file=sys.stderr)
            return 130
        keep(args.out, answers, [answers])
        return 0
    try:
        people = [json.loads(path.read_text()) for path in args.answers]
        scores(people)
    except (OSError, ValueError, TypeError, KeyError, IndexError) as error:
        print(f"quiz.py: not a file that --quiz has written: {error}", file=sys.stderr)
        return 2
    keep(ANSWERS, people, people)
    return 0


def parse(argv):
    """The command line's options."""
    description = __doc__.split("\n\n", 1)[1].split("\n\nA class")[0]
    parser = argparse.ArgumentParser(prog="quiz.py", description=description,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--quiz", action="store_true", help="draw the sheet, ask for each picture, write the answers")
    add("--answers", nargs="+", type=Path, metavar="FILE", help="files that --quiz has written, one of each person")
    add("--out", type=Path, default=Path("quiz.json"), metavar="JSON", help="of --quiz, the sheet beside it as .png "
        "(default: %(default)s)")
    args = parser.parse_args(argv)
    if args.quiz == bool(args.answers):
        parser.error("either --quiz or --answers FILE...")
    return args


def take(path):
    """Draw the sheet beside `path`, and ask -> answers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_figure(sheet(), path.with_suffix(".png"), dpi=150)
    print(f"the pictures are in {path.with_suffix('.png')}")
    return ask()


def keep(path, content, people):
    """Write the content, and say how good the people were."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    for name, value in scores(people).items():
        print(f"{name:24}{value:6.1%}   (Table 2: {TABLE_2[name]})")
    print(f"written into {path}")


if __name__ == "__main__":
    sys.exit(main())
