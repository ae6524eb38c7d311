"""The widget "Meta-structure density": the density maps of label layers, live, with what they say about the labels."""
