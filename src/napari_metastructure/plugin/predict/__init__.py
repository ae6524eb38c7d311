"""The Predict widget: a saved model on layers or on a folder of images."""
