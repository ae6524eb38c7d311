"""The Compare methods widget."""
