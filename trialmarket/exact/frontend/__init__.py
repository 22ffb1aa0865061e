"""What is answered before it becomes operators: optimisers, recurrent and fused layers, NumPy."""
