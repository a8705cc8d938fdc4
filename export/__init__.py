"""The compiler: trace, fold, quantize and prove a network, and write it in the forms that other tools read."""
