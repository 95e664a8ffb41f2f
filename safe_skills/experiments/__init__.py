"""Commands that collect, train, evaluate and measure."""
