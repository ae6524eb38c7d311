"""The "Noise study" widget: one clean set of labels, many kinds of noise, and what networks learn from each."""
