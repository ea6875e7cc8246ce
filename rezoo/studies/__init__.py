"""Many runs as one study: seeds and hyper-parameters side by side, and what can be concluded from them."""
