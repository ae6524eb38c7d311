"""Dice after 0, 5, 10, 20 and 40 answers of a simulated user, by both ways of asking, and after as many strokes.

    python benchmarks/answers.py ../shared/data wbc nuclei em --seeds 0 --limit 3

The tool asks five places at a time, as the widget does, and steers by the answers. The masks are looked at by the user,
who gives the class of the pixel in question, and for the Dice, nowhere else. ``ends`` is the number of answers after
which the tool said that more would no longer gain. ``strokes`` are those of the user of `corrections`, on all images.
"""

import numpy as np
from corrections import User
from igtt_quality import load, parser_of

from napari_metastructure.igtt.answers import Answer, corrections
from napari_metastructure.igtt.asking import Gain, How, Questions
from napari_metastructure.igtt.config import IGTTConfig
from napari_metastructure.igtt.iterate import iterate
from napari_metastructure.igtt.steering import Steering
from napari_metastructure.training.events import Finished
from napari_metastructure.training.metrics import dice

COUNTS = (0, 5, 10, 20, 40)
ROUND = 5


def answered(
    images: list[np.ndarray], masks: list[np.ndarray], start: list[np.ndarray], how: How, seed: int
) -> tuple[dict[int, float], int | None]:
    """Ask and answer; the mean Dice by the number of answers, and after how many the tool would have stopped."""
    steering, questions, gain = Steering(images, start), Questions(images.__getitem__, seed), Gain()
    answers: list[Answer] = []
    p, scores, ends = start, {}, None
    for count in range(0, COUNTS[-1] + 1, ROUND):
        gain.see([plane > 0.5 for plane in p], count)
        ends = count if ends is None and gain.over else ends
        if count in COUNTS:
            scores[count] = float(np.mean([dice(plane > 0.5, mask) for plane, mask in zip(p, masks, strict=True)]))
        places = questions.next(p, ROUND, how, [answer.place for answer in answers])
        for place in places:
            truth = bool(masks[place.plane][place.y, place.x])
            gain.contradicted.append(bool(p[place.plane][place.y, place.x] > 0.5) != truth)
            answers.append(Answer(place, int(truth)))
        p = steering.answer(corrections(answers, [image.shape for image in images]))
    return scores, ends


def painted(
    images: list[np.ndarray], masks: list[np.ndarray], start: list[np.ndarray], seed: int
) -> tuple[dict[int, float], None]:
    """Paint and steer; the mean Dice by the number of strokes."""
    steering, user = Steering(images, start), User(masks, range(len(images)), seed)
    found, scores = [p > 0.5 for p in start], {}
    for count in range(0, COUNTS[-1] + 1, ROUND):
        if count in COUNTS:
            scores[count] = float(np.mean([dice(a, b) for a, b in zip(found, masks, strict=True)]))
        for _ in range(ROUND):
            user.paint(found)
        found = [p > 0.5 for p in steering.answer(user.strokes)]
    return scores, None


def main() -> None:
    """Print a table, one line a folder, seed and way of asking."""
    args = parser_of(__doc__).parse_args()
    print(f"{'folder':12}{'seed':5}{'asks':8}{''.join(f'{count:>7}' for count in COUNTS)}   ends")
    for folder in args.folders:
        images, masks = load(args.data / folder, args.limit)
        images = [np.asarray(image, np.float32) for image in images]
        *_, last = (event for event in iterate(images, IGTTConfig()) if isinstance(event, Finished))
        start = [np.asarray(p, np.float32) for p in last.probabilities]
        for seed in args.seeds:
            rows = {how: answered(images, masks, start, how, seed) for how in ("unsure", "random")}
            for how, (scores, ends) in {**rows, "strokes": painted(images, masks, start, seed)}.items():
                row = "".join(f"{score:7.3f}" for score in scores.values())
                print(f"{folder:12}{seed:<5}{how:8}{row}   {ends or '-'}", flush=True)


if __name__ == "__main__":
    main()
