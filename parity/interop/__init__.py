"""Files of other tools, read and written without their code: Polygraphy's tensors, trtexec's measurements.

Polygraphy itself is not imported: its files are needed where it is not installed, its loader decodes a whole file at
once, and a file from somebody else is data here, held to its form before an array of it is believed.
"""
