"""From batches to a trained model."""

import os

# oneDNN and PyTorch keep what they have compiled for a shape of products in bfloat16, a thousand
# shapes each. Every batch brings new ones: more than a gigabyte in all, where enough is what one
# update needs again. They look here when the first product is made.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
os.environ.setdefault("LRU_CACHE_CAPACITY", "8")
