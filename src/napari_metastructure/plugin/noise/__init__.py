"""The widget "Label noise": RCL, PCL and RL of a Labels layer, previewed live, with what they leave to be learned."""
