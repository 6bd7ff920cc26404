"""The engine inspector's answer: layers with their precision, tactic and ONNX nodes.

Schemas of TensorRT 8.6, 10.x and 11.x; the text holds raw control characters.
"""
