"""Two checkpoints compared, tensor by tensor: `compare.py` reads both, `sides.py` opens them, `tensors.py` holds bits against bits."""
