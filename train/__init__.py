"""PyTorch side of hmdf: neurons, low-bit synapses, networks, online training, checkpoints, data sets.

Importing this package loads nothing heavy; import the modules you need (``hmdf.train.neurons`` needs torch,
``hmdf.train.data`` only NumPy).
"""
