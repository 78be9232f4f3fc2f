"""From batches to a trained model."""

import os

# For each shape of a product in bfloat16 oneDNN and PyTorch keep what they have compiled, a thousand
# shapes each, and every batch brings new ones: more than a gigabyte in all, where what one update
# needs again suffices. They look here when the first product is made.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
os.environ.setdefault("LRU_CACHE_CAPACITY", "8")
