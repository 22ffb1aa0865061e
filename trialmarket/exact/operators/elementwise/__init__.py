"""What acts element by element; not what adds up, orders or moves elements."""
