"""Label images: 0 = background, 1 to M = classes, `UNLABELLED` = nobody says; left out of losses and scores."""

UNLABELLED = 255
