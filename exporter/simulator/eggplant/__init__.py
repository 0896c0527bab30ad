"""The simulated Eggplant DAI server."""
