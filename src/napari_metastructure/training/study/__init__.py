"""The noise study: one clean set of labels, many kinds of noise, and what networks learn from each."""
