"""Label images: 0 = background, 1 to M = classes, 255 = unlabelled, ignored by losses and scores."""

UNLABELLED = 255
