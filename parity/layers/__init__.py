"""Where a difference is born: tensors inside a model on both sides, each layer's own error, and what it does to others.

A rounded graph is observed as it is, in ONNX Runtime: exposing a tensor there changes nothing. An engine is observed
by building it once more with its tensors exposed, which may change it, so the report says whether it did.
"""
