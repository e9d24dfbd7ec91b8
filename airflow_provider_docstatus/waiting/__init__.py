"""One wait, from its first poll to its ending: pure, with the clock and the jitter handed in."""
