"""The Train widget: networks trained on images and labels, watched live."""
